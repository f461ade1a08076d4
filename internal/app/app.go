// Package app wires the host together: what is opened, started, served and
// stopped, in which order. It is the only package that knows all the others.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/holdfast-dev/holdfast/internal/access"
	"github.com/holdfast-dev/holdfast/internal/agent"
	"github.com/holdfast-dev/holdfast/internal/cli"
	"github.com/holdfast-dev/holdfast/internal/config"
	"github.com/holdfast-dev/holdfast/internal/httpapi"
	"github.com/holdfast-dev/holdfast/internal/keeper"
	"github.com/holdfast-dev/holdfast/internal/obs"
	"github.com/holdfast-dev/holdfast/internal/proc"
	"github.com/holdfast-dev/holdfast/internal/session"
	"github.com/holdfast-dev/holdfast/internal/store"
	"github.com/holdfast-dev/holdfast/web"
)

const (
	logLines = 500 // kept in memory

	// memoryGoal has the collector work harder before the heap grows past it;
	// it is no limit.
	memoryGoal = 200 << 20
)

// refuse is an error that a restart does not mend.
func refuse(format string, args ...any) error {
	return &cli.Error{Code: cli.ExitNoRestart, Msg: fmt.Sprintf(format, args...)}
}

// Version is set by the linker in a release.
var Version = "0.1.0-dev"

// core is what a host and a command without a host have in common: the locked
// state folder and what stands on its store.
type core struct {
	cfg      *config.Config
	log      *slog.Logger
	limit    uint64 // of our descriptors
	userHome string

	faults    faults
	lock      *lock
	store     *store.Store
	access    *access.Service
	catalogue *agent.Catalogue
	sessions  *session.Manager
}

// open takes the state folder. On an error nothing stays open.
func open(ctx context.Context, cfg *config.Config, log *slog.Logger) (_ *core, err error) {
	c := &core{cfg: cfg, log: log}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
		}
	}()
	if err := config.EnsureHome(cfg.Home); err != nil {
		return nil, refuse("%v", err)
	}
	if c.lock, err = takeLock(cfg.Lock()); err != nil {
		return nil, err
	}
	if err := c.lock.say(holder{PID: os.Getpid(), Since: time.Now(), Version: Version}); err != nil {
		return nil, err
	}
	if c.limit, err = proc.RaiseNoFile(); err != nil {
		log.Warn("the descriptor limit could not be raised", "err", err)
	}
	bootID, err := proc.BootID()
	if err != nil {
		return nil, fmt.Errorf("read boot id: %w", err)
	}
	if c.store, err = openStore(ctx, cfg, bootID, log, c.faults.note); err != nil {
		return nil, err
	}
	c.access = access.New(c.store, time.Now)
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find own binary: %w", err)
	}
	if c.userHome, err = os.UserHomeDir(); err != nil {
		return nil, refuse("The home folder of this user is not known: set HOME.")
	}
	c.catalogue = agent.New(agent.Options{
		Builtin: []string{exe, "agent"}, Configured: cfg.Agents, Home: c.userHome, Env: os.Environ(), Log: log,
	})
	c.sessions = session.NewManager(session.Options{
		Store: c.store, Catalogue: c.catalogue, Home: cfg.Home, Keepers: cfg.Keepers(), Exe: exe,
		Version: Version, BootID: bootID, Cap: cfg.Limits.LiveAgents, Spool: int64(cfg.Limits.SpoolBytes), NoFile: c.limit,
		Leases: keeper.Leases{Running: time.Duration(cfg.Leases.Run), Idle: time.Duration(cfg.Leases.Idle), Stopped: time.Duration(cfg.Leases.Asked)},
		Log:    log,
	})
	return c, nil
}

// Close closes in the reverse order what open opened. It may be called twice.
func (c *core) Close() error {
	var errs []error
	if c.sessions != nil {
		errs = append(errs, c.sessions.Close())
	}
	if c.catalogue != nil {
		errs = append(errs, c.catalogue.Close())
	}
	if c.store != nil {
		errs = append(errs, c.store.Close())
	}
	if c.lock != nil {
		errs = append(errs, c.lock.Close())
	}
	c.sessions, c.catalogue, c.store, c.lock = nil, nil, nil, nil
	return errors.Join(errs...)
}

// server makes the HTTP side for an address.
func (c *core) server(addr string) (*httpapi.Server, error) {
	hosts, err := access.NewHosts(addr, c.cfg.AllowedHosts)
	if err != nil {
		return nil, refuse("%v", err)
	}
	return httpapi.New(httpapi.Config{
		Sessions: c.sessions, Store: c.store, Access: c.access, Hosts: hosts, Files: web.Files(), Version: Version,
		Home: c.userHome, Log: c.log, CookieName: cookieName(addr), Health: c.faults.health,
		Limits: httpapi.Limits{
			Connections: min(c.cfg.Limits.Connections, int(c.limit)/2), API: c.cfg.Limits.Requests, Streams: c.cfg.Limits.Streams, //nolint:gosec // a limit fits
			Text: int(c.cfg.Limits.MessageBytes),
		},
	})
}

// Serve is the host: it returns when it was asked to stop (nil) or cannot go
// on.
func Serve(ctx context.Context, cfg *config.Config, o cli.ServeOptions) (err error) {
	started := time.Now()
	debug.SetMemoryLimit(memoryGoal)
	logs := obs.New(os.Stderr, logLines)
	if err := logs.Level.UnmarshalText([]byte(cfg.LogLevel)); err != nil {
		return refuse("%v", err)
	}
	log := logs.Logger

	c, err := open(ctx, cfg, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	hasPassword, err := c.access.HasPassword(ctx)
	if err != nil {
		return fmt.Errorf("read password: %w", err)
	}
	if err := access.CheckBind(cfg.Addr, false, hasPassword, cfg.InsecureBind); err != nil {
		return refuse("%v", err)
	}
	for _, note := range cfg.Notes {
		log.Info("a setting is not used", "note", note)
	}
	if err := c.sessions.Start(ctx); err != nil {
		return fmt.Errorf("take up sessions: %w", err)
	}
	ln, err := listen(ctx, log, cfg.Addr)
	if err != nil {
		return err
	}
	defer ln.Close()
	addr := ln.Addr().String()
	if err := c.lock.say(holder{PID: os.Getpid(), Address: addr, Since: started, Version: Version}); err != nil {
		return err
	}
	server, err := c.server(addr)
	if err != nil {
		return err
	}
	socket, err := listenControl(cfg.Home)
	if err != nil {
		return err
	}
	defer socket.Close()

	ctx, stop := context.WithCancel(ctx)
	defer stop()
	h := &host{started: started, addr: addr, limit: c.limit, store: c.store, sessions: c.sessions, stop: stop}
	group, gctx := errgroup.WithContext(ctx)
	group.Go(func() error { c.catalogue.LoginEnv(gctx); return nil }) // asked before it is wanted
	group.Go(func() error { return server.Serve(gctx, ln) })
	group.Go(func() error { return server.ServeControl(gctx, socket, httpapi.NewControl(server, h)) })
	group.Go(func() error { return h.sample(gctx) })
	log.Info("the host serves", "addr", addr, "home", cfg.Home, "pid", os.Getpid(), "version", Version, "after", time.Since(started).Round(100*time.Microsecond))
	if err := c.greet(ctx, h, o); err != nil {
		log.Warn("make first link", "err", err)
	}
	err = group.Wait()
	if ctx.Err() != nil {
		log.Info("the host stops; its agents stay with their keepers")
		return nil
	}
	return err
}

// greet tells the command that the host is healthy, with a link where nobody
// could log in otherwise.
func (c *core) greet(ctx context.Context, h *host, o cli.ServeOptions) error {
	if o.Ready == nil {
		return nil
	}
	ready := cli.Ready{URL: h.URL()}
	link := o.Link
	if !link {
		known, err := c.access.List(ctx)
		if err != nil {
			return err
		}
		hasPassword, err := c.access.HasPassword(ctx)
		if err != nil {
			return err
		}
		link = len(known) == 0 && !hasPassword
	}
	if link {
		secret, _, err := c.access.CreateLink(ctx, "first link")
		if err != nil {
			return err
		}
		ready.Link = httpapi.LinkURL(ready.URL, secret)
	}
	o.Ready(ready)
	return nil
}

// Offline opens the state folder for a command while no host runs.
func Offline(ctx context.Context, cfg *config.Config) (http.Handler, func() error, error) {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	c, err := open(ctx, cfg, log)
	if err != nil {
		return nil, nil, err
	}
	server, err := c.server(cfg.Addr)
	if err != nil {
		return nil, nil, errors.Join(err, c.Close())
	}
	h := &host{started: time.Now(), addr: cfg.Addr, limit: c.limit, store: c.store, sessions: c.sessions, stop: func() {}}
	return httpapi.NewControl(server, h), c.Close, nil
}

// openStore opens the log, and tells apart what a person must mend.
func openStore(ctx context.Context, cfg *config.Config, bootID string, log *slog.Logger, fault func(error)) (*store.Store, error) {
	st, err := store.Open(ctx, store.Options{
		Path: cfg.DB(), BootID: bootID, Log: log,
		OnFault: func(err error) {
			log.Error("the store could not commit", "err", err)
			fault(err)
		},
	})
	var newer *store.TooNewError
	var net *store.NetFSError
	var foreign *store.ForeignError
	switch {
	case errors.As(err, &newer), errors.As(err, &net), errors.As(err, &foreign):
		return nil, refuse("%v", err)
	case err != nil:
		return nil, fmt.Errorf("open store: %w", err)
	}
	return st, nil
}

// cookieName tells hosts on one name apart by their port, which cookies do not.
func cookieName(addr string) string {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "holdfast"
	}
	return "holdfast_" + port
}

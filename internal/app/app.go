// Package app wires the host together: what is opened, started, served and
// stopped, in which order. It is the only package that knows all the others.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
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
	stopLimit = 5 * time.Second // an orderly stop
	noFile    = 16384           // what we raise our soft limit to, and our children's

	// memoryGoal has the collector work harder before the heap grows past it;
	// it is no limit.
	memoryGoal = 200 << 20
)

// refuse is an error that a restart does not mend.
func refuse(format string, args ...any) error {
	return &cli.ExitError{Code: cli.ExitRefused, Msg: fmt.Sprintf(format, args...)}
}

// Serve is the host: it returns when it was asked to stop (nil) or cannot go
// on.
func Serve(ctx context.Context, cfg *config.Config, o cli.ServeOptions) error {
	started := time.Now()
	logs := obs.New(os.Stderr, 500)
	if err := logs.SetLevel(cfg.LogLevel); err != nil {
		return refuse("%v", err)
	}
	log := logs.Logger
	debug.SetMemoryLimit(memoryGoal)

	if err := config.EnsureHome(cfg.Home); err != nil {
		return refuse("%v", err)
	}
	lk, err := takeLock(cfg.Lock())
	if err != nil {
		return err
	}
	defer lk.Close()
	limit, err := proc.RaiseNoFile(noFile)
	if err != nil {
		log.Warn("the descriptor limit could not be raised", "err", err)
	}

	st, err := openStore(ctx, cfg, log)
	if err != nil {
		return err
	}
	defer func() {
		if err := st.Close(); err != nil {
			log.Error("close store", "err", err)
		}
	}()
	acc := access.New(st, time.Now)
	hasPassword, err := acc.HasPassword(ctx)
	if err != nil {
		return fmt.Errorf("read password: %w", err)
	}
	if err := access.CheckBind(cfg.Addr, false, hasPassword, cfg.InsecureBind); err != nil {
		return refuse("%v", err)
	}

	exe, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find own binary: %w", err)
	}
	bootID, err := proc.BootID()
	if err != nil {
		return fmt.Errorf("read boot id: %w", err)
	}
	userHome, err := os.UserHomeDir()
	if err != nil {
		return refuse("The home folder of this user is not known: set HOME.")
	}
	catalogue := agent.New(agent.Options{
		Builtin: []string{exe, "agent"}, Configured: cfg.Agents, Home: userHome, Env: os.Environ(), Log: log,
	})
	defer catalogue.Close()
	sessions := session.NewManager(session.Options{
		Store: st, Catalogue: catalogue, Home: cfg.Home, Keepers: cfg.Keepers(), Exe: exe,
		Version: cli.Version(), BootID: bootID, Cap: cfg.Limits.LiveAgents, Spool: int64(cfg.Limits.SpoolBytes), NoFile: limit,
		Leases: keeper.Leases{Running: time.Duration(cfg.Leases.Run), Idle: time.Duration(cfg.Leases.Idle), Stopped: time.Duration(cfg.Leases.Asked)},
		Log:    log,
	})
	defer sessions.Close()
	if err := sessions.Start(ctx); err != nil {
		return fmt.Errorf("take up sessions: %w", err)
	}

	ln, err := listen(ctx, log, cfg.Addr)
	if err != nil {
		return err
	}
	defer ln.Close()
	addr := ln.Addr().String()
	if err := lk.say(holder{PID: os.Getpid(), Address: addr, Since: started, Version: cli.Version()}); err != nil {
		return err
	}
	hosts, err := access.NewHosts(addr, cfg.AllowedHosts)
	if err != nil {
		return refuse("%v", err)
	}
	server, err := httpapi.New(httpapi.Config{
		Sessions: sessions, Store: st, Access: acc, Hosts: hosts, Files: web.Files(), Version: cli.Version(),
		Home: userHome, Log: log, CookieName: cookieName(addr),
		Limits: httpapi.Limits{
			Connections: min(cfg.Limits.Connections, int(limit)/2), API: cfg.Limits.Requests, Streams: cfg.Limits.Streams,
			Text: int(cfg.Limits.MessageBytes),
		},
	})
	if err != nil {
		return fmt.Errorf("make server: %w", err)
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	control := &control{
		started: started, addr: addr, limit: limit, store: st, sessions: sessions, server: server, stop: func() { stop(errAsked) },
	}
	socket, err := listenControl(cfg.Home)
	if err != nil {
		return err
	}
	defer socket.Close()

	group, gctx := errgroup.WithContext(ctx)
	group.Go(func() error { return server.Serve(gctx, ln) })
	group.Go(func() error { return control.serve(gctx, server, acc, socket) })
	log.Info("holdfast serves", "addr", addr, "home", cfg.Home, "pid", os.Getpid(), "version", cli.Version(), "after", time.Since(started).Round(100*time.Microsecond))
	if err := greet(ctx, log, acc, st, addr, o); err != nil {
		log.Warn("greet", "err", err)
	}
	err = group.Wait()
	if ctx.Err() != nil {
		err = nil // asked to
		log.Info("holdfast stops; running agents stay with their keepers")
	}
	return err
}

var errAsked = errors.New("asked to stop")

// openStore opens the log, and tells apart what a person must mend.
func openStore(ctx context.Context, cfg *config.Config, log *slog.Logger) (*store.Store, error) {
	bootID, err := proc.BootID()
	if err != nil {
		return nil, fmt.Errorf("read boot id: %w", err)
	}
	st, err := store.Open(ctx, store.Options{
		Path: cfg.DB(), BootID: bootID, Log: log,
		OnFault: func(err error) { log.Error("the store could not commit", "err", err) },
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

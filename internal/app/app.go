// Package app wires the host together: what is opened, started, served and
// stopped, in which order. It is the only package that knows all the others.
package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/holdfast-dev/holdfast/internal/access"
	"github.com/holdfast-dev/holdfast/internal/agent"
	"github.com/holdfast-dev/holdfast/internal/awake"
	"github.com/holdfast-dev/holdfast/internal/cli"
	"github.com/holdfast-dev/holdfast/internal/config"
	"github.com/holdfast-dev/holdfast/internal/failpoint"
	"github.com/holdfast-dev/holdfast/internal/handoff"
	"github.com/holdfast-dev/holdfast/internal/httpapi"
	"github.com/holdfast-dev/holdfast/internal/keeper"
	"github.com/holdfast-dev/holdfast/internal/obs"
	"github.com/holdfast-dev/holdfast/internal/probe"
	"github.com/holdfast-dev/holdfast/internal/proc"
	"github.com/holdfast-dev/holdfast/internal/push"
	"github.com/holdfast-dev/holdfast/internal/session"
	"github.com/holdfast-dev/holdfast/internal/store"
	"github.com/holdfast-dev/holdfast/internal/supervise"
	"github.com/holdfast-dev/holdfast/web"
)

const (
	logLines = 500 // kept in memory

	// memoryGoal has the collector work harder before the heap grows past it;
	// it is no limit.
	memoryGoal = 200e6
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
	awake     atomic.Pointer[awake.Guard]
	watchers  []func() httpapi.Health // what says how the host is
	lock      *lock
	store     *store.Store
	access    *access.Service
	push      *push.Service       // nil where no host runs
	cert      *access.Certificate // nil: plain HTTP
	catalogue *agent.Catalogue
	sessions  *session.Manager

	probe    atomic.Pointer[probe.Watcher]
	probeKey string

	life *probe.Recorder // nil where no host runs
	logs *obs.Log        // nil where no host runs
	safe safeMode

	books *books
}

// takeHome locks the state folder, unless the program before handed its lock on.
func takeHome(cfg *config.Config, held *os.File) (*lock, error) {
	if held != nil {
		return &lock{held}, nil
	}
	if err := config.EnsureHome(cfg.Home); err != nil {
		return nil, refuse("%v", err)
	}
	l, err := takeLock(cfg.Lock())
	if err != nil {
		return nil, err
	}
	if err := l.say(holder{PID: os.Getpid(), Since: time.Now(), Version: Version}); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// open opens what stands on a locked state folder. The lock is its own from
// here on: on an error nothing stays open.
func open(ctx context.Context, cfg *config.Config, log *slog.Logger, exe string, home *lock, quiet bool) (_ *core, err error) {
	c := &core{cfg: cfg, log: log, lock: home}
	c.watchers = []func() httpapi.Health{c.faults.health, c.safe.health, c.probed}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
		}
	}()
	if c.limit, err = proc.RaiseNoFile(); err != nil {
		log.Warn("the descriptor limit could not be raised", "err", err)
	}
	bootID, err := proc.BootID()
	if err != nil {
		return nil, fmt.Errorf("read boot id: %w", err)
	}
	failpoint.Hit("host.open")
	if c.store, err = openStore(ctx, cfg, bootID, log, c.faults.note); err != nil {
		return nil, err
	}
	c.access = access.New(c.store, time.Now)
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
		Quiet:  quiet,
		Log:    log,
	})
	c.books = newBooks(c)
	c.books.latency = c.latency
	c.watchers = append(c.watchers, c.books.health)
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
	allowed := c.cfg.AllowedHosts
	if u, err := url.Parse(c.cfg.HTTP.PublicURL); err == nil && u.Host != "" {
		allowed = append(slices.Clone(allowed), u.Host)
	}
	hosts, err := access.NewHosts(addr, allowed)
	if err != nil {
		return nil, refuse("%v", err)
	}
	var secret *tls.Config
	if c.cert != nil {
		secret = c.cert.Config()
	}
	server, err := httpapi.New(httpapi.Config{
		Push: asPush(c.push), TLS: secret, Proxies: c.cfg.HTTP.TrustedProxies, BasePath: c.cfg.HTTP.BasePath, Public: c.cfg.HTTP.PublicURL, Addr: addr,
		Sessions: c.sessions, Store: c.store, Access: c.access, Passkeys: access.NewPasskeys(c.store, c.access), Hosts: hosts, Files: web.Files(), Version: Version,
		Home: c.userHome, Log: c.log, CookieName: cookieName(addr), Health: func() httpapi.Health { return worst(c.watchers...) }, Held: c.sessions.Held,
		Safe: c.safe.text, Machine: c, ProbeKey: c.probeKey,
		Limits: httpapi.Limits{
			Connections: min(c.cfg.Limits.Connections, int(c.limit)/2), API: c.cfg.Limits.Requests, Streams: c.cfg.Limits.Streams, //nolint:gosec // a limit fits
			Text: int(c.cfg.Limits.MessageBytes), Attachment: int64(c.cfg.Limits.AttachmentBytes),
		},
		Pressure: c.books.press, Ledger: c.books.report,
	})
	c.books.server.Store(server)
	return server, err
}

// Serve is the host: it returns when it was asked to stop (nil) or cannot go
// on. Asked to restart, it does not return: another program is here then, with
// the same pid, listener and lock.
func Serve(ctx context.Context, cfg *config.Config, o cli.ServeOptions) error {
	err := serve(ctx, cfg, o)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil // asked to stop before it had begun to serve
	}
	return err
}

func serve(ctx context.Context, cfg *config.Config, o cli.ServeOptions) (err error) {
	started := time.Now()
	in, err := handoff.Take()
	if err != nil {
		return err
	}
	again := afterDeaf()
	debug.SetMemoryLimit(memoryGoal)
	serves := func() {} // tells that a new version has come to serve
	sink := &sinks{to: []io.Writer{os.Stderr}}
	logs := obs.New(sink, logLines)
	if err := logs.Level.UnmarshalText([]byte(cfg.LogLevel)); err != nil {
		return refuse("%v", err)
	}
	log := logs.Logger
	told, err := readRelay(in, cfg.Addr)
	if err != nil {
		return err
	}
	notifier := supervise.NewNotifier(o.Unit, os.Environ())
	home, err := takeHome(cfg, in.File(fileLock))
	if err != nil {
		return err
	}
	// The folder is ours, and so is the log in it.
	logFile, err := obs.OpenFile(cfg.LogFile())
	if err != nil {
		log.Error("the log has no file", "err", err)
	} else {
		defer logFile.Close()
		sink.set(o.LogFileOnly, logFile)
	}
	life, asked := beginLife(cfg, log, started, in != nil), ctx
	defer func() { recordEnd(asked, life, log, err) }()
	if told.Trial != nil {
		// Whatever keeps this version from serving, the old one does it again.
		late := time.AfterFunc(trialPatience(), func() {
			ending(life, log, probe.EndUpgrade, errLate.Error(), "")
			err := giveBack(cfg, log, told, errLate, handoff.Out{Doors: in.Doors, Files: map[string]*os.File{fileLock: home.file}})
			log.Error("run the old version again", "err", err)
		})
		defer func() {
			if late.Stop() && err != nil && ctx.Err() == nil {
				ending(life, log, probe.EndUpgrade, err.Error(), "")
				err = errors.Join(err, giveBack(cfg, log, told, err, handoff.Out{Doors: in.Doors}))
			}
		}()
		serves = func() { late.Stop() }
	} else if text := aborted(cfg, log); text != "" {
		told.Upgrade, told.Failed = text, true
	}
	c, err := open(ctx, cfg, log, told.Exe, home, in != nil)
	var newer *store.TooNewError
	if told.Failed && in == nil && errors.As(err, &newer) {
		if err := restoreAfter(cfg, log, newer); err != nil {
			return err
		}
		if home, err = takeHome(cfg, nil); err != nil {
			return err
		}
		c, err = open(ctx, cfg, log, told.Exe, home, in != nil)
	}
	if err != nil {
		return err
	}
	c.life, c.logs, c.probeKey = life, logs, newProbeKey()
	if told.Trial == nil {
		if err := endTrial(cfg.Home); err != nil {
			log.Warn("remove the note of a trial", "err", err)
		}
	}
	inTime := func() {}
	defer func() {
		failpoint.Hit("host.close")
		err = errors.Join(err, c.Close())
		inTime()
	}()
	hasPassword, err := c.access.HasPassword(ctx)
	if err != nil {
		return fmt.Errorf("read password: %w", err)
	}
	if err := access.CheckBind(cfg.Addr, cfg.TLS.On(), hasPassword, cfg.InsecureBind); err != nil {
		return refuse("%v", err)
	}
	if c.cert, err = loadCertificate(cfg, log); err != nil {
		return refuse("%v", err)
	}
	if c.push, err = push.New(ctx, push.Options{Store: c.store, Log: log, Contact: contact(cfg), Test: failpoint.Value("push_test")}); err != nil {
		return fmt.Errorf("begin web push: %w", err)
	}
	for _, note := range cfg.Notes {
		log.Info("a setting is not used", "note", note)
	}
	release := func() {}
	if told.Trial != nil {
		release = c.sessions.Hold()
	}
	if err := c.takeUp(ctx, told.Trial != nil); err != nil {
		return err
	}
	doors, err := c.openDoors(ctx, in)
	if err != nil {
		return err
	}
	defer doors.public.Close()
	defer doors.control.Close()
	addr := doors.public.Addr().String()
	if err := c.lock.say(holder{PID: os.Getpid(), Address: addr, Scheme: cfg.Scheme(), Since: started, Version: Version, Unit: o.Unit.String()}); err != nil {
		return err
	}
	server, err := c.server(addr)
	if err != nil {
		return err
	}

	// The doors stay open while the program is replaced, so they have a context
	// of their own.
	doorsCtx, shut := context.WithCancel(ctx)
	defer shut()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	evidence, err := probe.OpenEvidence(cfg.Crash())
	if err != nil {
		log.Error("a host without free descriptors could not tell why", "err", err)
	}
	defer evidence.Close()
	h := &host{
		started: started, addr: addr, scheme: cfg.Scheme(), web: cfg.HTTP, limit: c.limit, unit: o.Unit, awake: func() string { return c.awake.Load().State() }, core: c, store: c.store, sessions: c.sessions,
		stop: func() {
			ending(life, log, probe.EndAsked, "by `holdfast stop`", "")
			stop()
			shut()
		},
		crash: cfg.Crash(), ring: logs.Ring, life: life, safe: &c.safe, evidence: evidence,
		replace: &replacing{
			relay: told, load: o.Load, access: c.access, sessions: c.sessions, log: log, next: make(chan successor, 1),
		},
	}
	inTime = h.endHard(doorsCtx)
	reload, dump := make(chan struct{}, 1), make(chan struct{}, 1)
	if o.Signals != nil {
		o.Signals.Host(reload, dump)
	}
	served, sctx := errgroup.WithContext(doorsCtx)
	served.Go(func() error { return server.Serve(sctx, doors.public) })
	served.Go(func() error { return server.ServeControl(sctx, doors.control, httpapi.NewControl(server, h)) })
	group, gctx := errgroup.WithContext(ctx)
	defer context.AfterFunc(sctx, stop)()
	group.Go(func() error { c.catalogue.LoginEnv(gctx); return nil }) // asked before it is wanted
	group.Go(func() error { return h.beat(gctx) })
	group.Go(func() error { return h.onSignal(gctx, reload, dump) })
	watcher := c.watcher(h, server, func(reason string) { h.deaf(log, reason) })
	c.probe.Store(watcher)
	group.Go(func() error { return watcher.Run(gctx) })
	group.Go(func() error { return notifier.Watch(gctx, watcher.Well) })
	group.Go(func() error { return c.stayAwake(gctx, server) })
	group.Go(func() error { return c.books.keep(gctx, h.dump) })
	if told.Trial == nil { // a version on trial starts and sends nothing
		group.Go(func() error { return c.push.Run(gctx) })
	}
	serves()
	if told.Trial != nil {
		p := &prover{cfg: cfg, log: log, told: told, release: release, well: h.well, replace: h.replace}
		group.Go(func() error { return p.run(gctx) })
	}
	log.Info("the host serves", "addr", addr, "tls", cfg.TLS.On(), "home", cfg.Home, "pid", os.Getpid(), "version", Version, "unit", o.Unit.String(),
		"restarts", told.Restarts, "after", time.Since(started).Round(100*time.Microsecond))
	if err := life.Served(); err != nil {
		log.Warn("this life is not recorded", "err", err)
	}
	if err := c.greet(ctx, h, o, in != nil || again); err != nil {
		log.Warn("make first link", "err", err)
	}
	if err := notifier.Ready("Serving " + h.URL()); err != nil {
		log.Warn("tell the supervisor", "err", err)
	}

	var next successor
	select {
	case next = <-h.replace.next:
		log.Info("the host restarts in place", "exe", next.exe)
		if err := notifier.Reloading(proc.Monotonic()); err != nil {
			log.Warn("tell the supervisor", "err", err)
		}
		watcher.Rest()
		time.AfterFunc(replacePatience, func() { h.deaf(log, "the restart in place did not come to its end") })
		if next.scheme != "" && next.scheme != cfg.Scheme() {
			doors.public.Seal() // what was begun in one way cannot go on in the other
		}
		doors.close(ctx, server, log)
		c.sessions.Returns()
		stop()
		err = group.Wait()
		if err == nil && doorsCtx.Err() == nil {
			err = c.exec(next, doors, o.Signals)
		}
		shut()
		err = errors.Join(err, served.Wait())
	case <-gctx.Done():
		if doorsCtx.Err() != nil {
			ending(life, log, probe.EndAsked, "by a signal", "")
			if err := notifier.Stopping(); err != nil {
				log.Warn("tell the supervisor", "err", err)
			}
			if o.Unit.Manager == supervise.Systemd && o.Signals != nil && o.Signals.First() == os.Interrupt {
				c.sessions.Returns() // RestartKillSignal of our unit files: this is no stop for good
			}
		}
		stop()
		shut()
		err = errors.Join(group.Wait(), served.Wait())
	}
	if errors.Is(err, errAsked) || err == nil {
		log.Info("the host stops; its agents stay with their keepers")
		return nil
	}
	return err
}

// openDoors takes the listeners that the program before left, and makes those
// that it did not.
func (c *core) openDoors(ctx context.Context, in *handoff.In) (d doors, err error) {
	if d.public = in.Door(doorPublic); d.public == nil {
		ln, err := listen(ctx, c.log, c.cfg.Addr)
		if err != nil {
			return d, err
		}
		d.public = handoff.NewListener(ln)
	}
	if d.control = in.Door(doorControl); d.control == nil {
		ln, err := listenControl(c.cfg.Home)
		if err != nil {
			return d, errors.Join(err, d.public.Close())
		}
		d.control = handoff.NewListener(ln)
	}
	return d, nil
}

// asPush keeps a nil service from becoming an interface that is not nil.
func asPush(p *push.Service) httpapi.Push {
	if p == nil {
		return nil
	}
	return p
}

// contact is how a push service reaches whoever runs this host (RFC 8292,
// section 2.1), which some of them insist on.
func contact(cfg *config.Config) string {
	if strings.HasPrefix(cfg.HTTP.PublicURL, "https://") {
		return cfg.HTTP.PublicURL
	}
	return "https://github.com/holdfast-dev/holdfast"
}

// loadCertificate reads the files that the configuration names, if any.
func loadCertificate(cfg *config.Config, log *slog.Logger) (*access.Certificate, error) {
	if !cfg.TLS.On() {
		return nil, nil
	}
	return access.LoadCertificate(cfg.TLS.Cert, cfg.TLS.Key, log)
}

// greet tells the command that the host is healthy, with a link where nobody
// could log in otherwise.
func (c *core) greet(ctx context.Context, h *host, o cli.ServeOptions, resumed bool) error {
	if o.Ready == nil {
		return nil
	}
	ready := cli.Ready{URL: h.URL(), Resumed: resumed}
	if resumed {
		o.Ready(ready)
		return nil
	}
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
	exe, err := os.Executable()
	if err != nil {
		return nil, nil, fmt.Errorf("find own binary: %w", err)
	}
	home, err := takeHome(cfg, nil)
	if err != nil {
		return nil, nil, err
	}
	c, err := open(ctx, cfg, log, exe, home, false)
	if err != nil {
		return nil, nil, err
	}
	server, err := c.server(cfg.Addr)
	if err != nil {
		return nil, nil, errors.Join(err, c.Close())
	}
	h := &host{started: time.Now(), addr: cfg.Addr, scheme: cfg.Scheme(), web: cfg.HTTP, limit: c.limit, core: c, store: c.store, sessions: c.sessions, stop: func() {}}
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
		return nil, &cli.Error{Code: cli.ExitNoRestart, Msg: err.Error(), Err: err}
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

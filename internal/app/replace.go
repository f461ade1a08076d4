package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast/internal/access"
	"github.com/holdfast-dev/holdfast/internal/cli"
	"github.com/holdfast-dev/holdfast/internal/config"
	"github.com/holdfast-dev/holdfast/internal/handoff"
	"github.com/holdfast-dev/holdfast/internal/httpapi"
	"github.com/holdfast-dev/holdfast/internal/probe"
	"github.com/holdfast-dev/holdfast/internal/session"
	"github.com/holdfast-dev/holdfast/internal/store"
)

// The names of what goes through exec.
const (
	doorPublic  = "public"
	doorControl = "control"
	fileLock    = "lock"
)

const (
	drainPatience = 10 * time.Second // for requests under way
	tryPatience   = 10 * time.Second // for a binary to say its version
	idlePatience  = 50 * time.Millisecond
)

// relay is what a program tells the one that replaces it.
type relay struct {
	Exe      string    `json:"exe"`  // the service's binary, from the first start on
	Addr     string    `json:"addr"` // as configured; the listener's may differ
	Restarts int       `json:"restarts"`
	Asked    time.Time `json:"asked"`             // when
	Trial    *trial    `json:"trial,omitempty"`   // what this program has to prove
	Upgrade  string    `json:"upgrade,omitempty"` // what became of the last one
	Failed   bool      `json:"failed,omitempty"`  // that it failed
}

// readRelay reads what the program before told; of a first start it makes what
// there is to tell.
func readRelay(in *handoff.In, addr string) (relay, error) {
	var r relay
	if in != nil {
		if err := json.Unmarshal(in.Note, &r); err != nil {
			return r, fmt.Errorf("read what the program before left: %w", err)
		}
		return r, nil
	}
	exe, err := os.Executable()
	if err != nil {
		return r, fmt.Errorf("find own binary: %w", err)
	}
	return relay{Exe: exe, Addr: addr}, nil
}

// successor is the program that is to take this one's place.
type successor struct {
	exe    string
	relay  relay
	scheme string       // that it will speak; "": as this one
	ln     net.Listener // instead of the public one, where the address changed
	failed error        // of a trial: the old version is to run again
}

// replacing answers those who want the program replaced, and remembers what
// this one is.
type replacing struct {
	relay    relay
	load     func() (*config.Config, error)
	access   *access.Service
	sessions *session.Manager
	log      *slog.Logger
	next     chan successor // has room for one

	mu    sync.Mutex
	asked bool
}

func (r *replacing) state() relay {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.relay
}

// proven ends the trial: this version is the one now.
func (r *replacing) proven(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.relay.Trial, r.relay.Upgrade = nil, text
}

// giveWay has the old version run again.
func (r *replacing) giveWay(reason error) {
	r.mu.Lock()
	told := r.relay
	r.asked = true
	r.mu.Unlock()
	r.next <- successor{exe: told.Exe, relay: told, failed: reason}
}

// ask checks that nothing stands against a restart and has it begin.
func (r *replacing) ask(ctx context.Context, want httpapi.Restart) error {
	r.mu.Lock()
	busy := r.asked || r.relay.Trial != nil
	if !busy {
		r.asked = true
	}
	r.mu.Unlock()
	if busy {
		return &httpapi.RefusedError{Text: "The host is being restarted already. Wait until that is done."}
	}
	s, err := r.prepare(ctx, want)
	if err != nil {
		r.mu.Lock()
		r.asked = false
		r.mu.Unlock()
		return err
	}
	r.next <- s
	return nil
}

// prepare does what may be slow or fail while the host still serves.
func (r *replacing) prepare(ctx context.Context, want httpapi.Restart) (s successor, err error) {
	cfg, err := r.load()
	if err != nil {
		return s, &httpapi.RefusedError{Text: "The configuration cannot be taken, the old one stays: " + err.Error()}
	}
	hasPassword, err := r.access.HasPassword(ctx)
	if err != nil {
		return s, fmt.Errorf("read password: %w", err)
	}
	if err := access.CheckBind(cfg.Addr, cfg.TLS.On(), hasPassword, cfg.InsecureBind); err != nil {
		return s, &httpapi.RefusedError{Text: "The configuration cannot be taken, the old one stays: " + err.Error()}
	}
	if _, err := loadCertificate(cfg, r.log); err != nil {
		return s, &httpapi.RefusedError{Text: "The configuration cannot be taken, the old one stays: " + err.Error()}
	}
	r.mu.Lock()
	s = successor{exe: r.relay.Exe, scheme: cfg.Scheme(), relay: relay{Exe: r.relay.Exe, Addr: cfg.Addr, Restarts: r.relay.Restarts + 1, Asked: time.Now()}}
	addr := r.relay.Addr
	r.mu.Unlock()
	if want.Staged != "" {
		s.exe = want.Staged
		schema, err := store.Schema()
		if err != nil {
			return s, err
		}
		s.relay.Trial = &trial{Version: Version, Schema: schema, Staged: want.Staged}
	}
	if err := tryBinary(ctx, s.exe); err != nil {
		return s, &httpapi.RefusedError{Text: err.Error()}
	}
	if want.Idle {
		if err := r.awaitIdle(ctx); err != nil {
			return s, err
		}
	}
	if cfg.Addr != addr {
		// By name only: the same address written in another way is taken still.
		if s.ln, err = net.Listen("tcp", cfg.Addr); err != nil {
			return s, &httpapi.RefusedError{Text: fmt.Sprintf("The new address cannot be had, the old configuration stays: %v", err)}
		}
	}
	return s, nil
}

// tryBinary finds out that a binary can run here before anything depends on it.
func tryBinary(ctx context.Context, exe string) error {
	ctx, cancel := context.WithTimeout(ctx, tryPatience)
	defer cancel()
	out, err := exec.CommandContext(ctx, exe, "version").CombinedOutput() //nolint:gosec // our own binary, or the one that our user named
	if err != nil {
		return fmt.Errorf("%s does not run (%w): %.200s", exe, err, strings.TrimSpace(string(out)))
	}
	return nil
}

// awaitIdle waits until no run is under way, or ctx ends.
func (r *replacing) awaitIdle(ctx context.Context) error {
	for {
		runs, err := r.sessions.Runs(ctx)
		if err != nil {
			return err
		}
		if runs == 0 {
			return nil
		}
		select {
		case <-time.After(idlePatience):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// doors are the listeners of a host.
type doors struct{ public, control *handoff.Listener }

// close stops new requests, ends the streams and waits for the requests under
// way. What came meanwhile waits in the kernel, for the next program.
func (d doors) close(ctx context.Context, server *httpapi.Server, log *slog.Logger) {
	for _, l := range []*handoff.Listener{d.public, d.control} {
		if err := l.Gate(); err != nil {
			log.Warn("a listener goes on accepting", "err", err)
		}
		l.Freeze()
	}
	// Only now: a client whose stream ends comes back at once, and must wait for
	// the next program, not meet this one.
	server.EndStreams()
	ctx, cancel := context.WithTimeout(ctx, drainPatience)
	defer cancel()
	for _, l := range []*handoff.Listener{d.public, d.control} {
		if err := l.Drain(ctx); err != nil {
			log.Warn("requests are cut by the restart", "err", err)
		}
	}
}

// exec replaces this program. It returns only on an error.
func (c *core) exec(s successor, d doors, signals *cli.Signals) error {
	lock := c.lock
	c.lock = nil // it goes on
	if err := c.Close(); err != nil {
		c.log.Error("close before the restart", "err", err)
	}
	public := d.public
	if s.ln != nil {
		public = handoff.NewListener(s.ln)
	}
	if signals != nil && signals.Release() {
		ending(c.life, c.log, probe.EndAsked, "by a signal", "")
		return errors.Join(errAsked, lock.Close())
	}
	out := handoff.Out{
		Doors: map[string]*handoff.Listener{doorPublic: public, doorControl: d.control},
		Files: map[string]*os.File{fileLock: lock.file},
		Note:  s.relay,
	}
	how, reason := probe.EndRestart, ""
	switch {
	case s.failed != nil:
		how, reason = probe.EndUpgrade, s.failed.Error()
	case s.relay.Trial != nil:
		how = probe.EndUpgrade
	}
	ending(c.life, c.log, how, reason, "")
	var err error
	switch {
	case s.failed != nil:
		err = giveBack(c.cfg, c.log, s.relay, s.failed, out)
	case s.relay.Trial != nil:
		if err = s.relay.Trial.begin(c.cfg.Home); err == nil {
			err = handoff.Exec(s.exe, os.Args, os.Environ(), out)
			err = errors.Join(err, endTrial(c.cfg.Home))
		}
	default:
		err = handoff.Exec(s.exe, os.Args, os.Environ(), out)
	}
	return errors.Join(&cli.Error{Code: cli.ExitRestart, Msg: err.Error(), Err: err}, lock.Close())
}

// errAsked says that a request to end came while the program was replaced.
var errAsked = errors.New("asked to end")

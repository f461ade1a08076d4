package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast/internal/agent"
	"github.com/holdfast-dev/holdfast/internal/doctor"
)

// control asks the host how it is, over its control socket, and tells whether
// it answered.
func (e *examination) control(ctx context.Context) bool {
	e.wait.say("Asking the host")
	ctx, cancel := context.WithTimeout(ctx, e.Silence/2)
	defer cancel()
	const outside = "What follows was looked at from outside. Look again; if it stays so: holdfast doctor --restart-if-wedged"
	fail := func(format string, args ...any) bool {
		e.put(doctor.Failf(doctor.GroupService, "control", outside, format, args...))
		return false
	}
	h, err := dial(ctx, e.cfg)
	switch {
	case errors.Is(err, errNoHost) && (!e.host.Held || e.host.Host.Address == ""):
		return false // none runs, or it is starting
	case errors.Is(err, errNoHost):
		return fail("a host holds the folder, and nothing listens on its control socket")
	case err != nil:
		return fail("%v", err)
	}
	defer func() { _ = h.close() }()
	st, err := h.status(ctx)
	if ctx.Err() != nil {
		return fail("the host did not answer on its control socket within %s", e.Silence/2)
	}
	if err != nil {
		return fail("%v", err)
	}
	e.put(doctor.Okf(doctor.GroupService, "control", "the host answers on its control socket"))
	e.put(e.versions(st))
	if why, bad := strings.CutPrefix(st.Awake, "not available: "); bad {
		e.put(doctor.Warnf(doctor.GroupMachine, "awake", "Nothing, on a machine that never sleeps. keep_awake = \"never\" in config.toml keeps the host from trying.",
			"Holdfast cannot keep this machine awake while an agent works: %s", why))
	}
	return true
}

// versions compares the host with this program.
func (e *examination) versions(st status) doctor.Check {
	exe, _ := os.Executable()
	if st.Version == e.a.Version {
		return doctor.Okf(doctor.GroupService, "version", "the host and this program are %s", st.Version)
	}
	remedy := "Run the other one with: holdfast upgrade --from " + exe
	if st.Exe == "" || sameFile(exe, st.Exe) {
		remedy = "Have the host run this one: holdfast restart"
	}
	return doctor.Warnf(doctor.GroupService, "version", remedy, "the host is %s, and this program %s (%s)", st.Version, e.a.Version, exe)
}

// request is what the host, or this process in its place, is asked.
func (e *examination) request() doctor.Request {
	r := doctor.Request{Agents: e.Agents, DeadlineMS: e.AgentDeadline.Milliseconds()}
	if e.Agents {
		r.Shell = agent.Along(agent.Options{Configured: e.cfg.Agents, Home: e.a.UserHome, Env: e.a.Env})
	}
	return r
}

// take notes a line of an examination.
func (e *examination) take(l doctor.Line) {
	if l.Doing != "" {
		e.wait.say("Looking at " + oneLine(l.Doing))
	}
	if l.Check != nil {
		e.put(*l.Check)
	}
}

// inside has the host look at what only it sees, and tells whether it did. A
// host that is silent for long is not waited for.
func (e *examination) inside(ctx context.Context) bool {
	before := len(e.checks)
	one, cancel := context.WithCancel(ctx)
	defer cancel()
	silent := time.AfterFunc(e.Silence, cancel)
	defer silent.Stop()
	err := e.ask(one, func() { silent.Reset(e.Silence) })
	if err == nil || ctx.Err() != nil {
		return true
	}
	e.checks = e.checks[:before] // all of it is looked at again
	var p *problem
	switch {
	case errors.As(err, &p) && p.Status == http.StatusNotFound:
		e.put(doctor.Warnf(doctor.GroupService, "inside", "Once it runs this version: holdfast restart", "this host is too old to look at its agents itself, so this shell does"))
	case one.Err() != nil:
		e.put(doctor.Failf(doctor.GroupService, "inside", "Look again; if it stays so: holdfast doctor --restart-if-wedged", "the host began to look and then said nothing for %s, so this shell looks", e.Silence))
	default:
		e.put(doctor.Failf(doctor.GroupService, "inside", "Look into its log: holdfast logs", "the host could not look, so this shell does: %v", err))
	}
	return false
}

func (e *examination) ask(ctx context.Context, heard func()) (err error) {
	h, err := dial(ctx, e.cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	resp, err := h.open(ctx, http.MethodPost, "/control/doctor", e.request())
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	for dec := json.NewDecoder(resp.Body); ; {
		var l doctor.Line
		if err := dec.Decode(&l); err != nil {
			return fmt.Errorf("read what the host says: %w", err)
		}
		heard()
		if l.Done {
			return nil
		}
		e.take(l)
	}
}

// outside looks with this process's own eyes. starting tells that a supervisor
// may start a host at any moment, for which the folder must be free.
func (e *examination) outside(ctx context.Context, starting bool) {
	held := e.host.Held
	if held && e.host.ID.PID != 0 && runtime.GOOS == "linux" {
		e.put(doctor.Limits(e.host.ID.PID, "the host")...)
	}
	here := Here{Limits: !held, Database: !held && !starting, Env: e.a.Env, UserHome: e.a.UserHome}
	if _, err := os.Stat(filepath.Join(e.cfg.Home, "holdfast.db")); err == nil && !here.Database {
		why := "its supervisor may start a host at any moment"
		if held {
			why = "the host has it open and does not answer"
		}
		e.put(doctor.Warnf(doctor.GroupStore, "database", "Look again when the host answers, or is stopped.", "not looked at: %s", why))
	}
	if e.a.Examine == nil {
		return
	}
	if err := e.a.Examine(ctx, e.cfg, e.request(), here, e.take); err != nil && ctx.Err() == nil {
		e.put(doctor.Failf(doctor.GroupService, "inside", "Look again.", "%v", err))
	}
}

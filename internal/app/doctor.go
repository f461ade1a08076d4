package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast/internal/agent"
	"github.com/holdfast-dev/holdfast/internal/agent/interview"
	"github.com/holdfast-dev/holdfast/internal/cli"
	"github.com/holdfast-dev/holdfast/internal/config"
	"github.com/holdfast-dev/holdfast/internal/doctor"
	"github.com/holdfast-dev/holdfast/internal/proc"
	"github.com/holdfast-dev/holdfast/internal/session"
	"github.com/holdfast-dev/holdfast/internal/store"
)

const (
	// checkPatience bounds the check of the database, which reads all of it.
	checkPatience = 30 * time.Second
	// lockedPatience bounds it where no host runs: one that is started
	// meanwhile finds the folder taken.
	lockedPatience = 10 * time.Second
	// interviews is how many agents are looked at at a time: each takes the
	// memory of one that works.
	interviews = 3
)

// examiner looks at what only a process can see that has the environment of
// the one that starts agents.
type examiner struct {
	home      string
	catalogue *agent.Catalogue
	safe      string // why no agent is started; "" where they are
	// shell tells that this is the shell's own environment, not a service's.
	shell bool
	tell  func(doctor.Line)
}

// Examine implements httpapi.Host.
func (h *host) Examine(ctx context.Context, in doctor.Request, tell func(doctor.Line)) error {
	c := h.core
	e := &examiner{home: c.cfg.Home, catalogue: c.catalogue, safe: c.safe.text(), tell: tell}
	e.put(doctor.Limits(os.Getpid(), "the host")...)
	e.doing("the database")
	one, cancel := context.WithTimeout(ctx, checkPatience)
	defer cancel()
	e.put(doctor.Database(c.store.Condition(one)))
	if in.Agents {
		e.agents(ctx, in)
	}
	return ctx.Err()
}

// Examine looks where no host runs, or none answers: at the database, where
// nobody has it and the command wants it, and at the agents with the
// environment of the shell.
func Examine(ctx context.Context, cfg *config.Config, in doctor.Request, o cli.Here, tell func(doctor.Line)) (err error) {
	e := &examiner{home: cfg.Home, shell: true, tell: tell}
	e.catalogue = agent.New(agent.Options{
		Configured: cfg.Agents, Home: o.UserHome, Env: o.Env, Log: slog.New(slog.DiscardHandler),
	})
	defer func() { err = errors.Join(err, e.catalogue.Close()) }()
	if o.Limits {
		e.put(doctor.Limits(os.Getpid(), "this shell")...)
	}
	if o.Database {
		e.doing("the database")
		if err := e.database(ctx, cfg); err != nil {
			return err
		}
	}
	if in.Agents {
		e.agents(ctx, in)
	}
	return ctx.Err()
}

func (e *examiner) doing(what string) { e.tell(doctor.Line{Doing: what}) }

func (e *examiner) put(checks ...doctor.Check) {
	for _, c := range checks {
		e.tell(doctor.Line{Check: &c})
	}
}

// database looks at a database that nobody has open, under the lock of its
// folder. It makes neither.
func (e *examiner) database(ctx context.Context, cfg *config.Config) error {
	if _, err := os.Stat(cfg.DB()); errors.Is(err, fs.ErrNotExist) {
		e.put(doctor.Okf(doctor.GroupStore, "database", "there is none yet: the first start makes it"))
		return nil
	}
	lock, err := proc.Lock(cfg.Lock())
	if errors.Is(err, proc.ErrLocked) {
		e.put(doctor.Warnf(doctor.GroupStore, "database", "Look again in a moment.", "not looked at: a host has just taken the folder"))
		return nil
	}
	if err != nil {
		e.put(doctor.Warnf(doctor.GroupStore, "database", "Run this as the user who runs the host.", "not looked at: %v", err))
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, lockedPatience)
	defer cancel()
	e.put(doctor.Database(store.ConditionOf(ctx, cfg.DB())))
	return lock.Close()
}

// agents looks at each agent that is there, and names those that are not.
func (e *examiner) agents(ctx context.Context, in doctor.Request) {
	e.doing("where agents are")
	paths := e.catalogue.Paths(ctx)
	e.put(e.paths(paths))
	e.catalogue.Renew()
	var ready []agent.Found
	var missing []string
	for _, f := range e.catalogue.List(ctx) {
		switch {
		case f.ID == agent.TourID:
		case f.Ready:
			ready = append(ready, f)
		default:
			if c, say := e.absent(f, in.Shell[f.ID]); say {
				e.put(c)
			} else {
				missing = append(missing, f.Name)
			}
		}
	}
	checks := make([]doctor.Check, len(ready))
	busy := map[string]bool{}
	var mu sync.Mutex
	mark := func(name string, on bool) {
		mu.Lock()
		defer mu.Unlock()
		if busy[name] = on; !on {
			delete(busy, name)
		}
		var names []string
		for _, f := range ready {
			if busy[f.Name] {
				names = append(names, f.Name)
			}
		}
		if len(names) > 0 && ctx.Err() == nil {
			e.doing("how they answer: " + strings.Join(names, ", "))
		}
	}
	room := make(chan struct{}, interviews)
	var group sync.WaitGroup
	for i, f := range ready {
		group.Go(func() {
			room <- struct{}{}
			defer func() { <-room }()
			mark(f.Name, true)
			defer mark(f.Name, false)
			checks[i] = e.interview(ctx, f, paths, in)
		})
	}
	group.Wait()
	e.put(checks...)
	if len(ready) == 0 && ctx.Err() == nil {
		e.put(doctor.Warnf(doctor.GroupAgents, "any", "Install one: `holdfast up` offers it, `holdfast agents` says how.", "no agent that can be started was found; the built-in tour works without one"))
	}
	if len(missing) > 0 {
		e.put(doctor.Okf(doctor.GroupAgents, "not here", "%s (`holdfast agents` says how each is installed)", strings.Join(missing, ", ")))
	}
}

// paths says along what agents are looked for, and with whose eyes.
func (e *examiner) paths(p agent.Paths) doctor.Check {
	whose, own := "the host looks along the service's own PATH", "as the host sees them"
	if e.shell {
		whose, own = "this shell looks along its PATH", "as this shell sees them, not as a service would"
	}
	if p.Err != nil {
		return doctor.Warnf(doctor.GroupAgents, "PATH", "See what its profile does without a terminal, or name the agents' commands in config.toml. The shell is asked again after five minutes.",
			"%s and in the usual places; the login shell %s did not tell its PATH: %v", whose, p.Name, p.Err)
	}
	return doctor.Okf(doctor.GroupAgents, "PATH", "%s, that of the login shell %s, and in the usual places: %s", whose, p.Name, own)
}

// absent judges an agent that cannot be started; one that nobody seems to want
// is not worth a line.
func (e *examiner) absent(f agent.Found, shell string) (c doctor.Check, say bool) {
	switch {
	case shell != "" && !f.Configured && !f.Partly:
		return doctor.Warnf(doctor.GroupAgents, f.ID,
			fmt.Sprintf("Put its folder on the PATH of your login shell, then `holdfast restart`; or `holdfast service install`, which gives the service this shell's PATH; or name it in config.toml: [agents.%s] command = [%q, …].", f.ID, shell),
			"%s is on this shell's PATH (%s), and the host does not find it: its PATH is another", f.Name, shell), true
	case f.Configured:
		return doctor.Failf(doctor.GroupAgents, f.ID, "Correct the command of [agents."+f.ID+"] in config.toml, then `holdfast restart`.", "%s: %s", f.Name, f.Reason), true
	case f.Partly:
		return doctor.Warnf(doctor.GroupAgents, f.ID, "`holdfast agents` says how it is installed.", "%s: %s", f.Name, f.Reason), true
	}
	return doctor.Check{}, false
}

// interview starts one agent, asks who it is, and ends it.
func (e *examiner) interview(ctx context.Context, f agent.Found, paths agent.Paths, in doctor.Request) doctor.Check {
	where := f.Path
	if f.Configured {
		where += ", of config.toml"
	} else {
		where += ", " + paths.Whence(f.Path)
	}
	name := f.Name
	if f.Version != "" {
		name += " " + f.Version
	}
	if e.safe != "" {
		return doctor.Warnf(doctor.GroupAgents, f.ID, "Put right what the page Host shows, then: holdfast restart", "%s (%s) was not started: %s", name, where, e.safe)
	}
	a, err := e.catalogue.Get(ctx, f.ID)
	if err != nil {
		return doctor.Failf(doctor.GroupAgents, f.ID, "Look again: it has just gone.", "%s: %v", name, err)
	}
	mark := e.home + ":" + session.Examined + ":" + f.ID + "-" + strings.ToLower(rand.Text()[:8])
	r, err := interview.Ask(ctx, a, interview.Options{Mark: mark, Version: Version, Deadline: time.Duration(in.DeadlineMS) * time.Millisecond})
	if v := r.Version(); v != "" && f.Version == "" {
		name += " " + v
	}
	words := a.Command
	if strings.Contains(strings.Join(words, ""), "\n") { // a start with code of ours
		words = []string{f.Path}
	}
	again := "Start it by hand and see what it says: " + strings.Join(quoted(words), " ")
	switch {
	case err != nil:
		return doctor.Failf(doctor.GroupAgents, f.ID, again, "%s: %v (%s)", name, err, where)
	case r.Login == interview.NeedsLogin:
		login := a.Login
		if login == "" {
			login = "Log in as its makers say, as the user who runs the host."
		}
		return doctor.Warnf(doctor.GroupAgents, f.ID, login, "%s starts, and nobody is logged in (%s)", name, where)
	case r.Login == interview.LoginUnknown:
		return doctor.Failf(doctor.GroupAgents, f.ID, again, "%s starts, and opens no session: %s (%s)", name, r.Said, where)
	}
	return doctor.Okf(doctor.GroupAgents, f.ID, "%s, logged in, answered after %.1f s (%s)", name, r.Took.Seconds(), where)
}

// quoted makes words that a shell takes as they are.
func quoted(words []string) []string {
	out := make([]string, len(words))
	for i, w := range words {
		if out[i] = w; w == "" || strings.ContainsAny(w, " \t'\"\\$`*?[]{}()<>|&;#~") {
			out[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
	}
	return out
}

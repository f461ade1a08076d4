// Package agent is the catalogue of agents: which ones this machine has, how
// each is started, and what each does right and wrong, as data.
//
// It finds and describes; it starts no agent and speaks no protocol. The only
// programs it runs are the login shell, once, and `--version` of commands that
// it knows. A configured agent is never run to look at it, unless a person asks
// for that in so many words (package interview, below).
package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast/internal/config"
)

// Sentinels that Get wraps.
var (
	ErrUnknown = errors.New("unknown agent")
	ErrMissing = errors.New("agent is not installed")
)

// Resume says how a session comes back in a new process of its agent.
type Resume string

// The ways.
const (
	// ResumeAdvertised is for agents that nobody has looked at: resume if the
	// agent offers it, else load if it offers that, else a new session.
	ResumeAdvertised Resume = ""
	// ResumeResume is session/resume: no replay.
	ResumeResume Resume = "resume"
	// ResumeLoad is session/load: the replay is dropped.
	ResumeLoad Resume = "load"
	// ResumeNone is a new session that is told of the transcript.
	ResumeNone Resume = "none"
)

// The kinds of a Setting.
const (
	SettingOption = "option" // session/set_config_option
	SettingMode   = "mode"   // session/set_mode
)

// Setting is one setting of an agent's session, made after each new, load or
// resume, provided that the agent offers it.
type Setting struct {
	Kind  string // SettingOption or SettingMode
	ID    string // of the option; "" for a mode
	Value string
}

// Agent is what it takes to run one agent and to know its ways.
type Agent struct {
	ID, Name string
	// Version is what is known without starting it, or "".
	Version string
	// Command begins with an absolute path, except for a configured agent
	// whose command was not found.
	Command []string
	// Env is the whole environment of the child.
	Env []string

	Resume Resume
	// LoadAfter is the age that a session must have before it can be loaded
	// without harm; 0 for most.
	LoadAfter time.Duration
	// LoadNeedsModes: a load that succeeds without modes in its result means
	// that the agent does not know the session.
	LoadNeedsModes bool
	// Ask makes the agent ask a person; it is set again after each load.
	Ask []Setting
	// AskNote says, for a person, what else decides whether it asks; or "".
	AskNote string
	// PermissionDeadline is the agent's own limit on an answer, counted from
	// its question; 0 if it waits for ever.
	PermissionDeadline time.Duration
	// Forks: it reports session/fork.
	Forks bool
	// Steering is how it is told something in the middle of a turn.
	Steering Steering
	// Descriptors is how many one live agent holds after a turn, with its
	// helper processes; 0 if nobody has counted.
	Descriptors int
	// LoginSetup is the id of a way to log in that the agent offers always: one
	// that offers no other has no login. "" for an agent that says so only when
	// a session is opened.
	LoginSetup string
	// Install and Login are shown to a person: how to get it, how to log in.
	Install, Login string
}

// Found is one agent as a list shows it.
type Found struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Version string `json:"version"`
	Path    string `json:"path"`
	Ready   bool   `json:"ready"`
	Reason  string `json:"reason"` // why it is not ready and what to do; or ""

	// Configured: config.toml names its command.
	Configured bool `json:"-"`
	// Partly: the person has the product, and not what speaks ACP for it; or a
	// program of its name that does not work.
	Partly bool `json:"-"`
}

// Options configures a Catalogue.
type Options struct {
	// Builtin is the command of the built-in agent; empty leaves it out.
	Builtin []string
	// Configured are the agents of config.toml. One with the id of a known
	// agent replaces its command and adds to its environment.
	Configured map[string]config.Agent
	// Home is the user's home folder.
	Home string
	// Env is the environment of the service, as os.Environ gives it.
	Env []string
	Log *slog.Logger
}

const (
	listDeadline = 6 * time.Second  // of a whole List
	listFresh    = 30 * time.Second // a list is not made anew before
)

// Catalogue knows the agents of this machine. Close it.
type Catalogue struct {
	opts  Options
	login *login
	vers  *versions
	// root replaces "/" before folders outside the user's home in tests.
	root string

	mu      sync.Mutex
	made    time.Time
	list    []Found
	closed  bool
	pending chan struct{} // closed when the list under way is done; nil: none is
}

// New returns a catalogue. It looks at nothing yet.
func New(o Options) *Catalogue {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Catalogue{opts: o, login: newLogin(o), vers: newVersions(), root: "/"}
}

// Close ends what still runs and waits for it.
func (c *Catalogue) Close() error {
	c.login.cancel()
	c.vers.cancel()
	c.mu.Lock()
	c.closed = true
	pending := c.pending
	c.mu.Unlock()
	if pending != nil {
		<-pending
	}
	c.login.wg.Wait()
	return nil
}

// LoginEnv returns the environment that children start from: the service's
// variables over the login shell's, one PATH of both and of the well-known
// folders, and nothing that belongs to a supervisor or to the host. A shell
// that does not answer in time is done without.
func (c *Catalogue) LoginEnv(ctx context.Context) []string {
	return flatten(c.base(ctx))
}

// Get returns the agent with the id, ready to be started. The error wraps
// ErrUnknown or ErrMissing and says what to do.
func (c *Catalogue) Get(ctx context.Context, id string) (Agent, error) {
	e, ok := c.entry(id)
	if !ok {
		return Agent{}, fmt.Errorf("%w: there is no agent %q; the ones there are: %s", ErrUnknown, id, strings.Join(c.ids(), ", "))
	}
	env := c.base(ctx)
	p, err := c.resolve(e, env)
	if err != nil {
		return Agent{}, fmt.Errorf("%w: %s", ErrMissing, e.missing(err))
	}
	a := e.Agent
	a.Command = p.command
	if p.start != nil {
		a.Command, a.PermissionDeadline = p.start, p.deadline
	}
	a.Version = p.version
	if a.Version == "" {
		a.Version = c.vers.known(p.command[0])
	}
	a.Env = flatten(e.environment(env, p))
	return a, nil
}

// Name is what a person calls the agent with the id; it asks neither the disk
// nor the login shell.
func (c *Catalogue) Name(id string) string {
	if e, ok := c.entry(id); ok {
		return e.Name
	}
	return id
}

// List tells of every agent: found ones first, in a stable order. It answers
// within six seconds and from memory for half a minute after.
func (c *Catalogue) List(ctx context.Context) []Found {
	c.mu.Lock()
	if c.closed || c.list != nil && time.Since(c.made) < listFresh {
		defer c.mu.Unlock()
		return slices.Clone(c.list)
	}
	if c.pending == nil {
		c.pending = make(chan struct{})
		// The look outlives a caller that gives up, and others wait for the
		// same one. Close waits for it.
		go c.look(context.WithoutCancel(ctx), c.pending)
	}
	pending := c.pending
	c.mu.Unlock()
	select {
	case <-pending:
	case <-ctx.Done():
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.list)
}

// Renew has the next List look anew.
func (c *Catalogue) Renew() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = nil
}

// look makes the list.
func (c *Catalogue) look(ctx context.Context, done chan struct{}) {
	ctx, cancel := context.WithTimeout(ctx, listDeadline)
	defer cancel()
	env := c.base(ctx)
	ids := c.ids()
	list := make([]Found, len(ids))
	var group sync.WaitGroup
	for i, id := range ids {
		e, _ := c.entry(id)
		group.Go(func() { list[i] = c.found(ctx, e, env) })
	}
	group.Wait()
	// Found ones first; the built-in one after the others that were found.
	slices.SortStableFunc(list, func(a, b Found) int { return rank(a) - rank(b) })
	c.mu.Lock()
	c.list, c.made, c.pending = list, time.Now(), nil
	c.mu.Unlock()
	close(done)
}

func rank(f Found) int {
	switch {
	case !f.Ready:
		return 2
	case f.ID == TourID:
		return 1
	}
	return 0
}

// found describes one agent for the list.
func (c *Catalogue) found(ctx context.Context, e entry, env map[string]string) Found {
	f := Found{ID: e.ID, Name: e.Name, Configured: e.configured}
	p, err := c.resolve(e, env)
	if err != nil {
		f.Reason = e.missing(err)
		_, f.Partly = lookPath(e.instead, env["PATH"])
		return f
	}
	f.Path, f.Version, f.Ready = p.command[0], p.version, true
	if e.configured || e.ID == TourID || (f.Version != "" && e.check == nil) {
		return f
	}
	child := e.environment(env, p)
	if e.check != nil {
		if err := c.vers.check(ctx, p.command[0], e.check, child); err != nil {
			f.Ready, f.Reason = false, fmt.Sprintf("%s is there, but it is not %s: %v. %s", f.Path, e.Name, err, e.Install)
			return f
		}
	}
	if e.version != nil {
		v, err := c.vers.ask(ctx, p.command[0], e.version, child)
		f.Version = v
		if err != nil && !e.versionOptional {
			f.Ready, f.Partly, f.Reason = false, true, fmt.Sprintf("%s %s failed: %v", f.Path, strings.Join(e.version, " "), err)
		}
	}
	return f
}

// ids lists the agents in the order of the catalogue: configured ones, known
// ones, the built-in one.
func (c *Catalogue) ids() []string {
	var out []string
	for _, id := range slices.Sorted(maps.Keys(c.opts.Configured)) {
		if _, ok := lookUp(id); !ok && id != TourID {
			out = append(out, id)
		}
	}
	for _, k := range catalogue() {
		out = append(out, k.ID)
	}
	if len(c.opts.Builtin) > 0 {
		out = append(out, TourID)
	}
	return out
}

// entry returns what is known of id, with its configuration applied.
func (c *Catalogue) entry(id string) (entry, bool) {
	if id == TourID {
		if len(c.opts.Builtin) == 0 {
			return entry{}, false
		}
		e := tour()
		e.command = c.opts.Builtin
		return e, true
	}
	e, known := lookUp(id)
	conf, configured := c.opts.Configured[id]
	if !configured {
		return e, known
	}
	if !known {
		e = entry{Agent: Agent{ID: id, Name: conf.Name}}
	}
	if conf.Name != "" && conf.Name != id {
		e.Name = conf.Name
	}
	if conf.PermissionDeadline > 0 {
		e.PermissionDeadline = time.Duration(conf.PermissionDeadline)
	}
	e.command, e.set, e.configured = conf.Command, conf.Env, true
	return e, true
}

// base is the environment that children start from.
func (c *Catalogue) base(ctx context.Context) map[string]string {
	env := c.login.env(ctx)
	env["PATH"] = joinPath(env["PATH"], c.wellKnown(env))
	return env
}

// wellKnown lists the folders where people's tools lie and which a service
// does not have on its PATH.
func (c *Catalogue) wellKnown(env map[string]string) []string {
	home := c.opts.Home
	if home == "" {
		home = env["HOME"]
	}
	var dirs []string
	if home != "" {
		for _, d := range []string{".local/bin", ".npm-global/bin", ".bun/bin", ".volta/bin", ".cargo/bin", ".opencode/bin"} {
			dirs = append(dirs, filepath.Join(home, d))
		}
		nvm, _ := filepath.Glob(filepath.Join(home, ".nvm/versions/node/*/bin"))
		slices.SortFunc(nvm, func(a, b string) int { return naturally(b, a) }) // newest first
		dirs = append(dirs, nvm...)
	}
	for _, d := range []string{"opt/homebrew/bin", "usr/local/bin", "usr/bin", "bin"} {
		dirs = append(dirs, filepath.Join(c.root, d))
	}
	return slices.DeleteFunc(dirs, func(d string) bool {
		info, err := os.Stat(d)
		return err != nil || !info.IsDir()
	})
}

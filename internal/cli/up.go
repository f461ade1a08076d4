package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-dev/holdfast/internal/config"
	"github.com/holdfast-dev/holdfast/internal/doctor"
	"github.com/holdfast-dev/holdfast/internal/handoff"
	"github.com/holdfast-dev/holdfast/internal/supervise"
)

type upCmd struct {
	hostFlags
	NoBrowser        bool `help:"Do not open a browser."`
	Foreground       bool `help:"Be exactly serve: ask nothing, open no browser. Also HOLDFAST_FOREGROUND=1."`
	Detach           bool `help:"Start the host in the background, wait until it is healthy, and return."`
	Yes              bool `short:"y" help:"Where no agent is found, install Hermes Agent without asking."`
	SkipAgentInstall bool `help:"Never offer to install an agent."`
	Why              bool `help:"Print what was seen of a supervisor and what follows; start nothing."`
}

// Help is shown after the flags.
func (upCmd) Help() string {
	return `The same as serve, in this same process, with a beginning for a person: it offers to install an agent where there is none, prints a link that logs a browser in, and opens it where there is one. The host runs until Ctrl-C; nothing is left in the background but the agents' keepers.

Under a supervisor (launchd, systemd, runit, s6, supervisord, daemontools) it is serve and nothing else. With --detach, which is refused there, the host goes on in the background: holdfast status, logs, stop.

Examples:
  holdfast up
  holdfast up --no-browser --addr 127.0.0.1:9000
  holdfast up --detach
  holdfast up --why`
}

// setting is how up was started.
type setting struct {
	verdict supervise.Verdict
	flag    string // the flag or variable that asks for the foreground; "" where none does
}

// plain tells whether up is serve and nothing else.
func (s setting) plain() bool { return s.flag != "" || s.verdict.Supervised() }

func (c *upCmd) setting(a *app) setting {
	self := supervise.Current()
	self.Env = a.Env
	s := setting{verdict: supervise.Detect(self)}
	switch {
	case c.Foreground:
		s.flag = "--foreground"
	case truth(a.env("HOLDFAST_FOREGROUND")):
		s.flag = "HOLDFAST_FOREGROUND"
	case truth(a.env("HERMES_WEBUI_FOREGROUND")):
		s.flag = "HERMES_WEBUI_FOREGROUND"
	}
	return s
}

func truth(v string) bool {
	return !slices.Contains([]string{"", "0", "false", "no", "off"}, strings.ToLower(strings.TrimSpace(v)))
}

// reason says for a person why up is plain.
func (s setting) reason() string {
	if s.flag != "" {
		return s.flag + " is given"
	}
	for _, f := range s.verdict.Findings {
		if f.Counts {
			return fmt.Sprintf("this is a service of %s (%s)", s.verdict.Unit.Manager, strings.TrimSuffix(f.What, "."))
		}
	}
	return ""
}

func (s setting) refuseDetach() error {
	why := "A supervisor would see its program end and start another one. Leave --detach away, and the host runs in this process"
	if s.flag != "" {
		why = "That asks for the contrary. Leave one of the two away"
	}
	return &Error{Code: ExitNoRestart, Msg: fmt.Sprintf("--detach is refused: %s. %s. `holdfast up --why` tells what was seen", s.reason(), why)}
}

// Run runs a host with an interactive beginning.
func (c *upCmd) Run(ctx context.Context, a *app) error {
	s := c.setting(a)
	if c.Why {
		s.explain(a)
		return nil
	}
	if c.Detach && s.plain() {
		return s.refuseDetach()
	}
	o, err := (&serviceFlags{}).options(a, c.hostFlags)
	if err != nil {
		return err
	}
	cfg, err := a.load(c.hostFlags)
	if err != nil {
		return err
	}
	if !s.plain() && a.interactive() {
		a.signals.tieToTerminal()
	}
	// A program that replaced the one before it in this process: the beginning
	// is long over.
	resumed := a.env(handoff.Var) != ""
	if s.plain() || resumed {
		o.Ready = a.announce
		return a.Serve(ctx, cfg, o)
	}
	if _, held, err := doctor.Look(cfg.Home); err != nil || !held {
		// A start that is refused for the host that is there needs no agent.
		if err := c.offerAgents(ctx, a, cfg); err != nil {
			return err
		}
	}
	if c.Detach {
		return a.detach(ctx, cfg, c.hostFlags)
	}
	// In a terminal the log would run over what is said to a person.
	o.Link, o.LogFileOnly = true, a.interactive()
	wait := a.progress("Starting")
	defer wait.stop()
	o.Ready = func(r Ready) {
		wait.stop()
		if !r.Resumed {
			c.greet(ctx, a, cfg, r)
		}
	}
	return a.Serve(ctx, cfg, o)
}

// greet tells a person where the host is, and opens its page.
func (c *upCmd) greet(ctx context.Context, a *app, cfg *config.Config, r Ready) {
	a.printf("Holdfast %s runs at %s\n", a.Version, r.URL)
	if r.Link != "" {
		a.printf("\nThis link logs a browser in, once:\n\n  %s\n\nAnother one: holdfast link\n", r.Link)
	}
	if a.interactive() {
		a.printf("Its log: %s\n", cfg.LogFile())
	}
	a.printf("Ctrl-C stops the host.\n")
	if !c.NoBrowser && a.interactive() && r.Link != "" {
		if err := a.browse(ctx, r.Link); err != nil {
			a.notef("No browser could be opened (%v); open the link yourself.\n", err)
		}
	}
}

// explain prints what was seen and what follows from it.
func (s setting) explain(a *app) {
	a.printf("What was seen:\n")
	for _, f := range s.verdict.Findings {
		mark := "  "
		if f.Counts {
			mark = "* "
		}
		a.printf("  %s%s\n", mark, oneLine(f.What))
	}
	if s.flag != "" {
		a.printf("  * %s is given.\n", s.flag)
	}
	a.printf("\n")
	switch {
	case s.verdict.Supervised():
		a.printf("A supervisor runs this: %s.\n", oneLine(s.verdict.Unit.String()))
	case s.flag != "":
		a.printf("No supervisor was found, and the foreground is asked for.\n")
	default:
		a.printf("No supervisor runs this.\n")
	}
	if s.plain() {
		a.printf("So up is serve: it asks nothing, opens no browser, and refuses --detach.\n")
	} else {
		a.printf("So up may ask, opens a browser where there is one, and takes --detach.\n")
	}
}

// progress is one line that tells how long a person has waited. It appears
// after a moment, and only on a terminal.
type progress struct {
	what atomic.Pointer[string]
	once sync.Once
	done chan struct{}
	over chan struct{}
}

func (a *app) progress(what string) *progress {
	p := &progress{done: make(chan struct{}), over: make(chan struct{})}
	p.say(what)
	if !isTerminal(a.Err) {
		close(p.over)
		return p
	}
	go func() {
		defer close(p.over)
		began, shown := time.Now(), false
		tick := time.NewTicker(500 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				a.notef("\r\x1b[K%s … %d s ", *p.what.Load(), int(time.Since(began).Seconds()))
				shown = true
			case <-p.done:
				if shown {
					a.notef("\r\x1b[K")
				}
				return
			}
		}
	}()
	return p
}

// say changes what the line tells.
func (p *progress) say(what string) { p.what.Store(&what) }

// stop takes the line away. It may be called twice.
func (p *progress) stop() {
	p.once.Do(func() { close(p.done) })
	<-p.over
}

// stderrPath is where what a detached host prints by itself goes: what the
// runtime says when it breaks, above all.
func stderrPath(cfg *config.Config) string { return filepath.Join(cfg.Logs(), "stderr.log") }

// ownExe is this program, for a process that is to outlive it.
func ownExe() (string, error) {
	exe, err := os.Executable()
	if err != nil {
		return "", failf("find this program: %w", err)
	}
	if why := passing(exe); why != "" && strings.Contains(exe, "/go-build") {
		return "", failf("this program does not stay where it is (%s: %s), and a host in the background needs it. Build it (make build) or install it (go install ./cmd/holdfast) first", exe, why)
	}
	return exe, nil
}

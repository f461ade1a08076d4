package cli

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/holdfast-dev/holdfast/internal/config"
	"github.com/holdfast-dev/holdfast/internal/doctor"
)

type doctorCmd struct {
	JSON            bool `name:"json" help:"Print JSON."`
	Agents          bool `default:"true" negatable:"" help:"Start each agent, see whether it answers, and end it again."`
	RestartIfWedged bool `help:"End a host that is stuck as a whole, so that its supervisor starts another one; look at nothing else."`
	Force           bool `help:"With --restart-if-wedged: end it also where no supervisor runs it."`

	// For tests.
	Tries         int           `hidden:"" default:"3"`
	Pause         time.Duration `hidden:"" default:"5s"`
	Deadline      time.Duration `hidden:"" default:"10s"`
	Young         time.Duration `hidden:"" default:"60s"`
	AgentDeadline time.Duration `hidden:""`
	Silence       time.Duration `hidden:"" default:"10s"`
}

// Help is shown after the flags.
func (doctorCmd) Help() string {
	return `It looks at the machine, the limits, the service, the store and the agents, and says what to do about what is wrong. A host that runs is asked to look at its limits, its database and the agents itself, because its PATH may be another than this shell's; without one, or with one that does not answer, the shell's own eyes must do, and the output says so.

Each agent that is installed is started in an empty folder, asked to initialize, asked for a session (that shows whether it is logged in; the session is deleted again where the agent can do that), and ended. No model is asked anything.

Exit codes: 0 all is well, or there are warnings only; 1 something failed.

With --restart-if-wedged, which the service's timer runs once a minute, it looks from outside only, and a host that answers none of three requests in a row is ended: 1; anything else is 0. One that answers at all, or is less than a minute old, is left alone. What was seen is kept in the folder "crash" of the state folder, the stacks of the host in logs/stderr.log or in the journal.

Examples:
  holdfast doctor
  holdfast doctor --no-agents --json
  holdfast doctor --restart-if-wedged`
}

// Run looks.
func (c *doctorCmd) Run(ctx context.Context, a *app) error {
	if c.RestartIfWedged {
		return c.restart(ctx, a)
	}
	wait := a.progress("Looking at the host")
	defer wait.stop()
	e := &examination{doctorCmd: c, a: a, wait: wait}
	e.look(ctx)
	wait.stop()
	if err := e.print(); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return failf("the look was broken off; the agents that it started are ended")
	}
	if slices.ContainsFunc(e.checks, func(c doctor.Check) bool { return c.State == doctor.Failed }) {
		return &Error{Code: ExitFailure}
	}
	return nil
}

func (c *doctorCmd) options(home string) doctor.Options {
	return doctor.Options{Home: home, Tries: max(1, c.Tries), Pause: c.Pause, Deadline: c.Deadline, Young: c.Young}
}

// restart is the second line: it looks at the host alone, from outside.
func (c *doctorCmd) restart(ctx context.Context, a *app) error {
	cfg, _ := a.folders() // a broken configuration is no reason not to look
	o := c.options(cfg.Home)
	r := doctor.Examine(ctx, o)
	if c.JSON {
		if err := a.printChecks(r.Checks, r.Wedged); err != nil {
			return err
		}
	} else {
		w := tabwriter.NewWriter(a.Out, 0, 4, 2, ' ', 0)
		for _, check := range r.Checks {
			row(w, string(check.State), check.Name, check.Seen)
			if check.Remedy != "" {
				row(w, "", "", check.Remedy)
			}
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	if !r.Wedged {
		return nil
	}
	note, err := doctor.End(ctx, o, r, c.Force)
	if errors.Is(err, doctor.ErrNoSupervisor) {
		return failf("the host is stuck and was left as it is: %w. End it with --force, then start one: holdfast up", err)
	}
	if err != nil {
		return failf("the host is stuck and could not be ended: %w", err)
	}
	return failf("the host was stuck and is ended; its supervisor starts another one. What was seen: %s", note)
}

// printChecks prints what scripts read.
func (a *app) printChecks(checks []doctor.Check, wedged bool) error {
	if checks == nil {
		checks = []doctor.Check{}
	}
	data, err := json.Marshal(map[string]any{"checks": checks, "wedged": wedged})
	if err != nil {
		return err
	}
	return a.printJSON(data)
}

// examination is one look at everything.
type examination struct {
	*doctorCmd
	a    *app
	wait *progress

	cfg    *config.Config
	broken error // what is wrong with the configuration
	host   *doctor.Report
	checks []doctor.Check
}

func (e *examination) put(checks ...doctor.Check) { e.checks = append(e.checks, checks...) }

// look goes from what needs nothing to what needs most.
func (e *examination) look(ctx context.Context) {
	e.cfg, e.broken = e.a.folders()
	e.put(doctor.Machine(ctx)...)
	e.host = doctor.Examine(ctx, e.options(e.cfg.Home))
	for _, c := range e.host.Checks {
		if c.State != doctor.OK || c.Name != "folder" && (e.host.Held || c.Name != "host") { // those are said below
			e.put(c)
		}
	}
	if !e.host.Held && !e.host.Bad() {
		e.put(doctor.Warnf(doctor.GroupService, "host", "Start one: `holdfast service start` where a service is installed, else `holdfast up`.",
			"none runs, so limits and agents are seen as this shell sees them, not as a service would"))
	}
	if e.broken != nil {
		e.put(doctor.Failf(doctor.GroupService, "configuration", "Put it right before the next start of the host.", "%v", e.broken))
	}
	e.put(doctor.Folder(e.cfg.Home)...)
	answered := e.control(ctx)
	e.wait.say("Looking at the service")
	starting := e.service(ctx)
	if answered {
		answered = e.inside(ctx)
	}
	if !answered {
		e.outside(ctx, starting)
	}
}

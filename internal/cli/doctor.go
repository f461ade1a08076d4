package cli

import (
	"context"
	"encoding/json"
	"errors"
	"text/tabwriter"
	"time"

	"github.com/holdfast-dev/holdfast/internal/doctor"
)

type doctorCmd struct {
	RestartIfWedged bool `help:"End a host that is stuck as a whole, so that its supervisor starts another one."`
	Force           bool `help:"With --restart-if-wedged: end it also where no supervisor runs it."`
	JSON            bool `name:"json" help:"Print JSON."`

	// For tests.
	Tries    int           `hidden:"" default:"3"`
	Pause    time.Duration `hidden:"" default:"5s"`
	Deadline time.Duration `hidden:"" default:"10s"`
	Young    time.Duration `hidden:"" default:"60s"`
}

// Help is shown after the flags.
func (doctorCmd) Help() string {
	return `It looks from outside and needs nothing of the host: who holds the state folder, how that process is, what it answers. It fails (1) where something is wrong.

With --restart-if-wedged, which the service's timer runs once a minute, a host that answers none of three requests in a row is ended. One that answers at all, or is less than a minute old, is left alone. What was seen is kept in the folder "crash" of the state folder, the stacks of the host in logs/stderr.log or in the journal.

Examples:
  holdfast doctor
  holdfast doctor --restart-if-wedged`
}

// Run examines the host.
func (c *doctorCmd) Run(ctx context.Context, a *app) error {
	// A broken configuration is no reason not to look.
	cfg, broken := a.folders()
	o := doctor.Options{Home: cfg.Home, Tries: max(1, c.Tries), Pause: c.Pause, Deadline: c.Deadline, Young: c.Young}
	r := doctor.Examine(ctx, o)
	if broken != nil && !c.RestartIfWedged {
		r.Checks = append(r.Checks, doctor.Check{Name: "configuration", Bad: true, Seen: broken.Error(), Remedy: "Put it right before the next start of the host."})
	}
	if err := c.print(a, r); err != nil {
		return err
	}
	if !c.RestartIfWedged {
		if r.Bad() {
			return &Error{Code: ExitFailure}
		}
		return nil
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

func (c *doctorCmd) print(a *app, r *doctor.Report) error {
	if c.JSON {
		data, err := json.Marshal(map[string]any{"checks": r.Checks, "wedged": r.Wedged})
		if err != nil {
			return err
		}
		return a.printJSON(data)
	}
	w := tabwriter.NewWriter(a.Out, 0, 4, 2, ' ', 0)
	for _, check := range r.Checks {
		mark := "ok"
		if check.Bad {
			mark = "BAD"
		}
		row(w, mark, check.Name, check.Seen)
		if check.Remedy != "" && check.Bad {
			row(w, "", "", check.Remedy)
		}
	}
	return w.Flush()
}

package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/holdfast-dev/holdfast/internal/proc"
	"github.com/holdfast-dev/holdfast/internal/supervise"
	"github.com/holdfast-dev/holdfast/internal/watch"
)

// exitActed says that watch --once found trouble and did what it was told to.
const exitActed = 3

type watchCmd struct {
	selectFlags

	MaxFDs   string        `name:"max-fds" placeholder:"N|P%" help:"How many descriptors are too many: a number, or a share of the limit; 80% unless told."`
	HTTP     string        `name:"http" placeholder:"URL" help:"Also ask this; any answer will do."`
	Timeout  time.Duration `default:"10s" help:"How long to wait for an answer; 10s unless told."`
	Patience int           `default:"3" placeholder:"N" help:"How many looks in a row must find no answer, or no process; 3 unless told."`
	Busy     time.Duration `default:"30m" help:"How long a server at work may give no answer; 30m unless told, 0 for ever."`
	Exec     string        `placeholder:"CMD" xor:"action" help:"In trouble, run this in a shell."`
	Signal   string        `placeholder:"NAME" xor:"action" help:"In trouble, send the process a signal, such as TERM."`
	Restart  string        `placeholder:"UNIT" xor:"action" help:"In trouble, have its supervisor restart it, such as systemd:user:hermes-webui.service."`
	Cooldown time.Duration `default:"10m" help:"Act at most once in this time; 10m unless told."`
	Every    time.Duration `default:"30s" help:"How often to look; 30s unless told."`
	Once     bool          `help:"Look once and tell by the exit code; for cron."`
	Log      string        `placeholder:"FILE" type:"path" help:"Also write to this file what is told."`
	State    string        `placeholder:"FILE" type:"path" help:"What one look leaves for the next; by default in the state folder."`
	JSON     bool          `name:"json" help:"Print JSON, a line for each look that tells something."`

	// For tests.
	Young   time.Duration `hidden:"" default:"60s"`
	Confirm time.Duration `hidden:"" default:"1s"`
}

// Help is shown after the flags.
func (watchCmd) Help() string {
	return `It guards a server that is not ours: descriptors against a threshold and, with --http, whether it answers. It only tells, unless --exec, --signal or --restart says what to do. docs/watch.md has recipes for cron, launchd, systemd and runit.

Any answer counts, an error too. One that works on, or waits for a processor or a disk, is busy and not deaf. A new process with the same port or name is followed.

A UNIT is launchd:user:LABEL, launchd:system:LABEL, systemd:user:NAME.service, systemd:system:NAME.service, runit:/DIR, s6:/DIR, daemontools:/DIR or supervisord:NAME.

With --once the exit code is 0 when all is well, 1 when there is trouble (or it could not look, or act), 3 when there was trouble and it acted, 2 for wrong usage.

Examples:
  holdfast watch --port 8787 --max-fds 200
  holdfast watch --port 8787 --http http://127.0.0.1:8787/ --restart launchd:user:com.example.webui
  holdfast watch --name hermes-webui --once --signal TERM`
}

// options checks the flags.
func (c *watchCmd) options(a *app) (watch.Options, error) {
	o := watch.Options{
		URL: c.HTTP, Timeout: c.Timeout, Patience: c.Patience, Busy: c.Busy, Young: c.Young,
		Cooldown: c.Cooldown, Confirm: c.Confirm, Action: watch.Action{Exec: c.Exec},
	}
	var err error
	if o.Selector, err = c.selector(); err != nil {
		return o, err
	}
	switch {
	case o.Selector == (watch.Selector{}):
		return o, errors.New("say what to watch: --pid, --port or --name")
	case c.Patience < 1:
		return o, errors.New("--patience must be above 0")
	case c.Timeout <= 0 || c.Every <= 0:
		return o, errors.New("--timeout and --every must be above 0")
	case c.Busy < 0 || c.Cooldown < 0:
		return o, errors.New("--busy and --cooldown must not be below 0")
	}
	if c.HTTP != "" {
		u, err := url.Parse(c.HTTP)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return o, fmt.Errorf("--http %q is no address such as http://127.0.0.1:8787/", c.HTTP)
		}
	}
	threshold := c.MaxFDs
	if threshold == "" {
		// Whoever asks for answers only need not be allowed to see descriptors.
		threshold, o.Lenient = "80%", c.HTTP != ""
	}
	if o.MaxFDs, err = watch.ParseThreshold(threshold); err != nil {
		return o, fmt.Errorf("--max-fds: %w", err)
	}
	if c.Signal != "" {
		if o.Action.Signal, err = watch.ParseSignal(c.Signal); err != nil {
			return o, fmt.Errorf("--signal: %w", err)
		}
	}
	if c.Restart != "" {
		if o.Action.Restart, err = supervise.ParseUnit(c.Restart); err != nil {
			return o, fmt.Errorf("--restart: %w", err)
		}
	}
	if c.State == "" {
		cfg, _ := a.folders()
		sum := sha256.Sum256([]byte(o.Selector.String() + "\x00" + c.HTTP + "\x00" + o.Action.String()))
		c.State = filepath.Join(cfg.Home, "watch", hex.EncodeToString(sum[:8])+".json")
	}
	o.Save = func(m watch.Memory) error { return m.Save(c.State) }
	return o, nil
}

// Run watches.
func (c *watchCmd) Run(ctx context.Context, a *app) error {
	o, err := c.options(a)
	if err != nil {
		return &Error{Code: ExitUsage, Msg: err.Error() + ". See: holdfast watch --help", Err: err}
	}
	m, err := watch.Load(c.State)
	if err != nil {
		return failf("%w. Name another file with --state", err)
	}
	if c.Once {
		return c.once(ctx, a, o, &m)
	}
	return c.steady(ctx, a, o, &m)
}

// once looks once, and tells by its code.
func (c *watchCmd) once(ctx context.Context, a *app, o watch.Options, m *watch.Memory) error {
	f, err := watch.Look(ctx, o, m)
	if err != nil {
		return c.blind(a, o, err)
	}
	if err := o.Save(*m); err != nil {
		// Patience would never run out.
		return failf("%w. Name another file with --state", err)
	}
	if c.JSON {
		c.json(a, f)
	}
	if f.State != watch.Well {
		if err := c.log(f); err != nil {
			return err
		}
	}
	switch {
	case f.State == watch.Trouble && f.Acted:
		return c.verdict(exitActed, f)
	case f.State == watch.Trouble:
		return c.verdict(ExitFailure, f)
	}
	if !c.JSON {
		a.printf("%s\n", told(f))
	}
	return nil
}

// verdict ends a run with the code; what was seen is the error, so that cron
// mails it, unless it was printed as JSON.
func (c *watchCmd) verdict(code int, f *watch.Finding) error {
	if c.JSON {
		return &Error{Code: code}
	}
	return &Error{Code: code, Msg: told(f)}
}

// told is a finding in a line.
func told(f *watch.Finding) string {
	text := fmt.Sprintf("%s: %s: %s", f.State, f.Watched, f.Text)
	switch {
	case f.Acted:
		text += ". Done: " + f.Action
	case f.Failed != "":
		text += ". Not done (" + f.Action + "): " + f.Failed
	}
	return oneLine(text)
}

func (c *watchCmd) blind(a *app, o watch.Options, err error) error {
	switch {
	case errors.Is(err, context.Canceled):
		return nil
	case errors.Is(err, watch.ErrNoLimit):
		return &Error{Code: ExitUsage, Msg: err.Error(), Err: err}
	}
	err = seen(o.Selector, err)
	if logErr := c.write(err.Error()); logErr != nil {
		a.notef("holdfast: %v\n", logErr)
	}
	return err
}

func (c *watchCmd) json(a *app, f *watch.Finding) {
	if data, err := json.Marshal(f); err == nil {
		a.printf("%s\n", data)
	}
}

func (c *watchCmd) log(f *watch.Finding) error { return c.write(told(f)) }

// write adds a line to the file of --log.
func (c *watchCmd) write(line string) error {
	if c.Log == "" {
		return nil
	}
	file, err := os.OpenFile(c.Log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return failf("write the log: %w", err)
	}
	_, err = fmt.Fprintf(file, "%s %s\n", time.Now().Format(time.RFC3339), oneLine(line))
	if err = errors.Join(err, file.Close()); err != nil {
		return failf("write the log: %w", err)
	}
	return nil
}

// steady looks until it is told to end. It tells what changes, and of what
// stays bad again now and then.
func (c *watchCmd) steady(ctx context.Context, a *app, o watch.Options, m *watch.Memory) error {
	if o.Selector.PID != 0 {
		ids, err := o.Selector.Find()
		if err != nil {
			return c.blind(a, o, err)
		}
		o.Pinned = ids[0]
	}
	remind := max(c.Cooldown, time.Minute)
	var last watch.State
	var lastBlind string
	var at time.Time
	for {
		was := *m
		f, err := watch.Look(ctx, o, m)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, watch.ErrNoLimit), errors.Is(err, proc.ErrUnsupported):
			return c.blind(a, o, err)
		case err != nil:
			// It may pass: the server may be between two users' processes.
			if text := seen(o.Selector, err).Error(); text != lastBlind {
				a.notef("holdfast: %v\n", c.blind(a, o, err))
				lastBlind = text
			}
		default:
			lastBlind = ""
			if *m != was {
				if err := o.Save(*m); err != nil {
					a.notef("holdfast: %v\n", err)
				}
			}
			if f.State != last || f.Acted || f.State != watch.Well && time.Since(at) >= remind {
				if c.JSON {
					c.json(a, f)
				} else {
					a.printf("%s %s\n", f.Time.Format(time.DateTime), told(f))
				}
				if err := c.log(f); err != nil {
					a.notef("holdfast: %v\n", err)
				}
				last, at = f.State, time.Now()
			}
			if f.Ended {
				return failf("process %d has ended; nothing is left to watch", o.Selector.PID)
			}
		}
		if !pause(ctx, c.Every) {
			return nil
		}
	}
}

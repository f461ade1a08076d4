package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/holdfast-dev/holdfast/internal/doctor"
	"github.com/holdfast-dev/holdfast/internal/proc"
	"github.com/holdfast-dev/holdfast/internal/watch"
)

// selectFlags name a process that need not be ours.
type selectFlags struct {
	PID  int    `name:"pid" placeholder:"N" xor:"which" help:"The process with this number."`
	Port int    `placeholder:"N" xor:"which" help:"The process that listens on this TCP port."`
	Name string `placeholder:"REGEX" xor:"which" help:"Processes whose name or command line has a match."`
}

// selector checks the flags. It is zero where none was given.
func (f selectFlags) selector() (watch.Selector, error) {
	s := watch.Selector{PID: f.PID, Port: f.Port}
	switch {
	case f.PID < 0:
		return s, errors.New("--pid must be above 0")
	case f.Port < 0 || f.Port > 65535:
		return s, errors.New("--port must be between 1 and 65535")
	case f.Name != "":
		re, err := regexp.Compile(f.Name)
		if err != nil {
			return s, fmt.Errorf("--name is no regular expression: %w", err)
		}
		s.Name = re
	}
	return s, nil
}

type fdsCmd struct {
	selectFlags
	Watch watchFlag `placeholder:"10s" help:"Show what grows, every 10 s or as told, until Ctrl-C."`
	Top   int       `default:"10" placeholder:"N" help:"How many names to list; 10 unless told."`
	JSON  bool      `name:"json" help:"Print JSON: a list of processes; with --watch a line for each sample."`
}

// watchFlag is a duration that may be left out.
type watchFlag time.Duration

// IsBool lets the flag stand alone.
func (watchFlag) IsBool() bool { return true }

// UnmarshalText reads the flag.
func (w *watchFlag) UnmarshalText(text []byte) error {
	switch string(text) {
	case "", "true":
		*w = watchFlag(10 * time.Second)
		return nil
	case "false":
		*w = 0
		return nil
	}
	d, err := time.ParseDuration(string(text))
	if err != nil || d < 100*time.Millisecond {
		return fmt.Errorf("%q is no time such as 10s, or below 100ms", text)
	}
	*w = watchFlag(d)
	return nil
}

// Help is shown after the flags.
func (fdsCmd) Help() string {
	return `It reads what the kernel tells and asks the process nothing, so that it works on one that hangs. Without --pid, --port or --name it looks at the host of this state folder. Where --name finds several processes they are listed, and the one with most descriptors is shown.

Examples:
  holdfast fds
  holdfast fds --port 8787
  holdfast fds --name hermes-webui --watch=30s
  holdfast fds --pid 4711 --json`
}

// Run shows the descriptors of a process.
func (c *fdsCmd) Run(ctx context.Context, a *app) error {
	s, err := c.selector()
	if err == nil && c.Top < 0 {
		err = errors.New("--top must not be below 0")
	}
	if err != nil {
		return &Error{Code: ExitUsage, Msg: err.Error() + ". See: holdfast fds --help", Err: err}
	}
	if s == (watch.Selector{}) {
		if s, err = a.ourHost(); err != nil {
			return err
		}
	}
	samples, err := takeAll(s)
	if err != nil {
		return err
	}
	if c.Watch > 0 {
		return c.follow(ctx, a, samples[0])
	}
	if c.JSON {
		for _, s := range samples {
			s.Names = s.Names[:min(c.Top, len(s.Names))]
		}
		data, err := json.Marshal(map[string]any{"processes": samples})
		if err != nil {
			return err
		}
		return a.printJSON(data)
	}
	if len(samples) > 1 {
		if err := a.listSamples(samples); err != nil {
			return err
		}
	}
	return c.show(a, samples[0])
}

// ourHost is the host of this state folder, which may be deaf.
func (a *app) ourHost() (watch.Selector, error) {
	cfg, _ := a.folders() // a broken configuration is no reason not to look
	h, held, err := doctor.Look(cfg.Home)
	switch {
	case errors.Is(err, proc.ErrUnsupported):
		return watch.Selector{}, notHere()
	case err != nil:
		return watch.Selector{}, failf("cannot see who holds the state folder: %w. Run this as the user who runs the host", err)
	case !held:
		return watch.Selector{}, noHost(cfg)
	case h.PID == 0:
		return watch.Selector{}, failf("a host has just taken the state folder %s. Look again in a moment", cfg.Home)
	}
	return watch.Selector{PID: h.PID}, nil
}

func notHere() error {
	return failf("the descriptors of a process are not available on this operating system: %w", proc.ErrUnsupported)
}

// takeAll looks at the processes that are meant, those with most descriptors
// first.
func takeAll(s watch.Selector) ([]*watch.Sample, error) {
	ids, err := s.Find()
	if err != nil {
		return nil, seen(s, err)
	}
	var samples []*watch.Sample
	var failed error
	for _, id := range ids {
		sample, err := watch.Take(id)
		if err == nil {
			samples = append(samples, sample)
		} else if !errors.Is(err, proc.ErrGone) {
			failed = seen(watch.Selector{PID: id.PID}, err)
		}
	}
	if len(samples) > 0 {
		slices.SortStableFunc(samples, func(a, b *watch.Sample) int { return cmp.Compare(b.Count, a.Count) })
		return samples, nil
	}
	if failed == nil {
		failed = seen(s, proc.ErrGone)
	}
	return nil, failed
}

// seen says in a person's words why a process cannot be looked at.
func seen(s watch.Selector, err error) error {
	var stranger *watch.StrangerError
	switch {
	case errors.Is(err, proc.ErrUnsupported):
		return notHere()
	case errors.As(err, &stranger):
		return failf("%w. Run this as that user or as root", err)
	case errors.Is(err, fs.ErrPermission):
		return failf("%s belongs to another user: its descriptors may not be read. Run this as that user or as root", s)
	case errors.Is(err, proc.ErrGone) && s.Port != 0:
		return failf("no process listens on port %d", s.Port)
	case errors.Is(err, proc.ErrGone) && s.Name != nil:
		return failf("no process has a name or command line that matches %q", s.Name)
	case errors.Is(err, proc.ErrGone):
		return failf("there is no %s", s)
	}
	return failf("cannot look at %s: %w", s, err)
}

func (a *app) listSamples(samples []*watch.Sample) error {
	w := tabwriter.NewWriter(a.Out, 0, 4, 2, ' ', 0)
	row(w, "PID", "DESCRIPTORS", "LIMIT", "AGE", "COMMAND")
	for _, s := range samples {
		row(w, fmt.Sprint(s.PID), fmt.Sprint(s.Count), limitText(s), age(s), clip(commandLine(s), 80))
	}
	a.printf("%d processes:\n", len(samples))
	err := w.Flush()
	a.printf("\nThe one with most:\n")
	return err
}

func limitText(s *watch.Sample) string {
	if s.Soft == 0 {
		return "?"
	}
	return fmt.Sprint(s.Soft)
}

func age(s *watch.Sample) string {
	if s.Since.IsZero() {
		return "?"
	}
	return max(0, s.At.Sub(s.Since)).Round(time.Second).String()
}

func commandLine(s *watch.Sample) string {
	if len(s.Args) == 0 {
		return s.Command
	}
	return strings.Join(s.Args, " ")
}

func clip(text string, n int) string {
	if r := []rune(text); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return text
}

func (c *fdsCmd) show(a *app, s *watch.Sample) error {
	w := tabwriter.NewWriter(a.Out, 0, 4, 2, ' ', 0)
	row(w, "Process", fmt.Sprintf("%d (%s), for %s", s.PID, s.Command, age(s)))
	row(w, "Command", clip(commandLine(s), 200))
	limit := watch.Usage(s)
	switch {
	case s.Soft == 0:
		limit += ", limit not known"
	case s.Hard > s.Soft:
		limit += fmt.Sprintf("; the process itself may raise its limit to %d", s.Hard)
	}
	row(w, "Open", limit)
	if err := w.Flush(); err != nil {
		return err
	}
	a.printf("\nBy kind:\n")
	w = tabwriter.NewWriter(a.Out, 0, 4, 2, ' ', tabwriter.AlignRight)
	for _, t := range s.Kinds {
		fmt.Fprintf(w, "%d\t  %s\n", t.Count, tallyText(t))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if c.Top == 0 || len(s.Names) == 0 {
		return nil
	}
	a.printf("\nMost often:\n")
	w = tabwriter.NewWriter(a.Out, 0, 4, 2, ' ', tabwriter.AlignRight)
	for _, t := range s.Names[:min(c.Top, len(s.Names))] {
		fmt.Fprintf(w, "%d\t  %s\n", t.Count, tallyText(t))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if more := len(s.Names) - c.Top; more > 0 {
		a.printf("and %d other names (--top %d shows all)\n", more, len(s.Names))
	}
	return nil
}

func tallyText(t watch.Tally) string {
	text := cmp.Or(oneLine(t.Name), string(t.Kind))
	switch {
	case t.Deleted != 0 && t.Name != "":
		text += " (deleted)"
	case t.Deleted > 0:
		text += fmt.Sprintf(" (%d of deleted files)", t.Deleted)
	}
	return text
}

// follow shows what grows, sample by sample, until Ctrl-C or the process ends.
func (c *fdsCmd) follow(ctx context.Context, a *app, s *watch.Sample) error {
	first, last := s, s
	if c.JSON {
		if err := c.line(a, s, watch.Delta{Kinds: []watch.Tally{}, Names: []watch.Tally{}}); err != nil {
			return err
		}
	} else {
		if err := c.show(a, s); err != nil {
			return err
		}
		a.printf("\nEvery %s, until Ctrl-C:\n", time.Duration(c.Watch))
	}
	for pause(ctx, time.Duration(c.Watch)) {
		now, err := watch.Take(first.ID)
		if errors.Is(err, proc.ErrGone) {
			return failf("process %d has ended", first.PID)
		}
		if err != nil {
			return seen(watch.Selector{PID: first.PID}, err)
		}
		d := watch.Since(last, now)
		if c.JSON {
			if err := c.line(a, now, d); err != nil {
				return err
			}
		} else {
			c.grew(a, first, now, d)
		}
		last = now
	}
	return nil
}

// line prints a sample on one line.
func (c *fdsCmd) line(a *app, s *watch.Sample, d watch.Delta) error {
	shown := *s
	shown.Names = s.Names[:min(c.Top, len(s.Names))]
	data, err := json.Marshal(struct {
		*watch.Sample
		Grew watch.Delta `json:"grew"`
	}{&shown, d})
	if err != nil {
		return err
	}
	a.printf("%s\n", data)
	return nil
}

func (c *fdsCmd) grew(a *app, first, now *watch.Sample, d watch.Delta) {
	a.printf("%s  %s, %+d (since the first look %+d)", now.At.Format(time.TimeOnly), watch.Usage(now), d.Count, now.Count-first.Count)
	for _, t := range d.Kinds {
		if t.Count != 0 {
			a.printf("  %+d %s", t.Count, t.Kind)
		}
	}
	a.printf("\n")
	shown := 0
	for _, t := range d.Names {
		if t.Count <= 0 {
			continue
		}
		if shown == c.Top {
			a.printf("            and more\n")
			break
		}
		a.printf("    %+6d  %s\n", t.Count, tallyText(t))
		shown++
	}
}

package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/holdfast-dev/holdfast/internal/agent"
	"github.com/holdfast-dev/holdfast/internal/doctor"
	"github.com/holdfast-dev/holdfast/internal/said"
	"github.com/holdfast-dev/holdfast/internal/supervise"
)

type statusCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
}

// Help is shown after the flags.
func (statusCmd) Help() string {
	return `It fails (1) where no host runs.

Examples:
  holdfast status
  holdfast status --json`
}

// status is what the host tells of itself.
type status struct {
	PID              int       `json:"pid"`
	Address          string    `json:"address"`
	URL              string    `json:"url"`
	Version          string    `json:"version"`
	StartedAt        time.Time `json:"started_at"`
	UptimeS          float64   `json:"uptime_s"`
	Sessions         int       `json:"sessions"`
	Requests         int       `json:"requests"`
	LiveAgents       int       `json:"live_agents"`
	Descriptors      int       `json:"descriptors"`
	DescriptorsPeak  int       `json:"descriptors_peak"`
	DescriptorsLimit int       `json:"descriptors_limit"`
	Unit             string    `json:"unit"`
	Restarts         int       `json:"restarts"`
	Exe              string    `json:"exe"`
	Trial            bool      `json:"trial"`
	Upgrade          string    `json:"upgrade"`
	UpgradeFailed    bool      `json:"upgrade_failed"`
	SafeMode         string    `json:"safe_mode"`
	Awake            string    `json:"awake"`
	LastLife         *lastLife `json:"last_life"`
}

// lastLife is the life before the one that is.
type lastLife struct {
	Started         time.Time `json:"started"`
	Ended           time.Time `json:"ended"`
	How             string    `json:"how"`
	Reason          string    `json:"reason"`
	PeakMemory      int64     `json:"peak_memory"`
	PeakDescriptors int       `json:"peak_descriptors"`
	File            string    `json:"file"`
}

// String says how it ended, in one line.
func (l *lastLife) String() string {
	text := map[string]string{
		"asked": "was asked to end", "restart": "was replaced in place", "upgrade": "was replaced by another version",
		"crash": "crashed", "killed": "was killed", "reboot": "ended with the machine", "probe": "found itself deaf and ended", "failed": "failed",
	}[l.How]
	if text == "" {
		text = l.How
	}
	text += " at " + when(l.Ended)
	if !l.Started.IsZero() {
		text += " after " + l.Ended.Sub(l.Started).Round(time.Second).String()
	}
	if l.PeakMemory > 0 {
		text += ", at most " + said.Size(l.PeakMemory)
	}
	if l.PeakDescriptors > 0 {
		text += fmt.Sprintf(" and %d descriptors", l.PeakDescriptors)
	}
	if l.Reason != "" {
		text += ": " + l.Reason
	}
	if l.File != "" {
		text += ". See " + l.File
	}
	return text
}

// Run prints the host's status.
func (c *statusCmd) Run(ctx context.Context, a *app) (err error) {
	h, cfg, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var raw json.RawMessage
	if err := h.call(ctx, http.MethodGet, "/control/status", nil, &raw); err != nil {
		if ctx.Err() != nil {
			return failf("the host holds its control socket and does not answer: %w", err)
		}
		return err
	}
	if c.JSON {
		return a.printJSON(raw)
	}
	var s status
	if err := json.Unmarshal(raw, &s); err != nil {
		return failf("read the host's status: %w", err)
	}
	w := tabwriter.NewWriter(a.Out, 0, 4, 2, ' ', 0)
	if s.URL == "" { // of an older host
		s.URL = "http://" + s.Address
	}
	row(w, "Address", s.URL)
	row(w, "State folder", cfg.Home)
	row(w, "Version", s.Version)
	row(w, "Process", fmt.Sprintf("%d, since %s (%s)", s.PID, when(s.StartedAt), time.Duration(s.UptimeS*float64(time.Second)).Round(time.Second)))
	unit := s.Unit
	if unit == "" {
		unit = "none; it ends with its terminal, or was detached"
	}
	row(w, "Service", unit)
	if s.Upgrade != "" {
		row(w, "Last upgrade", s.Upgrade)
	}
	if s.LastLife != nil {
		row(w, "Last life", s.LastLife.String())
	}
	if s.SafeMode != "" {
		row(w, "Safe mode", s.SafeMode)
	}
	row(w, "Sessions", fmt.Sprint(s.Sessions))
	row(w, "Live agents", fmt.Sprint(s.LiveAgents))
	row(w, "Requests", fmt.Sprint(s.Requests))
	row(w, "Descriptors", fmt.Sprintf("%d (at most %d; limit %d)", s.Descriptors, s.DescriptorsPeak, s.DescriptorsLimit))
	return w.Flush()
}

type stopCmd struct {
	All bool `help:"End the agents as well and return when they are gone."`
}

// Help is shown after the flags.
func (stopCmd) Help() string {
	return `Without --all the agents are left to their keepers: a host that starts within ten minutes goes on with them; later they end by themselves.

A host that runs as a service is stopped by asking its supervisor, which would start it again otherwise.

Examples:
  holdfast stop
  holdfast stop --all`
}

// Run stops the host.
func (c *stopCmd) Run(ctx context.Context, a *app) (err error) {
	h, cfg, err := a.connect(ctx)
	if errors.Is(err, errNoHost) && !c.All {
		a.notef("No host runs for the state folder %s; there is nothing to stop.\n", cfg.Home)
		return nil
	}
	if errors.Is(err, errNoHost) {
		return failf("no host runs, and only a host can end its agents. Start one (holdfast serve), then stop it with --all; agents without a host end by themselves a little later")
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	limit := 30 * time.Second
	if c.All {
		limit = 2 * time.Minute
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	s, err := h.status(ctx)
	if err != nil {
		return err
	}
	unit, err := supervise.ParseUnit(s.Unit)
	if s.Unit != "" && err == nil && unit.Name != "" {
		if err := c.ask(ctx, a, h, unit); err != nil {
			return err
		}
		// A supervisor that was killed has left its host behind and knows nothing of it.
		if !holds(cfg.Home, s.PID) {
			return nil
		}
		a.notef("The supervisor does not hold this host any more (pid %d); it is stopped without it.\n", s.PID)
	}
	err = h.call(ctx, http.MethodPost, "/control/stop", map[string]bool{"all": c.All}, nil)
	var lost *lostError
	if err != nil && (!errors.As(err, &lost) || ctx.Err() != nil) {
		return err
	}
	for {
		other, err := dial(ctx, cfg)
		// It closes its socket first, and who starts another one at once needs its lock.
		if errors.Is(err, errNoHost) && !holds(cfg.Home, s.PID) {
			a.notef("Stopped.\n")
			return nil
		}
		if err == nil {
			_ = other.close()
		}
		if !pause(ctx, 20*time.Millisecond) {
			return failf("the host was asked to stop and is still there after %s (pid %d)", limit, s.PID)
		}
	}
}

// holds tells whether the process is the host of the state folder.
func holds(home string, pid int) bool {
	h, held, err := doctor.Look(home)
	return err == nil && held && h.PID == pid
}

// ask has the supervisor stop the host, after the host has ended its agents
// where that is wanted.
func (c *stopCmd) ask(ctx context.Context, a *app, h *client, unit supervise.Unit) error {
	if c.All {
		if err := h.call(ctx, http.MethodPost, "/control/stop", map[string]bool{"all": true, "stay": true}, nil); err != nil {
			return err
		}
	}
	if err := unit.Stop(ctx); err != nil {
		return failf("the host runs as the service %s, and that could not be stopped: %w", unit, err)
	}
	a.notef("Stopped the service %s. Start it again with: holdfast service start\n", unit)
	return nil
}

type verifyCmd struct {
	JSON bool `name:"json" help:"Print the progress as lines of JSON."`
}

// Help is shown after the flags.
func (verifyCmd) Help() string {
	return `It folds every session's log anew and compares the result with the stored projection. It changes nothing, and fails (1) if they differ.

Example:
  holdfast verify`
}

// Run verifies the store.
func (c *verifyCmd) Run(ctx context.Context, a *app) (err error) {
	h, err := a.connectOrOpen(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	resp, err := h.open(ctx, http.MethodPost, "/control/verify", struct{}{})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var last verifyLine
	for in := bufio.NewReader(resp.Body); ; {
		line, err := in.ReadBytes('\n')
		if text := bytes.TrimSpace(line); len(text) > 0 {
			last = verifyLine{}
			if err := json.Unmarshal(text, &last); err != nil {
				return failf("the host's report holds what is no JSON: %w", err)
			}
			switch {
			case c.JSON:
				a.printf("%s\n", text)
			case a.interactive() && last.Total > 0:
				a.notef("\r%3d %%", 100*last.Done/last.Total)
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return failf("read the host's report: %w", err)
		}
	}
	if !c.JSON && a.interactive() {
		a.notef("\r")
	}
	return c.judge(a, last)
}

// judge tells what the last line says.
func (c *verifyCmd) judge(a *app, last verifyLine) error {
	switch {
	case last.Error != "":
		return failf("the host could not verify its log: %s", last.Error)
	case last.Report == nil:
		return failf("the report ended early; nothing is known")
	case len(last.Report.Wrong) > 0:
		if !c.JSON {
			for _, w := range last.Report.Wrong {
				a.printf("%s\n", oneLine(w))
			}
		}
		return failf("what pages show differs from the log in %d places. The log is the truth: keep a copy of the state folder and report it", len(last.Report.Wrong))
	}
	a.notef("%d sessions, %d events: what pages show equals the log.\n", last.Report.Sessions, last.Report.Events)
	return nil
}

// verifyLine is one line of the report; the last one has Report or Error.
type verifyLine struct {
	Done   int64 `json:"done"`
	Total  int64 `json:"total"`
	Report *struct {
		Sessions int64    `json:"sessions"`
		Events   int64    `json:"events"`
		Wrong    []string `json:"wrong"`
	} `json:"report"`
	Error string `json:"error"`
}

type agentsCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
}

// Help is shown after the flags.
func (agentsCmd) Help() string {
	return `It looks along the PATH of the login shell and where the agents' installers put them. Agents of config.toml are listed too; they are not run.

Example:
  holdfast agents`
}

// Run lists the agents, as the host sees them if one runs.
func (c *agentsCmd) Run(ctx context.Context, a *app) error {
	cfg, err := a.load(hostFlags{})
	if err != nil {
		return err
	}
	var list struct {
		Agents []agent.Found `json:"agents"`
	}
	h, err := dial(ctx, cfg)
	switch {
	case err == nil:
		defer func() { _ = h.close() }() // the list is read by then
		if err := h.call(ctx, http.MethodGet, "/api/v1/agents", nil, &list); err != nil {
			return err
		}
	case errors.Is(err, errNoHost):
		exe, err := os.Executable()
		if err != nil {
			return failf("find this program: %w", err)
		}
		cat := agent.New(agent.Options{Builtin: []string{exe, "agent"}, Configured: cfg.Agents, Home: a.UserHome, Env: a.Env})
		list.Agents = cat.List(ctx)
		if err := cat.Close(); err != nil {
			return err
		}
	default:
		return err
	}
	if c.JSON {
		data, err := json.Marshal(list)
		if err != nil {
			return fmt.Errorf("encode list: %w", err)
		}
		return a.printJSON(data)
	}
	w := tabwriter.NewWriter(a.Out, 0, 4, 2, ' ', 0)
	row(w, "ID", "NAME", "VERSION", "PROGRAM, OR WHAT IS MISSING")
	for _, f := range list.Agents {
		text := f.Path
		if !f.Ready {
			text = f.Reason
		}
		row(w, f.ID, f.Name, f.Version, text)
	}
	return w.Flush()
}

type versionCmd struct{}

// Run prints the version.
func (versionCmd) Run(a *app) error {
	commit := ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && len(s.Value) >= 12 {
				commit = s.Value[:12] + ", "
			}
		}
	}
	a.printf("holdfast %s (%s%s, %s/%s)\n", a.Version, commit, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return nil
}

// printJSON prints raw, indented.
func (a *app) printJSON(raw []byte) error {
	var buf bytes.Buffer
	if err := json.Indent(&buf, raw, "", "  "); err != nil {
		return failf("the host's answer is no JSON: %w", err)
	}
	a.printf("%s\n", bytes.TrimSpace(buf.Bytes()))
	return nil
}

func row(w io.Writer, cells ...string) {
	for i, c := range cells {
		cells[i] = oneLine(c)
	}
	fmt.Fprintln(w, strings.TrimRight(strings.Join(cells, "\t"), "\t"))
}

// oneLine makes text that came from elsewhere safe for one line of a
// terminal: control characters could move the cursor or worse.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, s)
}

func when(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.Local().Format("2006-01-02 15:04")
}

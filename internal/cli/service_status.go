package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/holdfast-dev/holdfast/internal/doctor"
	"github.com/holdfast-dev/holdfast/internal/proc"
	"github.com/holdfast-dev/holdfast/internal/supervise"
)

// startPatience is how long a service may take to become healthy.
const startPatience = 30 * time.Second

// awaitHealthy waits for a host, another one than old, that says that it is
// well.
func (a *app) awaitHealthy(ctx context.Context, s *service, old int) (doctor.Holder, error) {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	began, told, asked := time.Now(), time.Now(), time.Now()
	for {
		h, held, err := doctor.Look(s.cfg.Home)
		if err == nil && held && h.Address != "" && h.PID != old && answers(ctx, h) {
			return h, nil
		}
		// One that gives up at once need not be waited for.
		if time.Since(asked) > 2*time.Second {
			asked = time.Now()
			if st, err := s.unit.Status(ctx); err == nil && st.Phase == supervise.Failed {
				return h, failf("the host ended at once and stays down; %s says: %s.%s", s.unit.Manager, oneLine(st.Raw), s.lastWords())
			}
		}
		if time.Since(told) > 5*time.Second {
			told = time.Now()
			a.notef("Waiting for the host, %s so far …\n", time.Since(began).Round(time.Second))
		}
		if !pause(ctx, 50*time.Millisecond) {
			if st, err := s.unit.Status(context.WithoutCancel(ctx)); err == nil {
				return h, failf("the host was not healthy within %s; %s says: %s.%s", startPatience, s.unit.Manager, oneLine(st.Raw), s.lastWords())
			}
			return h, failf("the host was not healthy within %s.%s", startPatience, s.lastWords())
		}
	}
}

// lastWords are the last lines of what a host printed and logged.
func (s *service) lastWords() string {
	var text strings.Builder
	for _, name := range []string{"stderr.log", "holdfast.log"} {
		path := filepath.Join(s.cfg.Logs(), name)
		data, err := os.ReadFile(path)
		if err != nil || len(data) == 0 {
			continue
		}
		lines := strings.Split(strings.TrimSpace(string(data)), "\n")
		fmt.Fprintf(&text, "\nThe end of %s:", path)
		for _, line := range lines[max(0, len(lines)-5):] {
			text.WriteString("\n  " + oneLine(line))
		}
	}
	if s.unit.Manager == supervise.Systemd {
		text.WriteString("\nMore: holdfast service logs")
	}
	return text.String()
}

func answers(ctx context.Context, h doctor.Holder) bool {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.URL()+"/health", nil)
	if err != nil {
		return false
	}
	resp, err := doctor.Client().Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

type serviceStatusCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
}

// Help is shown after the flags.
func (serviceStatusCmd) Help() string {
	return `It shows the tree of processes: supervisor, host, keepers, agents. It fails (1) where something is wrong with it, and says what.`
}

// report is what `service status` tells.
type report struct {
	Unit     string         `json:"unit"`
	Phase    string         `json:"phase"`
	PID      int            `json:"pid"`
	Since    *time.Time     `json:"since,omitempty"`
	Restarts *int           `json:"restarts,omitempty"`
	Says     string         `json:"says"` // the supervisor's own words
	Host     *doctor.Holder `json:"host,omitempty"`
	Healthy  bool           `json:"healthy"`
	Above    []node         `json:"above"`  // from the machine's first process to the host's parent
	Tree     []node         `json:"tree"`   // the host and what descends from it
	Strays   []node         `json:"strays"` // keepers and agents that have another parent by now
	Problems []string       `json:"problems"`
}

// node is one process of the tree.
type node struct {
	PID    int    `json:"pid"`
	Parent int    `json:"parent"`
	What   string `json:"what"`
}

// Run prints what is known.
func (c *serviceStatusCmd) Run(ctx context.Context, a *app) error {
	s, err := a.service()
	if err != nil {
		return err
	}
	r := &report{Unit: s.unit.String(), Above: []node{}, Tree: []node{}, Strays: []node{}, Problems: []string{}}
	if err := r.look(ctx, s); err != nil {
		return err
	}
	if c.JSON {
		data, err := json.Marshal(r)
		if err != nil {
			return err
		}
		if err := a.printJSON(data); err != nil {
			return err
		}
	} else {
		r.print(a, s)
	}
	if len(r.Problems) > 0 {
		if c.JSON {
			return &Error{Code: ExitFailure}
		}
		return failf("%s", strings.Join(r.Problems, "\nholdfast: "))
	}
	return nil
}

func (r *report) wrong(format string, args ...any) {
	r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
}

func (r *report) look(ctx context.Context, s *service) error {
	h, held, err := doctor.Look(s.cfg.Home)
	if err != nil {
		return failf("look for the host: %w", err)
	}
	if held {
		r.Host = &h
		r.Healthy = h.Address != "" && answers(ctx, h)
	}
	var st supervise.State
	if s.unit.Zero() {
		r.wrong("no service is installed for %s. Install one with: holdfast service install", s.cfg.Home)
	} else {
		if st, err = s.unit.Status(ctx); err != nil {
			r.wrong("the supervisor does not tell: %v", err)
		}
		r.Phase, r.PID, r.Says = string(st.Phase), st.PID, st.Raw
		if !st.Since.IsZero() {
			r.Since = &st.Since
		}
		if st.Restarts >= 0 {
			r.Restarts = &st.Restarts
		}
		if err == nil {
			r.judge(st, s.unit)
		}
	}
	if s.broken != nil {
		r.wrong("the configuration is broken, and the next start will fail: %v", s.broken)
	}
	return r.processes(s.cfg.Home)
}

// judge compares what the supervisor says with what the kernel knows.
func (r *report) judge(st supervise.State, u supervise.Unit) {
	switch {
	case st.Phase == supervise.Absent:
		r.wrong("%s knows no such service any more (%s). Install it again: holdfast service install", u.Manager, st.Raw)
	case st.Phase == supervise.Failed:
		r.wrong("the service is down and stays so until you act: see `holdfast service logs` for why, put that right, then `holdfast service start`")
	case r.Host == nil && st.Phase == supervise.Running:
		r.wrong("the supervisor has a process (%d), and no host holds the state folder: it is starting, or cannot start. See: holdfast service logs", st.PID)
	case r.Host == nil:
	case st.PID == 0:
		r.wrong("the host (pid %d) runs without its supervisor, which says: %s. Stop it with `holdfast stop`, then `holdfast service start`", r.Host.PID, st.Raw)
	case !runsUnder(st, r.Host.PID):
		r.wrong("the host (pid %d) is not the process that the supervisor watches (%d): it was started by hand. Stop it with `kill %d`; the supervisor starts its own", r.Host.PID, st.PID, r.Host.PID)
	}
	if r.Host != nil && !r.Healthy {
		r.wrong("the host (pid %d) does not say that it is healthy. Look with: holdfast doctor", r.Host.PID)
	}
}

// processes fills in the tree.
func (r *report) processes(home string) error {
	all, err := proc.All()
	if err != nil {
		return failf("list processes: %w", err)
	}
	by := make(map[int]proc.Info, len(all))
	for _, p := range all {
		by[p.PID] = p
	}
	in := map[int]bool{}
	if r.Host != nil {
		for pid := by[r.Host.PID].Parent; pid > 0; pid = by[pid].Parent {
			p, ok := by[pid]
			if !ok {
				break
			}
			r.Above = append(r.Above, node{p.PID, p.Parent, oneLine(p.Command)})
		}
		slices.Reverse(r.Above)
		tree := append([]proc.Info{by[r.Host.PID]}, proc.Descendants(all, r.Host.PID)...)
		for _, p := range tree {
			in[p.PID] = true
			r.Tree = append(r.Tree, node{p.PID, p.Parent, describe(p, r.Host.PID)})
		}
	}
	left, err := marked(home)
	if err != nil {
		return failf("list processes: %w", err)
	}
	for _, p := range left {
		if !in[p.PID] {
			r.Strays = append(r.Strays, node{p.PID, p.Parent, describe(p, 0)})
		}
	}
	for _, p := range all {
		if p.Zombie || p.PID == os.Getpid() || r.Host != nil && p.PID == r.Host.PID {
			continue
		}
		if serves(p, home) {
			r.wrong("a second host for the same state folder is being started (pid %d, parent %d): something else than the service starts one", p.PID, p.Parent)
		}
	}
	return nil
}

// serves tells whether a process is a host of the state folder, or tries to
// be one, by its arguments.
func serves(p proc.Info, home string) bool {
	argv, err := proc.Args(p.PID)
	if err != nil || len(argv) < 2 {
		return false
	}
	host := false
	for _, word := range argv[1:] {
		host = host || word == "serve" || word == "up"
	}
	return host && filepath.Base(argv[0]) == "holdfast" && (slices.Contains(argv, home) || slices.Contains(argv, "--home="+home))
}

// describe names a process by what it is to us.
func describe(p proc.Info, host int) string {
	what := oneLine(p.Command)
	argv, err := proc.Args(p.PID)
	switch {
	case p.Zombie:
		what += " (has ended)"
	case p.PID == host:
		what = "the host"
	case err == nil && len(argv) > 1 && argv[1] == "keeper":
		what = "a keeper"
	case err == nil && len(argv) > 0:
		what = oneLine(strings.Join(append([]string{filepath.Base(argv[0])}, argv[1:]...), " "))
		if r := []rune(what); len(r) > 70 {
			what = string(r[:69]) + "…"
		}
	}
	return what
}

func (r *report) print(a *app, s *service) {
	w := tabwriter.NewWriter(a.Out, 0, 4, 2, ' ', 0)
	if !s.unit.Zero() {
		row(w, "Service", r.Unit)
		state := r.Phase
		if r.Since != nil {
			state += ", since " + when(*r.Since)
		}
		if r.Restarts != nil {
			state += fmt.Sprintf(", restarted %d times", *r.Restarts)
		}
		row(w, "State", state)
		row(w, "It says", r.Says)
	}
	row(w, "Data", s.cfg.Home)
	row(w, "Log", s.cfg.LogFile())
	if r.Host == nil {
		row(w, "Host", "none runs")
	} else {
		health := "healthy"
		if !r.Healthy {
			health = "not healthy"
		}
		row(w, "Host", fmt.Sprintf("pid %d, %s, version %s, %s", r.Host.PID, r.Host.URL(), r.Host.Version, health))
	}
	_ = w.Flush() // to a terminal that has gone
	if len(r.Tree) > 0 {
		a.printf("\n")
		for i, n := range r.Above {
			a.printf("%s%s (%d)\n", strings.Repeat("  ", i), n.What, n.PID)
		}
		depth := map[int]int{}
		for i, n := range r.Tree {
			depth[n.PID] = len(r.Above)
			if i > 0 {
				depth[n.PID] = depth[n.Parent] + 1
			}
		}
		children := map[int][]node{}
		for _, n := range r.Tree[1:] {
			children[n.Parent] = append(children[n.Parent], n)
		}
		var show func(n node)
		show = func(n node) {
			a.printf("%s%s (%d)\n", strings.Repeat("  ", depth[n.PID]), n.What, n.PID)
			for _, c := range children[n.PID] {
				show(c)
			}
		}
		show(r.Tree[0])
	}
	if len(r.Strays) > 0 {
		a.printf("\nKeepers and agents of an earlier process of the host, which this one goes on with:\n")
		for _, n := range r.Strays {
			a.printf("  %s (%d), parent %d\n", n.What, n.PID, n.Parent)
		}
	}
	if len(r.Problems) == 0 {
		a.printf("\nAll is well.\n")
	}
}

package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/internal/proc"
)

// quick has the host sample as often as a test can wait for.
const quick = "ledger.every:=150ms"

type finding struct{ Code, Subject, Text string }

type ledgerNow struct {
	Available bool
	Now       struct{ Limit, Expected, Observed, Unexplained int }
	Findings  []finding
	Agents    []struct {
		Session     string
		Descriptors int
		Budget      int
		Children    int
		RSS         int64
	}
	History []struct {
		At       time.Time
		Observed int
	}
	Classes []struct{ Class string }
}

func (w *world) ledger() (l ledgerNow) {
	w.t.Helper()
	w.must("GET", "/api/v1/host/ledger", nil, &l)
	return l
}

// logged is the host's own log.
func (w *world) logged() string {
	w.t.Helper()
	data, err := os.ReadFile(filepath.Join(w.home, "logs", "holdfast.log"))
	if err != nil {
		w.t.Fatal(err)
	}
	return string(data)
}

func needProc(t *testing.T) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("NOT TESTED: the list of descriptors is read from /proc")
	}
}

// found waits until the ledger says something with the code.
func (w *world) found(code string, limit time.Duration) (f finding) {
	w.t.Helper()
	w.until("a finding "+code, limit, func() bool {
		for _, one := range w.ledger().Findings {
			if one.Code == code {
				f = one
				return true
			}
		}
		return false
	})
	return f
}

type healthNow struct {
	Status   string
	Problems []string
}

// health is what /health says, which needs no login.
func (w *world) health() (h healthNow) {
	w.t.Helper()
	w.must("GET", "/health", nil, &h)
	return h
}

// A handle that is not closed in the path of requests is found while it leaks,
// and said by what it is of.
func TestLedgerFindsLeakPerRequest(t *testing.T) {
	needProc(t)
	t.Parallel()
	w := newWorld(t, nil, "")
	victim := filepath.Join(w.work, "state-7.db")
	if err := os.WriteFile(victim, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w.start(quick, "http.leak:="+victim)
	f := w.found("descriptors_leak", 20*time.Second)
	if !strings.Contains(f.Text, "sqlite "+filepath.Dir(victim)+"/state-*.db") && !strings.Contains(f.Text, "/state-*.db") {
		t.Errorf("it does not say what leaks: %s", f.Text)
	}
	h := w.health()
	if h.Status != "degraded" || !strings.Contains(strings.Join(h.Problems, " "), "leaks descriptors") {
		t.Errorf("health says %+v", h)
	}
	if st := w.status(); !strings.Contains(fmt.Sprint(st["problems"]), "leaks descriptors") {
		t.Errorf("status says %v", st["problems"])
	}
	if !strings.Contains(w.out.String(), "code=descriptors_leak") {
		t.Error("the log says nothing of it")
	}
}

// A cache that keeps what it evicts is found by its bound, and named.
func TestLedgerFindsLeakInsideOwner(t *testing.T) {
	needProc(t)
	t.Parallel()
	w := newWorld(t, nil, "")
	victim := filepath.Join(w.work, "cached.db")
	if err := os.WriteFile(victim, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w.start(quick, "http.cache:="+victim)
	if f := w.found("owner_leak", 20*time.Second); f.Subject != "the cache" || !strings.Contains(f.Text, "inside the cache") {
		t.Errorf("it names %+v", f)
	}
}

// A host that runs out of descriptors refuses new streams before it does, and
// leaves a diagnosis; requests are answered.
func TestLedgerShedsStreams(t *testing.T) {
	needProc(t)
	t.Parallel()
	w := newWorld(t, nil, "")
	bin := filepath.Join(w.work, "limited")
	if err := os.WriteFile(bin, fmt.Appendf(nil, "#!/bin/sh\nulimit -n 256\nexec '%s' \"$@\"\n", w.bin), 0o700); err != nil {
		t.Fatal(err)
	}
	w.bin = bin
	w.start(quick, "http.leak:="+os.DevNull)
	idle := w.newSession()
	if reason := w.ended(idle.ID, w.send(idle.ID, "say hello").Run); reason != "end_turn" {
		t.Fatalf("ended by %q", reason)
	}
	if n := w.ledger().Now.Limit; n != 256 {
		t.Fatalf("the host has a limit of %d", n)
	}
	w.until("a leak of nearly all", 60*time.Second, func() bool {
		for range 10 {
			w.ledger() // each request leaks
		}
		st := w.status()
		return st != nil && st["descriptors"].(float64) >= 235
	})
	f := w.found("descriptors_full", 10*time.Second)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second) // a stream that is taken does not end
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", w.base+"/api/v1/stream", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+w.token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("a stream got %s, Retry-After %q (%s)", resp.Status, resp.Header.Get("Retry-After"), f.Text)
	}
	w.until("the idle agent's end", 10*time.Second, func() bool { return len(w.marked()) == 0 })
	dumps, err := filepath.Glob(filepath.Join(w.home, "crash", "*.txt"))
	if err != nil || len(dumps) != 1 {
		t.Errorf("diagnoses: %v, %v", dumps, err)
	}
}

// An agent that keeps 20 descriptors of each run is replaced between two runs,
// and its session goes on.
func TestLedgerReplacesLeakingAgent(t *testing.T) {
	needProc(t)
	t.Parallel()
	w := newWorld(t, nil, "")
	w.start(quick, "ledger.figure:=20") // a budget of 96
	w.leakingAgent()
}

// leakingAgent has an agent keep descriptors until the host replaces it.
func (w *world) leakingAgent() {
	w.t.Helper()
	s := w.newSession()
	replaced := func() *item {
		for _, it := range w.items(s.ID) {
			if it.Kind == "notice" && it.Body.Code == "agent_replaced" {
				return &it
			}
		}
		return nil
	}
	warned, runs := false, 0
	for replaced() == nil {
		if runs++; runs > 20 {
			w.t.Fatalf("the agent was not replaced in %d runs: %+v", runs, w.ledger().Agents)
		}
		a := w.send(s.ID, "leak-fds 20\nsleep 400ms\nsay done")
		if reason := w.ended(s.ID, a.Run); reason != "end_turn" {
			w.t.Fatalf("run %d ended by %q", runs, reason)
		}
		if strings.TrimSpace(w.said(s.ID, a.Run)) != "done" {
			w.t.Errorf("run %d said %q", runs, w.said(s.ID, a.Run))
		}
		for _, f := range w.ledger().Findings {
			if f.Code == "agents_descriptors" {
				warned = true
				if f.Subject != s.ID {
					w.t.Errorf("the warning names %q", f.Subject)
				}
			}
		}
		time.Sleep(300 * time.Millisecond) // between two runs, where it is replaced
	}
	if !warned {
		w.t.Error("nothing was said before it was replaced")
	}
	if text := replaced().Body.Text; !strings.Contains(text, "device /dev/null") {
		w.t.Errorf("the notice says %q", text)
	}
	if !strings.Contains(w.logged(), "an agent over its budget is replaced") {
		w.t.Error("the log does not say why")
	}
	a := w.send(s.ID, "say back")
	if reason := w.ended(s.ID, a.Run); reason != "end_turn" || !strings.Contains(w.said(s.ID, a.Run), "back") {
		w.t.Errorf("after it: %q, %q", reason, w.said(s.ID, a.Run))
	}
}

// A process that carries this folder's mark and has no keeper is ended; one of
// another folder is not.
func TestLedgerSweepsOrphans(t *testing.T) {
	needProc(t)
	t.Parallel()
	w := newWorld(t, nil, "")
	start := func(mark string) *exec.Cmd {
		cmd := exec.Command("/bin/sleep", "120")
		cmd.Env = append(os.Environ(), "HOLDFAST_MARK="+mark)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	// A keeper that was killed while it was born, or is just now: its folder is
	// held and says nothing yet. It keeps nobody from being found.
	half := filepath.Join(w.home, "keepers", "ehalfborn")
	if err := os.MkdirAll(half, 0o700); err != nil {
		t.Fatal(err)
	}
	lock, err := proc.Lock(filepath.Join(half, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	ours, other := start(w.home+":s1:e1"), start(w.home+"2:s1:e1")
	defer func() { _ = other.Process.Kill(); _ = other.Wait() }()
	gone := make(chan struct{})
	go func() { _ = ours.Wait(); close(gone) }()
	defer func() { _ = ours.Process.Kill(); <-gone }()
	w.start()
	s := w.newSession()
	if reason := w.ended(s.ID, w.send(s.ID, "say hello").Run); reason != "end_turn" {
		t.Fatalf("ended by %q", reason)
	}
	select {
	case <-gone:
	case <-time.After(10 * time.Second):
		t.Error("the orphan lives on")
	}
	if err := other.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("the other folder's process: %v", err)
	}
	if len(w.marked()) == 0 {
		t.Error("the live agent was ended with it")
	}
	if !strings.Contains(w.out.String(), "processes have no keeper and are ended") {
		t.Error("the log does not say so")
	}
}

// Under 200 MB nothing new is taken, what was begun goes on, and all is as
// before when there is space again.
func TestLedgerKeepsTheDisk(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, "")
	free := filepath.Join(w.work, "free")
	set := func(bytes int64) {
		if err := os.WriteFile(free+".new", fmt.Append(nil, bytes), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(free+".new", free); err != nil {
			t.Fatal(err)
		}
	}
	set(100 << 30)
	w.start(quick, "disk.free:="+free)
	w.readOnly(func() { set(100 << 20) }, func() { set(100 << 30) })
}

// readOnly takes the disk away in the middle of a run and gives it back.
func (w *world) readOnly(fill, empty func()) {
	w.t.Helper()
	s := w.newSession()
	run := w.send(s.ID, "say before\nask q May I?\nsay after")
	question := w.pending(s.ID)
	fill()
	w.found("disk_read_only", 10*time.Second)
	p := w.refused(507, "disk_full", "POST", "/api/v1/sessions/"+s.ID+"/messages", map[string]any{"client_id": "full", "text": "say no"})
	if !strings.Contains(p.Detail, "Free some space") {
		w.t.Errorf("the refusal says %q", p.Detail)
	}
	w.refused(507, "disk_full", "POST", "/api/v1/sessions", map[string]any{"agent": w.agent, "cwd": w.work})
	if h := w.health(); h.Status != "degraded" {
		w.t.Errorf("health says %+v", h)
	}
	w.must("POST", "/api/v1/approvals/"+question.ID, map[string]any{"option": question.Options[0].ID}, nil)
	if reason := w.ended(s.ID, run.Run); reason != "end_turn" || !strings.Contains(w.said(s.ID, run.Run), "after") {
		w.t.Errorf("the run ended by %q and said %q", reason, w.said(s.ID, run.Run))
	}
	empty()
	w.until("new messages", 10*time.Second, func() bool {
		return w.call("POST", "/api/v1/sessions/"+s.ID+"/messages", map[string]any{"client_id": "again", "text": "say again"}, nil) == nil
	})
}

// A host that does what it is there for says nothing is wrong.
func TestLedgerTellsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, "")
	w.start("ledger.every:=50ms")
	s := w.newSession()
	for range 4 {
		w.ended(s.ID, w.send(s.ID, "stream 100 5ms").Run)
	}
	l := w.ledger()
	if len(l.Findings) > 0 || strings.Contains(w.out.String(), "does not add up") {
		t.Errorf("the ledger says %+v", l)
	}
	if runtime.GOOS != "linux" {
		return
	}
	if !l.Available || l.Now.Observed == 0 || len(l.History) == 0 || len(l.Classes) == 0 {
		t.Errorf("the ledger is not whole: %+v", l)
	}
	if len(l.Agents) != 1 || l.Agents[0].Session != s.ID || l.Agents[0].Descriptors == 0 || l.Agents[0].RSS == 0 || l.Agents[0].Children == 0 {
		t.Errorf("agents: %+v", l.Agents)
	}
}

package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/internal/proc"
)

// restarted waits until the program has been replaced so many times.
func (w *world) restarted(times int) {
	w.t.Helper()
	w.until("the restart in place", 20*time.Second, func() bool {
		st := w.status()
		return st != nil && int(st["restarts"].(float64)) == times && int(st["pid"].(float64)) == w.host.Process.Pid
	})
}

// TestRestartInPlace replaces the program in the middle of an answer, again and
// again: the same process, and nothing is lost, doubled or left open.
func TestRestartInPlace(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, "")
	w.start()
	s := w.newSession()
	f := w.follow(s.ID, "")
	text, want := stream(400, "10ms", 31)
	a := w.send(s.ID, text)
	w.until("some text", 10*time.Second, func() bool { return len(f.text(a.Run)) > 200 })
	w.cli("restart")
	w.restarted(1)
	settled := func() int {
		// The login shell has been asked when the host has been up for a while.
		time.Sleep(500 * time.Millisecond)
		fds, err := proc.Descriptors(w.host.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		others := slices.DeleteFunc(slices.Clone(fds), func(d proc.Descriptor) bool { return strings.HasPrefix(d.Target, filepath.Join(w.home, "holdfast.db")) })
		if n := len(fds) - len(others); n > databaseMost {
			t.Errorf("%d descriptors of the database", n)
		}
		return len(others)
	}
	before := settled()
	for i := 2; i <= 12; i++ {
		w.cli("restart")
		w.restarted(i)
	}
	after := settled()
	if after > before+3 {
		t.Errorf("%d descriptors after one restart, %d after twelve", before, after)
	}
	if reason := w.ended(s.ID, a.Run); reason != "end_turn" {
		t.Fatalf("ended by %q", reason)
	}
	if got := w.said(s.ID, a.Run); got != want {
		t.Fatalf("said\n%q, want\n%q", got, want)
	}
	w.until("the stream", 5*time.Second, func() bool { return f.text(a.Run) == want })
	f.gapless(t)
	if f.resyncs > 0 {
		t.Error("the client had to read everything again")
	}
	if n := len(w.heard("session/prompt")); n != 1 {
		t.Errorf("the agent heard %d prompts", n)
	}

	for _, e := range w.events(s.ID) {
		if strings.Contains(string(e.Body), "host_restarted") {
			t.Error("the transcript tells of restarts that nobody could notice")
		}
	}

	// A keeper that an earlier program started is still this process's child:
	// it must not stay a zombie.
	w.endAgent(s.ID)
	w.until("no zombie", 10*time.Second, func() bool {
		tree, err := proc.Tree(w.host.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range tree {
			if p.Zombie {
				return false
			}
		}
		return true
	})
	w.whole(s.ID)
	if code := w.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestHangupReloads: SIGHUP takes a new configuration where it can be taken,
// and keeps the old one where not.
func TestHangupReloads(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, "")
	w.start()
	path := filepath.Join(w.home, "config.toml")
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	hangup := func() {
		if err := w.host.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	agents := func() string {
		var found struct{ Agents []struct{ ID string } }
		w.must("GET", "/api/v1/agents", nil, &found)
		var ids []string
		for _, a := range found.Agents {
			ids = append(ids, a.ID)
		}
		return strings.Join(ids, " ")
	}
	write(string(old) + "\n[agents.later]\ncommand = [\"/bin/true\"]\n")
	hangup()
	w.restarted(1)
	if got := agents(); !strings.Contains(got, "later") {
		t.Errorf("the new agent is not among %s", got)
	}

	write(string(old) + "\n[agents.later]\ncomand = [\"/bin/true\"]\n")
	hangup()
	w.until("the reason in the log", 5*time.Second, func() bool {
		return strings.Contains(w.out.String(), "the old one stays") && strings.Contains(w.out.String(), "agents.later.comand")
	})
	w.restarted(1)
	if got := agents(); !strings.Contains(got, "later") {
		t.Errorf("the old configuration went: %s", got)
	}
	out, err := w.command("restart", "--home", w.home).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "comand") {
		t.Errorf("a restart with a broken configuration: %v\n%s", err, out)
	}

	// An address that is taken: the host stays where it is.
	write("addr = \"" + strings.TrimPrefix(w.base, "http://") + "\"\n" + string(old))
	hangup()
	w.until("the same address", 5*time.Second, func() bool { return w.status() != nil })
	if got := w.status()["address"]; "http://"+got.(string) != w.base {
		t.Errorf("the host moved to %v", got)
	}
}

// TestDiagnosisOnDemand: SIGUSR1 writes what the host does.
func TestDiagnosisOnDemand(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, "")
	w.start()
	if err := w.host.Process.Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	var found []string
	w.until("a dump", 5*time.Second, func() bool {
		found, _ = filepath.Glob(filepath.Join(w.home, "crash", "*.txt"))
		return len(found) == 1 && strings.Contains(w.out.String(), "a diagnosis was written")
	})
	data, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"SIGUSR1", `"pid"`, "holdfast.db-wal", "the host serves", "goroutine ", "ServeControl"} {
		if !strings.Contains(string(data), want) {
			t.Errorf("the diagnosis has no %q", want)
		}
	}
	if w.status() == nil {
		t.Error("the host is gone")
	}
}

// TestTermDuringRestart: a request to end is not lost, whenever it comes.
func TestTermDuringRestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, "")
	for i := range 24 {
		w.start()
		if err := w.host.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(i) * 1500 * time.Microsecond)
		if err := w.host.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		select {
		case <-w.done:
		case <-time.After(10 * time.Second):
			t.Fatalf("round %d: the request to end was lost", i)
		}
		// By itself, or by the signal in the moment in which nobody listens.
		state := w.host.ProcessState
		if status, ok := state.Sys().(syscall.WaitStatus); state.ExitCode() != 0 && (!ok || status.Signal() != syscall.SIGTERM) {
			t.Errorf("round %d: %s", i, state)
		}
	}
}

// TestStopHasALimit: a host whose stop is stuck ends all the same, as it was
// asked to, and leaves what it was doing.
func TestStopHasALimit(t *testing.T) {
	long(t)
	t.Parallel()
	w := newWorld(t, nil, "")
	w.start("host.close=sleep60000")
	begun := time.Now()
	if code := w.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if took := time.Since(begun); took < 7*time.Second || took > 20*time.Second {
		t.Errorf("it took %s", took)
	}
	dumps, _ := filepath.Glob(filepath.Join(w.home, "crash", "*.txt"))
	if len(dumps) != 1 || !strings.Contains(w.out.String(), "did not stop in time") {
		t.Errorf("dumps: %v", dumps)
	}
}

// TestSecondSignalEnds: who asks twice does not wait.
func TestSecondSignalEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, "")
	w.start("host.close=sleep60000")
	begun := time.Now()
	for range 2 {
		if err := w.host.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		time.Sleep(500 * time.Millisecond)
	}
	w.awaitExit()
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
}

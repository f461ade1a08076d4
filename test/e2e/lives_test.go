package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// life is how the host says that a life of it ended.
type life struct {
	How, Reason, Trace, File string
	Started, Ended           time.Time
	Served                   bool
	PeakMemory               int64 `json:"peak_memory"`
	PeakDescriptors          int   `json:"peak_descriptors"`
}

func (w *world) lives() []life {
	w.t.Helper()
	var page struct {
		Lives []life
	}
	w.must("GET", "/api/v1/host/lives", nil, &page)
	return page.Lives
}

// lastLife is how the life before this one ended.
func (w *world) lastLife(how string) life {
	w.t.Helper()
	lives := w.lives()
	if len(lives) == 0 {
		w.t.Fatalf("no life is recorded, want one that ended: %s", how)
	}
	if lives[0].How != how {
		w.t.Fatalf("the last life ended %+v, want %s", lives[0], how)
	}
	return lives[0]
}

// TestLives ends a host in every way there is and reads what the next one says.
func TestLives(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, "")
	w.start()
	if lives := w.lives(); len(lives) != 0 {
		t.Errorf("a first host knows of lives: %+v", lives)
	}
	w.kill()
	w.start()
	l := w.lastLife("killed")
	if l.PeakMemory < 1<<20 || l.PeakDescriptors < 5 || !l.Served || l.Ended.Before(l.Started) {
		t.Errorf("its peaks are not known: %+v", l)
	}
	w.stop()
	w.start()
	if l := w.lastLife("asked"); !strings.Contains(l.Reason, "signal") {
		t.Errorf("asked by %q", l.Reason)
	}
	w.cli("stop")
	w.awaitExit()
	w.start()
	if l := w.lastLife("asked"); !strings.Contains(l.Reason, "stop") {
		t.Errorf("asked by %q", l.Reason)
	}
	w.cli("restart")
	w.restarted(1)
	w.lastLife("restart")
	_ = w.host.Process.Signal(syscall.SIGHUP)
	w.restarted(2)
	w.lastLife("restart")
	w.stop()

	w.start("boot_id:=another")
	w.lastLife("asked") // in order, before the machine was started anew
	w.kill()
	w.start("boot_id:=a third")
	w.lastLife("reboot")
	w.kill()

	w.start("boot_id:=a third", "beat_ms:=50", "host.beat=panic@60")
	w.lastLife("killed")
	w.awaitExit()
	w.start("boot_id:=a third")
	l = w.lastLife("crash")
	if !strings.Contains(l.Reason, "failpoint host.beat") || !strings.Contains(l.Trace, "goroutine ") || !strings.Contains(l.Trace, "beat") {
		t.Errorf("the crash is told by %q and the trace\n%s", l.Reason, l.Trace)
	}
	if data, err := os.ReadFile(l.File); err != nil || !strings.Contains(string(data), "internal/app") {
		t.Errorf("the trace is not kept in %s: %v", l.File, err)
	}
	w.stop()

	// A start that fails is a life too, and not a crash.
	db := filepath.Join(w.home, "holdfast.db")
	if err := os.Rename(db, db+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(db, 0o700); err != nil {
		t.Fatal(err)
	}
	w.launch()
	if code := w.awaitExit(); code == 0 {
		t.Error("a host without a database ended well")
	}
	if err := os.Remove(db); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(db+".away", db); err != nil {
		t.Fatal(err)
	}
	w.start()
	if l := w.lastLife("failed"); l.Served || l.Reason == "" {
		t.Errorf("a failed start is %+v", l)
	}
	if n := len(w.lives()); n != 11 {
		t.Errorf("%d lives are recorded", n)
	}
	if out := w.cli("status"); !strings.Contains(out, "Last life") || !strings.Contains(out, "failed at ") {
		t.Errorf("status does not tell of the last life:\n%s", out)
	}
}

// TestSafeMode crashes a host in a loop: the next one resumes nothing, can be
// read, says why, and goes on when a person says so.
func TestSafeMode(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, "")
	w.start()
	s := w.newSession()
	text, want := stream(60, "100ms", 3)
	a := w.send(s.ID, text)
	w.until("some text", 10*time.Second, func() bool { return len(w.said(s.ID, a.Run)) > 20 })
	w.kill()
	for range 6 {
		w.start("beat_ms:=50", "host.beat=panic@8")
		w.awaitExit()
	}
	w.start()
	var health struct {
		Status   string
		Problems []string
	}
	w.must("GET", "/health", nil, &health)
	if health.Status != "degraded" || !strings.Contains(strings.Join(health.Problems, " "), "safe mode") {
		t.Errorf("health says %+v", health)
	}
	var me struct {
		SafeMode string `json:"safe_mode"`
	}
	w.must("GET", "/api/v1/me", nil, &me)
	if !strings.Contains(me.SafeMode, "failpoint host.beat") {
		t.Errorf("the page is told %q", me.SafeMode)
	}
	if out := w.cli("status"); !strings.Contains(out, "Safe mode") {
		t.Errorf("status says\n%s", out)
	}
	w.refused(503, "held", "POST", "/api/v1/sessions/"+s.ID+"/messages", map[string]any{"client_id": "safe", "text": "say x"})
	if got := w.said(s.ID, a.Run); got == "" || !strings.HasPrefix(want, got) {
		t.Errorf("the session reads %q", got)
	}
	before := len(w.events(s.ID))
	time.Sleep(500 * time.Millisecond)
	if after := len(w.events(s.ID)); after != before {
		t.Errorf("the session goes on in safe mode: %d events, then %d", before, after)
	}
	w.must("POST", "/api/v1/host/resume", nil, nil)
	if reason := w.ended(s.ID, a.Run); reason != "end_turn" {
		t.Errorf("ended by %q", reason)
	}
	if got := w.said(s.ID, a.Run); got != want {
		t.Errorf("said %q, want %q", got, want)
	}
	w.must("GET", "/health", nil, &health)
	if health.Status != "ok" {
		t.Errorf("after it was ended: %+v", health)
	}
	w.kill()
	w.start() // what crashed before a person ended it counts no more
	me.SafeMode = ""
	w.must("GET", "/api/v1/me", nil, &me)
	if me.SafeMode != "" {
		t.Errorf("safe mode again: %s", me.SafeMode)
	}
}

// TestStopInMidWrite asks a host to stop while it writes what agents say. Each
// keeper is told that nobody comes back, and does not wait the days that it
// waits after a crash.
func TestStopInMidWrite(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, "[leases]\nasked = \"1s\"\n")
	w.start("store.commit.before=slow60@1")
	text, _ := stream(20_000, "10ms", 77)
	for i := range 6 {
		s := w.newSession()
		w.send(s.ID, text)
		w.until("the answer's beginning", time.Minute, func() bool { return len(w.events(s.ID)) > 10+i })
	}
	w.stop()
	w.until("the agents' end", time.Minute, func() bool { return len(w.marked()) == 0 })
}

// TestStopAllWhileAnAgentStarts stops the host and all agents at moments from
// before an agent is begun until it answers. None is left.
func TestStopAllWhileAnAgentStarts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, "")
	for after := 0; after <= 500; after += 100 { // milliseconds
		w.start("store.commit.before=slow100@1")
		w.send(w.newSession().ID, "stream 100 10ms seed=1")
		time.Sleep(time.Duration(after) * time.Millisecond)
		w.cli("stop", "--all")
		w.awaitExit()
		if left := w.marked(); len(left) > 0 {
			t.Fatalf("stopped %d ms after the message: processes %v are left", after, left)
		}
	}
}

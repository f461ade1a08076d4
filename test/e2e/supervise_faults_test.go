//go:build supervisors

package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/holdfast-dev/holdfast/internal/proc"
)

// faults are what breaks a host, each under one supervisor at least; each
// supervisor sees one that the host mends by its end with 75.
var faults = []scene{
	{name: "a lock is held in the request path", has: under("runit", "daemontools"), play: wedge{
		faults: []string{"http.admit=lock600000@150"}, knock: "/health", where: "(*Server).admit",
	}.play},
	{name: "reads are stuck", has: under("s6"), play: wedge{
		faults: []string{"store.read=slow600000@150"}, knock: "/api/v1/sessions", where: "store.(*Store).viewLong",
	}.play},
	{name: "no descriptor of 64 is left", has: under("systemd"), play: wedge{
		nofile: 64, watchdog: 15 * time.Second, faults: []string{"http.admit=leak@60"}, knock: "/health", where: "too many open files", leaks: true,
	}.play},
	{name: "no descriptor of 256 is left", has: under("supervisord"), play: wedge{
		nofile: 256, faults: []string{"http.admit=leak@60"}, knock: "/health", where: "too many open files", leaks: true,
	}.play},
	{name: "a deaf host that cannot end itself", has: under("systemd"), play: cannotEnd},
	{name: "a loop of crashes", has: under("systemd"), play: crashLoop},
	{name: "a handle leaks with each request", has: under("runit"), play: handleLeaks},
	{name: "a cache does not close", has: under("s6"), play: cacheLeaks},
	{name: "an agent leaks", has: under("supervisord"), play: agentLeaks},
	{name: "the writer is stuck", has: under("daemontools"), play: stuckWriter},
	{name: "the disk stands still", has: under("systemd"), play: stalledDisk},
	{name: "the disk is full", has: under("runit"), play: fullDisk},
}

// under has a scene played under some supervisors only.
func under(names ...string) func(manager) bool {
	return func(m manager) bool { return slices.Contains(names, m.name) }
}

// deafIn is how long a host may be deaf before it has ended itself.
const deafIn = 20 * time.Second

// wedge is a host that becomes deaf, with the probe's own times.
type wedge struct {
	nofile int
	faults []string
	knock  string // a path that is answered no more
	where  string // the dump has this
	leaks  bool   // the dump lists what has leaked

	watchdog time.Duration // of systemd, which is to be fed meanwhile, and not to come first
}

// play: the host finds out that it is deaf, in the middle of an answer, leaves
// the evidence and ends itself with 75. The supervisor starts another process,
// which goes on with the answer.
func (f wedge) play(s *site) {
	t := s.t
	if f.watchdog > 0 {
		s.m.watchdog(s, service, f.watchdog)
	}
	s.arm(f.nofile, f.faults...)
	s.install()
	pid := s.healthy(0)
	tu := s.turn(sessionRow{}, 3000)
	deaf := s.deafSince(pid, f)
	if tu.over() {
		t.Error("the answer was over before the host was deaf: this showed little")
	}
	now := s.healthy(pid)
	s.supervised(now, s.m.parents())
	l := s.lastLife("probe")
	if took := l.Ended.Sub(deaf); took > deafIn {
		t.Errorf("it ended %s after it became deaf, want %s at most", took, deafIn)
	} else {
		t.Logf("it ended %s after it became deaf", took)
	}
	if s.m.died != nil {
		if how := s.m.died(s, service); how != "75" {
			t.Errorf("%s says that the host ended with %s, want 75", s.m.name, how)
		}
	}
	dump := s.crashFile("deaf")
	for _, part := range []string{f.where, "== descriptors", "socket:", "== the last lines of the log", "the host serves"} {
		if !strings.Contains(dump, part) {
			t.Errorf("the dump has no %q:\n%.3000s", part, dump)
		}
	}
	if n := strings.Count(dump, " /dev/null\n"); f.leaks && n < f.nofile/4 {
		t.Errorf("the dump names %d leaked descriptors of %d", n, f.nofile)
	}
	if !strings.Contains(l.Reason, "deaf") || l.File == "" {
		t.Errorf("the last life is told by %+v", l)
	}
	tu.whole()
	s.wantStarts(2)
}

// crashFile is the text of the dump that names the reason.
func (w *world) crashFile(reason string) string {
	w.t.Helper()
	names, _ := filepath.Glob(filepath.Join(w.home, "crash", "*.txt"))
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err == nil && strings.Contains(string(data), reason) {
			return string(data)
		}
	}
	w.t.Fatalf("no dump says %q among %v", reason, names)
	return ""
}

// deafSince knocks until the process is gone, and returns since when it had not
// answered, or had no descriptor for one more connection of its own: with the
// last one it still answers who comes alone.
func (s *site) deafSince(pid int, f wedge) (since time.Time) {
	s.t.Helper()
	client := http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	begun := time.Now()
	for running(pid) {
		at := time.Now()
		if since.IsZero() && at.Sub(begun) > time.Minute {
			s.t.Fatal("the host did not become deaf")
		}
		req, err := http.NewRequest(http.MethodGet, s.base+f.knock, nil)
		if err != nil {
			s.t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+s.token)
		resp, err := client.Do(req)
		if err == nil {
			_ = resp.Body.Close()
		}
		switch {
		case f.leaks:
			open, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid)) // none when it is gone
			if since.IsZero() && len(open) >= f.nofile-1 {
				since = at
			}
			if since.IsZero() {
				continue
			}
		case err == nil && resp.StatusCode == http.StatusOK:
			since = time.Time{}
			continue
		case since.IsZero():
			since = at
		}
		if !since.IsZero() && at.Sub(since) > 2*deafIn {
			s.t.Fatalf("the host has been deaf for %s, and is there", 2*deafIn)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return since
}

// running tells whether the process is there and no zombie.
func running(pid int) bool {
	info, err := proc.Lookup(pid)
	return err == nil && !info.Zombie
}

// cannotEnd: a deaf host whose own end is stuck as well. Its timers run, and
// feed nothing: systemd's watchdog is fed by answers only, and ends it.
func cannotEnd(s *site) {
	t := s.t
	s.m.watchdog(s, service, 4*time.Second)
	s.arm(0, "probe_ms:=800", "host.deaf=sleep600000", "http.admit=lock600000@150")
	s.install()
	pid := s.healthy(0)
	tu := s.turn(sessionRow{}, 2000)
	s.deafSince(pid, wedge{knock: "/health"})
	s.supervised(s.healthy(pid), s.m.parents())
	if l := s.lastLife("crash"); !strings.Contains(l.Reason, "SIGABRT") || l.File == "" {
		t.Errorf("the last life is told by %q, in %q", l.Reason, l.File)
	} else if trace, err := os.ReadFile(l.File); err != nil || !strings.Contains(string(trace), "(*Server).admit") {
		t.Errorf("the trace does not say where it is stuck: %v\n%.3000s", err, trace)
	}
	tu.whole()
	s.wantStarts(2)
}

// crashLoop: a host that crashes at each start is not given up by systemd, and
// not let loose on what crashed it either.
func crashLoop(s *site) {
	t := s.t
	s.install()
	pid := s.healthy(0)
	tu := s.turn(sessionRow{}, 3000)
	for range 6 {
		s.arm(0, "beat_ms:=50", "host.beat=panic@8")
	}
	s.signalHost(pid, syscall.SIGKILL)
	s.until("the safe mode", time.Minute, func() bool {
		var h healthNow
		return strings.Count(s.started(), "\n") >= 8 && s.call("GET", "/health", nil, &h) == nil &&
			h.Status == "degraded" && strings.Contains(strings.Join(h.Problems, " "), "safe mode")
	})
	s.supervised(s.healthy(pid), s.m.parents())
	lives := s.lives()
	for i, l := range lives[:min(len(lives), 6)] {
		if l.How != "crash" || !strings.Contains(l.Reason, "failpoint host.beat") {
			t.Errorf("life %d before is told by %+v", i+1, l)
		}
	}
	s.refused(503, "held", "POST", "/api/v1/sessions/"+tu.session.ID+"/messages", map[string]any{"client_id": "safe", "text": "say x"})
	if got := s.said(tu.session.ID, tu.run); got == "" || !strings.HasPrefix(tu.want, got) {
		t.Errorf("the session reads %q", got)
	}
	settle()
	s.wantStarts(8)
	s.must("POST", "/api/v1/host/resume", nil, nil)
	tu.whole()
	if h := s.health(); h.Status != "ok" {
		t.Errorf("after it was ended: %+v", h)
	}
	s.wantStarts(8)
}

// serves checks that the host is the process that it was: what is wrong was
// none of the supervisor's business.
func (s *site) serves(pid, starts int) {
	s.t.Helper()
	if now := s.healthy(0); now != pid {
		s.t.Errorf("another process is the host: %d, was %d", now, pid)
	}
	s.wantStarts(starts)
}

// degraded waits until health names what is wrong.
func (s *site) degraded(parts ...string) {
	s.t.Helper()
	var text string
	s.until("the degraded health", 30*time.Second, func() bool {
		var h healthNow
		if s.call("GET", "/health", nil, &h) != nil || h.Status != "degraded" {
			return false
		}
		text = strings.Join(h.Problems, " ")
		return !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(text, part) })
	})
	s.t.Logf("health says: %s", text)
}

// handleLeaks: the host refuses new streams before it has no descriptor left,
// and serves. A restart in place closes what has leaked.
func handleLeaks(s *site) {
	t := s.t
	s.arm(256, quick, "http.leak:="+os.DevNull)
	s.install()
	pid := s.healthy(0)
	idle := s.newSession()
	if reason := s.ended(idle.ID, s.send(idle.ID, "say hello").Run); reason != "end_turn" {
		t.Fatalf("ended by %q", reason)
	}
	tu := s.turn(sessionRow{}, 4500) // longer than all that is shown below takes a busy machine
	before := len(s.marked())
	s.until("a leak of nearly all", time.Minute, func() bool {
		for range 2 { // what is asked below leaks as well
			s.must("GET", "/health", nil, nil) // each leaks
		}
		st := s.status()
		return st != nil && st["descriptors"].(float64) >= 232
	})
	s.until("the end of the idle agent", 20*time.Second, func() bool { return len(s.marked()) < before })
	stream := func() (status int, again string) {
		req, err := http.NewRequest(http.MethodGet, s.base+"/api/v1/stream", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+s.token)
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close() // one that is taken does not end
		return resp.StatusCode, resp.Header.Get("Retry-After")
	}
	if status, again := stream(); status != http.StatusServiceUnavailable || again == "" {
		t.Errorf("a stream got %d, Retry-After %q", status, again)
	}
	s.degraded("leaks descriptors", os.DevNull)
	s.crashFile("nearly all descriptors are open")
	if tu.over() {
		t.Error("the answer was over before: this showed little")
	}
	s.serves(pid, 1)
	s.mustHoldfast("restart")
	if status, _ := stream(); status != http.StatusOK {
		t.Errorf("after a restart in place a stream got %d", status)
	}
	s.until("the whole stream", 2*time.Minute, tu.over) // requests would leak again
	tu.whole()
	s.serves(pid, 1)
}

// cacheLeaks: what an owner forgets to close is found by the owner's bound.
func cacheLeaks(s *site) {
	victim := filepath.Join(s.work, "cached.db")
	s.put(victim, "", 0o600)
	s.arm(0, quick, "http.cache:="+victim)
	s.install()
	pid := s.healthy(0)
	tu := s.turn(sessionRow{}, 300)
	if f := s.found("owner_leak", 20*time.Second); f.Subject != "the cache" || !strings.Contains(f.Text, "inside the cache") {
		s.t.Errorf("it names %+v", f)
	}
	s.degraded("inside the cache")
	tu.whole()
	s.serves(pid, 1)
}

// agentLeaks: the host ends it between two runs; its own end helps nobody.
func agentLeaks(s *site) {
	s.arm(0, quick, "ledger.figure:=20") // a budget of 96
	s.install()
	pid := s.healthy(0)
	s.leakingAgent()
	s.serves(pid, 1)
}

// stuckWriter: a write that stalls degrades the host, which names the disk. A
// new host would stall too.
func stuckWriter(s *site) {
	s.arm(0, "probe_ms:=400", "store.commit.before=sleep6000@120")
	s.install()
	pid := s.healthy(0)
	tu := s.turn(sessionRow{}, 600)
	s.degraded("A write has been waiting", "does not take writes, though the disk does", s.home)
	tu.whole()
	s.until("health", 20*time.Second, func() bool { return s.health().Status == "ok" })
	s.serves(pid, 1)
}

// stalledDisk: where the disk itself stands still even reads that miss are no
// reason to end the host, neither for itself nor for systemd.
func stalledDisk(s *site) {
	const watchdog = 4 * time.Second
	s.m.watchdog(s, service, watchdog)
	s.install()
	pid := s.healthy(0)
	s.arm(0, "probe_ms:=800", "disk.check=slow3000@1", "store.commit.before=slow3000@150", "store.read=slow3000@150")
	s.mustRun(s.m.restart(s, service)...)
	pid = s.healthy(pid)
	tu := s.turn(sessionRow{}, 1500)
	s.until("reads that are slow", time.Minute, func() bool {
		begun := time.Now()
		_ = s.call("GET", "/api/v1/sessions", nil, nil)
		return time.Since(begun) > 2*time.Second
	})
	s.degraded(": the disk ", s.home, "does not take writes")
	time.Sleep(2 * watchdog) // nobody ends it
	if !running(pid) {
		s.t.Errorf("the host was ended")
	}
	s.wantStarts(2)
	s.mustRun(s.m.restart(s, service)...) // which finds the disk well
	s.healthy(pid)
	tu.whole()
	s.wantStarts(3)
}

// fullDisk: under 200 MB nothing new is taken, and what is under way goes on. On
// the last byte it waits, and all goes on when there is room again.
func fullDisk(s *site) {
	t := s.t
	s.smallDisk("260m")
	s.arm(0, quick, "probe_ms:=400")
	s.install()
	pid := s.healthy(0)
	tu := s.turn(sessionRow{}, 1500)
	half := filepath.Join(s.home, "half")
	if err := os.WriteFile(half, make([]byte, 100<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	s.found("disk_read_only", 10*time.Second)
	message := "/api/v1/sessions/" + tu.session.ID + "/messages"
	if p := s.refused(507, "disk_full", "POST", message, map[string]any{"client_id": "full", "text": "say no"}); !strings.Contains(p.Detail, "Free some space") {
		t.Errorf("the refusal says %q", p.Detail)
	}
	seen := len(tu.f.text(tu.run))
	s.until("more of the answer", 20*time.Second, func() bool { return len(tu.f.text(tu.run)) > seen })
	rest := s.fill()
	s.degraded("no new sessions, messages or attachments are taken", "Free some space", s.home+") does not take writes (")
	settle() // the agent goes on; what it says has nowhere to go
	s.serves(pid, 1)
	if tu.over() {
		t.Error("the answer is over on a full disk")
	}
	for _, ballast := range []string{rest, half} {
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
	}
	s.until("new messages", 20*time.Second, func() bool {
		return s.call("POST", message, map[string]any{"client_id": "again", "text": "say again"}, nil) == nil
	})
	tu.whole()
	s.until("health", 20*time.Second, func() bool { // but that so small a disk is never well
		h := s.health()
		return len(h.Problems) == 1 && strings.Contains(h.Problems[0], "MB left. Under 200 MB")
	})
	s.serves(pid, 1)
}

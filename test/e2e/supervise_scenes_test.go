//go:build supervisors

package e2e

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/internal/proc"
)

// TestSupervised plays each scene under each supervisor.
func TestSupervised(t *testing.T) {
	for _, m := range managers {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			m.need(t)
			for _, sc := range slices.Concat(scenes, faults) {
				if sc.has != nil && !sc.has(m) {
					continue
				}
				t.Run(sc.name, func(t *testing.T) {
					t.Parallel()
					sc.play(newSite(t, m))
				})
			}
		})
	}
}

type scene struct {
	name string
	play func(*site)
	has  func(manager) bool // where not every supervisor has it
}

var scenes = []scene{
	{name: "a quiet minute", play: quietMinute},
	{name: "up for a quiet minute", play: upMinute},
	{name: "up --detach is refused", play: upDetach},
	{name: "kill -9", play: killed},
	{name: "its own restart", play: func(s *site) { restarted(s, func() { s.mustRun(s.m.restart(s, service)...) }) }},
	{name: "service restart", play: func(s *site) { restarted(s, func() { s.mustHoldfast("service", "restart") }) }},
	{name: "exit code 78", play: stayDown},
	{name: "service stop", play: func(s *site) { stopped(s, "service", "stop") }},
	{name: "stop", play: func(s *site) { stopped(s, "stop") }},
	{name: "stop --all and uninstall", play: uninstalled},
	{name: "a second copy", play: secondCopy},
	{name: "an orphan", play: orphaned, has: func(m manager) bool { return m.name != systemd.name }},
	{name: "readiness", play: readiness, has: func(m manager) bool { return m.ready != nil }},
	{name: "watchdog", play: watchdog, has: func(m manager) bool { return m.watchdog != nil }},
	{name: "wedge", play: wedged},
	{name: "restart in place", play: restartInPlace},
}

// minute is how long nothing may happen.
const minute = time.Minute

// quietMinute: the supervisor started one process, which is the host, and a
// minute later it is that process still.
func quietMinute(s *site) {
	t := s.t
	s.install()
	pid := s.healthy(0)
	if unit := s.unit(); !strings.HasPrefix(unit, s.m.name+":") || !strings.Contains(unit, service) {
		t.Errorf("the host says that %q supervises it", unit)
	}
	s.mustHoldfast("service", "status")
	for end := time.Now().Add(minute); time.Now().Before(end); time.Sleep(500 * time.Millisecond) {
		if pids := s.listeners(); !slices.Equal(pids, []int{pid}) {
			t.Fatalf("after %v processes %v listen, want only %d", minute-time.Until(end), pids, pid)
		}
	}
	if s.healthy(0) != pid {
		t.Errorf("another process is the host")
	}
	s.supervised(pid, s.m.parents())
	if pids := s.hosts(); !slices.Equal(pids, []int{pid}) {
		t.Errorf("processes %v are hosts, want only %d", pids, pid)
	}
	s.wantStarts(1)
}

// upMinute is the scene of the first bug: the program for a person, with no
// flag at all, under a supervisor.
func upMinute(s *site) {
	s.write(s.up(false))
	pid := s.healthy(0)
	time.Sleep(minute)
	if s.healthy(0) != pid {
		s.t.Errorf("another process is the host")
	}
	s.supervised(pid, s.m.chain)
	if pids := s.hosts(); !slices.Equal(pids, []int{pid}) {
		s.t.Errorf("processes %v are hosts, want only %d", pids, pid)
	}
	s.wantStarts(1)
}

// upDetach: a program that starts a host and ends is what a supervisor must not
// be given.
func upDetach(s *site) {
	p := s.up(true)
	p.argv = append(p.argv, "--detach")
	p.mapped = !s.m.shell // there the shell that maps it would be the parent
	s.write(p)
	s.until("the refusal", 20*time.Second, func() bool { return strings.Contains(s.printed("up"), "--detach") })
	settle()
	if pids := s.listeners(); len(pids) > 0 {
		s.t.Errorf("processes %v listen", pids)
	}
	if !p.mapped {
		return // it is started again and again; nothing is left of it, though
	}
	if pids := s.hosts(); len(pids) > 0 {
		s.t.Errorf("processes %v are hosts", pids)
	}
	s.saysDown("up")
	s.wantStarts(1) // 78, or it would have been started again
}

// killed: the host is killed while an agent answers.
func killed(s *site) {
	s.install()
	pid := s.healthy(0)
	tu := s.turn(sessionRow{}, 400)
	s.signalHost(pid, syscall.SIGKILL)
	s.healthy(pid)
	tu.whole()
	settle()
	s.wantStarts(2)
}

// restarted: the supervisor's own restart while an agent answers. It sends the
// signal of a stop and must find the way back.
func restarted(s *site, restart func()) {
	s.install()
	pid := s.healthy(0)
	tu := s.turn(sessionRow{}, 600)
	restart()
	s.healthy(pid)
	tu.whole()
	settle()
	s.wantStarts(2)
}

// stayDown: what only a person can mend is not tried again and again.
func stayDown(s *site) {
	t := s.t
	s.install()
	pid := s.healthy(0)
	mend := s.breakConfig()
	// Some tell by their exit code that the service did not come up.
	_, _ = s.run(s.m.restart(s, service)...)
	s.until("the end of the old host", 20*time.Second, func() bool { return !slices.Contains(s.listeners(), pid) })
	s.until("a second start", time.Minute, func() bool { return strings.Count(s.started(), "\n") == 2 })
	settle()
	settle()
	s.wantStarts(2)
	s.staysDown()
	if s.m.exit != nil {
		if code := s.m.exit(s, service); code != "78" && code != "125" {
			t.Errorf("%s says that it ended with %s, want 78", s.m.name, code)
		}
	}
	mend()
	s.mustRun(s.m.up(s, service)...)
	s.healthy(pid)
	s.wantStarts(3)
}

// stopped: a stop for good. The agents end a little later, by their lease.
func stopped(s *site, command ...string) {
	t := s.t
	s.install()
	s.healthy(0)
	tu := s.turn(sessionRow{}, 3000)
	s.stop(command...)
	s.gone(time.Second) // it returns when the host is down
	if len(s.marked()) == 0 {
		t.Errorf("the agents ended with the host: a restart would have lost them")
	}
	if s.m.exit != nil {
		if code := s.m.exit(s, service); code != "0" {
			t.Errorf("%s says that the host ended with %s, want 0", s.m.name, code)
		}
	}
	if !strings.Contains(s.printed(service), "the host stops") {
		t.Errorf("the host did not stop in an orderly way:\n%s", tail(s.printed(service), 2000))
	}
	s.until("the agents' end", time.Minute, func() bool { return len(s.marked()) == 0 })
	settle()
	s.wantStarts(1)
	s.staysDown()
	s.mustRun(s.m.up(s, service)...)
	s.healthy(0)
	// The scripted agent answers its prompt when it is asked to end.
	if reason := s.ended(tu.session.ID, tu.run); reason != "interrupted" && reason != "cancelled" {
		t.Errorf("the run that was cut off ended by %q", reason)
	}
}

// uninstalled: nothing of it is left but the data.
func uninstalled(s *site) {
	t := s.t
	before := files(t, s.user, s.services)
	s.installed("--print")
	if now := files(t, s.user, s.services); !slices.Equal(now, before) {
		t.Errorf("--print left files: %q, before %q", now, before)
	}
	s.installed()
	pid := s.healthy(0)
	s.turn(sessionRow{}, 3000)
	noneLeft := func() {
		t.Helper()
		s.gone(time.Second)
		if left := append(s.marked(), s.hosts()...); len(left) > 0 {
			t.Errorf("processes %v are left", left)
		}
	}
	s.mustHoldfast("service", "stop", "--all")
	noneLeft()
	settle()
	noneLeft()
	s.saysDown(service)
	s.mustHoldfast("service", "start")
	s.healthy(pid)
	s.turn(sessionRow{}, 3000)
	out := s.mustHoldfast("service", "uninstall", "--yes")
	if !strings.Contains(out, s.home) {
		t.Errorf("uninstall does not say where the data is:\n%s", out)
	}
	noneLeft()
	settle()
	noneLeft()
	if len(s.m.chain) > 1 { // it has a process for each service
		for _, pid := range s.children() {
			t.Errorf("process %d of the supervisor is left", pid)
		}
	}
	for _, path := range files(t, s.user, s.services) {
		if !slices.Contains(before, path) {
			t.Errorf("%s is left", path)
		}
	}
	for _, name := range []string{"config.toml", "holdfast.db"} {
		if _, err := os.Stat(filepath.Join(s.home, name)); err != nil {
			t.Errorf("the data is not all there: %v", err)
		}
	}
}

// secondCopy: a host that a person starts beside the supervisor's.
func secondCopy(s *site) {
	t := s.t
	s.install()
	pid := s.healthy(0)
	for _, args := range [][]string{{"serve"}, {"serve", "--addr", "127.0.0.1:0"}, {"up", "--no-browser", "--addr", "127.0.0.1:0"}} {
		code, out := s.holdfast(args...)
		if code != 78 || !strings.Contains(out, "pid") {
			t.Errorf("%v beside a host: exit code %d, want 78:\n%s", args, code, out)
		}
	}
	settle()
	if s.healthy(0) != pid {
		t.Errorf("another process is the host")
	}
	s.wantStarts(1)
}

// orphaned: the process that started the host is killed, and the host is not.
// Nobody takes its port from it, and a person can still end it. (When a user's
// systemd is killed here, its namespace goes with it.)
func orphaned(s *site) {
	t := s.t
	s.install()
	pid := s.healthy(0)
	tu := s.turn(sessionRow{}, 300)
	info, err := proc.Lookup(pid)
	if err != nil {
		t.Fatal(err)
	}
	s.signalHost(info.Parent, syscall.SIGKILL)
	if info.Parent == s.root { // nobody is left to start it again
		<-s.supEnd
		s.begin()
	}
	s.until("a second start", 30*time.Second, func() bool { return strings.Count(s.started(), "\n") == 2 })
	s.until("the second one's end", 30*time.Second, func() bool { return slices.Equal(s.hosts(), []int{pid}) })
	tu.whole()
	settle()
	settle()
	s.wantStarts(2) // it was refused with 78: no loop
	if s.healthy(0) != pid {
		t.Errorf("another process is the host")
	}
	s.saysDown(service)
	s.mustHoldfast("stop")
	s.gone(time.Second)
	s.mustHoldfast("service", "start")
	s.supervised(s.healthy(pid), s.m.parents())
	s.wantStarts(3)
}

// readiness: the supervisor is told that the host serves when it does, and not
// before.
func readiness(s *site) {
	t := s.t
	s.install()
	s.healthy(0)
	s.mustRun(s.m.down(s, service)...)
	s.gone(10 * time.Second)
	taken, err := net.Listen("tcp", s.addr) // the host waits for its port
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	go func() { _, _ = s.run(s.m.up(s, service)...) }() // returns when the host is ready, or when it likes
	s.until("the start", time.Minute, func() bool { return strings.Count(s.started(), "\n") == 2 })
	time.Sleep(2 * time.Second)
	if out, err := s.run(s.m.ready(s, service)...); err == nil {
		t.Errorf("%s takes a host for ready that has no port: %s", s.m.name, out)
	}
	_ = taken.Close()
	s.until("readiness", 20*time.Second, func() bool {
		_, err := s.run(s.m.ready(s, service)...)
		return err == nil
	})
	resp, err := http.Get(s.base + "/health")
	if err != nil {
		t.Fatalf("%s says ready, and: %v", s.m.name, err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("%s says ready, and /health says %d", s.m.name, resp.StatusCode)
	}
}

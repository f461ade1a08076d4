package awake

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"
)

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// alive tells whether a process of the group lives; one that is dead and was
// not waited for by its new parent yet does not.
func alive(group int) bool {
	entries, _ := os.ReadDir("/proc")
	return slices.ContainsFunc(entries, func(e os.DirEntry) bool {
		stat, err := os.ReadFile(filepath.Join("/proc", e.Name(), "stat"))
		if err != nil {
			return false
		}
		var state string
		var parent, pgrp int
		_, _ = fmt.Sscan(string(stat[bytes.LastIndexByte(stat, ')')+1:]), &state, &parent, &pgrp)
		return pgrp == group && state != "Z"
	})
}

// bus is a real bus of the test's own, which stands for the system bus.
type bus struct {
	t    *testing.T
	path string
	cmd  *exec.Cmd
}

func newBus(t *testing.T) *bus {
	t.Helper()
	if _, err := exec.LookPath("dbus-daemon"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("dbus-daemon is lacking: install the package dbus")
		}
		t.Skip("no dbus-daemon here: install the package dbus")
	}
	dir, err := os.MkdirTemp("", "hf-bus") // t.TempDir's may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	b := &bus{t: t, path: filepath.Join(dir, "bus")}
	text := `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=` + b.path + `</listen>
  <auth>EXTERNAL</auth>
  <policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/></policy>
</busconfig>`
	if err := os.WriteFile(filepath.Join(dir, "bus.conf"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path="+b.path)
	b.start()
	t.Cleanup(b.stop)
	return b
}

func (b *bus) start() {
	b.t.Helper()
	b.cmd = exec.Command("dbus-daemon", "--nofork", "--nopidfile", "--print-address", "--config-file="+filepath.Join(filepath.Dir(b.path), "bus.conf"))
	out, err := b.cmd.StdoutPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	b.cmd.Stderr = os.Stderr
	if err := b.cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	if _, err := io.ReadAtLeast(out, make([]byte, 256), 1); err != nil {
		b.t.Fatalf("the bus did not start: %v", err)
	}
}

func (b *bus) stop() {
	if b.cmd == nil {
		return
	}
	_ = b.cmd.Process.Kill()
	_ = b.cmd.Wait()
	_ = os.Remove(b.path)
	b.cmd = nil
}

// logind stands for systemd-logind: it hands out the writing end of a pipe and
// sees by the reading end when the last copy of it is closed.
type logind struct {
	t    *testing.T
	conn *dbus.Conn

	mu    sync.Mutex
	locks []*lock
}

type lock struct {
	args     []string
	ours     *os.File // our copy of the descriptor that was sent
	watch    *os.File
	released bool
}

func (b *bus) logind() *logind {
	b.t.Helper()
	conn, err := dbus.ConnectSystemBus()
	if err != nil {
		b.t.Fatal(err)
	}
	l := &logind{t: b.t, conn: conn}
	if err := conn.Export(l, login1Path, login1+".Manager"); err != nil {
		b.t.Fatal(err)
	}
	if r, err := conn.RequestName(login1, dbus.NameFlagDoNotQueue); err != nil || r != dbus.RequestNameReplyPrimaryOwner {
		b.t.Fatalf("own the name: %v, %v", r, err)
	}
	b.t.Cleanup(l.stop)
	return l
}

func (l *logind) stop() {
	_ = l.conn.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, k := range l.locks {
		_ = k.ours.Close()
		_ = k.watch.Close()
	}
	l.locks = nil
}

// Inhibit is the method that is called over the bus.
func (l *logind) Inhibit(what, who, why, mode string) (dbus.UnixFD, *dbus.Error) {
	r, w, err := os.Pipe()
	if err != nil {
		return 0, dbus.MakeFailedError(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.locks = append(l.locks, &lock{args: []string{what, who, why, mode}, ours: w, watch: r})
	return dbus.UnixFD(w.Fd()), nil
}

// held counts the locks that are held. It is asked when the guard has its
// descriptors: then our own copies can go.
func (l *logind) held() (now, ever int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, k := range l.locks {
		_ = k.ours.Close()
		if !k.released {
			fds := []unix.PollFd{{Fd: int32(k.watch.Fd())}}
			_, err := unix.Poll(fds, 0)
			k.released = err == nil && fds[0].Revents&unix.POLLHUP != 0
		}
		if !k.released {
			now++
		}
	}
	return now, len(l.locks)
}

func await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not in time", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (l *logind) awaitHeld(g *Guard, want int) {
	l.t.Helper()
	state := stateHeld
	if want == 0 {
		state = stateIdle
	}
	await(l.t, fmt.Sprintf("%d locks", want), func() bool {
		if g.State() != state {
			return false
		}
		n, _ := l.held()
		return n == want
	})
}

func TestLogind(t *testing.T) {
	b := newBus(t)
	l := b.logind()
	before := descriptors(t)
	g := New(slog.New(slog.DiscardHandler), Options{})
	l.mu.Lock()
	if len(l.locks) != 0 {
		t.Error("a lock without a run")
	}
	l.mu.Unlock()
	for range 20 {
		g.Set(true)
		l.awaitHeld(g, 1)
		g.Set(false)
		l.awaitHeld(g, 0)
	}
	l.mu.Lock()
	if want := []string{"idle", "Holdfast", "An agent is at work", "block"}; !slices.Equal(l.locks[0].args, want) {
		t.Errorf("asked for %q", l.locks[0].args)
	}
	for _, k := range l.locks {
		_ = k.watch.Close()
	}
	l.locks = nil
	l.mu.Unlock()
	await(t, fmt.Sprintf("the descriptors of before: %d", before), func() bool { return descriptors(t) == before })

	g.Set(true)
	l.awaitHeld(g, 1)
	if err := g.Close(); err != nil {
		t.Error(err)
	}
	if now, ever := l.held(); now != 0 || ever != 1 {
		t.Errorf("after close %d of %d locks are held", now, ever)
	}
}

func TestLogindComesAnew(t *testing.T) {
	b := newBus(t)
	first := b.logind()
	g := New(slog.New(slog.DiscardHandler), Options{recheck: 20 * time.Millisecond})
	defer g.Close()
	g.Set(true)
	first.awaitHeld(g, 1)
	// Its process ends; its pipe stays open, as that of a real one does in
	// the hands of systemd's /run.
	if _, err := first.conn.ReleaseName(login1); err != nil {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond)
	if n, _ := first.held(); n != 1 || g.State() != stateHeld {
		t.Errorf("let go when logind went: %d held, %s", n, g.State())
	}
	second := b.logind()
	second.awaitHeld(g, 1)
	if n, _ := first.held(); n != 0 {
		t.Error("the old lock was kept")
	}
}

func TestBusComesAnew(t *testing.T) {
	b := newBus(t)
	l := b.logind()
	before := descriptors(t)
	g := New(slog.New(slog.DiscardHandler), Options{recheck: 20 * time.Millisecond})
	defer g.Close()
	g.Set(true)
	l.awaitHeld(g, 1)
	l.stop()
	b.stop()
	await(t, "the loss to be noticed", func() bool { return strings.HasPrefix(g.State(), unavailable) })
	time.Sleep(200 * time.Millisecond) // asks on, in vain
	b.start()
	b.logind().awaitHeld(g, 1)
	g.Set(false)
	await(t, "let go", func() bool { return g.State() == stateIdle })
	if n := descriptors(t); n > before+4 { // the new fake's pipe
		t.Errorf("%d descriptors, %d before", n, before)
	}
}

func TestNoLogind(t *testing.T) {
	b := newBus(t) // a bus without logind
	var out bytes.Buffer
	before := descriptors(t)
	g := New(slog.New(slog.NewTextHandler(&out, nil)), Options{recheck: 5 * time.Millisecond})
	g.Set(true)
	await(t, "an answer", func() bool { return strings.HasPrefix(g.State(), unavailable) })
	time.Sleep(200 * time.Millisecond)
	b.stop() // and no bus at all
	await(t, "another answer", func() bool { return strings.Contains(g.State(), "connect") })
	time.Sleep(100 * time.Millisecond)
	if err := g.Close(); err != nil {
		t.Error(err)
	}
	if n := strings.Count(out.String(), "the machine is not kept awake"); n != 1 {
		t.Errorf("said %d times, want once:\n%s", n, out.String())
	}
	await(t, "the descriptors of before", func() bool { return descriptors(t) <= before })
}

// A bus that takes connections and says nothing.
func TestSilentBus(t *testing.T) {
	dir, err := os.MkdirTemp("", "hf-bus")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "bus")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path="+path)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	begun := time.Now()
	if _, err := take(ctx); err == nil || time.Since(begun) > 3*time.Second {
		t.Errorf("after %v: %v", time.Since(begun), err)
	}
}

func TestInhibitorIsNotInherited(t *testing.T) {
	newBus(t).logind()
	h, err := take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	fd := h.(*inhibitor).fd.Fd()
	flags, err := unix.FcntlInt(fd, syscall.F_GETFD, 0)
	if err != nil || flags&syscall.FD_CLOEXEC == 0 {
		t.Errorf("flags %#x, %v", flags, err)
	}
}

func TestMains(t *testing.T) {
	type supply map[string]string
	tests := []struct {
		name     string
		supplies map[string]supply
		want     bool
	}{
		{"a desktop", nil, true},
		{"a laptop on mains", map[string]supply{"AC": {"type": "Mains", "online": "1"}, "BAT0": {"type": "Battery", "status": "Charging"}}, true},
		{"a laptop on battery", map[string]supply{"AC": {"type": "Mains", "online": "0"}, "BAT0": {"type": "Battery", "status": "Discharging"}}, false},
		{"a battery that is full, the mains pulled just now", map[string]supply{"AC": {"type": "Mains", "online": "0"}, "BAT0": {"type": "Battery", "status": "Full"}}, false},
		{"charged by USB", map[string]supply{
			"ACAD": {"type": "Mains", "online": "0"}, "usb1": {"type": "USB", "online": "0"}, "usb2": {"type": "USB", "online": "1"}, "BAT0": {"type": "Battery", "status": "Discharging"},
		}, true},
		{"charged by USB of old kinds", map[string]supply{"usb": {"type": "USB_PD", "online": "2"}, "BAT0": {"type": "Battery", "status": "Charging"}}, true},
		{"a desktop with an empty USB port", map[string]supply{"usb1": {"type": "USB", "online": "0"}}, true},
		{"a tablet on battery", map[string]supply{"usb1": {"type": "USB", "online": "0"}, "bq": {"type": "Battery", "status": "Discharging"}}, false},
		{"a desktop with a mouse", map[string]supply{"hidpp": {"type": "Battery", "status": "Discharging", "scope": "Device"}}, true},
		{"a UPS at work", map[string]supply{"ups": {"type": "UPS", "status": "Discharging"}}, false},
		{"a supply that says nothing", map[string]supply{"odd": {}}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			files := fstest.MapFS{}
			for name, s := range tt.supplies {
				for file, text := range s {
					files[name+"/"+file] = &fstest.MapFile{Data: []byte(text + "\n")}
				}
			}
			if got, err := mainsFrom(files); err != nil || got != tt.want {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
	if got, err := mainsFrom(os.DirFS(filepath.Join(t.TempDir(), "absent"))); err != nil || !got {
		t.Errorf("without a folder: %v, %v", got, err)
	}
	if _, err := onMains(t.Context()); err != nil {
		t.Errorf("this machine: %v", err)
	}
}

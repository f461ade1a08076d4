//go:build unix

package supervise

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// manager listens as systemd does.
func manager(t *testing.T) (env []string, next func() string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "hf")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "n")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return []string{"NOTIFY_SOCKET=" + path}, func() string {
		buf := make([]byte, 4096)
		_ = conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		n, err := conn.Read(buf)
		if err != nil {
			return ""
		}
		return string(buf[:n])
	}
}

func TestNotifySystemd(t *testing.T) {
	env, next := manager(t)
	n := NewNotifier(Unit{Manager: Systemd, Name: "holdfast.service"}, env)
	for _, step := range []struct {
		do   func() error
		want string
	}{
		{func() error { return n.Ready("Serving") }, "READY=1\nSTATUS=Serving"},
		{func() error { return n.Reloading(2 * time.Second) }, "RELOADING=1\nMONOTONIC_USEC=2000000\nSTATUS=Restarting in place"},
		{func() error { return n.Status("Well") }, "STATUS=Well"},
		{n.Stopping, "STOPPING=1\nSTATUS=Stopping"},
	} {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		if got := next(); got != step.want {
			t.Errorf("got %q, want %q", got, step.want)
		}
	}
	// A socket that was inherited by a host that no systemd started.
	if err := NewNotifier(Unit{}, env).Ready("x"); err != nil || next() != "" {
		t.Errorf("a foreign manager was told (%v)", err)
	}
}

func TestWatchdogIsFedByHealthOnly(t *testing.T) {
	env, next := manager(t)
	env = append(env, "WATCHDOG_USEC=150000", "WATCHDOG_PID="+strconv.Itoa(os.Getpid()))
	n := NewNotifier(Unit{Manager: Systemd}, env)
	ctx, cancel := context.WithCancel(context.Background())
	var sick atomic.Bool
	done := make(chan error, 1)
	go func() {
		done <- n.Watch(ctx, func(context.Context) error {
			if sick.Load() {
				return errors.New("deaf")
			}
			return nil
		})
	}()
	for range 3 {
		if got := next(); got != "WATCHDOG=1" {
			t.Fatalf("got %q", got)
		}
	}
	sick.Store(true)
	for next() != "" { // what was on its way
	}
	if got := next(); got != "" {
		t.Errorf("a sick host said %q", got)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	other := NewNotifier(Unit{Manager: Systemd}, append(env[:1:1], "WATCHDOG_USEC=1000", "WATCHDOG_PID=1"))
	if err := other.Watch(context.Background(), nil); err != nil {
		t.Error(err)
	}
}

// A host that was replaced in place has no more than seconds, where it is so
// again and again, to give its first sign of life.
func TestWatchdogSoonAfterTheStart(t *testing.T) {
	env, next := manager(t)
	n := NewNotifier(Unit{Manager: Systemd}, append(env, "WATCHDOG_USEC=60000000"))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	asked := 0
	go func() {
		done <- n.Watch(ctx, func(context.Context) error {
			if asked++; asked == 1 {
				return errors.New("no probe has passed yet")
			}
			return nil
		})
	}()
	got := ""
	for range 25 {
		if got = next(); got != "" {
			break
		}
	}
	if got != "WATCHDOG=1" {
		t.Errorf("within 5 s it said %q", got)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A host that has no descriptor left is fed as one that has, as long as it
// answers: what ends it must be its own probe, which writes down why.
func TestWatchdogWithoutDescriptors(t *testing.T) {
	env, next := manager(t)
	n := NewNotifier(Unit{Manager: Systemd}, append(env, "WATCHDOG_USEC=60000"))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- n.Watch(ctx, func(context.Context) error { return nil }) }()
	if got := next(); got != "WATCHDOG=1" {
		t.Fatalf("got %q", got)
	}
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	few := old
	few.Cur = min(256, old.Cur)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &old) }()
	for {
		f, err := os.Open(os.DevNull)
		if errors.Is(err, syscall.EMFILE) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
	}
	for range 5 { // the first may have been given before
		if got := next(); got != "WATCHDOG=1" {
			t.Fatalf("without a descriptor it says %q", got)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestNotifyS6(t *testing.T) {
	dir := t.TempDir()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	fd, err := syscall.Dup(int(w.Fd())) // closed by the notifier
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "notification-fd"), []byte(strconv.Itoa(fd)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	n := NewNotifier(Unit{Manager: S6, Dir: dir}, nil)
	if n.ready == nil {
		t.Fatal("the pipe was not found")
	}
	if err := n.Ready("x"); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err != nil || string(got) != "\n" {
		t.Errorf("s6 read %q, %v", got, err)
	}
	if err := n.Ready("again"); err != nil {
		t.Error(err)
	}
	// A number that is something else is left alone.
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	_ = os.WriteFile(filepath.Join(dir, "notification-fd"), []byte(strconv.Itoa(int(null.Fd()))), 0o600)
	if n := NewNotifier(Unit{Manager: S6, Dir: dir}, nil); n.ready != nil {
		t.Error("a file that is no pipe was taken")
	}
}

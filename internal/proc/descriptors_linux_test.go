package proc

import (
	"errors"
	"math"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestTable opens one of each kind in this process and looks for it.
func TestTable(t *testing.T) {
	dir := t.TempDir()
	fds := map[string]int{}
	open := func(name string) {
		t.Helper()
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		fds[name] = int(f.Fd())
	}
	for _, name := range []string{"plain", "state.db", "state.db-wal", "state.db-shm", "old.sqlite3", "odd", "odd-journal", "gone", "named (deleted)"} {
		open(name)
	}
	if err := os.Remove(filepath.Join(dir, "gone")); err != nil {
		t.Fatal(err)
	}
	keep := func(name string, f interface{ Fd() uintptr }, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		fds[name] = int(f.Fd())
		t.Cleanup(func() { f.(interface{ Close() error }).Close() })
	}
	d, err := os.Open(dir)
	keep("dir", d, err)
	null, err := os.Open(os.DevNull)
	keep("null", null, err)
	r, w, err := os.Pipe()
	keep("pipe", r, err)
	defer w.Close()
	if ptmx, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0); err == nil {
		keep("pty", ptmx, err)
	}
	raw := func(name string, fd int, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		fds[name] = fd
		t.Cleanup(func() { _ = syscall.Close(fd) })
	}
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	raw("eventfd", fd, err)
	fd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	raw("epoll", fd, err)
	fd, err = unix.MemfdCreate("mem", unix.MFD_CLOEXEC)
	raw("memfd", fd, err)

	file := func(name string, c interface{ File() (*os.File, error) }) {
		t.Helper()
		f, err := c.File()
		keep(name, f, err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	file("listener", l.(*net.TCPListener))
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	file("server", server.(*net.TCPConn))
	ul, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer ul.Close()
	file("unix listener", ul.(*net.UnixListener))

	addr := l.Addr().String()
	check := func(name string, kind Kind, called string, deleted bool) {
		t.Helper()
		fd, ok := fds[name]
		if !ok {
			return
		}
		all, err := Table(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range all {
			if d.FD == fd {
				if d.Kind != kind || d.Name != called || d.Deleted != deleted {
					t.Errorf("%s: %+v, want %s, %q, deleted %v", name, d, kind, called, deleted)
				}
				return
			}
		}
		t.Errorf("%s is not in the table", name)
	}
	path := func(name string) string { return filepath.Join(dir, name) }
	check("plain", KindFile, path("plain"), false)
	check("state.db", KindSQLite, path("state.db"), false)
	check("state.db-wal", KindSQLiteWAL, path("state.db-wal"), false)
	check("state.db-shm", KindSQLiteSHM, path("state.db-shm"), false)
	check("old.sqlite3", KindSQLite, path("old.sqlite3"), false)
	check("odd", KindSQLite, path("odd"), false)
	check("odd-journal", KindSQLiteJournal, path("odd-journal"), false)
	check("gone", KindFile, path("gone"), true)
	check("named (deleted)", KindFile, path("named (deleted)"), false)
	check("dir", KindDirectory, dir, false)
	check("null", KindDevice, os.DevNull, false)
	check("pipe", KindPipe, "pipe", false)
	check("pty", KindPTY, "/dev/ptmx", false)
	check("eventfd", KindEvent, "eventfd", false)
	check("epoll", KindPoll, "epoll", false)
	check("memfd", KindMemory, "/memfd:mem", false)
	check("listener", KindTCPListener, "tcp "+addr+", listening", false)
	check("server", KindTCP, "tcp "+addr+", from clients", false)
	check("unix listener", KindUnixListener, "unix "+path("s")+", listening", false)

	// A server that never closes what its clients have closed.
	client.Close()
	until(t, "the server's side sees the close", func() bool {
		all, err := Table(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range all {
			if d.FD == fds["server"] {
				return d.Name == "tcp "+addr+", from clients, closed by the other side"
			}
		}
		return false
	})
}

// TestTableLeavesNothing: it is used on this process, again and again.
func TestTableLeavesNothing(t *testing.T) {
	before, err := CountDescriptors(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if _, err := Table(os.Getpid()); err != nil {
			t.Fatal(err)
		}
	}
	if after, err := CountDescriptors(os.Getpid()); err != nil || after != before {
		t.Errorf("%d before, %d after (%v)", before, after, err)
	}
}

func TestNoFile(t *testing.T) {
	var lim syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
		t.Fatal(err)
	}
	if soft, hard, err := NoFile(os.Getpid()); err != nil || soft != lim.Cur || hard != lim.Max {
		t.Errorf("%d %d %v, want %+v", soft, hard, err, lim)
	}
	if soft, hard, err := parseLimit("Limit  Soft Limit Hard Limit Units\nMax open files            256   unlimited  files\n", "Max open files"); err != nil || soft != 256 || hard != math.MaxUint64 {
		t.Errorf("%d %d %v", soft, hard, err)
	}
	for _, bad := range []string{"", "Max open files many few files\n"} {
		if soft, _, err := parseLimit(bad, "Max open files"); err == nil {
			t.Errorf("%q: %d", bad, soft)
		}
	}
	if _, _, err := NoFile(1 << 30); !errors.Is(err, ErrGone) {
		t.Errorf("of nobody: %v", err)
	}
}

func TestEffort(t *testing.T) {
	before, err := Effort(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	// On a full machine it may wait for most of the time; that counts as well.
	until(t, "work is seen", func() bool {
		for end := time.Now().Add(20 * time.Millisecond); time.Now().Before(end); {
		}
		now, err := Effort(os.Getpid())
		return err == nil && now.CPU-before.CPU >= 50*time.Millisecond
	})
	_, id := child(t)
	if w, err := Effort(id.PID); err != nil || w.CPU > 10*time.Second {
		t.Errorf("%+v %v", w, err)
	}
	if _, err := Effort(1 << 30); !errors.Is(err, ErrGone) {
		t.Errorf("of nobody: %v", err)
	}
}

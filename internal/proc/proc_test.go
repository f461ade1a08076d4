//go:build unix

package proc

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/holdfast-dev/holdfast/internal/failpoint"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "sleep" {
		time.Sleep(5 * time.Minute)
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// child starts this binary as a process that sleeps.
func child(t *testing.T, env ...string) (*exec.Cmd, ID) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "sleep")
	cmd.Env = append(os.Environ(), env...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	id, err := Of(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	return cmd, id
}

func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in 10 s: %s", what)
		}
	}
}

func TestIdentity(t *testing.T) {
	self, err := Self()
	if err != nil || self.PID != os.Getpid() || self.Start == 0 || !Alive(self) {
		t.Fatalf("self %+v, %v, alive %v", self, err, Alive(self))
	}
	cmd, id := child(t)
	if !Alive(id) || id.Zero() {
		t.Errorf("child %+v is not alive", id)
	}
	other := ID{PID: id.PID, Start: id.Start + 1}
	if Alive(other) {
		t.Error("an older owner of the pid is alive")
	}
	if err := Signal(other, syscall.SIGKILL); !errors.Is(err, ErrGone) {
		t.Errorf("signal to an older owner of the pid: %v", err)
	}
	if err := Signal(ID{}, syscall.SIGKILL); !errors.Is(err, ErrGone) {
		t.Errorf("signal to nobody: %v", err)
	}
	Reap(id, 0)
	if !Alive(id) {
		t.Fatal("it was ended")
	}
	if err := Signal(id, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	until(t, "the child is a zombie", func() bool { return !Alive(id) })
	if now, err := Of(id.PID); err != nil || now != id {
		t.Errorf("identity of the zombie: %+v, %v", now, err)
	}
	cmd.Wait()
	if _, err := Of(id.PID); !errors.Is(err, ErrGone) {
		t.Errorf("identity of nobody: %v", err)
	}
	if err := Signal(id, syscall.SIGKILL); !errors.Is(err, ErrGone) {
		t.Errorf("signal to the dead: %v", err)
	}
}

func TestReap(t *testing.T) {
	_, id := child(t)
	if err := Signal(id, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	Reap(id, 5*time.Second)
	if _, err := Of(id.PID); !errors.Is(err, ErrGone) {
		t.Errorf("it is not reaped: %v", err)
	}
	Reap(id, time.Second) // nothing to do
}

func TestTreeAndMark(t *testing.T) {
	_, id := child(t, MarkVar+"=test:"+strconv.Itoa(os.Getpid()))
	is := func(p Info) bool { return p.ID == id }
	tree, err := Tree(os.Getpid())
	if err != nil || !slices.ContainsFunc(tree, is) {
		t.Errorf("tree %+v, %v", tree, err)
	}
	// For a moment of its exec a process shows no environment.
	until(t, "the mark is seen", func() bool {
		marked, err := ByMark("test:" + strconv.Itoa(os.Getpid()))
		return err == nil && len(marked) == 1 && is(marked[0])
	})
	if marked, err := ByMark("test:"); err != nil || len(marked) > 0 {
		t.Errorf("a part of the mark finds %+v, %v", marked, err)
	}
	if n, err := CountDescriptors(id.PID); err != nil || n < 3 {
		t.Errorf("%d descriptors, %v", n, err)
	}
}

func TestDescendants(t *testing.T) {
	all := []Info{
		{ID: ID{PID: 4}, Parent: 3},
		{ID: ID{PID: 3}, Parent: 2},
		{ID: ID{PID: 2}, Parent: 1},
		{ID: ID{PID: 1}, Parent: 0},
		{ID: ID{PID: 9}, Parent: 1},
		{ID: ID{PID: 5}, Parent: 6}, // a circle, as a listing taken over time may show
		{ID: ID{PID: 6}, Parent: 5},
	}
	pids := func(tree []Info) (pids []int) {
		for _, p := range tree {
			pids = append(pids, p.PID)
		}
		return pids
	}
	if got := pids(Descendants(all, 2)); !slices.Equal(got, []int{3, 4}) {
		t.Errorf("of 2: %v", got)
	}
	if got := pids(Descendants(all, 2, 3)); !slices.Equal(got, []int{4}) {
		t.Errorf("of 2 and 3: %v", got)
	}
	if got := pids(Descendants(all, 5)); !slices.Equal(got, []int{6}) {
		t.Errorf("of 5: %v", got)
	}
	if got := Descendants(all); len(got) > 0 {
		t.Errorf("of none: %v", got)
	}
}

func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	if held, err := Locked(path); err != nil || held {
		t.Errorf("a file that is not there: %v, %v", held, err)
	}
	f, err := Lock(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Lock(path); !errors.Is(err, ErrLocked) {
		t.Errorf("a second lock: %v", err)
	}
	if held, err := Locked(path); err != nil || !held {
		t.Errorf("held %v, %v", held, err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if held, err := Locked(path); err != nil || held {
		t.Errorf("held %v, %v", held, err)
	}
	if f, err = Lock(path); err != nil {
		t.Fatal(err)
	}
	f.Close()
}

func TestCloseOnExecFrom(t *testing.T) {
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fd := f.Fd()
	if _, _, errno := syscall.Syscall(syscall.SYS_FCNTL, fd, syscall.F_SETFD, 0); errno != 0 {
		t.Fatal(errno)
	}
	if err := CloseOnExecFrom(3); err != nil {
		t.Fatal(err)
	}
	flags, _, errno := syscall.Syscall(syscall.SYS_FCNTL, fd, syscall.F_GETFD, 0)
	if errno != 0 || flags&syscall.FD_CLOEXEC == 0 {
		t.Errorf("flags %x, %v", flags, errno)
	}
}

func TestOwnDescriptors(t *testing.T) {
	before, err := CountDescriptors(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	after, err := CountDescriptors(os.Getpid())
	if err != nil || after != before+1 {
		t.Errorf("%d before, %d after, %v", before, after, err)
	}
}

func TestBootAndClock(t *testing.T) {
	a, err := BootID()
	b, err2 := BootID()
	if err != nil || err2 != nil || a == "" || a != b {
		t.Errorf("boot %q and %q, %v, %v", a, b, err, err2)
	}
	if failpoint.Enabled && failpoint.Value("boot_id") != "" && a != failpoint.Value("boot_id") {
		t.Errorf("boot %q", a)
	}
	first := Monotonic()
	time.Sleep(2 * time.Millisecond)
	if d := Monotonic() - first; d < 2*time.Millisecond || d > time.Minute || first <= 0 {
		t.Errorf("clock at %v went on by %v", first, d)
	}
}

func TestLimits(t *testing.T) {
	var lim syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
		t.Fatal(err)
	}
	defer syscall.Setrlimit(syscall.RLIMIT_NOFILE, &lim)
	if n, err := SetNoFile(200); err != nil || n != 200 {
		t.Errorf("set %d, %v", n, err)
	}
	n, err := RaiseNoFile()
	if want := min(saneNoFile, lim.Max); err != nil || n != want {
		t.Errorf("raised to %d, %v, want %d", n, err, want)
	}
	// What Go gives to children is not what it says of ourselves.
	if out, err := exec.Command("/bin/sh", "-c", "ulimit -n").Output(); err != nil || strings.TrimSpace(string(out)) != strconv.FormatUint(n, 10) {
		t.Errorf("a child has %q, %v, want %d", out, err, n)
	}
}

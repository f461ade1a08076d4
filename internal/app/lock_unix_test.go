//go:build unix

package app

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// lockOf makes a state folder's lock with the pid in it, held by a process that
// only has a copy of the descriptor, as a child has before it execs. It is held
// until the test's end or for hold.
func lockOf(t *testing.T, pid int, hold string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "lock")
	l, err := takeLock(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.say(holder{PID: pid, Since: time.Now()}); err != nil {
		t.Fatal(err)
	}
	child := exec.Command("sleep", hold)
	child.ExtraFiles = []*os.File{l.file}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = child.Process.Kill(); _ = child.Wait() })
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// deadPID is of a process that has ended.
func deadPID(t *testing.T) int {
	t.Helper()
	cmd := exec.Command("true")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	return cmd.Process.Pid
}

// TestLockOutlivesItsHost kills a host while it starts a child: the next one
// is not refused, which would be for good.
func TestLockOutlivesItsHost(t *testing.T) {
	for name, pid := range map[string]int{"gone": deadPID(t), "the same pid": os.Getpid()} {
		t.Run(name, func(t *testing.T) {
			l, err := takeLock(lockOf(t, pid, "0.3"))
			if err != nil {
				t.Fatal(err)
			}
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestLockOfALiveHost is refused without waiting.
func TestLockOfALiveHost(t *testing.T) {
	path := lockOf(t, os.Getppid(), "60")
	begun := time.Now()
	_, err := takeLock(path)
	if err == nil || !strings.Contains(err.Error(), "Another Holdfast serves this state folder") {
		t.Fatalf("got %v", err)
	}
	if took := time.Since(begun); took >= lockPatience {
		t.Errorf("it took %v", took)
	}
}

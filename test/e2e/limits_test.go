package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// softLimit reads a process's soft limit of descriptors.
func softLimit(t *testing.T, pid int) uint64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(text) {
		if rest, ok := bytes.CutPrefix(line, []byte("Max open files")); ok {
			n, err := strconv.ParseUint(string(bytes.Fields(rest)[0]), 10, 64)
			if err != nil {
				t.Fatalf("limit of %d: %v", pid, err)
			}
			return n
		}
	}
	t.Fatalf("no limit of %d in %s", pid, text)
	return 0
}

// launchd starts its jobs with 256 descriptors. Go lifts its own limit, and
// gives every child the old one, unless told: an agent in Python or Node would
// fail after a day, and so would every helper of the host.
func TestDescriptorLimits(t *testing.T) {
	t.Parallel()
	const (
		given = 256   // by launchd
		sane  = 16384 // what a program may use that walks all descriptors when it starts one
	)
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	want := min(sane, old.Max)
	if want <= given {
		t.Fatalf("the hard limit of this test is %d, too low to see a soft one raised", old.Max)
	}
	w := newWorld(t, nil, "")
	// The login shell stands for whatever the host starts beside keepers.
	shell, helper := filepath.Join(w.work, "sh"), filepath.Join(w.work, "limit")
	if err := os.WriteFile(shell, fmt.Appendf(nil, "#!/bin/sh\nulimit -n >%s\nexec /bin/sh \"$@\"\n", helper), 0o700); err != nil {
		t.Fatal(err)
	}
	w.env = append(w.env, "SHELL="+shell)

	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: given, Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	w.launch()
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	w.awaitHealthy()
	w.token = strings.TrimSpace(w.cli("token", "create", "--name", "test"))
	s := w.newSession()
	a := w.send(s.ID, "limit")
	if reason := w.ended(s.ID, a.Run); reason != "end_turn" {
		t.Fatalf("ended by %q", reason)
	}

	if got := w.said(s.ID, a.Run); got != strconv.FormatUint(want, 10) {
		t.Errorf("the agent has %s descriptors, want %d", got, want)
	}
	if got := softLimit(t, w.host.Process.Pid); got != want {
		t.Errorf("the host has %d descriptors, want %d", got, want)
	}
	if got := softLimit(t, w.keeperPID()); got != want {
		t.Errorf("the keeper has %d descriptors, want %d", got, want)
	}
	var text []byte
	w.until("the login shell", 10*time.Second, func() bool {
		text, _ = os.ReadFile(helper)
		return len(text) > 0
	})
	if got := strings.TrimSpace(string(text)); got != strconv.FormatUint(want, 10) {
		t.Errorf("what else the host starts has %s descriptors, want %d", got, want)
	}
	if got := w.status()["descriptors_limit"]; got != float64(want) {
		t.Errorf("the status tells of %v descriptors, want %d", got, want)
	}
}

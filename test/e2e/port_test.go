package e2e

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestPortOfAnotherHoldfast has a second host, with a state folder of its own,
// meet the first one's port.
func TestPortOfAnotherHoldfast(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, "")
	w.start()
	pid := w.pid()
	cmd := exec.Command(bins.host, "serve", "--addr", strings.TrimPrefix(w.base, "http://"), "--home", t.TempDir())
	timer := time.AfterFunc(60*time.Second, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	out, err := cmd.CombinedOutput()
	if err == nil || cmd.ProcessState.ExitCode() != 78 {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{
		fmt.Sprintf("is taken by process %d (", pid), ", since ", "another Holdfast, version", "it says that it is ok",
		"holdfast stop --home " + w.home, "--addr",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("it does not say %q:\n%s", want, out)
		}
	}
	if w.pid() != pid {
		t.Errorf("the first host was touched: %d was %d", w.pid(), pid)
	}
}

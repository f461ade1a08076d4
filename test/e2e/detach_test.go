package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// up runs `holdfast up --detach` in a terminal of its own, which is gone when
// it returns, and returns its exit code and what the terminal showed. A
// descriptor of the terminal that nobody meant for it is open as well.
func (w *world) up(args ...string) (int, string) {
	w.t.Helper()
	if _, err := exec.LookPath("script"); err != nil {
		if os.Getenv("CI") == "true" {
			w.t.Fatal(err)
		}
		w.t.Skipf("no terminal without script: %v", err)
	}
	line := fmt.Sprintf("exec 9>/dev/tty; exec '%s' up --detach --skip-agent-install --home '%s'", bins.host, w.home)
	for _, a := range args {
		line += " '" + a + "'"
	}
	cmd := exec.Command("script", "-qec", line, "/dev/null")
	cmd.Env = w.environ()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	timer := time.AfterFunc(60*time.Second, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	err := cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		w.t.Fatalf("up --detach: %v\n%s", err, out.String())
	}
	return cmd.ProcessState.ExitCode(), strings.ReplaceAll(out.String(), "\r", "")
}

// detachedWorld is a world whose hosts are no children of the test.
func detachedWorld(t *testing.T) *world {
	w := newWorld(t, nil, "")
	t.Cleanup(func() {
		if st := w.status(); st != nil {
			pid := int(st["pid"].(float64))
			_ = exec.Command(bins.host, "stop", "--all", "--home", w.home).Run()
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	return w
}

func (w *world) pid() int {
	w.t.Helper()
	st := w.status()
	if st == nil {
		w.t.Fatalf("no host answers; its standard error:\n%s", w.read("logs/stderr.log"))
	}
	return int(st["pid"].(float64))
}

func (w *world) read(name string) string {
	data, _ := os.ReadFile(filepath.Join(w.home, name))
	return string(data)
}

func TestDetach(t *testing.T) {
	t.Parallel()
	w := detachedWorld(t)
	code, out := w.up("--addr", "127.0.0.1:0")
	pid := w.pid()
	address := w.status()["address"].(string)
	for _, want := range []string{fmt.Sprintf("http://%s (pid %d)", address, pid), "http://" + address + "/#", "holdfast.log", "holdfast stop"} {
		if code != 0 || !strings.Contains(out, want) {
			t.Fatalf("code %d, and %q is to be said:\n%s", code, want, out)
		}
	}

	// Nothing ties it to the terminal, which is gone by now.
	stat := strings.Fields(readFile(t, fmt.Sprintf("/proc/%d/stat", pid)))
	if stat[5] != fmt.Sprint(pid) || stat[6] != "0" {
		t.Errorf("session %s, terminal %s", stat[5], stat[6])
	}
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		target, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", pid, fd.Name()))
		if strings.HasPrefix(target, "/dev/pts") || strings.HasPrefix(target, "/dev/tty") || strings.HasPrefix(target, "/dev/ptmx") {
			t.Errorf("descriptor %s is %s", fd.Name(), target)
		}
	}
	if cwd, _ := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid)); cwd != "/" {
		t.Errorf("it sits in %s", cwd)
	}
	time.Sleep(500 * time.Millisecond)
	resp, err := http.Get("http://" + address + "/health")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK || w.pid() != pid {
		t.Errorf("health %d, pid %d was %d", resp.StatusCode, w.pid(), pid)
	}
	if log := w.cli("logs", "-n", "50"); !strings.Contains(log, "the host serves") || !strings.Contains(log, fmt.Sprintf("pid=%d", pid)) {
		t.Errorf("the log: %s", log)
	}

	// A second one changes nothing.
	if code, out := w.up("--addr", "127.0.0.1:0"); code != 0 || !strings.Contains(out, fmt.Sprintf("pid %d", pid)) || !strings.Contains(out, "runs already") || w.pid() != pid {
		t.Errorf("a second up --detach: %d, pid %d was %d\n%s", code, w.pid(), pid, out)
	}

	// After a crash it starts again; there was a login by then.
	w.cli("token", "create", "--name", "test")
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	code, out = w.up("--addr", address)
	if next := w.pid(); code != 0 || next == pid || strings.Contains(out, "/#") {
		t.Errorf("after a crash: %d, pid %d was %d\n%s", code, next, pid, out)
	}
	w.cli("stop")
	if st := w.status(); st != nil {
		t.Errorf("after stop: %v", st)
	}
	if log := w.cli("logs", "-n", "1"); !strings.Contains(log, "the host stops") {
		t.Errorf("the log with the host down: %s", log)
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestDetachFails has the host die before it is healthy.
func TestDetachFails(t *testing.T) {
	t.Parallel()
	w := detachedWorld(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	address := l.Addr().String()
	code, out := w.up("--addr", address)
	if code != 78 || !strings.Contains(out, "ended before it was healthy") || !strings.Contains(out, address+" is taken") {
		t.Errorf("a port that is taken: %d\n%s", code, out)
	}
	if err := os.WriteFile(filepath.Join(w.home, "holdfast.db"), []byte("this is no database, and long enough to be looked at as one by everybody"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out = w.up("--addr", "127.0.0.1:0")
	if code == 0 || !strings.Contains(out, "ended before it was healthy") || strings.Contains(out, address) {
		t.Errorf("a store that is none: %d\n%s", code, out)
	}
	w.env = append(w.env, "HOLDFAST_FOREGROUND=1")
	if code, out = w.up(); code != 78 || !strings.Contains(out, "--detach is refused") {
		t.Errorf("in the foreground: %d\n%s", code, out)
	}
	if st := w.status(); st != nil {
		t.Errorf("a host runs: %v", st)
	}
}

// TestUpEndsWithItsTerminal: what was started in a terminal, and not detached,
// goes when the terminal does.
func TestUpEndsWithItsTerminal(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("script"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skipf("no terminal without script: %v", err)
	}
	w := detachedWorld(t)
	// Under nohup the host would rightly stay.
	line := fmt.Sprintf("exec env --default-signal=HUP '%s' up --skip-agent-install --no-browser --addr 127.0.0.1:0 --home '%s'", bins.host, w.home)
	cmd := exec.Command("script", "-qec", line, "/dev/null")
	cmd.Env, cmd.Stdout, cmd.Stderr = w.environ(), w.out, w.out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(w.out.String(), "Ctrl-C stops"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it does not start:\n%s", w.out)
		}
	}
	// The log has a file; it does not run over what is said to a person.
	if out := w.out.String(); strings.Contains(out, "level=INFO") || !strings.Contains(out, "/#") {
		t.Errorf("the terminal shows:\n%s", out)
	}
	pid := w.pid()
	_ = cmd.Process.Kill() // the terminal is closed
	<-done
	for deadline := time.Now().Add(15 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(stat), ") Z ") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the host lives on without its terminal; the end of its log:\n%s", tail(w.read("logs/holdfast.log"), 2000))
		}
	}
	if log := w.read("logs/holdfast.log"); !strings.Contains(log, "the host stops") {
		t.Errorf("it did not stop in order:\n%s", tail(log, 2000))
	}
}

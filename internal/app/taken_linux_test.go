package app

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// fakeHermes answers as Hermes WebUI does.
const fakeHermes = `import http.server, sys
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"status": "ok", "sessions": 3, "uptime": 1.5}')
    def log_message(self, *a): pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), H).serve_forever()
`

// mute listens and never says a word.
const mute = `import socket, sys, time
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind((sys.argv[2] if len(sys.argv) > 2 else "127.0.0.1", int(sys.argv[1])))
s.listen()
time.sleep(60)
`

func need(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skipf("%s is not installed", program)
	}
}

func freeAddr(t *testing.T) (addr, port string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	addr = l.Addr().String()
	_, port, _ = net.SplitHostPort(addr)
	return addr, port
}

// run runs a program until the test ends, and waits until it listens.
func run(t *testing.T, addr string, cmd *exec.Cmd) int {
	t.Helper()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		time.Sleep(100 * time.Millisecond) // a supervisor ends its service first
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	})
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
			return cmd.Process.Pid
		}
		if time.Now().After(deadline) {
			t.Fatalf("it does not listen: %v", err)
		}
	}
}

func script(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o700); err != nil { //nolint:gosec // some are run
		t.Fatal(err)
	}
	return path
}

func TestTaken(t *testing.T) {
	need(t, "python3")
	says := func(t *testing.T, text string, want ...string) {
		t.Helper()
		for _, w := range append(want, "or choose another address with --addr.") {
			if !strings.Contains(text, w) {
				t.Errorf("%q lacks %q", text, w)
			}
		}
		if strings.Contains(text, "\n") {
			t.Errorf("%q has more than one line", text)
		}
	}
	t.Run("a program that says nothing", func(t *testing.T) {
		t.Parallel()
		addr, port := freeAddr(t)
		path := script(t, "mute.py", mute)
		pid := run(t, addr, exec.Command("python3", path, port))
		text := taken(t.Context(), addr)
		says(t, text, fmt.Sprintf("process %d (", pid), "mute.py", "since "+time.Now().Format("2006-01-02"), fmt.Sprintf("End it (kill %d)", pid))
		if strings.Contains(text, "Hermes") || strings.Contains(text, "Holdfast") {
			t.Errorf("%q", text)
		}
	})
	t.Run("a program that listens everywhere", func(t *testing.T) {
		t.Parallel()
		addr, port := freeAddr(t)
		pid := run(t, addr, exec.Command("python3", script(t, "mute.py", mute), port, "0.0.0.0"))
		says(t, taken(t.Context(), addr), fmt.Sprintf("process %d (", pid))
	})
	t.Run("a Hermes WebUI", func(t *testing.T) {
		t.Parallel()
		addr, port := freeAddr(t)
		path := script(t, "hermes-webui/server.py", fakeHermes)
		cmd := exec.Command("python3", "server.py", port)
		cmd.Dir = filepath.Dir(path)
		pid := run(t, addr, cmd)
		says(t, taken(t.Context(), addr), ": a Hermes WebUI; it says that it is ok", fmt.Sprintf("kill %d", pid))
	})
	t.Run("a Hermes WebUI under runit", func(t *testing.T) {
		need(t, "runsv")
		t.Parallel()
		addr, port := freeAddr(t)
		path := script(t, "hermes-webui/server.py", fakeHermes)
		svc := filepath.Dir(script(t, "hermes/run", fmt.Sprintf("#!/bin/sh\nexec python3 %s %s\n", path, port)))
		run(t, addr, exec.Command("runsv", svc))
		says(t, taken(t.Context(), addr), "a Hermes WebUI", "a service of runit, which would start it again", "(sv down "+svc+")")
	})
	t.Run("something that answers like one", func(t *testing.T) {
		t.Parallel()
		addr, port := freeAddr(t)
		run(t, addr, exec.Command("python3", script(t, "other.py", fakeHermes), port))
		says(t, taken(t.Context(), addr), "it answers /health as a Hermes WebUI does (ok)")
	})
	t.Run("another user's", func(t *testing.T) {
		need(t, "setpriv")
		if os.Getuid() != 0 {
			t.Skip("this needs root")
		}
		t.Parallel()
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		// This test as nobody: the folder of its binary is root's alone.
		dir, err := os.MkdirTemp("", "hf")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		exe, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(exe)
		bin := filepath.Join(dir, "test")
		if err := errors.Join(err, os.Chmod(dir, 0o755), os.WriteFile(bin, data, 0o600), os.Chmod(bin, 0o755)); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", bin, "-test.run=^TestTakenAsNobody$", "-test.v")
		cmd.Env = append(os.Environ(), nobodyVar+"="+l.Addr().String())
		cmd.Dir = "/"
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "is taken by a program of another user (root)") {
			t.Errorf("%v\n%s", err, out)
		}
	})
	t.Run("nobody by now", func(t *testing.T) {
		t.Parallel()
		addr, _ := freeAddr(t)
		says(t, taken(t.Context(), addr), "by another program")
	})
}

const nobodyVar = "HOLDFAST_TEST_TAKEN"

// TestTakenAsNobody is what TestTaken starts as another user.
func TestTakenAsNobody(t *testing.T) {
	addr := os.Getenv(nobodyVar)
	if addr == "" {
		t.Skip("this is what TestTaken starts")
	}
	t.Log(taken(t.Context(), addr))
}

func TestConflict(t *testing.T) {
	for _, c := range []struct {
		host, held string
		want       bool
	}{
		{"127.0.0.1", "127.0.0.1:1", true},
		{"127.0.0.1", "0.0.0.0:1", true},
		{"127.0.0.1", "[::]:1", true},
		{"0.0.0.0", "10.0.0.1:1", true},
		{"127.0.0.1", "10.0.0.1:1", false},
		{"::1", "[::1]:1", true},
		{"127.0.0.1", "127.0.0.53:1", false},
		{"localhost", "127.0.0.1:1", true},
	} {
		if got := conflict(c.host, c.held); got != c.want {
			t.Errorf("%s against %s: %v", c.host, c.held, got)
		}
	}
}

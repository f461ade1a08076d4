package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// held opens n databases in a child and returns its pid.
func held(t *testing.T, n int) int {
	t.Helper()
	path := filepath.Join(t.TempDir(), "state.db")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sleep", "60")
	for range n {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd.Process.Pid
}

func TestFds(t *testing.T) {
	b := newBench(t)
	pid := fmt.Sprint(held(t, 25))
	code, out, errOut := b.run("fds", "--pid", pid)
	if code != 0 || !strings.Contains(out, "25  sqlite\n") || !strings.Contains(out, "25  /") || !strings.Contains(out, "sleep 60") {
		t.Errorf("%d %s %s", code, out, errOut)
	}
	code, out, _ = b.run("fds", "--pid", pid, "--json", "--top", "1")
	var got struct {
		Processes []struct {
			PID, Count int
			Names      []struct {
				Kind  string
				Count int
			}
		}
	}
	if err := json.Unmarshal([]byte(out), &got); code != 0 || err != nil || len(got.Processes) != 1 || got.Processes[0].Count < 25 ||
		len(got.Processes[0].Names) != 1 || got.Processes[0].Names[0].Kind != "sqlite" || got.Processes[0].Names[0].Count != 25 {
		t.Errorf("%d %v %s", code, err, out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if code, out, errOut = b.runIn(ctx, "fds", "--pid", pid, "--watch=100ms"); code != 0 || strings.Count(out, "since the first look +0") < 2 {
		t.Errorf("%d %s %s", code, out, errOut)
	}
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"fds", 1, "no host runs"},
		{"fds --pid 1073741824", 1, "there is no process 1073741824"},
		{"fds --pid 1 --port 2", 2, "--pid"},
		{"fds --name (", 2, "regular expression"},
		{"fds --name no-such-process-is-there", 1, "no process has a name"},
		{"fds --pid 1 --watch=1ms", 2, "below 100ms"},
		{"watch", 2, "say what to watch"},
		{"watch --pid 1 --max-fds x", 2, "80%"},
		{"watch --pid 1 --http localhost", 2, "no address"},
		{"watch --pid 1 --signal NOPE", 2, "no signal"},
		{"watch --pid 1 --restart nginx", 2, "names no service"},
		{"watch --pid 1 --exec true --signal TERM", 2, "--exec"},
		{"watch --pid 1 --patience 0", 2, "--patience"},
	} {
		if code, _, errOut := b.run(strings.Fields(c.args)...); code != c.code || !strings.Contains(errOut, c.says) {
			t.Errorf("%s: %d %s", c.args, code, errOut)
		}
	}
}

// TestFdsOfOurs needs nothing of the host but its lock.
func TestFdsOfOurs(t *testing.T) {
	b := newBench(t)
	path := filepath.Join(b.home, "host.lock")
	cmd := exec.Command("flock", path, "sleep", "60")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	if err := os.WriteFile(path, fmt.Appendf(nil, `{"pid":%d}`, cmd.Process.Pid), 0o600); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		code, out, errOut := b.run("fds")
		if code == 0 && strings.Contains(out, path) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d %s %s", code, out, errOut)
		}
	}
}

func TestWatchOnce(t *testing.T) {
	b := newBench(t)
	pid := fmt.Sprint(held(t, 25))
	log, mark := filepath.Join(b.home, "w.log"), filepath.Join(b.home, "mark")
	once := func(more ...string) (int, string, string) {
		return b.run(append([]string{"watch", "--pid", pid, "--once", "--confirm", "1ms", "--log", log}, more...)...)
	}
	if code, out, errOut := once("--max-fds", "200"); code != 0 || !strings.HasPrefix(out, "well: process "+pid) || errOut != "" {
		t.Errorf("%d %s %s", code, out, errOut)
	}
	if code, out, errOut := once("--max-fds", "25"); code != 1 || out != "" || !strings.Contains(errOut, "trouble: process "+pid) {
		t.Errorf("%d %s %s", code, out, errOut)
	}
	act := []string{"--max-fds", "25", "--exec", "echo $WATCH_PID $WATCH_DESCRIPTORS >>" + mark}
	if code, _, errOut := once(act...); code != exitActed || !strings.Contains(errOut, "Done: exec") {
		t.Errorf("%d %s", code, errOut)
	}
	// The next run remembers.
	if code, _, errOut := once(act...); code != 1 || !strings.Contains(errOut, "already") {
		t.Errorf("%d %s", code, errOut)
	}
	if data, err := os.ReadFile(mark); err != nil || strings.Count(string(data), "\n") != 1 || !strings.HasPrefix(string(data), pid+" 2") {
		t.Errorf("%q %v", data, err)
	}
	if code, out, errOut := once("--max-fds", "25", "--json"); code != 1 || !json.Valid([]byte(out)) || errOut != "" {
		t.Errorf("%d %s %s", code, out, errOut)
	}
	if data, err := os.ReadFile(log); err != nil || strings.Count(string(data), "\n") != 4 {
		t.Errorf("%s %v", data, err)
	}
	// Patience is kept from run to run as well.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free := l.Addr().(*net.TCPAddr).Port
	l.Close()
	for i, want := range []int{0, 0, 1} {
		if code, out, errOut := b.run("watch", "--port", fmt.Sprint(free), "--once"); code != want {
			t.Errorf("run %d: %d %s %s", i, code, out, errOut)
		}
	}
}

// TestWatchSteady tells once what stays as it is.
func TestWatchSteady(t *testing.T) {
	b := newBench(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.NotFoundHandler(), ReadHeaderTimeout: time.Second}
	done := make(chan struct{})
	go func() { _ = srv.Serve(l); close(done) }()
	defer func() { srv.Close(); <-done }()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	code, out, errOut := b.runIn(ctx, "watch", "--port", fmt.Sprint(l.Addr().(*net.TCPAddr).Port), "--http", "http://"+l.Addr().String(), "--every", "50ms")
	if code != 0 || strings.Count(out, "\n") != 1 || !strings.Contains(out, "404") {
		t.Errorf("%d %s %s", code, out, errOut)
	}
}

package e2e

import (
	"bufio"
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

// smallDisk puts the world's state folder on a disk of its own.
func (w *world) smallDisk(size string) {
	w.t.Helper()
	config, err := os.ReadFile(filepath.Join(w.home, "config.toml"))
	if err != nil {
		w.t.Fatal(err)
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "mode=0700,size="+size, "hf-test", w.home).CombinedOutput(); err != nil {
		text := fmt.Sprintf("a small disk cannot be mounted here: %v: %s", err, out)
		if os.Getenv("CI") == "true" {
			w.t.Fatal(text)
		}
		w.t.Skip("SKIPPED: " + text)
	}
	w.after = func() { _ = detach(w.home) }
	if err := os.WriteFile(filepath.Join(w.home, "config.toml"), config, 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// fill writes a file until the disk is full.
func (w *world) fill() string {
	w.t.Helper()
	path := filepath.Join(w.home, "ballast")
	f, err := os.Create(path)
	if err != nil {
		w.t.Fatal(err)
	}
	defer f.Close()
	block := make([]byte, 4096)
	for {
		if _, err := f.Write(block); err != nil {
			if !errors.Is(err, syscall.ENOSPC) {
				w.t.Fatal(err)
			}
			return path
		}
	}
}

func TestDiskFullInMidAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, "")
	w.smallDisk("24m")
	// The watch on the disk would refuse everything on so small a one: it fills
	// up unseen here.
	free := filepath.Join(t.TempDir(), "free")
	if err := os.WriteFile(free, []byte("1000000000000"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.start("disk.free:=" + free)
	s := w.newSession()
	text, want := stream(300, "10ms", 21)
	a := w.send(s.ID, text)
	w.until("some text", 10*time.Second, func() bool { return w.said(s.ID, a.Run) != "" })
	ballast := w.fill()
	err := w.call("POST", "/api/v1/sessions/"+s.ID+"/messages", map[string]any{"client_id": "full", "text": strings.Repeat("x", 500_000)}, nil)
	var p *problem
	if !errors.As(err, &p) || p.Status != 507 || p.Code != "disk_full" {
		t.Errorf("a message on a full disk: %v, want 507 disk_full", err)
	}
	time.Sleep(time.Second) // the agent goes on; what it says has nowhere to go
	resp, err := http.Get(w.base + "/health")
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("health on a full disk: %v %v", resp, err)
	}
	if err == nil {
		_ = resp.Body.Close()
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if reason := w.ended(s.ID, a.Run); reason != "end_turn" {
		t.Fatalf("ended by %q", reason)
	}
	if got := w.said(s.ID, a.Run); got != want {
		t.Errorf("said\n%q, want\n%q", got, want)
	}
	w.once("session/prompt")
	w.whole(s.ID)
}

// A client that opens the stream and never reads must cost nobody anything.
func TestReaderThatNeverReads(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, "")
	w.start()
	s := w.newSession()
	addr := strings.TrimPrefix(w.base, "http://")
	for range 5 {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "GET /api/v1/stream?session=%s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n\r\n", s.ID, addr, w.token)
		if _, err := bufio.NewReaderSize(conn, 16).ReadByte(); err != nil { // it is open
			t.Fatal(err)
		}
	}
	f := w.follow(s.ID, "")
	a := w.send(s.ID, "line 20MB\nsay done")
	if reason := w.ended(s.ID, a.Run); reason != "end_turn" {
		t.Fatalf("ended by %q", reason)
	}
	w.until("the reading client", 20*time.Second, func() bool { return strings.HasSuffix(f.text(a.Run), "done") })
	f.gapless(t)
	if n := len(f.text(a.Run)); n != 20_000_000+len("done") {
		t.Errorf("the reading client got %d bytes", n)
	}
}

// With 64 descriptors, soft and hard, the host still talks and still answers.
func TestFewDescriptors(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, "")
	cmd := exec.Command("/bin/sh", "-c", `ulimit -n 64 && exec "$0" serve --addr 127.0.0.1:0 --home "$1"`, bins.host, w.home)
	cmd.Env = w.environ()
	cmd.Stdout, cmd.Stderr = w.out, w.out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	w.host, w.done = cmd, done
	w.awaitHealthy()
	w.token = strings.TrimSpace(w.cli("token", "create", "--name", "test"))
	s := w.newSession()
	var held []net.Conn
	defer func() {
		for _, c := range held {
			_ = c.Close()
		}
	}()
	for range 100 { // silent connections, more than there are descriptors
		conn, err := net.DialTimeout("tcp", strings.TrimPrefix(w.base, "http://"), time.Second)
		if err == nil {
			held = append(held, conn)
		}
	}
	w.until("health beside silent connections", 20*time.Second, func() bool {
		resp, err := http.Get(w.base + "/health")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	text, want := stream(50, "2ms", 22)
	a := w.send(s.ID, text)
	if reason := w.ended(s.ID, a.Run); reason != "end_turn" {
		t.Fatalf("ended by %q", reason)
	}
	if got := w.said(s.ID, a.Run); got != want {
		t.Errorf("said %q", got)
	}
}

// Descriptors of the host are where they were after many runs and streams.
func TestDescriptorsComeBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, "")
	w.start()
	s := w.newSession()
	a := w.send(s.ID, "say warm")
	w.ended(s.ID, a.Run)
	count := func() int {
		http.DefaultClient.CloseIdleConnections()
		fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", w.host.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		return len(fds)
	}
	w.until("a second reader connection", 5*time.Second, func() bool { _ = w.items(s.ID); return true })
	before := count()
	for i := range 20 {
		f := w.follow(s.ID, "")
		script := "say " + fmt.Sprint(i)
		switch i % 4 {
		case 1:
			script = "error -32603 no"
		case 2:
			script = "sleep 10s"
		}
		r := w.send(s.ID, script)
		if i%4 == 2 {
			w.until("the run", 5*time.Second, func() bool { return w.session(s.ID).Run == r.Run })
			w.must("POST", "/api/v1/sessions/"+s.ID+"/cancel", map[string]any{"run": r.Run}, nil)
		}
		w.ended(s.ID, r.Run)
		f.close()
	}
	// The database moves between bounds by itself: at most 11.
	w.until("descriptors back", 20*time.Second, func() bool { return count() <= before+6 })
}

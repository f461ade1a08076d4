//go:build soak

package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// superviseFlag names a service that is there for its name only: a host that has a
// supervisor ends with 75 and leaves it to that to start it again.
const superviseFlag = "--managed-by=daemontools:/nowhere/holdfast"

// crashFile is the text of the dump that names the reason.
func (w *world) crashFile(reason string) string {
	w.t.Helper()
	names, _ := filepath.Glob(filepath.Join(w.home, "crash", "*.txt"))
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err == nil && strings.Contains(string(data), reason) {
			return string(data)
		}
	}
	w.t.Fatalf("no dump says %q among %v", reason, names)
	return ""
}

// TestDeafHost has a supervisor's host become deaf in several ways, in the
// middle of an answer. It ends itself in time with 75, says where it is stuck,
// and the next one finishes the answer whole.
func TestDeafHost(t *testing.T) {
	for _, tc := range []struct {
		name, fault string
		stuck       string // in the goroutines
	}{
		{"a lock is held in the request path", "http.admit=lock60000@40", "(*Server).admit"},
		{"reads are stuck", "store.read=slow60000@60", "store.(*Store).viewLong"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, nil, "")
			w.args = []string{superviseFlag}
			w.start("probe_ms:=400", tc.fault)
			s := w.newSession()
			text, want := stream(100, "50ms", 9)
			a := w.send(s.ID, text)
			var wedged time.Time
			for deadline := time.Now().Add(20 * time.Second); wedged.IsZero(); {
				if time.Now().After(deadline) {
					t.Fatal("it did not become deaf")
				}
				client := http.Client{Timeout: time.Second}
				begun := time.Now()
				resp, err := client.Get(w.base + "/health?deep=read")
				if err != nil {
					wedged = begun
					break
				}
				_ = resp.Body.Close()
				time.Sleep(20 * time.Millisecond)
			}
			if code := w.awaitExit(); code != 75 {
				t.Errorf("exit code %d", code)
			}
			// Three intervals and a budget, and the evidence: 20 s are 4 s × 5.
			if took := time.Since(wedged); took > 5*400*time.Millisecond+4*time.Second {
				t.Errorf("it ended %s after it became deaf", took)
			}
			dump := w.crashFile("deaf")
			for _, part := range []string{tc.stuck, "== descriptors", "socket:", "== the last lines of the log", "the host serves"} {
				if !strings.Contains(dump, part) {
					t.Errorf("the dump has no %q:\n%.3000s", part, dump)
				}
			}
			w.start()
			if l := w.lastLife("probe"); !strings.Contains(l.Reason, "deaf") || l.File == "" {
				t.Errorf("the last life is told by %+v", l)
			}
			if reason := w.ended(s.ID, a.Run); reason != "end_turn" {
				t.Errorf("ended by %q", reason)
			}
			if got := w.said(s.ID, a.Run); got != want {
				t.Errorf("said %q, want %q", got, want)
			}
		})
	}
}

// TestDeafWithoutSupervisor: nobody would start the host again, so it begins
// anew in the same process and at the same address.
func TestDeafWithoutSupervisor(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, "")
	w.start("probe_ms:=400", "http.admit=lock60000@40")
	pid := w.host.Process.Pid
	for range 40 {
		client := http.Client{Timeout: 300 * time.Millisecond}
		if resp, err := client.Get(w.base + "/health"); err == nil {
			_ = resp.Body.Close()
		}
	}
	w.until("the new beginning", 20*time.Second, func() bool {
		names, _ := filepath.Glob(filepath.Join(w.home, "lives.jsonl"))
		return len(names) == 1 && w.status() != nil
	})
	w.lastLife("probe")
	if st := w.status(); int(st["pid"].(float64)) != pid {
		t.Errorf("pid %v, want %d", st["pid"], pid)
	}
}

// TestNoDescriptors: a host that has leaked all of its descriptors still writes
// down which, and ends itself.
func TestNoDescriptors(t *testing.T) {
	t.Parallel()
	for _, limit := range []int{64, 256} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			w := newWorld(t, nil, "")
			w.args = []string{superviseFlag}
			w.nofile = limit
			w.start("probe_ms:=400", "http.admit=leak@10")
			for begun := time.Now(); time.Since(begun) < 20*time.Second; {
				client := http.Client{Timeout: 500 * time.Millisecond, Transport: &http.Transport{DisableKeepAlives: true}}
				resp, err := client.Get(w.base + "/health")
				if err != nil {
					break
				}
				_ = resp.Body.Close()
			}
			if code := w.awaitExit(); code != 75 {
				t.Errorf("exit code %d", code)
			}
			dump := w.crashFile("deaf")
			if n := strings.Count(dump, " /dev/null\n"); n < limit/4 {
				t.Errorf("the dump names %d leaked descriptors of %d", n, limit)
			}
			if !strings.Contains(dump, "too many open files") {
				t.Errorf("the dump does not say what is wrong: %.300s", dump)
			}
			w.start()
			w.lastLife("probe")
		})
	}
}

// TestGreedyClient: a client that takes every connection there is makes nobody
// deaf: silent connections give way.
func TestGreedyClient(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, "")
	w.args = []string{superviseFlag}
	w.nofile = 64
	w.start("probe_ms:=200")
	for range 100 {
		conn, err := net.Dial("tcp", strings.TrimPrefix(w.base, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	time.Sleep(3 * time.Second)
	w.alive(t)
}

// alive reports a host that has ended.
func (w *world) alive(t *testing.T) {
	t.Helper()
	select {
	case <-w.done:
		t.Fatalf("the host ended itself:\n%s", tail(w.out.String(), 3000))
	default:
	}
}

// TestStuckWriter: a write that stalls degrades the host, which says so and
// names the disk; it is not ended, because a new one would stall too.
func TestStuckWriter(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, "")
	w.args = []string{superviseFlag}
	w.start("probe_ms:=200", "store.commit.before=sleep6000@60")
	var health struct {
		Status   string
		Problems []string
	}
	w.until("the degraded health", 20*time.Second, func() bool {
		w.must("GET", "/health", nil, &health)
		return health.Status == "degraded"
	})
	if text := strings.Join(health.Problems, " "); !strings.Contains(text, "write") || !strings.Contains(text, w.home) {
		t.Errorf("the problem is told as %q", text)
	}
	time.Sleep(3 * time.Second)
	w.alive(t)
	w.until("the health", 20*time.Second, func() bool {
		health.Problems = nil
		w.must("GET", "/health", nil, &health)
		return health.Status == "ok"
	})
}

// TestStalledDisk: where the disk itself stands still even reads that miss are
// no reason to end the host.
func TestStalledDisk(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, "")
	w.args = []string{superviseFlag}
	w.start("probe_ms:=200", "disk.check=slow1500@1", "store.commit.before=slow1500@40", "store.read=slow1500@40")
	w.until("the degraded health", 20*time.Second, func() bool {
		resp, err := http.Get(w.base + "/health")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		data, _ := io.ReadAll(resp.Body)
		return strings.Contains(string(data), "does not take writes") && strings.Contains(string(data), "The disk") || strings.Contains(string(data), "the disk")
	})
	time.Sleep(2 * time.Second)
	w.alive(t)
}

// TestBusyHost: two hundred clients, one processor and slow commits make a host
// late, and not deaf.
func TestBusyHost(t *testing.T) {
	w := newWorld(t, nil, "")
	w.args = []string{superviseFlag}
	w.env = append(w.env, "GOMAXPROCS=1")
	// A read takes so long that two misses come before its late answer, as near to
	// the third as a loaded machine allows.
	w.start("probe_ms:=400", "store.commit.before=slow50@40", "store.read=slow700@200")
	s := w.newSession()
	text, want := stream(100, "20ms", 11)
	a := w.send(s.ID, text)
	var served, refused atomic.Int64
	var group sync.WaitGroup
	end := time.Now().Add(9 * time.Second)
	for range 200 {
		group.Go(func() {
			client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
			for time.Now().Before(end) {
				req, _ := http.NewRequest("GET", w.base+"/api/v1/sessions", nil)
				req.Header.Set("Authorization", "Bearer "+w.token)
				resp, err := client.Do(req)
				if err != nil {
					continue
				}
				if resp.StatusCode == http.StatusOK {
					served.Add(1)
				} else {
					refused.Add(1)
				}
				_ = resp.Body.Close()
			}
		})
	}
	group.Wait()
	w.alive(t)
	t.Logf("%d requests were served, %d refused; missed probes: %d", served.Load(), refused.Load(), strings.Count(w.out.String(), "missed its own probe"))
	if reason := w.ended(s.ID, a.Run); reason != "end_turn" {
		t.Errorf("ended by %q", reason)
	}
	if got := w.said(s.ID, a.Run); got != want {
		t.Errorf("said %q, want %q", got, want)
	}
	w.alive(t)
}

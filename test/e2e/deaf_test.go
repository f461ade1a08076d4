//go:build soak

package e2e

import (
	"net"
	"net/http"
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

// TestBusyHost: one processor and slow commits, and answers so late that the host
// misses its own probe again and again: it is busy, and not deaf. Each case lives
// by another thing that tells the two apart, and dies without it.
func TestBusyHost(t *testing.T) {
	for _, tc := range []struct {
		name    string
		slow    string
		seen    time.Duration // what a request takes at least by then
		clients int
	}{
		// Two misses come before the late answer that clears them. Nobody else asks.
		{"answers are late", "store.read=slow1800@400", 900 * time.Millisecond, 0},
		// Each read holds one of the four readers for a fifth of a second, and 64 wait
		// for them, served in no order: the probe's answer comes after three misses and
		// more, and of the others' answers some are quick enough to tell.
		{"others are answered", "store.reading=slow200@400", 200 * time.Millisecond, 200},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, nil, "")
			w.args = []string{superviseFlag}
			w.env = append(w.env, "GOMAXPROCS=1")
			w.start("probe_ms:=1000", "store.commit.before=slow50@40", tc.slow)
			s := w.newSession()
			if reason := w.ended(s.ID, w.send(s.ID, "say ready").Run); reason != "end_turn" {
				t.Fatalf("ended by %q", reason)
			}
			text, want := stream(200, "20ms", 11)
			a := w.send(s.ID, text)
			for fast := true; fast; { // until reads are slow
				begun := time.Now()
				w.must("GET", "/api/v1/sessions", nil, nil)
				fast = time.Since(begun) < tc.seen
			}
			var served, refused atomic.Int64
			var group sync.WaitGroup
			end := time.Now().Add(10 * time.Second)
			for range tc.clients {
				group.Go(func() {
					client := http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
					for time.Now().Before(end) {
						req, _ := http.NewRequest("GET", w.base+"/api/v1/sessions", nil)
						req.Header.Set("Authorization", "Bearer "+w.token)
						resp, err := client.Do(req)
						switch {
						case err != nil:
							continue
						case resp.StatusCode == http.StatusOK:
							served.Add(1)
						default:
							refused.Add(1)
							time.Sleep(100 * time.Millisecond)
						}
						_ = resp.Body.Close()
					}
				})
			}
			select {
			case <-time.After(time.Until(end)):
			case <-w.done:
			}
			w.alive(t)
			group.Wait()
			w.alive(t)
			missed := strings.Count(w.out.String(), "missed its own probe")
			t.Logf("%d requests were served, %d refused; missed probes: %d", served.Load(), refused.Load(), missed)
			if missed < 3 {
				t.Errorf("the host missed %d probes: it was not busy enough to be taken for deaf", missed)
			}
			if code := w.stop(); code != 0 {
				t.Errorf("exit code %d", code)
			}
			w.start()
			if reason := w.ended(s.ID, a.Run); reason != "end_turn" {
				t.Errorf("ended by %q", reason)
			}
			if got := w.said(s.ID, a.Run); got != want {
				t.Errorf("said %q, want %q", got, want)
			}
		})
	}
}

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

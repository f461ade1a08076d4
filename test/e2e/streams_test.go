//go:build soak

package e2e

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// idleStream is a stream whose client reads when the test says so.
type idleStream struct {
	conn   net.Conn
	r      *bufio.Reader
	status int
	retry  string // the header Retry-After
}

// openStream asks for a stream on a connection of its own and reads its first
// event, or its refusal.
func (w *world) openStream() (s idleStream, err error) {
	if s.conn, err = net.DialTimeout("tcp", strings.TrimPrefix(w.base, "http://"), 20*time.Second); err != nil {
		return s, err
	}
	_ = s.conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err = fmt.Fprintf(s.conn, "GET /api/v1/stream HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n\r\n", w.token); err != nil {
		return s, err
	}
	s.r = bufio.NewReaderSize(s.conn, 512)
	resp, err := http.ReadResponse(s.r, nil)
	if err != nil {
		return s, err
	}
	s.status, s.retry = resp.StatusCode, resp.Header.Get("Retry-After")
	if s.status == http.StatusOK {
		err = s.await("event: ping")
	}
	return s, err
}

// await reads until a line with the text comes.
func (s *idleStream) await(text string) error {
	_ = s.conn.SetDeadline(time.Now().Add(20 * time.Second))
	for {
		line, err := s.r.ReadString('\n')
		if err != nil {
			return err
		}
		if strings.Contains(line, text) {
			return nil
		}
	}
}

// openStreams opens n, some at once, and tells those that were taken from those
// that were refused.
func (w *world) openStreams(n int) (taken, refused []idleStream) {
	w.t.Helper()
	var mu sync.Mutex
	var group sync.WaitGroup
	turns := make(chan struct{}, 16)
	for range n {
		group.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			s, err := w.openStream()
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				w.t.Errorf("open a stream: %v", err)
			case s.status == http.StatusOK:
				taken = append(taken, s)
			default:
				refused = append(refused, s)
			}
		})
	}
	group.Wait()
	w.t.Cleanup(func() {
		for _, s := range slices.Concat(taken, refused) {
			s.conn.Close()
		}
	})
	return taken, refused
}

// asked is a client that asks again and again for one thing, each time on a new
// connection as somebody does who comes anew.
type asked struct {
	mu     sync.Mutex
	took   []time.Duration
	failed []string
	stop   chan struct{}
	done   chan struct{}
}

func (w *world) ask(path string, every time.Duration) *asked {
	a := &asked{stop: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(a.done)
		client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
		for {
			select {
			case <-a.stop:
				return
			case <-time.After(every):
			}
			req, err := http.NewRequest("GET", w.base+path, nil)
			if err != nil {
				panic(err)
			}
			req.Header.Set("Authorization", "Bearer "+w.token)
			begun := time.Now()
			resp, err := client.Do(req)
			took, bad := time.Since(begun), ""
			if err != nil {
				bad = err.Error()
			} else {
				resp.Body.Close()
				if resp.StatusCode != http.StatusOK {
					bad = resp.Status
				}
			}
			a.mu.Lock()
			a.took = append(a.took, took)
			if bad != "" {
				a.failed = append(a.failed, bad)
			}
			a.mu.Unlock()
		}
	}()
	return a
}

// end stops asking. It fails the test where not all was answered.
func (a *asked) end(t *testing.T, what string) (p50, p99 time.Duration) {
	t.Helper()
	select {
	case <-a.stop:
	default:
		close(a.stop)
	}
	<-a.done
	if len(a.failed) > 0 {
		t.Errorf("%s was refused %d of %d times: %.300v", what, len(a.failed), len(a.took), a.failed)
	}
	if len(a.took) == 0 {
		t.Fatalf("%s was never asked for", what)
	}
	slices.Sort(a.took)
	p50, p99 = a.took[len(a.took)/2], a.took[len(a.took)*99/100]
	t.Logf("%s: %d times, p50 %s, p99 %s", what, len(a.took), p50.Round(time.Microsecond), p99.Round(time.Microsecond))
	return p50, p99
}

// TestStreamsUnderHardLimit: where there are 256 descriptors and no more, 300
// streams and 300 connections that say nothing take what there is for them. The
// rest is told to come back, and the host answers everything else.
func TestStreamsUnderHardLimit(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, "")
	w.args = []string{superviseFlag}
	w.nofile = 256
	w.start("probe_ms:=1000")
	if n := softLimit(t, w.host.Process.Pid); n != 256 {
		t.Fatalf("the host has %d descriptors", n)
	}
	w.newSession()
	before := w.atRest()
	health, list := w.ask("/health", 5*time.Millisecond), w.ask("/api/v1/sessions", 5*time.Millisecond)

	addr := strings.TrimPrefix(w.base, "http://")
	var silent []net.Conn
	say := func(n int) {
		for range n {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			silent = append(silent, conn)
		}
	}
	say(150)
	taken, refused := w.openStreams(300)
	say(150)
	t.Logf("%d streams taken, %d refused", len(taken), len(refused))
	if len(taken) < 64 || len(taken)+len(refused) != 300 {
		t.Errorf("%d streams taken and %d refused, of 300", len(taken), len(refused))
	}
	for _, s := range refused {
		if s.status != http.StatusServiceUnavailable || s.retry == "" {
			t.Fatalf("a stream was refused by %d, Retry-After %q", s.status, s.retry)
		}
	}
	// Those that were taken are no husks: each is told of what happens.
	w.newSession()
	for i := range taken {
		if err := taken[i].await("session.created"); err != nil {
			t.Fatalf("stream %d: %v", i, err)
		}
	}
	if open := w.count(); open.Descriptors+open.Database > 230 {
		t.Errorf("%+v of 256 descriptors are open", open)
	}
	time.Sleep(3 * time.Second) // three looks of the host at itself

	for _, s := range slices.Concat(taken, refused) {
		s.conn.Close()
	}
	for _, conn := range silent {
		conn.Close()
	}
	health.end(t, "/health")
	list.end(t, "the list")
	w.settled(before, 20*time.Second)
	if again, refused := w.openStreams(1); len(again) != 1 {
		t.Errorf("a stream is refused when all have left: %+v", refused)
	}
	w.alive(t)
	if strings.Contains(w.out.String(), "missed its own probe") {
		t.Error("the host missed its own probe")
	}
}

// TestManyStreams: 2,000 streams in a host that was started with 256 descriptors
// and raises that by itself.
func TestManyStreams(t *testing.T) {
	const streams = 2000
	t.Parallel()
	w := newWorld(t, nil, "[limits]\nconnections = 3000\nstreams = 2000\n")
	w.args = []string{superviseFlag}
	w.nofile, w.soft = 256, true
	w.start()
	w.newSession()
	// What the first ones make for good is no cost of a stream.
	first, _ := w.openStreams(32)
	for _, s := range first {
		s.conn.Close()
	}
	w.until("the end of the first streams", 10*time.Second, func() bool { return w.metrics()["holdfast_connections"] < 10 })
	before, anonymous := w.atRest(), w.memory("RssAnon")
	was := w.metrics()

	taken, refused := w.openStreams(streams)
	if len(taken) != streams {
		t.Fatalf("%d streams taken, %d refused by %d", len(taken), len(refused), refused[0].status)
	}
	health := w.ask("/health", 5*time.Millisecond)
	time.Sleep(4 * time.Second)
	_, p99 := health.end(t, "/health beside 2,000 streams")
	if p99 > 100*time.Millisecond {
		t.Errorf("/health p99 %s: that is no busy machine's doing any more", p99)
	}
	// What the runtime has in use, the garbage of their coming included: resident
	// memory has beside it what was freed and not given back yet.
	now := w.metrics()
	each := func(name string) float64 { return (now[name] - was[name]) / streams }
	heap, stacks := each("go_memstats_heap_inuse_bytes"), each("go_memstats_stack_inuse_bytes")
	t.Logf("a stream: %.1f kB of heap, %.1f kB of stacks, %.2f goroutines; %.1f kB of resident memory", heap/1000, stacks/1000, each("go_goroutines"), float64(w.memory("RssAnon")-anonymous)/streams/1000)
	if heap+stacks > 40_000 {
		t.Errorf("a stream takes %.0f bytes of memory, 40,000 are allowed", heap+stacks)
	}

	begun := time.Now()
	w.newSession()
	for i := range taken {
		if err := taken[i].await("session.created"); err != nil {
			t.Fatalf("stream %d: %v", i, err)
		}
	}
	t.Logf("an event to all of them: %s", time.Since(begun).Round(time.Millisecond))
	for _, s := range taken {
		s.conn.Close()
	}
	w.settled(before, 30*time.Second)
	w.alive(t)
}

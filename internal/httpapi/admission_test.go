package httpapi

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast/internal/handoff"
	"github.com/holdfast-dev/holdfast/internal/store"
)

func TestFullClassAnswers503AndHealthAnswers(t *testing.T) {
	release := make(chan struct{})
	h := newHost(t, func(c *Config) { c.Limits.API = 4; c.Limits.Streams = 1 })
	var inside atomic.Int32
	h.sessions.hook = func(context.Context) { inside.Add(1); <-release }
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if res, body := h.do("GET", "/api/v1/agents", ""); res.StatusCode != 200 {
				t.Errorf("%d %s", res.StatusCode, body)
			}
		})
	}
	eventually(t, "four requests are under way", func() bool { return inside.Load() == 4 })
	res, body := h.do("GET", "/api/v1/sessions", "")
	if res.StatusCode != 503 || res.Header.Get("Retry-After") == "" || !strings.Contains(body, `"code":"overloaded"`) {
		t.Errorf("over the limit: %d %s", res.StatusCode, body)
	}
	for _, path := range []string{"/health", "/health?deep=1", "/"} {
		if res, body := h.do("GET", path, ""); res.StatusCode != 200 {
			t.Errorf("%s: %d %s", path, res.StatusCode, body)
		}
	}
	r := h.open(t, "")
	defer r.close()
	r.mustNext(t)
	if res, _ := h.do("GET", "/api/v1/stream", ""); res.StatusCode != 503 {
		t.Errorf("second stream: %d", res.StatusCode)
	}
	close(release)
	wg.Wait()
	if res, body := h.do("GET", "/api/v1/sessions", ""); res.StatusCode != 200 {
		t.Errorf("after it: %d %s", res.StatusCode, body)
	}
}

func TestDeepHealthIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d deepProbe
		var runs atomic.Int32
		run := func(context.Context) Health {
			runs.Add(1)
			time.Sleep(3 * time.Second)
			return Health{Status: HealthOK}
		}
		ask := func() {
			var wg sync.WaitGroup
			for range 20 {
				wg.Go(func() {
					if got, err := d.get(t.Context(), run); err != nil || got.Status != HealthOK {
						t.Errorf("%+v, %v", got, err)
					}
				})
			}
			wg.Wait()
		}
		ask()
		ask()
		if n := runs.Load(); n != 1 {
			t.Errorf("the probe ran %d times within a second", n)
		}
		time.Sleep(deepEvery)
		ask()
		if n := runs.Load(); n != 2 {
			t.Errorf("the probe ran %d times in two seconds", n)
		}
	})
}

func TestStalledProbesLeaveThePlainOnesAlone(t *testing.T) {
	h := newHost(t, func(c *Config) { c.Limits.Probes = 2 })
	stalled, release := make(chan struct{}), make(chan struct{})
	stall := sync.OnceFunc(func() { close(stalled) })
	h.log.canary = func(context.Context) error { stall(); <-release; return nil }
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			if res, body := h.do("GET", "/health?deep=1", ""); res.StatusCode != 200 {
				t.Errorf("%d %s", res.StatusCode, body)
			}
		})
	}
	<-stalled
	eventually(t, "both deep probes wait", func() bool { return len(h.server.gates[classDeep].slots) == 2 })
	if res, body := h.do("GET", "/health", ""); res.StatusCode != 200 {
		t.Errorf("%d %s", res.StatusCode, body)
	}
	if res, _ := h.do("GET", "/health?deep=1", ""); res.StatusCode != 503 || res.Header.Get("Retry-After") == "" {
		t.Errorf("third deep probe: %d", res.StatusCode)
	}
	close(release)
	wg.Wait()
}

func TestStalledDiskDegrades(t *testing.T) {
	h := newHost(t)
	h.log.canary = func(context.Context) error { return errors.New("write canary: input/output error") }
	res, body := h.do("GET", "/health?deep=1", "")
	if res.StatusCode != 200 || !strings.Contains(body, `"status":"degraded"`) {
		t.Errorf("%d %s", res.StatusCode, body)
	}
	if _, body := h.do("GET", "/health", ""); !strings.Contains(body, `"status":"ok"`) {
		t.Errorf("the shallow probe looks deep: %s", body)
	}
}

func TestHealthSaysWhatTheWatchdogSays(t *testing.T) {
	h := newHost(t, func(c *Config) {
		c.Health = func() Health { return Health{Status: HealthDegraded, Problems: []string{"descriptors leak"}} }
	})
	if res, body := h.do("GET", "/health", ""); res.StatusCode != 200 || !strings.Contains(body, "descriptors leak") || !strings.Contains(body, "1.2.3") {
		t.Errorf("%d %s", res.StatusCode, body)
	}
}

func TestPanicBecomes500(t *testing.T) {
	h := newHost(t)
	h.sessions.hook = func(context.Context) { panic("secret") }
	res, body := h.do("GET", "/api/v1/agents", "")
	if res.StatusCode != 500 || !strings.Contains(body, `"code":"internal"`) || strings.Contains(body, "secret") {
		t.Fatalf("%d %s", res.StatusCode, body)
	}
	h.sessions.hook = nil
	if res, _ := h.do("GET", "/api/v1/agents", ""); res.StatusCode != 200 {
		t.Fatal("the slot of a request that panicked is lost")
	}
}

func TestSilentConnectionsMakeRoom(t *testing.T) {
	h := newHost(t, func(c *Config) { c.Limits.Connections = 3 })
	addr := strings.TrimPrefix(h.url, "http://")
	silent := make([]net.Conn, 3)
	for i := range silent {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		silent[i] = conn
		eventually(t, "the connection is counted", func() bool { return h.server.Connections() == i+1 })
	}
	if res, _ := h.do("GET", "/health", ""); res.StatusCode != 200 {
		t.Fatalf("status %d", res.StatusCode)
	}
	// The oldest went, the others live.
	silent[0].SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := silent[0].Read(make([]byte, 1)); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("oldest silent connection: %v", err)
	}
	fmt.Fprintf(silent[2], "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
	res, err := http.ReadResponse(bufio.NewReader(silent[2]), nil)
	if err != nil || res.StatusCode != 200 {
		t.Fatalf("%v %v", res, err)
	}
}

func TestConnectionsAtWorkAreNotCut(t *testing.T) {
	h := newHost(t, func(c *Config) { c.Limits.Connections = 4 })
	readers := []*reader{h.open(t, ""), h.open(t, "")}
	for _, r := range readers {
		defer r.close()
		r.mustNext(t)
	}
	// One at work with something else, and one in the place that is for probes.
	release := make(chan struct{})
	var inside atomic.Int32
	wait := func() { inside.Add(1); <-release }
	h.sessions.hook = func(context.Context) { wait() }
	h.log.canary = func(context.Context) error { wait(); return nil }
	var wg sync.WaitGroup
	for _, path := range []string{"/api/v1/agents", "/health?deep=1"} {
		wg.Go(func() { h.do("GET", path, "") })
	}
	defer wg.Wait()
	defer close(release)
	eventually(t, "two requests are under way", func() bool { return inside.Load() == 2 })
	conn, err := net.Dial("tcp", strings.TrimPrefix(h.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprintf(conn, "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || res.StatusCode != 503 || res.Header.Get("Retry-After") == "" {
		t.Fatalf("%+v, %v", res, err)
	}
	h.session("s1")
	for _, r := range readers {
		if e, _ := r.nextEvent(t); e.Kind != store.SessionCreated {
			t.Fatalf("%+v", e)
		}
	}
}

// TestStreamsLeaveRoom: streams stay for hours, so they must not take what the
// rest needs; nor must the rest take what probes need.
func TestStreamsLeaveRoom(t *testing.T) {
	h := newHost(t, func(c *Config) { c.Limits.Connections = 16; c.Limits.Probes = 2 })
	for range 7 { // of 12 that are not for probes
		r := h.open(t, "")
		defer r.close()
	}
	release := make(chan struct{})
	var inside atomic.Int32
	h.sessions.hook = func(context.Context) { inside.Add(1); <-release }
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() { h.do("GET", "/api/v1/agents", "") })
	}
	eventually(t, "five requests are under way", func() bool { return inside.Load() == 5 })
	if res, body := h.do("GET", "/api/v1/agents", ""); res.StatusCode != 503 || !strings.Contains(body, "of all kinds") {
		t.Errorf("one more: %d %s", res.StatusCode, body)
	}
	if res, body := h.do("GET", "/health?deep=1", ""); res.StatusCode != 200 {
		t.Errorf("health: %d %s", res.StatusCode, body)
	}
	close(release)
	wg.Wait()
}

// TestRefusedIsNotReset: a client that has sent its request before it is refused
// gets the refusal, not a reset.
func TestRefusedIsNotReset(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := newConns(handoff.NewListener(ln), 0, new(atomic.Int64)) // full from the beginning
	done := make(chan struct{})
	go func() { defer close(done); _, _ = c.Accept() }()
	defer func() { ln.Close(); <-done }()
	for range 20 {
		conn, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || res.StatusCode != 503 {
			t.Fatalf("%v, %v", res, err)
		}
		if _, err := io.ReadAll(res.Body); err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
}

func TestHostAndOrigin(t *testing.T) {
	h := newHost(t)
	self := strings.TrimPrefix(h.url, "http://")
	for _, tc := range []struct {
		name, method, path string
		headers            []string
		status             int
	}{
		{"by address", "GET", "/", nil, 200},
		{"by localhost", "GET", "/", []string{"Host", "localhost:9999"}, 200},
		{"by localhost without port", "GET", "/", []string{"Host", "LOCALHOST."}, 200},
		{"by ::1", "GET", "/", []string{"Host", "[::1]:8787"}, 200},
		{"by an allowed name", "GET", "/health", []string{"Host", "box.example.org"}, 200},
		{"by an allowed suffix", "GET", "/", []string{"Host", "mac.tail.ts.net"}, 200},
		{"by the suffix alone", "GET", "/", []string{"Host", "tail.ts.net"}, 421},
		{"rebound name, page", "GET", "/", []string{"Host", "evil.example"}, 421},
		{"rebound name, asset", "GET", "/assets/app-1234.js", []string{"Host", "evil.example:8787"}, 421},
		{"rebound name, health", "GET", "/health", []string{"Host", "evil.example"}, 421},
		{"rebound name, API", "GET", "/api/v1/sessions", []string{"Host", "evil.example"}, 421},
		{"rebound name, stream", "GET", "/api/v1/stream", []string{"Host", "evil.example"}, 421},
		{"name that begins like ours", "GET", "/", []string{"Host", "localhost.evil.example"}, 421},
		{"name that begins like the address", "GET", "/", []string{"Host", "127.0.0.1.nip.io"}, 421},
		{"another address", "GET", "/", []string{"Host", "192.0.2.7"}, 421},
		{"own origin", "POST", "/api/v1/sessions", []string{"Origin", h.url}, 201},
		{"own origin, own site", "POST", "/api/v1/sessions", []string{"Origin", h.url, "Sec-Fetch-Site", "same-origin"}, 201},
		{"origin of an allowed name behind a proxy", "POST", "/api/v1/sessions", []string{"Origin", "https://box.example.org", "Sec-Fetch-Site", "same-origin"}, 201},
		{"foreign origin", "POST", "/api/v1/sessions", []string{"Origin", "https://evil.example"}, 403},
		{"another port of localhost", "POST", "/api/v1/sessions", []string{"Host", "localhost:8787", "Origin", "http://localhost:3000", "Sec-Fetch-Site", "same-site"}, 403},
		{"origin null", "POST", "/api/v1/sessions", []string{"Origin", "null"}, 403},
		{"origin of an extension", "POST", "/api/v1/sessions", []string{"Origin", "chrome-extension://abc"}, 403},
		{"origin with our host in its name", "POST", "/api/v1/sessions", []string{"Origin", "http://" + self + ".evil.example"}, 403},
		{"cross-site form", "POST", "/api/v1/login/password", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"cross-site read", "GET", "/api/v1/sessions", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"stream from another site", "GET", "/api/v1/stream", []string{"Origin", "https://evil.example"}, 403},
		{"cross-site stream", "GET", "/api/v1/stream", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"link from another site", "GET", "/s/s1", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}, 200},
		{"frame of another site", "GET", "/", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"}, 403},
		{"asset in another site", "GET", "/assets/app-1234.js", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors"}, 403},
		{"link to the API from another site", "GET", "/api/v1/sessions", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}, 403},
		{"typed address", "GET", "/", []string{"Sec-Fetch-Site", "none", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}, 200},
		{"preflight", "OPTIONS", "/api/v1/sessions", []string{"Origin", "https://evil.example", "Access-Control-Request-Method", "POST"}, 403},
	} {
		t.Run(tc.name, func(t *testing.T) {
			body := ""
			if tc.method == "POST" {
				body = `{"agent":"tour","cwd":"/tmp"}`
			}
			res, text := h.do(tc.method, tc.path, body, tc.headers...)
			if res.StatusCode != tc.status {
				t.Fatalf("status %d, want %d: %.300s", res.StatusCode, tc.status, text)
			}
			if (tc.status == 421 || tc.status == 403) && !strings.Contains(text, "allowed_hosts") {
				t.Errorf("does not say what to do: %s", text)
			}
		})
	}
}

// TestStreamOfAStoppingHost: one that is asked for while the host goes away
// ends at once and in order, and its reader comes back to the next host.
func TestStreamOfAStoppingHost(t *testing.T) {
	h := newHost(t)
	h.server.EndStreams()
	if res, body := h.do("GET", "/api/v1/stream", ""); res.StatusCode != 200 || !strings.Contains(body, "id: ") || !strings.HasSuffix(body, "goes away for a moment\n\n") {
		t.Errorf("%d %s", res.StatusCode, body)
	}
}

func TestHeldHostTakesNothingNew(t *testing.T) {
	held := true
	h := newHost(t, func(c *Config) { c.Held = func() bool { return held } })
	h.session("s1")
	const message = `{"client_id":"c1","text":"hello"}`
	res, body := h.do("POST", "/api/v1/sessions/s1/messages", message)
	if res.StatusCode != 503 || res.Header.Get("Retry-After") == "" || !strings.Contains(body, `"code":"held"`) {
		t.Errorf("%d %s", res.StatusCode, body)
	}
	if res, body := h.do("GET", "/api/v1/sessions", ""); res.StatusCode != 200 {
		t.Errorf("%d %s", res.StatusCode, body)
	}
	held = false
	if res, body := h.do("POST", "/api/v1/sessions/s1/messages", message); res.StatusCode != 202 {
		t.Errorf("%d %s", res.StatusCode, body)
	}
}

func TestOptionsStarIsChecked(t *testing.T) {
	h := newHost(t)
	conn, err := net.Dial("tcp", strings.TrimPrefix(h.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprintf(conn, "OPTIONS * HTTP/1.1\r\nHost: evil.example\r\n\r\n")
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || res.StatusCode != 421 {
		t.Fatalf("%+v, %v", res, err)
	}
}

// TestHeartbeatIsFasterThanTheKernel: a proxy or a kernel that drops silent
// connections must see the heartbeat first.
func TestHeartbeatIsFasterThanTheKernel(t *testing.T) {
	k := keepAlive()
	h := newHost(t)
	if window := k.Idle + time.Duration(k.Count)*k.Interval; h.server.cfg.Heartbeat > window/2 {
		t.Errorf("a heartbeat every %v, the kernel gives up after %v", h.server.cfg.Heartbeat, window)
	}
}

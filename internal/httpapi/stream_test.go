package httpapi

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/holdfast-dev/holdfast/internal/store"
)

// sse is one event as a browser would see it.
type sse struct {
	event, id, data string
}

// reader is a client of the stream that gives up after a deadline.
type reader struct {
	t      testing.TB
	res    *http.Response
	r      *bufio.Reader
	cancel context.CancelFunc
	client *http.Client
}

type tester interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
}

func (h *host) open(t tester, query string, headers ...string) *reader {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.url+"/api/v1/stream"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+h.token)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	if res.StatusCode != 200 {
		body, _ := io.ReadAll(res.Body)
		cancel()
		t.Fatalf("status %d: %s", res.StatusCode, body)
	}
	return &reader{t: h, res: res, r: bufio.NewReader(res.Body), cancel: cancel, client: client}
}

func (r *reader) close() {
	r.cancel()
	r.res.Body.Close()
}

// next returns the next event; an error where the stream has ended.
func (r *reader) next() (sse, error) {
	var e sse
	seen := false
	for {
		line, err := r.r.ReadString('\n')
		if err != nil {
			return e, err
		}
		line = strings.TrimSuffix(line, "\n")
		switch {
		case line == "":
			if seen {
				return e, nil
			}
		case strings.HasPrefix(line, "id: "):
			e.id, seen = line[4:], true
		case strings.HasPrefix(line, "event: "):
			e.event, seen = line[7:], true
		case strings.HasPrefix(line, "data: "):
			e.data += line[6:]
			seen = true
		}
	}
}

func (r *reader) mustNext(t tester) sse {
	t.Helper()
	e, err := r.next()
	if err != nil {
		t.Fatalf("read stream: %v", err)
	}
	return e
}

// nextEvent skips pings.
func (r *reader) nextEvent(t tester) (store.Event, string) {
	t.Helper()
	for {
		e := r.mustNext(t)
		if e.event == "ping" {
			continue
		}
		var ev store.Event
		if err := json.Unmarshal([]byte(e.data), &ev); err != nil {
			t.Fatalf("%q: %v", e.data, err)
		}
		return ev, e.id
	}
}

func TestStreamShowsWantedEvents(t *testing.T) {
	h := newHost(t)
	for i := range 3 {
		h.log.add(fmt.Sprintf("s%d", i), store.SessionCreated, `{}`)
	}
	r := h.open(t, "?session=s0&session=s1&cursor=g1.0")
	defer r.close()
	for name, want := range map[string]string{"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"} {
		if got := r.res.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	h.log.add("s2", store.TextDelta, `{"item":"i","text":"not wanted"}`)
	h.log.add("s2", store.SessionChanged, `{"title":"of all"}`)
	h.log.add("s1", store.TextDelta, `{"item":"i","text":"line\nbreak <b>"}`)
	var got []string
	for range 5 {
		e, id := r.nextEvent(t)
		if id != h.log.Cursor(e.ID) {
			t.Errorf("event %d has the cursor %s", e.ID, id)
		}
		got = append(got, fmt.Sprintf("%d %s %s %s", e.ID, e.Session, e.Kind, e.Body))
	}
	want := []string{
		"1 s0 session.created {}", "2 s1 session.created {}", "3 s2 session.created {}",
		`5 s2 session.changed {"title":"of all"}`, `6 s1 text.delta {"item":"i","text":"line\nbreak <b>"}`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
}

func TestStreamBeginsNowWithoutCursor(t *testing.T) {
	h := newHost(t)
	h.log.add("s1", store.SessionCreated, `{}`)
	r := h.open(t, "?session=s1")
	defer r.close()
	if e := r.mustNext(t); e.event != "ping" || e.id != "g1.1" || e.data != "{}" {
		t.Fatalf("first event: %+v", e)
	}
	h.log.add("s1", store.TextDelta, `{}`)
	if e, _ := r.nextEvent(t); e.ID != 2 {
		t.Fatalf("event %d", e.ID)
	}
}

func TestLastEventIDWins(t *testing.T) {
	h := newHost(t)
	for range 5 {
		h.log.add("s1", store.TextDelta, `{}`)
	}
	r := h.open(t, "?session=s1&cursor=g1.0", "Last-Event-ID", "g1.3")
	defer r.close()
	if e, _ := r.nextEvent(t); e.ID != 4 {
		t.Fatalf("event %d", e.ID)
	}
}

func TestUnknownCursorResyncs(t *testing.T) {
	h := newHost(t)
	h.log.add("s1", store.TextDelta, `{}`)
	for _, cursor := range []string{"g0.1", "g1.99", "rubbish"} {
		r := h.open(t, "?session=s1&cursor="+cursor)
		if e := r.mustNext(t); e.event != "resync" || e.id != h.log.Cursor(int64(len(h.log.events))) {
			t.Fatalf("%s: %+v", cursor, e)
		}
		h.log.add("s1", store.TextDelta, `{}`)
		if e, _ := r.nextEvent(t); e.ID != int64(len(h.log.events)) {
			t.Fatalf("%s: the stream does not go on from now: event %d", cursor, e.ID)
		}
		r.close()
	}
}

func TestHeartbeatMovesTheCursor(t *testing.T) {
	h := newHost(t, func(c *Config) { c.Heartbeat = 20 * time.Millisecond })
	h.log.add("s1", store.SessionCreated, `{}`)
	r := h.open(t, "?session=s1")
	defer r.close()
	for range 10 { // of a session that this client does not follow
		h.log.add("s2", store.TextDelta, `{}`)
	}
	for {
		e := r.mustNext(t)
		if e.event != "ping" {
			t.Fatalf("%+v", e)
		}
		if e.id == "g1.11" {
			return
		}
	}
}

// TestCutStreamFoldsToTheLog cuts streams at random points, resumes by the last
// cursor that was seen, and compares with the log.
func TestCutStreamFoldsToTheLog(t *testing.T) {
	h := newHost(t)
	h.log.add("s1", store.SessionCreated, `{}`)
	h.log.add("s2", store.SessionCreated, `{}`)
	rapid.Check(t, func(t *rapid.T) {
		h.log.mu.Lock()
		from := int64(len(h.log.events))
		h.log.mu.Unlock()
		n := rapid.IntRange(1, 60).Draw(t, "events")
		sessions := make([]string, n)
		for i := range sessions {
			sessions[i] = rapid.SampledFrom([]string{"s1", "s2"}).Draw(t, "session")
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			for i, s := range sessions {
				h.log.add(s, store.TextDelta, fmt.Sprintf(`{"item":"i","text":"%d"}`, i))
			}
		}()
		defer func() { <-done }()
		last := from
		for i, s := range sessions {
			if s == "s1" {
				last = from + int64(i) + 1
			}
		}
		cursor := h.log.Cursor(from)
		var got []int64
		for at := from; at < last; {
			var query string
			var headers []string
			if rapid.Bool().Draw(t, "by header") {
				query, headers = "?session=s1", []string{"Last-Event-ID", cursor}
			} else {
				query = "?session=s1&cursor=" + cursor
			}
			r := h.open(t, query, headers...)
			for range rapid.IntRange(0, 30).Draw(t, "read") {
				e := r.mustNext(t)
				cursor = e.id
				if e.event == "ping" {
					continue
				}
				var ev store.Event
				if err := json.Unmarshal([]byte(e.data), &ev); err != nil {
					t.Fatal(err)
				}
				at = ev.ID
				got = append(got, ev.ID)
				if at >= last {
					break
				}
			}
			r.close()
		}
		<-done
		var want []int64
		for i, s := range sessions {
			if s == "s1" {
				want = append(want, from+int64(i)+1)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestStreamEndsWithTheHost(t *testing.T) {
	h := newHost(t)
	h.log.add("s1", store.SessionCreated, `{}`)
	r := h.open(t, "?session=s1")
	defer r.close()
	r.mustNext(t)
	begun := time.Now()
	h.stop()
	rest, err := io.ReadAll(r.r)
	if err != nil || !strings.Contains(string(rest), ": the host is stopping") {
		t.Fatalf("%q, %v", rest, err)
	}
	if d := time.Since(begun); d > stopTimeout+5*time.Second {
		t.Errorf("stopping took %v", d)
	}
}

func TestStreamEndsWithTheLogin(t *testing.T) {
	h := newHost(t, func(c *Config) { c.Heartbeat = 10 * time.Millisecond })
	r := h.open(t, "")
	defer r.close()
	r.mustNext(t)
	id, err := h.access.Token(t.Context(), h.token)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.access.Remove(t.Context(), id.ID); err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := r.next(); err == io.EOF {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func TestSlowReaderIsCut(t *testing.T) {
	h := newHost(t, func(c *Config) { c.WriteTimeout = 100 * time.Millisecond })
	h.log.add("s1", store.SessionCreated, `{}`)
	conn, err := net.Dial("tcp", strings.TrimPrefix(h.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// It asks and never reads. What the kernel's buffers hold is limited, so
	// that enough events fill them.
	if err := conn.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "GET /api/v1/stream?session=s1 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n\r\n", h.token)
	gate := h.server.gates[classStream]
	eventually(t, "the stream begins", func() bool { return len(gate.slots) == 1 })
	body := `{"text":"` + strings.Repeat("x", 64<<10) + `"}`
	for i := 0; len(gate.slots) == 1; i++ {
		if i > 2000 {
			t.Fatal("a reader that does not read is not cut")
		}
		h.log.add("s1", store.TextDelta, body)
		time.Sleep(time.Millisecond)
	}
	// The log has it all: it resumes where it was.
	r := h.open(t, "?session=s1&cursor=g1.1")
	defer r.close()
	if e, _ := r.nextEvent(t); e.ID != 2 {
		t.Fatalf("event %d", e.ID)
	}
}

// eventually waits until a condition holds, and fails after a while.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for begun := time.Now(); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Since(begun) > 10*time.Second {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func TestStreamsLeaveNoDescriptors(t *testing.T) {
	if _, err := os.ReadDir("/proc/self/fd"); err != nil {
		t.Skip("no /proc: descriptors cannot be counted here")
	}
	h := newHost(t)
	h.log.add("s1", store.SessionCreated, `{}`)
	count := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	warm := h.open(t, "?session=s1")
	warm.mustNext(t)
	warm.close()
	eventually(t, "the first stream ends", func() bool { return h.server.Connections() == 0 })
	before := count()
	readers := make([]*reader, 200)
	for i := range readers {
		readers[i] = h.open(t, "?session=s1")
	}
	h.log.add("s1", store.TextDelta, `{}`)
	for _, r := range readers {
		if e, _ := r.nextEvent(t); e.ID != 2 {
			t.Fatalf("event %d", e.ID)
		}
	}
	if n := h.server.Connections(); n != len(readers) {
		t.Errorf("%d connections counted, %d are open", n, len(readers))
	}
	for _, r := range readers {
		r.close()
	}
	eventually(t, "the streams end", func() bool { return h.server.Connections() == 0 })
	eventually(t, fmt.Sprintf("descriptors fall back to %d", before), func() bool { return count() <= before })
}

func TestFrameCacheIsBounded(t *testing.T) {
	var c frameCache
	big := store.Event{ID: 7, Body: json.RawMessage(`"` + strings.Repeat("x", cachedBytes) + `"`)}
	cursor := func(id int64) string { return fmt.Sprint(id) }
	if got := c.append(nil, &big, cursor); len(got) < cachedBytes || !strings.HasSuffix(string(got), "}\n\n") {
		t.Fatalf("%.80q", got)
	}
	if c.slots[7].Load() != nil {
		t.Error("a large frame is kept")
	}
	small := store.Event{ID: 7 + cachedFrames, Body: json.RawMessage(`{}`)}
	first := string(c.append(nil, &small, cursor))
	if again := string(c.append([]byte("x"), &small, cursor)); again != "x"+first {
		t.Errorf("%q, then %q", first, again)
	}
	broken := store.Event{ID: 8, Body: json.RawMessage("{\n")}
	if got := string(c.append(nil, &broken, cursor)); !strings.Contains(got, `"id":8`) || strings.Count(got, "\n\n") != 1 {
		t.Errorf("%q", got)
	}
}

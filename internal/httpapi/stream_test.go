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
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
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
	start := h.log.CursorAt(0)
	for i := range 3 {
		h.session(fmt.Sprintf("s%d", i))
	}
	r := h.open(t, "?session=s0&session=s1&cursor="+start)
	defer r.close()
	for name, want := range map[string]string{"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"} {
		if got := r.res.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	h.say("s2", "not wanted")
	if err := h.log.Update(store.Durable, func(tx *store.Tx) error { return tx.SetTitle("s2", "of all", true) }); err != nil {
		t.Fatal(err)
	}
	h.say("s1", "line\nbreak <b>")
	var got []string
	for range 5 {
		e, id := r.nextEvent(t)
		if id != h.log.CursorAt(e.ID) {
			t.Errorf("event %d has the cursor %s", e.ID, id)
		}
		var body struct{ Title, Text string }
		if err := json.Unmarshal(e.Body, &body); err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%s %s %q", e.Session, e.Kind, body.Title+body.Text))
	}
	want := []string{
		`s0 session.created ""`, `s1 session.created ""`, `s2 session.created ""`,
		`s2 session.changed "of all"`, `s1 text.delta "line\nbreak <b>"`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
}

func TestStreamBeginsNowWithoutCursor(t *testing.T) {
	h := newHost(t)
	h.session("s1")
	r := h.open(t, "?session=s1")
	defer r.close()
	if e := r.mustNext(t); e.event != "ping" || e.id != h.log.Cursor() || e.data != "{}" {
		t.Fatalf("first event: %+v", e)
	}
	said := h.say("s1", "x")
	if e, _ := r.nextEvent(t); e.ID != said.ID {
		t.Fatalf("event %d, want %d", e.ID, said.ID)
	}
}

func TestLastEventIDWins(t *testing.T) {
	h := newHost(t)
	h.session("s1")
	var said []store.Event
	for range 3 {
		said = append(said, h.say("s1", "x"))
	}
	r := h.open(t, "?session=s1&cursor="+h.log.CursorAt(0), "Last-Event-ID", h.log.CursorAt(said[1].ID))
	defer r.close()
	if e, _ := r.nextEvent(t); e.ID != said[2].ID {
		t.Fatalf("event %d, want %d", e.ID, said[2].ID)
	}
}

func TestUnknownCursorResyncs(t *testing.T) {
	h := newHost(t)
	h.session("s1")
	for _, cursor := range []string{"another-1", h.log.CursorAt(1 << 40), "rubbish", "-"} {
		now := h.log.Cursor()
		r := h.open(t, "?session=s1&cursor="+cursor)
		if e := r.mustNext(t); e.event != "resync" || e.id != now {
			t.Fatalf("%s: %+v", cursor, e)
		}
		said := h.say("s1", "x")
		if e, _ := r.nextEvent(t); e.ID != said.ID {
			t.Fatalf("%s: the stream does not go on from now: event %d", cursor, e.ID)
		}
		r.close()
	}
}

func TestHeartbeatMovesTheCursor(t *testing.T) {
	h := newHost(t, func(c *Config) { c.Heartbeat = 20 * time.Millisecond })
	h.session("s1")
	h.session("s2")
	r := h.open(t, "?session=s1")
	defer r.close()
	var said store.Event
	for range 10 { // of a session that this client does not follow
		said = h.say("s2", "x")
	}
	for {
		if e := r.mustNext(t); e.event == "ping" && e.id == h.log.CursorAt(said.ID) {
			return
		}
	}
}

// TestCutStreamFoldsToTheLog cuts streams at random points, resumes by the last
// cursor that was seen, and compares with the log.
func TestCutStreamFoldsToTheLog(t *testing.T) {
	h := newHost(t)
	h.session("s1")
	h.session("s2")
	rapid.Check(t, func(t *rapid.T) {
		snapshot, err := h.log.Items(context.Background(), "s1", 0, 1)
		if err != nil {
			t.Fatal(err)
		}
		cursor, seq := snapshot.Cursor, snapshot.Seq
		at, ok := h.log.ParseCursor(cursor)
		if !ok {
			t.Fatalf("cursor %q", cursor)
		}
		// Each inner list is one commit.
		texts := rapid.SliceOfN(rapid.SliceOfN(rapid.StringN(0, 40, 200), 1, 10), 1, 5).Draw(t, "texts")
		other := rapid.Bool().Draw(t, "another session between")
		written := make(chan int64, 1) // id of the last wanted event
		go func() {
			var last store.Event
			for _, commit := range texts {
				err := h.log.Update(store.Relaxed, func(tx *store.Tx) (err error) {
					for _, text := range commit {
						if other {
							if _, err = tx.Append("s2", "", store.TextDelta, store.DeltaBody{Item: "i-s2", Text: text}); err != nil {
								return err
							}
						}
						if last, err = tx.Append("s1", "r1", store.TextDelta, store.DeltaBody{Item: "i-s1", Text: text}); err != nil {
							return err
						}
					}
					return nil
				})
				if err != nil {
					h.Errorf("append: %v", err)
					break
				}
			}
			written <- last.ID
		}()
		var got []store.Event
		var last int64
		for last == 0 || at < last {
			var query string
			var headers []string
			if rapid.Bool().Draw(t, "by header") {
				query, headers = "?session=s1", []string{"Last-Event-ID", cursor}
			} else {
				query = "?session=s1&cursor=" + cursor
			}
			r := h.open(t, query, headers...)
			for range rapid.IntRange(1, 30).Draw(t, "read") {
				e := r.mustNext(t)
				cursor = e.id
				if e.event != "ping" {
					var ev store.Event
					if err := json.Unmarshal([]byte(e.data), &ev); err != nil {
						t.Fatal(err)
					}
					at = ev.ID
					if ev.Session == "s1" {
						got = append(got, ev)
					}
				}
				select {
				case last = <-written:
				default:
				}
				if last != 0 && at >= last {
					break
				}
				if last == 0 && h.log.Last() <= at {
					break // nothing more to read yet, as far as is known
				}
			}
			r.close()
		}
		want, _, err := h.log.Events(context.Background(), "s1", seq, 1000)
		if err != nil {
			t.Fatal(err)
		}
		for len(want) > 0 && want[len(want)-1].ID > at {
			want = want[:len(want)-1] // the row's activity, told after the last delta
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestStreamEndsWithTheHost(t *testing.T) {
	h := newHost(t)
	h.session("s1")
	r := h.open(t, "?session=s1")
	defer r.close()
	r.mustNext(t)
	h.stop()
	rest, err := io.ReadAll(r.r)
	if err != nil || !strings.Contains(string(rest), ": the host goes away for a moment") {
		t.Fatalf("%q, %v", rest, err)
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
	h.session("s1")
	start := h.log.Cursor()
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
	text := strings.Repeat("x", 64<<10)
	for i := 0; len(gate.slots) == 1; i++ {
		if i > 2000 {
			t.Fatal("a reader that does not read is not cut")
		}
		h.say("s1", text)
	}
	// The log has it all: it resumes where it was. On a busy machine a reader
	// that reads may be cut too; then it comes back.
	for cursor, found := start, false; !found; {
		r := h.open(t, "?session=s1&cursor="+cursor)
		for !found {
			e, err := r.next()
			if err != nil {
				break
			}
			cursor = e.id
			found = strings.Contains(e.data, `"text.delta"`)
		}
		r.close()
	}
}

// eventually waits until a condition holds, and fails after a while.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for begun := time.Now(); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Since(begun) > time.Minute {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func TestStreamsLeaveNoDescriptors(t *testing.T) {
	if _, err := os.ReadDir("/proc/self/fd"); err != nil {
		t.Skip("no /proc: descriptors cannot be counted here")
	}
	h := newHost(t)
	h.session("s1")
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
	said := h.say("s1", "x")
	for _, r := range readers {
		if e, _ := r.nextEvent(t); e.ID != said.ID {
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

// TestNudge: after the machine slept, a stream is written to before its
// heartbeat is due.
func TestNudge(t *testing.T) {
	h := newHost(t, func(c *Config) { c.Heartbeat = time.Hour })
	h.session("s1")
	r := h.open(t, "?session=s1")
	defer r.close()
	r.mustNext(t)
	for range 3 {
		time.Sleep(5 * time.Millisecond) // the stream waits for events by now, or soon
		h.server.Nudge()
		if e := r.mustNext(t); e.event != "ping" {
			t.Fatalf("got %q", e.event)
		}
	}
}

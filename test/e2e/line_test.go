package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/test/agent/script"
)

// stream is a script that says n chunks with a pause between them, and the
// text that it must come to.
func stream(n int, pause string, seed uint64) (text, want string) {
	return fmt.Sprintf("stream %d %s seed=%d", n, pause, seed), script.Text(seed, n)
}

func TestMessageGoesThrough(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, "")
	w.start()
	s := w.newSession()
	f := w.follow(s.ID, "")
	text, want := stream(50, "2ms", 1)
	a := w.send(s.ID, "think hm\n"+text)
	if a.State != "started" {
		t.Errorf("state %q, want started", a.State)
	}
	if reason := w.ended(s.ID, a.Run); reason != "end_turn" {
		t.Fatalf("ended by %q", reason)
	}
	if got := w.said(s.ID, a.Run); got != want {
		t.Fatalf("said %q, want %q", got, want)
	}
	w.until("the stream", 5*time.Second, func() bool { return f.text(a.Run) == want })
	f.gapless(t)
	w.whole(s.ID)
}

func TestHostKilledInMidAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, "")
	w.start()
	s := w.newSession()
	f := w.follow(s.ID, "")
	text, want := stream(300, "10ms", 2)
	a := w.send(s.ID, text)
	w.until("some text", 10*time.Second, func() bool { return len(f.text(a.Run)) > 200 })
	agents := w.heard("session/prompt")
	w.kill()
	time.Sleep(300 * time.Millisecond) // the agent goes on without a host
	w.start()
	if reason := w.ended(s.ID, a.Run); reason != "end_turn" {
		t.Fatalf("ended by %q", reason)
	}
	if got := w.said(s.ID, a.Run); got != want {
		t.Fatalf("said\n%q, want\n%q", got, want)
	}
	w.until("the stream", 5*time.Second, func() bool { return f.text(a.Run) == want })
	f.gapless(t)
	if f.resyncs > 0 {
		t.Errorf("the client had to read everything again")
	}
	marks := 0
	for _, it := range w.items(s.ID) {
		if it.Kind == "notice" && it.Body.Code == "host_restarted" {
			marks++
		}
	}
	if marks != 1 {
		t.Errorf("the transcript has %d marks of the restart", marks)
	}
	if now := w.heard("session/prompt"); len(now) != 1 || len(agents) != 1 {
		t.Errorf("the agent got the prompt %d times", len(now))
	}
	w.whole(s.ID)
}

func TestHostStoppedInMidAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, "")
	w.start()
	s := w.newSession()
	text, want := stream(200, "10ms", 3)
	a := w.send(s.ID, text)
	w.until("some text", 10*time.Second, func() bool { return w.said(s.ID, a.Run) != "" })
	if code := w.stop(); code != 0 {
		t.Fatalf("SIGTERM: exit code %d", code)
	}
	if len(w.marked()) == 0 {
		t.Fatal("an orderly stop ended the agent")
	}
	w.start()
	if reason := w.ended(s.ID, a.Run); reason != "end_turn" {
		t.Fatalf("ended by %q", reason)
	}
	if got := w.said(s.ID, a.Run); got != want {
		t.Fatalf("said\n%q, want\n%q", got, want)
	}
}

func TestMessageTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, "")
	w.start()
	s := w.newSession()
	body := map[string]any{"client_id": "c1", "text": "say hello"}
	var first, again accepted
	w.must("POST", "/api/v1/sessions/"+s.ID+"/messages", body, &first)
	w.must("POST", "/api/v1/sessions/"+s.ID+"/messages", body, &again)
	if first.Item != again.Item || first.Run != again.Run || first.Seq != again.Seq {
		t.Errorf("repeated: %+v, first %+v", again, first)
	}
	w.refused(409, "message_conflict", "POST", "/api/v1/sessions/"+s.ID+"/messages", map[string]any{"client_id": "c1", "text": "say other"})
	w.ended(s.ID, first.Run)
	if n := len(w.heard("session/prompt")); n != 1 {
		t.Errorf("the agent got %d prompts", n)
	}
}

func TestQueue(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, "")
	w.start()
	s := w.newSession()
	first := w.send(s.ID, "say one\nsleep 500ms")
	second := w.send(s.ID, "say two")
	third := w.send(s.ID, "say three")
	if second.State != "queued" || third.State != "queued" {
		t.Errorf("states %q, %q, want queued", second.State, third.State)
	}
	w.must("POST", "/api/v1/sessions/"+s.ID+"/cancel", map[string]any{"run": second.Run}, nil)
	for run, want := range map[string]string{first.Run: "end_turn", second.Run: "cancelled", third.Run: "end_turn"} {
		if got := w.ended(s.ID, run); got != want {
			t.Errorf("run ended by %q, want %q", got, want)
		}
	}
	if n := len(w.heard("say two")); n != 0 {
		t.Errorf("the agent heard of a message that was taken out of the queue")
	}
	w.refused(409, "run_not_current", "POST", "/api/v1/sessions/"+s.ID+"/cancel", map[string]any{"run": first.Run})
	w.whole(s.ID)
}

func TestCancelPausesTheQueue(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, "")
	w.start()
	s := w.newSession()
	text, _ := stream(5000, "10ms", 4)
	first := w.send(s.ID, text)
	second := w.send(s.ID, "say two")
	w.until("some text", 10*time.Second, func() bool { return w.said(s.ID, first.Run) != "" })
	w.must("POST", "/api/v1/sessions/"+s.ID+"/cancel", map[string]any{"run": first.Run}, nil)
	if got := w.ended(s.ID, first.Run); got != "cancelled" {
		t.Fatalf("ended by %q", got)
	}
	row := w.session(s.ID)
	if !row.Paused || row.Queued != 1 {
		t.Fatalf("after a cancel: %+v", row)
	}
	// What is sent while nothing runs starts at once; older ones wait on.
	third := w.send(s.ID, "say three")
	if third.State != "started" {
		t.Errorf("state %q, want started", third.State)
	}
	w.ended(s.ID, third.Run)
	w.kill() // a restart does not resume the queue
	w.start()
	if row := w.session(s.ID); !row.Paused || row.Queued != 1 {
		t.Fatalf("after a restart: %+v", row)
	}
	w.must("POST", "/api/v1/sessions/"+s.ID+"/queue", map[string]any{"paused": false}, nil)
	if got := w.ended(s.ID, second.Run); got != "end_turn" {
		t.Errorf("ended by %q", got)
	}
	w.whole(s.ID)
}

func TestSecondSessionJoins(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, "")
	w.start()
	one, two := w.newSession(), w.newSession()
	textOne, wantOne := stream(200, "5ms", 5)
	textTwo, wantTwo := stream(100, "5ms", 6)
	a := w.send(one.ID, textOne)
	w.until("some text", 10*time.Second, func() bool { return w.said(one.ID, a.Run) != "" })
	// A page that opens in mid-stream: a snapshot, then the stream.
	var page struct {
		Items  []item
		Cursor string
		Seq    int64
	}
	w.must("GET", "/api/v1/sessions/"+one.ID+"/items", nil, &page)
	b := w.send(two.ID, textTwo)
	f := w.follow(one.ID, page.Cursor)
	w.ended(one.ID, a.Run)
	w.ended(two.ID, b.Run)
	var had strings.Builder
	for _, it := range page.Items {
		if it.Run == a.Run && it.Kind == "assistant" {
			had.WriteString(it.Body.Text)
		}
	}
	w.until("the stream", 5*time.Second, func() bool { return had.String()+f.text(a.Run) == wantOne })
	if evs := f.seen(); evs[0].Seq != page.Seq+1 {
		t.Errorf("the snapshot ends at seq %d, the stream begins at %d", page.Seq, evs[0].Seq)
	}
	f.gapless(t)
	if got := w.said(two.ID, b.Run); got != wantTwo {
		t.Errorf("the second session said %q", got)
	}
}

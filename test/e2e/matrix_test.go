package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// dead tells whether the host has ended.
func (w *world) dead() bool {
	select {
	case <-w.done:
		return true
	default:
		return false
	}
}

// TestHostDiesInBetween kills the host at each place of its reading, in the
// middle of an answer, of a cancel and of a load. A person does what a person
// does: they answer or stop, and again when that failed.
func TestHostDiesInBetween(t *testing.T) {
	t.Parallel()
	text, want := stream(40, "5ms", 41)
	long, _ := stream(5000, "10ms", 42)
	kinds := map[string]struct {
		script, reason string
		from           int // hits of a place before the point of interest, about
	}{
		"answer": {"say before\nask q1 Run it\n" + text, "end_turn", 4},
		"cancel": {long, "cancelled", 1},
		"load":   {text, "end_turn", 1},
	}
	for kind, c := range kinds {
		for _, place := range []string{"host.read", "host.committed", "host.trim", "host.attach"} {
			for _, n := range []int{c.from, c.from + 1, c.from + 2} {
				if place == "host.attach" {
					if n != c.from {
						continue
					}
					n = 1 // each life attaches once here
				}
				if place == "host.trim" {
					if n -= 2; n < 1 { // one for each durable commit only
						continue
					}
				}
				failpoint := fmt.Sprintf("%s=kill@%d", place, n)
				t.Run(kind+" "+failpoint, func(t *testing.T) {
					t.Parallel()
					w := newWorld(t, agentEnv{"SCRIPT_AGENT_CAPS": "load", "SCRIPT_AGENT_LOAD": "replay"}, "")
					var s sessionRow
					if kind == "load" { // the session comes back in a new agent
						w.start()
						s = w.newSession()
						first := w.send(s.ID, "say one")
						w.ended(s.ID, first.Run)
						w.endAgent(s.ID)
						w.stop()
						w.start(failpoint)
					} else {
						w.start(failpoint)
						s = w.newSession()
					}
					a := w.send(s.ID, c.script)
					lives := 1
					over := func() bool {
						if w.dead() {
							lives++
							w.start()
						}
						var row sessionRow
						if w.call("GET", "/api/v1/sessions/"+s.ID, nil, &row) != nil {
							return false
						}
						var page struct{ Approvals []approval }
						if kind == "answer" && w.call("GET", "/api/v1/approvals?state=pending", nil, &page) == nil && len(page.Approvals) == 1 {
							_ = w.call("POST", "/api/v1/approvals/"+page.Approvals[0].ID, map[string]any{"option": "allow_once", "client_id": "me"}, nil)
						}
						if kind == "cancel" && row.Run == a.Run {
							_ = w.call("POST", "/api/v1/sessions/"+s.ID+"/cancel", map[string]any{"run": a.Run}, nil)
						}
						return lives == 2 && row.Run == "" && row.Queued == 0 && row.Reason != ""
					}
					// A run can be seen to end in the moment before its host dies.
					w.until("a death of the host and the end of the run", 30*time.Second, over)
					if reason := w.ended(s.ID, a.Run); reason != c.reason {
						t.Errorf("ended by %q", reason)
					}
					if c.reason == "end_turn" {
						if got := w.said(s.ID, a.Run); !strings.HasSuffix(got, want) || strings.Count(got, want) != 1 {
							t.Errorf("said\n%q, want\n%q", got, want)
						}
					}
					switch kind {
					case "answer":
						w.once("session/prompt", "initialize")
						if got := w.heard(`"selected"`); len(got) != 1 {
							t.Errorf("the agent got %d answers", len(got))
						}
					case "cancel":
						w.once("session/prompt", "initialize", "session/cancel")
					case "load":
						w.once("session/load")
						w.saidInAll(s.ID, "one", want)
					}
					w.whole(s.ID)
				})
			}
		}
	}
}

// TestKeeperDiesInBetween kills the keeper around the writing of an answer and
// of a cancel: what reached the agent reached it at most once.
func TestKeeperDiesInBetween(t *testing.T) {
	t.Parallel()
	long, _ := stream(5000, "10ms", 43)
	for kind, c := range map[string]struct{ script, reason, heard string }{
		"answer": {"ask q1 Run it\nsay after", "interrupted", `"selected"`},
		"cancel": {long, "cancelled", `"session/cancel"`},
	} {
		for _, place := range []string{"keeper.intent=kill@4", "keeper.write=kill@4"} {
			t.Run(kind+" "+place, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, nil, "")
				w.start(place)
				s := w.newSession()
				a := w.send(s.ID, c.script)
				if kind == "answer" {
					q := w.pending(s.ID)
					w.must("POST", "/api/v1/approvals/"+q.ID, map[string]any{"option": "allow_once"}, nil)
				} else {
					w.until("some text", 10*time.Second, func() bool { return w.said(s.ID, a.Run) != "" })
					w.must("POST", "/api/v1/sessions/"+s.ID+"/cancel", map[string]any{"run": a.Run}, nil)
				}
				if reason := w.ended(s.ID, a.Run); reason != c.reason {
					t.Errorf("ended by %q", reason)
				}
				want := 0
				if strings.Contains(place, "write") {
					want = 1 // written, though perhaps not read before the end
				}
				if n := len(w.heard(c.heard)); n > want {
					t.Errorf("the agent heard it %d times", n)
				}
				w.until("an empty tree", 10*time.Second, func() bool { return len(w.marked()) == 0 })
				w.whole(s.ID)
			})
		}
	}
}

// TestKeeperDiesAtLoad: a prompt that no keeper can bring to an agent ends with
// an error after some tries, never sent, and the session goes on later.
func TestKeeperDiesAtLoad(t *testing.T) {
	t.Parallel()
	w := newWorld(t, agentEnv{"SCRIPT_AGENT_CAPS": "load", "SCRIPT_AGENT_LOAD": "replay"}, "")
	w.start()
	s := w.newSession()
	a := w.send(s.ID, "say one")
	w.ended(s.ID, a.Run)
	w.endAgent(s.ID)
	w.stop()
	w.start("keeper.write=kill@2") // of each keeper: its load
	b := w.send(s.ID, "say two")
	if reason := w.ended(s.ID, b.Run); reason != "error" {
		t.Errorf("ended by %q", reason)
	}
	if n := len(w.heard("say two")); n != 0 {
		t.Errorf("the agent got the prompt %d times", n)
	}
	w.stop()
	w.start()
	d := w.send(s.ID, "say three")
	if reason := w.ended(s.ID, d.Run); reason != "end_turn" {
		t.Errorf("the next run ended by %q", reason)
	}
	w.saidInAll(s.ID, "one", "three")
	w.whole(s.ID)
}

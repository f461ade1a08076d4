package e2e

import (
	"slices"
	"testing"
	"time"
)

// A fork in mid-run has what is finished by then, though the session's row may
// be a second behind; what waits in the queue is the original's alone.
func TestForkInMidRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, "")
	w.start()
	s := w.newSession()
	a := w.send(s.ID, "tool t1 execute one\ntool-done t1\nask q1 \"Go on\" make\ntool t2 execute two\ntool-done t2\ntool t3 execute three\nsleep 60s")
	ask := w.pending(s.ID)
	later := w.send(s.ID, "say later")
	w.must("POST", "/api/v1/approvals/"+ask.ID, map[string]any{"option": "allow_once"}, nil)
	titles := func(session string) (list []string) {
		for _, it := range w.items(session) {
			if it.Kind == "tool" && !it.Open {
				list = append(list, it.Body.Title)
			}
		}
		return list
	}
	w.until("the second is done", 20*time.Second, func() bool { return slices.Equal(titles(s.ID), []string{"one", "two"}) })
	var copied sessionRow
	w.must("POST", "/api/v1/sessions/"+s.ID+"/fork", map[string]any{}, &copied)
	if got := titles(copied.ID); !slices.Equal(got, []string{"one", "two"}) {
		t.Errorf("the copy has %v", got)
	}
	users := 0
	for _, it := range w.items(copied.ID) {
		if it.Kind == "user" {
			users++
		}
	}
	if users != 1 {
		t.Errorf("the copy has %d messages, want the one that is answered", users)
	}
	w.must("POST", "/api/v1/sessions/"+s.ID+"/cancel", map[string]any{"run": later.Run}, nil)
	w.must("POST", "/api/v1/sessions/"+s.ID+"/cancel", map[string]any{"run": a.Run}, nil)
	w.ended(s.ID, a.Run)
	w.whole(s.ID)
}

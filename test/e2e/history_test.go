package e2e

import (
	"testing"
	"time"
)

// TestHistorySurvives: the day's charts go on over a restart in place, a kill
// and a stop, and the time in between has no points.
func TestHistorySurvives(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, "")
	const minute = 300 * time.Millisecond // stands for one
	faults := []string{quick, "history_ms:=300"}
	w.start(faults...)
	past := func() (first, last time.Time) {
		h := w.ledger().History
		if len(h) == 0 {
			return time.Time{}, time.Time{}
		}
		return h[0].At, h[len(h)-1].At
	}
	begun := time.Time{}
	// look lets a life grow older than some minutes, and finds the past in it.
	look := func(life string, ended time.Time) (last time.Time) {
		t.Helper()
		var first time.Time
		w.until("some history of "+life, 10*time.Second, func() bool {
			first, last = past()
			return last.Sub(ended) > 4*minute && last.Sub(first) > 4*minute
		})
		if begun.IsZero() {
			begun = first
		} else if !first.Equal(begun) {
			t.Errorf("%s begins at %s, want %s", life, first, begun)
		}
		return last
	}
	now := look("the first life", time.Time{})
	w.cli("restart")
	w.restarted(1)
	now = look("the life after a restart", now)
	w.kill()
	down := time.Now()
	time.Sleep(4 * minute)
	up := time.Now()
	w.start(faults...)
	look("the life after a kill", now)
	for _, p := range w.ledger().History {
		if p.At.After(down) && p.At.Before(up) {
			t.Errorf("there is a point at %s, when no host ran", p.At)
		}
	}
	now = look("the life after a kill, again", now)
	if code := w.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	w.start(faults...)
	look("the life after a stop", now)
}

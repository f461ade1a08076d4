package e2e

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestRestoredPast restores a backup that is older than an agent which is at
// work. The agent and its keeper are ended; those that the backup knows, and
// those of another host, go on.
func TestRestoredPast(t *testing.T) {
	needProc(t)
	t.Parallel()
	other := newWorld(t, nil, "")
	other.start()
	busy := other.newSession()
	text, want := stream(400, "25ms", 17)
	a := other.send(busy.ID, text)

	w := newWorld(t, nil, "")
	w.start()
	known := w.newSession()
	w.ended(known.ID, w.send(known.ID, "say known").Run)
	stranger := w.newSession()
	before := w.marked()
	file := strings.TrimSpace(w.cli("backup", "--to", t.TempDir()))
	long, _ := stream(4000, "25ms", 5)
	w.send(stranger.ID, long)
	w.until("the second agent", 10*time.Second, func() bool { return len(w.marked()) >= 2*len(before) && w.session(stranger.ID).State == "running" })
	w.stop()
	w.cli("restore", "--yes", file)
	w.start()
	w.until("the end of the agent of another past", 20*time.Second, func() bool { return len(w.marked()) == len(before) })
	if !strings.Contains(w.logged(), "of a past that the store does not know") {
		t.Error("the log does not say so")
	}
	w.until("the session's notice", 10*time.Second, func() bool {
		return slices.ContainsFunc(w.items(stranger.ID), func(it item) bool {
			return it.Kind == "notice" && strings.Contains(it.Body.Text, "restored state does not know")
		})
	})
	if dirs, _ := filepath.Glob(filepath.Join(w.home, "keepers", "*")); len(dirs) < 2 {
		t.Errorf("what it said is not kept: %v", dirs)
	}
	// The one that the backup knows is the same as before, and answers.
	if now := w.marked(); len(now) != len(before) || now[0] != before[0] {
		t.Errorf("processes %v, they were %v", now, before)
	}
	again := w.send(known.ID, "say still here")
	if reason := w.ended(known.ID, again.Run); reason != "end_turn" || !strings.Contains(w.said(known.ID, again.Run), "still here") {
		t.Errorf("ended by %q, said %q", reason, w.said(known.ID, again.Run))
	}
	if reason := other.ended(busy.ID, a.Run); reason != "end_turn" || other.said(busy.ID, a.Run) != want {
		t.Errorf("the other host's run ended by %q", reason)
	}
}

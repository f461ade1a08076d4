package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// cliFails runs a command that has to fail, and returns what it says.
func (w *world) cliFails(args ...string) string {
	w.t.Helper()
	out, err := w.command(append(args, "--home", w.home)...).CombinedOutput()
	if err == nil {
		w.t.Fatalf("holdfast %s succeeded:\n%s", strings.Join(args, " "), out)
	}
	return string(out)
}

// A backup that is made while answers stream is a state that there was; restored,
// it holds all that was there when the command began, and goes on.
func TestBackupUnderLoad(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, "")
	w.start()
	s := w.newSession()
	first := w.send(s.ID, "say before the backup")
	w.ended(s.ID, first.Run)
	var stop atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; i < 30 && !stop.Load(); i++ {
			var a accepted
			if err := w.call("POST", "/api/v1/sessions/"+s.ID+"/messages", map[string]any{"client_id": "load" + time.Now().String(), "text": "say under load"}, &a); err != nil {
				t.Error(err)
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	before := w.events(s.ID)
	dir := t.TempDir()
	file := strings.TrimSpace(w.cli("backup", "--to", dir))
	stop.Store(true)
	<-done
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%q: %v", file, err)
	}
	if left, _ := filepath.Glob(filepath.Join(w.home, ".*")); len(left) > 0 {
		t.Errorf("left in the state folder: %v", left)
	}
	if text := w.cliFails("restore", "--yes", file); !strings.Contains(text, "holdfast stop") {
		t.Errorf("under a running host: %s", text)
	}
	w.until("the queue's end", 60*time.Second, func() bool {
		row := w.session(s.ID)
		return row.Queued == 0 && row.Run == ""
	})
	after := w.events(s.ID)

	fresh := newWorld(t, nil, "")
	damaged, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	flipped := filepath.Join(dir, "flipped.tar.gz")
	cut := filepath.Join(dir, "cut.tar.gz")
	if err := os.WriteFile(cut, damaged[:len(damaged)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	damaged[len(damaged)/2] ^= 1
	if err := os.WriteFile(flipped, damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{cut, flipped} {
		if text := fresh.cliFails("restore", "--yes", bad); !strings.Contains(text, "Nothing was changed") {
			t.Errorf("%s: %s", bad, text)
		}
	}
	fresh.cli("restore", "--yes", file)
	fresh.start()
	fresh.cli("verify")
	got := fresh.events(s.ID)
	if len(got) < len(before) {
		t.Fatalf("%d events restored; there were %d when the backup began", len(got), len(before))
	}
	for i, e := range got {
		if i < len(after) && after[i].ID == e.ID && bytes.Equal(after[i].Body, e.Body) {
			continue
		}
		// A run that was under way in the copy was cut off: the rest is told here.
		if i < len(before) {
			t.Fatalf("event %d is %v, was %v", i, e, after[i])
		}
		break
	}
	if said := fresh.said(s.ID, first.Run); said != w.said(s.ID, first.Run) {
		t.Errorf("the first answer is %q now", said)
	}
	if text := fresh.cliFails("backup", "--to", file); !strings.Contains(text, "exists already") {
		t.Errorf("over a file: %s", text)
	}

	// And into the place that it came from: what is there is kept.
	w.stop()
	if text := w.cliFails("restore", file); !strings.Contains(text, "--yes") {
		t.Errorf("unasked: %s", text)
	}
	w.cli("restore", "--yes", file)
	old, _ := filepath.Glob(w.home + ".before-restore-*")
	if len(old) != 1 {
		t.Fatalf("the old state: %v", old)
	}
	for _, name := range []string{"holdfast.db", "config.toml"} {
		if _, err := os.Stat(filepath.Join(old[0], name)); err != nil {
			t.Error(err)
		}
	}
	w.start()
	w.cli("verify")
	if n := len(w.events(s.ID)); n < len(before) {
		t.Errorf("%d events, want %d at least", n, len(before))
	}
}

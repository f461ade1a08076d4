package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What an agent prints is told while it starts, also by the host that comes
// after one that was killed meanwhile; secrets of its environment are not.
func TestSlowStartTells(t *testing.T) {
	t.Parallel()
	gate := filepath.Join(t.TempDir(), "gate")
	w := newWorld(t, agentEnv{
		"SCRIPT_AGENT_STARTUP_SAYS": "loading, key hunter2hunter2", "SCRIPT_AGENT_STARTUP_UNTIL": gate,
		"TEST_API_KEY": "hunter2hunter2",
	}, "")
	w.start()
	s := w.newSession()
	path := "/api/v1/sessions/" + s.ID + "/agent/log"
	w.refused(409, "no_agent", "GET", path, nil)
	a := w.send(s.ID, "stderr at work\nsay done")
	says := func(state string, texts ...string) {
		t.Helper()
		w.until("the agent's log: "+strings.Join(texts, ", "), 20*time.Second, func() bool {
			var log struct {
				State, Text string
				Size        int
			}
			if w.call("GET", path, nil, &log) != nil {
				return false // no agent yet
			}
			for _, text := range texts {
				if !strings.Contains(log.Text, text) {
					return false
				}
			}
			if strings.Contains(log.Text, "hunter2") {
				t.Fatalf("a secret is told: %q", log.Text)
			}
			return log.State == state && log.Size > 0
		})
	}
	says("starting", "loading, key [redacted]", "scripted agent, a banner")
	events := len(w.events(s.ID))
	w.kill()
	w.start()
	says("starting", "loading, key [redacted]", "scripted agent, a banner")
	if n := len(w.events(s.ID)); n != events {
		t.Errorf("%d events, %d before: the log has what the agent printed", n, events)
	}
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w.ended(s.ID, a.Run)
	says("ready", "loading", "at work")
	w.whole(s.ID)
}

// A run that fails keeps what its agent printed in it, as one that is cut off
// does, and nothing that an earlier run's agent printed.
func TestFailedRunKeepsWhatWasPrinted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, "")
	w.start()
	s := w.newSession()
	kept := func(run string) string {
		for _, it := range w.items(s.ID) {
			if it.Kind == "notice" && it.Run == run && it.Body.Code == "agent_stderr" {
				return string(it.Body.Detail)
			}
		}
		return ""
	}
	a := w.send(s.ID, "stderr alas\nerror -32603 broken")
	w.ended(s.ID, a.Run)
	if !strings.Contains(kept(a.Run), "alas") {
		t.Errorf("the failed run keeps %q", kept(a.Run))
	}
	b := w.send(s.ID, "error -32603 broken")
	w.ended(s.ID, b.Run)
	if kept(b.Run) != "" {
		t.Errorf("a run in which nothing was printed keeps %q", kept(b.Run))
	}
	c := w.send(s.ID, "stderr the end\nexit 3")
	if reason := w.ended(s.ID, c.Run); reason != "interrupted" || !strings.Contains(kept(c.Run), "the end") {
		t.Errorf("ended by %q, keeps %q", reason, kept(c.Run))
	}
	w.whole(s.ID)
}

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestHostDiesAt kills the host at named places. Whatever the place: after a
// start the run is whole, and what the agent was to get it got once, from the
// same process.
func TestHostDiesAt(t *testing.T) {
	t.Parallel()
	text, want := stream(60, "5ms", 11)
	for _, place := range []string{
		"host.fork=kill", "host.attach=kill",
		"host.push.initialize=kill", "host.pushed.initialize=kill",
		"host.push.session/new=kill", "host.pushed.session/new=kill",
		"host.push.prompt=kill", "host.pushed.prompt=kill", "host.accepted=kill@3",
		"host.read=kill@1", "host.read=kill@3", "host.read=kill@6", "host.read=kill@9",
		"host.committed=kill@1", "host.committed=kill@3", "host.committed=kill@6", "host.committed=kill@9",
		"host.trim=kill@1", "host.trim=kill@2", "host.trim=kill@3",
	} {
		t.Run(place, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, nil, "")
			w.start(place)
			s := w.newSession()
			a := w.send(s.ID, text)
			w.awaitExit()
			w.start()
			if reason := w.ended(s.ID, a.Run); reason != "end_turn" {
				t.Fatalf("ended by %q", reason)
			}
			if got := w.said(s.ID, a.Run); got != want {
				t.Errorf("said\n%q, want\n%q", got, want)
			}
			w.once("session/new", "session/prompt", "initialize")
			w.whole(s.ID)
		})
	}
}

// once checks that scripted agents heard each of these exactly once.
func (w *world) once(methods ...string) {
	w.t.Helper()
	for _, m := range methods {
		if got := w.heard(`"method":"` + m + `"`); len(got) != 1 {
			w.t.Errorf("agents heard %s %d times: %q", m, len(got), got)
		}
	}
}

func TestHostDiesAtAnswer(t *testing.T) {
	t.Parallel()
	for _, place := range []string{"host.push.answer=kill", "host.pushed.answer=kill"} {
		t.Run(place, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, nil, "")
			w.start(place)
			s := w.newSession()
			a := w.send(s.ID, "say before\nask q1 Run it\nsay after")
			q := w.pending(s.ID)
			_ = w.call("POST", "/api/v1/approvals/"+q.ID, map[string]any{"option": "allow_once", "client_id": "me"}, nil)
			w.awaitExit()
			w.start()
			// The same client asks again, as a page does that got no answer.
			w.must("POST", "/api/v1/approvals/"+q.ID, map[string]any{"option": "allow_once", "client_id": "me"}, nil)
			if reason := w.ended(s.ID, a.Run); reason != "end_turn" {
				t.Fatalf("ended by %q", reason)
			}
			if got := w.said(s.ID, a.Run); !strings.Contains(got, "[answer q1: allow_once]") || !strings.HasSuffix(got, "after") {
				t.Errorf("said %q", got)
			}
			if got := w.heard(`"selected"`); len(got) != 1 {
				t.Errorf("the agent got %d answers", len(got))
			}
			w.once("session/prompt")
			w.whole(s.ID)
		})
	}
}

func TestHostDiesAtCancel(t *testing.T) {
	t.Parallel()
	text, _ := stream(5000, "10ms", 12)
	for _, place := range []string{"host.push.cancel=kill", "host.pushed.cancel=kill"} {
		t.Run(place, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, nil, "")
			w.start(place)
			s := w.newSession()
			a := w.send(s.ID, text)
			w.until("some text", 10*time.Second, func() bool { return w.said(s.ID, a.Run) != "" })
			_ = w.call("POST", "/api/v1/sessions/"+s.ID+"/cancel", map[string]any{"run": a.Run}, nil)
			w.awaitExit()
			w.start()
			if reason := w.ended(s.ID, a.Run); reason != "cancelled" {
				t.Fatalf("ended by %q", reason)
			}
			w.once("session/prompt", "session/cancel")
			b := w.send(s.ID, "say again")
			if reason := w.ended(s.ID, b.Run); reason != "end_turn" {
				t.Errorf("the next run ended by %q", reason)
			}
			w.whole(s.ID)
		})
	}
}

func TestHostDiesAtLoad(t *testing.T) {
	t.Parallel()
	for _, place := range []string{"host.push.session/load=kill", "host.pushed.session/load=kill"} {
		t.Run(place, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, agentEnv{"SCRIPT_AGENT_CAPS": "load", "SCRIPT_AGENT_LOAD": "replay"}, "")
			w.start(place)
			s := w.newSession()
			a := w.send(s.ID, "say one")
			w.ended(s.ID, a.Run)
			w.endAgent(s.ID)
			b := w.send(s.ID, "say two")
			w.awaitExit()
			w.start()
			if reason := w.ended(s.ID, b.Run); reason != "end_turn" {
				t.Fatalf("ended by %q", reason)
			}
			w.once("session/new", "session/load")
			w.saidInAll(s.ID, "one", "two")
			w.whole(s.ID)
		})
	}
}

// saidInAll checks everything that the session's agents said, one item each:
// what a load replays is in the log already and must not come in again.
func (w *world) saidInAll(session string, want ...string) {
	w.t.Helper()
	var got []string
	for _, it := range w.items(session) {
		if it.Kind == "assistant" {
			got = append(got, it.Body.Text)
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		w.t.Errorf("said in all %q, want %q", got, want)
	}
}

// keeperPID reads the pid of the session's only keeper.
func (w *world) keeperPID() int {
	w.t.Helper()
	for _, pid := range w.marked() {
		cmd, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err == nil && strings.Contains(string(cmd), "\x00keeper\x00") {
			return pid
		}
	}
	w.t.Fatal("no keeper runs")
	return 0
}

func TestKeeperKilled(t *testing.T) {
	t.Parallel()
	w := newWorld(t, agentEnv{"SCRIPT_AGENT_IGNORE_EOF": "1"}, "")
	w.start()
	s := w.newSession()
	text, want := stream(5000, "5ms", 13)
	a := w.send(s.ID, "spawn-daemon d1\nopen-tool\n"+text)
	w.until("some text", 10*time.Second, func() bool { return len(w.said(s.ID, a.Run)) > 100 })
	_ = syscall.Kill(w.keeperPID(), syscall.SIGKILL)
	if reason := w.ended(s.ID, a.Run); reason != "interrupted" {
		t.Fatalf("ended by %q", reason)
	}
	_, got, _ := strings.Cut(w.said(s.ID, a.Run), "]") // after what the daemon's step said
	if len(got) < 50 || !strings.HasPrefix(want, got) {
		t.Errorf("kept %q", got)
	}
	w.until("an empty tree", 10*time.Second, func() bool { return len(w.marked()) == 0 })
	for _, it := range w.items(s.ID) {
		if it.Open {
			t.Errorf("item %s (%s) is still open", it.ID, it.Kind)
		}
	}
	b := w.send(s.ID, "say again")
	if reason := w.ended(s.ID, b.Run); reason != "end_turn" {
		t.Errorf("the next run ended by %q", reason)
	}
	w.whole(s.ID)
}

func TestKeeperKilledWithoutHost(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, "")
	w.start()
	s := w.newSession()
	text, want := stream(5000, "5ms", 14)
	a := w.send(s.ID, text)
	w.until("some text", 10*time.Second, func() bool { return len(w.said(s.ID, a.Run)) > 100 })
	w.kill()
	time.Sleep(200 * time.Millisecond)
	_ = syscall.Kill(w.keeperPID(), syscall.SIGKILL)
	w.start()
	if reason := w.ended(s.ID, a.Run); reason != "interrupted" {
		t.Fatalf("ended by %q", reason)
	}
	if got := w.said(s.ID, a.Run); !strings.HasPrefix(want, got) || len(got) < 200 {
		t.Errorf("kept %d bytes of what the spool held: %q", len(got), got)
	}
	w.until("an empty tree", 10*time.Second, func() bool { return len(w.marked()) == 0 })
	w.whole(s.ID)
}

// A prompt that the keeper had surely not begun is not lost with the keeper:
// it goes to the next one.
func TestPromptNotBegun(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, "")
	w.start("host.push.prompt=kill")
	s := w.newSession()
	a := w.send(s.ID, "say once")
	w.awaitExit()
	_ = syscall.Kill(w.keeperPID(), syscall.SIGKILL)
	w.start()
	if reason := w.ended(s.ID, a.Run); reason != "end_turn" {
		t.Fatalf("ended by %q", reason)
	}
	w.once("session/prompt")
	w.whole(s.ID)
}

// Keeper deaths in between: at most once is what is honest.
func TestKeeperDiesAt(t *testing.T) {
	t.Parallel()
	// Lines of an epoch: 1 initialize, 2 session/new, 3 the prompt.
	for place, want := range map[string]string{
		"keeper.intent=kill@3":      "interrupted",
		"keeper.write=kill@3":       "interrupted",
		"keeper.mid_record=kill@5":  "interrupted",
		"keeper.mid_record=kill@12": "interrupted",
		"keeper.born=kill":          "error",
	} {
		t.Run(place, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, nil, "")
			w.start(place)
			s := w.newSession()
			text, full := stream(40, "5ms", 15)
			a := w.send(s.ID, text)
			if reason := w.ended(s.ID, a.Run); reason != want {
				t.Fatalf("ended by %q, want %q", reason, want)
			}
			if got := w.said(s.ID, a.Run); !strings.HasPrefix(full, got) {
				t.Errorf("kept %q", got)
			}
			if n := len(w.heard("session/prompt")); n > 1 {
				t.Errorf("the agent got the prompt %d times", n)
			}
			w.until("an empty tree", 10*time.Second, func() bool { return len(w.marked()) == 0 })
			w.whole(s.ID)
		})
	}
}

func TestBootIDChanged(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, "")
	w.start("boot_id:=first")
	s := w.newSession()
	text, want := stream(5000, "5ms", 16)
	a := w.send(s.ID, text)
	w.until("some text", 10*time.Second, func() bool { return len(w.said(s.ID, a.Run)) > 100 })
	w.kill()
	for _, pid := range w.marked() { // what a reboot does to them
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	w.start("boot_id:=second")
	if reason := w.ended(s.ID, a.Run); reason != "interrupted" {
		t.Fatalf("ended by %q", reason)
	}
	if got := w.said(s.ID, a.Run); !strings.HasPrefix(want, got) || got == "" {
		t.Errorf("kept %q", got)
	}
	w.whole(s.ID)
}

func TestInterpreterPanic(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, "")
	w.start("host.interpret=panic@20")
	s := w.newSession()
	text, want := stream(100, "3ms", 17)
	a := w.send(s.ID, text)
	// The failpoint fires once: the batch is tried again record by record and
	// passes.
	if reason := w.ended(s.ID, a.Run); reason != "end_turn" {
		t.Fatalf("ended by %q", reason)
	}
	if got := w.said(s.ID, a.Run); got != want {
		t.Errorf("said %q, want %q", got, want)
	}
	w.whole(s.ID)
}

// Records that can never be interpreted are kept raw and passed over, each
// once: no host reads them for ever.
func TestInterpreterPanicsAlways(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, "")
	w.start("host.interpret=panics@20")
	s := w.newSession()
	text, want := stream(100, "3ms", 18)
	a := w.send(s.ID, text)
	if reason := w.ended(s.ID, a.Run); reason != "end_turn" {
		t.Fatalf("ended by %q", reason)
	}
	if got := w.said(s.ID, a.Run); !strings.HasPrefix(want, got) || got == "" || got == want {
		t.Errorf("said %q", got)
	}
	raw, notices := 0, 0
	for _, e := range w.events(s.ID) {
		switch {
		case e.Kind == "agent.raw":
			raw++
		case e.Kind == "notice" && strings.Contains(string(e.Body), "record_unreadable"):
			notices++
		}
	}
	if raw == 0 || raw != notices || raw > 100 {
		t.Errorf("%d records are kept raw, %d notices tell of them", raw, notices)
	}
	w.kill()
	w.start()
	b := w.send(s.ID, "say again")
	if reason := w.ended(s.ID, b.Run); reason != "end_turn" {
		t.Errorf("the next run ended by %q", reason)
	}
	w.whole(s.ID)
}

func TestApprovalOverTwoRestarts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, "")
	w.start()
	s := w.newSession()
	a := w.send(s.ID, "ask q1 Delete it\nsay done")
	q := w.pending(s.ID)
	w.kill()
	w.start()
	w.stop()
	w.start()
	if again := w.pending(s.ID); again.ID != q.ID {
		t.Fatalf("another question: %s, was %s", again.ID, q.ID)
	}
	// Two devices at once: one 200, one 409 with what was answered.
	type result struct{ err error }
	results := make(chan result, 2)
	for _, option := range []string{"allow_once", "reject_once"} {
		go func() {
			results <- result{w.call("POST", "/api/v1/approvals/"+q.ID, map[string]any{"option": option, "client_id": option}, nil)}
		}()
	}
	failed := 0
	for range 2 {
		if r := <-results; r.err != nil {
			failed++
			if p, ok := r.err.(*problem); !ok || p.Status != 409 || p.Code != "approval_answered" {
				t.Errorf("the second answer: %v", r.err)
			}
		}
	}
	if failed != 1 {
		t.Errorf("%d of two answers were refused, want 1", failed)
	}
	w.ended(s.ID, a.Run)
	if got := append(w.heard(`"selected"`), w.heard(`"cancelled"`)...); len(got) != 1 {
		t.Errorf("the agent got %d answers: %q", len(got), got)
	}
	w.refused(409, "approval_answered", "POST", "/api/v1/approvals/"+q.ID, map[string]any{"option": "allow_once", "client_id": "third"})
	w.whole(s.ID)
}

func TestApprovalWithReusedRawID(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, "")
	w.start()
	s := w.newSession()
	a := w.send(s.ID, "ask q1 First\nask-same-raw-id q2 Second\nsay done")
	first := w.pending(s.ID)
	w.must("POST", "/api/v1/approvals/"+first.ID, map[string]any{"option": "allow_once"}, nil)
	var second approval
	w.until("the second question", 10*time.Second, func() bool {
		second = w.pending(s.ID)
		return second.ID != first.ID
	})
	w.must("POST", "/api/v1/approvals/"+second.ID, map[string]any{"option": "reject_once"}, nil)
	w.ended(s.ID, a.Run)
	got := w.said(s.ID, a.Run)
	if !strings.Contains(got, "[answer q1: allow_once]") || !strings.Contains(got, "[answer q2: reject_once]") {
		t.Errorf("said %q", got)
	}
}

func TestApprovalCancelledWithItsRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, "")
	w.start()
	s := w.newSession()
	a := w.send(s.ID, "ask q1 Delete it\nsay done")
	q := w.pending(s.ID)
	w.must("POST", "/api/v1/sessions/"+s.ID+"/cancel", map[string]any{"run": a.Run}, nil)
	if reason := w.ended(s.ID, a.Run); reason != "cancelled" {
		t.Fatalf("ended by %q", reason)
	}
	w.refused(409, "approval_cancelled", "POST", "/api/v1/approvals/"+q.ID, map[string]any{"option": "allow_once"})
}

// Gemini does not end a cancelled turn until its question is answered.
func TestCancelOfAnAgentThatWantsItsAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, agentEnv{"SCRIPT_AGENT_NO_CANCEL_UNTIL_ANSWER": "1"}, "")
	w.start()
	s := w.newSession()
	a := w.send(s.ID, "ask q1 Delete it\nsay done")
	w.pending(s.ID)
	w.must("POST", "/api/v1/sessions/"+s.ID+"/cancel", map[string]any{"run": a.Run}, nil)
	if reason := w.ended(s.ID, a.Run); reason != "cancelled" {
		t.Fatalf("ended by %q", reason)
	}
}

// An agent that stops waiting by itself: expired is not denied, and an answer
// that comes too late is refused, also when the host was away meanwhile.
func TestApprovalExpires(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		waits string // so long, by its own clock
		away  bool
	}{
		"host there": {"3500ms", false}, "host away": {"3500ms", true},
		"run over first": {"3s", false}, // by the agent's clock, which is not the host's
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, agentEnv{"SCRIPT_AGENT_EXPIRE": c.waits, "EXPIRE": "3500ms"}, "")
			w.start()
			s := w.newSession()
			a := w.send(s.ID, "ask q1 Delete it\nsay done")
			q := w.pending(s.ID)
			time.Sleep(1600 * time.Millisecond)
			// Within two seconds of the deadline an answer could come too late.
			w.refused(409, "approval_expired", "POST", "/api/v1/approvals/"+q.ID, map[string]any{"option": "allow_once"})
			if c.away {
				w.kill()
				time.Sleep(2500 * time.Millisecond)
				w.launch()
				w.awaitHealthy()
				var page struct{ Approvals []approval }
				w.must("GET", "/api/v1/approvals?state=expired", nil, &page)
				if len(page.Approvals) != 1 || page.Approvals[0].State != "expired" {
					t.Errorf("the first answer of the new host says %+v", page.Approvals)
				}
			}
			w.ended(s.ID, a.Run)
			w.refused(409, "approval_expired", "POST", "/api/v1/approvals/"+q.ID, map[string]any{"option": "allow_once"})
			if n := len(w.heard(`"selected"`)); n != 0 {
				t.Errorf("the agent got an answer after it had stopped waiting")
			}
			w.whole(s.ID)
		})
	}
}

func TestAgentEnds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		script, reason string
		env            agentEnv
		detail         string
	}{
		"exit in a run":       {"say before\nstderr alas\nexit 3", "interrupted", nil, "exit code 3"},
		"exit in a line":      {"say before\nhalf-exit 3", "interrupted", nil, "exit code 3"},
		"error of the agent":  {"say before\nerror -32603 broken", "error", nil, ""},
		"needs a login":       {"say x", "error", agentEnv{"SCRIPT_AGENT_LOGIN": "1"}, ""},
		"another version":     {"say x", "error", agentEnv{"SCRIPT_AGENT_BAD_INIT": "1"}, ""},
		"refusal":             {"say no\nstop refusal", "refusal", nil, ""},
		"early updates":       {"say x", "end_turn", agentEnv{"SCRIPT_AGENT_EARLY_UPDATE": "1"}, ""},
		"modes":               {"say x", "end_turn", agentEnv{"SCRIPT_AGENT_MODES": "1"}, ""},
		"junk and half lines": {"junk not json at all\nsay a\nhalf\nsay b", "end_turn", nil, ""},
		"unknown things":      {"unknown-update\nunknown-request\nsay a", "end_turn", nil, ""},
		"an open tool":        {"open-tool\nsay a", "end_turn", nil, ""},
		"a late update":       {"say a\nlate-update", "end_turn", nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, c.env, "")
			w.start()
			s := w.newSession()
			a := w.send(s.ID, c.script)
			if reason := w.ended(s.ID, a.Run); reason != c.reason {
				t.Errorf("ended by %q, want %q", reason, c.reason)
			}
			for _, it := range w.items(s.ID) {
				if it.Kind == "tool" && it.Open {
					t.Errorf("a tool call is open after its run")
				}
			}
			if c.detail != "" {
				var page struct{ Runs []struct{ ID, Detail string } }
				w.must("GET", "/api/v1/sessions/"+s.ID+"/items", nil, &page)
				if len(page.Runs) != 1 || !strings.Contains(page.Runs[0].Detail, c.detail) {
					t.Errorf("the run says %+v, want %q", page.Runs, c.detail)
				}
			}
			w.whole(s.ID)
		})
	}
}

func TestAgentThatIsNotThere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, "[agents.ghost]\nname = \"Ghost\"\ncommand = [\"/nonexistent/ghost\"]\n")
	w.start()
	var s sessionRow
	err := w.call("POST", "/api/v1/sessions", map[string]any{"agent": "ghost", "cwd": w.work}, &s)
	if err != nil {
		return // refused at once is as good
	}
	a := w.send(s.ID, "say x")
	if reason := w.ended(s.ID, a.Run); reason != "error" {
		t.Errorf("ended by %q", reason)
	}
}

func TestEviction(t *testing.T) {
	t.Parallel()
	w := newWorld(t, agentEnv{"SCRIPT_AGENT_CAPS": "load", "SCRIPT_AGENT_LOAD": "replay", "SCRIPT_AGENT_HELPER": "1"}, "[limits]\nlive_agents = 1\n")
	w.start()
	one, two := w.newSession(), w.newSession()
	a := w.send(one.ID, "say one")
	w.ended(one.ID, a.Run)
	b := w.send(two.ID, "say two")
	if reason := w.ended(two.ID, b.Run); reason != "end_turn" {
		t.Fatalf("ended by %q", reason)
	}
	if state := w.session(one.ID).AgentState; state != "ended" {
		t.Errorf("the first agent is %q, want ended", state)
	}
	c := w.send(one.ID, "say three")
	if reason := w.ended(one.ID, c.Run); reason != "end_turn" {
		t.Fatalf("after the resume: ended by %q", reason)
	}
	w.saidInAll(one.ID, "one", "three")
	w.once("session/load")
	w.whole(one.ID)
}

// TestPlacesInTurn: sessions that wait for a place get one in the order in which
// they came. Without it one waited for minutes beside others that came and went.
func TestPlacesInTurn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, "[limits]\nlive_agents = 1\n")
	w.start()
	busy := w.newSession()
	a := w.send(busy.ID, "say one\nask go Go on")
	question := w.pending(busy.ID)
	var sessions []sessionRow
	var runs []accepted
	for range 5 {
		s := w.newSession()
		sessions, runs = append(sessions, s), append(runs, w.send(s.ID, "say mine"))
		w.until("its wait", 10*time.Second, func() bool { return w.session(s.ID).AgentState == "starting" })
	}
	w.must("POST", "/api/v1/approvals/"+question.ID, map[string]any{"option": "allow_once"}, nil)
	w.ended(busy.ID, a.Run)
	var last int64
	for i, s := range sessions {
		w.ended(s.ID, runs[i].Run)
		for _, e := range w.events(s.ID) {
			if e.Kind != "run.started" {
				continue
			}
			if e.ID < last {
				t.Errorf("session %d began before one that had waited longer", i)
			}
			last = e.ID
		}
	}
}

func TestNoPlaceWhileAllRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, "[limits]\nlive_agents = 1\n")
	w.start()
	one, two := w.newSession(), w.newSession()
	a := w.send(one.ID, "say one\nsleep 1s")
	w.until("the run", 10*time.Second, func() bool { return w.session(one.ID).State == "running" })
	b := w.send(two.ID, "say two")
	w.ended(one.ID, a.Run)
	if reason := w.ended(two.ID, b.Run); reason != "end_turn" {
		t.Errorf("ended by %q", reason)
	}
}

func TestEndHungAgent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, "")
	w.start()
	s := w.newSession()
	a := w.send(s.ID, "say before\nhang")
	w.until("some text", 10*time.Second, func() bool { return w.said(s.ID, a.Run) != "" })
	w.must("POST", "/api/v1/sessions/"+s.ID+"/agent/end", nil, nil)
	if reason := w.ended(s.ID, a.Run); reason != "interrupted" {
		t.Errorf("ended by %q", reason)
	}
	w.until("an empty tree", 10*time.Second, func() bool { return len(w.marked()) == 0 })
}

// The tour answers its prompt as cancelled when its input ends.
func TestEndAgentThatAnswers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, "")
	w.agent = "tour"
	w.start()
	s := w.newSession()
	a := w.send(s.ID, "run echo begun; sleep 60")
	q := w.pending(s.ID)
	w.must("POST", "/api/v1/approvals/"+q.ID, map[string]any{"option": q.Options[0].ID}, nil)
	w.until("the command", 10*time.Second, func() bool {
		for _, it := range w.items(s.ID) {
			if it.Kind == "tool" && len(it.Body.Content) > 0 {
				return true
			}
		}
		return false
	})
	w.must("POST", "/api/v1/sessions/"+s.ID+"/agent/end", nil, nil)
	if reason := w.ended(s.ID, a.Run); reason != "interrupted" {
		t.Errorf("ended by %q", reason)
	}
	w.until("an empty tree", 10*time.Second, func() bool { return len(w.marked()) == 0 })
}

func TestLongLine(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, "")
	w.start()
	s := w.newSession()
	a := w.send(s.ID, "line 10MB\nsay after")
	if reason := w.ended(s.ID, a.Run); reason != "end_turn" {
		t.Fatalf("ended by %q", reason)
	}
	got := w.said(s.ID, a.Run)
	if len(got) < 10_000_000 || !strings.HasSuffix(got, "after") {
		t.Errorf("said %d bytes", len(got))
	}
	for _, e := range w.events(s.ID) {
		if len(e.Body) > 100<<10 {
			t.Errorf("an event of %d bytes", len(e.Body))
		}
	}
}

func TestSecondHostIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, "")
	w.start()
	before, err := os.ReadDir(w.home)
	if err != nil {
		t.Fatal(err)
	}
	first := w.host
	other := &world{t: t, bin: bins.host, home: w.home, out: &syncBuffer{}}
	other.launch()
	if code := other.awaitExit(); code != 78 {
		t.Errorf("exit code %d, want 78:\n%s", code, other.out)
	}
	if out := other.out.String(); !strings.Contains(out, fmt.Sprint(first.Process.Pid)) {
		t.Errorf("it does not say who holds the folder:\n%s", out)
	}
	after, _ := os.ReadDir(w.home)
	if len(after) != len(before) {
		t.Errorf("the second host touched the folder: %v, was %v", after, before)
	}
	w.must("GET", "/api/v1/sessions", nil, nil)
	if matches, _ := filepath.Glob(filepath.Join(w.home, "*.tmp")); len(matches) > 0 {
		t.Errorf("left behind: %v", matches)
	}
}

func TestDelete(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, "")
	w.start()
	s := w.newSession()
	a := w.send(s.ID, "say one\nsleep 5s")
	w.until("some text", 10*time.Second, func() bool { return w.said(s.ID, a.Run) != "" })
	w.must("DELETE", "/api/v1/sessions/"+s.ID, nil, nil)
	w.refused(404, "", "GET", "/api/v1/sessions/"+s.ID, nil)
	w.until("an empty tree", 10*time.Second, func() bool { return len(w.marked()) == 0 })
}

//go:build real

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/test/mockmodel"
	"github.com/holdfast-dev/holdfast/test/real"
)

// realWorld is a world whose agent is a real one that talks to a mock model.
func realWorld(t *testing.T, id string, prepare func(testing.TB, *mockmodel.Server, string) real.Agent) (*world, real.Agent, *mockmodel.Server) {
	t.Helper()
	model, err := mockmodel.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = model.Close() })
	home, err := os.MkdirTemp("", "hfreal")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(home) })
	a := prepare(t, model, home)
	var env []string
	for _, kv := range a.Env {
		k, v, _ := strings.Cut(kv, "=")
		if k == "PATH" || k == "TMPDIR" {
			continue // the host's business
		}
		env = append(env, fmt.Sprintf("%s = %q", k, v))
	}
	var command []string
	for _, c := range a.Command {
		command = append(command, fmt.Sprintf("%q", c))
	}
	w := newWorld(t, nil, fmt.Sprintf("[agents.%s]\nname = %q\ncommand = [%s]\nenv = { %s }\n",
		id, a.Name, strings.Join(command, ", "), strings.Join(env, ", ")))
	w.agent = id
	return w, a, model
}

func TestRealOpenCode(t *testing.T) { testReal(t, "opencode", real.OpenCode) }
func TestRealHermes(t *testing.T)   { testReal(t, "hermes", real.Hermes) }

func testReal(t *testing.T, id string, prepare func(testing.TB, *mockmodel.Server, string) real.Agent) {
	w, a, _ := realWorld(t, id, prepare)
	w.start()
	s := w.newSession()
	agents := func() int {
		n := 0
		for _, pid := range w.marked() {
			env, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
			if strings.Contains(string(env), "\x00keeper\x00") {
				n++
			}
		}
		return n
	}

	t.Run("kill in mid-answer", func(t *testing.T) {
		w.t = t
		f := w.follow(s.ID, "")
		text, want := stream(300, "15ms", 31)
		r := w.send(s.ID, text)
		w.until("some text", 60*time.Second, func() bool { return len(f.text(r.Run)) > 150 })
		w.kill()
		time.Sleep(time.Second)
		w.start()
		if reason := w.ended(s.ID, r.Run); reason != "end_turn" {
			t.Fatalf("ended by %q", reason)
		}
		if got := w.said(s.ID, r.Run); got != want {
			t.Errorf("said\n%q, want\n%q", got, want)
		}
		w.until("the stream", 5*time.Second, func() bool { return f.text(r.Run) == want })
		f.gapless(t)
		if n := agents(); n != 1 {
			t.Errorf("%d keepers, want 1", n)
		}
		f.close()
	})

	t.Run("tool and permission", func(t *testing.T) {
		w.t = t
		if err := os.MkdirAll(filepath.Join(w.work, "gone"), 0o700); err != nil {
			t.Fatal(err)
		}
		r := w.send(s.ID, fmt.Sprintf("say before \ncall %s {\"command\":%q,\"description\":\"remove a folder\"}\nsay after", a.Tool, a.Danger))
		q := w.pending(s.ID)
		w.kill() // a question outlives the host
		w.start()
		w.must("POST", "/api/v1/approvals/"+q.ID, map[string]any{"option": a.Allow}, nil)
		if reason := w.ended(s.ID, r.Run); reason != "end_turn" {
			t.Fatalf("ended by %q", reason)
		}
		if got := w.said(s.ID, r.Run); !strings.Contains(got, "before") || !strings.Contains(got, "after") {
			t.Errorf("said %q", got)
		}
		if _, err := os.Stat(filepath.Join(w.work, "gone")); !os.IsNotExist(err) {
			t.Errorf("the allowed command was not run: %v", err)
		}
		tools := 0
		for _, it := range w.items(s.ID) {
			if it.Kind == "tool" && it.Run == r.Run {
				tools++
				if it.Open {
					t.Errorf("the tool call is still open")
				}
			}
		}
		if tools == 0 {
			t.Errorf("no tool call in the transcript")
		}
	})

	t.Run("cancel", func(t *testing.T) {
		w.t = t
		text, _ := stream(3000, "15ms", 32)
		r := w.send(s.ID, text)
		w.until("some text", 60*time.Second, func() bool { return w.said(s.ID, r.Run) != "" })
		w.must("POST", "/api/v1/sessions/"+s.ID+"/cancel", map[string]any{"run": r.Run}, nil)
		if reason := w.ended(s.ID, r.Run); reason != "cancelled" {
			t.Fatalf("ended by %q", reason)
		}
		r = w.send(s.ID, "say and on")
		if reason := w.ended(s.ID, r.Run); reason != "end_turn" {
			t.Fatalf("the next run ended by %q", reason)
		}
		if got := w.said(s.ID, r.Run); got != "and on" {
			t.Errorf("said %q", got)
		}
	})

	t.Run("resume after its end", func(t *testing.T) {
		w.t = t
		before := len(w.items(s.ID))
		w.endAgent(s.ID)
		r := w.send(s.ID, "say back again")
		if reason := w.ended(s.ID, r.Run); reason != "end_turn" {
			t.Fatalf("ended by %q", reason)
		}
		if got := w.said(s.ID, r.Run); got != "back again" {
			t.Errorf("said %q", got)
		}
		items := w.items(s.ID)
		for _, it := range items {
			if it.Kind == "notice" && it.Body.Code == "agent_session_new" {
				t.Errorf("the agent did not bring its session back")
			}
		}
		if after := len(items); after != before+2 {
			t.Errorf("%d items, want %d: was the replay stored again?", after, before+2)
		}
	})

	t.Run("a mode that was chosen before", func(t *testing.T) {
		w.t = t
		mode := map[string]string{"opencode": "plan", "hermes": "accept_edits"}[id] // an option of the one, a mode of the other
		var offers, set struct{ Options, Modes, Config json.RawMessage }
		w.must("GET", "/api/v1/agents/"+id+"/options", nil, &offers)
		if !strings.Contains(string(offers.Modes)+string(offers.Config), `"`+mode+`"`) {
			t.Fatalf("it offers %s %s", offers.Modes, offers.Config)
		}
		var c sessionRow
		w.must("POST", "/api/v1/sessions", map[string]any{"agent": id, "cwd": w.work, "mode": mode, "model": "none"}, &c)
		if reason := w.ended(c.ID, w.send(c.ID, "say so").Run); reason != "end_turn" {
			t.Fatalf("ended by %q", reason)
		}
		w.must("GET", "/api/v1/sessions/"+c.ID, nil, &set)
		if o := string(set.Options); !strings.Contains(o, `"currentModeId":"`+mode+`"`) && !strings.Contains(o, `"currentValue":"`+mode+`"`) {
			t.Errorf("its options are %s", o)
		}
		refused := 0
		for _, it := range w.items(c.ID) {
			if strings.HasPrefix(it.Body.Code, "option_") {
				refused++
			}
		}
		if refused != 1 {
			t.Errorf("%d notices, want one of the model", refused)
		}
		w.whole(c.ID)
	})
	w.t = t
	w.whole(s.ID)
	w.cli("stop", "--all")
	w.awaitExit()
	w.until("an empty tree", 10*time.Second, func() bool { return len(w.marked()) == 0 })
}

// TestRealHermesSteer: what is said in the middle of a call reaches the model
// with that call's result; what no call follows is the next message, through a
// kill of the host.
func TestRealHermesSteer(t *testing.T) {
	w, _, model := realWorld(t, "hermes", real.HermesPatient)
	w.start()
	s := w.newSession()
	r := w.send(s.ID, `say before
call terminal {"command":"until [ -e go ]; do sleep 0.1; done"}
say after`)
	w.until("the call", 60*time.Second, func() bool {
		for _, it := range w.items(s.ID) {
			if it.Kind == "tool" && it.Open {
				return true
			}
		}
		return false
	})
	b, err := w.steer(s.ID, r.Run, "Look at the second table, too")
	if err != nil {
		t.Fatal(err)
	}
	w.until("the agent takes it", 20*time.Second, func() bool { state, _ := w.steerState(s.ID, b.Item); return state == "taken" })
	if err := os.WriteFile(filepath.Join(w.work, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if reason := w.ended(s.ID, r.Run); reason != "end_turn" {
		t.Fatalf("ended by %q", reason)
	}
	if state, run := w.steerState(s.ID, b.Item); state != "read" || run != r.Run {
		t.Errorf("it is %s, of run %s", state, run)
	}
	if got := strings.Fields(w.said(s.ID, r.Run)); strings.Join(got, " ") != "before after" {
		t.Errorf("said %q", got)
	}
	requests := model.Requests()
	last := requests[len(requests)-1].Messages
	if m := last[len(last)-1]; m.Role != "tool" || !strings.Contains(m.Content, "Look at the second table, too") {
		t.Errorf("the model was told %+v", m)
	}

	text, want := stream(200, "15ms", 33)
	r = w.send(s.ID, text)
	w.until("some text", 60*time.Second, func() bool { return w.said(s.ID, r.Run) != "" })
	if b, err = w.steer(s.ID, r.Run, "say late"); err != nil {
		t.Fatal(err)
	}
	w.kill()
	w.start()
	for run, want := range map[string]string{r.Run: want, b.Run: "late"} {
		if reason := w.ended(s.ID, run); reason != "end_turn" {
			t.Fatalf("ended by %q", reason)
		}
		if got := w.said(s.ID, run); got != want {
			t.Errorf("said %q, want %q", got, want)
		}
	}
	n := 0
	for _, req := range model.Requests()[len(requests):] {
		if m := req.Messages[len(req.Messages)-1]; m.Role == "user" && strings.Contains(m.Content, "say late") {
			n++
		}
	}
	if n != 1 {
		t.Errorf("the model was asked %d times", n)
	}
	w.whole(s.ID)
	w.cli("stop", "--all")
	w.awaitExit()
}

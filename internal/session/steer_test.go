package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-dev/holdfast/internal/agent"
	"github.com/holdfast-dev/holdfast/internal/keeper"
	"github.com/holdfast-dev/holdfast/internal/said"
	"github.com/holdfast-dev/holdfast/internal/store"
)

// steerable is a catalogue of agents that are steered as Hermes Agent is.
type steerable struct{ oneAgent }

func (steerable) Steering(string) agent.Steering {
	c := agent.New(agent.Options{})
	defer c.Close()
	return c.Steering("hermes")
}

// steering is a session whose run is under way, and the link that reads what
// its agent says. There is no agent: the test speaks for it.
type steering struct {
	t    *testing.T
	m    *Manager
	w    *worker
	l    *link
	id   string
	run  string
	read uint64 // records so far
}

func newSteering(t *testing.T) *steering {
	dir := t.TempDir()
	log := slog.New(slog.DiscardHandler)
	st, err := store.Open(t.Context(), store.Options{Path: filepath.Join(dir, "db"), Log: log, BootID: "b"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if diff, err := st.Verify(context.WithoutCancel(t.Context()), nil); err != nil || len(diff) > 0 {
			t.Errorf("the log does not fold to what is shown: %v, %v", diff, err)
		}
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	m := NewManager(Options{Store: st, Catalogue: steerable{}, Log: log, BootID: "b", Home: dir, Keepers: dir})
	m.closing = true // no worker of its own
	s, _, err := m.Create(t.Context(), New{Agent: "a", Cwd: dir, Title: "t"})
	if err != nil {
		t.Fatal(err)
	}
	ep := store.Epoch{Name: "e", Session: s.ID, Agent: "a", BootID: "b", State: store.EpochReady}
	if err := m.update(func(tx *store.Tx, _ *effects) error { return tx.PutEpoch(ep) }); err != nil {
		t.Fatal(err)
	}
	g := &steering{t: t, m: m, id: s.ID, w: newWorker(m, s.ID)}
	g.l = newLink(g.w, ep)
	g.run = g.send("first")
	g.update(`{"sessionUpdate":"available_commands_update","availableCommands":[{"name":"steer","description":"d"}]}`)
	return g
}

func (g *steering) send(text string) string {
	g.t.Helper()
	a, err := g.m.Send(g.t.Context(), g.id, Message{ClientID: "c" + text, Text: text})
	if err != nil {
		g.t.Fatal(err)
	}
	return a.Run
}

func (g *steering) steer(text string) Accepted {
	g.t.Helper()
	a, err := g.m.Steer(g.t.Context(), g.id, Steer{ClientID: "c" + text, Run: g.run, Text: text})
	if err != nil {
		g.t.Fatal(err)
	}
	return a
}

// says has the agent write a line.
func (g *steering) says(line string) {
	g.t.Helper()
	g.read++
	if err := g.l.apply(g.t.Context(), []entry{decode(keeper.Record{N: g.read, Kind: keeper.KindLine, Data: []byte(line)})}); err != nil {
		g.t.Fatal(err)
	}
}

func (g *steering) update(update string) {
	g.t.Helper()
	g.says(`{"jsonrpc":"2.0","method":"session/update","params":{"sessionId":"s","update":` + update + `}}`)
}

func (g *steering) text(text string) {
	g.t.Helper()
	g.update(fmt.Sprintf(`{"sessionUpdate":"agent_message_chunk","content":{"type":"text","text":%q}}`, text))
}

func (g *steering) takes(text string) {
	g.t.Helper()
	g.text("⏩ Steer queued for the active turn: " + text)
}

func (g *steering) responds(n int, reason string) {
	g.t.Helper()
	g.says(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"result":{"stopReason":%q}}`, n, reason))
}

func (g *steering) tool() {
	g.t.Helper()
	g.update(`{"sessionUpdate":"tool_call","toolCallId":"t","title":"ls","status":"pending"}`)
	g.update(`{"sessionUpdate":"tool_call_update","toolCallId":"t","status":"completed"}`)
}

// lines are the prompts that were put into the outbox.
func (g *steering) lines() (out []string) {
	g.t.Helper()
	lines, err := g.m.Store.Lines(g.t.Context(), "e", 0)
	if err != nil {
		g.t.Fatal(err)
	}
	for _, l := range lines {
		var p struct {
			Params struct{ Prompt []struct{ Text string } }
		}
		if json.Unmarshal(l.Data, &p) == nil && len(p.Params.Prompt) > 0 {
			out = append(out, p.Params.Prompt[0].Text)
		}
	}
	return out
}

// shows compares what the transcript has, kind and text, the state of those
// that steer behind it, and the outbox.
func (g *steering) shows(items, lines []string) {
	g.t.Helper()
	page, err := g.m.Store.Items(g.t.Context(), g.id, 0, 100)
	if err != nil {
		g.t.Fatal(err)
	}
	var got []string
	for _, it := range page.Items {
		var b struct {
			Text, Title string
			Steer       *store.Steer
		}
		if err := json.Unmarshal(it.Body, &b); err != nil {
			g.t.Fatal(err)
		}
		text := it.Kind + " " + b.Text + b.Title
		if b.Steer != nil {
			text += ", " + b.Steer.State
			if it.Run == g.run {
				text += " in the run"
			}
		}
		got = append(got, text)
	}
	if diff := cmp.Diff(items, got); diff != "" {
		g.t.Errorf("the transcript: %s", diff)
	}
	if diff := cmp.Diff(lines, g.lines()); diff != "" {
		g.t.Errorf("the outbox: %s", diff)
	}
}

// is checks the session's row.
func (g *steering) is(run string, queued int, paused bool) {
	g.t.Helper()
	row, err := g.m.Store.Session(g.t.Context(), g.id)
	if err != nil {
		g.t.Fatal(err)
	}
	if row.Run != run || row.Queued != queued || row.Paused != paused {
		g.t.Errorf("run %q, %d wait, paused %v; want %q, %d, %v", row.Run, row.Queued, row.Paused, run, queued, paused)
	}
}

func TestSteerIsReadBehindATool(t *testing.T) {
	g := newSteering(t)
	g.text("Answ")
	a := g.steer("be brief")
	g.shows([]string{"user first", "assistant Answ", "user be brief, sent in the run"}, []string{"first", "/steer be brief"})
	g.takes("be brief")
	g.text("er")
	g.responds(2, "end_turn")
	g.shows([]string{"user first", "assistant Answer", "user be brief, taken in the run"}, []string{"first", "/steer be brief"})
	g.tool()
	if again := g.steer("be brief"); again.Item != a.Item || again.Run != a.Run || again.Seq != a.Seq || again.State != store.SteerRead {
		t.Errorf("repeated: %+v, first %+v", again, a)
	}
	g.is(g.run, 0, false)
	g.responds(1, "end_turn")
	g.shows([]string{"user first", "assistant Answer", "user be brief, read in the run", "tool ls"}, []string{"first", "/steer be brief"})
	g.is("", 0, false)
}

// Taken and not read, it is lost with its run: the host sends it as what it is.
func TestSteerThatNoToolFollows(t *testing.T) {
	g := newSteering(t)
	g.send("second")
	a := g.steer("be brief")
	g.takes("be brief")
	g.responds(2, "end_turn")
	g.text("Answer")
	g.responds(1, "end_turn")
	g.is(a.Run, 1, false)
	g.shows([]string{"user first", "user second", "user be brief, late", "assistant Answer"}, []string{"first", "/steer be brief", "be brief"})
	g.responds(3, "end_turn")
	g.responds(4, "end_turn")
	g.shows([]string{"user first", "user second", "user be brief, late", "assistant Answer"}, []string{"first", "/steer be brief", "be brief", "second"})
	g.is("", 0, false)
}

// A queue that waits for a person does not hold what was said to the agent just
// now.
func TestLateSteerPassesAPausedQueue(t *testing.T) {
	g := newSteering(t)
	waits := g.send("second")
	if err := g.m.SetPaused(t.Context(), g.id, true); err != nil {
		t.Fatal(err)
	}
	a := g.steer("be brief")
	b := g.steer("and kind")
	g.takes("be brief")
	g.takes("and kind")
	g.responds(1, "end_turn")
	g.is(a.Run, 2, true)
	queue, _, err := g.m.Store.Queue(t.Context(), g.id)
	if err != nil || len(queue) != 2 || queue[0].Run != b.Run || queue[1].Run != waits {
		t.Errorf("%+v wait, %v", queue, err)
	}
}

// The agent had no turn any more: it has begun one of it.
func TestSteerThatBeginsATurn(t *testing.T) {
	g := newSteering(t)
	a := g.steer("be brief")
	g.steer("and kind")
	g.responds(1, "end_turn")
	g.is(a.Run, 0, false)
	g.takes("and kind")
	g.responds(3, "end_turn")
	g.text("Brief")
	g.tool()
	g.responds(2, "end_turn")
	g.is("", 0, false)
	g.shows([]string{"user first", "user be brief, late", "user and kind, read", "assistant Brief", "tool ls"},
		[]string{"first", "/steer be brief", "/steer and kind"})
	if it, err := g.m.Store.Items(t.Context(), g.id, 0, 100); err != nil || it.Items[2].Run != a.Run || it.Items[3].Run != a.Run {
		t.Errorf("what followed is not of the run that it began: %v", err)
	}
}

// It was taken while the run ended, and said so behind its response.
func TestSteerTakenByARunThatEnds(t *testing.T) {
	g := newSteering(t)
	a := g.steer("be brief")
	g.responds(1, "end_turn")
	g.takes("be brief")
	g.responds(2, "end_turn")
	g.is(a.Run, 0, false)
	g.text("Brief")
	g.responds(3, "end_turn")
	g.is("", 0, false)
	g.shows([]string{"user first", "user be brief, late", "assistant Brief"}, []string{"first", "/steer be brief", "be brief"})
}

func TestSteerOfAStoppedRunWaits(t *testing.T) {
	for _, answered := range []bool{false, true} {
		g := newSteering(t)
		a := g.steer("be brief")
		if answered {
			g.takes("be brief")
		}
		g.l.accepted.Store(9)
		if err := g.m.Cancel(t.Context(), g.id, g.run); err != nil {
			t.Fatal(err)
		}
		g.responds(1, "cancelled")
		g.takes("be brief")
		g.responds(2, "end_turn")
		g.is("", 1, true)
		g.shows([]string{"user first", "user be brief, late"}, []string{"first", "/steer be brief"})
		if err := g.m.Unqueue(t.Context(), g.id, a.Run); err != nil {
			t.Error(err)
		}
	}
}

func TestSteerThatTheAgentRefuses(t *testing.T) {
	for name, refuse := range map[string]func(*steering){
		"in words":    func(g *steering) { g.text("⚠️ Steer failed: no lock"); g.responds(2, "end_turn") },
		"by an error": func(g *steering) { g.says(`{"jsonrpc":"2.0","id":2,"error":{"code":-32603,"message":"m"}}`) },
		"by a reason": func(g *steering) { g.responds(2, "refusal") },
	} {
		t.Run(name, func(t *testing.T) {
			g := newSteering(t)
			a := g.steer("be brief")
			refuse(g)
			g.is(g.run, 1, false)
			g.shows([]string{"user first", "user be brief, late"}, []string{"first", "/steer be brief"})
			g.responds(1, "end_turn")
			g.is(a.Run, 0, false)
			g.shows([]string{"user first", "user be brief, late"}, []string{"first", "/steer be brief", "be brief"})
		})
	}
}

// The agent ended: the next one has heard nothing of it.
func TestSteerOfAnAgentThatEnds(t *testing.T) {
	g := newSteering(t)
	g.steer("be brief")
	g.w.settle(g.l.ep, ending{notesKnown: true, notes: keeper.Notes{Intent: 1}})
	g.is("", 1, true)
	g.shows([]string{"user first", "user be brief, late"}, []string{"first", "/steer be brief"})
}

func TestSteerOfARunThatBeginsAgain(t *testing.T) {
	g := newSteering(t)
	a := g.steer("be brief")
	g.w.settle(g.l.ep, ending{notesKnown: true})
	queue, paused, err := g.m.Store.Queue(t.Context(), g.id)
	if err != nil || paused || len(queue) != 1 || queue[0].Run != a.Run {
		t.Errorf("%+v wait, paused %v, %v", queue, paused, err)
	}
	if _, run, err := g.m.Store.Live(t.Context(), g.id); err != nil || run.ID != g.run {
		t.Errorf("run %q is next, %v", run.ID, err)
	}
}

func TestSteerWithWhatWaits(t *testing.T) {
	g := newSteering(t)
	waits := g.send("second")
	g.tool()
	st := Steer{ClientID: "s", Run: g.run, Queued: waits}
	a, err := g.m.Steer(t.Context(), g.id, st)
	if err != nil || a.Run != waits || a.State != store.SteerSent {
		t.Fatalf("%+v, %v", a, err)
	}
	g.is(g.run, 0, false)
	if again, err := g.m.Steer(t.Context(), g.id, st); err != nil || again != a {
		t.Errorf("repeated: %+v, %v", again, err)
	}
	g.shows([]string{"user first", "user second, sent in the run", "tool ls"}, []string{"first", "/steer second"})
	g.takes("second")
	g.responds(2, "end_turn")
	g.responds(1, "end_turn")
	g.is(waits, 0, false)
	g.shows([]string{"user first", "user second, late", "tool ls"}, []string{"first", "/steer second", "second"})
}

func TestSteerRefusals(t *testing.T) {
	g := newSteering(t)
	waits := g.send("second")
	g.steer("known")
	file, err := g.m.Store.PutAttachment(t.Context(), "f.txt", "text/plain", []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	withFile, err := g.m.Send(t.Context(), g.id, Message{ClientID: "f", Text: "look", Attachments: []string{file}})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		st   Steer
		want string
	}{
		{"no client id", Steer{Run: g.run, Text: "a"}, CodeBadRequest},
		{"nothing to say", Steer{ClientID: "n", Run: g.run, Text: " "}, CodeBadRequest},
		{"two things", Steer{ClientID: "n", Run: g.run, Text: "a", Queued: waits}, CodeBadRequest},
		{"another text", Steer{ClientID: "cknown", Run: g.run, Text: "a"}, CodeMessageConflict},
		{"a run that waits", Steer{ClientID: "n", Run: waits, Text: "a"}, CodeRunNotCurrent},
		{"a run that never was", Steer{ClientID: "n", Run: "r", Text: "a"}, CodeRunNotCurrent},
		{"the run itself", Steer{ClientID: "n", Run: g.run, Queued: g.run}, CodeNotQueued},
		{"files", Steer{ClientID: "n", Run: g.run, Queued: withFile.Run}, CodeBadRequest},
	} {
		_, err := g.m.Steer(t.Context(), g.id, tt.st)
		var e *Error
		if !errors.As(err, &e) || e.Code != tt.want {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.want)
		}
	}
	sent, err := g.m.Send(t.Context(), g.id, Message{ClientID: "cknown", Text: "known"})
	if err != nil {
		t.Fatal(err)
	}
	refused := func(what, want string) {
		t.Helper()
		_, err := g.m.Steer(t.Context(), g.id, Steer{ClientID: "n", Run: g.run, Text: "a"})
		var e *Error
		if !errors.As(err, &e) || e.Code != want {
			t.Errorf("%s: %v, want %s", what, err, want)
		}
	}
	if err := g.m.Cancel(t.Context(), g.id, g.run); err != nil {
		t.Fatal(err)
	}
	refused("a run that is being stopped", CodeRunNotCurrent)
	g.update(`{"sessionUpdate":"available_commands_update","availableCommands":[{"name":"help","description":"d"}]}`)
	refused("an agent without the command", CodeCannotSteer)

	err = g.m.update(func(tx *store.Tx, fx *effects) error {
		run, err := tx.Run(g.run)
		if err == nil {
			err = tx.PutRun(store.Run{ID: sent.Run, Session: g.id, Item: sent.Item, State: store.RunStateEnded, Steer: store.SteerRead})
		}
		if err == nil {
			err = g.m.endRun(tx, run, store.Cancelled, said.Words{}, true, fx)
		}
		if err == nil {
			err = g.m.dropWaiting(tx, g.id, said.Words{}, fx)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var e *Error
	if _, err := g.m.Rewind(t.Context(), g.id, sent.Item); !errors.As(err, &e) || e.Code != CodeNotFound {
		t.Errorf("rewind to what was said into a run: %v", err)
	}
}

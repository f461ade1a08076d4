package e2e

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

func steerable(t *testing.T) *world { return newWorld(t, agentEnv{"SCRIPT_AGENT_STEER": "1"}, "") }

// steer says something into a run, again and again where no answer came: the
// host may die in the middle. It returns what the host refused it with.
func (w *world) steer(session, run, text string) (accepted, error) {
	w.t.Helper()
	var a accepted
	var err error
	w.until("an answer to the steering", 20*time.Second, func() bool {
		err = w.call("POST", "/api/v1/sessions/"+session+"/steer", map[string]any{"client_id": "c-" + text, "run": run, "text": text}, &a)
		_, refused := err.(*problem)
		if err != nil && !refused {
			select {
			case <-w.done:
				w.start()
			default:
			}
		}
		return err == nil || refused
	})
	return a, err
}

// steerState is how a message stands, and the run that it belongs to.
func (w *world) steerState(session, id string) (state, run string) {
	w.t.Helper()
	for _, it := range w.items(session) {
		if it.ID == id {
			return it.Body.Steer.State, it.Run
		}
	}
	return "", ""
}

// steeredAt starts a host that dies at a place, if one is named, has a run
// steered that says "one" first, and starts it again.
func (w *world) steeredAt(place, script string) (s sessionRow, a, b accepted) {
	w.t.Helper()
	var places []string
	if place != "" {
		places = []string{place}
	}
	w.start(places...)
	armed := w.host
	s = w.newSession()
	a = w.send(s.ID, script)
	w.until("the run", 10*time.Second, func() bool { return w.said(s.ID, a.Run) == "one" })
	b, err := w.steer(s.ID, a.Run, "be brief")
	if err != nil {
		w.t.Fatal(err)
	}
	if place != "" && w.host == armed { // it died after it had answered
		w.awaitExit()
		w.start()
	}
	return s, a, b
}

// TestHostDiesAtSteer kills the host around the line that steers: the agent is
// told once and says so once, and no word of that is in the answer.
func TestHostDiesAtSteer(t *testing.T) {
	t.Parallel()
	for _, place := range []string{
		"", "host.push.steer=kill", "host.pushed.steer=kill", "host.accepted=kill@4",
	} {
		t.Run(place, func(t *testing.T) {
			t.Parallel()
			w := steerable(t)
			s, a, b := w.steeredAt(place, "say one\ntool t execute ls\nawait-steer\ntool-done t\nsay two")
			if reason := w.ended(s.ID, a.Run); reason != "end_turn" {
				t.Fatalf("ended by %q", reason)
			}
			if got := w.said(s.ID, a.Run); got != "one[steered: be brief]two" {
				t.Errorf("said %q", got)
			}
			if state, run := w.steerState(s.ID, b.Item); state != "read" || run != a.Run {
				t.Errorf("it is %s, of run %s; want read, of %s", state, run, a.Run)
			}
			if again, err := w.steer(s.ID, a.Run, "be brief"); err != nil || again.Item != b.Item || again.Run != b.Run || again.Seq != b.Seq || again.State != "read" {
				t.Errorf("repeated: %+v, %v; first %+v", again, err, b)
			}
			if n := len(w.heard(`"/steer be brief"`)); n != 1 {
				t.Errorf("the agent was told %d times", n)
			}
			if n := len(w.heard(`"session/prompt"`)); n != 2 {
				t.Errorf("the agent got %d prompts", n)
			}
			w.whole(s.ID)
		})
	}
}

// TestLateSteer: what no call follows is the next message, once, also where the
// host dies when it sends that.
func TestLateSteer(t *testing.T) {
	t.Parallel()
	for _, place := range []string{"", "host.push.prompt=kill@2", "host.pushed.prompt=kill@2"} {
		t.Run(place, func(t *testing.T) {
			t.Parallel()
			w := steerable(t)
			s, a, b := w.steeredAt(place, "say one\nawait-steer\nsay two")
			for run, want := range map[string]string{a.Run: "onetwo", b.Run: "be brief"} {
				if reason := w.ended(s.ID, run); reason != "end_turn" {
					t.Fatalf("ended by %q", reason)
				}
				if got := w.said(s.ID, run); got != want {
					t.Errorf("said %q, want %q", got, want)
				}
			}
			if state, run := w.steerState(s.ID, b.Item); state != "late" || run != b.Run {
				t.Errorf("it is %s, of run %s; want late, of %s", state, run, b.Run)
			}
			if n := len(w.heard(`"session/prompt"`)); n != 3 {
				t.Errorf("the agent got %d prompts", n)
			}
			w.refused(409, "run_not_current", "POST", "/api/v1/sessions/"+s.ID+"/steer", map[string]any{"client_id": "n", "run": a.Run, "text": "x"})
			w.whole(s.ID)
		})
	}
}

// TestSteersThroughKills says something into turns at random moments and kills
// the host at others: each is read once, in the turn or as a message after it.
func TestSteersThroughKills(t *testing.T) {
	t.Parallel()
	long(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	w := steerable(t)
	w.start()
	s := w.newSession()
	var taken []accepted
	var texts []string
	for turn := range 12 {
		var script strings.Builder
		for i := range 4 {
			fmt.Fprintf(&script, "stream 4 10ms\ntool t%d execute ls\nsleep 20ms\ntool-done t%d\n", i, i)
		}
		a := w.send(s.ID, script.String()+"stream 10 10ms")
		for i := range 3 {
			time.Sleep(time.Duration(rng.IntN(150)) * time.Millisecond)
			text := fmt.Sprintf("s%d-%d.", turn, i)
			b, err := w.steer(s.ID, a.Run, text)
			if p, refused := err.(*problem); refused {
				if p.Code != "run_not_current" && p.Code != "cannot_steer" { // the agent may not be up
					t.Fatal(p)
				}
			} else {
				taken, texts = append(taken, b), append(texts, text)
			}
			if rng.IntN(2) == 0 {
				time.Sleep(time.Duration(rng.IntN(30)) * time.Millisecond)
				w.kill()
				w.start()
			}
		}
		w.until("rest", 60*time.Second, func() bool { row := w.session(s.ID); return row.Run == "" && row.State == "idle" })
	}
	counts := map[string]int{}
	for i, b := range taken {
		state, run := w.steerState(s.ID, b.Item)
		counts[state]++
		read := 0
		for _, it := range w.items(s.ID) {
			if it.Kind == "assistant" {
				read += strings.Count(it.Body.Text, texts[i])
				if strings.Contains(it.Body.Text, "⏩") {
					t.Errorf("an acknowledgement is in the answer %q", it.Body.Text)
				}
			}
		}
		if read != 1 || state != "read" && state != "late" || (state == "late") != (run == b.Run) {
			t.Errorf("%s is %s, of its own run: %v, and the agent has read it %d times", texts[i], state, run == b.Run, read)
		}
	}
	t.Logf("%d said: %v", len(taken), counts)
	if counts["read"] == 0 || counts["late"] == 0 {
		t.Error("the test did not come by both ways")
	}
	w.whole(s.ID)
}

package e2e

import (
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestRandomKills kills the host at random moments of streaming turns, a
// quarter of the times within 50 ms of a start.
func TestRandomKills(t *testing.T) {
	t.Parallel()
	kills := 200
	if s := os.Getenv("HOLDFAST_TEST_KILLS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		kills = n
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d, %d kills", seed, kills)
	rng := rand.New(rand.NewPCG(seed, 1))

	w := newWorld(t, nil, "")
	w.start()
	s := w.newSession()
	f := w.follow(s.ID, "")
	type turn struct {
		run, want string
		answer    bool
	}
	var turns []turn
	begin := func() turn {
		text, want := stream(150, "10ms", uint64(len(turns)+100))
		if len(turns)%3 == 0 {
			text = "ask q" + strconv.Itoa(len(turns)) + " Go on\n" + text
		}
		tu := turn{run: w.send(s.ID, text).Run, want: want, answer: len(turns)%3 == 0}
		turns = append(turns, tu)
		return tu
	}
	current := begin()
	over := func() bool {
		for _, e := range f.seen() {
			if e.Kind == "run.ended" && e.Run == current.run {
				return true
			}
		}
		return false
	}
	answer := func() {
		if !current.answer {
			return
		}
		var page struct{ Approvals []approval }
		if w.call("GET", "/api/v1/approvals?state=pending", nil, &page) == nil && len(page.Approvals) == 1 {
			_ = w.call("POST", "/api/v1/approvals/"+page.Approvals[0].ID, map[string]any{"option": "allow_once", "client_id": "k"}, nil)
		}
	}
	for i := range kills {
		if i%4 == 3 { // hardly up: perhaps not even that
			w.kill()
			w.launch()
			time.Sleep(time.Duration(rng.IntN(50)) * time.Millisecond)
			w.kill()
			w.launch()
			w.awaitHealthy()
			continue
		}
		if over() {
			current = begin()
		}
		answer()
		time.Sleep(time.Duration(rng.IntN(400)) * time.Millisecond)
		w.kill()
		w.launch()
		w.awaitHealthy()
	}
	w.until("the last run", 60*time.Second, func() bool { answer(); return over() })
	answers := 0
	for i, tu := range turns {
		if reason := w.ended(s.ID, tu.run); reason != "end_turn" {
			t.Errorf("turn %d ended by %q", i, reason)
		}
		got := w.said(s.ID, tu.run)
		want := tu.want
		if tu.answer {
			answers++
			want = "[answer q" + strconv.Itoa(i) + ": allow_once]" + want
		}
		if got != want {
			t.Errorf("turn %d said\n%q, want\n%q", i, got, want)
		}
	}
	if n := len(w.heard(`"session/prompt"`)); n != len(turns) {
		t.Errorf("%d prompts reached the agent, want %d", n, len(turns))
	}
	if n := len(w.heard(`"selected"`)); n != answers {
		t.Errorf("%d answers reached the agent, want %d", n, answers)
	}
	if n := len(w.heard(`"initialize"`)); n != 1 {
		t.Errorf("%d agents were started, want 1", n)
	}
	if lives := strings.Count(w.out.String(), "the host serves"); lives < kills*3/4 {
		t.Errorf("only %d of %d hosts lived: the kills hit nothing", lives, kills)
	}
	f.gapless(t)
	w.whole(s.ID)
}

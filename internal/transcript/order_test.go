package transcript

import (
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/internal/store"
)

// A message that was sent in the midst of an answer is read after it, also where
// hundreds of items lie between.
func TestMessageThatWaitedIsReadBeforeItsAnswer(t *testing.T) {
	s := openStore(t)
	now := time.Now()
	err := s.Update(store.Durable, func(tx *store.Tx) error {
		if _, err := tx.CreateSession(store.Session{ID: "s", Title: "t", Agent: "a", Cwd: "/"}); err != nil {
			return err
		}
		add := func(run string, kind store.Kind, body any) {
			if _, err := tx.Append("s", run, kind, body); err != nil {
				t.Fatalf("%s: %v", kind, err)
			}
		}
		say := func(run, item, text string) {
			add(run, store.TextDelta, store.DeltaBody{Item: item, Text: text})
			add(run, store.ItemClosed, store.ClosedBody{Item: item})
		}
		ask := func(run, text string) {
			add(run, store.MessageUser, store.MessageBody{Item: "u-" + run, Text: text, ClientID: run})
			if err := tx.PutRun(store.Run{ID: run, Session: "s", Item: "u-" + run, State: store.RunStateEnded, Reason: store.EndTurn, QueuedAt: now, StartedAt: now, EndedAt: now}); err != nil {
				t.Fatal(err)
			}
		}
		ask("r1", "first question")
		say("r1", "a1", "first answer begins")
		ask("r3", "third question") // it was put behind the next one
		ask("r2", "second question")
		for i := range 300 {
			add("r1", store.NoticeGiven, store.NoticeBody{Item: "n" + strings.Repeat("x", i), Level: "info", Text: "step"})
		}
		say("r1", "a2", "first answer ends")
		say("r2", "a3", "second answer")
		say("r3", "a4", "third answer")
		ask("r4", "never answered")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	row, err := s.Session(t.Context(), "s")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []Format{Markdown, HTML} {
		text, at := export(t, s, row, f), 0
		for _, want := range []string{"first question", "first answer begins", "first answer ends", "second question", "second answer", "third question", "third answer", "never answered"} {
			next := strings.Index(text[at:], want)
			if next < 0 || strings.Count(text, want) != 1 {
				t.Fatalf("%s: %q is not where it is read:\n%.3000s", f, want, text)
			}
			at += next
		}
	}
}

// A message that waited and was said into a run is read where it was said, in
// lines too, which have it there for who imports them.
func TestMessageSaidIntoARunIsReadWhereItWasSaid(t *testing.T) {
	s := openStore(t)
	err := s.Update(store.Durable, func(tx *store.Tx) error {
		if _, err := tx.CreateSession(store.Session{ID: "s", Title: "t", Agent: "a", Cwd: "/"}); err != nil {
			return err
		}
		add := func(run string, kind store.Kind, body any) {
			if _, err := tx.Append("s", run, kind, body); err != nil {
				t.Fatalf("%s: %v", kind, err)
			}
		}
		ask := func(run, text string) {
			add(run, store.MessageUser, store.MessageBody{Item: "u-" + run, Text: text, ClientID: run})
			if err := tx.PutRun(store.Run{ID: run, Session: "s", Item: "u-" + run, State: store.RunStateEnded, Reason: store.EndTurn, QueuedAt: tx.Now(), StartedAt: tx.Now(), EndedAt: tx.Now()}); err != nil {
				t.Fatal(err)
			}
		}
		say := func(run, item, text string) {
			add(run, store.TextDelta, store.DeltaBody{Item: item, Text: text})
			add(run, store.ItemClosed, store.ClosedBody{Item: item})
		}
		into := func(run, own string) {
			add(run, store.MessageSteered, store.SteeredBody{Item: "u-" + own, State: store.SteerRead, Own: own})
		}
		ask("r1", "the question")
		ask("own", "be brief")
		ask("last", "and stop")
		say("r1", "a1", "a long answer begins")
		into("r1", "own")
		say("r1", "a2", "the answer ends")
		into("r1", "last")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	row, err := s.Session(t.Context(), "s")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []Format{Markdown, HTML, Lines} {
		text, at := export(t, s, row, f), 0
		for _, want := range []string{"the question", "a long answer begins", "be brief", "the answer ends", "and stop"} {
			next := strings.Index(text[at:], want)
			if next < 0 || strings.Count(text, want) != 1 {
				t.Fatalf("%s: %q is not where it is read:\n%.3000s", f, want, text)
			}
			at += next
		}
		if f == Lines && strings.Count(text, `"run":"r1"`) != 5 {
			t.Errorf("not all is of the run:\n%s", text)
		}
	}
}

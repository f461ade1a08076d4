package store

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestFoldTool(t *testing.T) {
	at := time.UnixMilli(1_800_000_000_500).UTC()
	base := `{"kind":"execute","status":"pending","title":"ls","tool_call_id":"c"}`
	text := func(s string) string { return `{"content":{"text":"` + s + `","type":"text"},"type":"content"}` }
	update := func(u ToolUpdate) entry {
		body, err := encode(u)
		if err != nil {
			t.Fatal(err)
		}
		return entry{kind: ToolUpdated, body: body}
	}
	set := func(k, v string) entry {
		return update(ToolUpdate{Set: map[string]json.RawMessage{k: json.RawMessage(v)}})
	}
	add := func(i int, s string) entry { return update(ToolUpdate{Append: &ToolAppend{Index: i, Text: s}}) }
	closed, err := encode(ClosedBody{Item: "i", Status: "completed", EndedAt: &at})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name    string
		entries []entry
		want    string
	}{
		{"nothing", nil, base},
		{"set replaces", []entry{set("status", `"in_progress"`)}, strings.Replace(base, "pending", "in_progress", 1)},
		{"append makes the entry", []entry{add(0, "a"), add(0, "b")}, `{"content":[` + text("ab") + `],` + base[1:]},
		{"append to one of two", []entry{set("content", `[`+text("x")+`,`+text("y")+`]`), add(1, "<z>")}, `{"content":[` + text("x") + `,` + text("y<z>") + `],` + base[1:]},
		{"set of the content drops appends", []entry{add(0, "a"), set("content", `[]`)}, `{"content":[],` + base[1:]},
		{"an index far behind the end", []entry{add(7, "a")}, `{"content":[` + text("a") + `],` + base[1:]},
		{"an index before the begin", []entry{add(-1, "a")}, base},
		{"closed", []entry{{kind: ItemClosed, body: closed}}, `{"ended_at":"` + at.Format("2006-01-02T15:04:05.000Z") + `",` + strings.Replace(base[1:], "pending", "completed", 1)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := foldItem(Item{ID: "i", Kind: ItemTool, Body: json.RawMessage(base)}, tt.entries, nil)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestWhatCannotBeAppended(t *testing.T) {
	s := newStore(t)
	session, other := newSession(t, s), newSession(t, s)
	appendTo(t, s, session, TextDelta, DeltaBody{Item: "text", Text: "a"})
	appendTo(t, s, session, TextDelta, DeltaBody{Item: "done", Text: "a"})
	appendTo(t, s, session, ItemClosed, ClosedBody{Item: "done"})
	last := s.Last()
	for _, tt := range []struct {
		name    string
		session string
		kind    Kind
		body    any
		want    error // nil: any
	}{
		{"no such session", "none", UsageChanged, nil, ErrNotFound},
		{"delta of a closed item", session, TextDelta, DeltaBody{Item: "done", Text: "b"}, ErrItemClosed},
		{"item of another session", other, TextDelta, DeltaBody{Item: "text", Text: "b"}, nil},
		{"thought about a text", session, ThoughtDelta, DeltaBody{Item: "text", Text: "b"}, nil},
		{"close of nothing", session, ItemClosed, ClosedBody{Item: "none"}, ErrNotFound},
		{"update of nothing", session, ToolUpdated, ToolUpdate{Item: "none"}, ErrNotFound},
		{"item made twice", session, MessageUser, MessageBody{Item: "text"}, ErrExists},
		{"no item named", session, TextDelta, DeltaBody{Text: "b"}, nil},
		{"answer to nothing", session, ApprovalResolved, ResolvedBody{ID: "none"}, ErrNotFound},
		{"approval without an id", session, ApprovalRequested, Approval{Session: session, State: ApprovalPending}, nil},
		{"not JSON", session, AgentRaw, json.RawMessage("{"), nil},
		{"wrong JSON", session, RunStarted, json.RawMessage(`{"run":1}`), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := s.Update(Relaxed, func(tx *Tx) error {
				_, err := tx.Append(tt.session, "", tt.kind, tt.body)
				return err
			})
			if err == nil || errors.Is(err, ErrCommit) || (tt.want != nil && !errors.Is(err, tt.want)) {
				t.Errorf("%v, want %v", err, tt.want)
			}
		})
	}
	if s.Last() != last {
		t.Errorf("the log ends with %d, it was %d", s.Last(), last)
	}
	verified(t, s)
}

// A message that waited is said into a run, and comes too late for it.
func TestSteeredMessageChangesItsRun(t *testing.T) {
	s := newStore(t)
	session := newSession(t, s)
	appendAs := func(run string, kind Kind, body any) Event {
		t.Helper()
		var ev Event
		err := s.Update(Durable, func(tx *Tx) (err error) {
			ev, err = tx.Append(session, run, kind, body)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return ev
	}
	item := func(id string) (Item, MessageBody) {
		t.Helper()
		it, err := s.Item(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		var b MessageBody
		if err := json.Unmarshal(it.Body, &b); err != nil {
			t.Fatal(err)
		}
		return it, b
	}
	appendAs("own", MessageUser, MessageBody{Item: "waited", Text: "a"})
	appendAs("own", RunQueued, RunBody{Run: "own", Item: "waited"})
	said := appendAs("under way", MessageSteered, SteeredBody{Item: "waited", State: SteerSent, Own: "own"})
	appendAs("under way", MessageUser, MessageBody{Item: "typed", Text: "b", Steer: &Steer{State: SteerSent}})
	appendAs("under way", MessageSteered, SteeredBody{Item: "typed", State: SteerTaken, Own: "other"})

	it, b := item("waited")
	if it.Run != "under way" || b.Text != "a" || b.Steer == nil || *b.Steer != (Steer{State: SteerSent, Seq: said.Seq}) {
		t.Errorf("the one that waited is of run %q with %+v", it.Run, b.Steer)
	}
	if _, b := item("typed"); *b.Steer != (Steer{State: SteerTaken}) {
		t.Errorf("the one that was typed has %+v", b.Steer)
	}
	row, err := s.Session(t.Context(), session)
	if err != nil || row.Queued != 0 {
		t.Errorf("%d messages wait, %v", row.Queued, err)
	}
	appendAs("own", MessageSteered, SteeredBody{Item: "waited", State: SteerLate, Own: "own"})
	if it, b := item("waited"); it.Run != "own" || b.Steer.State != SteerLate {
		t.Errorf("late it is of run %q with %+v", it.Run, b.Steer)
	}
	if diff, err := s.Verify(t.Context(), nil); err != nil || len(diff) > 0 {
		t.Errorf("%v, %v", diff, err)
	}
}

// One that had waited from before a page is with that in which it was said.
func TestPageHasWhatWasSaidIntoIt(t *testing.T) {
	s := newStore(t)
	session := newSession(t, s)
	err := s.Update(Durable, func(tx *Tx) error {
		add := func(run string, kind Kind, body any) int64 {
			ev, err := tx.Append(session, run, kind, body)
			if err != nil {
				t.Error(err)
			}
			return ev.Seq
		}
		add("own", MessageUser, MessageBody{Item: "waited", Text: "a"})
		for i := range 10 {
			if i == 5 {
				add("r", MessageSteered, SteeredBody{Item: "waited", State: SteerSent, Own: "own"})
			}
			add("r", NoticeGiven, NoticeBody{Item: "n" + string(rune('0'+i)), Level: "info", Text: "x"})
		}
		return tx.PutRun(Run{ID: "own", Session: session, Item: "waited", State: RunStateSteering, Steer: SteerSent})
	})
	if err != nil {
		t.Fatal(err)
	}
	newest, err := s.Items(t.Context(), session, 0, 3) // n7 n8 n9
	if err != nil || len(newest.Messages) != 0 || len(newest.Runs) != 0 {
		t.Errorf("behind it: %+v, %+v, %v", newest.Messages, newest.Runs, err)
	}
	older, err := s.Items(t.Context(), session, newest.Items[0].Seq, 4) // n3 to n6
	if err != nil || len(older.Messages) != 1 || older.Messages[0].Item.ID != "waited" {
		t.Fatalf("with it: %+v, %v", older.Messages, err)
	}
	if at := older.Messages[0].Before; at <= older.Items[1].Seq || at >= older.Items[2].Seq {
		t.Errorf("it was said at %d, the items are at %d to %d", at, older.Items[0].Seq, older.Items[3].Seq)
	}
	// Read forth it comes once, too, also where a page ends just before it was said.
	var said []string
	for after := older.Items[0].Seq - 2; ; {
		p, err := s.ItemsFrom(t.Context(), session, after, 1)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range p.Messages {
			said = append(said, m.Item.ID+" "+p.Items[0].ID)
		}
		if !p.Newer {
			break
		}
		after = p.Items[0].Seq
	}
	if !slices.Equal(said, []string{"waited n5"}) {
		t.Errorf("forth it was said: %v", said)
	}
	if oldest, err := s.Items(t.Context(), session, older.Items[0].Seq, 9); err != nil || len(oldest.Messages) != 0 || oldest.Items[0].ID != "waited" {
		t.Errorf("where it was sent: %+v, %v", oldest, err)
	}
}

package store

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestRewind: what is taken back is in no page and no hit, stays in the log, and
// the log folds to that.
func TestRewind(t *testing.T) {
	s := newStore(t)
	id := newSession(t, s)
	appendTo(t, s, id, MessageUser, MessageBody{Item: "m1", Text: "first needle"})
	appendTo(t, s, id, MessageUser, MessageBody{Item: "m2", Text: "second needle"})
	appendTo(t, s, id, TextDelta, DeltaBody{Item: "a", Text: "answer needle"})
	appendTo(t, s, id, ItemClosed, ClosedBody{Item: "a"})
	searched(t, s)
	update(t, s, Durable, func(tx *Tx) error { return tx.Rewind(id, "m2") })
	appendTo(t, s, id, MessageUser, MessageBody{Item: "m3", Text: "third needle"})
	for range 2 {
		p, err := s.Items(t.Context(), id, 0, 10)
		if err != nil || len(p.Items) != 2 || p.Items[0].ID != "m1" || p.Items[1].ID != "m3" {
			t.Errorf("the transcript is %+v, %v", p.Items, err)
		}
		verified(t, s)
		forgetOpen(t, s)
	}
	searched(t, s)
	if got := found(t, s, "needle"); len(got) != 2 {
		t.Errorf("found %v", got)
	}
	for _, item := range []string{"m2", "a", "none"} {
		if err := s.Update(Durable, func(tx *Tx) error { return tx.Rewind(id, item) }); err == nil {
			t.Errorf("rewound to %s", item)
		}
	}
}

// TestCopyThatIsNotFinished is in no list, and gone with the next life.
func TestCopyThatIsNotFinished(t *testing.T) {
	path := filepath.Join(t.TempDir(), "holdfast.db")
	s := openAt(t, path)
	id := newSession(t, s)
	long := strings.Repeat("0123456789", 60_000)
	appendTo(t, s, id, ToolStarted, ToolBody{Item: "tool", ToolCallID: "c", Kind: "execute", Status: "pending"})
	appendTo(t, s, id, ToolUpdated, ToolUpdate{Item: "tool", Append: &ToolAppend{Text: long}})
	appendTo(t, s, id, ItemClosed, ClosedBody{Item: "tool"})
	make := func(name string) {
		update(t, s, Durable, func(tx *Tx) error {
			if _, err := tx.CreateSession(Session{ID: name, Agent: "a", Cwd: "/", Building: true}); err != nil {
				return err
			}
			return tx.CopyItem(name, item(t, s, "tool"))
		})
	}
	make("half")
	make("whole")
	update(t, s, Durable, func(tx *Tx) error { return tx.FinishSession("whole") })
	if got, _ := listed(t, s, SessionsFilter{}, "", 10); len(got) != 2 || got[0] != "whole" {
		t.Errorf("listed %v", got)
	}
	update(t, s, Durable, func(tx *Tx) error { return tx.DeleteSession(id) })
	verified(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openAt(t, path)
	eventually(t, "the half copy is gone", func() bool { _, err := s.Session(t.Context(), "half"); return err != nil })
	p, err := s.Items(t.Context(), "whole", 0, 10)
	if err != nil || len(p.Items) != 1 {
		t.Fatalf("%+v, %v", p, err)
	}
	_, rest, _ := strings.Cut(string(p.Items[0].Body), `"blob":"`)
	blob, _, _ := strings.Cut(rest, `"`)
	if data, err := s.Blob(t.Context(), blob); err != nil || string(data) != long {
		t.Errorf("the copy's output has %d bytes, %v", len(data), err)
	}
	verified(t, s)
}

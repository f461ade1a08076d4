package store

import (
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestAttachmentsAreRemoved: when no message names one any more, or none ever did.
func TestAttachmentsAreRemoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "holdfast.db")
	var days atomic.Int64
	clock := func(o *Options) {
		o.Now = func() time.Time { return time.Now().Add(time.Duration(days.Load()) * 24 * time.Hour) }
	}
	s := openAt(t, path, clock)
	put := func(name string) string {
		t.Helper()
		id, err := s.PutAttachment(t.Context(), name, "text/plain", []byte(name))
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	has := func(id string) bool {
		t.Helper()
		yes, err := s.HasAttachment(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		return yes
	}
	never, one, both, kept := put("never sent"), put("in one"), put("in a session and its copy"), put("in one that stays")
	first, second, third := newSession(t, s), newSession(t, s), newSession(t, s)
	appendTo(t, s, first, MessageUser, MessageBody{Item: "u1", Text: "x", Attachments: []string{one, both}})
	appendTo(t, s, third, MessageUser, MessageBody{Item: "u3", Text: "x", Attachments: []string{kept}})
	it, err := s.Item(t.Context(), "u1")
	if err != nil {
		t.Fatal(err)
	}
	it.Body = []byte(strings.Replace(string(it.Body), one+`","`, "", 1))
	update(t, s, Durable, func(tx *Tx) error { return tx.CopyItem(second, it) })
	update(t, s, Durable, func(tx *Tx) error { return tx.Rewind(third, "u3") }) // what is taken back is kept

	// Within the day nothing goes.
	update(t, s, Durable, func(tx *Tx) error {
		_, err := tx.dropAttachments()
		return err
	})
	for _, id := range []string{never, one, both, kept} {
		if !has(id) {
			t.Errorf("%s went on its first day", id)
		}
	}
	days.Store(2)
	late := put("still on its way")
	update(t, s, Durable, func(tx *Tx) error { return tx.TrashSession(first) })
	other := newSession(t, s)
	update(t, s, Durable, func(tx *Tx) error { return tx.DeleteSession(other) }) // the end of a deletion has it looked at
	eventually(t, "what was never sent", func() bool { return !has(never) })
	if !has(one) {
		t.Error("a session in the trash has lost a file")
	}
	update(t, s, Durable, func(tx *Tx) error { return tx.DeleteSession(first) })
	eventually(t, "what only the deleted session named", func() bool { return !has(one) })
	for _, id := range []string{both, kept, late} {
		if !has(id) {
			t.Errorf("%s is gone", id)
		}
	}
	update(t, s, Durable, func(tx *Tx) error { return tx.DeleteSession(second) })
	eventually(t, "what the copy named", func() bool { return !has(both) })

	// The index is there for this question.
	var plan string
	if err := s.view(t.Context(), func(q *reading) error {
		rows, err := q.query("EXPLAIN QUERY PLAN "+unnamed, 0)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var id, parent, x int
			var text string
			if err := rows.Scan(&id, &parent, &x, &text); err != nil {
				return err
			}
			plan += text + "\n"
		}
		return rows.Err()
	}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(plan, "items_files") {
		t.Errorf("the plan is\n%s", plan)
	}
}

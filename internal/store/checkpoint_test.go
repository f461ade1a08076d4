package store

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A log that grew is cut when the writer rests, unless a reader is in it: then
// the writer does not wait for that one, and the log is cut after it.
func TestLogIsCutWhenIdle(t *testing.T) {
	s := openAt(t, filepath.Join(t.TempDir(), "holdfast.db"))
	session := newSession(t, s)
	text := strings.Repeat("x", 60<<10)
	n := 0
	write := func() {
		t.Helper()
		n++
		err := s.Update(Relaxed, func(tx *Tx) error {
			_, err := tx.Append(session, "", NoticeGiven, NoticeBody{Item: session + number(n), Text: text})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	until := func(what string, cond func() bool) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); !cond(); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: the log is still %d long", what, s.WAL())
			}
		}
	}
	for s.WAL() < 2*walKeep {
		write()
	}
	until("when idle", func() bool { return s.WAL() == 0 })

	// Again, with a reader that holds a snapshot.
	rows, err := s.read.QueryContext(t.Context(), "SELECT id FROM events")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	rows.Next()
	for s.WAL() < 2*walKeep {
		write()
	}
	start := time.Now()
	again := func() {
		t.Helper()
		err := s.Update(Relaxed, func(tx *Tx) error {
			tx.w.chores.tidied = time.Time{} // at the next rest, not in half a minute
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	again()
	time.Sleep(walRest + 500*time.Millisecond)
	if s.WAL() == 0 {
		t.Fatal("the log was cut under a reader")
	}
	write()
	if took := time.Since(start) - walRest - 500*time.Millisecond; took > 2*time.Second {
		t.Errorf("the writer waited %s for a reader", took)
	}
	rows.Close()
	again()
	until("after the reader", func() bool { return s.WAL() == 0 })
	verified(t, s)
}

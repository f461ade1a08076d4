package store

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// three makes three sessions, in which something was said in the order a, b, c.
func three(t *testing.T, s *Store) {
	t.Helper()
	update(t, s, Relaxed, func(tx *Tx) error {
		tx.w.activityEvery = 0 // rows are told of everything at once
		return nil
	})
	for _, id := range []string{"a", "b", "c"} {
		update(t, s, Durable, func(tx *Tx) error {
			_, err := tx.CreateSession(Session{ID: id, Agent: "x", Cwd: "/"})
			return err
		})
		appendTo(t, s, id, NoticeGiven, NoticeBody{Item: "n" + id, Level: "info", Text: "."})
	}
}

func order(t *testing.T, s *Store) string {
	t.Helper()
	ids, _ := listed(t, s, SessionsFilter{}, "", 10)
	return strings.Join(ids, "")
}

// What a person sets, and what the host says of its agents, moves no session in
// the list, nor does it change when it was active last; yet each such row is
// newer than the one before it.
func TestHousekeepingMovesNothing(t *testing.T) {
	s := newStore(t)
	three(t, s)
	yes, no, tags, project := true, false, []string{"x"}, "p"
	for _, c := range []struct {
		name string
		do   func(tx *Tx) error
	}{
		{"pin", func(tx *Tx) error { return tx.SetTraits("a", Traits{Pinned: &yes}) }},
		{"unpin", func(tx *Tx) error { return tx.SetTraits("a", Traits{Pinned: &no}) }},
		{"tag", func(tx *Tx) error { return tx.SetTraits("a", Traits{Tags: &tags}) }},
		{"project", func(tx *Tx) error { return tx.SetTraits("a", Traits{Project: &project}) }},
		{"rename", func(tx *Tx) error { return tx.SetTitle("a", "named", true) }},
		{"the agent's title", func(tx *Tx) error { return tx.SetTitle("a", "other", false) }},
		{"archive and back", func(tx *Tx) error {
			if err := tx.SetTraits("a", Traits{Archived: &yes}); err != nil {
				return err
			}
			return tx.SetTraits("a", Traits{Archived: &no})
		}},
		{"the agent ends", func(tx *Tx) error {
			_, err := tx.Append("a", "", AgentState, AgentStateBody{State: "ended"})
			return err
		}},
		{"the queue is paused", func(tx *Tx) error {
			_, err := tx.Append("a", "", QueueChanged, QueueBody{Paused: true})
			return err
		}},
	} {
		before, err := s.Session(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Millisecond) // times are in milliseconds: a moved one would show
		update(t, s, Durable, c.do)
		after, err := s.Session(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		if !after.LastAt.Equal(before.LastAt) || after.Activity != before.Activity {
			t.Errorf("%s: active at %v (%d), before %v (%d)", c.name, after.LastAt, after.Activity, before.LastAt, before.Activity)
		}
		if c.name != "the agent's title" && after.LastEvent <= before.LastEvent {
			t.Errorf("%s: the row is not newer", c.name)
		}
		if got := order(t, s); got != "cba" {
			t.Errorf("%s: the list is %s", c.name, got)
		}
	}
	update(t, s, Durable, func(tx *Tx) error { return tx.TrashSession("a") })
	update(t, s, Durable, func(tx *Tx) error { return tx.RestoreSession("a") })
	if got := order(t, s); got != "cba" {
		t.Errorf("out of the trash: the list is %s", got)
	}
	appendTo(t, s, "a", RunQueued, RunBody{Run: "r"})
	if got := order(t, s); got != "acb" {
		t.Errorf("after a message: the list is %s", got)
	}
	verified(t, s)
	path := s.Path()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openAt(t, path)
	update(t, s, Relaxed, func(tx *Tx) error { return tx.SetTraits("b", Traits{Pinned: &yes}) }) // a row that is read first
	if got := order(t, s); got != "acb" {
		t.Errorf("in the next life: the list is %s", got)
	}
	verified(t, s)
}

// The trash is in the order of what was deleted, page by page.
func TestTrashIsInTheOrderOfDeletion(t *testing.T) {
	s := newStore(t)
	three(t, s)
	for _, id := range []string{"b", "c", "a"} {
		update(t, s, Durable, func(tx *Tx) error { return tx.TrashSession(id) })
	}
	var got []string
	for page := ""; ; {
		ids, next := listed(t, s, SessionsFilter{Deleted: true}, page, 1)
		got = append(got, ids...)
		if page = next; next == "" {
			break
		}
	}
	if diff := cmp.Diff([]string{"a", "c", "b"}, got); diff != "" {
		t.Error(diff)
	}
}

// A database of before the migration, or one that an older host wrote to since,
// is in order at the next start.
func TestActivityOfOlderHosts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "holdfast.db")
	s := openAt(t, path)
	three(t, s)
	yes := true
	update(t, s, Durable, func(tx *Tx) error { return tx.SetTraits("a", Traits{Pinned: &yes}) })
	update(t, s, Durable, func(tx *Tx) error { return tx.SetTraits("a", Traits{Pinned: new(bool)}) })
	want, err := s.Sessions(t.Context(), SessionsFilter{}, "", 10)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	alter(
		t, path, "DROP INDEX sessions_recent", "DROP INDEX sessions_pinned", "DROP INDEX sessions_uncounted",
		"DROP INDEX runs_steered", "ALTER TABLE runs DROP COLUMN steer", "ALTER TABLE runs DROP COLUMN said", "ALTER TABLE approvals DROP COLUMN code", // what came after it
		"ALTER TABLE sessions DROP COLUMN counted", "ALTER TABLE sessions DROP COLUMN activity",
		"CREATE INDEX sessions_recent ON sessions (last_event)", "CREATE INDEX sessions_pinned ON sessions (last_event) WHERE pinned = 1",
		"UPDATE sessions SET last_at = last_at + 5000", "PRAGMA user_version = 5",
	)
	s = openAt(t, path)
	got, err := s.Sessions(t.Context(), SessionsFilter{}, "", 10)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want.Sessions, got.Sessions); diff != "" {
		t.Errorf("after the migration: %s", diff)
	}
	verified(t, s)
	last := s.Last()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	// What an older host does: a message in b, a pin of a, a session of its own.
	changed, err := json.Marshal(got.Sessions[2])
	if err != nil {
		t.Fatal(err)
	}
	insert := "INSERT INTO events (id, sid, session, seq, run, at, kind, item, body) SELECT %, sid, id, seq + 1, '', 9000, '%', 0, '%' FROM sessions WHERE id = '%'"
	text := func(args ...string) string {
		out := insert
		for _, a := range args {
			out = strings.Replace(out, "%", a, 1)
		}
		return out
	}
	alter(
		t, path,
		text(number(int(last)+1), "run.queued", `{"run":"r"}`, "b"), text(number(int(last)+2), "session.changed", string(changed), "a"),
		"UPDATE sessions SET seq = seq + 1, last_event = "+number(int(last)+1)+`, last_at = 9000, queue = '["r"]', state = 'queued' WHERE id = 'b'`,
		"UPDATE sessions SET seq = seq + 1, last_event = "+number(int(last)+2)+", last_at = 9000 WHERE id = 'a'",
		"UPDATE sessions SET activity = 0, counted = 0, last_at = 1 WHERE id = 'c'",
	)
	s = openAt(t, path)
	if got := order(t, s); got != "bca" {
		t.Errorf("after an older host: the list is %s", got)
	}
	verified(t, s)
}

// Every kind that a migration or a repair takes for activity is one.
func TestActivityInSQL(t *testing.T) {
	for _, kind := range []Kind{SessionChanged, SessionDeleted, SessionRestored, QueueChanged, AgentState, AgentOptions, UsageChanged, AgentRaw} {
		if active(kind) || strings.Contains(activityKinds, "'"+string(kind)+"'") {
			t.Errorf("%s is activity", kind)
		}
	}
	text, err := migrationFiles.ReadFile("migrations/0006_activity.sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range activity {
		if !strings.Contains(string(text), "'"+string(kind)+"'") {
			t.Errorf("the migration does not know %s", kind)
		}
	}
}

package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func listed(t testing.TB, s *Store, f SessionsFilter, page string, limit int) (ids []string, next string) {
	t.Helper()
	p, err := s.Sessions(t.Context(), f, page, limit)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range p.Sessions {
		ids = append(ids, row.ID)
	}
	return ids, p.Next
}

func traits(t testing.TB, s *Store, id string, tr Traits) {
	t.Helper()
	update(t, s, Durable, func(tx *Tx) error { return tx.SetTraits(id, tr) })
}

func TestListFilters(t *testing.T) {
	s := newStore(t)
	for _, id := range []string{"a", "b", "c", "d", "e"} {
		update(t, s, Durable, func(tx *Tx) error {
			_, err := tx.CreateSession(Session{ID: id, Agent: "x", Cwd: "/"})
			return err
		})
	}
	yes := true
	work, both, none := []string{"work"}, []string{"work", "home"}, []string{}
	p := "p1"
	traits(t, s, "b", Traits{Archived: &yes, Tags: &work})
	traits(t, s, "c", Traits{Tags: &both, Project: &p})
	traits(t, s, "d", Traits{Tags: &work})
	traits(t, s, "d", Traits{Tags: &none})
	update(t, s, Durable, func(tx *Tx) error { return tx.TrashSession("e") })
	for _, c := range []struct {
		name string
		f    SessionsFilter
		want []string
	}{
		{"all", SessionsFilter{}, []string{"d", "c", "a"}},
		{"archived", SessionsFilter{Archived: true}, []string{"b"}},
		{"trash", SessionsFilter{Deleted: true}, []string{"e"}},
		{"tag", SessionsFilter{Tag: "work"}, []string{"c"}},
		{"archived with the tag", SessionsFilter{Tag: "work", Archived: true}, []string{"b"}},
		{"project", SessionsFilter{Project: "p1"}, []string{"c"}},
		{"no such tag", SessionsFilter{Tag: "wor"}, nil},
	} {
		if got, _ := listed(t, s, c.f, "", 10); !cmp.Equal(c.want, got) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	tags, err := s.Tags(t.Context())
	if diff := cmp.Diff([]TagCount{{"work", 2}, {"home", 1}}, tags); diff != "" || err != nil {
		t.Error(diff, err)
	}
	verified(t, s)
}

// TestPinnedAreOnTheFirstPage whatever their age, and each session is listed once.
func TestPinnedAreOnTheFirstPage(t *testing.T) {
	s := newStore(t)
	yes := true
	var want []string
	for i := range 12 {
		id := number(i)
		update(t, s, Durable, func(tx *Tx) error {
			_, err := tx.CreateSession(Session{ID: id, Agent: "x", Cwd: "/", Pinned: i == 1 || i == 11})
			return err
		})
		want = append(want, id)
	}
	traits(t, s, "1", Traits{Pinned: &yes}) // which it is: nothing changes
	for _, f := range []SessionsFilter{{}, {Project: ""}} {
		first, next := listed(t, s, f, "", 5)
		if diff := cmp.Diff([]string{"11", "10", "9", "8", "7", "1"}, first); diff != "" {
			t.Error(diff)
		}
		all := first
		for next != "" {
			var more []string
			more, next = listed(t, s, f, next, 5)
			all = append(all, more...)
		}
		if diff := cmp.Diff(want, all, cmpopts.SortSlices(func(a, b string) bool { return a < b })); diff != "" {
			t.Error(diff)
		}
	}
}

// TestTraitsAreOfTheList: a change is told to lists at once, with the version.
func TestTraitsAreOfTheList(t *testing.T) {
	s := newStore(t)
	id := newSession(t, s)
	yes := true
	tags := []string{"x"}
	before := s.Last()
	traits(t, s, id, Traits{Pinned: &yes, Tags: &tags})
	traits(t, s, id, Traits{Pinned: &yes, Tags: &tags}) // the same: no event
	if n := s.Last() - before; n != 1 {
		t.Errorf("%d events, want 1", n)
	}
	row, err := s.Session(t.Context(), id)
	if err != nil || row.Version != 2 || !row.Pinned {
		t.Errorf("%+v, %v", row, err)
	}
	verified(t, s)
}

// TestTrash: out of the lists at once, back with everything, gone for good when
// its time is over.
func TestTrash(t *testing.T) {
	var ahead time.Duration
	s := newStore(t, func(o *Options) { o.Now = func() time.Time { return time.Now().Add(ahead) } })
	id := newSession(t, s)
	appendTo(t, s, id, MessageUser, MessageBody{Item: "m", Text: "hello"})
	update(t, s, Durable, func(tx *Tx) error { return tx.TrashSession(id) })
	before := s.Last()
	update(t, s, Durable, func(tx *Tx) error { return tx.TrashSession(id) })
	if s.Last() != before {
		t.Error("deleted twice is an event of its own")
	}
	if _, err := s.Items(t.Context(), id, 0, 10); err == nil {
		t.Error("its transcript can be read")
	}
	verified(t, s)
	update(t, s, Durable, func(tx *Tx) error { return tx.RestoreSession(id) })
	if p, err := s.Items(t.Context(), id, 0, 10); err != nil || len(p.Items) != 1 {
		t.Errorf("back with %d items, %v", len(p.Items), err)
	}
	if got, _ := listed(t, s, SessionsFilter{}, "", 10); len(got) != 1 {
		t.Errorf("back in the list: %v", got)
	}
	last := allEvents(t, s, id)
	if kind := last[len(last)-1].Kind; kind != SessionChanged {
		t.Errorf("the list is told by %s", kind)
	}
	update(t, s, Durable, func(tx *Tx) error { return tx.TrashSession(id) })
	empty := func() {
		update(t, s, Relaxed, func(tx *Tx) error { tx.w.chores.trash = time.Now(); return nil })
	}
	update(t, s, Relaxed, func(*Tx) error { ahead = TrashKept - time.Hour; return nil })
	empty()
	eventually(t, "the trash is looked into", func() bool {
		var due time.Time
		update(t, s, Relaxed, func(tx *Tx) error { due = tx.w.chores.trash; return nil })
		return time.Until(due) > time.Minute
	})
	if _, err := s.Session(t.Context(), id); err != nil {
		t.Errorf("gone before its time: %v", err)
	}
	update(t, s, Relaxed, func(*Tx) error { ahead = TrashKept + time.Hour; return nil })
	empty()
	eventually(t, "it is gone", func() bool { _, err := s.Session(t.Context(), id); return err != nil })
	verified(t, s)
}

// TestProjectsAreTold: every stream has what becomes of a project, whatever
// sessions it follows, from memory and from the database alike.
func TestProjectsAreTold(t *testing.T) {
	path := filepath.Join(t.TempDir(), "holdfast.db")
	s := openAt(t, path)
	id := newSession(t, s)
	var p Project
	update(t, s, Durable, func(tx *Tx) (err error) {
		p, err = tx.PutProject(Project{Name: "a", Cwd: "/a"})
		return err
	})
	update(t, s, Durable, func(tx *Tx) (err error) {
		p.Name = "b"
		p, err = tx.PutProject(p)
		return err
	})
	if err := s.Update(Durable, func(tx *Tx) error {
		if err := tx.DeleteProject(p.ID); err != nil {
			return err
		}
		return ErrOrder
	}); !errors.Is(err, ErrOrder) {
		t.Fatal(err)
	}
	update(t, s, Durable, func(tx *Tx) error { return tx.DeleteProject(p.ID) })
	verified(t, s)
	if page := search(t, s, Query{Text: "x"}); page.Behind != 0 {
		searched(t, s)
	}
	look := func(s *Store) (told []string) {
		f := s.FollowFiltered(0, &FollowFilter{Sessions: map[string]bool{}})
		for {
			events, more, err := f.Take(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if more != nil {
				return told
			}
			for _, ev := range events {
				if ev.Session != id {
					var body Project
					if err := json.Unmarshal(ev.Body, &body); err != nil || body.ID != p.ID || ev.Session != "" {
						t.Errorf("%+v %v", ev, err)
					}
					told = append(told, fmt.Sprintf("%d %s %s", ev.Seq, ev.Kind, body.Name))
				}
			}
		}
	}
	want := []string{"1 project.changed a", "2 project.changed b", "3 project.deleted "}
	if diff := cmp.Diff(want, look(s)); diff != "" {
		t.Error(diff)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, look(openAt(t, path))); diff != "" {
		t.Error(diff)
	}
}

// TestSearchIsNotBehindForNothing: what cannot be found is nothing to catch up with.
func TestSearchIsNotBehindForNothing(t *testing.T) {
	s := newStore(t)
	var id string
	update(t, s, Durable, func(tx *Tx) error { // in no list, so no row is told of in between
		r, err := tx.CreateSession(Session{Agent: "a", Cwd: "/", Building: true})
		id = r.ID
		return err
	})
	appendTo(t, s, id, MessageUser, MessageBody{Item: "m", Text: "hello"})
	searched(t, s)
	appendTo(t, s, id, UsageChanged, json.RawMessage(`{}`))
	if n := search(t, s, Query{Text: "hello"}).Behind; n != 0 {
		t.Errorf("%d events behind", n)
	}
}

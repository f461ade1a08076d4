package store

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// hits reads all pages of a search.
func hits(t testing.TB, s *Store, q Query) (list []string) {
	t.Helper()
	for range 1000 {
		p := search(t, s, q)
		for _, h := range p.Hits {
			list = append(list, h.Session+" "+h.Kind)
		}
		if q.Before = p.Next; q.Before == "" {
			return list
		}
	}
	t.Fatal("the pages have no end")
	return nil
}

func TestSearchConditions(t *testing.T) {
	s := newStore(t)
	yes, no, tags, project := true, false, []string{"work", "home"}, "p1"
	for _, id := range []string{"a", "b", "c"} {
		update(t, s, Durable, func(tx *Tx) error {
			_, err := tx.CreateSession(Session{ID: id, Agent: "agent-" + id, Cwd: "/", Title: "needle " + id})
			return err
		})
		appendTo(t, s, id, MessageUser, MessageBody{Item: "u" + id, Text: "needle"})
		appendTo(t, s, id, ToolStarted, ToolBody{Item: "t" + id, ToolCallID: "c", Title: "needle", Kind: "execute", Status: "pending"})
		appendTo(t, s, id, ItemClosed, ClosedBody{Item: "t" + id, Status: "completed"})
	}
	traits(t, s, "a", Traits{Archived: &yes, Tags: &tags})
	traits(t, s, "b", Traits{Project: &project, Tags: &tags})
	update(t, s, Durable, func(tx *Tx) error {
		_, err := tx.CreateSession(Session{ID: "copy", Agent: "agent-a", Cwd: "/"})
		if err == nil {
			err = tx.CopyItem("copy", Item{ID: "ta", Session: "a", Kind: ItemTool, Body: item(t, s, "ta").Body})
		}
		return err
	})
	searched(t, s)
	for _, c := range []struct {
		name string
		q    Query
		want string
	}{
		{"all", Query{}, "copy tool, c tool, c user, c title, b tool, b user, b title, a tool, a user, a title"},
		{"titles", Query{Kinds: []string{HitTitle}}, "c title, b title, a title"},
		{"what was said", Query{Kinds: []string{HitSaid}}, "c user, b user, a user"},
		{"what was run, a copy too", Query{Kinds: []string{HitRun}}, "copy tool, c tool, b tool, a tool"},
		{"two kinds", Query{Kinds: []string{ItemUser, HitTitle}}, "c user, c title, b user, b title, a user, a title"},
		{"no such kind", Query{Kinds: []string{ItemPlan}}, ""},
		{"archived", Query{Archived: &yes}, "a tool, a user, a title"},
		{"not archived", Query{Archived: &no, Kinds: []string{HitTitle}}, "c title, b title"},
		{"a project", Query{Project: "p1"}, "b tool, b user, b title"},
		{"a tag", Query{Tag: "home", Kinds: []string{HitSaid}}, "b user, a user"},
		{"a tag's beginning", Query{Tag: "hom"}, ""},
		{"an agent", Query{Agent: "agent-a"}, "copy tool, a tool, a user, a title"},
		{"a project and a tag", Query{Project: "p1", Tag: "work", Kinds: []string{HitRun}}, "b tool"},
		{"a session of the other project", Query{Session: "c", Project: "p1"}, ""},
	} {
		for _, limit := range []int{100, 1} {
			c.q.Text, c.q.Limit = "needle", limit
			if got := strings.Join(hits(t, s, c.q), ", "); got != c.want {
				t.Errorf("%s by %d: %s, want %s", c.name, limit, got, c.want)
			}
		}
	}
}

// Among so many sessions that the index is not told their names, a page that
// has no time left says where to go on, and nothing is left out or comes twice.
func TestSearchGoesOnWhereItsTimeEnded(t *testing.T) {
	s := newStore(t)
	s.searchTime = 0
	var want []string
	for i := range 3 * sieveScopes {
		update(t, s, Durable, func(tx *Tx) error {
			id := fmt.Sprintf("s%03d", i)
			agent := "one"
			if i%2 == 0 {
				agent = "other"
			} else {
				want = append([]string{id + " user"}, want...)
			}
			if _, err := tx.CreateSession(Session{ID: id, Agent: agent, Cwd: "/"}); err != nil {
				return err
			}
			_, err := tx.Append(id, "", MessageUser, MessageBody{Item: "u" + id, Text: "needle"})
			return err
		})
	}
	searched(t, s)
	if diff := cmp.Diff(want, hits(t, s, Query{Text: "needle", Agent: "one", Limit: 100})); diff != "" {
		t.Error(diff)
	}
	p := search(t, s, Query{Text: "needle", Agent: "one", Limit: 100})
	if len(p.Hits) > 1 || p.Next == "" {
		t.Errorf("%d hits in no time, next %q", len(p.Hits), p.Next)
	}
	s.searchTime = time.Minute
	if p := search(t, s, Query{Text: "needle", Agent: "one", Limit: 100}); len(p.Hits) != len(want) || p.Next != "" {
		t.Errorf("%d hits, next %q", len(p.Hits), p.Next)
	}
}

// Titles that were in the index before they had a word of their own have it after
// the migration.
func TestSearchOfOlderTitles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "holdfast.db")
	s := openAt(t, path)
	id := newSession(t, s)
	update(t, s, Durable, func(tx *Tx) error { return tx.SetTitle(id, "Needle", true) })
	newSession(t, s) // without one
	searched(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	alter(t, path, "DELETE FROM search", "INSERT INTO search (rowid, text, scope) SELECT sid, title, 's' || sid FROM search_titles WHERE title <> ''",
		"DROP INDEX runs_steered", "ALTER TABLE runs DROP COLUMN steer", "ALTER TABLE runs DROP COLUMN said", "ALTER TABLE approvals DROP COLUMN code", "PRAGMA user_version = 6")
	s = openAt(t, path)
	for _, q := range []Query{{Text: "needle", Kinds: []string{HitTitle}}, {Text: "needle", Session: id}} {
		if diff := cmp.Diff([]string{id + " title"}, hits(t, s, q)); diff != "" {
			t.Error(diff)
		}
	}
}

// A beginning of a word is found wherever it stands: among the newest, which are
// looked through first, and behind them, where the index is asked; each once.
func TestSearchOfBeginnings(t *testing.T) {
	for name, common := range map[string]bool{"in all": true, "in few": false} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			id := newSession(t, s)
			var want []string
			update(t, s, Relaxed, func(tx *Tx) error {
				for i := range 3 * searchSample {
					text := "other words"
					if common || i%(searchSample+20) == 0 {
						text = "the Needlework " + number(i)
						want = append([]string{"m" + number(i)}, want...)
					}
					if _, err := tx.Append(id, "", MessageUser, MessageBody{Item: "m" + number(i), Text: text}); err != nil {
						return err
					}
				}
				return nil
			})
			searched(t, s)
			for _, long := range []time.Duration{time.Minute, 0} {
				s.searchTime = long
				for _, q := range []string{"needle", "the nee", `"the needle`, "NEEDLEWORK"} {
					var got []string
					for query := (Query{Text: q, Limit: 7}); ; {
						p := search(t, s, query)
						for _, h := range p.Hits {
							got = append(got, h.Item)
							if !strings.Contains(marked(h), "Needlework]") {
								t.Fatalf("%s: %s", q, marked(h))
							}
						}
						if query.Before = p.Next; p.Next == "" {
							break
						}
					}
					if diff := cmp.Diff(want, got); diff != "" {
						t.Errorf("%s in %v: %s", q, long, diff)
					}
				}
			}
			if n := len(search(t, s, Query{Text: "needles", Limit: 7}).Hits); n != 0 {
				t.Errorf("%d hits of what is nowhere", n)
			}
		})
	}
}

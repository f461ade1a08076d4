package store

import (
	"context"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// searched waits until everything in the log can be found.
func searched(t testing.TB, s *Store) {
	t.Helper()
	eventually(t, "the index has everything", func() bool { return s.searched.Load() >= s.Last() })
}

func search(t testing.TB, s *Store, q Query) HitsPage {
	t.Helper()
	p, err := s.Search(context.Background(), q)
	if err != nil {
		t.Fatalf("search %+v: %v", q, err)
	}
	return p
}

func marked(h Hit) string {
	var b strings.Builder
	for _, seg := range h.Snippet {
		if seg.Match {
			b.WriteString("[" + seg.Text + "]")
		} else {
			b.WriteString(seg.Text)
		}
	}
	return b.String()
}

func found(t testing.TB, s *Store, text string) []string {
	t.Helper()
	list := []string{}
	for _, h := range search(t, s, Query{Text: text}).Hits {
		list = append(list, h.Kind+" "+marked(h))
	}
	return list
}

func TestSearchFindsWhatWasSaidRunAndPrinted(t *testing.T) {
	s := newStore(t)
	id := newSession(t, s)
	appendTo(t, s, id, MessageUser, MessageBody{Item: "u", Text: "Why does the Gärtner fail?"})
	appendTo(t, s, id, ThoughtDelta, DeltaBody{Item: "th", Text: "Perhaps the "})
	appendTo(t, s, id, ThoughtDelta, DeltaBody{Item: "th", Text: "migration is late"})
	appendTo(t, s, id, ItemClosed, ClosedBody{Item: "th"})
	appendTo(t, s, id, ToolStarted, ToolBody{Item: "tool", ToolCallID: "c", Title: "Run tests", Kind: "execute", Status: "pending", RawInput: json.RawMessage(`{"command":"go test ./internal/gardener"}`)})
	appendTo(t, s, id, ToolUpdated, ToolUpdate{Item: "tool", Append: &ToolAppend{Text: "ok  \x1b[32mgreenhouse\x1b[0m 0.3s\n"}})
	appendTo(t, s, id, ItemClosed, ClosedBody{Item: "tool", Status: "completed"})
	appendTo(t, s, id, PlanChanged, PlanBody{Item: "p", Entries: json.RawMessage(`[{"content":"Water the tulips","status":"pending"}]`)})
	appendTo(t, s, id, NoticeGiven, NoticeBody{Item: "n", Level: "info", Text: "The agent has summed up its context."})
	appendTo(t, s, id, TextDelta, DeltaBody{Item: "a", Text: "Because of <b>tulips</b> & frost"})
	update(t, s, Durable, func(tx *Tx) error { return tx.SetTitle(id, "Garden of tulips", true) })
	searched(t, s)
	for query, want := range map[string][]string{
		"gartner":         {"user Why does the [Gärtner] fail?"},
		"late migration":  {"thought Perhaps the [migration] is [late]"},
		`"migration is"`:  {"thought Perhaps the [migration is] late"},
		`"is migration"`:  {},
		"GREENHOUSE":      {"tool Run tests go test ./internal/gardener ok [greenhouse] 0.3s"},
		"internal/garden": {"tool Run tests go test ./[internal/gardener] ok greenhouse 0.3s"},
		"garden":          {"tool Run tests go test ./internal/[gardener] ok greenhouse 0.3s", "title [Garden] of tulips"},
		"garden ":         {"title [Garden] of tulips"},
		"tulips":          {"plan Water the [tulips]", "title Garden of [tulips]"},
		"summ":            {"notice The agent has [summed] up its context."},
		"execute":         {},
		"frost":           {}, // its item is open
	} {
		if diff := cmp.Diff(want, found(t, s, query)); diff != "" {
			t.Errorf("%s: %s", query, diff)
		}
	}
	appendTo(t, s, id, ItemClosed, ClosedBody{Item: "a"})
	appendTo(t, s, id, PlanChanged, PlanBody{Item: "p", Entries: json.RawMessage(`[{"content":"Buy roses","status":"pending"}]`)})
	update(t, s, Durable, func(tx *Tx) error { return tx.SetTitle(id, "Roses", true) })
	searched(t, s)
	if diff := cmp.Diff([]string{"assistant Because of <b>[tulips]</b> & frost"}, found(t, s, "tulips")); diff != "" {
		t.Errorf("what was replaced is found: %s", diff)
	}
	if diff := cmp.Diff([]string{"plan Buy [roses]", "title [Roses]"}, found(t, s, "roses")); diff != "" {
		t.Error(diff)
	}
	verified(t, s)
}

func TestSearchPagesAndKeepsToASession(t *testing.T) {
	s := newStore(t)
	a, b := newSession(t, s), newSession(t, s)
	for i := range 30 {
		id := a
		if i%3 == 0 {
			id = b
		}
		appendTo(t, s, id, MessageUser, MessageBody{Item: "m" + number(i), Text: "needle " + number(i)})
	}
	searched(t, s)
	var got []string
	next := ""
	for range 10 {
		p := search(t, s, Query{Text: "needle", Session: b, Before: next, Limit: 3})
		for _, h := range p.Hits {
			got = append(got, h.Item)
		}
		if next = p.Next; next == "" {
			break
		}
	}
	want := []string{"m27", "m24", "m21", "m18", "m15", "m12", "m9", "m6", "m3", "m0"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	update(t, s, Durable, func(tx *Tx) error { return tx.TrashSession(b) })
	if n := len(search(t, s, Query{Text: "needle", Limit: 100}).Hits); n != 20 {
		t.Errorf("%d hits with one session in the trash, want 20", n)
	}
	update(t, s, Durable, func(tx *Tx) error { return tx.RestoreSession(b) })
	if n := len(search(t, s, Query{Text: "needle", Limit: 100}).Hits); n != 30 {
		t.Errorf("%d hits after it is back, want 30", n)
	}
	update(t, s, Durable, func(tx *Tx) error { return tx.DeleteSession(b) })
	if n := len(search(t, s, Query{Text: "needle", Limit: 100}).Hits); n != 20 {
		t.Errorf("%d hits with one session deleted, want 20", n)
	}
	eventually(t, "its words leave the index", func() bool { return indexed(t, s, "needle") == 20 })
}

// indexed counts the rows of the index that have a word.
func indexed(t testing.TB, s *Store, word string) (n int) {
	t.Helper()
	err := s.view(t.Context(), func(q *reading) error {
		return q.one("SELECT count(*) FROM search WHERE search MATCH ?", []any{word}, &n)
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestSearchCatchesUp: what the last life, or one that knew no search, has left
// is found after a start, and nothing twice.
func TestSearchCatchesUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "holdfast.db")
	s := openAt(t, path)
	id := newSession(t, s)
	for i := range 100 {
		appendTo(t, s, id, MessageUser, MessageBody{Item: "m" + number(i), Text: "needle"})
	}
	searched(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// As if the index had come to the middle when the power failed.
	alter(t, path, "UPDATE meta SET value = '40' WHERE key = 'searched'", "DELETE FROM search WHERE rowid > 80")
	s = openAt(t, path)
	searched(t, s)
	if n := indexed(t, s, "needle"); n != 100 {
		t.Errorf("%d of 100 are found", n)
	}
	verified(t, s)
}

// TestSearchTakesAnything: no query is an error of SQL.
func TestSearchTakesAnything(t *testing.T) {
	s := newStore(t)
	id := newSession(t, s)
	appendTo(t, s, id, MessageUser, MessageBody{Item: "m", Text: `AND "or" NEAR(x) naïve 日本語 a\b c:d ^e {f} --g * + 🙂 x`})
	searched(t, s)
	for _, q := range []string{"", " ", `"`, `""`, `"""`, "AND", "NOT", "OR OR", "NEAR(", "*", "a*", "-", "text:x", "scope:s1", `a" OR "b`, "(", ")", "\x00", "\xff\xfe", "^", "{", "日本", "🙂", strings.Repeat("a ", 9999), strings.Repeat("é", 9999)} {
		search(t, s, Query{Text: q})
	}
	rapid.Check(t, func(rt *rapid.T) {
		q := rapid.OneOf(rapid.String(), rapid.StringMatching(`["*^():+\-a-z ]{0,20}`)).Draw(rt, "q")
		p, err := s.Search(context.Background(), Query{Text: q})
		if err != nil {
			rt.Fatalf("%q: %v", q, err)
		}
		for _, h := range p.Hits {
			if len(h.Snippet) == 0 {
				rt.Fatalf("%q: a hit without a snippet", q)
			}
		}
	})
	if len(search(t, s, Query{Text: "scope:s1"}).Hits) != 0 {
		t.Error("the index's own column can be asked")
	}
}

func TestSnippet(t *testing.T) {
	long := strings.Repeat("before words ", 50) + "the needle stands " + strings.Repeat("after words ", 50)
	got := marked(Hit{Snippet: snippet(long, parseQuery("needle"))})
	if !strings.Contains(got, "[needle]") || !strings.HasPrefix(got, "…") || !strings.HasSuffix(got, "…") || len(got) > 400 {
		t.Errorf("snippet is %q", got)
	}
	if got := marked(Hit{Snippet: snippet("a\n\n  b\tc", parseQuery("zz"))}); got != "a b c" {
		t.Errorf("without a match it is %q", got)
	}
}

// TestSearchLongOutput: of an output that became a blob the beginning and the
// end are found.
func TestSearchLongOutput(t *testing.T) {
	s := newStore(t)
	id := newSession(t, s)
	appendTo(t, s, id, ToolStarted, ToolBody{Item: "tool", ToolCallID: "c", Title: "long", Kind: "execute", Status: "pending"})
	appendTo(t, s, id, ToolUpdated, ToolUpdate{Item: "tool", Append: &ToolAppend{Text: "firstword " + strings.Repeat("0123456789 ", 60_000) + " lastword"}})
	appendTo(t, s, id, ItemClosed, ClosedBody{Item: "tool"})
	searched(t, s)
	for _, word := range []string{"firstword", "lastword"} {
		hits := search(t, s, Query{Text: word}).Hits
		if len(hits) != 1 || !strings.Contains(marked(hits[0]), "["+word+"]") {
			t.Errorf("%s: %+v", word, hits)
		}
	}
}

// TestVerifyAfterTheIndexHasChanged: a connection remembers the shape of the
// index from the check before, which is no damage.
func TestVerifyAfterTheIndexHasChanged(t *testing.T) {
	s := newStore(t)
	id := newSession(t, s)
	for round := range 6 {
		for range 60 {
			appendTo(t, s, id, NoticeGiven, NoticeBody{Item: NewID(), Level: "info", Text: "word " + NewID()})
		}
		searched(t, s)
		found, err := s.Verify(t.Context(), nil)
		if err != nil || len(found) > 0 {
			t.Fatalf("round %d: %v %v", round, found, err)
		}
		c, err := s.Condition(t.Context())
		if err != nil || len(c.Damage) > 0 {
			t.Fatalf("round %d: %+v %v", round, c, err)
		}
	}
}

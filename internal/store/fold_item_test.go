package store

import (
	"encoding/json"
	"errors"
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

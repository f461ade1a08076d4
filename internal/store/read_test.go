package store

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A reader that goes away in mid-query, two thousand times, harms neither the
// writer nor the number of descriptors.
func TestCancelledReadersLeaveNothing(t *testing.T) {
	s := newStore(t)
	session := newSession(t, s)
	for i := range 50 {
		appendTo(t, s, session, NoticeGiven, NoticeBody{Item: session + number(i), Text: strings.Repeat("x", 500)})
	}
	before := descriptors(t)
	var stop context.CancelFunc
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			err := s.Update(Relaxed, func(tx *Tx) error {
				_, err := tx.Append(session, "", TextDelta, DeltaBody{Item: session + "t", Text: "."})
				return err
			})
			if err != nil {
				t.Errorf("writer: %v", err)
			}
		}
	})
	most := 0
	for i := range 2000 {
		cut, cancel := context.WithTimeout(t.Context(), time.Duration(i%20)*20*time.Microsecond)
		var err error
		if i%2 == 0 {
			_, err = s.Items(cut, session, 0, 50)
		} else {
			err = s.view(cut, func(q *reading) error {
				var n int
				return q.one("WITH RECURSIVE c (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 100000) SELECT count(*) FROM c", nil, &n)
			})
		}
		cancel()
		if err != nil && cut.Err() == nil {
			t.Fatalf("read %d: %v", i, err)
		}
		if i%50 == 0 {
			most = max(most, descriptors(t))
		}
	}
	stop()
	wg.Wait()
	// before counts at least the writer's three and one reader's two.
	if most > before-3+MaxDescriptors || descriptors(t) > before-3+MaxDescriptors {
		t.Errorf("%d descriptors at first, up to %d, %d in the end", before, most, descriptors(t))
	}
	if _, err := s.Items(t.Context(), session, 0, 50); err != nil {
		t.Error(err)
	}
	verified(t, s)
}

func TestDescriptorsAreBoundedAndReturned(t *testing.T) {
	before := descriptors(t)
	s := newStore(t)
	session := newSession(t, s)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for range 50 {
				if _, err := s.Items(t.Context(), session, 0, 10); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := descriptors(t) - before; n > MaxDescriptors {
		t.Errorf("%d descriptors, at most %d", n, MaxDescriptors)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if n := descriptors(t) - before; n > 0 {
		t.Errorf("%d descriptors are left", n)
	}
}

func TestItemsPages(t *testing.T) {
	s := newStore(t)
	session := newSession(t, s)
	var want []string
	for i := range 25 {
		id := session + number(i)
		appendTo(t, s, session, TextDelta, DeltaBody{Item: id, Text: "a"})
		appendTo(t, s, session, TextDelta, DeltaBody{Item: id, Text: "b"})
		if i != 24 {
			appendTo(t, s, session, ItemClosed, ClosedBody{Item: id})
		}
		want = append(want, id)
	}
	var got []string
	before := int64(0)
	for {
		p, err := s.Items(t.Context(), session, before, 10)
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, it := range p.Items {
			ids = append(ids, it.ID)
			if textOf(t, it) != "ab" {
				t.Errorf("item %s: %s", it.ID, it.Body)
			}
			if it.Open != (it.ID == want[24]) {
				t.Errorf("item %s open: %v", it.ID, it.Open)
			}
		}
		got = append(ids, got...)
		if before == 0 {
			if id, ok := s.ParseCursor(p.Cursor); !ok || id != s.Last() {
				t.Errorf("cursor %s", p.Cursor)
			}
		}
		if !p.More {
			break
		}
		before = p.Items[0].Seq
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := s.Items(t.Context(), "nobody", 0, 0); !errors.Is(err, ErrNotFound) {
		t.Errorf("unknown session: %v", err)
	}
}

// The plan of the run under way is with every page that reaches the end or lies
// somewhere, as it is now, and once: beside the items or among them.
func TestPlanBesideThePage(t *testing.T) {
	s := newStore(t)
	session := newSession(t, s)
	queue := func(id, state string) {
		t.Helper()
		err := s.Update(Durable, func(tx *Tx) error {
			return tx.PutRun(Run{ID: id, Session: session, State: state, QueuedAt: time.Now()})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	steps := func(list string) PlanBody {
		return PlanBody{Item: PlanItem("r1"), Entries: json.RawMessage(list)}
	}
	add := func(run string, kind Kind, body any) {
		t.Helper()
		err := s.Update(Durable, func(tx *Tx) error {
			_, err := tx.Append(session, run, kind, body)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	queue("r1", RunStateCurrent)
	queue("r2", RunStateQueued)
	add("r1", TextDelta, DeltaBody{Item: "a", Text: "a"})
	add("r1", PlanChanged, steps(`[1]`))
	for i := range 20 {
		add("r1", TextDelta, DeltaBody{Item: "b" + number(i), Text: "b"})
	}
	add("r1", PlanChanged, steps(`[2]`))
	plan := func(p ItemsPage, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if p.Plan == nil {
			return ""
		}
		if slices.ContainsFunc(p.Items, func(it Item) bool { return it.ID == p.Plan.ID }) {
			t.Error("the plan is beside the items and among them")
		}
		return string(p.Plan.Body)
	}
	const now = `{"entries":[2]}`
	ctx := t.Context()
	for _, tt := range []struct {
		name        string
		page        func() (ItemsPage, error)
		current, at string // while the run is under way, and when it has ended
	}{
		{"the newest", func() (ItemsPage, error) { return s.Items(ctx, session, 0, 5) }, now, now},
		{"one with it", func() (ItemsPage, error) { return s.Items(ctx, session, 0, 50) }, "", ""},
		{"around an item", func() (ItemsPage, error) { return s.ItemsAround(ctx, session, "b"+number(9), 5) }, now, ""},
		{"from an item to the end", func() (ItemsPage, error) { return s.ItemsFrom(ctx, session, 10, 50) }, now, now},
	} {
		queue("r1", RunStateCurrent)
		if got := plan(tt.page()); got != tt.current {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.current)
		}
		queue("r1", RunStateEnded)
		if got := plan(tt.page()); got != tt.at {
			t.Errorf("%s, behind the run: %q, want %q", tt.name, got, tt.at)
		}
	}
}

// Pages from an item on, in both directions, are the transcript: each item once,
// and each page says whether there is more.
func TestPagesAroundAnItem(t *testing.T) {
	s := newStore(t)
	session, other := newSession(t, s), newSession(t, s)
	var want []string
	for i := range 25 {
		id := session + number(i)
		appendTo(t, s, session, TextDelta, DeltaBody{Item: id, Text: "a"})
		appendTo(t, s, session, TextDelta, DeltaBody{Item: id, Text: "b"})
		want = append(want, id)
	}
	appendTo(t, s, other, TextDelta, DeltaBody{Item: "elsewhere", Text: "a"})
	ids := func(p ItemsPage, err error) (list []string) {
		if err != nil {
			t.Fatal(err)
		}
		for _, it := range p.Items {
			list = append(list, it.ID)
			if textOf(t, it) != "ab" {
				t.Errorf("item %s: %s", it.ID, it.Body)
			}
		}
		return list
	}
	for _, c := range []struct{ at, limit, from, to int }{{12, 6, 9, 14}, {12, 5, 10, 14}, {12, 1, 12, 13}, {0, 6, 0, 2}, {24, 6, 21, 24}, {23, 6, 20, 24}, {12, 100, 0, 24}} {
		p, err := s.ItemsAround(t.Context(), session, want[c.at], c.limit)
		if got := ids(p, err); !slices.Equal(got, want[c.from:c.to+1]) || p.More != (c.from > 0) || p.Newer != (c.to < 24) {
			t.Errorf("%d around %d: %v, more %v, newer %v", c.limit, c.at, got, p.More, p.Newer)
		}
	}
	p, err := s.ItemsAround(t.Context(), session, want[12], 6)
	got := ids(p, err)
	for before, more := p.Items[0].Seq, true; more; {
		p, err := s.Items(t.Context(), session, before, 4)
		got = append(ids(p, err), got...)
		if !p.Newer {
			t.Errorf("before %d nothing is newer", before)
		}
		before, more = p.Items[0].Seq, p.More
	}
	for after, newer := p.Items[len(p.Items)-1].Seq, true; newer; {
		p, err := s.ItemsFrom(t.Context(), session, after, 4)
		got = append(got, ids(p, err)...)
		if id, ok := s.ParseCursor(p.Cursor); !ok || id != s.Last() || p.Last != id || !p.More {
			t.Errorf("after %d: cursor %s, last %d, more %v", after, p.Cursor, p.Last, p.More)
		}
		after, newer = p.Items[len(p.Items)-1].Seq, p.Newer
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for name, at := range map[string][2]string{"another session's": {session, "elsewhere"}, "no item": {session, "nothing"}, "no session": {"nobody", want[0]}} {
		if _, err := s.ItemsAround(t.Context(), at[0], at[1], 10); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := s.ItemsFrom(t.Context(), "nobody", 1, 10); !errors.Is(err, ErrNotFound) {
		t.Errorf("after, in no session: %v", err)
	}
}

// Snapshots taken while a session streams: each item's text is exactly that of
// the events up to the snapshot's seq.
func TestSnapshotAgreesWithItsCursor(t *testing.T) {
	s := newStore(t)
	session := newSession(t, s)
	const deltas = 400
	var wg sync.WaitGroup
	wg.Go(func() {
		for range deltas {
			err := s.Update(Relaxed, func(tx *Tx) error {
				_, err := tx.Append(session, "", TextDelta, DeltaBody{Item: session + "t", Text: "."})
				return err
			})
			if err != nil {
				t.Error(err)
			}
		}
		appendTo(t, s, session, ItemClosed, ClosedBody{Item: session + "t"})
	})
	for s.Last() < deltas {
		p, err := s.Items(t.Context(), session, 0, 10)
		if err != nil {
			t.Fatal(err)
		}
		events, _, err := s.Events(t.Context(), session, 0, 1000)
		if err != nil {
			t.Fatal(err)
		}
		want := 0
		for _, ev := range events {
			if ev.Kind == TextDelta && ev.Seq <= p.Seq {
				want++
			}
		}
		got := 0
		if len(p.Items) > 0 {
			got = len(textOf(t, p.Items[0]))
		}
		if got != want {
			t.Fatalf("at seq %d the text has %d characters, the log %d", p.Seq, got, want)
		}
	}
	wg.Wait()
}

func TestLongToolOutput(t *testing.T) {
	s := newStore(t)
	session := newSession(t, s)
	long := strings.Repeat("0123456789abcdef", 20<<10) // 320 KiB
	quoted, _ := json.Marshal(long)
	tool := session + "-c1" // an id that looks like a blob's

	appendTo(t, s, session, ToolStarted, ToolBody{Item: tool, ToolCallID: "c", Status: "pending"})
	ev := appendTo(t, s, session, ToolUpdated, ToolUpdate{Item: tool, Set: map[string]json.RawMessage{
		"raw_output": quoted,
		"content":    json.RawMessage(`[{"type":"content","content":{"type":"text","text":` + string(quoted) + `}},{"type":"diff","path":"/f","newText":` + string(quoted) + `}]`),
	}})
	if len(ev.Body) > 150<<10 {
		t.Errorf("the event has %d bytes", len(ev.Body))
	}
	type entry struct {
		Type    string
		Path    string
		Content struct{ Text string }
		Truncated
	}
	read := func() (body struct {
		RawOutput struct {
			Text string
			Truncated
		} `json:"raw_output"`
		Content []entry
	},
	) {
		t.Helper()
		if err := json.Unmarshal(item(t, s, tool).Body, &body); err != nil {
			t.Fatal(err)
		}
		return body
	}
	same := func(cut Truncated, want string) {
		t.Helper()
		data, err := s.Blob(t.Context(), cut.Blob)
		if err != nil {
			t.Fatal(err)
		}
		if string(data) != want || cut.Size != len(want) || !cut.Truncated {
			t.Errorf("blob %s has %d bytes, %+v; want %d", cut.Blob, len(data), cut, len(want))
		}
	}
	check := func() {
		t.Helper()
		body := read()
		same(body.RawOutput.Truncated, long)
		same(body.Content[0].Truncated, long+"and more")
		if text := body.Content[0].Content.Text; len(text) > inlineEnd || !strings.HasSuffix(text, "and more") {
			t.Errorf("the end in the body has %d bytes", len(text))
		}
		if e := body.Content[1]; e.Type != "diff" || e.Path != "/f" || !e.Truncated.Truncated {
			t.Errorf("%+v", e)
		}
	}
	appendTo(t, s, session, ToolUpdated, ToolUpdate{Item: tool, Append: &ToolAppend{Index: 0, Text: "and more"}})
	check() // while it is open
	forgetOpen(t, s)
	check() // by way of the log
	appendTo(t, s, session, ItemClosed, ClosedBody{Item: tool, Status: "completed"})
	check()
	verified(t, s)
	if _, err := s.Blob(t.Context(), "none-c1"); !errors.Is(err, ErrNotFound) {
		t.Errorf("unknown blob: %v", err)
	}
}

func TestSessionsPages(t *testing.T) {
	s := newStore(t)
	var want []string
	for range 12 {
		want = append([]string{newSession(t, s)}, want...)
	}
	// Activity moves a session to the front.
	appendTo(t, s, want[5], RunStarted, RunBody{Run: "r"})
	want = append([]string{want[5]}, append(append([]string(nil), want[:5]...), want[6:]...)...)
	var got []string
	page := ""
	for {
		p, err := s.Sessions(t.Context(), SessionsFilter{}, page, 5)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range p.Sessions {
			got = append(got, r.ID)
		}
		if page = p.Next; page == "" {
			break
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := s.Sessions(t.Context(), SessionsFilter{}, "x", 5); !errors.Is(err, ErrNotFound) {
		t.Errorf("bad page: %v", err)
	}
}

// TestMessagesBesideAPage: a page has the messages of its runs that were sent
// before its first item, with the place where they are read; the newest one
// those that wait, too.
func TestMessagesBesideAPage(t *testing.T) {
	s := newStore(t)
	id := newSession(t, s)
	put := func(run, item, state string, kind Kind, body any) {
		update(t, s, Relaxed, func(tx *Tx) error {
			if _, err := tx.Append(id, run, kind, body); err != nil || state == "" {
				return err
			}
			return tx.PutRun(Run{ID: run, Session: id, Item: item, State: state, QueuedAt: tx.Now()})
		})
	}
	put("r1", "u1", RunStateEnded, MessageUser, MessageBody{Item: "u1", Text: "one"})
	put("r1", "", "", TextDelta, DeltaBody{Item: "a1", Text: "x"})
	put("r2", "u2", RunStateCurrent, MessageUser, MessageBody{Item: "u2", Text: "two"})
	put("r3", "u3", RunStateQueued, MessageUser, MessageBody{Item: "u3", Text: "three"})
	put("r1", "", "", TextDelta, DeltaBody{Item: "a1b", Text: "x"})
	put("r2", "", "", TextDelta, DeltaBody{Item: "a2", Text: "x"})
	put("r2", "", "", TextDelta, DeltaBody{Item: "a2b", Text: "x"})
	seq := map[string]int64{}
	all, err := s.Items(t.Context(), id, 0, 50)
	if err != nil || len(all.Messages) != 0 {
		t.Fatalf("%+v, %v", all.Messages, err)
	}
	for _, it := range all.Items {
		seq[it.ID] = it.Seq
	}
	for _, c := range []struct {
		before int64
		limit  int
		items  string
		want   map[string]int64
	}{
		{0, 2, "a2 a2b", map[string]int64{"u2": seq["a2"], "u3": 0}},
		{0, 1, "a2b", map[string]int64{"u2": seq["a2"], "u3": 0}},
		{seq["a2"], 1, "a1b", map[string]int64{"u1": seq["a1"]}},
		{seq["a2"], 3, "u2 u3 a1b", map[string]int64{"u1": seq["a1"]}},
	} {
		p, err := s.Items(t.Context(), id, c.before, c.limit)
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, it := range p.Items {
			ids = append(ids, it.ID)
		}
		got := map[string]int64{}
		for _, a := range p.Messages {
			got[a.Item.ID] = a.Before
		}
		if strings.Join(ids, " ") != c.items || !maps.Equal(got, c.want) {
			t.Errorf("before %d, %d: %v with %v, want %s with %v", c.before, c.limit, ids, got, c.items, c.want)
		}
		for _, a := range p.Messages {
			if !slices.ContainsFunc(p.Runs, func(r Run) bool { return r.Item == a.Item.ID }) {
				t.Errorf("%s has no run", a.Item.ID)
			}
		}
	}
	// Around an item, what waits and what is under way is told, too; so it is where the newest is.
	for _, c := range []struct {
		name string
		read func() (ItemsPage, error)
		runs string
		want map[string]int64
	}{
		{"around the first", func() (ItemsPage, error) { return s.ItemsAround(t.Context(), id, "u1", 3) }, "r1 r2 r3", map[string]int64{"u2": seq["a2"], "u3": 0}},
		{"the next", func() (ItemsPage, error) { return s.ItemsFrom(t.Context(), id, seq["u2"], 2) }, "r1 r3", map[string]int64{"u1": seq["a1"]}},
		{"the last", func() (ItemsPage, error) { return s.ItemsFrom(t.Context(), id, seq["a1b"], 9) }, "r2 r3", map[string]int64{"u2": seq["a2"], "u3": 0}},
	} {
		p, err := c.read()
		if err != nil {
			t.Fatal(err)
		}
		var runs []string
		for _, r := range p.Runs {
			runs = append(runs, r.ID)
		}
		slices.Sort(runs)
		got := map[string]int64{}
		for _, a := range p.Messages {
			got[a.Item.ID] = a.Before
		}
		if strings.Join(runs, " ") != c.runs || !maps.Equal(got, c.want) {
			t.Errorf("%s: runs %v, messages %v, want %s and %v", c.name, runs, got, c.runs, c.want)
		}
	}
}

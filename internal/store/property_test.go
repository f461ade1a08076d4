package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

var errOnPurpose = errors.New("on purpose")

// rawJSON compares bodies as a whole: byte by byte is slow.
var rawJSON = cmp.Comparer(func(a, b json.RawMessage) bool { return bytes.Equal(a, b) })

// world is what the property test knows of the sessions that it drives.
type world struct {
	t        *rapid.T
	s        *Store
	sessions []string
	texts    map[string][]string // session → open text items
	tools    map[string][]string
	pending  map[string][]string // session → approvals
	runs     map[string][]string
	n        int
}

func (w *world) id(kind string) string {
	w.n++
	return fmt.Sprintf("%s%d", kind, w.n)
}

func (w *world) clone() *world {
	c := *w
	for _, m := range []*map[string][]string{&c.texts, &c.tools, &c.pending, &c.runs} {
		was := *m
		*m = map[string][]string{}
		for k, v := range was {
			(*m)[k] = append([]string(nil), v...)
		}
	}
	c.sessions = append([]string(nil), w.sessions...)
	return &c
}

// step does something random in tx.
func (w *world) step(tx *Tx) error {
	t := w.t
	if len(w.sessions) == 0 || rapid.IntRange(0, 30).Draw(t, "new") == 0 {
		r, err := tx.CreateSession(Session{ID: w.id("s"), Agent: "a", Cwd: "/" + w.id("d"), Title: "t"})
		w.sessions = append(w.sessions, r.ID)
		return err
	}
	session := rapid.SampledFrom(w.sessions).Draw(t, "session")
	add := func(kind Kind, body any) error {
		_, err := tx.Append(session, "r", kind, body)
		return err
	}
	pick := func(m map[string][]string, kind string) (string, bool) {
		if len(m[session]) == 0 || rapid.IntRange(0, 3).Draw(t, "fresh") == 0 {
			id := w.id(kind)
			m[session] = append(m[session], id)
			return id, true
		}
		return rapid.SampledFrom(m[session]).Draw(t, kind), false
	}
	drop := func(m map[string][]string) string {
		if len(m[session]) == 0 {
			return ""
		}
		i := rapid.IntRange(0, len(m[session])-1).Draw(t, "drop")
		id := m[session][i]
		m[session] = append(append([]string(nil), m[session][:i]...), m[session][i+1:]...)
		return id
	}
	text := []string{"", "a", "<b> & ü €", strings.Repeat("0123456789äöü\n", 4500)}[rapid.SampledFrom([]int{0, 1, 1, 1, 2, 2, 2, 3}).Draw(t, "text")]
	switch rapid.IntRange(0, 18).Draw(t, "what") {
	case 0:
		return add(MessageUser, MessageBody{Item: w.id("m"), Text: text})
	case 1, 2, 3:
		id, _ := pick(w.texts, "x")
		return add(TextDelta, DeltaBody{Item: id, Text: text})
	case 4, 5:
		id, fresh := pick(w.tools, "tool")
		if fresh {
			return add(ToolStarted, ToolBody{Item: id, ToolCallID: id, Title: text[:min(3, len(text))], Kind: "read", Status: "pending"})
		}
		return add(ToolUpdated, ToolUpdate{Item: id, Append: &ToolAppend{Index: rapid.IntRange(0, 2).Draw(t, "index"), Text: text}})
	case 6:
		id, fresh := pick(w.tools, "tool")
		if fresh {
			return add(ToolStarted, ToolBody{Item: id, ToolCallID: id, Kind: "read", Status: "pending"})
		}
		entry, _ := encode(map[string]any{"type": "content", "content": map[string]string{"type": "text", "text": text + text + text}})
		content, _ := encode([]json.RawMessage{entry})
		return add(ToolUpdated, ToolUpdate{Item: id, Set: map[string]json.RawMessage{"content": content, "status": json.RawMessage(`"in_progress"`)}})
	case 7:
		m := w.texts
		if rapid.Bool().Draw(t, "tool") {
			m = w.tools
		}
		if id := drop(m); id != "" {
			now := tx.Now()
			return add(ItemClosed, ClosedBody{Item: id, Status: "completed", EndedAt: &now})
		}
		return nil
	case 8:
		a, err := tx.RequestApproval(Approval{ID: w.id("ap"), Session: session, Run: "r", Title: text[:min(5, len(text))], Epoch: "e", RawID: json.RawMessage("7")})
		w.pending[session] = append(w.pending[session], a.ID)
		return err
	case 9:
		if id := drop(w.pending); id != "" {
			_, err := tx.ResolveApproval(ResolvedBody{ID: id, State: ApprovalAnswered, Chosen: "once", By: "me"}, "c")
			return err
		}
		return nil
	case 10:
		id, _ := pick(w.runs, "run")
		kind := rapid.SampledFrom([]Kind{RunQueued, RunStarted, RunEnded}).Draw(t, "run kind")
		return add(kind, RunBody{Run: id, Reason: rapid.SampledFrom([]string{EndTurn, Cancelled, Interrupted, Failed}).Draw(t, "reason")})
	case 11:
		return tx.SetTitle(session, w.id("title"), rapid.Bool().Draw(t, "by person"))
	case 12:
		body := rapid.SampledFrom([]OptionsBody{{Modes: json.RawMessage(`[1]`)}, {Models: json.RawMessage(`{"a":2}`)}}).Draw(t, "options")
		return add(AgentOptions, body)
	case 13:
		pinned := rapid.Bool().Draw(t, "pinned")
		tags := rapid.SampledFrom([][]string{nil, {}, {"a"}, {"a", "b"}}).Draw(t, "tags")
		return tx.SetTraits(session, Traits{Pinned: &pinned, Tags: &tags})
	case 14:
		return tx.TrashSession(session)
	case 15:
		return tx.RestoreSession(session)
	case 16:
		id := w.id("m")
		if err := add(MessageUser, MessageBody{Item: id, Text: text}); err != nil {
			return err
		}
		if rapid.Bool().Draw(t, "edit") {
			if err := add(MessageEdited, EditedBody{Item: id, Text: "edited"}); err != nil {
				return err
			}
		}
		if rapid.Bool().Draw(t, "steer") {
			own, _ := pick(w.runs, "run")
			state := rapid.SampledFrom([]string{SteerSent, SteerTaken, SteerRead, SteerLate}).Draw(t, "state")
			_, err := tx.Append(session, "steered", MessageSteered, SteeredBody{Item: id, State: state, Own: own})
			return err
		}
		return tx.Rewind(session, id)
	case 17:
		now := tx.Now()
		return tx.CopyItem(session, Item{ID: "original", Session: "other", Kind: ItemAssistant, At: now, Body: json.RawMessage(`{"text":"copied"}`)})
	default:
		return add(QueueChanged, QueueBody{Paused: rapid.Bool().Draw(t, "paused")})
	}
}

func TestAnyHistoryFoldsToWhatIsStored(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		folder, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			rt.Fatal(err)
		}
		// Either each event is activity to be told of, or none before the end.
		every := rapid.SampledFrom([]time.Duration{0, time.Hour}).Draw(rt, "activity")
		open := func() *Store {
			s, err := Open(context.Background(), Options{Path: filepath.Join(folder, "holdfast.db"), BootID: "boot"})
			if err != nil {
				rt.Fatal(err)
			}
			s.w.requests <- &request{done: make(chan result, 1), fn: func(tx *Tx) error {
				tx.w.window, tx.w.activityEvery = 0, every
				return nil
			}}
			return s
		}
		w := &world{
			t: rt, s: open(), texts: map[string][]string{}, tools: map[string][]string{},
			pending: map[string][]string{}, runs: map[string][]string{},
		}
		defer func() { _ = w.s.Close() }()

		for range rapid.IntRange(1, 25).Draw(rt, "updates") {
			w.update(rt)
			if rapid.IntRange(0, 30).Draw(rt, "reopen") == 0 {
				if err := w.s.Close(); err != nil {
					rt.Fatal(err)
				}
				w.s = open()
			}
		}
		w.checkVerify(rt)
		w.checkFollowers(rt)
		w.checkOpenItems(rt)
		w.checkVerify(rt)
	})
}

// update is one Update of some steps: most are well, some fail, some are void.
func (w *world) update(rt *rapid.T) {
	fate := rapid.SampledFrom([]string{"well", "well", "well", "well", "fails", "void"}).Draw(rt, "fate")
	after := w.clone()
	steps := rapid.IntRange(1, 6).Draw(rt, "steps")
	var failed any
	err := w.s.Update(Relaxed, func(tx *Tx) error {
		defer func() {
			// rapid ends a case by a panic: it must not pass for one of ours.
			if v := recover(); v != nil {
				failed = v
				panic(v)
			}
		}()
		for range steps {
			if err := after.step(tx); err != nil {
				return err
			}
		}
		switch fate {
		case "fails":
			return errOnPurpose
		case "void":
			tx.fatal = errOnPurpose
		}
		return nil
	})
	if failed != nil {
		panic(failed)
	}
	switch {
	case fate == "well" && err != nil, fate != "well" && !errors.Is(err, errOnPurpose), (fate == "void") != errors.Is(err, ErrCommit):
		rt.Fatalf("update that should be %s: %v", fate, err)
	case fate == "well":
		*w = *after
	default:
		w.n = after.n
	}
}

func (w *world) checkVerify(rt *rapid.T) {
	found, err := w.s.Verify(context.Background(), nil)
	if err != nil {
		rt.Fatal(err)
	}
	for _, d := range found {
		rt.Errorf("session %s, %s:\nstored %s\nfolded %s", d.Session, d.What, d.Stored, d.Folded)
	}
	if len(found) > 0 {
		rt.FailNow()
	}
}

// checkFollowers cuts the log at random points: each follower sees exactly the
// events after its cut, by way of the ring or of the database.
func (w *world) checkFollowers(rt *rapid.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	read := func(f *Follower) []Event {
		var got []Event
		for f.At() < w.s.Last() {
			events, err := f.Next(ctx)
			if err != nil {
				rt.Fatal(err)
			}
			got = append(got, events...)
		}
		return got
	}
	all := read(w.s.Follow(0))
	if len(all) == 0 {
		return
	}
	var byEvents []Event
	for _, id := range w.sessions {
		if err := w.s.Update(Relaxed, func(tx *Tx) error { return tx.RestoreSession(id) }); err != nil {
			rt.Fatal(err)
		}
	}
	all = append(all, read(w.s.Follow(all[len(all)-1].ID))...)
	for _, id := range w.sessions {
		events, _, err := w.s.Events(ctx, id, 0, 1000)
		if err != nil {
			rt.Fatal(err)
		}
		byEvents = append(byEvents, events...)
	}
	if len(byEvents) != len(all) {
		rt.Fatalf("%d events by session, %d by following", len(byEvents), len(all))
	}
	cut := rapid.IntRange(0, len(all)).Draw(rt, "cut")
	if rapid.Bool().Draw(rt, "from the database") {
		w.s.ring.mu.Lock()
		w.s.ring.events, w.s.ring.bytes, w.s.ring.base = nil, 0, w.s.ring.last
		w.s.ring.mu.Unlock()
	}
	after := int64(0)
	if cut > 0 {
		after = all[cut-1].ID
	}
	if diff := cmp.Diff(all[cut:], read(w.s.Follow(after)), cmpopts.EquateEmpty(), rawJSON); diff != "" {
		rt.Fatal(diff)
	}
	if len(w.sessions) > 0 {
		w.checkFilter(rt, all[cut:], w.s.FollowFiltered(after, &FollowFilter{Sessions: map[string]bool{w.sessions[0]: true}}))
	}
}

// checkFilter expects of f what its filter takes of events, and of one more
// that wakes it at the end.
func (w *world) checkFilter(rt *rapid.T, events []Event, f *Follower) {
	var last Event
	err := w.s.Update(Relaxed, func(tx *Tx) (err error) {
		last, err = tx.Append(w.sessions[0], "", UsageChanged, json.RawMessage("{}"))
		return err
	})
	if err != nil {
		rt.Fatal(err)
	}
	var want, got []int64
	for _, ev := range events {
		if f.filter.takes(ev) {
			want = append(want, ev.ID)
		}
	}
	want = append(want, last.ID)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for len(got) == 0 || got[len(got)-1] < last.ID {
		list, err := f.Next(ctx)
		if err != nil {
			rt.Fatal(err)
		}
		for _, ev := range list {
			if ev.ID <= last.ID {
				got = append(got, ev.ID)
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		rt.Fatal(diff)
	}
}

// checkOpenItems closes what is open: the fold that a reader got before is
// what is stored then.
func (w *world) checkOpenItems(rt *rapid.T) {
	ctx := context.Background()
	if rapid.Bool().Draw(rt, "from the log") {
		err := w.s.Update(Relaxed, func(tx *Tx) error { tx.w.s.open.clear(); return nil })
		if err != nil {
			rt.Fatal(err)
		}
	}
	for _, m := range []map[string][]string{w.texts, w.tools} {
		for session, ids := range m {
			for _, id := range ids {
				before, err := w.s.Item(ctx, id)
				if err != nil {
					rt.Fatal(err)
				}
				err = w.s.Update(Relaxed, func(tx *Tx) error {
					_, err := tx.Append(session, "r", ItemClosed, ClosedBody{Item: id})
					return err
				})
				if err != nil {
					rt.Fatal(err)
				}
				after, err := w.s.Item(ctx, id)
				if err != nil {
					rt.Fatal(err)
				}
				before.Open = false
				if diff := cmp.Diff(before, after, rawJSON); diff != "" {
					rt.Fatal(diff)
				}
			}
		}
	}
}

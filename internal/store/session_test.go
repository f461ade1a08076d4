package store

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestCreateSessionTwice(t *testing.T) {
	s := newStore(t)
	create := func() (r Session, err error) {
		err = s.Update(Durable, func(tx *Tx) error {
			r, err = tx.CreateSession(Session{Agent: "a", Cwd: "/w", ClientID: "mine"})
			if errors.Is(err, ErrExists) {
				return nil
			}
			return err
		})
		return r, err
	}
	first, err := create()
	if err != nil {
		t.Fatal(err)
	}
	second, err := create()
	if err != nil || second.ID != first.ID {
		t.Errorf("second %s, %v; first %s", second.ID, err, first.ID)
	}
	found, err := s.SessionByClientID(t.Context(), "mine")
	if err != nil || found.ID != first.ID {
		t.Errorf("found %s, %v", found.ID, err)
	}
	if _, err := s.SessionByClientID(t.Context(), "other"); !errors.Is(err, ErrNotFound) {
		t.Errorf("unknown client id: %v", err)
	}
}

func TestTitles(t *testing.T) {
	s := newStore(t)
	id := newSession(t, s)
	set := func(title string, byPerson bool, want string, version int64) {
		t.Helper()
		update(t, s, Durable, func(tx *Tx) error { return tx.SetTitle(id, title, byPerson) })
		r, err := s.Session(t.Context(), id)
		if err != nil || r.Title != want || r.Version != version {
			t.Errorf("title %q, version %d, %v; want %q, %d", r.Title, r.Version, err, want, version)
		}
	}
	set("agent's", false, "agent's", 1)
	set("agent's second", false, "agent's second", 1)
	set("person's", true, "person's", 2)
	set("agent's third", false, "person's", 2)
	last := allEvents(t, s, id)
	var body Session
	if err := json.Unmarshal(last[len(last)-1].Body, &body); err != nil {
		t.Fatal(err)
	}
	r, err := s.Session(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if body.Title != "person's" || body.LastEvent != r.LastEvent || body.Seq != r.Seq {
		t.Errorf("session.changed says %+v, the row is %+v", body, r)
	}
	verified(t, s)
}

func TestWhatListsDoNotHold(t *testing.T) {
	s := newStore(t)
	id := newSession(t, s)
	update(t, s, Durable, func(tx *Tx) error { return tx.SetAgentSession(id, "acp-1") })
	appendTo(t, s, id, AgentOptions, OptionsBody{Models: json.RawMessage(`["m"]`)})
	for range 2 {
		r, err := s.Session(t.Context(), id)
		if err != nil || r.AgentSession != "acp-1" || string(r.Options) != `{"models":["m"]}` {
			t.Errorf("%+v %s, %v", r, r.Options, err)
		}
		path := s.Path()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = openAt(t, path)
		update(t, s, Relaxed, func(tx *Tx) error {
			r, err := tx.Session(id)
			if r.AgentSession != "acp-1" || len(r.Options) == 0 {
				t.Errorf("%+v", r)
			}
			return err
		})
	}
}

// Mere activity is told to the list at once, then once a while, and never lost.
func TestActivityIsToldNowAndThen(t *testing.T) {
	s := newStore(t)
	update(t, s, Relaxed, func(tx *Tx) error {
		tx.w.window, tx.w.activityEvery = 0, 200*time.Millisecond
		return nil
	})
	id := newSession(t, s)
	start := time.Now()
	deltas := 0
	for ; time.Since(start) < time.Second; deltas++ {
		appendTo(t, s, id, TextDelta, DeltaBody{Item: id + "t", Text: "."})
		time.Sleep(2 * time.Millisecond)
	}
	told := func() (n int, last Session) {
		for _, ev := range allEvents(t, s, id) {
			if ev.Kind == SessionChanged {
				n++
				if err := json.Unmarshal(ev.Body, &last); err != nil {
					t.Fatal(err)
				}
			}
		}
		return n, last
	}
	eventually(t, "the list is told of the last delta", func() bool {
		_, last := told()
		return last.LastEvent == s.Last()
	})
	took := time.Since(start)
	if n, _ := told(); n < 2 || n > int(took/(200*time.Millisecond))+2 {
		t.Errorf("%d deltas in %v, told %d times", deltas, took, n)
	}
	verified(t, s)
}

func TestMessagesAreKnownAgain(t *testing.T) {
	s := newStore(t)
	id := newSession(t, s)
	update(t, s, Durable, func(tx *Tx) error {
		if _, known, err := tx.Message(id, "c1"); known || err != nil {
			t.Errorf("known %v, %v", known, err)
		}
		return tx.PutMessage(id, "c1", "hello", "item", "run", 7)
	})
	update(t, s, Durable, func(tx *Tx) error {
		m, known, err := tx.Message(id, "c1")
		if diff := cmp.Diff(MessageRecord{Item: "item", Run: "run", Seq: 7, TextHash: HashText("hello")}, m); diff != "" || !known || err != nil {
			t.Error(known, err, diff)
		}
		return nil
	})
	// A repeat that the caller did not look for fails by itself, not its batch.
	err := s.Update(Durable, func(tx *Tx) error { return tx.PutMessage(id, "c1", "x", "i", "r", 8) })
	if err == nil || errors.Is(err, ErrCommit) {
		t.Errorf("second put: %v", err)
	}
}

func TestDeletedSessionIsGone(t *testing.T) {
	s := newStore(t)
	update(t, s, Relaxed, func(tx *Tx) error { tx.w.window = 0; return nil })
	keep, id := newSession(t, s), newSession(t, s)
	text := strings.Repeat("x", 3000)
	for i := range 300 {
		update(t, s, Relaxed, func(tx *Tx) error {
			for j := range 4 {
				if _, err := tx.Append(id, "", NoticeGiven, NoticeBody{Item: id + number(i*4+j), Text: text}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	appendTo(t, s, id, TextDelta, DeltaBody{Item: id + "open", Text: "x"})
	update(t, s, Relaxed, func(tx *Tx) error {
		return errors.Join(tx.PutEpoch(Epoch{Name: "e", Session: id}), tx.PutRun(Run{ID: "r", Session: id}), tx.PutMessage(id, "c", "", "", "", 1))
	})
	before := s.Stats(t.Context())
	update(t, s, Durable, func(tx *Tx) error { return tx.DeleteSession(id) })

	last := s.Last()
	for what, err := range map[string]error{
		"session": func() error { _, err := s.Session(t.Context(), id); return err }(),
		"items":   func() error { _, err := s.Items(t.Context(), id, 0, 0); return err }(),
		"events":  func() error { _, _, err := s.Events(t.Context(), id, 0, 0); return err }(),
		"append": s.Update(Relaxed, func(tx *Tx) error {
			_, err := tx.Append(id, "", UsageChanged, nil)
			return err
		}),
	} {
		if !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", what, err)
		}
	}
	count := func(text string) (n int) {
		t.Helper()
		if err := s.view(t.Context(), func(q *reading) error { return q.one(text, nil, &n) }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	eventually(t, "all of it is removed", func() bool { return count("SELECT count(*) FROM deletions") == 0 })
	for _, table := range []string{"items", "runs", "messages", "epochs", "offsets"} {
		if n := count("SELECT count(*) FROM " + table); n != 0 {
			t.Errorf("%d rows are left in %s", n, table)
		}
	}
	if n := count("SELECT count(*) FROM events"); n != 2 {
		t.Errorf("%d events are left, want one of the other session and the tombstone", n)
	}
	eventually(t, "free pages are given back", func() bool { return count("PRAGMA freelist_count") < vacuumFrom })

	path := s.Path()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openAt(t, path)
	if s.Last() != last {
		t.Errorf("the log ends with %d, it was %d", s.Last(), last)
	}
	if after := s.Stats(t.Context()); after.DBBytes > before.DBBytes/2+vacuumFrom*4096 && before.DBBytes > 4<<20 {
		t.Errorf("%d bytes before, %d after", before.DBBytes, after.DBBytes)
	}
	if _, err := s.Session(t.Context(), keep); err != nil {
		t.Error(err)
	}
	verified(t, s)
}

func expired(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

func TestApprovals(t *testing.T) {
	s := newStore(t)
	id := newSession(t, s)
	expires := time.Now().Add(time.Minute)
	var a Approval
	update(t, s, Durable, func(tx *Tx) (err error) {
		a, err = tx.RequestApproval(Approval{
			Session: id, Run: "r", Title: "rm -rf", Epoch: "e", RawID: json.RawMessage(`"a b"`), ExpiresAt: &expires,
			Detail:  json.RawMessage(`{"command":"rm"}`),
			Options: []ApprovalOption{{ID: "once", Name: "Once", Kind: "allow_once"}},
		})
		return err
	})
	got, err := s.Approval(t.Context(), a.ID)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(a, got); diff != "" {
		t.Error(diff)
	}
	row, err := s.Session(t.Context(), id)
	if err != nil || row.State != StateWaiting || row.Waiting != 1 {
		t.Errorf("%+v, %v", row, err)
	}
	list, err := s.Approvals(t.Context(), ApprovalPending, "")
	if err != nil || len(list) != 1 {
		t.Errorf("%d pending, %v", len(list), err)
	}

	resolve := func(state, chosen string) (r Approval, err error) {
		err = s.Update(Durable, func(tx *Tx) error {
			r, err = tx.ResolveApproval(ResolvedBody{ID: a.ID, State: state, Chosen: chosen, By: "me", Reason: "because", Code: "why"}, "client")
			return err
		})
		return r, err
	}
	first, err := resolve(ApprovalAnswered, "once")
	if err != nil {
		t.Fatal(err)
	}
	second, err := resolve(ApprovalCancelled, "")
	if !errors.Is(err, ErrNotPending) || second.Chosen != "once" || second.ClientID != "client" || second.State != ApprovalAnswered {
		t.Errorf("second answer: %+v, %v", second, err)
	}
	got, err = s.Approval(t.Context(), a.ID)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first, got, cmp.Transformer("client", func(a Approval) Approval { return a })); diff != "" {
		t.Error(diff)
	}
	var inItem Approval
	if err := json.Unmarshal(item(t, s, a.Item).Body, &inItem); err != nil || inItem.State != ApprovalAnswered || inItem.Chosen != "once" || inItem.Code != "why" {
		t.Errorf("item says %+v, %v", inItem, err)
	}
	verified(t, s)

	// Too late for the agent.
	update(t, s, Durable, func(tx *Tx) error {
		_, err := tx.ExpireAnswered(a.ID, "too late")
		return err
	})
	if got, err = s.Approval(t.Context(), a.ID); err != nil || got.State != ApprovalExpired || got.Reason != "too late" {
		t.Errorf("%+v, %v", got, err)
	}
	if row, err = s.Session(t.Context(), id); err != nil || row.Waiting != 0 {
		t.Errorf("%+v, %v", row, err)
	}
	verified(t, s)
}

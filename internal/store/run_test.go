package store

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRuns(t *testing.T) {
	s := newStore(t)
	id := newSession(t, s)
	at := time.Now().UTC().Truncate(time.Millisecond)
	current := Run{ID: "c", Session: id, Item: "i", Text: "t", State: RunStateCurrent, Pos: 1, Epoch: "e", Prompt: 3, Cancelling: true, QueuedAt: at, StartedAt: at}
	update(t, s, Durable, func(tx *Tx) error {
		return errors.Join(
			tx.PutRun(Run{ID: "q2", Session: id, State: RunStateQueued, Pos: 9, QueuedAt: at}),
			tx.PutRun(Run{ID: "q1", Session: id, State: RunStateQueued, Pos: 2, QueuedAt: at}),
			tx.PutRun(Run{ID: "old", Session: id, State: RunStateEnded, Reason: EndTurn, QueuedAt: at, EndedAt: at}),
			tx.PutRun(current))
	})
	other := newSession(t, s)
	update(t, s, Relaxed, func(tx *Tx) error {
		return tx.PutRun(Run{ID: "w", Session: other, State: RunStateCurrent, QueuedAt: at.Add(-time.Minute)})
	})
	counts, err := s.RunCounts(t.Context())
	if diff := cmp.Diff(RunCounts{Running: 1, Waiting: 1, Queued: 2, OldestWaiting: at.Add(-time.Minute)}, counts); diff != "" || err != nil {
		t.Error(err, diff)
	}
	update(t, s, Relaxed, func(tx *Tx) error {
		got, ok, err := tx.CurrentRun(id)
		if diff := cmp.Diff(current, got); diff != "" || !ok || err != nil {
			t.Error(ok, err, diff)
		}
		queue, err := tx.QueuedRuns(id)
		if err != nil || len(queue) != 2 || queue[0].ID != "q1" || queue[1].ID != "q2" {
			t.Errorf("%+v, %v", queue, err)
		}
		current.State, current.EndedAt = RunStateEnded, at
		current.Detail, current.Said = "it ended with 3", Said{Code: "exited", Args: map[string]any{"exit": 3.0, "name": "x"}}
		if err := tx.PutRun(current); err != nil {
			return err
		}
		if _, ok, err = tx.CurrentRun(id); ok || err != nil {
			t.Error(ok, err)
		}
		if _, err := tx.Run("none"); !errors.Is(err, ErrNotFound) {
			t.Error(err)
		}
		return nil
	})
	runs, err := s.Runs(t.Context(), id)
	if err != nil || len(runs) != 4 {
		t.Errorf("%d runs, %v", len(runs), err)
	}
	got, err := s.Run(t.Context(), "c")
	if diff := cmp.Diff(current, got); diff != "" || err != nil {
		t.Error(err, diff)
	}
}

func TestEpochsAndOffsets(t *testing.T) {
	s := newStore(t)
	id := newSession(t, s)
	update(t, s, Durable, func(tx *Tx) error {
		return errors.Join(
			tx.PutEpoch(Epoch{Name: "old", Session: id, State: EpochEnded}),
			tx.PutEpoch(Epoch{Name: "new", Session: id, State: EpochStarting, BootID: "b", Offset: 2}))
	})
	set := func(n uint64) error {
		return s.Update(Relaxed, func(tx *Tx) error { return tx.SetOffset("new", n) })
	}
	for _, tt := range []struct {
		n    uint64
		want error
	}{{2, ErrOrder}, {3, nil}, {3, ErrOrder}, {1, ErrOrder}, {10, nil}} {
		if err := set(tt.n); !errors.Is(err, tt.want) {
			t.Errorf("set offset %d: %v, want %v", tt.n, err, tt.want)
		}
	}
	// Rolled back, in one way and the other.
	_ = s.Update(Relaxed, func(tx *Tx) error { return errors.Join(tx.SetOffset("new", 20), errOnPurpose) })
	_ = s.Update(Relaxed, func(tx *Tx) error { tx.fatal = errOnPurpose; return tx.SetOffset("new", 20) })
	update(t, s, Relaxed, func(tx *Tx) error {
		e, ok, err := tx.LiveEpoch(id)
		if !ok || err != nil || e.Name != "new" || e.Offset != 10 {
			t.Errorf("%+v, %v, %v", e, ok, err)
		}
		e.State, e.Info = EpochReady, []byte(`{"a":1}`)
		e.Offset = 0 // not what PutEpoch changes
		return tx.PutEpoch(e)
	})
	if err := set(11); err != nil {
		t.Error(err)
	}
	live, err := s.Epochs(t.Context(), true)
	if err != nil || len(live) != 1 || live[0].Offset != 11 || string(live[0].Info) != `{"a":1}` {
		t.Errorf("%+v, %v", live, err)
	}
	if all, err := s.Epochs(t.Context(), false); err != nil || len(all) != 2 {
		t.Errorf("%+v, %v", all, err)
	}
	if err := s.Update(Relaxed, func(tx *Tx) error { return tx.SetOffset("none", 1) }); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}

func TestLines(t *testing.T) {
	s := newStore(t)
	update(t, s, Durable, func(tx *Tx) error {
		for i, kind := range []string{LineInitialize, LineNew, LinePrompt, LineAnswer} {
			next, err := tx.NextLine("e")
			if err != nil {
				return err
			}
			l, err := tx.PushLine(Line{Epoch: "e", Kind: kind, Data: []byte{byte(i), 0xff}, Sum: 0xffffffff})
			if err != nil {
				return err
			}
			if l.N != uint64(i+1) || next != l.N {
				t.Errorf("line %d, next was %d", l.N, next)
			}
		}
		return errors.Join(tx.SetAnswered("e", 1), tx.VoidLine("e", 2))
	})
	update(t, s, Relaxed, func(tx *Tx) error {
		open, err := tx.UnansweredLines("e")
		if err != nil || len(open) != 2 || open[0].N != 3 || open[1].N != 4 {
			t.Errorf("%+v, %v", open, err)
		}
		prompts, err := tx.UnansweredLines("e", LinePrompt, LineNew)
		if err != nil || len(prompts) != 1 || prompts[0].N != 3 {
			t.Errorf("%+v, %v", prompts, err)
		}
		l, err := tx.Line("e", 2)
		if err != nil || !l.Void || !bytes.Equal(l.Data, []byte{1, 0xff}) || l.Sum != 0xffffffff {
			t.Errorf("%+v, %v", l, err)
		}
		if _, err := tx.Line("e", 9); !errors.Is(err, ErrNotFound) {
			t.Error(err)
		}
		if _, err := tx.PushLine(Line{Epoch: "e", N: 9}); !errors.Is(err, ErrOrder) {
			t.Error(err)
		}
		after, err := tx.LinesAfter("e", 1)
		if err != nil || len(after) != 3 {
			t.Errorf("%+v, %v", after, err)
		}
		return nil
	})
	lines, err := s.Lines(t.Context(), "e", 2)
	if err != nil || len(lines) != 2 || lines[0].N != 3 {
		t.Errorf("%+v, %v", lines, err)
	}
}

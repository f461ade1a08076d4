package session

import (
	"errors"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-dev/holdfast/internal/said"
	"github.com/holdfast-dev/holdfast/internal/store"
)

// TestTallies ends runs in every way and looks at the counts. What is rolled
// back is not counted.
func TestTallies(t *testing.T) {
	begun := time.Now()
	var later atomic.Int64 // nanoseconds; the store looks at its clock when it likes
	st, err := store.Open(t.Context(), store.Options{
		Path: filepath.Join(t.TempDir(), "db"), Log: slog.New(slog.DiscardHandler), BootID: "b", Now: func() time.Time { return begun.Add(time.Duration(later.Load())) },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	m := NewManager(Options{Store: st, Catalogue: oneAgent{}, Log: slog.New(slog.DiscardHandler), BootID: "b"})
	m.closing = true // no worker
	s, _, err := m.Create(t.Context(), New{Agent: "a", Cwd: t.TempDir(), Title: "t"})
	if err != nil {
		t.Fatal(err)
	}
	send := func(id string) string {
		t.Helper()
		a, err := m.Send(t.Context(), s.ID, Message{ClientID: id, Text: "hello"})
		if err != nil {
			t.Fatal(err)
		}
		return a.Run
	}
	end := func(id, reason string, after error) {
		t.Helper()
		err := m.update(func(tx *store.Tx, fx *effects) error {
			run, err := tx.Run(id)
			if err != nil {
				return err
			}
			return errors.Join(m.endRun(tx, run, reason, said.Words{}, false, fx), after)
		})
		if !errors.Is(err, after) {
			t.Fatal(err)
		}
	}
	end(send("never given to the agent"), store.Cancelled, nil)
	err = m.update(func(tx *store.Tx, _ *effects) error {
		return tx.PutEpoch(store.Epoch{Name: "e", Session: s.ID, Agent: "a", BootID: "b", State: store.EpochReady})
	})
	if err != nil {
		t.Fatal(err)
	}
	run := send("one")
	later.Add(int64(10 * time.Second))
	end(run, store.Failed, errors.New("rolled back"))
	end(run, store.EndTurn, nil)
	run = send("two")
	later.Add(int64(10 * time.Hour))
	end(run, "an agent's own words", nil)
	want := map[string]Tally{"a": {
		Ended: map[string]uint64{store.Cancelled: 1, store.EndTurn: 1, "other": 1},
		Took:  []uint64{0, 0, 1, 1, 1, 1, 1, 1},
		Count: 2, Sum: 10*time.Hour + 10*time.Second,
	}}
	if diff := cmp.Diff(want, m.Tallies()); diff != "" {
		t.Error(diff)
	}
}

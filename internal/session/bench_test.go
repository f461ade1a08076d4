package session

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/holdfast-dev/holdfast/internal/agent"
	"github.com/holdfast-dev/holdfast/internal/said"
	"github.com/holdfast-dev/holdfast/internal/store"
)

// oneAgent is a catalogue of one.
type oneAgent struct{}

func (oneAgent) Get(_ context.Context, id string) (agent.Agent, error) {
	return agent.Agent{ID: id, Name: id}, nil
}
func (oneAgent) List(context.Context) []agent.Found { return nil }
func (oneAgent) Name(id string) string              { return id }
func (oneAgent) Steering(string) agent.Steering     { return agent.Steering{} }

// BenchmarkSend is a message to an idle agent: stored, and its prompt in the
// outbox. The end of the run before it is not in the time.
func BenchmarkSend(b *testing.B) {
	st, err := store.Open(b.Context(), store.Options{Path: filepath.Join(b.TempDir(), "db"), Log: slog.New(slog.DiscardHandler), BootID: "b"})
	if err != nil {
		b.Fatal(err)
	}
	defer st.Close()
	m := NewManager(Options{Store: st, Catalogue: oneAgent{}, Log: slog.New(slog.DiscardHandler), BootID: "b"})
	m.closing = true // no worker: what is measured is the transaction
	s, _, err := m.Create(b.Context(), New{Agent: "a", Cwd: b.TempDir(), Title: "t"})
	if err != nil {
		b.Fatal(err)
	}
	err = m.update(func(tx *store.Tx, _ *effects) error {
		return tx.PutEpoch(store.Epoch{Name: "e", Session: s.ID, Agent: "a", BootID: "b", State: store.EpochReady})
	})
	if err != nil {
		b.Fatal(err)
	}
	for i := 0; b.Loop(); i++ {
		a, err := m.Send(b.Context(), s.ID, Message{ClientID: fmt.Sprint(i), Text: "hello"})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		err = m.update(func(tx *store.Tx, fx *effects) error {
			run, err := tx.Run(a.Run)
			if err != nil {
				return err
			}
			return m.endRun(tx, run, store.EndTurn, said.Words{}, false, fx)
		})
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

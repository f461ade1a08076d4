package session

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/holdfast-dev/holdfast/internal/said"
	"github.com/holdfast-dev/holdfast/internal/store"
)

// queued returns a run that waits in the session's queue. One that has begun
// meanwhile is a conflict: the agent may have read it.
func queued(tx *store.Tx, session, id string) (store.Run, error) {
	if _, err := present(tx, session); err != nil {
		return store.Run{}, err
	}
	run, err := tx.Run(id)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return run, err
	}
	if err != nil || run.Session != session || run.State != store.RunStateQueued {
		return run, &Error{Code: CodeNotQueued, Message: "This message does not wait any more: it has begun, or was removed. Nothing was changed."}
	}
	return run, nil
}

// EditQueued changes the text of a message that waits.
func (m *Manager) EditQueued(_ context.Context, session, id, text string) error {
	return m.update(func(tx *store.Tx, _ *effects) error {
		run, err := queued(tx, session, id)
		if err != nil || run.Text == text {
			return err
		}
		if strings.TrimSpace(text) == "" {
			it, err := tx.Item(run.Item)
			if err != nil {
				return err
			}
			var body store.MessageBody
			if err := json.Unmarshal(it.Body, &body); err != nil {
				return err
			}
			if len(body.Files) == 0 {
				return &Error{Code: CodeBadRequest, Message: "The message is empty. Remove it instead."}
			}
		}
		run.Text = text
		if err := tx.PutRun(run); err != nil {
			return err
		}
		_, err = tx.Append(session, run.ID, store.MessageEdited, store.EditedBody{Item: run.Item, Text: text})
		return err
	})
}

// Unqueue removes a message that waits. It stays in the transcript, as one that
// was cancelled.
func (m *Manager) Unqueue(_ context.Context, session, id string) error {
	return m.update(func(tx *store.Tx, fx *effects) error {
		run, err := queued(tx, session, id)
		if err != nil {
			return err
		}
		return m.endRun(tx, run, store.Cancelled, said.TakenOut(), false, fx)
	})
}

// Reorder gives the messages that wait another order. order must name each of
// them once, or the queue has changed since it was seen.
func (m *Manager) Reorder(_ context.Context, session string, order []string) error {
	return m.update(func(tx *store.Tx, _ *effects) error {
		s, err := present(tx, session)
		if err != nil {
			return err
		}
		runs, err := tx.QueuedRuns(session)
		if err != nil {
			return err
		}
		places := make([]int64, len(runs))
		byID := map[string]store.Run{}
		for i, r := range runs {
			places[i], byID[r.ID] = r.Pos, r
		}
		slices.Sort(places)
		if len(order) != len(runs) {
			return errQueueChanged()
		}
		for i, id := range order {
			r, ok := byID[id]
			if !ok {
				return errQueueChanged()
			}
			delete(byID, id) // named twice, it is not there the second time
			r.Pos = places[i]
			if err := tx.PutRun(r); err != nil {
				return err
			}
		}
		return appendQueue(tx, session, s.Paused)
	})
}

func errQueueChanged() error {
	return &Error{Code: CodeQueueChanged, Message: "The queue has changed since you saw it. Read it again and repeat the change."}
}

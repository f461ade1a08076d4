package store

import (
	"context"
	"fmt"
)

// Unstarted lists the sessions that have a run which has not ended: one under
// way, or one that waits.
func (s *Store) Unstarted(ctx context.Context) (list []string, err error) {
	err = s.view(ctx, func(q *reading) error {
		list, err = queryRead(q, func(r scanner) (id string, err error) { return id, r.Scan(&id) },
			"SELECT DISTINCT session FROM runs WHERE state <> 'ended'")
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list sessions with runs: %w", err)
	}
	return list, nil
}

// ExpireAnswered makes an answered approval expired: its answer reached the
// agent after the agent's own deadline. One that is not answered is returned
// with ErrNotPending.
func (tx *Tx) ExpireAnswered(id, reason string) (Approval, error) {
	a, err := tx.Approval(id)
	if err != nil {
		return Approval{}, fmt.Errorf("expire approval %s: %w", id, err)
	}
	if a.State != ApprovalAnswered {
		return a, fmt.Errorf("expire approval %s: %w", id, ErrNotPending)
	}
	b := ResolvedBody{ID: id, Item: a.Item, State: ApprovalExpired, Chosen: a.Chosen, By: a.By, AnsweredAt: tx.now, Reason: reason, Late: true}
	body, err := encode(b)
	if err != nil {
		return Approval{}, err
	}
	if _, err := tx.append(a.Session, a.Run, ApprovalResolved, body, &a); err != nil {
		return Approval{}, fmt.Errorf("expire approval %s: %w", id, err)
	}
	a.resolve(b)
	return a, nil
}

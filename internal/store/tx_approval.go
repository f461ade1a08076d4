package store

import (
	"encoding/json"
	"errors"
	"fmt"
)

const approvalColumns = `id, session, run, state, title, item, at, detail, options, chosen, by, client_id,
	answered_at, reason, code, expires_at, epoch, raw_id`

func scanApproval(r scanner) (a Approval, err error) {
	var at, answered, expires int64
	var options []byte
	err = r.Scan(&a.ID, &a.Session, &a.Run, &a.State, &a.Title, &a.Item, &at, (*[]byte)(&a.Detail), &options, &a.Chosen, &a.By, &a.ClientID,
		&answered, &a.Reason, &a.Code, &expires, &a.Epoch, (*[]byte)(&a.RawID))
	if err != nil {
		return a, err
	}
	a.At, a.AnsweredAt, a.ExpiresAt = fromMillis(at), fromMillisPtr(answered), fromMillisPtr(expires)
	if err := json.Unmarshal(options, &a.Options); err != nil {
		return a, fmt.Errorf("read options of approval %s: %w", a.ID, err)
	}
	return a, nil
}

// planApproval checks an event about an approval and returns what writes its row.
func (tx *Tx) planApproval(ev Event, extra *Approval) (func() error, error) {
	switch ev.Kind {
	case ApprovalRequested:
		var a Approval
		if err := json.Unmarshal(ev.Body, &a); err != nil {
			return nil, err
		}
		if a.ID == "" || a.Session != ev.Session || a.State != ApprovalPending {
			return nil, errors.New("an approval needs an id, the session and the state pending")
		}
		if extra != nil {
			a.Epoch, a.RawID = extra.Epoch, extra.RawID
		}
		if _, err := tx.Approval(a.ID); !errors.Is(err, ErrNotFound) {
			return nil, errors.Join(fmt.Errorf("approval %s: %w", a.ID, ErrExists), err)
		}
		return func() error { return tx.insertApproval(a) }, nil
	case ApprovalResolved:
		var b ResolvedBody
		if err := json.Unmarshal(ev.Body, &b); err != nil {
			return nil, err
		}
		a, err := tx.Approval(b.ID)
		if err != nil {
			return nil, fmt.Errorf("approval %s: %w", b.ID, err)
		}
		if want := stateBefore(b); a.State != want {
			return nil, fmt.Errorf("approval %s is %s, not %s: %w", b.ID, a.State, want, ErrNotPending)
		}
		clientID := ""
		if extra != nil {
			clientID = extra.ClientID
		}
		return func() error {
			return tx.exec("UPDATE approvals SET state = ?, chosen = ?, by = ?, client_id = ?, answered_at = ?, reason = ?, code = ? WHERE id = ?",
				b.State, b.Chosen, b.By, clientID, millis(b.AnsweredAt), b.Reason, b.Code, b.ID)
		}, nil
	}
	return nil, nil
}

// stateBefore is what an approval must be for b: pending, or answered where the
// answer turns out to have come too late.
func stateBefore(b ResolvedBody) string {
	if b.Late {
		return ApprovalAnswered
	}
	return ApprovalPending
}

func (tx *Tx) insertApproval(a Approval) error {
	a.normalise()
	options, err := encode(a.Options)
	if err != nil {
		return err
	}
	var detail any
	if len(a.Detail) > 0 {
		detail = string(a.Detail)
	}
	return tx.exec("INSERT INTO approvals ("+approvalColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, '', '', '', 0, '', '', ?, ?, ?)",
		a.ID, a.Session, a.Run, a.State, a.Title, a.Item, a.At.UnixMilli(), detail, string(options),
		millisPtr(a.ExpiresAt), a.Epoch, []byte(a.RawID))
}

// RequestApproval appends approval.requested and keeps Epoch and RawID beside
// it. Empty ID, Item and At are filled in; the state is pending.
func (tx *Tx) RequestApproval(a Approval) (Approval, error) {
	if a.ID == "" {
		a.ID = NewID()
	}
	if a.Item == "" {
		a.Item = NewID()
	}
	if a.At.IsZero() {
		a.At = tx.now
	}
	a.State = ApprovalPending
	a.normalise()
	body, err := encode(a)
	if err != nil {
		return Approval{}, err
	}
	if _, err := tx.append(a.Session, a.Run, ApprovalRequested, body, &a); err != nil {
		return Approval{}, fmt.Errorf("request approval in session %s: %w", a.Session, err)
	}
	return a, nil
}

// normalise makes a what its row gives back.
func (a *Approval) normalise() {
	if a.Options == nil {
		a.Options = []ApprovalOption{}
	}
	a.At = fromMillis(millis(a.At))
	a.ExpiresAt = fromMillisPtr(millisPtr(a.ExpiresAt))
}

// ResolveApproval appends approval.resolved, whose Item and AnsweredAt it fills
// in, and returns the approval as it is then; clientID is of the answer. One
// that is no longer pending is returned with ErrNotPending.
func (tx *Tx) ResolveApproval(b ResolvedBody, clientID string) (Approval, error) {
	a, err := tx.Approval(b.ID)
	if err != nil {
		return Approval{}, fmt.Errorf("resolve approval %s: %w", b.ID, err)
	}
	if a.State != ApprovalPending {
		return a, fmt.Errorf("resolve approval %s: %w", b.ID, ErrNotPending)
	}
	b.Item, b.AnsweredAt = a.Item, tx.now
	body, err := encode(b)
	if err != nil {
		return Approval{}, err
	}
	a.ClientID = clientID
	if _, err := tx.append(a.Session, a.Run, ApprovalResolved, body, &a); err != nil {
		return Approval{}, fmt.Errorf("resolve approval %s: %w", b.ID, err)
	}
	a.resolve(b)
	return a, nil
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

// Approval returns an approval, or ErrNotFound.
func (tx *Tx) Approval(id string) (Approval, error) {
	list, err := queryTx(tx, scanApproval, "SELECT "+approvalColumns+" FROM approvals WHERE id = ?", id)
	a, ok, err := first(list, err)
	if err == nil && !ok {
		err = ErrNotFound
	}
	return a, err
}

// PendingApprovals returns a session's open questions, oldest first.
func (tx *Tx) PendingApprovals(session string) ([]Approval, error) {
	return queryTx(tx, scanApproval, "SELECT "+approvalColumns+
		" FROM approvals WHERE session = ? AND state = 'pending' ORDER BY at, rowid", session)
}

package session

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast/internal/acp"
	"github.com/holdfast-dev/holdfast/internal/said"
	"github.com/holdfast-dev/holdfast/internal/store"
)

// expiryMargin is how long before an agent's own deadline an answer is
// refused: one that would reach it too late must not look given.
const expiryMargin = 2 * time.Second

// Answer answers a question of an agent, exactly once. The same client's
// repeated answer is answered the same.
func (m *Manager) Answer(_ context.Context, id string, ans Answer) (store.Approval, error) {
	var out store.Approval
	err := m.update(func(tx *store.Tx, fx *effects) error {
		a, err := tx.Approval(id)
		if err != nil {
			return err
		}
		switch a.State {
		case store.ApprovalPending:
		case store.ApprovalAnswered:
			if a.Chosen == ans.Option && ans.ClientID != "" && a.ClientID == ans.ClientID {
				out = a
				return nil
			}
			return &Error{Code: CodeApprovalAnswered, Message: "This question was answered already" + byWhom(a.By) + ". The first answer counts.", Approval: &a}
		case store.ApprovalExpired:
			return &Error{Code: CodeApprovalExpired, Message: "The agent stopped waiting for this answer. It goes on as if it had been refused; ask it again.", Approval: &a}
		default:
			return &Error{Code: CodeApprovalCancelled, Message: "This question is no longer open: " + a.Reason, Approval: &a}
		}
		if !offered(a, ans.Option) {
			return &Error{Code: CodeUnknownOption, Message: "The agent does not offer the option " + ans.Option + " for this question. Choose one of its options.", Approval: &a}
		}
		if tooLate(a, tx.Now()) {
			return &Error{Code: CodeApprovalExpired, Message: "It is too late for this answer: the agent waits no longer. Ask it again.", Approval: &a}
		}
		data, err := acp.Response(a.RawID, acp.PermissionResult{Outcome: acp.Selected(ans.Option)})
		if err != nil {
			return err
		}
		if out, err = tx.ResolveApproval(store.ResolvedBody{ID: a.ID, State: store.ApprovalAnswered, Chosen: ans.Option, By: ans.By}, ans.ClientID); err != nil {
			return err
		}
		fx.wakeUp(a.Session)
		_, err = pushLine(tx, store.Line{Epoch: a.Epoch, Kind: store.LineAnswer, Run: a.Run, Approval: a.ID, Data: data})
		return err
	})
	return out, err
}

func byWhom(by string) string {
	if by == "" {
		return ""
	}
	return " by " + by
}

func offered(a store.Approval, option string) bool {
	for _, o := range a.Options {
		if o.ID == option {
			return true
		}
	}
	return false
}

// answerCancelled closes a question and tells the agent so.
func answerCancelled(tx *store.Tx, a store.Approval, why said.Words) error {
	data, err := acp.Response(a.RawID, acp.PermissionResult{Outcome: acp.Cancelled()})
	if err != nil {
		return err
	}
	if err := cancelApproval(tx, a, why); err != nil {
		return err
	}
	_, err = pushLine(tx, store.Line{Epoch: a.Epoch, Kind: store.LineAnswer, Run: a.Run, Approval: a.ID, Data: data})
	return err
}

// tooLate tells whether an answer could reach the agent too late.
func tooLate(a store.Approval, now time.Time) bool {
	return a.ExpiresAt != nil && !now.Before(a.ExpiresAt.Add(-expiryMargin))
}

// cancelApprovals closes the questions of a run that is over; the agent no
// longer listens. One that could not be answered any more has expired: a run
// may end by that, and the agent's clock is not ours. With run "" it closes all
// of the session.
func cancelApprovals(tx *store.Tx, session, run string, why said.Words) error {
	pending, err := tx.PendingApprovals(session)
	if err != nil {
		return err
	}
	for _, a := range pending {
		if run != "" && a.Run != run {
			continue
		}
		if tooLate(a, tx.Now()) {
			err = expireOne(tx, a.ID)
		} else {
			err = cancelApproval(tx, a, why)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func cancelApproval(tx *store.Tx, a store.Approval, why said.Words) error {
	_, err := tx.ResolveApproval(store.ResolvedBody{ID: a.ID, State: store.ApprovalCancelled, Reason: why.Text, Code: why.Code}, "")
	return err
}

// expire closes the questions whose agent has stopped waiting.
func (m *Manager) expire(now time.Time) error {
	pending, err := m.Store.Approvals(m.ctx, store.ApprovalPending, "")
	if err != nil {
		return err
	}
	for _, a := range pending {
		if a.ExpiresAt == nil || now.Before(*a.ExpiresAt) {
			continue
		}
		if err := m.update(func(tx *store.Tx, _ *effects) error { return expireOne(tx, a.ID) }); err != nil {
			return err
		}
	}
	return nil
}

func expireOne(tx *store.Tx, id string) error {
	_, err := tx.ResolveApproval(store.ResolvedBody{ID: id, State: store.ApprovalExpired, Reason: "Not answered in time."}, "")
	if errors.Is(err, store.ErrNotPending) {
		return nil
	}
	return err
}

// lateAnswer expires an answer that was written to the agent after the
// agent's own deadline.
func (m *Manager) lateAnswer(epoch string, n uint64, at time.Time) error {
	return m.update(func(tx *store.Tx, _ *effects) error {
		line, err := tx.Line(epoch, n)
		if err != nil || line.Kind != store.LineAnswer || line.Approval == "" {
			return err
		}
		a, err := tx.Approval(line.Approval)
		if err != nil || a.State != store.ApprovalAnswered || a.ExpiresAt == nil || at.Before(*a.ExpiresAt) {
			return err
		}
		_, err = tx.ExpireAnswered(a.ID, "The answer reached the agent too late.")
		return err
	})
}

// approvalOf makes the durable row of a permission request: what the agent
// says of the call there, and where it says nothing, what it said before.
func approvalOf(req acp.PermissionRequest, known *acp.ToolCall) (title string, detail json.RawMessage, options []store.ApprovalOption) {
	var call acp.ToolCall
	if known != nil {
		call = *known
	}
	req.ToolCall.Apply(&call)
	d := map[string]any{}
	if command := commandOf(call.RawInput); command != "" {
		d["command"] = command
	}
	var diffs []map[string]any
	var text []string
	for _, c := range call.Content {
		switch {
		case c.Diff != nil:
			diffs = append(diffs, map[string]any{"path": c.Diff.Path, "old": c.Diff.OldText, "new": c.Diff.NewText})
		case c.Content != nil && c.Content.Text != "":
			text = append(text, c.Content.Text)
		}
	}
	if len(diffs) > 0 {
		d["diff"] = diffs
	}
	if len(text) > 0 {
		d["text"] = strings.Join(text, "\n")
	}
	if len(call.RawInput) > 0 && len(call.RawInput) <= 64<<10 {
		d["raw_input"] = call.RawInput
	}
	if call.Kind != "" {
		d["kind"] = call.Kind
	}
	detail, _ = json.Marshal(d) // of strings and valid JSON: cannot fail
	for _, o := range req.Options {
		options = append(options, store.ApprovalOption{ID: o.OptionID, Name: o.Name, Kind: string(o.Kind)})
	}
	return call.Title, detail, options
}

// commandOf finds the command line in a tool's raw input, as agents name it.
func commandOf(raw json.RawMessage) string {
	var in struct {
		Command json.RawMessage `json:"command"`
		Cmd     json.RawMessage `json:"cmd"`
	}
	if len(raw) == 0 || json.Unmarshal(raw, &in) != nil {
		return ""
	}
	for _, c := range []json.RawMessage{in.Command, in.Cmd} {
		var s string
		if json.Unmarshal(c, &s) == nil && s != "" {
			return s
		}
		var list []string
		if json.Unmarshal(c, &list) == nil && len(list) > 0 {
			return strings.Join(list, " ")
		}
	}
	return ""
}

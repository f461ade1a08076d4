package session

import (
	"bytes"
	"encoding/json"

	"github.com/holdfast-dev/holdfast/internal/acp"
	"github.com/holdfast-dev/holdfast/internal/said"
	"github.com/holdfast-dev/holdfast/internal/store"
)

// request answers what the agent asks. Permissions go to a person, the rest is
// not offered.
func (in *interpreter) request(e entry) error {
	if e.msg.Method != acp.MethodRequestPermission {
		data := acp.ErrorResponse(e.msg.ID, acp.CodeMethodNotFound, "Holdfast does not offer "+e.msg.Method)
		return in.push(store.Line{Kind: store.LineRefusal, Run: in.run.ID, Data: data})
	}
	var req acp.PermissionRequest
	if err := json.Unmarshal(e.msg.Params, &req); err != nil || len(req.Options) == 0 {
		if err := in.unreadable(e); err != nil {
			return err
		}
		data := acp.ErrorResponse(e.msg.ID, acp.CodeInvalidParams, "the permission request cannot be read or offers no option")
		return in.push(store.Line{Kind: store.LineRefusal, Run: in.run.ID, Data: data})
	}
	if err := in.closeText(); err != nil {
		return err
	}
	// An agent that uses an id again has given up the earlier question.
	pending, err := in.tx.PendingApprovals(in.s.ID)
	if err != nil {
		return err
	}
	for _, a := range pending {
		if a.Epoch == in.ep.Name && bytes.Equal(a.RawID, e.msg.ID) {
			if err := cancelApproval(in.tx, a, said.AskedAnew()); err != nil {
				return err
			}
		}
	}
	var known *acp.ToolCall
	if t, err := in.tool(req.ToolCall.ID); err != nil {
		return err
	} else if t != nil {
		known = &t.call
		if t.open {
			if err := in.updateTool(t, req.ToolCall); err != nil {
				return err
			}
		}
	}
	title, detail, options := approvalOf(req, known)
	id := newID("a")
	a := store.Approval{
		ID: id, Session: in.s.ID, Run: in.run.ID, State: store.ApprovalPending, Title: title, Item: "i" + id,
		At: e.rec.At, Detail: detail, Options: options, Epoch: in.ep.Name, RawID: e.msg.ID,
	}
	if d := in.l.agent().PermissionDeadline; d > 0 {
		at := e.rec.At.Add(d)
		a.ExpiresAt = &at
	}
	if _, err := in.tx.RequestApproval(a); err != nil {
		return err
	}
	if in.run.Cancelling {
		in.pushed = true
		return answerCancelled(in.tx, a, said.RunStopped())
	}
	in.fx.wakeUp(in.s.ID)
	return nil
}

// cancelRequest closes the question that the agent takes back.
func (in *interpreter) cancelRequest(msg acp.Message) error {
	var p acp.CancelRequestParams
	if err := json.Unmarshal(msg.Params, &p); err != nil {
		return nil //nolint:nilerr // an unreadable notification is ignored, as the protocol says
	}
	pending, err := in.tx.PendingApprovals(in.s.ID)
	if err != nil {
		return err
	}
	for _, a := range pending {
		if a.Epoch == in.ep.Name && bytes.Equal(a.RawID, p.RequestID) {
			in.pushed = true
			if err := answerCancelled(in.tx, a, said.TakenBack()); err != nil {
				return err
			}
		}
	}
	return nil
}

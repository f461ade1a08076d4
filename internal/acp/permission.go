package acp

import (
	"encoding/json"
	"fmt"
)

// OptionKind says what choosing an option means.
type OptionKind string

// The kinds of protocol version 1. An agent may offer several options of one
// kind, so an answer names the option, never its kind.
const (
	AllowOnce    OptionKind = "allow_once"
	AllowAlways  OptionKind = "allow_always"
	RejectOnce   OptionKind = "reject_once"
	RejectAlways OptionKind = "reject_always"
)

// PermissionRequest is the params of session/request_permission. Its tool
// call may never have been mentioned before.
type PermissionRequest struct {
	SessionID string             `json:"sessionId"`
	ToolCall  ToolCallUpdate     `json:"toolCall"`
	Options   []PermissionOption `json:"options"`
	Meta      json.RawMessage    `json:"_meta,omitzero"`
}

// PermissionOption is one answer that the agent takes.
type PermissionOption struct {
	OptionID string          `json:"optionId"`
	Name     string          `json:"name"`
	Kind     OptionKind      `json:"kind"`
	Meta     json.RawMessage `json:"_meta,omitzero"`
}

// PermissionResult is the answer to session/request_permission.
type PermissionResult struct {
	Outcome PermissionOutcome `json:"outcome"`
	Meta    json.RawMessage   `json:"_meta,omitzero"`
}

// PermissionOutcome is what a person decided. The zero value is Cancelled.
type PermissionOutcome struct {
	// OptionID is empty where the request was cancelled.
	OptionID string
}

// Selected is the outcome that chooses an option of the request.
func Selected(optionID string) PermissionOutcome { return PermissionOutcome{OptionID: optionID} }

// Cancelled is the outcome for a request whose turn was cancelled.
func Cancelled() PermissionOutcome { return PermissionOutcome{} }

// IsCancelled reports whether no option was chosen.
func (o PermissionOutcome) IsCancelled() bool { return o.OptionID == "" }

type wireOutcome struct {
	Outcome  string `json:"outcome"`
	OptionID string `json:"optionId,omitempty"`
}

// MarshalJSON writes the protocol's form.
func (o PermissionOutcome) MarshalJSON() ([]byte, error) {
	if o.IsCancelled() {
		return encode(wireOutcome{Outcome: "cancelled"})
	}
	return encode(wireOutcome{Outcome: "selected", OptionID: o.OptionID})
}

// UnmarshalJSON fails for an outcome that is neither cancelled nor a selected
// option.
func (o *PermissionOutcome) UnmarshalJSON(raw []byte) error {
	var w wireOutcome
	if err := json.Unmarshal(raw, &w); err != nil {
		return fmt.Errorf("decode outcome: %w", err)
	}
	switch {
	case w.Outcome == "cancelled":
		*o = Cancelled()
	case w.Outcome == "selected" && w.OptionID != "":
		*o = Selected(w.OptionID)
	default:
		return fmt.Errorf("decode outcome: %q is not one", w.Outcome)
	}
	return nil
}

// CancelRequestParams are those of $/cancel_request; the id is the raw one of
// the request that its sender gives up.
type CancelRequestParams struct {
	RequestID json.RawMessage `json:"requestId"`
}

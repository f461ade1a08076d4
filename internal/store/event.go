package store

import (
	"encoding/json"
	"fmt"
	"time"
)

// Kind names what an event says. The set is part of the contract with the
// outside (docs/architecture.md, section 7).
type Kind string

// The kinds of events.
const (
	SessionCreated    Kind = "session.created"
	SessionChanged    Kind = "session.changed"
	SessionDeleted    Kind = "session.deleted"
	SessionRestored   Kind = "session.restored"
	MessageUser       Kind = "message.user"
	MessageEdited     Kind = "message.edited"
	MessageSteered    Kind = "message.steered"
	TextDelta         Kind = "text.delta"
	ThoughtDelta      Kind = "thought.delta"
	ToolStarted       Kind = "tool.started"
	ToolUpdated       Kind = "tool.updated"
	PlanChanged       Kind = "plan"
	ItemClosed        Kind = "item.closed"
	ItemCopied        Kind = "item.copied"
	Rewound           Kind = "transcript.rewound"
	ApprovalRequested Kind = "approval.requested"
	ApprovalResolved  Kind = "approval.resolved"
	RunQueued         Kind = "run.queued"
	RunStarted        Kind = "run.started"
	RunEnded          Kind = "run.ended"
	QueueChanged      Kind = "queue.changed"
	AgentState        Kind = "agent.state"
	AgentOptions      Kind = "agent.options"
	UsageChanged      Kind = "usage"
	NoticeGiven       Kind = "notice"
	AgentRaw          Kind = "agent.raw"
	ProjectChanged    Kind = "project.changed" // of no session; its body is the project
	ProjectDeleted    Kind = "project.deleted" // of no session; its body is {"id"}
)

// Event is one entry of the log. ID rises over the whole host in commit order;
// Seq rises by one within its session. Events about no session have the session
// "", which is one in this respect.
type Event struct {
	ID      int64           `json:"id"`
	Session string          `json:"session"`
	Seq     int64           `json:"seq"`
	Run     string          `json:"run"`
	At      time.Time       `json:"at"`
	Kind    Kind            `json:"kind"`
	Body    json.RawMessage `json:"body"`
}

// The kinds of items.
const (
	ItemUser      = "user"
	ItemAssistant = "assistant"
	ItemThought   = "thought"
	ItemTool      = "tool"
	ItemPlan      = "plan"
	ItemApproval  = "approval"
	ItemNotice    = "notice"
)

// Item is one row of a transcript: what the events about it fold to.
type Item struct {
	ID      string          `json:"id"`
	Session string          `json:"session"`
	Run     string          `json:"run"`
	Kind    string          `json:"kind"`
	Seq     int64           `json:"seq"` // of the event that made it
	At      time.Time       `json:"at"`
	Body    json.RawMessage `json:"body"`
	Open    bool            `json:"open"`              // more events about it may come
	Rewound bool            `json:"rewound,omitempty"` // taken back: kept, in no page of the transcript
}

// CopiedBody is the body of item.copied: a closed item of another session, as
// it was then.
type CopiedBody struct {
	Item string          `json:"item"`
	Kind string          `json:"kind"`
	At   time.Time       `json:"at"` // of the original
	Body json.RawMessage `json:"body"`
}

// RewoundBody is the body of transcript.rewound: the items made from the event
// Seq on are taken back, the message Item the first of them in the order in
// which people read; but for those of the runs in Keep, which are read before
// it.
type RewoundBody struct {
	Item string   `json:"item"`
	Seq  int64    `json:"seq"`
	Keep []string `json:"keep,omitempty"`
}

// MessageBody is the body of message.user; its item's body is the same.
type MessageBody struct {
	Item        string   `json:"item"`
	Text        string   `json:"text"`
	ClientID    string   `json:"client_id,omitempty"`
	Attachments []string `json:"attachments,omitempty"`
	Files       []File   `json:"files,omitempty"` // what the attachments are
	Steer       *Steer   `json:"steer,omitempty"` // it was said into a run that was under way
}

// Steer is how a message stands that was said into a run under way.
type Steer struct {
	State string `json:"state"`         // sent, taken, read, late
	Seq   int64  `json:"seq,omitempty"` // of one that had waited in the queue: the event by which it was said
}

// The states of a message that steers.
const (
	SteerSent  = "sent"  // on its way to the agent
	SteerTaken = "taken" // the agent has it, and reads it behind its next tool call
	SteerRead  = "read"  // the agent has read it
	SteerLate  = "late"  // the run was over, or as good as: it is a message like any other
)

// File is what a transcript shows of an attachment.
type File struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Type string `json:"type"`
	Size int64  `json:"size"`
}

// EditedBody is the body of message.edited: a message that waited was changed.
type EditedBody struct {
	Item string `json:"item"`
	Text string `json:"text"`
}

// SteeredBody is the body of message.steered: how a message stands that steers.
// From then on it is of the event's run: the one that it steers or, late, its
// own.
type SteeredBody struct {
	Item  string `json:"item"`
	State string `json:"state"`
	Own   string `json:"own"` // its own run, which begins only where it is late
}

// DeltaBody is the body of text.delta and thought.delta. The first one about
// an item makes it; the item's body is {"text"}.
type DeltaBody struct {
	Item string `json:"item"`
	Text string `json:"text"`
}

// ToolBody is the body of tool.started; its item's body is the same without
// Item. Content and RawInput are the agent's own (ACP ToolCallContent).
type ToolBody struct {
	Item       string            `json:"item,omitempty"`
	ToolCallID string            `json:"tool_call_id"`
	Title      string            `json:"title"`
	Name       string            `json:"name,omitempty"`
	Kind       string            `json:"kind"`
	Status     string            `json:"status"` // pending, in_progress, completed, failed, cancelled
	Locations  json.RawMessage   `json:"locations,omitempty"`
	RawInput   json.RawMessage   `json:"raw_input,omitempty"`
	RawOutput  json.RawMessage   `json:"raw_output,omitempty"`
	Content    []json.RawMessage `json:"content,omitempty"`
	EndedAt    *time.Time        `json:"ended_at,omitempty"`
}

// ToolUpdate is the body of tool.updated: Set replaces top-level fields of the
// tool's item body, Append adds to the text of one text entry of its content.
type ToolUpdate struct {
	Item   string                     `json:"item"`
	Set    map[string]json.RawMessage `json:"set,omitempty"`
	Append *ToolAppend                `json:"append,omitempty"`
}

// ToolAppend adds Text to content[Index].content.text.
type ToolAppend struct {
	Index int    `json:"index"`
	Text  string `json:"text"`
}

// PlanBody is the body of plan: the whole list. Its item's body is {"entries"}.
type PlanBody struct {
	Item    string          `json:"item"`
	Entries json.RawMessage `json:"entries"`
}

// PlanItem is the id of the item that is a run's plan: a run has one at most.
// What an agent plans outside of a run is of its epoch.
func PlanItem(run string) string { return "p" + run }

// ClosedBody is the body of item.closed. Status, where it is set, replaces the
// status of a tool; EndedAt is set on tools and thoughts.
type ClosedBody struct {
	Item    string     `json:"item"`
	Status  string     `json:"status,omitempty"`
	EndedAt *time.Time `json:"ended_at,omitempty"`
}

// Said names a sentence of the host that stands beside it in English, so that a
// page can say it in its own language: what it says, and the values that are in
// it. Of a sentence whose code or args are not known the text is shown, which is
// always whole. A text that is not the host's own has none, but for notices of
// an agent, whose code is "agent".
type Said struct {
	Code string         `json:"code,omitempty" doc:"Which sentence of the host the text is"`
	Args map[string]any `json:"args,omitempty" doc:"The values in it by name, each a string or a number"`
}

// NoticeBody is the body of notice; its item's body is the same without Item.
type NoticeBody struct {
	Item  string `json:"item,omitempty"`
	Level string `json:"level"` // info, warning, error
	Text  string `json:"text"`
	Said
	Detail string `json:"detail,omitempty"`
}

// The states of an approval. Expired is not denied.
const (
	ApprovalPending   = "pending"
	ApprovalAnswered  = "answered"
	ApprovalExpired   = "expired"
	ApprovalCancelled = "cancelled"
)

// Approval is a question of an agent to a person: a durable row, answered
// exactly once. It is also the body of approval.requested and of its item.
type Approval struct {
	ID         string           `json:"id"`
	Session    string           `json:"session"`
	Run        string           `json:"run"`
	State      string           `json:"state"`
	Title      string           `json:"title"`
	Item       string           `json:"item"`
	At         time.Time        `json:"at"`
	Detail     json.RawMessage  `json:"detail,omitempty"`
	Options    []ApprovalOption `json:"options"`
	Chosen     string           `json:"chosen,omitempty"`
	By         string           `json:"by,omitempty"`
	ClientID   string           `json:"-"` // of the answer; a repeat of it is answered the same
	AnsweredAt *time.Time       `json:"answered_at,omitempty"`
	Reason     string           `json:"reason,omitempty"`
	Code       string           `json:"code,omitempty" doc:"Which sentence of the host the reason is"` // as in Said; it has no args
	ExpiresAt  *time.Time       `json:"expires_at,omitempty"`

	Epoch string          `json:"-"`
	RawID json.RawMessage `json:"-"` // the JSON-RPC id of the agent's request, byte for byte
}

// ApprovalOption is one answer that the agent offers.
type ApprovalOption struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Kind string `json:"kind"`
}

// ResolvedBody is the body of approval.resolved; its fields replace those of
// the approval and of its item's body.
type ResolvedBody struct {
	ID         string    `json:"id"`
	Item       string    `json:"item"`
	State      string    `json:"state"`
	Chosen     string    `json:"chosen,omitempty"`
	By         string    `json:"by,omitempty"`
	AnsweredAt time.Time `json:"answered_at"`
	Reason     string    `json:"reason,omitempty"`
	Code       string    `json:"code,omitempty"` // of Reason, as in Said
	Late       bool      `json:"late,omitempty"` // it was answered before, but too late for the agent
}

// RunBody is the body of run.queued, run.started and run.ended.
type RunBody struct {
	Run    string `json:"run"`
	Item   string `json:"item,omitempty"`   // the message that it answers
	Reason string `json:"reason,omitempty"` // of run.ended
	Detail string `json:"detail,omitempty"` // of run.ended: why, in words
	Said          // of Detail
}

// The reasons of run.ended beyond those of ACP (end_turn, max_tokens,
// max_turn_requests, refusal, cancelled).
const (
	EndTurn     = "end_turn"
	Cancelled   = "cancelled"
	Interrupted = "interrupted"
	Failed      = "error"
)

// Steered is why the run of a message ended that another run has read. No event
// tells of it.
const Steered = "steered"

// QueueBody is the body of queue.changed.
type QueueBody struct {
	Paused bool         `json:"paused"`
	Queue  []QueueEntry `json:"queue"`
}

// QueueEntry is one waiting run and the message that it will answer.
type QueueEntry struct {
	Run  string `json:"run"`
	Item string `json:"item"`
}

// AgentStateBody is the body of agent.state.
type AgentStateBody struct {
	State string `json:"state"` // starting, ready, busy, ending, ended, needs_login, missing
	Text  string `json:"text,omitempty"`
	Said         // of Text
}

// OptionsBody is the body of agent.options: what the agent lets a person
// choose, each as the agent gave it. Nil leaves what was known.
type OptionsBody struct {
	Modes    json.RawMessage `json:"modes,omitempty"`
	Models   json.RawMessage `json:"models,omitempty"`
	Config   json.RawMessage `json:"config,omitempty"`
	Commands json.RawMessage `json:"commands,omitempty"`
	Steer    *bool           `json:"steer,omitempty"`  // a run of the agent can be steered
	Chosen   *Chosen         `json:"chosen,omitempty"` // by a person, for every life of the agent
}

// Chosen is what a person chose of an agent's options. What is empty was left
// to the agent.
type Chosen struct {
	Mode   string                     `json:"mode,omitempty"`
	Model  string                     `json:"model,omitempty"`
	Config map[string]json.RawMessage `json:"config,omitempty"` // by the option's id: a string or a boolean
}

const (
	choiceMax  = 500  // bytes of an id: a mode's, a model's, an option's
	valueMax   = 4000 // bytes of an option's value, in JSON
	optionsMax = 100
)

// Check tells what of a choice cannot be kept: what is too long, too much, or
// neither a text nor true or false.
func (c Chosen) Check() error {
	if len(c.Mode) > choiceMax {
		return fmt.Errorf("the mode's id has more than %d bytes", choiceMax)
	}
	if len(c.Model) > choiceMax {
		return fmt.Errorf("the model's id has more than %d bytes", choiceMax)
	}
	if len(c.Config) > optionsMax {
		return fmt.Errorf("more than %d options were chosen", optionsMax)
	}
	for id, value := range c.Config {
		if len(id) > choiceMax || len(value) > valueMax {
			return fmt.Errorf("an option's id has more than %d bytes, or its value more than %d", choiceMax, valueMax)
		}
		var chosen any
		if err := json.Unmarshal(value, &chosen); err != nil {
			return fmt.Errorf("the value of the option %.100q cannot be read: %w", id, err)
		}
		switch chosen.(type) {
		case string, bool:
		default:
			return fmt.Errorf("the value of the option %.100q is neither a text nor true or false", id)
		}
	}
	return nil
}

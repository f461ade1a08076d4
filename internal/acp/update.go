package acp

import (
	"encoding/json"
	"fmt"
)

// SessionNotification is the params of session/update.
type SessionNotification struct {
	SessionID string          `json:"sessionId"`
	Update    json.RawMessage `json:"update"`
	Meta      json.RawMessage `json:"_meta,omitzero"`
}

// Kinds of updates: the values of the field sessionUpdate.
const (
	KindUserChunk         = "user_message_chunk"
	KindAgentChunk        = "agent_message_chunk"
	KindThoughtChunk      = "agent_thought_chunk"
	KindToolCall          = "tool_call"
	KindToolCallUpdate    = "tool_call_update"
	KindPlan              = "plan"
	KindCommands          = "available_commands_update"
	KindCurrentMode       = "current_mode_update"
	KindConfigOptions     = "config_option_update"
	KindSessionInfo       = "session_info_update"
	KindUsage             = "usage_update"
	KindNotice            = "notice"
	KindCompaction        = "compaction_update"
	KindCompactionSummary = "compaction_summary_chunk"
)

// Update is one of UserChunk, AgentChunk, ThoughtChunk, ToolCall,
// ToolCallUpdate, Plan, Commands, CurrentMode, ConfigOptions, SessionInfo,
// Usage, Notice, Compaction, CompactionSummary and Unknown, by value.
type Update interface {
	// UpdateKind is the update's sessionUpdate field.
	UpdateKind() string
}

// UserChunk is a part of a user's message, seen in replays.
type UserChunk struct{ Chunk }

// AgentChunk is a part of the agent's answer.
type AgentChunk struct{ Chunk }

// ThoughtChunk is a part of the agent's thinking.
type ThoughtChunk struct{ Chunk }

// Chunk is a part of a message.
type Chunk struct {
	Content ContentBlock `json:"content"`
	// MessageID is equal for parts of one message; empty where the agent
	// gives none.
	MessageID string          `json:"messageId,omitempty"`
	Meta      json.RawMessage `json:"_meta,omitzero"`
}

// ToolStatus is how far a tool call is.
type ToolStatus string

// The states of protocol version 1.
const (
	ToolPending    ToolStatus = "pending"
	ToolInProgress ToolStatus = "in_progress"
	ToolCompleted  ToolStatus = "completed"
	ToolFailed     ToolStatus = "failed"
)

// ToolKind says what sort of thing a tool does. Agents may send others.
type ToolKind string

// The kinds of protocol version 1.
const (
	ToolRead       ToolKind = "read"
	ToolEdit       ToolKind = "edit"
	ToolDelete     ToolKind = "delete"
	ToolMove       ToolKind = "move"
	ToolSearch     ToolKind = "search"
	ToolExecute    ToolKind = "execute"
	ToolThink      ToolKind = "think"
	ToolFetch      ToolKind = "fetch"
	ToolSwitchMode ToolKind = "switch_mode"
	ToolOther      ToolKind = "other"
)

// Location is a place that a tool works at.
type Location struct {
	Path string `json:"path"`
	// Line counts as the agent counts; nil for the whole file.
	Line *int64 `json:"line,omitempty"`
}

// ToolCall announces a tool call. Name, Kind and Status are empty where the
// agent did not say (which means other and pending).
type ToolCall struct {
	ID        string          `json:"toolCallId"`
	Title     string          `json:"title"`
	Name      string          `json:"name,omitempty"`
	Kind      ToolKind        `json:"kind,omitempty"`
	Status    ToolStatus      `json:"status,omitempty"`
	Content   []ToolContent   `json:"content,omitzero"`
	Locations []Location      `json:"locations,omitzero"`
	RawInput  json.RawMessage `json:"rawInput,omitzero"`
	RawOutput json.RawMessage `json:"rawOutput,omitzero"`
	Meta      json.RawMessage `json:"_meta,omitzero"`
}

// ToolCallUpdate changes a tool call, or is the first mention of one. A nil
// field, absent or null in the line, is unchanged; a list, the empty one too,
// replaces.
type ToolCallUpdate struct {
	ID        string          `json:"toolCallId"`
	Title     *string         `json:"title,omitempty"`
	Name      *string         `json:"name,omitempty"`
	Kind      *ToolKind       `json:"kind,omitempty"`
	Status    *ToolStatus     `json:"status,omitempty"`
	Content   []ToolContent   `json:"content,omitzero"`
	Locations []Location      `json:"locations,omitzero"`
	RawInput  json.RawMessage `json:"rawInput,omitzero"`
	RawOutput json.RawMessage `json:"rawOutput,omitzero"`
	Meta      json.RawMessage `json:"_meta,omitzero"`
}

// Apply changes the fields of c that u sets.
func (u ToolCallUpdate) Apply(c *ToolCall) {
	if u.Title != nil {
		c.Title = *u.Title
	}
	if u.Name != nil {
		c.Name = *u.Name
	}
	if u.Kind != nil {
		c.Kind = *u.Kind
	}
	if u.Status != nil {
		c.Status = *u.Status
	}
	if u.Content != nil {
		c.Content = u.Content
	}
	if u.Locations != nil {
		c.Locations = u.Locations
	}
	if u.RawInput != nil {
		c.RawInput = u.RawInput
	}
	if u.RawOutput != nil {
		c.RawOutput = u.RawOutput
	}
	if u.Meta != nil {
		c.Meta = u.Meta
	}
}

// Plan is the whole plan; it replaces the last one.
type Plan struct {
	Entries []PlanEntry     `json:"entries"`
	Meta    json.RawMessage `json:"_meta,omitzero"`
}

// PlanEntry is a step: Priority is high, medium or low, Status pending,
// in_progress or completed.
type PlanEntry struct {
	Content  string `json:"content"`
	Priority string `json:"priority"`
	Status   string `json:"status"`
}

// Commands is the whole list of the agent's commands.
type Commands struct {
	Commands []Command       `json:"availableCommands"`
	Meta     json.RawMessage `json:"_meta,omitzero"`
}

// Command is one command; Input is nil where it takes none.
type Command struct {
	Name        string        `json:"name"`
	Description string        `json:"description"`
	Input       *CommandInput `json:"input,omitempty"`
}

// CommandInput hints at a command's argument.
type CommandInput struct {
	Hint string `json:"hint"`
}

// CurrentMode says that the mode changed.
type CurrentMode struct {
	ModeID string          `json:"currentModeId"`
	Meta   json.RawMessage `json:"_meta,omitzero"`
}

// ConfigOptions is the whole list of options.
type ConfigOptions struct {
	Options []ConfigOption  `json:"configOptions"`
	Meta    json.RawMessage `json:"_meta,omitzero"`
}

// Nullable is a string field for which absent (leave it) and null (clear it)
// differ.
type Nullable struct {
	// Present is false where the field is absent.
	Present bool
	// Value is nil where the field is null.
	Value *string
}

// Set returns a present value.
func Set(value string) Nullable { return Nullable{Present: true, Value: &value} }

// IsZero reports absence, so that omitzero leaves the field out.
func (n Nullable) IsZero() bool { return !n.Present }

// MarshalJSON writes null or the string.
func (n Nullable) MarshalJSON() ([]byte, error) { return encode(n.Value) }

// UnmarshalJSON is called for null, too.
func (n *Nullable) UnmarshalJSON(raw []byte) error {
	*n = Nullable{Present: true}
	return json.Unmarshal(raw, &n.Value)
}

// SessionInfo changes what the agent says of a session.
type SessionInfo struct {
	Title     Nullable        `json:"title,omitzero"`
	UpdatedAt Nullable        `json:"updatedAt,omitzero"`
	Meta      json.RawMessage `json:"_meta,omitzero"`
}

// Usage says how much of the context is in use, in tokens.
type Usage struct {
	Used int64           `json:"used"`
	Size int64           `json:"size"`
	Cost *Cost           `json:"cost,omitempty"`
	Meta json.RawMessage `json:"_meta,omitzero"`
}

// Cost is what the session has cost since its start.
type Cost struct {
	Amount   float64 `json:"amount"`
	Currency string  `json:"currency"`
}

// Notice is for the person and is not part of the history. Severity is info,
// warning or error.
type Notice struct {
	Severity    string          `json:"severity"`
	Title       string          `json:"title"`
	Description string          `json:"description,omitempty"`
	Meta        json.RawMessage `json:"_meta,omitzero"`
}

// Compaction says that the agent shortens its context.
type Compaction struct {
	ID      string          `json:"compactionId"`
	Status  string          `json:"status"`
	Summary json.RawMessage `json:"summary,omitzero"`
	Error   json.RawMessage `json:"error,omitzero"`
	Meta    json.RawMessage `json:"_meta,omitzero"`
}

// CompactionSummary is a part of a compaction's summary.
type CompactionSummary struct {
	ID      string          `json:"compactionId"`
	Content ContentBlock    `json:"content"`
	Meta    json.RawMessage `json:"_meta,omitzero"`
}

// Unknown is an update of a kind that this package does not know, or one that
// it cannot read: keep the raw bytes, show nothing.
type Unknown struct {
	// Name is the sessionUpdate field; empty where there is none.
	Name string
	Raw  json.RawMessage
}

// UpdateKind implements Update.
func (UserChunk) UpdateKind() string { return KindUserChunk }

// UpdateKind implements Update.
func (AgentChunk) UpdateKind() string { return KindAgentChunk }

// UpdateKind implements Update.
func (ThoughtChunk) UpdateKind() string { return KindThoughtChunk }

// UpdateKind implements Update.
func (ToolCall) UpdateKind() string { return KindToolCall }

// UpdateKind implements Update.
func (ToolCallUpdate) UpdateKind() string { return KindToolCallUpdate }

// UpdateKind implements Update.
func (Plan) UpdateKind() string { return KindPlan }

// UpdateKind implements Update.
func (Commands) UpdateKind() string { return KindCommands }

// UpdateKind implements Update.
func (CurrentMode) UpdateKind() string { return KindCurrentMode }

// UpdateKind implements Update.
func (ConfigOptions) UpdateKind() string { return KindConfigOptions }

// UpdateKind implements Update.
func (SessionInfo) UpdateKind() string { return KindSessionInfo }

// UpdateKind implements Update.
func (Usage) UpdateKind() string { return KindUsage }

// UpdateKind implements Update.
func (Notice) UpdateKind() string { return KindNotice }

// UpdateKind implements Update.
func (Compaction) UpdateKind() string { return KindCompaction }

// UpdateKind implements Update.
func (CompactionSummary) UpdateKind() string { return KindCompactionSummary }

// UpdateKind implements Update.
func (u Unknown) UpdateKind() string { return u.Name }

// Text returns a chunk with one text block.
func Text(text string) Chunk { return Chunk{Content: TextBlock(text)} }

// DecodeUpdate reads the update of a session/update. A kind that is not known
// is an Unknown without an error. What is known and malformed is an Unknown
// with an error, so that a caller always has something to keep.
func DecodeUpdate(raw json.RawMessage) (Update, error) {
	kind, err := discriminator(raw, "sessionUpdate")
	if err != nil {
		return Unknown{Raw: raw}, fmt.Errorf("decode update: %w", err)
	}
	u, err := decodeKind(kind, raw)
	if err != nil {
		return Unknown{Name: kind, Raw: raw}, fmt.Errorf("decode %s: %w", kind, err)
	}
	return u, nil
}

func decodeKind(kind string, raw json.RawMessage) (Update, error) {
	switch kind {
	case KindUserChunk:
		c, err := decodeChunk(raw)
		return UserChunk{c}, err
	case KindAgentChunk:
		c, err := decodeChunk(raw)
		return AgentChunk{c}, err
	case KindThoughtChunk:
		c, err := decodeChunk(raw)
		return ThoughtChunk{c}, err
	case KindToolCall:
		u, err := decode[ToolCall](raw)
		if err == nil && u.ID == "" {
			err = errNoContent
		}
		u.RawInput, u.RawOutput, u.Meta = dropNull(u.RawInput), dropNull(u.RawOutput), dropNull(u.Meta)
		return u, err
	case KindToolCallUpdate:
		u, err := decode[ToolCallUpdate](raw)
		if err == nil && u.ID == "" {
			err = errNoContent
		}
		return u, err
	case KindPlan:
		return decode[Plan](raw)
	case KindCommands:
		return decode[Commands](raw)
	case KindCurrentMode:
		return decode[CurrentMode](raw)
	case KindConfigOptions:
		return decode[ConfigOptions](raw)
	case KindSessionInfo:
		return decode[SessionInfo](raw)
	case KindUsage:
		return decode[Usage](raw)
	case KindNotice:
		return decode[Notice](raw)
	case KindCompaction:
		return decode[Compaction](raw)
	case KindCompactionSummary:
		u, err := decode[CompactionSummary](raw)
		if err == nil && u.Content.Type == "" {
			err = errNoContent
		}
		return u, err
	default:
		return Unknown{Name: kind, Raw: raw}, nil
	}
}

func decode[T Update](raw json.RawMessage) (T, error) {
	var u T
	err := json.Unmarshal(raw, &u)
	return u, err
}

func decodeChunk(raw json.RawMessage) (Chunk, error) {
	var c Chunk
	if err := json.Unmarshal(raw, &c); err != nil {
		return c, err
	}
	if c.Content.Type == "" {
		return c, errNoContent // absent or null: not a text of no length
	}
	c.Meta = dropNull(c.Meta)
	return c, nil
}

// UnmarshalJSON makes null the same as absent in the raw fields.
func (u *ToolCallUpdate) UnmarshalJSON(raw []byte) error {
	type plain ToolCallUpdate
	if err := json.Unmarshal(raw, (*plain)(u)); err != nil {
		return err
	}
	u.RawInput, u.RawOutput, u.Meta = dropNull(u.RawInput), dropNull(u.RawOutput), dropNull(u.Meta)
	return nil
}

// EncodeUpdate is the inverse of DecodeUpdate.
func EncodeUpdate(u Update) (json.RawMessage, error) {
	if u, ok := u.(Unknown); ok {
		return u.Raw, nil
	}
	kind, err := encode(u.UpdateKind())
	if err != nil {
		return nil, fmt.Errorf("encode update: %w", err)
	}
	body, err := encode(u)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", u.UpdateKind(), err)
	}
	b := append([]byte(`{"sessionUpdate":`), kind...)
	if len(body) > len("{}") {
		b = append(b, ',')
	}
	return append(b, body[1:]...), nil
}

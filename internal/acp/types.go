package acp

import "encoding/json"

// Methods that a client calls.
const (
	MethodInitialize      = "initialize"
	MethodAuthenticate    = "authenticate"
	MethodLogout          = "logout"
	MethodSessionNew      = "session/new"
	MethodSessionLoad     = "session/load"
	MethodSessionResume   = "session/resume"
	MethodSessionList     = "session/list"
	MethodSessionClose    = "session/close"
	MethodSessionDelete   = "session/delete"
	MethodSessionPrompt   = "session/prompt"
	MethodSessionCancel   = "session/cancel" // a notification
	MethodSetMode         = "session/set_mode"
	MethodSetModel        = "session/set_model"
	MethodSetConfigOption = "session/set_config_option"
)

// Methods that an agent calls.
const (
	MethodSessionUpdate     = "session/update" // a notification
	MethodRequestPermission = "session/request_permission"
	MethodElicitationCreate = "elicitation/create"
	MethodReadTextFile      = "fs/read_text_file"
	MethodWriteTextFile     = "fs/write_text_file"
)

// MethodCancelRequest is a notification that either side may send to give up
// a request of its own.
const MethodCancelRequest = "$/cancel_request"

// Implementation names a client or an agent.
type Implementation struct {
	Name    string `json:"name"`
	Title   string `json:"title,omitempty"`
	Version string `json:"version"`
}

// InitializeParams begins a connection.
type InitializeParams struct {
	ProtocolVersion    int                `json:"protocolVersion"`
	ClientCapabilities ClientCapabilities `json:"clientCapabilities"`
	ClientInfo         *Implementation    `json:"clientInfo,omitempty"`
	Meta               json.RawMessage    `json:"_meta,omitzero"`
}

// InitializeResult says who the agent is and what it can do.
type InitializeResult struct {
	ProtocolVersion   int               `json:"protocolVersion"`
	AgentCapabilities AgentCapabilities `json:"agentCapabilities"`
	AuthMethods       []AuthMethod      `json:"authMethods"`
	AgentInfo         *Implementation   `json:"agentInfo,omitempty"`
	Meta              json.RawMessage   `json:"_meta,omitzero"`
}

// Capability is an object that says yes by being there.
type Capability struct {
	Meta json.RawMessage `json:"_meta,omitzero"`
}

// UnmarshalJSON takes any value but null, which never gets here, for yes.
func (c *Capability) UnmarshalJSON(raw []byte) error {
	var w struct {
		Meta json.RawMessage `json:"_meta"`
	}
	_ = json.Unmarshal(raw, &w) // the presence counts, not the shape
	c.Meta = w.Meta
	return nil
}

// ClientCapabilities are what a client offers. The zero value offers nothing.
type ClientCapabilities struct {
	FS       FSCapabilities             `json:"fs"`
	Terminal bool                       `json:"terminal"`
	Session  *ClientSessionCapabilities `json:"session,omitempty"`
	Meta     json.RawMessage            `json:"_meta,omitzero"`
}

// FSCapabilities are the file methods that a client serves.
type FSCapabilities struct {
	ReadTextFile  bool `json:"readTextFile"`
	WriteTextFile bool `json:"writeTextFile"`
}

// ClientSessionCapabilities are the kinds of session updates that a client
// can show.
type ClientSessionCapabilities struct {
	ConfigOptions *ConfigOptionCapabilities `json:"configOptions,omitempty"`
	Notices       *Capability               `json:"notices,omitempty"`
	Compaction    *Capability               `json:"compaction,omitempty"`
}

// ConfigOptionCapabilities are the types of options beside select.
type ConfigOptionCapabilities struct {
	Boolean *Capability `json:"boolean,omitempty"`
}

// HostCapabilities is what Holdfast offers: no files and no terminals, so
// that nothing of an agent's waits for the host except a permission.
func HostCapabilities() ClientCapabilities {
	return ClientCapabilities{Session: &ClientSessionCapabilities{
		ConfigOptions: &ConfigOptionCapabilities{Boolean: &Capability{}},
		Notices:       &Capability{},
		Compaction:    &Capability{},
	}}
}

// AgentCapabilities are what an agent offers; absent means no.
type AgentCapabilities struct {
	LoadSession         bool                `json:"loadSession"`
	PromptCapabilities  PromptCapabilities  `json:"promptCapabilities"`
	MCPCapabilities     MCPCapabilities     `json:"mcpCapabilities"`
	SessionCapabilities SessionCapabilities `json:"sessionCapabilities"`
	Auth                json.RawMessage     `json:"auth,omitzero"`
	Meta                json.RawMessage     `json:"_meta,omitzero"`
}

// PromptCapabilities are the blocks that a prompt may hold beside text and
// resource links.
type PromptCapabilities struct {
	Image           bool `json:"image"`
	Audio           bool `json:"audio"`
	EmbeddedContext bool `json:"embeddedContext"`
}

// MCPCapabilities are the MCP transports beside stdio.
type MCPCapabilities struct {
	HTTP bool `json:"http"`
	SSE  bool `json:"sse"`
}

// SessionCapabilities are the session methods beside new and load. A pointer
// that is not nil means yes.
type SessionCapabilities struct {
	List                  *Capability `json:"list,omitempty"`
	Resume                *Capability `json:"resume,omitempty"`
	Close                 *Capability `json:"close,omitempty"`
	Delete                *Capability `json:"delete,omitempty"`
	Fork                  *Capability `json:"fork,omitempty"`
	AdditionalDirectories *Capability `json:"additionalDirectories,omitempty"`
}

// AuthMethod is one way to log in. Type is empty for the agent's own login,
// or "terminal".
type AuthMethod struct {
	ID          string            `json:"id"`
	Name        string            `json:"name"`
	Description string            `json:"description,omitempty"`
	Type        string            `json:"type,omitempty"`
	Args        []string          `json:"args,omitempty"`
	Env         map[string]string `json:"env,omitempty"`
	Meta        json.RawMessage   `json:"_meta,omitzero"`
}

// AuthenticateParams asks the agent to log in by itself.
type AuthenticateParams struct {
	MethodID string `json:"methodId"`
}

// NewSessionParams opens a session.
type NewSessionParams struct {
	// CWD is an absolute path.
	CWD                   string          `json:"cwd"`
	MCPServers            MCPServers      `json:"mcpServers"`
	AdditionalDirectories []string        `json:"additionalDirectories,omitempty"`
	Meta                  json.RawMessage `json:"_meta,omitzero"`
}

// NewSessionResult is a new session and its settings.
type NewSessionResult struct {
	SessionID string `json:"sessionId"`
	SessionSettings
}

// SessionSettings is what new, load and resume say of a session's settings.
type SessionSettings struct {
	Modes *Modes `json:"modes,omitempty"`
	// ConfigOptions is nil where the agent did not say.
	ConfigOptions []ConfigOption  `json:"configOptions,omitzero"`
	Models        *Models         `json:"models,omitempty"`
	Meta          json.RawMessage `json:"_meta,omitzero"`
}

// LoadSessionParams opens a stored session with a replay of its history
// (session/load) or without one (session/resume).
type LoadSessionParams struct {
	SessionID             string          `json:"sessionId"`
	CWD                   string          `json:"cwd"`
	MCPServers            MCPServers      `json:"mcpServers"`
	AdditionalDirectories []string        `json:"additionalDirectories,omitempty"`
	Meta                  json.RawMessage `json:"_meta,omitzero"`
}

// LoadSessionResult is the answer to load and resume; null decodes as its
// zero value.
type LoadSessionResult struct {
	SessionSettings
}

// MCPServers is a list that is written as [] where it is nil, because the
// protocol requires the field.
type MCPServers []MCPServer

// MarshalJSON writes [] for nil.
func (s MCPServers) MarshalJSON() ([]byte, error) {
	if s == nil {
		return []byte("[]"), nil
	}
	return encode([]MCPServer(s))
}

// MCPServer is a server that the agent should connect: a command where Type
// is empty, else "http" or "sse".
type MCPServer struct {
	Type    string
	Name    string
	Command string
	Args    []string
	Env     []NameValue
	URL     string
	Headers []NameValue
}

// NameValue is a variable or a header.
type NameValue struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type wireMCPServer struct {
	Type    string       `json:"type,omitempty"`
	Name    string       `json:"name"`
	Command string       `json:"command,omitempty"`
	Args    *[]string    `json:"args,omitempty"`
	Env     *[]NameValue `json:"env,omitempty"`
	URL     string       `json:"url,omitempty"`
	Headers *[]NameValue `json:"headers,omitempty"`
}

// MarshalJSON writes the lists that the server's type requires, empty or not.
func (s MCPServer) MarshalJSON() ([]byte, error) {
	w := wireMCPServer{Type: s.Type, Name: s.Name, Command: s.Command, URL: s.URL}
	if s.Type == "" {
		args, env := append([]string{}, s.Args...), append([]NameValue{}, s.Env...)
		w.Args, w.Env = &args, &env
	} else {
		headers := append([]NameValue{}, s.Headers...)
		w.Headers = &headers
	}
	return encode(w)
}

// UnmarshalJSON is the inverse of MarshalJSON.
func (s *MCPServer) UnmarshalJSON(raw []byte) error {
	var w wireMCPServer
	if err := json.Unmarshal(raw, &w); err != nil {
		return err
	}
	*s = MCPServer{Type: w.Type, Name: w.Name, Command: w.Command, URL: w.URL}
	if w.Args != nil {
		s.Args = *w.Args
	}
	if w.Env != nil {
		s.Env = *w.Env
	}
	if w.Headers != nil {
		s.Headers = *w.Headers
	}
	return nil
}

// ListSessionsParams asks for a page of stored sessions. A cursor is good for
// this process only.
type ListSessionsParams struct {
	CWD    string `json:"cwd,omitempty"`
	Cursor string `json:"cursor,omitempty"`
}

// ListSessionsResult is a page of stored sessions.
type ListSessionsResult struct {
	Sessions   []SessionSummary `json:"sessions"`
	NextCursor string           `json:"nextCursor,omitempty"`
}

// SessionSummary is a stored session.
type SessionSummary struct {
	SessionID string `json:"sessionId"`
	CWD       string `json:"cwd"`
	Title     string `json:"title,omitempty"`
	UpdatedAt string `json:"updatedAt,omitempty"`
}

// SessionParams are those of close, delete and cancel.
type SessionParams struct {
	SessionID string          `json:"sessionId"`
	Meta      json.RawMessage `json:"_meta,omitzero"`
}

// CancelParams are the params of session/cancel.
type CancelParams = SessionParams

// PromptParams is one turn's prompt.
type PromptParams struct {
	SessionID string          `json:"sessionId"`
	Prompt    []ContentBlock  `json:"prompt"`
	Meta      json.RawMessage `json:"_meta,omitzero"`
}

// StopReason says why a turn ended. An end_turn is no proof of success.
type StopReason string

// The reasons of protocol version 1.
const (
	StopEndTurn         StopReason = "end_turn"
	StopMaxTokens       StopReason = "max_tokens"
	StopMaxTurnRequests StopReason = "max_turn_requests"
	StopRefusal         StopReason = "refusal"
	StopCancelled       StopReason = "cancelled"
)

// PromptResult is the end of a turn.
type PromptResult struct {
	StopReason StopReason `json:"stopReason"`
	// Usage is unstable and differs between agents (some count per turn,
	// some since the start), so it is only carried.
	Usage json.RawMessage `json:"usage,omitzero"`
	Meta  json.RawMessage `json:"_meta,omitzero"`
}

// Modes is the legacy form of a mode option.
type Modes struct {
	CurrentModeID  string `json:"currentModeId"`
	AvailableModes []Mode `json:"availableModes"`
}

// Mode is one mode.
type Mode struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
}

// Models is the unstable list of models that some agents send.
type Models struct {
	CurrentModelID  string  `json:"currentModelId"`
	AvailableModels []Model `json:"availableModels"`
}

// Model is one model.
type Model struct {
	ID          string `json:"modelId"`
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
}

// SetModeParams chooses a mode; only for sessions without config options.
type SetModeParams struct {
	SessionID string `json:"sessionId"`
	ModeID    string `json:"modeId"`
}

// SetModelParams chooses a model.
type SetModelParams struct {
	SessionID string `json:"sessionId"`
	ModelID   string `json:"modelId"`
}

// SetConfigOptionParams sets an option: Value is a string for a select and a
// bool for a boolean, for which Type must be "boolean".
type SetConfigOptionParams struct {
	SessionID string `json:"sessionId"`
	ConfigID  string `json:"configId"`
	Type      string `json:"type,omitempty"`
	Value     any    `json:"value"`
}

// SetConfigOptionResult holds all options, because one may change others.
type SetConfigOptionResult struct {
	ConfigOptions []ConfigOption `json:"configOptions"`
}

// Types of config options; options of other types are to be ignored.
const (
	OptionSelect  = "select"
	OptionBoolean = "boolean"
)

// ConfigOption is a setting of a session.
type ConfigOption struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	// Category is mode, model, model_config, thought_level or another.
	Category string `json:"category,omitempty"`
	Type     string `json:"type"`
	// CurrentValue is a JSON string or boolean; ask Value or Bool.
	CurrentValue json.RawMessage `json:"currentValue,omitzero"`
	Options      ConfigChoices   `json:"options,omitzero"`
	Meta         json.RawMessage `json:"_meta,omitzero"`
}

// Value returns the current value of a select; empty for other types.
func (o ConfigOption) Value() string {
	var s string
	_ = json.Unmarshal(o.CurrentValue, &s)
	return s
}

// Bool returns the current value of a boolean; false for other types.
func (o ConfigOption) Bool() bool {
	var b bool
	_ = json.Unmarshal(o.CurrentValue, &b)
	return b
}

// ConfigChoice is one value of a select.
type ConfigChoice struct {
	Value       string `json:"value"`
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	// Group and GroupName are set where the agent groups its values.
	Group     string `json:"-"`
	GroupName string `json:"-"`
}

// ConfigChoices is the flat list of a select's values, grouped or not.
type ConfigChoices []ConfigChoice

type wireChoice struct {
	Value       string          `json:"value"`
	Name        string          `json:"name"`
	Description string          `json:"description"`
	Group       string          `json:"group"`
	Options     *[]ConfigChoice `json:"options"`
}

// UnmarshalJSON flattens groups.
func (c *ConfigChoices) UnmarshalJSON(raw []byte) error {
	var list []wireChoice
	if err := json.Unmarshal(raw, &list); err != nil {
		return err
	}
	*c = make(ConfigChoices, 0, len(list))
	for _, w := range list {
		if w.Options == nil {
			*c = append(*c, ConfigChoice{Value: w.Value, Name: w.Name, Description: w.Description})
			continue
		}
		for _, v := range *w.Options {
			v.Group, v.GroupName = w.Group, w.Name
			*c = append(*c, v)
		}
	}
	return nil
}

// MarshalJSON writes runs of values of one group as a group.
func (c ConfigChoices) MarshalJSON() ([]byte, error) {
	type group struct {
		Group   string         `json:"group"`
		Name    string         `json:"name"`
		Options []ConfigChoice `json:"options"`
	}
	list := make([]any, 0, len(c))
	var last *group
	for _, v := range c {
		if v.Group == "" {
			list, last = append(list, v), nil
			continue
		}
		if last == nil || last.Group != v.Group {
			last = &group{Group: v.Group, Name: v.GroupName}
			list = append(list, last)
		}
		last.Options = append(last.Options, v)
	}
	return encode(list)
}

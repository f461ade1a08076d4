package store

import (
	"encoding/json"
	"time"
)

// The states of a session's list row, worst first: waiting wins over failed,
// interrupted, running, queued and idle.
const (
	StateWaiting     = "waiting"
	StateFailed      = "failed"
	StateInterrupted = "interrupted"
	StateRunning     = "running"
	StateQueued      = "queued"
	StateIdle        = "idle"
)

// Session is a session's list row: a projection of its events.
type Session struct {
	ID         string    `json:"id"`
	Title      string    `json:"title"`
	Agent      string    `json:"agent"`
	Cwd        string    `json:"cwd"`
	State      string    `json:"state"`
	Waiting    int       `json:"waiting"` // pending approvals
	Queued     int       `json:"queued"`  // runs that wait
	Paused     bool      `json:"paused"`  // the queue waits for a person
	Run        string    `json:"run"`     // the current run, or ""
	AgentState string    `json:"agent_state"`
	Reason     string    `json:"reason,omitempty"` // how the last run ended
	CreatedAt  time.Time `json:"created_at"`
	LastAt     time.Time `json:"last_at"`    // when something last happened in it, housekeeping apart
	Activity   int64     `json:"activity"`   // the event of that; lists order by it
	LastEvent  int64     `json:"last_event"` // the last of all; of two rows the one with the higher is newer
	Seq        int64     `json:"seq"`
	Version    int64     `json:"version"` // counts only what a person set

	Pinned     bool       `json:"pinned"`
	Archived   bool       `json:"archived"`
	Tags       []string   `json:"tags,omitempty"`    // as a person ordered them
	Project    string     `json:"project,omitempty"` // a project's id
	DeletedAt  *time.Time `json:"deleted_at,omitempty"`
	ForkedFrom *Origin    `json:"forked_from,omitempty"`
	Imported   *Imported  `json:"imported,omitempty"` // it was read from a file
	Building   bool       `json:"building,omitempty"` // a copy that is not whole yet; no list has it

	TitleSet     bool            `json:"title_set,omitempty"` // a person named it; the agent's titles do not replace that
	AgentSession string          `json:"-"`                   // the id of the agent's own session (ACP sessionId), or ""
	Options      json.RawMessage `json:"-"`                   // the last agent.options, folded (an OptionsBody); not in lists
	Queue        []string        `json:"-"`                   // the runs that wait, first to wait first
	ClientID     string          `json:"-"`
}

// Origin is where a copied session comes from. Item is the last one that was
// taken; it is the original's.
type Origin struct {
	Session string `json:"session"`
	Item    string `json:"item,omitempty"`
}

// Imported is where a session was before it was read from a file.
type Imported struct {
	Session   string    `json:"session"`    // its id there
	CreatedAt time.Time `json:"created_at"` // there
}

// The states of a run.
const (
	RunStateQueued   = "queued"
	RunStateCurrent  = "current"  // next to go or under way; at most one a session
	RunStateSteering = "steering" // its message was said into the current run
	RunStateEnded    = "ended"
)

// Run is one prompt turn, from the moment a message goes to the agent until
// the agent stops.
type Run struct {
	ID         string
	Session    string
	Item       string // the message
	Text       string // the message's text
	State      string
	Reason     string
	Detail     string
	Said       Said      // of Detail
	Pos        int64     // order in the queue
	Epoch      string    // of its prompt's outbox line, "" before; of one that steers: of the line that says it
	Prompt     uint64    // number of that line
	Cancelling bool      // a cancel has been sent
	Steer      string    // how its message stands that was said into another run: SteerSent and so on; or ""
	QueuedAt   time.Time // when the message was taken
	StartedAt  time.Time // zero before run.started
	EndedAt    time.Time
}

// The states of an epoch.
const (
	EpochStarting = "starting" // spawned or about to be; the agent has no session yet
	EpochReady    = "ready"    // takes prompts
	EpochEnding   = "ending"   // takes no more prompts
	EpochEnded    = "ended"
)

// Epoch is one life of a keeper and its agent. Outbox numbers, spool numbers
// and raw JSON-RPC ids belong to it.
type Epoch struct {
	Name      string
	Session   string
	Agent     string
	BootID    string
	State     string
	Offset    uint64 // number of the last spool record whose events are stored
	Replaying bool   // between a load request and its response
	StartedAt time.Time
	EndedAt   time.Time
	Reason    string          // why it ended
	Info      json.RawMessage // initialize's result
}

// The kinds of outbox lines.
const (
	LineInitialize = "initialize"
	LineNew        = "session/new"
	LineLoad       = "session/load"
	LineResume     = "session/resume"
	LineOption     = "option" // set_mode, set_config_option, set_model
	LinePrompt     = "prompt"
	LineSteer      = "steer" // a prompt for the turn that is under way; its Run is the message's own
	LineCancel     = "cancel"
	LineAnswer     = "answer"  // of an approval
	LineRefusal    = "refusal" // automatic answers
)

// Line is one row of the outbox: a line for the agent. N is also its JSON-RPC
// id where it is a request.
type Line struct {
	Epoch    string
	N        uint64
	Kind     string
	Run      string
	Approval string
	Data     []byte
	Sum      uint32 // keeper.Checksum(Data)
	Void     bool   // takes its number, is never written
	Answered bool   // its response has been read
}

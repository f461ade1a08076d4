// Package session is the heart of the host: sessions, messages, runs,
// approvals and the queue. It decides what goes to an agent and when; it knows
// neither HTTP nor SQL.
package session

import (
	"github.com/holdfast-dev/holdfast/internal/store"
)

// New asks for a session.
type New struct {
	Agent    string // an id of the catalogue
	Cwd      string // an absolute path of a folder that exists
	Title    string // optional; a person's title wins over the agent's
	Project  string // optional; else the project whose folder holds Cwd
	ClientID string // optional; the same id makes the same session
	Choice   Choice // set before the agent gets the first message, as far as it offers it
}

// Message is what a person sends to an agent.
type Message struct {
	ClientID    string // per session; the same id and text is the same message
	Text        string
	Attachments []string // ids of stored attachments
	Rewind      string   // optional; an earlier message's item, which is taken back with all after it
}

// Steer is what a person says into a run that is under way.
type Steer struct {
	ClientID string // per session; the same id and text is the same message
	Run      string // the one that is under way
	Text     string // what is said; or else
	Queued   string // the run of a message that waits, and does so no more
}

// Fork asks for a copy of a session.
type Fork struct {
	Item     string // optional; the last item that the copy has
	Title    string // optional
	ClientID string // optional; the same id makes the same session
}

// Accepted says what became of a message. Repeated, a message is accepted with
// the same Item, Run and Seq and the present State.
type Accepted struct {
	Item  string `json:"item"`
	Run   string `json:"run"`
	Seq   int64  `json:"seq"`
	State string `json:"state"` // started, queued; of one that steers: sent, taken, read, late
}

// Answer is a person's choice for an approval.
type Answer struct {
	Option   string // id of the option
	ClientID string // optional; the same client's repeat is answered the same
	By       string // who answered, as it is shown
}

// Patch changes what a person may change of a session. Nil leaves a field.
type Patch struct {
	Title    *string
	Pinned   *bool
	Archived *bool
	Tags     *[]string
	Project  *string // a project's id, or "" for none
}

// The actions of Bulk.
const (
	BulkArchive   = "archive"
	BulkUnarchive = "unarchive"
	BulkPin       = "pin"
	BulkUnpin     = "unpin"
	BulkTag       = "tag"
	BulkUntag     = "untag"
	BulkProject   = "project"
	BulkDelete    = "delete"
	BulkRestore   = "restore"
)

// Bulk asks for one thing to be done to many sessions.
type Bulk struct {
	IDs     []string
	Action  string
	Tag     string // of tag and untag
	Project string // of project: its id, or "" for none
}

// Choice is what a person chooses of what an agent offers. Empty leaves one
// as it is.
type Choice store.Chosen

// AgentInfo is one agent of the catalogue.
type AgentInfo struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Version string `json:"version"` // from its last initialize; "" before
	Path    string `json:"path"`
	Ready   bool   `json:"ready"`
	Reason  string `json:"reason"` // why it is not ready, and what to do
}

// The codes of an Error.
const (
	CodeNotFound          = "not_found"
	CodeBadRequest        = "bad_request"
	CodeBadCwd            = "bad_cwd"
	CodeAgentUnknown      = "agent_unknown"
	CodeAgentMissing      = "agent_missing"
	CodeMessageConflict   = "message_conflict"
	CodeSessionConflict   = "session_conflict"
	CodeRunNotCurrent     = "run_not_current"
	CodeCannotSteer       = "cannot_steer"
	CodeApprovalAnswered  = "approval_answered"
	CodeApprovalExpired   = "approval_expired"
	CodeApprovalCancelled = "approval_cancelled"
	CodeUnknownOption     = "unknown_option"
	CodeSessionDeleted    = "session_deleted"
	CodeSessionBusy       = "session_busy"
	CodeVersionConflict   = "version_conflict"
	CodeQueueFull         = "queue_full"
	CodeNoAttachment      = "attachment_not_found"
	CodeDiskFull          = "disk_full"
	CodeStopping          = "stopping"
	CodeNoAgent           = "no_agent"
	CodeProjectExists     = "project_exists"
	CodeNotQueued         = "not_queued"
	CodeQueueChanged      = "queue_changed"
	CodeBadImport         = "bad_import"
)

// Error is a refusal with a stable code. Message says what was wrong and what
// to do, for a person.
type Error struct {
	Code     string
	Message  string
	Approval *store.Approval // of the approval codes: how it stands
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

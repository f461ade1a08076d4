//nolint:revive // what a function of these says is its sentence
package said

import (
	"fmt"
	"strings"
	"time"
)

// What a session is told.

func Rewound() Words {
	return say("rewound", "A message and what came after it were taken back. The log keeps them.", nil)
}

func BegunAnew() Words {
	return say("begun_anew", "It begins anew, from what is left of the transcript.", nil)
}

func HostRestarted(at time.Time) Words {
	return say("host_restarted", "Host restarted at "+at.Format("15:04:05")+". The run carried on.", args{"at": at})
}

func Compacted() Words {
	return say("compacted", "The agent has summed up its context.", nil)
}

func AgentError() Words {
	return say("agent_error", "The agent ended the run with an error.", nil)
}

func Printed() Words {
	return say("agent_stderr", "The last that the agent printed.", nil)
}

func NoStopReason() Words {
	return say("no_stop_reason", "The agent gave no reason for its stop.", nil)
}

func RecordUnreadable() Words {
	return say("record_unreadable", "Something the agent sent could not be understood and was passed over. It is kept in the log.", nil)
}

func SpoolUnreadable(err error) Words {
	return say("spool_unreadable", "Part of what the agent wrote could not be read back: "+err.Error(), args{"why": err.Error()})
}

func UnknownPast() Words {
	return say("agent_unknown_past", "An agent of this session was still at work that the restored state does not know of; it was ended. What it did in its folder stays.", nil)
}

func AgentSessionNew() Words {
	return say("agent_session_new", "The agent could not bring its own session back, so it begins a new one and is told what was said here before.", nil)
}

func SettingRefused() Words {
	return say("setting_refused", "The agent refused the setting that makes it ask before it acts. It may act without asking.", nil)
}

// Missing is of an agent that the catalogue cannot give.
func Missing(err error) Words {
	return say("agent_missing", "The agent could not be started: "+err.Error(), args{"why": err.Error()})
}

// NeedsLogin takes the catalogue's hint how to log in; it may be "".
func NeedsLogin(err error, hint string) Words {
	text, with := "The agent needs a login: "+err.Error(), args{"why": err.Error()}
	if hint != "" {
		text += " " + hint
		with["hint"] = hint
	}
	return say("agent_needs_login", text, with)
}

func SessionNotBegun(err error) Words {
	return say("agent_ended", "The agent could not begin the session: "+err.Error(), args{"why": err.Error()})
}

// The ends of an agent and its keeper.

// NotStarted is of an agent whose program could not be started.
func NotStarted(name, why string) Words {
	return say("agent_not_started", name+" could not be started: "+why, args{"name": name, "why": why})
}

// LeftAlone is of an agent that its keeper ended.
func LeftAlone(name string) Words {
	return say("agent_left_alone", name+" was ended because no host had come back for it in time.", args{"name": name})
}

// KeeperStopped is of an agent whose keeper got a signal.
func KeeperStopped(name string) Words {
	return say("keeper_stopped", name+" was ended because its keeper was told to stop.", args{"name": name})
}

// Signalled is of an agent that a signal ended.
func Signalled(name, signal string) Words {
	return say("agent_signalled", fmt.Sprintf("%s ended by itself: signal %s.", name, signal), args{"name": name, "signal": signal})
}

// Exited is of an agent that ended with an exit code.
func Exited(name string, code int) Words {
	return say("agent_exited", fmt.Sprintf("%s ended by itself with exit code %d.", name, code), args{"name": name, "exit": code})
}

func EndedOnRequest(name string) Words {
	return say("agent_ended_on_request", name+" was ended on request.", args{"name": name})
}

func KeeperKilled() Words {
	return say("keeper_killed", "The keeper of the agent was killed.", nil)
}

func KeeperNotStarted(err error) Words {
	return say("keeper_not_started", "The keeper could not be started: "+err.Error(), args{"why": err.Error()})
}

func Mismatch(why string) Words {
	return say("keeper_mismatch", "The keeper did not belong to this state folder's past ("+why+"), so it was ended.", args{"why": why})
}

// What a keeper suffers.

func SpoolFull() Words {
	return say("spool_full", "The agent waits until the host has taken what it wrote.", nil)
}

func DiskFull(why string) Words {
	return say("disk_full", "What the agent writes cannot be kept, so it waits: "+why, args{"why": why})
}

func Recovered() Words {
	return say("recovered", "That is over: what the agent writes is kept again.", nil)
}

// What the host does with agents.

const replaced = ". It was ended between two runs; the session resumes with your next message."

// Replaced is of an agent that held more descriptors than it may, most of them
// as said.
func Replaced(name string, files, limit int, most string) Words {
	return say("agent_replaced", fmt.Sprintf("%s held %d descriptors, more than the %d that it may (%s)", name, files, limit, most)+replaced,
		args{"name": name, "files": files, "limit": limit, "most": most})
}

// ReplacedForMemory is of one that used so many bytes.
func ReplacedForMemory(name string, used, limit int64) Words {
	return say("agent_replaced_memory", fmt.Sprintf("%s used %s of memory, more than the %s that it may", name, Size(used), Size(limit))+replaced,
		args{"name": name, "bytes": used, "limit_bytes": limit})
}

func EndedForFiles() Words {
	return say("ended_for_files", "Ended because the host has nearly as many descriptors open as it may. It resumes with your next message.", nil)
}

func MadeRoom() Words {
	return say("made_room", "Ended to make room for another session; it resumes with your next message.", nil)
}

// PlacesTaken names the sessions whose agents have all the places.
func PlacesTaken(n int, titles []string) Words {
	by := strings.Join(titles, ", ")
	return say("places_taken", fmt.Sprintf("Waiting for a place: all %d live agents are in use, by %s. It starts when one of them is idle.", n, by), args{"n": n, "by": by})
}

// ProcessesLeft names processes of an ended agent.
func ProcessesLeft(n int, names string) Words {
	return say("processes_left", fmt.Sprintf("%d processes of the ended agent have not gone yet: %s.", n, names), args{"n": n, "names": names})
}

// The ends of runs that no agent has ended.

func TakenOut() Words {
	return say("taken_out", "Taken out of the queue.", nil)
}

func StoppedBefore() Words {
	return say("stopped_before", "Stopped before it reached the agent.", nil)
}

func SessionDeleted() Words {
	return say("session_deleted", "The session was deleted.", nil)
}

// Why a question needs no answer any more. None has a value in it: an approval
// keeps the code only.

func RunEnded() Words {
	return say("run_ended", "The run ended first.", nil)
}

func RunStopped() Words {
	return say("run_stopped", "The run was stopped.", nil)
}

func RunInterrupted() Words {
	return say("run_interrupted", "The run was interrupted.", nil)
}

func AgentGone() Words {
	return say("agent_gone", "The agent ended.", nil)
}

func AskedAnew() Words {
	return say("asked_anew", "The agent asked anew.", nil)
}

func TakenBack() Words {
	return say("question_taken_back", "The agent took its question back.", nil)
}

// Unset is a setting of an agent that was not made.
type Unset struct {
	What   string // model, mode, option
	Option string // of an option: its name
	Wanted string
	Now    string // what the agent uses instead; "" where that is not known
}

// Refused says that the agent refused it.
func (u Unset) Refused() Words {
	return say("option_refused", u.text("refused"), u.args())
}

// Unavailable says that the agent does not offer it.
func (u Unset) Unavailable() Words {
	return say("option_unavailable", u.text("does not offer that"), u.args())
}

func (u Unset) text(why string) string {
	what, instead := u.What, "It goes on as it was."
	if u.Option != "" {
		what = fmt.Sprintf("option %q", u.Option)
	}
	if u.Now != "" {
		instead = fmt.Sprintf("It uses %q.", u.Now)
	}
	return fmt.Sprintf("The %s was not set to %q: the agent %s. %s", what, u.Wanted, why, instead)
}

func (u Unset) args() args {
	with := args{"what": u.What, "wanted": u.Wanted}
	if u.Option != "" {
		with["option"] = u.Option
	}
	if u.Now != "" {
		with["now"] = u.Now
	}
	return with
}

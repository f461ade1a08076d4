package session

import (
	"fmt"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast/internal/keeper"
	"github.com/holdfast-dev/holdfast/internal/ledger"
	"github.com/holdfast-dev/holdfast/internal/store"
)

// words is what a session is told: the text, which is whole and English, and
// where the sentence is the host's own its code and what is in it, by which a
// page says it in its language. What an agent says of itself has no code.
//
// Every sentence is made by say, in this file. Each code has words in the page's
// catalogues (web/src/i18n); a test on each side holds the one to the other.
// What a code means and what its args are never changes, as what is written
// today is read by pages of tomorrow: another sentence gets another code.
type words struct {
	text string
	store.Said
}

type args = map[string]any

func say(code, text string, with args) words {
	return words{text: text, Said: store.Said{Code: code, Args: with}}
}

// agentSays is a notice of the agent itself: its own words in every language.
func agentSays(title string) words {
	return words{text: title, Said: store.Said{Code: "agent"}}
}

func sayRewound() words {
	return say("rewound", "A message and what came after it were taken back. The log keeps them.", nil)
}

func sayBegunAnew() words {
	return say("begun_anew", "It begins anew, from what is left of the transcript.", nil)
}

func sayHostRestarted(at time.Time) words {
	return say("host_restarted", "Host restarted at "+at.Format("15:04:05")+". The run carried on.", args{"at": at})
}

func sayCompacted() words {
	return say("compacted", "The agent has summed up its context.", nil)
}

func sayAgentError() words {
	return say("agent_error", "The agent ended the run with an error.", nil)
}

func sayPrinted() words {
	return say("agent_stderr", "The last that the agent printed.", nil)
}

func sayNoStopReason() words {
	return say("no_stop_reason", "The agent gave no reason for its stop.", nil)
}

func sayRecordUnreadable() words {
	return say("record_unreadable", "Something the agent sent could not be understood and was passed over. It is kept in the log.", nil)
}

func saySpoolUnreadable(err error) words {
	return say("spool_unreadable", "Part of what the agent wrote could not be read back: "+err.Error(), args{"why": err.Error()})
}

func sayUnknownPast() words {
	return say("agent_unknown_past", "An agent of this session was still at work that the restored state does not know of; it was ended. What it did in its folder stays.", nil)
}

func sayAgentSessionNew() words {
	return say("agent_session_new", "The agent could not bring its own session back, so it begins a new one and is told what was said here before.", nil)
}

func saySettingRefused() words {
	return say("setting_refused", "The agent refused the setting that makes it ask before it acts. It may act without asking.", nil)
}

// sayMissing is of an agent that the catalogue cannot give.
func sayMissing(err error) words {
	return say("agent_missing", "The agent could not be started: "+err.Error(), args{"why": err.Error()})
}

// sayNeedsLogin takes the catalogue's hint how to log in; it may be "".
func sayNeedsLogin(err error, hint string) words {
	text, with := "The agent needs a login: "+err.Error(), args{"why": err.Error()}
	if hint != "" {
		text += " " + hint
		with["hint"] = hint
	}
	return say("agent_needs_login", text, with)
}

func saySessionNotBegun(err error) words {
	return say("agent_ended", "The agent could not begin the session: "+err.Error(), args{"why": err.Error()})
}

// The ends of an agent and its keeper.

// sayExit says how an agent ended.
func sayExit(name string, e keeper.Exit) words {
	switch e.Reason {
	case keeper.ReasonStart:
		return say("agent_not_started", fmt.Sprintf("%s could not be started: %s", name, e.Error), args{"name": name, "why": e.Error})
	case keeper.ReasonLease:
		return say("agent_left_alone", name+" was ended because no host had come back for it in time.", args{"name": name})
	case keeper.ReasonAsked:
		return sayEndedOnRequest(name)
	case keeper.ReasonSignal:
		return say("keeper_stopped", name+" was ended because its keeper was told to stop.", args{"name": name})
	}
	if e.Signal != "" {
		return say("agent_signalled", fmt.Sprintf("%s ended by itself: signal %s.", name, e.Signal), args{"name": name, "signal": e.Signal})
	}
	return say("agent_exited", fmt.Sprintf("%s ended by itself with exit code %d.", name, e.Code), args{"name": name, "exit": e.Code})
}

func sayEndedOnRequest(name string) words {
	return say("agent_ended_on_request", name+" was ended on request.", args{"name": name})
}

func sayKeeperKilled() words {
	return say("keeper_killed", "The keeper of the agent was killed.", nil)
}

func sayKeeperNotStarted(err error) words {
	return say("keeper_not_started", "The keeper could not be started: "+err.Error(), args{"why": err.Error()})
}

func sayMismatch(why string) words {
	return say("keeper_mismatch", "The keeper did not belong to this state folder's past ("+why+"), so it was ended.", args{"why": why})
}

// sayTrouble says what a keeper suffers; of a kind that this host does not know
// it has the keeper's words.
func sayTrouble(st keeper.Status) words {
	switch st.Kind {
	case keeper.StatusSpoolFull:
		return say("spool_full", "The agent waits until the host has taken what it wrote.", nil)
	case keeper.StatusDiskFull:
		return say("disk_full", "What the agent writes cannot be kept, so it waits: "+st.Text, args{"why": st.Text})
	case keeper.StatusRecovered:
		return say("recovered", "That is over: what the agent writes is kept again.", nil)
	}
	return words{text: st.Text, Said: store.Said{Code: st.Kind}}
}

// What the host does with agents.

// sayReplaced is of an agent that holds more than it may.
func sayReplaced(over ledger.Finding) words {
	text := over.Text + ". It was ended between two runs; the session resumes with your next message."
	if over.Code == ledger.CodeAgentMemory {
		return say("agent_replaced_memory", text, over.Args)
	}
	return say("agent_replaced", text, over.Args)
}

func sayEndedForFiles() words {
	return say("ended_for_files", "Ended because the host has nearly as many descriptors open as it may. It resumes with your next message.", nil)
}

func sayMadeRoom() words {
	return say("made_room", "Ended to make room for another session; it resumes with your next message.", nil)
}

// sayPlacesTaken names the sessions whose agents have all the places.
func sayPlacesTaken(n int, titles []string) words {
	by := strings.Join(titles, ", ")
	return say("places_taken", fmt.Sprintf("Waiting for a place: all %d live agents are in use, by %s. It starts when one of them is idle.", n, by), args{"n": n, "by": by})
}

// sayProcessesLeft names processes of an ended agent.
func sayProcessesLeft(n int, names string) words {
	return say("processes_left", fmt.Sprintf("%d processes of the ended agent have not gone yet: %s.", n, names), args{"n": n, "names": names})
}

// The ends of runs that no agent has ended.

func sayTakenOut() words {
	return say("taken_out", "Taken out of the queue.", nil)
}

func sayStoppedBefore() words {
	return say("stopped_before", "Stopped before it reached the agent.", nil)
}

func saySessionDeleted() words {
	return say("session_deleted", "The session was deleted.", nil)
}

// Why a question needs no answer any more. None has a value in it: an approval
// keeps the code only.

func sayRunEnded() words {
	return say("run_ended", "The run ended first.", nil)
}

func sayRunStopped() words {
	return say("run_stopped", "The run was stopped.", nil)
}

func sayRunInterrupted() words {
	return say("run_interrupted", "The run was interrupted.", nil)
}

func sayAgentGone() words {
	return say("agent_gone", "The agent ended.", nil)
}

func sayAskedAnew() words {
	return say("asked_anew", "The agent asked anew.", nil)
}

func sayTakenBack() words {
	return say("question_taken_back", "The agent took its question back.", nil)
}

// unset says that a setting was not made, and what the agent uses instead.
func (st standing) unset(refused bool) words {
	what := st.what
	with := args{"what": st.what, "wanted": st.wanted}
	if st.option != "" {
		what = fmt.Sprintf("option %q", st.option)
		with["option"] = st.option
	}
	instead := "It goes on as it was."
	if st.now != "" {
		instead = fmt.Sprintf("It uses %q.", st.now)
		with["now"] = st.now
	}
	text := func(why string) string {
		return fmt.Sprintf("The %s was not set to %q: the agent %s. %s", what, st.wanted, why, instead)
	}
	if refused {
		return say("option_refused", text("refused"), with)
	}
	return say("option_unavailable", text("does not offer that"), with)
}

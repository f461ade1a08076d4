package store

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// activity are the kinds of events that bring a session to the top of the
// list: what was said, asked and done. What a person sets (a name, a pin, the
// project), the trash, and what the host and the agent's process say of
// themselves leave it where it is.
var activity = []Kind{
	SessionCreated, MessageUser, MessageEdited, TextDelta, ThoughtDelta, ToolStarted, ToolUpdated, PlanChanged,
	ItemClosed, ItemCopied, Rewound, ApprovalRequested, ApprovalResolved, RunQueued, RunStarted, RunEnded, NoticeGiven,
}

func active(kind Kind) bool { return slices.Contains(activity, kind) }

// activityKinds is activity for SQL.
var activityKinds = func() string {
	var names []string
	for _, kind := range activity {
		names = append(names, "'"+string(kind)+"'")
	}
	return strings.Join(names, ", ")
}()

// foldRow returns the list row after ev. It is a pure function, so that Verify
// can make the row anew from the log.
func foldRow(r Session, ev Event) (Session, error) {
	r.Seq, r.LastEvent = ev.Seq, ev.ID
	if active(ev.Kind) {
		r.Activity, r.LastAt = ev.ID, ev.At
	}
	var err error
	switch ev.Kind {
	case SessionCreated:
		r, err = foldCreated(r, ev)
	case SessionChanged:
		err = foldChanged(&r, ev)
	case SessionDeleted:
		r.DeletedAt = &ev.At
	case SessionRestored:
		r.DeletedAt = nil
	case RunQueued, RunStarted, RunEnded:
		err = foldRun(&r, ev)
	case MessageSteered:
		// One that waited does not any more; one that is late is queued anew.
		var b SteeredBody
		err = json.Unmarshal(ev.Body, &b)
		r.Queue = slices.DeleteFunc(slices.Clone(r.Queue), func(id string) bool { return id == b.Own })
	case QueueChanged:
		var b QueueBody
		err = json.Unmarshal(ev.Body, &b)
		r.Paused = b.Paused
	case ApprovalRequested:
		r.Waiting++
	case ApprovalResolved:
		var b ResolvedBody
		err = json.Unmarshal(ev.Body, &b)
		if !b.Late {
			r.Waiting--
		}
	case AgentState:
		var b AgentStateBody
		err = json.Unmarshal(ev.Body, &b)
		r.AgentState = b.State
	case AgentOptions:
		r.Options, err = foldOptions(r.Options, ev.Body)
	}
	if err != nil {
		return r, fmt.Errorf("read body: %w", err)
	}
	r.Queued = len(r.Queue)
	r.State = rowState(r)
	return r, nil
}

func foldCreated(r Session, ev Event) (Session, error) {
	if err := json.Unmarshal(ev.Body, &r); err != nil {
		return r, err
	}
	r.Seq, r.LastEvent, r.Activity, r.LastAt = ev.Seq, ev.ID, ev.ID, ev.At
	return r, nil
}

// foldChanged takes from a whole row only what no other event says.
func foldChanged(r *Session, ev Event) error {
	var b Session
	if err := json.Unmarshal(ev.Body, &b); err != nil {
		return err
	}
	if !bytes.Contains(ev.Body, []byte(`"pinned"`)) {
		// Of a host that did not know the rest: only a person's title raised the
		// version there.
		r.TitleSet = r.TitleSet || b.Version > r.Version
		r.Title, r.Version = b.Title, b.Version
		return nil
	}
	r.Title, r.TitleSet, r.Version = b.Title, b.TitleSet, b.Version
	r.Pinned, r.Archived, r.Tags, r.Project, r.ForkedFrom, r.Building = b.Pinned, b.Archived, b.Tags, b.Project, b.ForkedFrom, b.Building
	return nil
}

func foldRun(r *Session, ev Event) error {
	var b RunBody
	if err := json.Unmarshal(ev.Body, &b); err != nil {
		return err
	}
	waited := slices.Contains(r.Queue, b.Run)
	rest := slices.DeleteFunc(slices.Clone(r.Queue), func(id string) bool { return id == b.Run })
	switch ev.Kind {
	case RunQueued:
		// A prompt that surely was not begun goes back to the queue.
		if r.Run == b.Run {
			r.Run = ""
		}
		r.Queue = append(rest, b.Run)
	case RunStarted:
		r.Run, r.Reason, r.Queue = b.Run, "", rest
	case RunEnded:
		if r.Run == b.Run {
			r.Run = ""
		}
		r.Queue = rest
		// One that was taken out of the queue says nothing about the session.
		if !waited || b.Reason != Cancelled {
			r.Reason = b.Reason
		}
	}
	return nil
}

// rowState is the precedence of StateWaiting and the rest.
func rowState(r Session) string {
	switch {
	case r.Waiting > 0:
		return StateWaiting
	case r.Run != "":
		return StateRunning
	case r.Reason == Failed:
		return StateFailed
	case r.Reason == Interrupted:
		return StateInterrupted
	case len(r.Queue) > 0:
		return StateQueued
	}
	return StateIdle
}

// foldOptions replaces those fields of known which the event names.
func foldOptions(known, body json.RawMessage) (json.RawMessage, error) {
	var had, got OptionsBody
	if len(known) > 0 {
		if err := json.Unmarshal(known, &had); err != nil {
			return nil, err
		}
	}
	if err := json.Unmarshal(body, &got); err != nil {
		return nil, err
	}
	for _, f := range []struct{ to, from *json.RawMessage }{
		{&had.Modes, &got.Modes},
		{&had.Models, &got.Models},
		{&had.Config, &got.Config},
		{&had.Commands, &got.Commands},
	} {
		if len(*f.from) > 0 && string(*f.from) != "null" {
			*f.to = *f.from
		}
	}
	if got.Steer != nil {
		had.Steer = got.Steer
	}
	if got.Chosen != nil {
		had.Chosen = got.Chosen
	}
	return encode(had)
}

// sameList tells whether two rows look the same in a list, but for activity.
func sameList(a, b Session) bool {
	return a.Title == b.Title && a.State == b.State && a.Waiting == b.Waiting && a.Queued == b.Queued &&
		a.Paused == b.Paused && a.Run == b.Run && a.AgentState == b.AgentState && a.Reason == b.Reason &&
		a.Version == b.Version && a.Agent == b.Agent && a.Cwd == b.Cwd && sameTraits(a, b) &&
		(a.DeletedAt == nil) == (b.DeletedAt == nil) && a.Building == b.Building
}

// sameTraits tells whether what a person set beside the title is the same.
func sameTraits(a, b Session) bool {
	return a.Pinned == b.Pinned && a.Archived == b.Archived && slices.Equal(a.Tags, b.Tags) && a.Project == b.Project
}

// sameHidden tells whether what a list does not show is the same.
func sameHidden(a, b Session) bool {
	return a.TitleSet == b.TitleSet && a.AgentSession == b.AgentSession && a.ClientID == b.ClientID &&
		slices.Equal(a.Queue, b.Queue) && bytes.Equal(a.Options, b.Options)
}

package session

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast/internal/acp"
	"github.com/holdfast-dev/holdfast/internal/agent"
	"github.com/holdfast-dev/holdfast/internal/said"
	"github.com/holdfast-dev/holdfast/internal/store"
)

// A message that steers is said into the run that is under way. It has a run of
// its own from the beginning, in the state steering, which
//
//   - ends when the agent has read the message: nothing more is to be done;
//   - becomes one like any other where the run is over and the message was not
//     read (late), or the agent refused it.
//
// The line that says it is a prompt like any other to a session without a turn,
// so one that reaches the agent after its turn needs no taking back: the agent
// has begun the message's own run by it.

// Steer says something into the session's run that is under way.
func (m *Manager) Steer(_ context.Context, session string, st Steer) (Accepted, error) {
	if err := checkClientID(st.ClientID); err != nil {
		return Accepted{}, err
	}
	if (strings.TrimSpace(st.Text) == "") == (st.Queued == "") {
		return Accepted{}, &Error{Code: CodeBadRequest, Message: "Give one of text and queued: what is to be said, or the run of a message that waits."}
	}
	var acc Accepted
	err := m.update(func(tx *store.Tx, fx *effects) error {
		acc = Accepted{}
		rec, known, err := tx.Message(session, st.ClientID)
		if err != nil {
			return err
		}
		if known {
			return steeredBefore(tx, st, rec, &acc)
		}
		s, err := present(tx, session)
		if err != nil {
			return err
		}
		run, err := m.steerable(tx, s, st.Run)
		if err != nil {
			return err
		}
		own, seq, err := putSaid(tx, s, run, st)
		if err != nil {
			return err
		}
		if err := tx.PutMessage(session, st.ClientID, st.identity(), own.Item, own.ID, seq); err != nil {
			return err
		}
		acc = Accepted{Item: own.Item, Run: own.ID, Seq: seq, State: own.Steer}
		fx.wakeUp(session)
		return m.pushSteer(tx, s, run, own)
	})
	return acc, err
}

// identity is what a repeated command must have in common with the first.
func (st Steer) identity() string {
	if st.Queued != "" {
		return "\x00" + st.Queued
	}
	return st.Text
}

// steeredBefore answers a command that was given before under the same client
// id.
func steeredBefore(tx *store.Tx, st Steer, rec store.MessageRecord, acc *Accepted) error {
	if err := sameMessage(rec, st.identity()); err != nil {
		return err
	}
	own, err := tx.Run(rec.Run)
	*acc = Accepted{Item: rec.Item, Run: rec.Run, Seq: rec.Seq, State: own.Steer}
	return err
}

// steerable returns the session's run that is under way, or why nothing can be
// said into the one that was named.
func (m *Manager) steerable(tx *store.Tx, s store.Session, id string) (store.Run, error) {
	known, err := optionsOf(s)
	if err != nil {
		return store.Run{}, err
	}
	if known.body.Steer == nil || !*known.body.Steer {
		return store.Run{}, &Error{Code: CodeCannotSteer, Message: m.Catalogue.Name(s.Agent) + " cannot be told anything in the middle of a run. Send a message: it waits until the run is over."}
	}
	run, ok, err := tx.CurrentRun(s.ID)
	if err != nil {
		return run, err
	}
	refuse := func(why string) (store.Run, error) {
		return store.Run{}, &Error{Code: CodeRunNotCurrent, Message: why + " Nothing was said to it. Send a message instead."}
	}
	switch {
	case !ok || run.ID != id:
		return refuse("This run is not under way in this session: it has ended, waits, or never was.")
	case run.StartedAt.IsZero():
		return refuse("This run has not begun: it waits for its agent.")
	case run.Cancelling:
		return refuse("This run is being stopped.")
	}
	ep, err := tx.Epoch(run.Epoch)
	if err == nil && ep.State != store.EpochReady {
		return refuse("The agent of this run is being ended.")
	}
	return run, err
}

// putSaid puts what is said into the transcript, and returns its own run and the
// event of the message.
func putSaid(tx *store.Tx, s store.Session, run store.Run, st Steer) (own store.Run, seq int64, err error) {
	if st.Queued == "" {
		own = store.Run{ID: newID("r"), Session: s.ID, Item: newID("i"), Text: st.Text, State: store.RunStateSteering, Steer: store.SteerSent}
		ev, err := tx.Append(s.ID, run.ID, store.MessageUser, store.MessageBody{
			Item: own.Item, Text: own.Text, ClientID: st.ClientID, Steer: &store.Steer{State: own.Steer},
		})
		own.Pos, own.QueuedAt = ev.ID, ev.At
		return own, ev.Seq, err
	}
	if own, err = queued(tx, s.ID, st.Queued); err != nil {
		return own, 0, err
	}
	it, err := tx.Item(own.Item)
	if err != nil {
		return own, 0, err
	}
	var body store.MessageBody
	if err := json.Unmarshal(it.Body, &body); err != nil {
		return own, 0, fmt.Errorf("read message: %w", err)
	}
	if len(body.Files) > 0 {
		return own, 0, &Error{Code: CodeBadRequest, Message: "The message has files, and only text can be said into a run. It waits on."}
	}
	own.State, own.Steer = store.RunStateSteering, store.SteerSent
	if err := tx.PutRun(own); err != nil {
		return own, 0, err
	}
	if err := appendSteered(tx, own, run.ID); err != nil {
		return own, 0, err
	}
	return own, it.Seq, appendQueue(tx, s.ID, s.Paused)
}

// pushSteer gives the message to the agent.
func (m *Manager) pushSteer(tx *store.Tx, s store.Session, run, own store.Run) error {
	n, err := tx.NextLine(run.Epoch)
	if err != nil {
		return err
	}
	data, err := acp.Request(n, acp.MethodSessionPrompt, acp.PromptParams{
		SessionID: s.AgentSession, Prompt: []acp.ContentBlock{acp.TextBlock("/" + m.Catalogue.Steering(s.Agent).Command + " " + own.Text)},
	})
	if err != nil {
		return fmt.Errorf("encode steering prompt: %w", err)
	}
	if _, err := pushLine(tx, store.Line{Epoch: run.Epoch, N: n, Kind: store.LineSteer, Run: own.ID, Data: data}); err != nil {
		return err
	}
	own.Epoch, own.Prompt = run.Epoch, n
	return tx.PutRun(own)
}

// appendSteered tells how a message stands that steers; run is the one that it
// belongs to.
func appendSteered(tx *store.Tx, own store.Run, run string) error {
	_, err := tx.Append(own.Session, run, store.MessageSteered, store.SteeredBody{Item: own.Item, State: own.Steer, Own: own.ID})
	return err
}

// settleSteers decides about the messages that were said into a run which is
// not under way any more, and tells whether the queue has become another one.
// goOn has the first of them follow at once, before what waits.
//
// One that the agent was given and has not answered is, or will be, the agent's
// next turn: it becomes the current run as it is. The others were not read, nor
// was any where a person stopped the run, which the agent heard of later.
func settleSteers(tx *store.Tx, session string, goOn bool) (changed bool, err error) {
	list, err := tx.SteeringRuns(session)
	if err != nil || len(list) == 0 {
		return false, err
	}
	current, busy, err := tx.CurrentRun(session)
	if err != nil {
		return false, err
	}
	var late []store.Run
	for _, own := range list {
		open, err := unanswered(tx, own)
		switch {
		case err != nil:
			return false, err
		case open && busy && current.Epoch == own.Epoch:
			err = appendSteered(tx, own, current.ID) // said into that one then
		case open && !busy && goOn:
			current, busy = own, true
			err = begun(tx, own)
		default:
			late = append(late, own)
		}
		if err != nil {
			return false, err
		}
	}
	return len(late) > 0, requeue(tx, session, late, goOn && !busy)
}

// unanswered tells whether an agent that lives may still take the message: its
// line has no response, and the agent has said nothing of it.
func unanswered(tx *store.Tx, own store.Run) (bool, error) {
	if own.Steer != store.SteerSent {
		return false, nil
	}
	ep, err := tx.Epoch(own.Epoch)
	if err != nil || ep.State == store.EpochEnded {
		return false, err
	}
	line, err := tx.Line(own.Epoch, own.Prompt)
	return err == nil && !line.Answered, err
}

// begun makes the message's line the prompt of its own run.
func begun(tx *store.Tx, own store.Run) error {
	own.State, own.Steer, own.StartedAt = store.RunStateCurrent, store.SteerLate, tx.Now()
	if err := tx.PutRun(own); err != nil {
		return err
	}
	if err := appendSteered(tx, own, own.ID); err != nil {
		return err
	}
	if _, err := tx.Append(own.Session, own.ID, store.RunStarted, store.RunBody{Run: own.ID, Item: own.Item}); err != nil {
		return err
	}
	return appendAgentState(tx, own.Session, own.ID, "busy", said.Words{})
}

// requeue makes messages that were not read the first of the queue, in their
// order. With first, the first of them is next to go, also where the queue
// waits for a person: it was said after that pause, and to this agent.
func requeue(tx *store.Tx, session string, late []store.Run, first bool) error {
	queue, err := tx.QueuedRuns(session)
	if err != nil {
		return err
	}
	for i, own := range late {
		if len(queue) > 0 {
			own.Pos = queue[0].Pos - int64(len(late)-i)
		}
		own.State, own.Steer = store.RunStateQueued, store.SteerLate
		if first && i == 0 {
			own.State = store.RunStateCurrent
		}
		own.Epoch, own.Prompt, own.StartedAt = "", 0, time.Time{}
		if err := tx.PutRun(own); err != nil {
			return err
		}
		if err := appendSteered(tx, own, own.ID); err != nil {
			return err
		}
		if _, err := tx.Append(session, own.ID, store.RunQueued, store.RunBody{Run: own.ID, Item: own.Item}); err != nil {
			return err
		}
	}
	return nil
}

// steerWord takes what the agent says of a message that steers for what it is,
// and tells whether it was that.
func (in *interpreter) steerWord(said string) (bool, error) {
	how := in.l.steering
	if !how.Speaks(said) {
		return false, nil
	}
	lines, err := in.tx.UnansweredLines(in.ep.Name, store.LineSteer)
	if err != nil {
		return false, err
	}
	for _, line := range lines {
		own, err := in.tx.Run(line.Run)
		if err != nil {
			return false, err
		}
		what := how.Outcome(said, own.Text)
		if what == agent.NoOutcome || own.Steer == store.SteerTaken {
			continue
		}
		return true, in.steerAnswered(own, what)
	}
	return false, nil
}

// steerAnswered notes what the agent says becomes of a message.
func (in *interpreter) steerAnswered(own store.Run, what agent.Outcome) error {
	switch {
	case own.State == store.RunStateCurrent && !own.StartedAt.IsZero():
		// The run ended between the agent's taking and its saying so. What it
		// took is lost with that one, which the response settles.
		own.Steer = store.SteerTaken
		return in.tx.PutRun(own)
	case own.State != store.RunStateSteering:
		return nil // it has gone another way meanwhile
	case what == agent.Queued:
		return in.steerRead(own)
	case what == agent.Refused:
		return in.steerRefused(own)
	}
	own.Steer = store.SteerTaken
	if err := in.tx.PutRun(own); err != nil {
		return err
	}
	return appendSteered(in.tx, own, in.run.ID)
}

// steersRead notes, behind a tool call that has ended, that the agent reads
// what it had taken.
func (in *interpreter) steersRead() error {
	list, err := in.tx.SteeringRuns(in.s.ID)
	if err != nil {
		return err
	}
	for _, own := range list {
		if own.Steer != store.SteerTaken || own.Epoch != in.ep.Name {
			continue
		}
		if err := in.steerRead(own); err != nil {
			return err
		}
	}
	return nil
}

func (in *interpreter) steerRead(own store.Run) error {
	own.State, own.Steer, own.Reason, own.EndedAt = store.RunStateEnded, store.SteerRead, store.Steered, in.tx.Now()
	if err := in.tx.PutRun(own); err != nil {
		return err
	}
	return appendSteered(in.tx, own, in.run.ID)
}

// steerRefused has a message wait that the agent does not take into its run.
func (in *interpreter) steerRefused(own store.Run) error {
	if err := requeue(in.tx, in.s.ID, []store.Run{own}, false); err != nil {
		return err
	}
	return appendQueue(in.tx, in.s.ID, in.s.Paused)
}

// steered interprets the response to a line that steers.
func (in *interpreter) steered(line store.Line, msg acp.Message) error {
	own, err := in.tx.Run(line.Run)
	if err != nil {
		return err
	}
	if own.Epoch != in.ep.Name || own.Prompt != line.N {
		return nil // it has gone another way meanwhile
	}
	var res acp.PromptResult
	refused := msg.Error != nil || json.Unmarshal(msg.Result, &res) == nil && res.StopReason == acp.StopRefusal
	switch {
	case own.State == store.RunStateSteering && refused:
		return in.steerRefused(own)
	case own.State == store.RunStateSteering && own.Steer == store.SteerSent:
		return in.steerAnswered(own, agent.Taken) // in words that we do not know
	case own.State == store.RunStateCurrent && own.Steer == store.SteerTaken:
		return in.lostWithItsRun(own)
	case own.State == store.RunStateCurrent:
		return in.prompted(line, msg)
	}
	return nil
}

// lostWithItsRun begins the own run of a message again that the agent had taken
// into a run that was ending: it was no turn of its own.
func (in *interpreter) lostWithItsRun(own store.Run) error {
	if err := appendAgentState(in.tx, in.s.ID, own.ID, "ready", said.Words{}); err != nil {
		return err
	}
	if err := requeue(in.tx, in.s.ID, []store.Run{own}, true); err != nil {
		return err
	}
	in.pushed = true
	if err := in.l.m.advance(in.tx, in.s.ID, in.fx); err != nil {
		return err
	}
	return in.loadRun()
}

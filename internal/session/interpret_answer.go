package session

import (
	"encoding/json"
	"errors"
	"strconv"

	"github.com/holdfast-dev/holdfast/internal/acp"
	"github.com/holdfast-dev/holdfast/internal/said"
	"github.com/holdfast-dev/holdfast/internal/store"
)

// response interprets the agent's answer to a line of ours.
func (in *interpreter) response(msg acp.Message) error {
	n, err := strconv.ParseUint(string(msg.ID), 10, 64)
	if err != nil {
		in.l.log.Warn("the agent answered an id that was never sent", "id", string(msg.ID))
		return nil
	}
	line, err := in.tx.Line(in.ep.Name, n)
	if errors.Is(err, store.ErrNotFound) {
		in.l.log.Warn("the agent answered an id that was never sent", "id", n)
		return nil
	}
	if err != nil || line.Answered {
		return err
	}
	if err := in.tx.SetAnswered(in.ep.Name, n); err != nil {
		return err
	}
	if in.ep.State == store.EpochEnding && line.Kind != store.LinePrompt && line.Kind != store.LineSteer {
		return nil
	}
	switch line.Kind {
	case store.LineInitialize:
		return in.initialized(msg)
	case store.LineNew, store.LineLoad, store.LineResume:
		return in.opened(line.Kind, msg)
	case store.LineOption:
		return in.optionSet(line, msg)
	case store.LinePrompt:
		return in.prompted(line, msg)
	case store.LineSteer:
		return in.steered(line, msg)
	}
	return nil
}

// prompted ends the run whose prompt the agent has answered.
func (in *interpreter) prompted(line store.Line, msg acp.Message) error {
	if in.run.ID != line.Run {
		return nil // ended before: an interruption that a person asked for
	}
	if err := in.closeText(); err != nil {
		return err
	}
	// A cancel that the keeper has not begun has nothing left to stop.
	if err := in.voidUnsent(line.N, func(c store.Line) bool { return c.Kind == store.LineCancel && c.Run == line.Run }); err != nil {
		return err
	}
	reason, detail, pause := store.EndTurn, said.Words{}, false
	switch {
	case msg.Error != nil && msg.Error.Code == acp.CodeAuthRequired:
		reason, detail, pause = store.Failed, said.NeedsLogin(msg.Error, ""), true
		if err := appendAgentState(in.tx, in.s.ID, in.run.ID, "needs_login", said.NeedsLogin(msg.Error, in.l.agent().Login)); err != nil {
			return err
		}
	case msg.Error != nil && (in.run.Cancelling || msg.Error.Code == acp.CodeRequestCancelled):
		reason = store.Cancelled
	case msg.Error != nil:
		reason, detail = store.Failed, said.Words{Text: msg.Error.Error()}
		if err := appendNotice(in.tx, in.s.ID, in.run.ID, "error", said.AgentError(), detail.Text); err != nil {
			return err
		}
		if err := noticePrinted(in.tx, in.s.ID, in.run.ID, in.printedSince(in.run.StartedAt)); err != nil {
			return err
		}
	default:
		var res acp.PromptResult
		if err := json.Unmarshal(msg.Result, &res); err != nil || res.StopReason == "" {
			detail = said.NoStopReason()
		} else {
			reason = string(res.StopReason)
		}
	}
	if reason == store.Cancelled && in.ep.State == store.EpochEnding && !in.run.Cancelling {
		// It was not stopped: its agent was ended, and said so on its way out.
		reason, detail = store.Interrupted, said.EndedOnRequest(in.l.agent().Name)
	}
	if reason == store.Cancelled || reason == store.Interrupted {
		pause = true
	}
	if pause { // nothing that was said meanwhile is to begin a turn
		if err := in.voidUnsent(line.N, func(c store.Line) bool { return c.Kind == store.LineSteer }); err != nil {
			return err
		}
	}
	in.l.w.requeued = 0
	if in.run.Cancelling && msg.Error != nil {
		// Hermes Agent 0.19 fails a turn that is cancelled before its first
		// word, and takes itself for busy ever after. A new process does not.
		in.l.log.Info("the agent failed on a cancel and is replaced", "err", msg.Error)
		in.ep.State = store.EpochEnding
		if err := in.tx.PutEpoch(in.ep); err != nil {
			return err
		}
	}
	if msg.Error == nil || msg.Error.Code != acp.CodeAuthRequired {
		if err := appendAgentState(in.tx, in.s.ID, in.run.ID, "ready", said.Words{}); err != nil {
			return err
		}
	}
	if err := in.l.m.endRun(in.tx, in.run, reason, detail, pause, in.fx); err != nil {
		return err
	}
	in.pushed = true // the next run's prompt may be there
	return in.loadRun()
}

// voidUnsent voids those lines behind n which the keeper has not taken.
func (in *interpreter) voidUnsent(n uint64, which func(store.Line) bool) error {
	later, err := in.tx.LinesAfter(in.ep.Name, n)
	if err != nil {
		return err
	}
	for _, c := range later {
		if which(c) && c.N > in.l.accepted.Load() {
			if err := in.tx.VoidLine(in.ep.Name, c.N); err != nil {
				return err
			}
		}
	}
	return nil
}

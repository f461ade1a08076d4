package main

import (
	"context"
	"strings"

	"github.com/holdfast-dev/holdfast/internal/acp"
)

// With STEER the agent is steered as Hermes Agent is: a prompt "/steer TEXT" in
// the middle of a turn is answered at once, in words and by a response, and
// read behind the next call that ends, where the turn says "[steered: TEXT]".
// What no call follows is dropped with the turn. Without a turn it is a prompt
// like any other.

const (
	steerCommand = "/steer "
	steerPreview = 80
)

// advertise tells of the command.
func (a *agent) advertise(session string) {
	if env("STEER") != "" {
		_ = a.conn.Update(session, acp.Commands{Commands: []acp.Command{
			{Name: "steer", Description: "Inject guidance into the currently running agent turn", Input: &acp.CommandInput{Hint: "guidance"}},
		}})
	}
}

// steer takes a prompt that is for the turn under way, and tells whether it was.
func (a *agent) steer(m acp.Message) bool {
	p, err := params[acp.PromptParams](m)
	if err != nil || env("STEER") == "" || len(p.Prompt) != 1 {
		return false
	}
	text, is := strings.CutPrefix(p.Prompt[0].Text, steerCommand)
	text = strings.TrimSpace(text)
	a.mu.Lock()
	s, ok := a.sessions[p.SessionID]
	is = is && ok && s.cancel != nil
	a.mu.Unlock()
	if !is {
		return false
	}
	said := []rune(text)
	if len(said) > steerPreview {
		said = append(said[:steerPreview:steerPreview], []rune("...")...)
	}
	_ = a.conn.Update(p.SessionID, acp.AgentChunk{Chunk: acp.Text("⏩ Steer queued for the active turn: " + string(said))})
	a.mu.Lock()
	if s.cancel != nil { // else it is dropped with its turn
		s.steers = append(s.steers, text)
		close(s.told)
		s.told = make(chan struct{})
	}
	a.mu.Unlock()
	_ = a.conn.Respond(m.ID, acp.PromptResult{StopReason: acp.StopEndTurn})
	return true
}

// unsteered is the text of a prompt that came without a turn under way.
func unsteered(text string) string {
	if env("STEER") != "" {
		return strings.TrimPrefix(text, steerCommand)
	}
	return text
}

// awaitSteer waits until the turn has been told something that it has not read.
func (t *turn) awaitSteer(ctx context.Context) error {
	for {
		t.a.mu.Lock()
		n, told := len(t.s.steers), t.s.told
		t.a.mu.Unlock()
		if n > 0 {
			return nil
		}
		select {
		case <-told:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// ended tells of a call that has ended, and says what was read behind it.
func (t *turn) ended(id string, status acp.ToolStatus) error {
	if err := t.update(acp.ToolCallUpdate{ID: id, Status: &status}); err != nil {
		return err
	}
	t.a.mu.Lock()
	read := t.s.steers
	t.s.steers = nil
	t.a.mu.Unlock()
	for _, text := range read {
		if err := t.say("[steered: " + text + "]"); err != nil {
			return err
		}
	}
	return nil
}

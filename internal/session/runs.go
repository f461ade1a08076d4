package session

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/holdfast-dev/holdfast/internal/acp"
	"github.com/holdfast-dev/holdfast/internal/agent"
	"github.com/holdfast-dev/holdfast/internal/keeper"
	"github.com/holdfast-dev/holdfast/internal/said"
	"github.com/holdfast-dev/holdfast/internal/store"
)

// effects is what a transaction wants done after its commit.
type effects struct {
	wake  map[string]bool // sessions whose worker should look again
	free  bool            // a place may have become free
	began []string        // agents that runs were given to
	ended []endedRun
}

func (fx *effects) wakeUp(session string) {
	if fx.wake == nil {
		fx.wake = map[string]bool{}
	}
	fx.wake[session] = true
}

// update commits fn durably and carries out what it asked for.
func (m *Manager) update(fn func(*store.Tx, *effects) error) error {
	var fx effects
	err := m.Store.Update(store.Durable, func(tx *store.Tx) error {
		fx = effects{}
		return fn(tx, &fx)
	})
	if err != nil {
		return publicError(err)
	}
	m.carryOut(&fx)
	return nil
}

func (m *Manager) carryOut(fx *effects) {
	for id := range fx.wake {
		m.wake(id)
	}
	if fx.free {
		m.free()
	}
	for _, agent := range fx.began {
		m.tally.began(agent)
	}
	for _, r := range fx.ended {
		m.tally.ended(r)
	}
}

// publicError gives the store's own errors a code that clients can branch on.
func publicError(err error) error {
	var e *Error
	switch {
	case errors.As(err, &e):
		return err
	case errors.Is(err, store.ErrNotFound):
		return &Error{Code: CodeNotFound, Message: "There is no such session, run or approval. It may have been deleted."}
	case errors.Is(err, store.ErrClosed):
		return &Error{Code: CodeStopping, Message: "The host is stopping, so nothing was stored. Send it again in a moment."}
	case errors.Is(err, store.ErrDiskFull):
		return &Error{Code: CodeDiskFull, Message: "The disk of the state folder is full, so nothing was stored. Free some space and send it again."}
	}
	return err
}

// Create makes a session. A repeated client id returns the session that it
// made the first time, and true.
func (m *Manager) Create(ctx context.Context, n New) (store.Session, bool, error) {
	if n.Agent == "" {
		return store.Session{}, false, &Error{Code: CodeBadRequest, Message: "The field agent is empty: name one of GET /api/v1/agents."}
	}
	if _, err := m.Catalogue.Get(ctx, n.Agent); err != nil {
		code := CodeAgentMissing
		if errors.Is(err, agent.ErrUnknown) {
			code = CodeAgentUnknown
		}
		return store.Session{}, false, &Error{Code: code, Message: fmt.Sprintf("The agent %q cannot be used: %v.", n.Agent, err)}
	}
	if !filepath.IsAbs(n.Cwd) {
		return store.Session{}, false, &Error{Code: CodeBadCwd, Message: fmt.Sprintf("The folder %q is not an absolute path.", n.Cwd)}
	}
	info, err := os.Stat(n.Cwd)
	switch {
	case err != nil:
		return store.Session{}, false, &Error{Code: CodeBadCwd, Message: fmt.Sprintf("The folder %s cannot be used: %v.", n.Cwd, errors.Unwrap(err))}
	case !info.IsDir():
		return store.Session{}, false, &Error{Code: CodeBadCwd, Message: fmt.Sprintf("%s is a file, not a folder.", n.Cwd)}
	}
	if err := n.Choice.check(); err != nil {
		return store.Session{}, false, err
	}
	var s store.Session
	existing := false
	err = m.update(func(tx *store.Tx, _ *effects) error {
		existing = false
		project, err := projectOf(tx, n.Project, filepath.Clean(n.Cwd))
		if err != nil {
			return err
		}
		s, err = tx.CreateSession(store.Session{
			Project: project,
			ID:      newID("s"), Agent: n.Agent, Cwd: filepath.Clean(n.Cwd),
			Title: strings.TrimSpace(n.Title), TitleSet: strings.TrimSpace(n.Title) != "", ClientID: n.ClientID,
		})
		if errors.Is(err, store.ErrExists) {
			existing = true
			if s.Agent != n.Agent || s.Cwd != filepath.Clean(n.Cwd) {
				return &Error{Code: CodeSessionConflict, Message: "Another session was made before with this client_id, with another agent or folder. Give the new session a client_id of its own."}
			}
			return nil
		}
		if err != nil || n.Choice.empty() {
			return err
		}
		chosen := store.Chosen(n.Choice)
		if _, err := tx.Append(s.ID, "", store.AgentOptions, store.OptionsBody{Chosen: &chosen}); err != nil {
			return err
		}
		s, err = tx.Session(s.ID)
		return err
	})
	return s, existing, err
}

// Send stores a message for good and has it answered: at once where nothing
// runs, after what runs and waits otherwise.
func (m *Manager) Send(ctx context.Context, session string, msg Message) (Accepted, error) {
	if err := checkClientID(msg.ClientID); err != nil {
		return Accepted{}, err
	}
	if strings.TrimSpace(msg.Text) == "" && len(msg.Attachments) == 0 {
		return Accepted{}, &Error{Code: CodeBadRequest, Message: "The message is empty."}
	}
	if err := m.putFiles(ctx, msg.Attachments); err != nil {
		return Accepted{}, publicError(err)
	}
	var acc Accepted
	err := m.update(func(tx *store.Tx, fx *effects) error {
		acc = Accepted{}
		rec, known, err := tx.Message(session, msg.ClientID)
		if err != nil {
			return err
		}
		if known {
			return repeated(tx, msg, rec, &acc)
		}
		s, err := present(tx, session)
		if err != nil {
			return err
		}
		if msg.Rewind != "" {
			if err := rewind(tx, session, msg.Rewind, fx); err != nil {
				return err
			}
		}
		_, running, err := tx.CurrentRun(session)
		if err != nil {
			return err
		}
		files, err := filesOf(tx, msg.Attachments)
		if err != nil {
			return err
		}
		item, run := newID("i"), newID("r")
		ev, err := tx.Append(session, run, store.MessageUser, store.MessageBody{
			Item: item, Text: msg.Text, ClientID: msg.ClientID, Attachments: msg.Attachments, Files: files,
		})
		if err != nil {
			return err
		}
		if err := tx.PutMessage(session, msg.ClientID, msg.identity(), item, run, ev.Seq); err != nil {
			return err
		}
		r := store.Run{ID: run, Session: session, Item: item, Text: msg.Text, State: store.RunStateQueued, Pos: ev.ID, QueuedAt: ev.At}
		if !running {
			// Also when older ones wait in a paused queue: they wait on.
			r.State = store.RunStateCurrent
		}
		if err := tx.PutRun(r); err != nil {
			return err
		}
		if _, err := tx.Append(session, run, store.RunQueued, store.RunBody{Run: run, Item: item}); err != nil {
			return err
		}
		if s.Title == "" {
			title := titleOf(msg.Text)
			if title == "" && len(files) > 0 {
				title = titleOf(files[0].Name)
			}
			if err := tx.SetTitle(session, title, false); err != nil {
				return err
			}
		}
		acc = Accepted{Item: item, Run: run, Seq: ev.Seq, State: "queued"}
		if running {
			return appendQueue(tx, session, s.Paused)
		}
		acc.State = "started"
		return m.advance(tx, session, fx)
	})
	return acc, err
}

// repeated answers a message that was sent before under the same client id.
func repeated(tx *store.Tx, msg Message, rec store.MessageRecord, acc *Accepted) error {
	if err := sameMessage(rec, msg.identity()); err != nil {
		return err
	}
	r, err := tx.Run(rec.Run)
	if err != nil {
		return err
	}
	*acc = Accepted{Item: rec.Item, Run: rec.Run, Seq: rec.Seq, State: "started"}
	if r.State == store.RunStateQueued {
		acc.State = "queued"
	}
	return nil
}

// checkClientID refuses an id by which no message can be known again.
func checkClientID(id string) error {
	switch {
	case id == "":
		return &Error{Code: CodeBadRequest, Message: "The field client_id is empty: it names the message, so that sending it again cannot double it."}
	case len(id) > 200:
		return &Error{Code: CodeBadRequest, Message: "The field client_id is longer than 200 bytes."}
	}
	return nil
}

// sameMessage refuses a client id under which something else was sent before.
func sameMessage(rec store.MessageRecord, identity string) error {
	if rec.TextHash != store.HashText(identity) {
		return &Error{Code: CodeMessageConflict, Message: "Another message with this client_id was sent before, with another text. Give the new message a client_id of its own."}
	}
	return nil
}

// titleOf is the first line of a message, cut at a word.
func titleOf(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	line = strings.Join(strings.Fields(line), " ")
	const limit = 80
	runes := []rune(line)
	if len(runes) <= limit {
		return line
	}
	cut := string(runes[:limit])
	if i := strings.LastIndexByte(cut, ' '); i > limit/2 {
		cut = cut[:i]
	}
	return cut + "…"
}

// advance gives the current run to the agent, or makes the next queued run
// current, or asks for an agent where there is none.
func (m *Manager) advance(tx *store.Tx, session string, fx *effects) error {
	s, err := tx.Session(session)
	if err != nil {
		return err
	}
	run, ok, err := tx.CurrentRun(session)
	if err != nil {
		return err
	}
	if !ok {
		if s.Paused {
			return nil
		}
		queue, err := tx.QueuedRuns(session)
		if err != nil || len(queue) == 0 {
			return err
		}
		run = queue[0]
		run.State = store.RunStateCurrent
		if err := tx.PutRun(run); err != nil {
			return err
		}
		if err := appendQueue(tx, session, s.Paused); err != nil {
			return err
		}
	}
	fx.wakeUp(session)
	if !run.StartedAt.IsZero() {
		return nil
	}
	ep, live, err := tx.LiveEpoch(session)
	if err != nil || !live || ep.State != store.EpochReady {
		return err
	}
	fx.began = append(fx.began, s.Agent)
	return m.pushPrompt(tx, s, run, ep)
}

// pushPrompt gives the run to the agent: from here on it is under way.
func (m *Manager) pushPrompt(tx *store.Tx, s store.Session, run store.Run, ep store.Epoch) error {
	if err := closeItems(tx, s.ID, run.ID, ""); err != nil {
		return err
	}
	n, err := tx.NextLine(ep.Name)
	if err != nil {
		return err
	}
	text := run.Text
	if handover, err := m.handover(tx, s, ep); err != nil {
		return err
	} else if handover != "" {
		text = handover + text
	}
	blocks, err := m.promptBlocks(tx, run, ep, text)
	if err != nil {
		return err
	}
	data, err := acp.Request(n, "session/prompt", acp.PromptParams{SessionID: s.AgentSession, Prompt: blocks})
	if err != nil {
		return fmt.Errorf("encode prompt: %w", err)
	}
	if _, err := pushLine(tx, store.Line{Epoch: ep.Name, N: n, Kind: store.LinePrompt, Run: run.ID, Data: data}); err != nil {
		return err
	}
	run.Epoch, run.Prompt, run.StartedAt = ep.Name, n, tx.Now()
	if err := tx.PutRun(run); err != nil {
		return err
	}
	if _, err := tx.Append(s.ID, run.ID, store.RunStarted, store.RunBody{Run: run.ID, Item: run.Item}); err != nil {
		return err
	}
	return appendAgentState(tx, s.ID, run.ID, "busy", said.Words{})
}

// pushLine puts a line into the outbox, with the sum by which a keeper is
// known to have this very line.
func pushLine(tx *store.Tx, line store.Line) (store.Line, error) {
	line.Sum = keeper.Checksum(line.Data)
	return tx.PushLine(line)
}

func appendQueue(tx *store.Tx, session string, paused bool) error {
	runs, err := tx.QueuedRuns(session)
	if err != nil {
		return err
	}
	body := store.QueueBody{Paused: paused, Queue: []store.QueueEntry{}}
	for _, r := range runs {
		body.Queue = append(body.Queue, store.QueueEntry{Run: r.ID, Item: r.Item})
	}
	_, err = tx.Append(session, "", store.QueueChanged, body)
	return err
}

func appendAgentState(tx *store.Tx, session, run, state string, why said.Words) error {
	_, err := tx.Append(session, run, store.AgentState, store.AgentStateBody{State: state, Text: why.Text, Said: why.Said})
	return err
}

func appendNotice(tx *store.Tx, session, run, level string, what said.Words, detail string) error {
	_, err := tx.Append(session, run, store.NoticeGiven, store.NoticeBody{
		Item: newID("n"), Level: level, Text: what.Text, Said: what.Said, Detail: detail,
	})
	return err
}

// closeItems closes every open item of the session. toolStatus is what a tool
// call becomes that the agent left open; "" leaves its status as it was.
func closeItems(tx *store.Tx, session, run, toolStatus string) error {
	items, err := tx.OpenItems(session)
	if err != nil {
		return err
	}
	now := tx.Now()
	for _, it := range items {
		if it.Kind == store.ItemApproval {
			continue
		}
		body := store.ClosedBody{Item: it.ID}
		switch it.Kind {
		case store.ItemTool:
			body.Status, body.EndedAt = toolStatus, &now
		case store.ItemThought:
			body.EndedAt = &now
		}
		r := it.Run
		if r == "" {
			r = run
		}
		if _, err := tx.Append(session, r, store.ItemClosed, body); err != nil {
			return err
		}
	}
	return nil
}

// endRun ends a run that is current or queued: its open items and questions
// are closed, and the queue goes on or, where a person must look first, waits.
func (m *Manager) endRun(tx *store.Tx, run store.Run, reason string, detail said.Words, pause bool, fx *effects) error {
	wasCurrent := run.State == store.RunStateCurrent
	if wasCurrent {
		status := "unknown" // the agent ended its turn and never said
		if reason == store.Cancelled || reason == store.Interrupted || reason == store.Failed {
			status = "cancelled"
		}
		if err := closeItems(tx, run.Session, run.ID, status); err != nil {
			return err
		}
		why := said.RunEnded()
		if reason == store.Cancelled {
			why = said.RunStopped()
		} else if reason == store.Interrupted {
			why = said.RunInterrupted()
		}
		if err := cancelApprovals(tx, run.Session, run.ID, why); err != nil {
			return err
		}
	}
	run.State, run.Reason, run.Detail, run.Said, run.EndedAt = store.RunStateEnded, reason, detail.Text, detail.Said, tx.Now()
	if err := tx.PutRun(run); err != nil {
		return err
	}
	if _, err := tx.Append(run.Session, run.ID, store.RunEnded, store.RunBody{Run: run.ID, Item: run.Item, Reason: reason, Detail: detail.Text, Said: detail.Said}); err != nil {
		return err
	}
	s, err := tx.Session(run.Session)
	if err != nil {
		return err
	}
	fx.ended = append(fx.ended, endedRun{agent: s.Agent, reason: reason, began: !run.StartedAt.IsZero(), took: run.EndedAt.Sub(run.StartedAt)})
	late := false
	if wasCurrent {
		if late, err = settleSteers(tx, run.Session, !pause); err != nil {
			return err
		}
	}
	queued, err := tx.QueuedRuns(run.Session)
	if err != nil {
		return err
	}
	// A pause holds what waits; with nothing waiting there is nothing to hold.
	if paused := (s.Paused || pause) && len(queued) > 0; paused != s.Paused || late || !wasCurrent {
		if err := appendQueue(tx, run.Session, paused); err != nil {
			return err
		}
	}
	if !wasCurrent {
		return nil
	}
	fx.free = true
	fx.wakeUp(run.Session)
	return m.advance(tx, run.Session, fx)
}

// Cancel stops the current run or takes a queued one out of the queue.
func (m *Manager) Cancel(_ context.Context, session, runID string) error {
	return m.update(func(tx *store.Tx, fx *effects) error {
		if _, err := present(tx, session); err != nil {
			return err
		}
		run, err := tx.Run(runID)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if err != nil || run.Session != session || run.State == store.RunStateEnded {
			return &Error{Code: CodeRunNotCurrent, Message: "This run is neither under way nor queued in this session: it has ended, or never was. Nothing was stopped."}
		}
		switch {
		case run.State == store.RunStateQueued:
			return m.endRun(tx, run, store.Cancelled, said.TakenOut(), false, fx)
		case run.StartedAt.IsZero():
			return m.endRun(tx, run, store.Cancelled, said.StoppedBefore(), true, fx)
		case run.Cancelling:
			return nil
		}
		s, err := tx.Session(session)
		if err != nil {
			return err
		}
		data, err := acp.Notification("session/cancel", acp.CancelParams{SessionID: s.AgentSession})
		if err != nil {
			return fmt.Errorf("encode cancel: %w", err)
		}
		if _, err := pushLine(tx, store.Line{Epoch: run.Epoch, Kind: store.LineCancel, Run: run.ID, Data: data}); err != nil {
			return err
		}
		pending, err := tx.PendingApprovals(session)
		if err != nil {
			return err
		}
		for _, a := range pending {
			if err := answerCancelled(tx, a, said.RunStopped()); err != nil {
				return err
			}
		}
		run.Cancelling = true
		if err := tx.PutRun(run); err != nil {
			return err
		}
		fx.wakeUp(session)
		queued, err := tx.QueuedRuns(session)
		if err != nil || len(queued) == 0 || s.Paused {
			return err
		}
		return appendQueue(tx, session, true)
	})
}

// SetPaused pauses a session's queue or lets it go on.
func (m *Manager) SetPaused(_ context.Context, session string, paused bool) error {
	return m.update(func(tx *store.Tx, fx *effects) error {
		s, err := present(tx, session)
		if err != nil {
			return err
		}
		if s.Paused == paused {
			return nil
		}
		if err := appendQueue(tx, session, paused); err != nil {
			return err
		}
		return m.advance(tx, session, fx)
	})
}

// EndAgent ends the session's agent, hung or not; its run is interrupted.
func (m *Manager) EndAgent(_ context.Context, session string, force bool) error {
	err := m.update(func(tx *store.Tx, fx *effects) error {
		s, err := tx.Session(session)
		if err != nil {
			return err
		}
		ep, live, err := tx.LiveEpoch(session)
		if err != nil {
			return err
		}
		if !live {
			return &Error{Code: CodeNoAgent, Message: "No agent runs for this session: there is nothing to end."}
		}
		if ep.State != store.EpochEnding {
			ep.State = store.EpochEnding
			if err := tx.PutEpoch(ep); err != nil {
				return err
			}
			if err := appendAgentState(tx, session, s.Run, "ending", said.Words{}); err != nil {
				return err
			}
		}
		fx.wakeUp(session)
		return nil
	})
	if err != nil {
		return err
	}
	if w := m.worker(session); w != nil && force {
		w.force.Store(true)
		m.wake(session)
	}
	return nil
}

// endAndWait ends the session's agent, if it has one, and waits until its
// epoch is over.
func (m *Manager) endAndWait(ctx context.Context, session string) error {
	if err := m.EndAgent(ctx, session, true); err != nil {
		var e *Error
		if errors.As(err, &e) && e.Code == CodeNoAgent {
			return nil
		}
		return err
	}
	for {
		m.mu.Lock()
		_, live := m.live[session]
		freed := m.freed
		m.mu.Unlock()
		if !live {
			return nil
		}
		select {
		case <-freed:
		case <-ctx.Done():
			return &Error{Code: CodeSessionBusy, Message: "The agent has not ended yet. Try again in a moment."}
		}
	}
}

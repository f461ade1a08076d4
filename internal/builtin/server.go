package builtin

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast/internal/acp"
)

// idPrefix marks session ids as ours: resuming needs no memory, but an id of
// another agent is a mistake that should show.
const idPrefix = "tour-"

// server answers the client.
type server struct {
	conn    *acp.Conn
	decider Decider
	pace    time.Duration

	mu       sync.Mutex
	sessions map[string]*session
	stopping bool // no turn begins any more
	turns    sync.WaitGroup
}

// session is what the agent keeps of a session while it lives: no history.
type session struct {
	id  string
	cwd string

	// Guarded by the server's mutex.
	prompted bool
	cancel   context.CancelFunc // nil: no turn

	// allowed belongs to the turn that runs.
	allowed map[string]bool
}

func newServer(conn *acp.Conn, d Decider, pace time.Duration) *server {
	return &server{conn: conn, decider: d, pace: pace, sessions: map[string]*session{}}
}

func (s *server) handle(ctx context.Context, m acp.Message) {
	var result any = struct{}{}
	var err error
	var then func()
	switch m.Method {
	case acp.MethodInitialize:
		result = initialize()
	case acp.MethodAuthenticate:
	case acp.MethodSessionNew:
		result, then, err = s.newSession(m)
	case acp.MethodSessionResume:
		then, err = s.resume(m)
	case acp.MethodSessionClose:
		err = s.close(m)
	case acp.MethodSessionPrompt:
		if err = s.prompt(ctx, m); err == nil {
			return // the turn answers
		}
	case acp.MethodSessionCancel:
		s.cancel(m)
	default:
		err = &acp.Error{Code: acp.CodeMethodNotFound, Message: "Method not found: " + m.Method}
	}
	// A failed write means that the client has gone, which the end of the
	// input says in a moment.
	switch {
	case !m.IsRequest():
	case err != nil:
		_ = s.conn.Refuse(m.ID, err)
	default:
		_ = s.conn.Respond(m.ID, result)
		if then != nil {
			then()
		}
	}
}

func initialize() acp.InitializeResult {
	yes := &acp.Capability{}
	return acp.InitializeResult{
		ProtocolVersion: acp.ProtocolVersion,
		AgentCapabilities: acp.AgentCapabilities{
			SessionCapabilities: acp.SessionCapabilities{Resume: yes, Close: yes},
		},
		AuthMethods: []acp.AuthMethod{},
		AgentInfo:   &acp.Implementation{Name: "holdfast-tour", Title: "Holdfast tour (no language model)", Version: version()},
	}
}

func (s *server) newSession(m acp.Message) (any, func(), error) {
	p, err := params[acp.NewSessionParams](m)
	if err != nil {
		return nil, nil, err
	}
	ss, err := s.open(idPrefix+strings.ToLower(rand.Text()[:16]), p.CWD, false)
	if err != nil {
		return nil, nil, err
	}
	return acp.NewSessionResult{SessionID: ss.id}, func() { s.announce(ss) }, nil
}

// resume takes any id of ours: there is nothing to find again.
func (s *server) resume(m acp.Message) (func(), error) {
	p, err := params[acp.LoadSessionParams](m)
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(p.SessionID, idPrefix) {
		return nil, notFound(p.SessionID)
	}
	ss, err := s.open(p.SessionID, p.CWD, true)
	if err != nil {
		return nil, err
	}
	return func() { s.announce(ss) }, nil
}

func (s *server) open(id, cwd string, prompted bool) (*session, error) {
	if !filepath.IsAbs(cwd) {
		return nil, invalid("The session's folder must be an absolute path, not " + cwd)
	}
	info, err := os.Stat(cwd)
	if err != nil || !info.IsDir() {
		return nil, invalid("The session's folder is not there: " + cwd)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if old, ok := s.sessions[id]; ok && old.cancel != nil {
		return nil, &acp.Error{Code: acp.CodeInvalidRequest, Message: errBusy.Error()}
	}
	ss := &session{id: id, cwd: filepath.Clean(cwd), prompted: prompted, allowed: map[string]bool{}}
	s.sessions[id] = ss
	return ss, nil
}

func (s *server) announce(ss *session) {
	_ = s.conn.Update(ss.id, acp.Commands{Commands: s.decider.Commands()})
}

func (s *server) close(m acp.Message) error {
	p, err := params[acp.SessionParams](m)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	ss, ok := s.sessions[p.SessionID]
	if !ok {
		return notFound(p.SessionID)
	}
	if ss.cancel != nil {
		ss.cancel()
	}
	delete(s.sessions, p.SessionID)
	return nil
}

func (s *server) cancel(m acp.Message) {
	p, err := params[acp.CancelParams](m)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if ss, ok := s.sessions[p.SessionID]; ok && ss.cancel != nil {
		ss.cancel()
	}
}

func (s *server) prompt(ctx context.Context, m acp.Message) error {
	p, err := params[acp.PromptParams](m)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	ss, ok := s.sessions[p.SessionID]
	switch {
	case s.stopping:
		return &acp.Error{Code: acp.CodeInternalError, Message: "the agent is stopping"}
	case !ok:
		return notFound(p.SessionID)
	case ss.cancel != nil:
		return &acp.Error{Code: acp.CodeInvalidRequest, Message: errBusy.Error()}
	}
	prompt := Prompt{First: !ss.prompted}
	ss.prompted = true
	var texts []string
	for _, b := range p.Prompt {
		if text, ok := b.AsText(); ok {
			texts = append(texts, text)
		} else {
			prompt.Attachments = append(prompt.Attachments, b)
		}
	}
	prompt.Text = strings.Join(texts, "\n")
	ctx, cancel := context.WithCancel(ctx)
	ss.cancel = cancel
	s.turns.Add(1)
	s.conn.Go(func() {
		defer s.turns.Done()
		defer cancel()
		s.run(ctx, ss, m.ID, prompt)
	})
	return nil
}

func (s *server) run(ctx context.Context, ss *session, id json.RawMessage, prompt Prompt) {
	t := &Turn{conn: s.conn, session: ss, pace: s.pace}
	err := s.decider.Decide(ctx, t, prompt)
	s.mu.Lock()
	ss.cancel = nil
	s.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		_ = s.conn.Respond(id, acp.PromptResult{StopReason: acp.StopCancelled})
	case err != nil:
		_ = s.conn.Refuse(id, err)
	default:
		_ = s.conn.Respond(id, acp.PromptResult{StopReason: acp.StopEndTurn})
	}
}

// stop begins no turn any more, and waits until none runs, or for d.
func (s *server) stop(d time.Duration) {
	s.mu.Lock()
	s.stopping = true
	s.mu.Unlock()
	idle := make(chan struct{})
	go func() {
		s.turns.Wait()
		close(idle)
	}()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-idle:
	case <-timer.C:
	}
}

func notFound(id string) error {
	return &acp.Error{Code: acp.CodeResourceNotFound, Message: "Session not found: " + id}
}

func invalid(message string) error {
	return &acp.Error{Code: acp.CodeInvalidParams, Message: message}
}

func params[T any](m acp.Message) (T, error) {
	var p T
	if err := json.Unmarshal(m.Params, &p); err != nil {
		return p, invalid("Invalid params: " + err.Error())
	}
	return p, nil
}

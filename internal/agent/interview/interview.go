// Package interview starts an agent to ask it who it is, as a session would,
// and ends it again with everything that it started.
//
// It touches no session of a person: it speaks to a process of its own, in a
// folder of its own, and says nothing to a model.
package interview

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast/internal/acp"
	"github.com/holdfast-dev/holdfast/internal/agent"
)

const (
	// Deadline is what an answer may take: an agent that starts its MCP servers
	// first takes several seconds on a busy machine.
	Deadline = 45 * time.Second
	// grace is what an agent has for its end, first after the end of its input
	// and then after SIGTERM.
	grace = 1500 * time.Millisecond
	// lastWords is how long those of an agent that has ended are waited for.
	lastWords = 200 * time.Millisecond
	// sweepTime bounds the end of what an agent has left behind.
	sweepTime = 3 * time.Second

	keptWords = 4 << 10 // bytes of standard error
)

// Options say how an agent is asked.
type Options struct {
	// Mark is what its processes carry as proc.MarkVar: what it starts is found
	// by that, however far it strays.
	Mark string
	// Version is Holdfast's, for the agent.
	Version string
	// Deadline bounds each answer; 0 is the usual one.
	Deadline time.Duration
}

// Login is whether an agent is logged in.
type Login int

// What is known of it.
const (
	LoginUnknown Login = iota
	LoggedIn
	NeedsLogin
)

// Result is what an agent said of itself.
type Result struct {
	Info  acp.InitializeResult
	Took  time.Duration // from the start to the answer
	Login Login
	// Said is what it said of the login, or why it is unknown.
	Said string
}

// Version is what the agent says of itself, or "".
func (r Result) Version() string {
	if r.Info.AgentInfo == nil {
		return ""
	}
	return r.Info.AgentInfo.Version
}

// Ask starts the agent, asks it to initialize, and looks whether it is logged
// in: by what it offers, or by a session that is opened in an empty folder and
// removed again where the agent can do that. When it returns, nothing of the
// agent runs any more; when ctx ends that is at once. The error says for a
// person what the agent did not do.
func Ask(ctx context.Context, a agent.Agent, o Options) (r Result, err error) {
	dir, err := os.MkdirTemp("", "holdfast-doctor-")
	if err != nil {
		return r, fmt.Errorf("make a folder for it: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	// Some resolve it, and wonder.
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	work, tmp := filepath.Join(dir, "work"), filepath.Join(dir, "tmp")
	if err := errors.Join(os.Mkdir(work, 0o700), os.Mkdir(tmp, 0o700)); err != nil {
		return r, fmt.Errorf("make a folder for it: %w", err)
	}
	began := time.Now()
	p, err := start(a, o.Mark, work, tmp)
	if err != nil {
		return r, fmt.Errorf("it does not start: %w", err)
	}
	t := &talk{process: p, deadline: cmp.Or(o.Deadline, Deadline)}
	served := make(chan struct{})
	t.conn = acp.NewConn(p.stdout, p.stdin)
	go func() {
		defer close(served)
		_ = t.conn.Serve(context.WithoutCancel(ctx), t.handle) // ends with the process
	}()
	defer func() {
		err = errors.Join(err, p.end(ctx))
		<-served // its input is closed by now
	}()
	params := acp.InitializeParams{
		ProtocolVersion: acp.ProtocolVersion, ClientCapabilities: acp.HostCapabilities(),
		ClientInfo: &acp.Implementation{Name: "holdfast", Title: "Holdfast doctor", Version: o.Version},
	}
	if err := t.call(ctx, acp.MethodInitialize, params, &r.Info); err != nil {
		return r, err
	}
	r.Took = time.Since(began)
	if r.Info.ProtocolVersion != acp.ProtocolVersion {
		return r, fmt.Errorf("it speaks version %d of the protocol, Holdfast speaks version %d", r.Info.ProtocolVersion, acp.ProtocolVersion)
	}
	t.login(ctx, a, work, &r)
	return r, nil
}

// talk is the conversation with one agent.
type talk struct {
	*process
	conn     *acp.Conn
	deadline time.Duration

	mu     sync.Mutex
	noAuth bool // it has said by itself that nobody is logged in
}

// handle refuses what an agent asks for: nobody is there.
func (t *talk) handle(_ context.Context, m acp.Message) {
	switch {
	case m.IsRequest():
		_ = t.conn.Refuse(m.ID, &acp.Error{Code: acp.CodeMethodNotFound, Message: "Method not found: " + m.Method})
	case m.Method == "_auth/status_update": // Claude says it so, and refuses only the first prompt
		var p struct {
			AuthStatus struct {
				Kind string `json:"kind"`
			} `json:"authStatus"`
		}
		if json.Unmarshal(m.Params, &p) == nil && p.AuthStatus.Kind == "none" {
			t.mu.Lock()
			t.noAuth = true
			t.mu.Unlock()
		}
	}
}

// call asks, and says for a person why there is no answer. An error of the
// agent's own is an *acp.Error.
func (t *talk) call(ctx context.Context, method string, params, result any) error {
	one, cancel := context.WithTimeout(ctx, t.deadline)
	defer cancel()
	err := t.conn.Call(one, method, params, result)
	var refused *acp.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &refused):
		return fmt.Errorf("it refused `%s`: %w", method, err)
	case ctx.Err() != nil:
		return fmt.Errorf("the look was broken off: %w", ctx.Err())
	case one.Err() != nil:
		return fmt.Errorf("it did not answer `%s` within %s%s", method, t.deadline, t.words())
	}
	select {
	case <-t.gone:
		select { // a process that it has left may hold the pipe
		case <-t.quiet:
		case <-time.After(lastWords):
		}
		return fmt.Errorf("it ended (%s) before it answered `%s`%s", t.status(), method, t.words())
	case <-time.After(grace):
		return fmt.Errorf("it closed its output before it answered `%s`%s", method, t.words())
	}
}

func (t *talk) login(ctx context.Context, a agent.Agent, work string, r *Result) {
	if a.LoginSetup != "" {
		others := slices.ContainsFunc(r.Info.AuthMethods, func(m acp.AuthMethod) bool { return m.ID != a.LoginSetup })
		if r.Login = NeedsLogin; others {
			r.Login = LoggedIn
		}
		return
	}
	var s acp.NewSessionResult
	err := t.call(ctx, acp.MethodSessionNew, acp.NewSessionParams{CWD: work}, &s)
	var refused *acp.Error
	t.mu.Lock()
	noAuth := t.noAuth
	t.mu.Unlock()
	switch {
	case errors.As(err, &refused) && refused.Code == acp.CodeAuthRequired, err == nil && noAuth:
		r.Login = NeedsLogin
	case err != nil:
		r.Said = err.Error()
	default:
		r.Login = LoggedIn
	}
	if s.SessionID == "" {
		return
	}
	// Its list of sessions is the person's: nothing of ours is to stay in it.
	can := r.Info.AgentCapabilities.SessionCapabilities
	id := map[string]string{"sessionId": s.SessionID}
	switch {
	case can.Delete != nil:
		_ = t.call(ctx, acp.MethodSessionDelete, id, nil)
	case can.Close != nil:
		_ = t.call(ctx, acp.MethodSessionClose, id, nil)
	}
}

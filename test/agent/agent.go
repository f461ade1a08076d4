package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast/internal/acp"
	"github.com/holdfast-dev/holdfast/test/agent/script"
)

// agent is the program's state; one mutex, no call to the client under it.
type agent struct {
	conn *acp.Conn
	in   *input
	out  *output

	expire time.Duration
	helper int // its pid; 0: none

	mu       sync.Mutex
	sessions map[string]*session
	leaked   []io.Closer
	asked    uint64 // permissions, which have ids of their own: 0, 1, …
}

// session is what State keeps of a session, and its turn.
type session struct {
	ID      string         `json:"id"`
	CWD     string         `json:"cwd"`
	Turns   []turnRecord   `json:"turns"`
	Options map[string]any `json:"-"`

	cancel context.CancelFunc // nil: no turn
	steers []string           // told to the turn, and not read yet
	told   chan struct{}      // closed and replaced with each
}

type turnRecord struct {
	User  string `json:"user"`
	Agent string `json:"agent"`
}

func newAgent(conn *acp.Conn, in *input, out *output, helper int) (*agent, error) {
	a := &agent{conn: conn, in: in, out: out, helper: helper, sessions: map[string]*session{}}
	if s := env("EXPIRE"); s != "" {
		d, err := time.ParseDuration(s)
		if err != nil {
			return nil, fmt.Errorf("read SCRIPT_AGENT_EXPIRE: %w", err)
		}
		a.expire = d
	}
	return a, nil
}

func (a *agent) handle(ctx context.Context, m acp.Message) {
	var result any
	var err error
	switch m.Method {
	case acp.MethodInitialize:
		result = a.initialize()
	case acp.MethodAuthenticate:
		result, err = struct{}{}, authenticate()
	case acp.MethodSessionNew:
		result, err = a.newSession(m)
	case acp.MethodSessionLoad, acp.MethodSessionResume:
		result, err = a.loadSession(m)
	case acp.MethodSetMode:
		result, err = a.setMode(m)
	case acp.MethodSetConfigOption:
		result, err = a.setOption(m)
	case acp.MethodSessionPrompt:
		if a.steer(m) {
			return
		}
		if err = a.startTurn(ctx, m); err == nil {
			return // the turn answers
		}
	case acp.MethodSessionCancel:
		a.cancelTurn(m)
	default:
		err = &acp.Error{Code: acp.CodeMethodNotFound, Message: "Method not found: " + m.Method}
	}
	switch {
	case !m.IsRequest():
	case err != nil:
		_ = a.conn.Refuse(m.ID, err)
	default:
		_ = a.conn.Respond(m.ID, result)
	}
}

func (a *agent) initialize() acp.InitializeResult {
	r := acp.InitializeResult{
		ProtocolVersion: acp.ProtocolVersion,
		AuthMethods:     []acp.AuthMethod{},
		AgentInfo:       &acp.Implementation{Name: "script-agent", Title: "Scripted agent", Version: "1.0.0"},
	}
	r.AgentCapabilities.PromptCapabilities = acp.PromptCapabilities{Image: true, EmbeddedContext: true}
	caps := env("CAPS")
	if caps == "" {
		caps = "load"
	}
	for c := range strings.SplitSeq(caps, ",") {
		switch c {
		case "load":
			r.AgentCapabilities.LoadSession = true
		case "resume":
			r.AgentCapabilities.SessionCapabilities.Resume = &acp.Capability{}
		}
	}
	if env("LOGIN") != "" {
		r.AuthMethods = append(r.AuthMethods, acp.AuthMethod{ID: "script-login", Name: "Log in", Description: "Run the login command"})
	}
	if env("BAD_INIT") != "" {
		r.ProtocolVersion = 99
	}
	return r
}

func authenticate() error {
	path := env("LOGIN")
	if path == "" || path == "1" {
		return nil
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		return fmt.Errorf("log in: %w", err)
	}
	return nil
}

func (a *agent) newSession(m acp.Message) (any, error) {
	p, err := params[acp.NewSessionParams](m)
	if err != nil {
		return nil, err
	}
	if p.MCPServers == nil || !filepath.IsAbs(p.CWD) {
		return nil, &acp.Error{Code: acp.CodeInvalidParams, Message: "cwd must be absolute and mcpServers a list"}
	}
	if login := env("LOGIN"); login != "" {
		if _, err := os.Stat(login); login == "1" || err != nil {
			return nil, &acp.Error{Code: acp.CodeAuthRequired, Message: "Authentication required"}
		}
	}
	s := &session{ID: "sess-" + strings.ToLower(rand.Text()[:12]), CWD: p.CWD, Options: defaultOptions(), told: make(chan struct{})}
	a.mu.Lock()
	a.sessions[s.ID] = s
	err = s.save()
	settings := s.settings()
	a.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if env("EARLY_UPDATE") != "" {
		_ = a.conn.Update(s.ID, acp.Commands{Commands: []acp.Command{{Name: "early", Description: "sent before the session was announced"}}})
	}
	a.advertise(s.ID)
	return acp.NewSessionResult{SessionID: s.ID, SessionSettings: settings}, nil
}

func (a *agent) loadSession(m acp.Message) (any, error) {
	p, err := params[acp.LoadSessionParams](m)
	if err != nil {
		return nil, err
	}
	how := env("LOAD")
	switch how {
	case "empty":
		return struct{}{}, nil
	case "fail":
		return nil, notFound(p.SessionID)
	}
	a.mu.Lock()
	s, ok := a.sessions[p.SessionID]
	a.mu.Unlock()
	if !ok {
		if s, err = openSession(p.SessionID); err != nil {
			return nil, err
		}
	}
	if m.Method == acp.MethodSessionLoad && how != "ok" {
		for _, t := range s.Turns {
			_ = a.conn.Update(s.ID, acp.UserChunk{Chunk: acp.Text(t.User)})
			_ = a.conn.Update(s.ID, acp.AgentChunk{Chunk: acp.Text(t.Agent)})
		}
	}
	a.advertise(s.ID)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sessions[s.ID] = s
	return acp.LoadSessionResult{SessionSettings: s.settings()}, nil
}

func (a *agent) setMode(m acp.Message) (any, error) {
	p, err := params[acp.SetModeParams](m)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	s, ok := a.sessions[p.SessionID]
	if !ok {
		return nil, notFound(p.SessionID)
	}
	s.Options["mode"] = p.ModeID
	return struct{}{}, nil
}

func (a *agent) setOption(m acp.Message) (any, error) {
	p, err := params[acp.SetConfigOptionParams](m)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	s, ok := a.sessions[p.SessionID]
	if !ok {
		return nil, notFound(p.SessionID)
	}
	if _, ok := s.Options[p.ConfigID]; !ok {
		return nil, &acp.Error{Code: acp.CodeInvalidParams, Message: "no option " + p.ConfigID}
	}
	s.Options[p.ConfigID] = p.Value
	return acp.SetConfigOptionResult{ConfigOptions: s.settings().ConfigOptions}, nil
}

func (a *agent) startTurn(ctx context.Context, m acp.Message) error {
	p, err := params[acp.PromptParams](m)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	s, ok := a.sessions[p.SessionID]
	switch {
	case !ok:
		return notFound(p.SessionID)
	case s.cancel != nil:
		// Real agents do five different things here; a host must never
		// get to see any of them.
		return errors.New("a prompt is running")
	}
	text := unsteered(promptText(p.Prompt))
	s.Turns = append(s.Turns, turnRecord{User: text})
	if err := s.save(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	s.cancel = cancel
	t := &turn{a: a, s: s, tools: map[string]string{}}
	a.conn.Go(func() {
		defer cancel()
		a.finish(ctx, t, m.ID, text)
	})
	return nil
}

// finish runs a turn and answers its prompt.
func (a *agent) finish(ctx context.Context, t *turn, id json.RawMessage, text string) {
	stop, err := t.run(ctx, text)
	t.asks.Wait()
	if stop == "" {
		stop = acp.StopEndTurn
	}
	if ctx.Err() != nil {
		stop, err = acp.StopCancelled, nil
	}
	a.mu.Lock()
	t.s.Turns[len(t.s.Turns)-1].Agent = t.said()
	t.s.cancel, t.s.steers = nil, nil
	if saveErr := t.s.save(); saveErr != nil && err == nil {
		err = saveErr
	}
	a.mu.Unlock()
	if err != nil {
		_ = a.conn.Refuse(id, err)
	} else {
		_ = a.conn.Respond(id, acp.PromptResult{StopReason: stop})
	}
	for _, f := range t.after {
		f()
	}
}

func (a *agent) cancelTurn(m acp.Message) {
	p, err := params[acp.CancelParams](m)
	if err != nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if s, ok := a.sessions[p.SessionID]; ok && s.cancel != nil {
		s.cancel()
	}
}

// promptText is the last text block if that is a script: a host may tell a new
// session of an older transcript first. Otherwise it is all blocks.
func promptText(blocks []acp.ContentBlock) string {
	var parts []string
	for _, b := range blocks {
		text, ok := b.AsText()
		switch {
		case ok:
			parts = append(parts, text)
		case b.URI != "":
			parts = append(parts, fmt.Sprintf("[%s %s]", b.Type, b.URI))
		default:
			parts = append(parts, fmt.Sprintf("[%s %s %d]", b.Type, b.MimeType, len(b.Data)))
		}
	}
	for i := len(blocks) - 1; i >= 0; i-- {
		if text, ok := blocks[i].AsText(); ok {
			if _, ok := script.Parse(text, verbs()); ok {
				return text
			}
			break
		}
	}
	return strings.Join(parts, "\n")
}

func defaultOptions() map[string]any {
	return map[string]any{"mode": "default", "model": "small", "verbose": false, "effort": "low"}
}

// settings is called with the agent's mutex held.
func (s *session) settings() acp.SessionSettings {
	if env("MODES") == "" {
		return acp.SessionSettings{}
	}
	value := func(name string) json.RawMessage {
		b, err := json.Marshal(s.Options[name])
		if err != nil {
			return json.RawMessage("null")
		}
		return b
	}
	mode, _ := s.Options["mode"].(string)
	model, _ := s.Options["model"].(string)
	settings := acp.SessionSettings{
		Modes: &acp.Modes{CurrentModeID: mode, AvailableModes: []acp.Mode{
			{ID: "default", Name: "Default"}, {ID: "ask", Name: "Ask", Description: "Asks before everything"},
		}},
		Models: &acp.Models{CurrentModelID: model, AvailableModels: []acp.Model{{ID: "small", Name: "Small"}, {ID: "large", Name: "Large"}}},
		ConfigOptions: []acp.ConfigOption{
			{ID: "mode", Name: "Mode", Category: "mode", Type: acp.OptionSelect, CurrentValue: value("mode"), Options: acp.ConfigChoices{{Value: "default", Name: "Default"}, {Value: "ask", Name: "Ask"}}},
			{ID: "model", Name: "Model", Category: "model", Type: acp.OptionSelect, CurrentValue: value("model"), Options: acp.ConfigChoices{{Value: "small", Name: "Small", Group: "local", GroupName: "Local"}, {Value: "large", Name: "Large", Group: "far", GroupName: "Far"}}},
			{ID: "verbose", Name: "Verbose", Type: acp.OptionBoolean, CurrentValue: value("verbose")},
		},
	}
	if env("MODES") == "many" {
		models := &settings.ConfigOptions[1]
		for i := range 12 {
			models.Options = append(models.Options, acp.ConfigChoice{Value: fmt.Sprintf("m%d", i), Name: fmt.Sprintf("Model %d", i), Group: "far", GroupName: "Far"})
		}
		effort := acp.ConfigOption{ID: "effort", Name: "Effort", Type: acp.OptionSelect, CurrentValue: value("effort"), Options: acp.ConfigChoices{{Value: "low", Name: "Low"}, {Value: "high", Name: "High"}}}
		settings.ConfigOptions = append(settings.ConfigOptions, effort)
	}
	return settings
}

// save is called with the agent's mutex held. It replaces the file in one
// step, because tests kill the process at any time.
func (s *session) save() error {
	dir := env("STATE")
	if dir == "" {
		return nil
	}
	b, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("save session: %w", err)
	}
	path := filepath.Join(dir, s.ID+".json")
	tmp := fmt.Sprintf("%s.%d", path, os.Getpid())
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return fmt.Errorf("save session: %w", err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("save session: %w", err)
	}
	return nil
}

func openSession(id string) (*session, error) {
	dir := env("STATE")
	if dir == "" || id != filepath.Base(id) {
		return nil, notFound(id)
	}
	b, err := os.ReadFile(filepath.Join(dir, id+".json"))
	if err != nil {
		return nil, notFound(id)
	}
	s := &session{Options: defaultOptions(), told: make(chan struct{})}
	if err := json.Unmarshal(b, s); err != nil {
		return nil, fmt.Errorf("open session: %w", err)
	}
	return s, nil
}

func notFound(id string) error {
	return &acp.Error{Code: acp.CodeResourceNotFound, Message: "Session not found: " + id}
}

func params[T any](m acp.Message) (T, error) {
	var p T
	if err := json.Unmarshal(m.Params, &p); err != nil {
		return p, &acp.Error{Code: acp.CodeInvalidParams, Message: "Invalid params: " + err.Error()}
	}
	return p, nil
}

// Package mockmodel is a language model for tests of real agents: an
// OpenAI-compatible server whose answers are scripted by the user's message.
//
// The last user message is looked through for lines of the script language:
//
//	say TEXT                    text, as one piece
//	stream N [DELAY] [seed=S]   N pieces of script.Chunks
//	think TEXT                  reasoning
//	call TOOL {JSON}            ends this answer with a tool call; the next
//	                            answer, with the tool's result, goes on below
//	also TOOL {JSON}            a further call beside the call above
//	sleep D                     wait
//	stop REASON                 end the answer with this finish_reason
//	http STATUS TEXT            refuse with a status, if it comes first
//	cut                         break the connection off
//
// A message without such lines, and every request without tools (agents ask
// so for titles and summaries), gets Short.
package mockmodel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast/test/agent/script"
)

// Short is the answer where there is no script.
const Short = "Mock answer"

// Model is the one model that the server lists.
const Model = "mock-model"

// Request is one entry of the log.
type Request struct {
	At     time.Time `json:"at"`
	Path   string    `json:"path"`
	Stream bool      `json:"stream"`
	Tools  []string  `json:"tools"`
	// Messages are what the agent sent, with the content as text.
	Messages []Message `json:"messages"`
	// Ended is how the answer ended: a finish_reason, "broken" if the agent
	// went away, or a status; empty while it runs.
	Ended string `json:"ended"`
}

// Message is one message of a request.
type Message struct {
	Role      string     `json:"role"`
	Content   string     `json:"content"`
	ToolCalls []ToolCall `json:"tool_calls,omitempty"`
}

// ToolCall is a call that a message holds.
type ToolCall struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	Arguments string `json:"arguments"`
}

// Server is the model. It must be made by Start.
type Server struct {
	http http.Server
	addr string
	done chan struct{}

	mu       sync.Mutex
	requests []*Request
	calls    int
}

// Start listens on an address such as 127.0.0.1:0 and serves until Close.
func Start(addr string) (*Server, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("start mock model: %w", err)
	}
	s := &Server{addr: l.Addr().String(), done: make(chan struct{})}
	mux := http.NewServeMux()
	for _, prefix := range []string{"", "/v1"} {
		mux.HandleFunc("POST "+prefix+"/chat/completions", s.chat)
		mux.HandleFunc("GET "+prefix+"/models", s.models)
	}
	mux.HandleFunc("GET /requests", s.log)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.record(&Request{At: time.Now(), Path: r.URL.Path, Ended: "404"})
		http.NotFound(w, r)
	})
	s.http = http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		defer close(s.done)
		if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			slog.Error("serve mock model", "err", err)
		}
	}()
	return s, nil
}

// URL is the base URL that agents are configured with; it ends in /v1.
func (s *Server) URL() string { return "http://" + s.addr + "/v1" }

// Close breaks open answers off and waits for the server to end.
func (s *Server) Close() error {
	err := s.http.Close()
	<-s.done
	return err
}

// Requests returns the log so far.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]Request, len(s.requests))
	for i, r := range s.requests {
		list[i] = *r
	}
	return list
}

func (s *Server) record(r *Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, r)
}

func (s *Server) end(r *Request, how string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.Ended = how
}

func (s *Server) log(w http.ResponseWriter, _ *http.Request) { reply(w, s.Requests()) }

func (s *Server) models(w http.ResponseWriter, r *http.Request) {
	s.record(&Request{At: time.Now(), Path: r.URL.Path, Ended: "200"})
	reply(w, map[string]any{"object": "list", "data": []any{map[string]any{
		"id": Model, "object": "model", "created": 0, "owned_by": "mock", "context_length": 131072,
	}}})
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		slog.Warn("write mock answer", "err", err)
	}
}

type wireRequest struct {
	Model         string `json:"model"`
	Stream        bool   `json:"stream"`
	StreamOptions struct {
		IncludeUsage bool `json:"include_usage"`
	} `json:"stream_options"`
	Messages []struct {
		Role      string          `json:"role"`
		Content   json.RawMessage `json:"content"`
		ToolCalls []struct {
			ID       string `json:"id"`
			Function struct {
				Name      string `json:"name"`
				Arguments string `json:"arguments"`
			} `json:"function"`
		} `json:"tool_calls"`
	} `json:"messages"`
	Tools []struct {
		Function struct {
			Name string `json:"name"`
		} `json:"function"`
	} `json:"tools"`
}

func (s *Server) chat(w http.ResponseWriter, r *http.Request) {
	var in wireRequest
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<20)).Decode(&in); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	req := &Request{At: time.Now(), Path: r.URL.Path, Stream: in.Stream, Tools: []string{}}
	for _, t := range in.Tools {
		req.Tools = append(req.Tools, t.Function.Name)
	}
	for _, m := range in.Messages {
		msg := Message{Role: m.Role, Content: text(m.Content)}
		for _, c := range m.ToolCalls {
			msg.ToolCalls = append(msg.ToolCalls, ToolCall{ID: c.ID, Name: c.Function.Name, Arguments: c.Function.Arguments})
		}
		req.Messages = append(req.Messages, msg)
	}
	s.record(req)
	steps := plan(req)
	if len(steps) > 0 && steps[0].Verb == "http" {
		status, err := strconv.Atoi(steps[0].Arg(0, "500"))
		if err != nil || status < 400 || status > 599 {
			status = http.StatusInternalServerError
		}
		s.end(req, strconv.Itoa(status))
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{"message": steps[0].After(1), "type": "mock"}})
		return
	}
	a := &answer{model: in.Model, w: w, stream: in.Stream, usage: in.StreamOptions.IncludeUsage, id: fmt.Sprintf("chatcmpl-%d", len(s.Requests()))}
	for _, m := range req.Messages {
		a.prompt += len(m.Content)/4 + 1
	}
	s.end(req, s.run(r.Context(), a, steps))
}

// text is a message's content: a string, or the text parts of a list.
func text(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	var parts []struct {
		Type string `json:"type"`
		Text string `json:"text"`
	}
	if json.Unmarshal(raw, &parts) != nil {
		return ""
	}
	var list []string
	for _, p := range parts {
		if p.Type == "text" {
			list = append(list, p.Text)
		}
	}
	return strings.Join(list, "\n")
}

func verbs() map[string]bool {
	return map[string]bool{"say": true, "stream": true, "think": true, "call": true, "also": true, "sleep": true, "stop": true, "http": true, "cut": true}
}

// plan returns the steps of this answer: those of the last user message's
// script that follow the calls already made.
func plan(r *Request) []script.Step {
	short := []script.Step{{Verb: "say", Rest: Short}}
	last, rounds := -1, 0
	for i, m := range r.Messages {
		switch {
		case m.Role == "user":
			last, rounds = i, 0
		case m.Role == "assistant" && len(m.ToolCalls) > 0:
			rounds++
		}
	}
	if last < 0 || len(r.Tools) == 0 {
		return short
	}
	var steps []script.Step
	for line := range strings.Lines(r.Messages[last].Content) {
		// Agents put text of their own around the person's.
		if s, ok := script.Parse(line, verbs()); ok {
			steps = append(steps, s...)
		}
	}
	if len(steps) == 0 {
		return short
	}
	for ; rounds > 0 && len(steps) > 0; rounds-- {
		for len(steps) > 0 && steps[0].Verb != "call" {
			steps = steps[1:]
		}
		for len(steps) > 0 && (steps[0].Verb == "call" || steps[0].Verb == "also") {
			call := steps[0].Verb == "call"
			steps = steps[1:]
			if call && (len(steps) == 0 || steps[0].Verb != "also") {
				break
			}
		}
	}
	for i, s := range steps {
		if s.Verb == "call" {
			end := i + 1
			for end < len(steps) && steps[end].Verb == "also" {
				end++
			}
			return steps[:end]
		}
	}
	return steps
}

// run writes an answer and returns how it ended.
func (s *Server) run(ctx context.Context, a *answer, steps []script.Step) string {
	finish := "stop"
	for _, step := range steps {
		var err error
		switch step.Verb {
		case "say":
			err = a.text("content", step.Text())
		case "think":
			err = a.text("reasoning_content", step.Text())
		case "stream":
			var chunks []string
			var delay time.Duration
			if chunks, delay, err = step.Stream(); err == nil {
				err = a.chunks(ctx, chunks, delay)
			}
		case "sleep":
			var d time.Duration
			if d, err = time.ParseDuration(step.Arg(0, "")); err == nil {
				err = pause(ctx, d)
			}
		case "call", "also":
			finish = "tool_calls"
			name, args, _ := strings.Cut(step.Rest, " ")
			s.mu.Lock()
			s.calls++
			id := fmt.Sprintf("call_%d", s.calls)
			s.mu.Unlock()
			err = a.call(id, name, strings.TrimSpace(args))
		case "stop":
			finish = step.Arg(0, "stop")
		case "cut":
			if a.stream {
				_ = a.flush()
			}
			if c, _, err := http.NewResponseController(a.w).Hijack(); err == nil {
				_ = c.Close()
			}
			return "broken"
		}
		if err != nil {
			return "broken"
		}
		if step.Verb == "stop" {
			break
		}
	}
	if err := a.finish(finish); err != nil {
		return "broken"
	}
	return finish
}

func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

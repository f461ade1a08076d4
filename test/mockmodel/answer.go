package mockmodel

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// answer is one answer in the making, streamed or whole.
type answer struct {
	w      http.ResponseWriter
	id     string
	model  string
	stream bool
	usage  bool
	prompt int // tokens, roughly

	begun              bool
	content, reasoning strings.Builder
	calls              []any
}

func (a *answer) text(field, s string) error {
	if field == "content" {
		a.content.WriteString(s)
	} else {
		a.reasoning.WriteString(s)
	}
	return a.delta(map[string]any{field: s}, nil)
}

func (a *answer) chunks(ctx context.Context, chunks []string, delay time.Duration) error {
	for _, c := range chunks {
		if err := a.text("content", c); err != nil {
			return err
		}
		if err := pause(ctx, delay); err != nil {
			return err
		}
	}
	return nil
}

// call sends the arguments in two pieces, as models do.
func (a *answer) call(id, name, args string) error {
	if args == "" {
		args = "{}"
	}
	i := len(a.calls)
	a.calls = append(a.calls, map[string]any{"id": id, "type": "function", "function": map[string]any{"name": name, "arguments": args}})
	piece := func(call map[string]any) error {
		call["index"] = i
		return a.delta(map[string]any{"tool_calls": []any{call}}, nil)
	}
	half := len(args) / 2
	if err := piece(map[string]any{"id": id, "type": "function", "function": map[string]any{"name": name, "arguments": args[:half]}}); err != nil {
		return err
	}
	return piece(map[string]any{"function": map[string]any{"arguments": args[half:]}})
}

func (a *answer) finish(reason string) error {
	used := (a.content.Len()+a.reasoning.Len())/4 + 1
	usage := map[string]any{"prompt_tokens": a.prompt, "completion_tokens": used, "total_tokens": a.prompt + used}
	if a.stream {
		if err := a.delta(map[string]any{}, reason); err != nil {
			return err
		}
		if a.usage {
			if err := a.event(map[string]any{"choices": []any{}, "usage": usage}); err != nil {
				return err
			}
		}
		if _, err := fmt.Fprint(a.w, "data: [DONE]\n\n"); err != nil {
			return err
		}
		return a.flush()
	}
	message := map[string]any{"role": "assistant", "content": a.content.String()}
	if a.reasoning.Len() > 0 {
		message["reasoning_content"] = a.reasoning.String()
	}
	if len(a.calls) > 0 {
		message["tool_calls"] = a.calls
	}
	a.w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(a.w).Encode(map[string]any{
		"id": a.id, "object": "chat.completion", "created": time.Now().Unix(), "model": a.model,
		"choices": []any{map[string]any{"index": 0, "message": message, "finish_reason": reason}},
		"usage":   usage,
	})
}

func (a *answer) delta(delta map[string]any, finish any) error {
	if !a.stream {
		return nil
	}
	if !a.begun {
		delta["role"] = "assistant"
	}
	return a.event(map[string]any{"choices": []any{map[string]any{"index": 0, "delta": delta, "finish_reason": finish}}})
}

func (a *answer) event(v map[string]any) error {
	if !a.begun {
		a.begun = true
		a.w.Header().Set("Content-Type", "text/event-stream")
		a.w.Header().Set("Cache-Control", "no-cache")
	}
	v["id"], v["object"], v["created"], v["model"] = a.id, "chat.completion.chunk", time.Now().Unix(), a.model
	var b bytes.Buffer
	b.WriteString("data: ")
	if err := json.NewEncoder(&b).Encode(v); err != nil {
		return err
	}
	b.WriteByte('\n')
	if _, err := a.w.Write(b.Bytes()); err != nil {
		return err
	}
	return a.flush()
}

func (a *answer) flush() error { return http.NewResponseController(a.w).Flush() }

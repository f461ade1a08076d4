package mockmodel

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/holdfast-dev/holdfast/test/agent/script"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type result struct {
	Content, Reasoning, Finish string
	Calls                      []ToolCall
	Usage                      bool
}

func start(t *testing.T) *Server {
	t.Helper()
	s, err := Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func post(t *testing.T, s *Server, body map[string]any) *http.Response {
	t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.Post(s.URL()+"/chat/completions", "application/json", bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Body.Close() })
	return r
}

func request(messages []any, stream bool) map[string]any {
	return map[string]any{
		"model": "m", "stream": stream, "stream_options": map[string]any{"include_usage": true}, "messages": messages,
		"tools": []any{map[string]any{"type": "function", "function": map[string]any{"name": "bash"}}},
	}
}

// ask gets the answer streamed or whole, which must be the same.
func ask(t *testing.T, s *Server, messages []any, stream bool) result {
	t.Helper()
	r := post(t, s, request(messages, stream))
	var got result
	if !stream {
		var w struct {
			Choices []struct {
				Message struct {
					Content          string
					ReasoningContent string `json:"reasoning_content"`
					ToolCalls        []struct {
						ID       string
						Function struct{ Name, Arguments string }
					} `json:"tool_calls"`
				}
				FinishReason string `json:"finish_reason"`
			}
			Usage map[string]int
		}
		if err := json.NewDecoder(r.Body).Decode(&w); err != nil {
			t.Fatal(err)
		}
		m := w.Choices[0].Message
		got = result{Content: m.Content, Reasoning: m.ReasoningContent, Finish: w.Choices[0].FinishReason, Usage: w.Usage["total_tokens"] > 0}
		for _, c := range m.ToolCalls {
			got.Calls = append(got.Calls, ToolCall{Name: c.Function.Name, Arguments: c.Function.Arguments})
		}
		return got
	}
	done := false
	for lines := bufio.NewScanner(r.Body); lines.Scan(); {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		if data == "[DONE]" {
			done = true
			continue
		}
		var w struct {
			Choices []struct {
				Delta struct {
					Content          string
					ReasoningContent string `json:"reasoning_content"`
					ToolCalls        []struct {
						Index    int
						Function struct{ Name, Arguments string }
					} `json:"tool_calls"`
				}
				FinishReason string `json:"finish_reason"`
			}
			Usage map[string]int
		}
		if err := json.Unmarshal([]byte(data), &w); err != nil {
			t.Fatal(err)
		}
		got.Usage = got.Usage || w.Usage["total_tokens"] > 0
		for _, c := range w.Choices {
			got.Content += c.Delta.Content
			got.Reasoning += c.Delta.ReasoningContent
			got.Finish += c.FinishReason
			for _, call := range c.Delta.ToolCalls {
				if call.Index == len(got.Calls) {
					got.Calls = append(got.Calls, ToolCall{Name: call.Function.Name})
				}
				got.Calls[call.Index].Arguments += call.Function.Arguments
			}
		}
	}
	if !done {
		t.Error("the stream has no end")
	}
	return got
}

func user(text string) any { return map[string]any{"role": "user", "content": text} }

func TestAnswers(t *testing.T) {
	s := start(t)
	calls := func(name string) any {
		return map[string]any{"role": "assistant", "tool_calls": []any{map[string]any{"id": "call_1", "function": map[string]any{"name": name, "arguments": "{}"}}}}
	}
	tool := map[string]any{"role": "tool", "content": "output"}
	const long = "think hm\nsay one\ncall bash {\"command\":\"rm -r x\"}\nalso bash {}\nsay two\ncall bash\nstream 40 0s seed=3"
	tests := []struct {
		name     string
		messages []any
		want     result
	}{
		{"no script", []any{user("hello")}, result{Content: Short, Finish: "stop"}},
		{"older script", []any{user("say x"), user("hello")}, result{Content: Short, Finish: "stop"}},
		{"say", []any{user("<wrapped>\nsay it's <b>\n</wrapped>")}, result{Content: "it's <b>", Finish: "stop"}},
		{"parts", []any{map[string]any{"role": "user", "content": []any{map[string]any{"type": "text", "text": "say a"}, map[string]any{"type": "text", "text": "say b"}}}}, result{Content: "ab", Finish: "stop"}},
		{"stop", []any{user("say a\nstop length\nsay b")}, result{Content: "a", Finish: "length"}},
		{"first round", []any{user(long)}, result{Reasoning: "hm", Content: "one", Finish: "tool_calls", Calls: []ToolCall{{Name: "bash", Arguments: `{"command":"rm -r x"}`}, {Name: "bash", Arguments: "{}"}}}},
		{"second round", []any{user(long), calls("bash"), tool, tool}, result{Content: "two", Finish: "tool_calls", Calls: []ToolCall{{Name: "bash", Arguments: "{}"}}}},
		{"third round", []any{user(long), calls("bash"), tool, calls("bash"), tool}, result{Content: script.Text(3, 40), Finish: "stop"}},
		{"next turn", []any{user(long), calls("bash"), tool, user("say new")}, result{Content: "new", Finish: "stop"}},
	}
	for _, tt := range tests {
		for _, stream := range []bool{true, false} {
			got := ask(t, s, tt.messages, stream)
			tt.want.Usage = true
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("%s, stream %v (-want +got):\n%s", tt.name, stream, d)
			}
		}
	}
	log := s.Requests()
	if len(log) != 2*len(tests) || log[0].Ended != "stop" || log[0].Tools[0] != "bash" || log[0].Messages[0].Content != "hello" {
		t.Errorf("log %+v", log)
	}
}

func TestWithoutTools(t *testing.T) {
	s := start(t)
	body := request([]any{user("Make a title:\nsay x")}, false)
	delete(body, "tools")
	b, err := io.ReadAll(post(t, s, body).Body)
	if err != nil || !strings.Contains(string(b), Short) {
		t.Errorf("answer %s, %v", b, err)
	}
}

func TestFailures(t *testing.T) {
	s := start(t)
	r := post(t, s, request([]any{user("http 429 slow down")}, true))
	b, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != 429 || !strings.Contains(string(b), "slow down") {
		t.Errorf("%d, %s, %v", r.StatusCode, b, err)
	}
	r = post(t, s, request([]any{user("say a\ncut")}, true))
	if b, err := io.ReadAll(r.Body); err == nil {
		t.Errorf("a cut answer ended well: %s", b)
	}
	r = post(t, s, request([]any{user("stream 100000 10ms")}, true))
	if _, err := r.Body.Read(make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	_ = r.Body.Close()
	deadline := time.Now().Add(10 * time.Second)
	for {
		log := s.Requests()
		if log[len(log)-1].Ended == "broken" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the log does not say that the reader left: %+v", log[len(log)-1])
		}
		time.Sleep(5 * time.Millisecond)
	}
	if r, err := http.Get(s.URL() + "/nothing"); err != nil || r.StatusCode != 404 {
		t.Error(r, err)
	} else {
		_ = r.Body.Close()
	}
	r, err = http.Get(s.URL() + "/models")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Body.Close() }()
	if b, err := io.ReadAll(r.Body); err != nil || !strings.Contains(string(b), Model) {
		t.Errorf("models %s, %v", b, err)
	}
}

package acp

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDecodeUpdate(t *testing.T) {
	tests := []struct {
		name, in string
		want     Update
	}{
		{"agent", `{"sessionUpdate":"agent_message_chunk","messageId":"m1","content":{"type":"text","text":"hi"}}`, AgentChunk{Chunk{Content: TextBlock("hi"), MessageID: "m1"}}},
		{"empty text", `{"sessionUpdate":"agent_message_chunk","content":{"type":"text","text":""}}`, AgentChunk{Text("")}},
		{"user", `{"sessionUpdate":"user_message_chunk","content":{"type":"image","data":"QQ==","mimeType":"image/png"}}`, UserChunk{Chunk{Content: ContentBlock{Type: BlockImage, Data: "QQ==", MimeType: "image/png"}}}},
		{"thought", `{"sessionUpdate":"agent_thought_chunk","messageId":null,"content":{"type":"text","text":"x"}}`, ThoughtChunk{Text("x")}},
		{"unknown block", `{"sessionUpdate":"agent_message_chunk","content":{"type":"hologram","text":"","n":1}}`, AgentChunk{Chunk{Content: ContentBlock{Type: "hologram", Raw: raw(`{"type":"hologram","text":"","n":1}`)}}}},
		{"resource", `{"sessionUpdate":"user_message_chunk","content":{"type":"resource","resource":{"uri":"file:///a","text":"t"}}}`, UserChunk{Chunk{Content: ContentBlock{Type: BlockResource, Resource: &Resource{URI: "file:///a", Text: new("t")}}}}},
		{
			"tool call", `{"sessionUpdate":"tool_call","toolCallId":"c","title":"Read","name":"read","kind":"read","status":"in_progress","locations":[{"path":"/a","line":3}],"rawInput":{"path":"/a"},"content":[{"type":"content","content":{"type":"text","text":"x"}},{"type":"diff","path":"/a","oldText":null,"newText":"n"},{"type":"terminal","terminalId":"t"},{"type":"new","z":1}]}`,
			ToolCall{
				ID: "c", Title: "Read", Name: "read", Kind: ToolRead, Status: ToolInProgress, RawInput: raw(`{"path":"/a"}`),
				Locations: []Location{{Path: "/a", Line: new(int64(3))}},
				Content:   []ToolContent{TextContent("x"), DiffContent("/a", nil, "n"), {Type: ToolContentTerminal, TerminalID: "t"}, {Type: "new", Raw: raw(`{"type":"new","z":1}`)}},
			},
		},
		{"update, nothing", `{"sessionUpdate":"tool_call_update","toolCallId":"c","title":null,"status":null,"content":null,"rawInput":null}`, ToolCallUpdate{ID: "c"}},
		{"update, emptied", `{"sessionUpdate":"tool_call_update","toolCallId":"c","title":"","status":"completed","content":[],"locations":[]}`, ToolCallUpdate{ID: "c", Title: new(""), Status: new(ToolCompleted), Content: []ToolContent{}, Locations: []Location{}}},
		{"plan", `{"sessionUpdate":"plan","entries":[{"content":"a","priority":"high","status":"pending"}]}`, Plan{Entries: []PlanEntry{{Content: "a", Priority: "high", Status: "pending"}}}},
		{"commands", `{"sessionUpdate":"available_commands_update","availableCommands":[{"name":"n","description":"d","input":{"hint":"h"}},{"name":"m","description":"","input":null}]}`, Commands{Commands: []Command{{Name: "n", Description: "d", Input: &CommandInput{Hint: "h"}}, {Name: "m"}}}},
		{"mode", `{"sessionUpdate":"current_mode_update","currentModeId":"ask"}`, CurrentMode{ModeID: "ask"}},
		{"options", `{"sessionUpdate":"config_option_update","configOptions":[{"id":"a","name":"A","type":"boolean","currentValue":true}]}`, ConfigOptions{Options: []ConfigOption{{ID: "a", Name: "A", Type: OptionBoolean, CurrentValue: raw("true")}}}},
		{"title", `{"sessionUpdate":"session_info_update","title":"T"}`, SessionInfo{Title: Set("T")}},
		{"title cleared", `{"sessionUpdate":"session_info_update","title":null,"updatedAt":"2026-11-02T00:00:00Z"}`, SessionInfo{Title: Nullable{Present: true}, UpdatedAt: Set("2026-11-02T00:00:00Z")}},
		{"title absent", `{"sessionUpdate":"session_info_update"}`, SessionInfo{}},
		{"usage", `{"sessionUpdate":"usage_update","used":10,"size":200000,"cost":{"amount":0.5,"currency":"USD"}}`, Usage{Used: 10, Size: 200000, Cost: &Cost{0.5, "USD"}}},
		{"notice", `{"sessionUpdate":"notice","severity":"warning","title":"T","description":"D"}`, Notice{Severity: "warning", Title: "T", Description: "D"}},
		{"compaction", `{"sessionUpdate":"compaction_update","compactionId":"c","status":"completed"}`, Compaction{ID: "c", Status: "completed"}},
		{"summary", `{"sessionUpdate":"compaction_summary_chunk","compactionId":"c","content":{"type":"text","text":"s"}}`, CompactionSummary{ID: "c", Content: TextBlock("s")}},
		{"unknown", `{"sessionUpdate":"plan_removed","id":"p"}`, Unknown{Name: "plan_removed", Raw: raw(`{"sessionUpdate":"plan_removed","id":"p"}`)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := DecodeUpdate(raw(tt.in))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Fatalf("update (-want +got):\n%s", d)
			}
			b, err := EncodeUpdate(got)
			if err != nil {
				t.Fatal(err)
			}
			again, err := DecodeUpdate(b)
			if err != nil {
				t.Fatalf("decode %s: %v", b, err)
			}
			if d := cmp.Diff(got, again); d != "" {
				t.Errorf("after encoding as %s (-want +got):\n%s", b, d)
			}
		})
	}
}

func TestDecodeUpdateMalformed(t *testing.T) {
	for _, in := range []string{
		"", "null", "7", "{}", `{"sessionUpdate":7}`, `{"sessionUpdate":""}`,
		`{"sessionUpdate":"agent_message_chunk"}`,
		`{"sessionUpdate":"agent_message_chunk","content":null}`,
		`{"sessionUpdate":"agent_message_chunk","content":"text"}`,
		`{"sessionUpdate":"agent_message_chunk","content":{"text":"x"}}`,
		`{"sessionUpdate":"agent_message_chunk","content":{"type":"text"}}`,
		`{"sessionUpdate":"agent_message_chunk","content":{"type":"text","text":null}}`,
		`{"sessionUpdate":"agent_message_chunk","content":{"type":"text","text":7}}`,
		`{"sessionUpdate":"tool_call","title":"no id"}`,
		`{"sessionUpdate":"tool_call_update","toolCallId":7}`,
		`{"sessionUpdate":"tool_call_update","toolCallId":"c","content":[{"type":"content"}]}`,
		`{"sessionUpdate":"tool_call_update","toolCallId":"c","content":[{"type":"diff","path":"a"}]}`,
		`{"sessionUpdate":"plan","entries":{}}`,
	} {
		u, err := DecodeUpdate(raw(in))
		if err == nil {
			t.Errorf("DecodeUpdate(%s) = %#v, want an error", in, u)
			continue
		}
		if u, ok := u.(Unknown); !ok || string(u.Raw) != in {
			t.Errorf("DecodeUpdate(%s) = %#v, want the raw bytes", in, u)
		}
	}
}

func TestApply(t *testing.T) {
	c := ToolCall{ID: "c", Title: "T", Kind: ToolRead, Content: []ToolContent{TextContent("a")}}
	ToolCallUpdate{ID: "c"}.Apply(&c)
	if d := cmp.Diff(ToolCall{ID: "c", Title: "T", Kind: ToolRead, Content: []ToolContent{TextContent("a")}}, c); d != "" {
		t.Errorf("an empty update changed (-want +got):\n%s", d)
	}
	ToolCallUpdate{ID: "c", Status: new(ToolFailed), Content: []ToolContent{}}.Apply(&c)
	if d := cmp.Diff(ToolCall{ID: "c", Title: "T", Kind: ToolRead, Status: ToolFailed, Content: []ToolContent{}}, c); d != "" {
		t.Errorf("call (-want +got):\n%s", d)
	}
}

func FuzzDecodeUpdate(f *testing.F) {
	f.Add([]byte(`{"sessionUpdate":"agent_message_chunk","content":{"type":"text","text":"hi"}}`))
	f.Add([]byte(`{"sessionUpdate":"tool_call_update","toolCallId":"c","content":[{"type":"diff","path":"a","newText":""}],"locations":[{"path":"x","line":1}]}`))
	f.Add([]byte(`{"sessionUpdate":"session_info_update","title":null}`))
	f.Add([]byte(`{"sessionUpdate":"config_option_update","configOptions":[{"id":"a","options":[{"group":"g","options":[{"value":"v"}]}]}]}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		u, err := DecodeUpdate(in)
		if u == nil {
			t.Fatal("no update")
		}
		if err != nil {
			if _, ok := u.(Unknown); !ok {
				t.Fatalf("%#v with error %v", u, err)
			}
			return
		}
		if c, ok := u.(AgentChunk); ok {
			if text, isText := c.Content.AsText(); isText != (c.Content.Type == BlockText) || (!isText && text != "") {
				t.Fatalf("block %#v", c.Content)
			}
		}
		b, err := EncodeUpdate(u)
		if err != nil {
			t.Fatalf("encode %#v: %v", u, err)
		}
		if !json.Valid(b) {
			t.Fatalf("encoded %s", b)
		}
		again, err := DecodeUpdate(b)
		if err != nil {
			t.Fatalf("decode own %s: %v", b, err)
		}
		if again.UpdateKind() != u.UpdateKind() {
			t.Fatalf("kind %q became %q", u.UpdateKind(), again.UpdateKind())
		}
	})
}

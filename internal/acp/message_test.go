package acp

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func raw(s string) json.RawMessage { return json.RawMessage(s) }

func TestParse(t *testing.T) {
	tests := []struct {
		name, line string
		want       Message
		kind       string
	}{
		{"request", `{"jsonrpc":"2.0","id":0,"method":"session/request_permission","params":{"a":1}}`, Message{ID: raw("0"), Method: "session/request_permission", Params: raw(`{"a":1}`)}, "request"},
		{"string id", `{"jsonrpc":"2.0","id":"0","method":"m"}`, Message{ID: raw(`"0"`), Method: "m"}, "request"},
		{"null id", `{"jsonrpc":"2.0","id":null,"method":"m"}`, Message{ID: raw("null"), Method: "m"}, "request"},
		{"id keeps its bytes", `{"jsonrpc":"2.0","id":"\u003c<é\/","method":"m"}`, Message{ID: raw(`"\u003c<é\/"`), Method: "m"}, "request"},
		{"big id", `{"jsonrpc":"2.0","id":9007199254740993000001,"method":"m"}`, Message{ID: raw("9007199254740993000001"), Method: "m"}, "request"},
		{"float id", `{"jsonrpc":"2.0","id":-1.50,"method":"m"}`, Message{ID: raw("-1.50"), Method: "m"}, "request"},
		{"notification", `{"jsonrpc":"2.0","method":"m","params":[]}`, Message{Method: "m", Params: raw("[]")}, "notification"},
		{"response", `{"jsonrpc":"2.0","id":0,"result":{"outcome":{"outcome":"selected","optionId":"once"}}}`, Message{ID: raw("0"), Result: raw(`{"outcome":{"outcome":"selected","optionId":"once"}}`)}, "response"},
		{"null result", `{"jsonrpc":"2.0","id":3,"result":null}`, Message{ID: raw("3"), Result: raw("null")}, "response"},
		{"result and null error", `{"jsonrpc":"2.0","id":3,"result":1,"error":null}`, Message{ID: raw("3"), Result: raw("1")}, "response"},
		{"error", `{"jsonrpc":"2.0","id":3,"error":{"code":-32000,"message":"login"}}`, Message{ID: raw("3"), Error: &Error{Code: -32000, Message: "login"}}, "response"},
		{"malformed error", `{"jsonrpc":"2.0","id":3,"error":{"code":"x","message":"login"}}`, Message{ID: raw("3"), Error: &Error{Code: CodeInternalError, Message: "login", Data: raw(`{"code":"x","message":"login"}`)}}, "response"},
		{"error as text", `{"jsonrpc":"2.0","id":3,"error":"no"}`, Message{ID: raw("3"), Error: &Error{Code: CodeInternalError, Data: raw(`"no"`)}}, "response"},
		{"space and CR", " \t{\"jsonrpc\":\"2.0\" , \"method\":\"m\"}\r\n", Message{Method: "m"}, "notification"},
		{"unknown root field", `{"jsonrpc":"2.0","method":"m","x":{}}`, Message{Method: "m"}, "notification"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Parse([]byte(tt.line))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("message (-want +got):\n%s", d)
			}
			kinds := map[string]bool{"request": got.IsRequest(), "notification": got.IsNotification(), "response": got.IsResponse()}
			for kind, is := range kinds {
				if is != (kind == tt.kind) {
					t.Errorf("Is %s = %v", kind, is)
				}
			}
		})
	}
}

func TestParseJunk(t *testing.T) {
	for _, line := range []string{
		"", "  ", "hello", "null", "1", `"x"`, "[]", "{}", `{"jsonrpc":"2.0"}`, `{"jsonrpc":"1.0","method":"m"}`,
		`{"method":"m"}`, `{"jsonrpc":"2.0","id":{},"method":"m"}`, `{"jsonrpc":"2.0","id":true,"method":"m"}`,
		`{"jsonrpc":"2.0","id":1,"method":7}`, `{"jsonrpc":"2.0","method":""}`, `{"jsonrpc":"2.0","id":1}`,
		`{"jsonrpc":"2.0","method":"m"`, `{"jsonrpc":"2.0","method":"m"}{}`, `[{"jsonrpc":"2.0","method":"m"}]`,
		strings.Repeat(`{"a":`, 20000),
	} {
		m, err := Parse([]byte(line))
		if !errors.Is(err, ErrNotMessage) {
			t.Errorf("Parse(%.40q) = %+v, %v, want ErrNotMessage", line, m, err)
		}
	}
}

func TestBuild(t *testing.T) {
	line := func(b []byte, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	tests := []struct{ name, got, want string }{
		{"request", line(Request(7, "session/cancel", SessionParams{SessionID: "a<b>&c"})), `{"jsonrpc":"2.0","id":7,"method":"session/cancel","params":{"sessionId":"a<b>&c"}}`},
		{"raw id", line(Request(raw(`"\u003c"`), "m", nil)), `{"jsonrpc":"2.0","id":"\u003c","method":"m"}`},
		{"notification", line(Notification("m", raw("{\n\"a\" : 1 }"))), `{"jsonrpc":"2.0","method":"m","params":{"a":1}}`},
		{"response", line(Response(raw("0"), PermissionResult{Outcome: Selected("once")})), `{"jsonrpc":"2.0","id":0,"result":{"outcome":{"outcome":"selected","optionId":"once"}}}`},
		{"cancelled", line(Response(raw("null"), PermissionResult{})), `{"jsonrpc":"2.0","id":null,"result":{"outcome":{"outcome":"cancelled"}}}`},
		{"nil result", line(Response(raw(`"<&>"`), nil)), `{"jsonrpc":"2.0","id":"<&>","result":null}`},
		{"error", string(ErrorResponse(raw("1"), CodeMethodNotFound, "no such\nmethod")), `{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no such\nmethod"}}`},
		{"error, bad id", string(ErrorResponse(raw("{"), CodeParseError, "x")), `{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"x"}}`},
		{
			"initialize", line(Request(uint64(0), MethodInitialize, InitializeParams{ProtocolVersion: 1, ClientCapabilities: HostCapabilities(), ClientInfo: &Implementation{Name: "holdfast", Version: "1"}})),
			`{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":1,"clientCapabilities":{"fs":{"readTextFile":false,"writeTextFile":false},"terminal":false,"session":{"configOptions":{"boolean":{}},"notices":{},"compaction":{}}},"clientInfo":{"name":"holdfast","version":"1"}}}`,
		},
		{"new", line(Request(int64(1), MethodSessionNew, NewSessionParams{CWD: "/w"})), `{"jsonrpc":"2.0","id":1,"method":"session/new","params":{"cwd":"/w","mcpServers":[]}}`},
		{
			"new with servers", line(Request(1, MethodSessionNew, NewSessionParams{CWD: "/w", MCPServers: MCPServers{{Name: "a", Command: "c"}, {Type: "http", Name: "b", URL: "u"}}})),
			`{"jsonrpc":"2.0","id":1,"method":"session/new","params":{"cwd":"/w","mcpServers":[{"name":"a","command":"c","args":[],"env":[]},{"type":"http","name":"b","url":"u","headers":[]}]}}`,
		},
		{
			"prompt", line(Request(2, MethodSessionPrompt, PromptParams{SessionID: "s", Prompt: []ContentBlock{TextBlock(""), {Type: BlockResourceLink, URI: "file:///a", Name: "a"}}})),
			`{"jsonrpc":"2.0","id":2,"method":"session/prompt","params":{"sessionId":"s","prompt":[{"type":"text","text":""},{"type":"resource_link","uri":"file:///a","name":"a"}]}}`,
		},
		{"boolean option", line(Request(3, MethodSetConfigOption, SetConfigOptionParams{SessionID: "s", ConfigID: "c", Type: OptionBoolean, Value: false})), `{"jsonrpc":"2.0","id":3,"method":"session/set_config_option","params":{"sessionId":"s","configId":"c","type":"boolean","value":false}}`},
	}
	for _, tt := range tests {
		// The expectations are Go raw strings, so \n above is JSON's escape.
		if tt.got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, tt.got, tt.want)
		}
		if strings.ContainsAny(tt.got, "\r\n") {
			t.Errorf("%s holds a line end", tt.name)
		}
	}
	for _, id := range []string{"", "{}", "true", "1\n", `"a`, "[1]"} {
		if b, err := Response(raw(id), nil); err == nil {
			t.Errorf("Response with id %q = %s, want an error", id, b)
		}
	}
}

func TestErrorDetails(t *testing.T) {
	tests := []struct{ data, details, text string }{
		{"", "", "Internal error (code -32603)"},
		{`{"details":"no provider"}`, "no provider", "Internal error: no provider (code -32603)"},
		{`{"message":"m"}`, "m", "Internal error: m (code -32603)"},
		{`{"details":7,"message":"m"}`, "m", "Internal error: m (code -32603)"},
		{`"plain"`, "plain", "Internal error: plain (code -32603)"},
		{`[1]`, "", "Internal error (code -32603)"},
	}
	for _, tt := range tests {
		e := &Error{Code: CodeInternalError, Message: "Internal error", Data: raw(tt.data)}
		if got := e.Details(); got != tt.details {
			t.Errorf("Details of %s = %q, want %q", tt.data, got, tt.details)
		}
		if got := e.Error(); got != tt.text {
			t.Errorf("Error of %s = %q, want %q", tt.data, got, tt.text)
		}
	}
}

func TestInitializeResult(t *testing.T) {
	const in = `{"protocolVersion":1,"agentCapabilities":{"loadSession":true,"promptCapabilities":{"image":true},"mcpCapabilities":{"http":true},"sessionCapabilities":{"list":{},"resume":null,"close":{"_meta":{"a":1}}}},"authMethods":[{"id":"x","name":"X","type":"terminal","args":["--setup"]}],"agentInfo":{"name":"n","version":"v"}}`
	var got InitializeResult
	if err := json.Unmarshal([]byte(in), &got); err != nil {
		t.Fatal(err)
	}
	want := InitializeResult{
		ProtocolVersion: 1,
		AgentCapabilities: AgentCapabilities{
			LoadSession: true, PromptCapabilities: PromptCapabilities{Image: true}, MCPCapabilities: MCPCapabilities{HTTP: true},
			SessionCapabilities: SessionCapabilities{List: &Capability{}, Close: &Capability{Meta: raw(`{"a":1}`)}},
		},
		AuthMethods: []AuthMethod{{ID: "x", Name: "X", Type: "terminal", Args: []string{"--setup"}}},
		AgentInfo:   &Implementation{Name: "n", Version: "v"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("result (-want +got):\n%s", d)
	}
}

func TestLoadResultNull(t *testing.T) {
	var got LoadSessionResult
	if err := json.Unmarshal([]byte("null"), &got); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(LoadSessionResult{}, got); d != "" {
		t.Error(d)
	}
}

func TestConfigChoices(t *testing.T) {
	const in = `{"id":"m","name":"Mode","category":"mode","type":"select","currentValue":"a","options":[{"group":"g","name":"G","options":[{"value":"a","name":"A"},{"value":"b","name":"B"}]},{"value":"c","name":"C"}]}`
	var o ConfigOption
	if err := json.Unmarshal([]byte(in), &o); err != nil {
		t.Fatal(err)
	}
	want := ConfigChoices{{Value: "a", Name: "A", Group: "g", GroupName: "G"}, {Value: "b", Name: "B", Group: "g", GroupName: "G"}, {Value: "c", Name: "C"}}
	if d := cmp.Diff(want, o.Options); d != "" {
		t.Errorf("options (-want +got):\n%s", d)
	}
	if o.Value() != "a" || o.Bool() {
		t.Errorf("Value = %q, Bool = %v", o.Value(), o.Bool())
	}
	b, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	if string(b) != in {
		t.Errorf("encoded\n got %s\nwant %s", b, in)
	}
}

func TestPermissionOutcome(t *testing.T) {
	for in, want := range map[string]PermissionOutcome{
		`{"outcome":"selected","optionId":"x"}`: Selected("x"),
		`{"outcome":"cancelled"}`:               Cancelled(),
	} {
		var got PermissionOutcome
		if err := json.Unmarshal([]byte(in), &got); err != nil || got != want {
			t.Errorf("decode %s = %+v, %v", in, got, err)
		}
	}
	for _, in := range []string{`{}`, `{"outcome":"selected"}`, `{"outcome":"maybe"}`, `7`} {
		var got PermissionOutcome
		if err := json.Unmarshal([]byte(in), &got); err == nil {
			t.Errorf("decode %s = %+v, want an error", in, got)
		}
	}
}

func TestPermissionRequest(t *testing.T) {
	m, err := Parse([]byte(`{"jsonrpc":"2.0","id":0,"method":"session/request_permission","params":{"sessionId":"s1","toolCall":{"toolCallId":"call_2","title":"echo hi","kind":"execute","status":"pending"},"options":[{"optionId":"once","kind":"allow_once","name":"Allow once"},{"optionId":"reject","kind":"reject_once","name":"Reject"}]}}`))
	if err != nil {
		t.Fatal(err)
	}
	var got PermissionRequest
	if err := json.Unmarshal(m.Params, &got); err != nil {
		t.Fatal(err)
	}
	want := PermissionRequest{
		SessionID: "s1",
		ToolCall:  ToolCallUpdate{ID: "call_2", Title: new("echo hi"), Kind: new(ToolExecute), Status: new(ToolPending)},
		Options:   []PermissionOption{{OptionID: "once", Kind: AllowOnce, Name: "Allow once"}, {OptionID: "reject", Kind: RejectOnce, Name: "Reject"}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("request (-want +got):\n%s", d)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"jsonrpc":"2.0","id":"\u003c","method":"session/update","params":{"sessionId":"s1","update":{"sessionUpdate":"agent_message_chunk","content":{"type":"text","text":"hi"}}}}`))
	f.Add([]byte(`{"jsonrpc":"2.0","id":3,"error":{"code":1.5}}`))
	f.Add([]byte("{\"jsonrpc\":\"2.0\",\"id\":null,\"result\":null}\r"))
	f.Fuzz(func(t *testing.T, line []byte) {
		m, err := Parse(line)
		if err != nil {
			if !errors.Is(err, ErrNotMessage) {
				t.Fatalf("error %v does not wrap ErrNotMessage", err)
			}
			return
		}
		n := 0
		for _, is := range []bool{m.IsRequest(), m.IsNotification(), m.IsResponse()} {
			if is {
				n++
			}
		}
		if n != 1 {
			t.Fatalf("%d of the three kinds hold for %q", n, line)
		}
		if m.ID == nil {
			return
		}
		b, err := Response(m.ID, nil)
		if err != nil {
			t.Fatalf("answer id %q: %v", m.ID, err)
		}
		back, err := Parse(b)
		if err != nil || string(back.ID) != string(m.ID) {
			t.Fatalf("id %q came back as %q, %v", m.ID, back.ID, err)
		}
	})
}

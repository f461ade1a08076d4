package acp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	sdk "github.com/coder/acp-go-sdk"
	"github.com/google/go-cmp/cmp"
)

// echoAgent is a small agent on Conn. A prompt of "ask" asks for a permission,
// one of "wait" runs until it is cancelled, any other is streamed back.
type echoAgent struct {
	c      *Conn
	mu     sync.Mutex
	cancel context.CancelFunc
}

func (a *echoAgent) handle(ctx context.Context, m Message) {
	switch m.Method {
	case MethodInitialize:
		_ = a.c.Respond(m.ID, InitializeResult{ProtocolVersion: 1, AuthMethods: []AuthMethod{}, AgentInfo: &Implementation{Name: "echo", Version: "1"}, AgentCapabilities: AgentCapabilities{LoadSession: true, SessionCapabilities: SessionCapabilities{Resume: &Capability{}}}})
	case MethodSessionNew:
		_ = a.c.Respond(m.ID, NewSessionResult{SessionID: "s1", SessionSettings: SessionSettings{Modes: &Modes{CurrentModeID: "a", AvailableModes: []Mode{{ID: "a", Name: "A"}}}}})
	case MethodSessionPrompt:
		turn, cancel := context.WithCancel(ctx)
		a.mu.Lock()
		a.cancel = cancel
		a.mu.Unlock()
		a.c.Go(func() {
			defer cancel()
			if err := a.prompt(turn, m); err != nil {
				_ = a.c.Refuse(m.ID, err)
			}
		})
	case MethodSessionCancel:
		a.mu.Lock()
		defer a.mu.Unlock()
		a.cancel()
	default:
		if m.IsRequest() {
			_ = a.c.Refuse(m.ID, &Error{Code: CodeMethodNotFound, Message: "no such method"})
		}
	}
}

func (a *echoAgent) prompt(ctx context.Context, m Message) error {
	var p PromptParams
	if err := json.Unmarshal(m.Params, &p); err != nil {
		return &Error{Code: CodeInvalidParams, Message: err.Error()}
	}
	text, _ := p.Prompt[0].AsText()
	stop := StopEndTurn
	switch text {
	case "wait":
		<-ctx.Done()
		stop = StopCancelled
	case "ask":
		var r PermissionResult
		err := a.c.Call(ctx, MethodRequestPermission, PermissionRequest{
			SessionID: p.SessionID, ToolCall: ToolCallUpdate{ID: "t1", Title: new("rm x"), Kind: new(ToolExecute)},
			Options: []PermissionOption{{OptionID: "yes", Name: "Yes", Kind: AllowOnce}},
		}, &r)
		if err != nil {
			return err
		}
		text = fmt.Sprintf("[%s]", r.Outcome.OptionID)
		fallthrough
	default:
		for _, u := range []Update{
			ThoughtChunk{Text("thinking")},
			ToolCall{ID: "t1", Title: "T", Kind: ToolEdit, Content: []ToolContent{DiffContent("/f", nil, "new")}},
			ToolCallUpdate{ID: "t1", Status: new(ToolCompleted), Content: []ToolContent{TextContent("done")}},
			Plan{Entries: []PlanEntry{{Content: "p", Priority: "low", Status: "pending"}}},
			Commands{Commands: []Command{{Name: "help", Description: "d"}}},
			SessionInfo{Title: Set("a title")},
			AgentChunk{Text(text)},
		} {
			if err := a.c.Update(p.SessionID, u); err != nil {
				return err
			}
		}
	}
	return a.c.Respond(m.ID, PromptResult{StopReason: stop})
}

// sdkClient is the independent peer.
type sdkClient struct {
	sdk.Client
	mu      sync.Mutex
	updates []sdk.SessionUpdate
}

func (c *sdkClient) SessionUpdate(_ context.Context, n sdk.SessionNotification) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.updates = append(c.updates, n.Update)
	return nil
}

func (c *sdkClient) RequestPermission(_ context.Context, r sdk.RequestPermissionRequest) (sdk.RequestPermissionResponse, error) {
	return sdk.RequestPermissionResponse{Outcome: sdk.NewRequestPermissionOutcomeSelected(r.Options[0].OptionId)}, nil
}

func TestConnWithSDK(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	in, toAgent := io.Pipe()
	fromAgent, out := io.Pipe()
	a := &echoAgent{c: NewConn(in, out)}
	served := make(chan error, 1)
	go func() {
		served <- a.c.Serve(ctx, a.handle)
		_ = out.Close()
	}()
	client := &sdkClient{}
	peer := sdk.NewClientSideConnection(client, toAgent, fromAgent)

	init, err := peer.Initialize(ctx, sdk.InitializeRequest{ProtocolVersion: sdk.ProtocolVersionNumber})
	if err != nil {
		t.Fatal(err)
	}
	if !init.AgentCapabilities.LoadSession || init.AgentCapabilities.SessionCapabilities.Resume == nil || init.AgentCapabilities.SessionCapabilities.List != nil {
		t.Errorf("capabilities %+v", init.AgentCapabilities)
	}
	s, err := peer.NewSession(ctx, sdk.NewSessionRequest{Cwd: "/", McpServers: []sdk.McpServer{}})
	if err != nil {
		t.Fatal(err)
	}
	if s.SessionId != "s1" || s.Modes == nil || s.Modes.CurrentModeId != "a" {
		t.Errorf("session %+v", s)
	}
	r, err := peer.Prompt(ctx, sdk.PromptRequest{SessionId: s.SessionId, Prompt: []sdk.ContentBlock{sdk.TextBlock("ask")}})
	if err != nil || r.StopReason != sdk.StopReasonEndTurn {
		t.Fatalf("prompt: %+v, %v", r, err)
	}
	client.mu.Lock()
	got := client.updates
	client.mu.Unlock()
	if len(got) != 7 {
		t.Fatalf("%d updates, want 7", len(got))
	}
	if got[0].AgentThoughtChunk == nil || got[1].ToolCall == nil || got[2].ToolCallUpdate == nil || got[3].Plan == nil || got[4].AvailableCommandsUpdate == nil || got[5].SessionInfoUpdate == nil || got[6].AgentMessageChunk == nil {
		t.Fatalf("updates %+v", got)
	}
	if d := got[1].ToolCall.Content[0].Diff; d == nil || d.Path != "/f" || d.OldText != nil || d.NewText != "new" {
		t.Errorf("diff %+v", got[1].ToolCall.Content)
	}
	if text := got[6].AgentMessageChunk.Content.Text; text == nil || text.Text != "[yes]" {
		t.Errorf("answer %+v", got[6].AgentMessageChunk.Content)
	}
	// The SDK writes the prompt in its own time, so cancel from a turn that
	// has surely begun is left to the agent's own test; here it is enough
	// that the notification is understood.
	done := make(chan error, 1)
	go func() {
		r, err := peer.Prompt(ctx, sdk.PromptRequest{SessionId: s.SessionId, Prompt: []sdk.ContentBlock{sdk.TextBlock("wait")}})
		if err == nil && r.StopReason != sdk.StopReasonCancelled {
			err = fmt.Errorf("stop reason %s", r.StopReason)
		}
		done <- err
	}()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for waiting := true; waiting; {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			waiting = false
		case <-tick.C:
			if err := peer.Cancel(ctx, sdk.CancelNotification{SessionId: s.SessionId}); err != nil {
				t.Fatal(err)
			}
		case <-ctx.Done():
			t.Fatal("cancel had no effect")
		}
	}
	if _, err := peer.LoadSession(ctx, sdk.LoadSessionRequest{SessionId: "x", Cwd: "/", McpServers: []sdk.McpServer{}}); err == nil || !strings.Contains(err.Error(), "no such method") {
		t.Errorf("load: %v", err)
	}
	_ = toAgent.Close()
	if err := <-served; err != nil {
		t.Fatal(err)
	}
	<-peer.Done()
}

// TestDecodeSDKLines reads what an independent agent side writes.
func TestDecodeSDKLines(t *testing.T) {
	var out bytes.Buffer
	block := sdk.TextBlock("x")
	for _, u := range []sdk.SessionUpdate{
		sdk.UpdateAgentMessage(block), sdk.UpdateUserMessage(block), sdk.UpdateAgentThought(block),
		sdk.StartToolCall("t", "T", sdk.WithStartKind(sdk.ToolKindRead)), sdk.UpdateToolCall("t", sdk.WithUpdateStatus(sdk.ToolCallStatusFailed)),
		sdk.UpdatePlan(sdk.PlanEntry{Content: "c", Priority: "high", Status: "pending"}),
	} {
		b, err := json.Marshal(u)
		if err != nil {
			t.Fatal(err)
		}
		got, err := DecodeUpdate(b)
		if err != nil {
			t.Fatalf("decode %s: %v", b, err)
		}
		fmt.Fprintf(&out, "%T ", got)
	}
	want := "acp.AgentChunk acp.UserChunk acp.ThoughtChunk acp.ToolCall acp.ToolCallUpdate acp.Plan "
	if d := cmp.Diff(want, out.String()); d != "" {
		t.Error(d)
	}
}

func TestServeAnswersJunk(t *testing.T) {
	in := strings.NewReader("not json\n\n[]\n{\"jsonrpc\":\"2.0\",\"id\":\"<x>\",\"method\":\"m\"}\r\n{\"torn")
	var out bytes.Buffer
	c := NewConn(in, &out)
	err := c.Serve(t.Context(), func(_ context.Context, m Message) { _ = c.Respond(m.ID, m.Method) })
	if err != nil {
		t.Fatal(err)
	}
	want := `{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"parse error"}}
{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"invalid request"}}
{"jsonrpc":"2.0","id":"<x>","result":"m"}
`
	if d := cmp.Diff(want, out.String()); d != "" {
		t.Errorf("output (-want +got):\n%s", d)
	}
}

func TestCallAtTheEnd(t *testing.T) {
	in, w := io.Pipe()
	c := NewConn(in, io.Discard)
	result := make(chan error, 1)
	go func() {
		// Not Conn.Go: the call must fail because the input ended, and the
		// context of a handler would be cancelled at the same time.
		result <- c.Call(t.Context(), "m", nil, nil)
	}()
	served := make(chan error, 1)
	go func() { served <- c.Serve(t.Context(), func(context.Context, Message) {}) }()
	_ = w.Close()
	if err := <-served; err != nil {
		t.Fatal(err)
	}
	if err := <-result; !errors.Is(err, ErrClosed) {
		t.Errorf("call: %v, want ErrClosed", err)
	}
}

func TestCallIDInUse(t *testing.T) {
	in, w := io.Pipe()
	wrote := make(chan struct{}, 2)
	c := NewConn(in, writerFunc(func(b []byte) (int, error) { wrote <- struct{}{}; return len(b), nil }))
	served := make(chan error, 1)
	go func() { served <- c.Serve(t.Context(), func(context.Context, Message) {}) }()
	first := make(chan error, 1)
	go func() { first <- c.CallID(t.Context(), raw("7"), "m", nil, nil) }()
	<-wrote
	if err := c.CallID(t.Context(), raw("7"), "m", nil, nil); err == nil {
		t.Error("an id that is in use was taken")
	}
	if _, err := io.WriteString(w, `{"jsonrpc":"2.0","id":7,"result":null}`+"\n"); err != nil {
		t.Fatal(err)
	}
	if err := <-first; err != nil {
		t.Error(err)
	}
	_ = w.Close()
	if err := <-served; err != nil {
		t.Fatal(err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

func TestLineReader(t *testing.T) {
	long := strings.Repeat("x", 200<<10)
	r := NewLineReader(strings.NewReader("a\n\r\n"+long+"\r\n"+long+long+"\nb\nrest"), 300<<10)
	var got []string
	for {
		line, err := r.Next()
		if errors.Is(err, ErrLineTooLong) {
			got = append(got, "(too long)")
			continue
		}
		if err != nil {
			got = append(got, err.Error())
			break
		}
		got = append(got, fmt.Sprintf("%.1s%d", line, len(line)))
	}
	if d := cmp.Diff([]string{"a1", "0", "x204800", "(too long)", "b1", "unexpected EOF"}, got); d != "" {
		t.Errorf("lines (-want +got):\n%s", d)
	}
}

// Package agenttest speaks ACP to an agent under test, line by line, and
// builds the scripted one.
package agenttest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/internal/acp"
)

// Build builds the scripted agent and returns the program's path.
func Build(tb testing.TB) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "script-agent")
	if runtime.GOOS == "windows" {
		path += ".exe"
	}
	out, err := exec.Command("go", "build", "-o", path, "github.com/holdfast-dev/holdfast/test/agent").CombinedOutput()
	if err != nil {
		tb.Fatalf("build the scripted agent: %v\n%s", err, out)
	}
	return path
}

// Entry is one row of the log that SCRIPT_AGENT_LOG names.
type Entry struct {
	PID int
	// Line is what the agent received, or "start" or "eof".
	Line string
}

// ReadLog returns the log's rows; none where there is no file yet.
func ReadLog(tb testing.TB, path string) []Entry {
	tb.Helper()
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		tb.Fatal(err)
	}
	var list []Entry
	for row := range strings.Lines(string(b)) {
		pid, line, _ := strings.Cut(strings.TrimRight(row, "\n"), " ")
		n, err := strconv.Atoi(pid)
		if err != nil {
			tb.Fatalf("row %q of %s has no pid", row, path)
		}
		list = append(list, Entry{PID: n, Line: line})
	}
	return list
}

// Client is a peer of one agent. It keeps all that the agent says, in order.
// Every wait ends the test after Timeout.
type Client struct {
	Timeout time.Duration

	tb   testing.TB
	w    io.WriteCloser
	done chan struct{} // closed when the agent's output has ended

	mu       sync.Mutex
	changed  chan struct{} // closed and replaced with each message
	messages []acp.Message
	junk     []string
	nextID   uint64
}

// Connect reads r until it ends and writes to w. The test's cleanup closes w
// and waits for the end of r.
func Connect(tb testing.TB, r io.Reader, w io.WriteCloser) *Client {
	c := &Client{Timeout: 20 * time.Second, tb: tb, w: w, done: make(chan struct{}), changed: make(chan struct{})}
	go c.read(r)
	tb.Cleanup(func() {
		_ = w.Close()
		select {
		case <-c.done:
		case <-time.After(c.Timeout):
			tb.Errorf("the agent's output did not end")
		}
	})
	return c
}

// Start runs an agent. The test's cleanup closes its input, kills it if it
// does not end, and shows its stderr if the test failed.
func Start(tb testing.TB, cmd *exec.Cmd) *Client {
	tb.Helper()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	// A pipe of our own: Wait would close StdoutPipe under the reader.
	r, w, err := os.Pipe()
	if err != nil {
		tb.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = w, &stderr
	cmd.WaitDelay = 2 * time.Second
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	_ = w.Close()
	c := Connect(tb, r, stdin)
	tb.Cleanup(func() { // runs before Connect's
		_ = stdin.Close()
		kill := time.AfterFunc(5*time.Second, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		kill.Stop()
		_ = r.SetReadDeadline(time.Now().Add(time.Second)) // a child may hold the pipe
		<-c.done
		_ = r.Close()
		if tb.Failed() {
			tb.Logf("stderr of %s:\n%s", filepath.Base(cmd.Path), stderr.String())
		}
	})
	return c
}

func (c *Client) read(r io.Reader) {
	defer close(c.done)
	lines := acp.NewLineReader(r, 0)
	for {
		line, err := lines.Next()
		if err != nil {
			return
		}
		m, err := acp.Parse(line)
		c.mu.Lock()
		if err != nil {
			c.junk = append(c.junk, string(line))
		} else {
			c.messages = append(c.messages, m)
		}
		close(c.changed)
		c.changed = make(chan struct{})
		c.mu.Unlock()
	}
}

// Done is closed when the agent's output has ended.
func (c *Client) Done() <-chan struct{} { return c.done }

// CloseInput ends the agent's input.
func (c *Client) CloseInput() { _ = c.w.Close() }

// Send writes a line.
func (c *Client) Send(line []byte, err error) {
	c.tb.Helper()
	if err == nil {
		_, err = c.w.Write(append(line, '\n'))
	}
	if err != nil {
		c.tb.Fatal(err)
	}
}

// Request sends a request and returns its id.
func (c *Client) Request(method string, params any) uint64 {
	c.tb.Helper()
	c.mu.Lock()
	id := c.nextID
	c.nextID++
	c.mu.Unlock()
	c.Send(acp.Request(id, method, params))
	return id
}

// Call sends a request and decodes its result. A refusal is returned.
func (c *Client) Call(method string, params, result any) *acp.Error {
	c.tb.Helper()
	m := c.Response(c.Request(method, params))
	if m.Error != nil {
		return m.Error
	}
	if result != nil {
		if err := json.Unmarshal(m.Result, result); err != nil {
			c.tb.Fatalf("decode result of %s: %v", method, err)
		}
	}
	return nil
}

// Initialize begins the connection as the host does.
func (c *Client) Initialize() acp.InitializeResult {
	c.tb.Helper()
	var r acp.InitializeResult
	if err := c.Call(acp.MethodInitialize, acp.InitializeParams{ProtocolVersion: acp.ProtocolVersion, ClientCapabilities: acp.HostCapabilities(), ClientInfo: &acp.Implementation{Name: "agenttest", Version: "1"}}, &r); err != nil {
		c.tb.Fatalf("initialize: %v", err)
	}
	return r
}

// NewSession opens a session in a folder.
func (c *Client) NewSession(cwd string) string {
	c.tb.Helper()
	var r acp.NewSessionResult
	if err := c.Call(acp.MethodSessionNew, acp.NewSessionParams{CWD: cwd}, &r); err != nil {
		c.tb.Fatalf("session/new: %v", err)
	}
	return r.SessionID
}

// Prompt sends a text and returns the request's id.
func (c *Client) Prompt(session, text string) uint64 {
	c.tb.Helper()
	return c.Request(acp.MethodSessionPrompt, acp.PromptParams{SessionID: session, Prompt: []acp.ContentBlock{acp.TextBlock(text)}})
}

// Turn sends a text, waits for the turn's end, and returns the answer's text
// and the stop reason.
func (c *Client) Turn(session, text string) (string, acp.StopReason) {
	c.tb.Helper()
	from := c.Count()
	stop := c.Stop(c.Prompt(session, text))
	return c.Text(from), stop
}

// IsResponse fits the answer to a request.
func IsResponse(id uint64) func(acp.Message) bool {
	want := strconv.FormatUint(id, 10)
	return func(m acp.Message) bool { return m.IsResponse() && string(m.ID) == want }
}

// Stop waits for a turn's end.
func (c *Client) Stop(prompt uint64) acp.StopReason {
	c.tb.Helper()
	m := c.Response(prompt)
	if m.Error != nil {
		c.tb.Fatalf("prompt: %v", m.Error)
	}
	var r acp.PromptResult
	if err := json.Unmarshal(m.Result, &r); err != nil {
		c.tb.Fatal(err)
	}
	return r.StopReason
}

// Cancel sends session/cancel.
func (c *Client) Cancel(session string) {
	c.tb.Helper()
	c.Send(acp.Notification(acp.MethodSessionCancel, acp.CancelParams{SessionID: session}))
}

// Answer chooses an option of a permission request; an empty one cancels.
func (c *Client) Answer(request acp.Message, option string) {
	c.tb.Helper()
	c.Send(acp.Response(request.ID, acp.PermissionResult{Outcome: acp.Selected(option)}))
}

// Count is how many messages came so far.
func (c *Client) Count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.messages)
}

// Messages returns the messages from the given one on.
func (c *Client) Messages(from int) []acp.Message {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]acp.Message(nil), c.messages[from:]...)
}

// Junk returns the lines that were no messages.
func (c *Client) Junk() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.junk...)
}

// Wait returns the first message, from the given one on, that fits.
func (c *Client) Wait(what string, from int, fits func(acp.Message) bool) acp.Message {
	c.tb.Helper()
	m, err := c.WaitFor(c.Timeout, from, fits)
	if err != nil {
		c.tb.Fatalf("no %s: %v; the last messages:\n%s", what, err, c.dump())
	}
	return m
}

// WaitFor is Wait with a time of its own and an error in place of the test's
// end.
func (c *Client) WaitFor(d time.Duration, from int, fits func(acp.Message) bool) (acp.Message, error) {
	deadline := time.NewTimer(d)
	defer deadline.Stop()
	for i := from; ; {
		c.mu.Lock()
		list, changed := c.messages, c.changed
		c.mu.Unlock()
		for ; i < len(list); i++ {
			if fits(list[i]) {
				return list[i], nil
			}
		}
		select {
		case <-changed:
		case <-c.done:
			if c.Count() == i {
				return acp.Message{}, errors.New("the agent's output ended")
			}
		case <-deadline.C:
			return acp.Message{}, fmt.Errorf("nothing in %v", d)
		}
	}
}

// Response waits for the answer to a request.
func (c *Client) Response(id uint64) acp.Message {
	c.tb.Helper()
	return c.Wait(fmt.Sprintf("response to %d", id), 0, IsResponse(id))
}

// Permission waits for a permission request, from the given message on.
func (c *Client) Permission(from int) (acp.Message, acp.PermissionRequest) {
	c.tb.Helper()
	m := c.Wait("permission request", from, func(m acp.Message) bool {
		return m.IsRequest() && m.Method == acp.MethodRequestPermission
	})
	var p acp.PermissionRequest
	if err := json.Unmarshal(m.Params, &p); err != nil {
		c.tb.Fatal(err)
	}
	return m, p
}

// WaitText waits until the answer's text, from the given message on, holds
// some text.
func (c *Client) WaitText(from int, text string) {
	c.tb.Helper()
	c.Wait(fmt.Sprintf("text %q", text), from, func(acp.Message) bool { return strings.Contains(c.Text(from), text) })
}

// Updates decodes the updates from the given message on.
func (c *Client) Updates(from int) []acp.Update {
	c.tb.Helper()
	var list []acp.Update
	for _, m := range c.Messages(from) {
		if m.Method != acp.MethodSessionUpdate {
			continue
		}
		var n acp.SessionNotification
		if err := json.Unmarshal(m.Params, &n); err != nil {
			c.tb.Fatal(err)
		}
		u, err := acp.DecodeUpdate(n.Update)
		if err != nil {
			c.tb.Fatalf("%v in %s", err, n.Update)
		}
		list = append(list, u)
	}
	return list
}

// Text joins the answer's text from the given message on.
func (c *Client) Text(from int) string {
	c.tb.Helper()
	var b strings.Builder
	for _, u := range c.Updates(from) {
		if u, ok := u.(acp.AgentChunk); ok {
			text, _ := u.Content.AsText()
			b.WriteString(text)
		}
	}
	return b.String()
}

// Tools folds the tool calls from the given message on, in order of their
// first mention.
func (c *Client) Tools(from int) []acp.ToolCall {
	c.tb.Helper()
	var list []acp.ToolCall
	at := func(id string) *acp.ToolCall {
		for i := range list {
			if list[i].ID == id {
				return &list[i]
			}
		}
		list = append(list, acp.ToolCall{ID: id})
		return &list[len(list)-1]
	}
	for _, u := range c.Updates(from) {
		switch u := u.(type) {
		case acp.ToolCall:
			*at(u.ID) = u
		case acp.ToolCallUpdate:
			u.Apply(at(u.ID))
		}
	}
	return list
}

func (c *Client) dump() string {
	var b strings.Builder
	for _, m := range c.Messages(max(0, c.Count()-10)) {
		fmt.Fprintf(&b, "  id=%s method=%s params=%.300s result=%.300s error=%v\n", m.ID, m.Method, m.Params, m.Result, m.Error)
	}
	for _, j := range c.Junk() {
		fmt.Fprintf(&b, "  junk %.200s\n", j)
	}
	return b.String()
}

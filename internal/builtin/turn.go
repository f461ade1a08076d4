package builtin

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/holdfast-dev/holdfast/internal/acp"
)

// Turn is what a Decider acts through. It belongs to one goroutine.
type Turn struct {
	conn    *acp.Conn
	session *session
	pace    time.Duration

	message string // the id of the message that is being said
	tools   int
	id      string // makes tool ids of this turn unlike those of others
}

// Folder is the session's folder.
func (t *Turn) Folder() string { return t.session.cwd }

// Say streams text to the person, word by word.
func (t *Turn) Say(ctx context.Context, text string) error {
	if t.message == "" {
		t.message = "m-" + strings.ToLower(rand.Text()[:12])
	}
	for _, word := range words(text) {
		if err := ctx.Err(); err != nil {
			return err
		}
		u := acp.AgentChunk{Chunk: acp.Chunk{Content: acp.TextBlock(word), MessageID: t.message}}
		if err := t.update(u); err != nil {
			return err
		}
		if err := pause(ctx, t.pace); err != nil {
			return err
		}
	}
	return nil
}

// Plan shows a plan in place of the last one.
func (t *Turn) Plan(entries []acp.PlanEntry) error { return t.update(acp.Plan{Entries: entries}) }

// Title names the session.
func (t *Turn) Title(title string) error { return t.update(acp.SessionInfo{Title: acp.Set(title)}) }

func (t *Turn) update(u acp.Update) error { return t.conn.Update(t.session.id, u) }

// Use is a use of a tool.
type Use struct {
	// Tool is list, read, write or run.
	Tool string
	// Path is relative to the session's folder, or absolute and in it.
	Path string
	// Text is what write writes.
	Text string
	// Command is what run runs, in the system's shell.
	Command string
}

// Outcome is how a use of a tool went.
type Outcome struct {
	OK bool
	// Denied is true where the person did not allow it.
	Denied bool
	// Text is the tool's output, or why it failed, for whoever decides.
	Text string
}

// Do uses a tool: it shows the call, asks where the tool needs leave, and
// shows the result. A tool that fails is an Outcome; an error means that the
// turn is over.
func (t *Turn) Do(ctx context.Context, use Use) (Outcome, error) {
	t.message = "" // what is said after a tool is another message
	if t.id == "" {
		t.id = strings.ToLower(rand.Text()[:8])
	}
	t.tools++
	c := &call{turn: t, id: fmt.Sprintf("%s-%s-%d", use.Tool, t.id, t.tools)}
	var out Outcome
	var err error
	switch use.Tool {
	case "list":
		out, err = c.list(use)
	case "read":
		out, err = c.read(use)
	case "write":
		out, err = c.write(ctx, use)
	case "run":
		out, err = c.run(ctx, use)
	default:
		return Outcome{}, fmt.Errorf("use tool: there is no %q", use.Tool)
	}
	return out, err
}

// call is one tool call on the page.
type call struct {
	turn *Turn
	id   string
}

func (c *call) begin(u acp.ToolCall) error {
	u.ID = c.id
	return c.turn.update(u)
}

func (c *call) progress(status acp.ToolStatus, content ...acp.ToolContent) error {
	return c.turn.update(acp.ToolCallUpdate{ID: c.id, Status: &status, Content: content})
}

func (c *call) done(text string, content ...acp.ToolContent) (Outcome, error) {
	return Outcome{OK: true, Text: text}, c.progress(acp.ToolCompleted, content...)
}

func (c *call) fail(format string, args ...any) (Outcome, error) {
	text := fmt.Sprintf(format, args...)
	return Outcome{Text: text}, c.progress(acp.ToolFailed, acp.TextContent(text))
}

// Ids of the options that a permission offers.
const (
	optionOnce   = "allow_once"
	optionAlways = "allow_always"
	optionReject = "reject_once"
)

// ask asks the person. What was allowed for the session under a key is not
// asked again.
func (c *call) ask(ctx context.Context, key, always string, u acp.ToolCallUpdate) (bool, error) {
	allowed := c.turn.session.allowed
	if allowed[key] {
		return true, nil
	}
	u.ID = c.id
	var r acp.PermissionResult
	err := c.turn.conn.Call(ctx, acp.MethodRequestPermission, acp.PermissionRequest{
		SessionID: c.turn.session.id, ToolCall: u,
		Options: []acp.PermissionOption{
			{OptionID: optionOnce, Name: "Allow once", Kind: acp.AllowOnce},
			{OptionID: optionAlways, Name: always, Kind: acp.AllowAlways},
			{OptionID: optionReject, Name: "Reject", Kind: acp.RejectOnce},
		},
	}, &r)
	if err != nil {
		return false, err
	}
	switch r.Outcome.OptionID {
	case optionAlways:
		allowed[key] = true
		return true, nil
	case optionOnce:
		return true, nil
	default:
		return false, nil
	}
}

func (c *call) deny() (Outcome, error) {
	out, err := c.fail("Not allowed.")
	out.Denied = true
	return out, err
}

func rawJSON(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	return b
}

// words cuts text after each word's white space.
func words(text string) []string {
	var list []string
	start, space := 0, false
	for i, r := range text {
		if space && !unicode.IsSpace(r) {
			list, start = append(list, text[start:i]), i
		}
		space = unicode.IsSpace(r)
	}
	if start < len(text) {
		list = append(list, text[start:])
	}
	return list
}

func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

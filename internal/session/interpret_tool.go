package session

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/holdfast-dev/holdfast/internal/acp"
	"github.com/holdfast-dev/holdfast/internal/store"
)

// toolItem is the name of a tool call's item: the same whenever it is asked
// for, so that an update after a restart finds it.
func toolItem(epoch, run, call string) string {
	sum := sha256.Sum256([]byte(epoch + "\x00" + run + "\x00" + call))
	return "t" + strings.ToLower(idEncoding.EncodeToString(sum[:10]))
}

// tool finds a tool call of this run, or nil.
func (in *interpreter) tool(id string) (*tool, error) {
	if id == "" {
		return nil, nil
	}
	if t := in.l.turn.tools[id]; t != nil {
		return t, nil
	}
	item, err := in.tx.Item(toolItem(in.ep.Name, in.run.ID, id))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var body store.ToolBody
	if err := json.Unmarshal(item.Body, &body); err != nil {
		return nil, fmt.Errorf("read tool item: %w", err)
	}
	t := &tool{item: item.ID, open: item.Open, call: acp.ToolCall{
		ID: id, Title: body.Title, Name: body.Name, Kind: acp.ToolKind(body.Kind), Status: acp.ToolStatus(body.Status),
		RawInput: body.RawInput, RawOutput: body.RawOutput,
	}}
	for _, raw := range body.Content {
		var c acp.ToolContent
		if json.Unmarshal(raw, &c) == nil {
			t.call.Content = append(t.call.Content, c)
		}
	}
	in.l.turn.tools[id] = t
	return t, nil
}

func (in *interpreter) toolCall(c acp.ToolCall) error {
	t, err := in.tool(c.ID)
	if err != nil {
		return err
	}
	if t != nil {
		return in.updateTool(t, updateOf(c))
	}
	return in.startTool(c)
}

func updateOf(c acp.ToolCall) acp.ToolCallUpdate {
	u := acp.ToolCallUpdate{ID: c.ID, Content: c.Content, Locations: c.Locations, RawInput: c.RawInput, RawOutput: c.RawOutput}
	if c.Title != "" {
		u.Title = &c.Title
	}
	if c.Name != "" {
		u.Name = &c.Name
	}
	if c.Kind != "" {
		u.Kind = &c.Kind
	}
	if c.Status != "" {
		u.Status = &c.Status
	}
	return u
}

func (in *interpreter) toolUpdate(u acp.ToolCallUpdate) error {
	t, err := in.tool(u.ID)
	if err != nil {
		return err
	}
	if t != nil {
		return in.updateTool(t, u)
	}
	c := acp.ToolCall{ID: u.ID} // an update may be the first mention
	u.Apply(&c)
	return in.startTool(c)
}

func (in *interpreter) startTool(c acp.ToolCall) error {
	if err := in.closeText(); err != nil {
		return err
	}
	if c.Status == "" {
		c.Status = acp.ToolInProgress
	}
	if c.Kind == "" {
		c.Kind = acp.ToolOther
	}
	t := &tool{item: toolItem(in.ep.Name, in.run.ID, c.ID), call: c, open: true}
	in.l.turn.tools[c.ID] = t
	body := store.ToolBody{
		Item: t.item, ToolCallID: c.ID, Title: c.Title, Name: c.Name, Kind: string(c.Kind), Status: string(c.Status),
		RawInput: c.RawInput, RawOutput: c.RawOutput, Content: rawContent(c.Content),
	}
	if c.Locations != nil {
		body.Locations = mustJSON(c.Locations)
	}
	if _, err := in.tx.Append(in.s.ID, in.run.ID, store.ToolStarted, body); err != nil {
		return err
	}
	return in.closeTool(t)
}

func rawContent(content []acp.ToolContent) []json.RawMessage {
	var out []json.RawMessage
	for _, c := range content {
		out = append(out, mustJSON(c))
	}
	return out
}

// updateTool appends what changed. Content that only grew is stored as an
// append.
func (in *interpreter) updateTool(t *tool, u acp.ToolCallUpdate) error {
	set := map[string]json.RawMessage{}
	if u.Title != nil && *u.Title != t.call.Title {
		set["title"] = mustJSON(*u.Title)
	}
	if u.Name != nil && *u.Name != t.call.Name {
		set["name"] = mustJSON(*u.Name)
	}
	if u.Kind != nil && *u.Kind != t.call.Kind {
		set["kind"] = mustJSON(*u.Kind)
	}
	if u.Status != nil && *u.Status != t.call.Status {
		set["status"] = mustJSON(*u.Status)
	}
	if u.Locations != nil {
		set["locations"] = mustJSON(u.Locations)
	}
	if u.RawInput != nil && !bytes.Equal(u.RawInput, t.call.RawInput) {
		set["raw_input"] = u.RawInput
	}
	if u.RawOutput != nil && !bytes.Equal(u.RawOutput, t.call.RawOutput) {
		set["raw_output"] = u.RawOutput
	}
	body := store.ToolUpdate{Item: t.item}
	if u.Content != nil {
		switch grown, same := growth(t.call.Content, u.Content); {
		case same:
		case grown != nil:
			body.Append = grown
		default:
			set["content"] = mustJSON(rawContent(u.Content))
		}
	}
	u.Apply(&t.call)
	if len(set) > 0 {
		body.Set = set
	}
	if body.Set != nil || body.Append != nil {
		if _, err := in.tx.Append(in.s.ID, in.run.ID, store.ToolUpdated, body); err != nil {
			return err
		}
	}
	return in.closeTool(t)
}

// growth compares two contents: equal, or equal but for text added at the end
// of one entry.
func growth(old, now []acp.ToolContent) (grown *store.ToolAppend, same bool) {
	if len(old) != len(now) {
		return nil, false
	}
	for i := range old {
		if bytes.Equal(mustJSON(old[i]), mustJSON(now[i])) {
			continue
		}
		a, b := old[i].Content, now[i].Content
		if grown != nil || a == nil || b == nil || a.Type != acp.BlockText || b.Type != acp.BlockText || !strings.HasPrefix(b.Text, a.Text) {
			return nil, false
		}
		grown = &store.ToolAppend{Index: i, Text: b.Text[len(a.Text):]}
	}
	return grown, grown == nil
}

// closeTool closes the item of a call that is over.
func (in *interpreter) closeTool(t *tool) error {
	if !t.open || t.call.Status != acp.ToolCompleted && t.call.Status != acp.ToolFailed {
		return nil
	}
	t.open = false
	now := in.tx.Now()
	if _, err := in.tx.Append(in.s.ID, in.run.ID, store.ItemClosed, store.ClosedBody{Item: t.item, EndedAt: &now}); err != nil {
		return err
	}
	return in.steersRead()
}

package store

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// entry is an event about an open item, after the one that made it.
type entry struct {
	id   int64
	seq  int64 // 0 where it was read back, which is about open items only
	kind Kind
	body json.RawMessage
	text string // of a delta, whose body is not kept
}

func newEntry(ev Event) (entry, error) {
	e := entry{id: ev.ID, seq: ev.Seq, kind: ev.Kind, body: ev.Body}
	if ev.Kind == TextDelta || ev.Kind == ThoughtDelta {
		var b DeltaBody
		if err := json.Unmarshal(ev.Body, &b); err != nil {
			return entry{}, err
		}
		e.text, e.body = b.Text, nil
	}
	return e, nil
}

// itemID returns the item that an event is about, or "".
func itemID(ev Event) (string, error) {
	switch ev.Kind {
	case MessageUser, MessageEdited, MessageSteered, ItemCopied, TextDelta, ThoughtDelta, ToolStarted, ToolUpdated, PlanChanged, ItemClosed,
		ApprovalRequested, ApprovalResolved, NoticeGiven:
		var b struct {
			Item string `json:"item"`
		}
		if err := json.Unmarshal(ev.Body, &b); err != nil {
			return "", fmt.Errorf("read body: %w", err)
		}
		return b.Item, nil
	}
	return "", nil
}

// makeItem returns the item that ev makes.
func makeItem(id string, ev Event) (Item, error) {
	it := Item{ID: id, Session: ev.Session, Run: ev.Run, Seq: ev.Seq, At: ev.At, Body: ev.Body}
	switch ev.Kind {
	case MessageUser:
		it.Kind = ItemUser
	case TextDelta, ThoughtDelta:
		it.Kind, it.Open = ItemAssistant, true
		if ev.Kind == ThoughtDelta {
			it.Kind = ItemThought
		}
		var b DeltaBody
		if err := json.Unmarshal(ev.Body, &b); err != nil {
			return Item{}, err
		}
		var err error
		it.Body, err = encode(textBody{Text: b.Text})
		return it, err
	case ToolStarted:
		it.Kind, it.Open = ItemTool, true
		return it, withoutItem(&it)
	case PlanChanged:
		it.Kind = ItemPlan
		return it, withoutItem(&it)
	case NoticeGiven:
		it.Kind = ItemNotice
		return it, withoutItem(&it)
	case ApprovalRequested:
		it.Kind = ItemApproval
	case ItemCopied:
		var b CopiedBody
		if err := json.Unmarshal(ev.Body, &b); err != nil {
			return Item{}, err
		}
		it.Kind, it.At, it.Body = b.Kind, fromMillis(millis(b.At)), b.Body
	default:
		return Item{}, fmt.Errorf("%s about item %s: %w", ev.Kind, id, ErrNotFound)
	}
	return it, nil
}

func withoutItem(it *Item) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(it.Body, &fields); err != nil {
		return err
	}
	delete(fields, "item")
	var err error
	it.Body, err = encode(fields)
	return err
}

// textBody is the body of an assistant's text or thought.
type textBody struct {
	Text    string          `json:"text"`
	EndedAt json.RawMessage `json:"ended_at,omitempty"` // a stamp
}

// foldItem returns the body of it after entries. It is a pure function but for
// b, which may be nil: then a text that is too long for a body is only cut.
func foldItem(it Item, entries []entry, b *blobs) (json.RawMessage, error) {
	if len(entries) == 0 {
		return it.Body, nil
	}
	var err error
	var body json.RawMessage
	switch it.Kind {
	case ItemAssistant, ItemThought:
		body, err = foldText(it.Body, entries)
	case ItemTool:
		body, err = foldTool(it, entries, b)
	case ItemApproval:
		body, err = foldApproval(it.Body, entries)
	case ItemUser:
		body, err = foldMessage(it.Body, entries)
	case ItemPlan:
		last := Item{Body: entries[len(entries)-1].body}
		err = withoutItem(&last)
		body = last.Body
	default:
		return it.Body, nil
	}
	if err != nil {
		return nil, fmt.Errorf("fold item %s: %w", it.ID, err)
	}
	return body, nil
}

// foldMessage replaces a message's text where it was changed, and notes how it
// stands where it steers.
func foldMessage(base json.RawMessage, entries []entry) (json.RawMessage, error) {
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(base, &fields); err != nil {
		return nil, err
	}
	for _, e := range entries {
		var err error
		switch e.kind {
		case MessageEdited:
			var b EditedBody
			if err := json.Unmarshal(e.body, &b); err != nil {
				return nil, err
			}
			fields["text"], err = encode(b.Text)
		case MessageSteered:
			fields["steer"], err = foldSteer(fields["steer"], e)
		}
		if err != nil {
			return nil, err
		}
	}
	return encode(fields)
}

func foldSteer(known json.RawMessage, e entry) (json.RawMessage, error) {
	var b SteeredBody
	if err := json.Unmarshal(e.body, &b); err != nil {
		return nil, err
	}
	s := Steer{Seq: e.seq}
	if len(known) > 0 {
		s = Steer{}
		if err := json.Unmarshal(known, &s); err != nil {
			return nil, err
		}
	}
	s.State = b.State
	return encode(s)
}

func foldText(base json.RawMessage, entries []entry) (json.RawMessage, error) {
	var body textBody
	if err := json.Unmarshal(base, &body); err != nil {
		return nil, err
	}
	var text strings.Builder
	n := len(body.Text)
	for _, e := range entries {
		n += len(e.text)
	}
	text.Grow(n)
	text.WriteString(body.Text)
	for _, e := range entries {
		text.WriteString(e.text)
		if e.kind == ItemClosed {
			var c ClosedBody
			if err := json.Unmarshal(e.body, &c); err != nil {
				return nil, err
			}
			if c.EndedAt != nil {
				body.EndedAt, _ = json.Marshal(stampPtr(c.EndedAt)) // a time always marshals
			}
		}
	}
	body.Text = text.String()
	return encode(body)
}

func foldTool(it Item, entries []entry, b *blobs) (json.RawMessage, error) {
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(it.Body, &fields); err != nil {
		return nil, err
	}
	appended := map[int]*strings.Builder{}
	for _, e := range entries {
		switch e.kind {
		case ToolUpdated:
			var u ToolUpdate
			if err := json.Unmarshal(e.body, &u); err != nil {
				return nil, err
			}
			for k, v := range u.Set {
				if k == "content" {
					clear(appended)
				}
				fields[k] = v
			}
			if u.Append != nil && u.Append.Index >= 0 {
				if appended[u.Append.Index] == nil {
					appended[u.Append.Index] = new(strings.Builder)
				}
				appended[u.Append.Index].WriteString(u.Append.Text)
			}
		case ItemClosed:
			var c ClosedBody
			if err := json.Unmarshal(e.body, &c); err != nil {
				return nil, err
			}
			if c.Status != "" {
				fields["status"], _ = json.Marshal(c.Status) // a string always marshals
			}
			if c.EndedAt != nil {
				fields["ended_at"], _ = json.Marshal(stampPtr(c.EndedAt))
			}
		}
	}
	if len(appended) > 0 {
		content, err := appendContent(it.ID, fields["content"], appended, b)
		if err != nil {
			return nil, err
		}
		fields["content"] = content
	}
	return encode(fields)
}

// appendContent adds texts to the entries of a tool's content. An index behind
// the last entry makes a new one.
func appendContent(item string, raw json.RawMessage, appended map[int]*strings.Builder, b *blobs) (json.RawMessage, error) {
	var content []json.RawMessage
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &content); err != nil {
			return nil, fmt.Errorf("read content: %w", err)
		}
	}
	for _, i := range slices.Sorted(maps.Keys(appended)) {
		at := min(i, len(content))
		if at == len(content) {
			content = append(content, json.RawMessage(`{"type":"content","content":{"type":"text","text":""}}`))
		}
		longer, err := appendText(content[at], appended[i].String(), fmt.Sprintf("%s-c%d", item, at), b)
		if err != nil {
			return nil, fmt.Errorf("append to content %d: %w", i, err)
		}
		content[at] = longer
	}
	return encode(content)
}

// foldApproval replaces what an answer says.
func foldApproval(base json.RawMessage, entries []entry) (json.RawMessage, error) {
	var a Approval
	if err := json.Unmarshal(base, &a); err != nil {
		return nil, err
	}
	for _, e := range entries {
		if e.kind != ApprovalResolved {
			continue
		}
		var b ResolvedBody
		if err := json.Unmarshal(e.body, &b); err != nil {
			return nil, err
		}
		a.resolve(b)
	}
	return encode(a)
}

func (a *Approval) resolve(b ResolvedBody) {
	a.State, a.Chosen, a.By, a.Reason, a.Code = b.State, b.Chosen, b.By, b.Reason, b.Code
	a.AnsweredAt = &b.AnsweredAt
}

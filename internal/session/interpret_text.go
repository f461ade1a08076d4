package session

import (
	"unicode/utf8"

	"github.com/holdfast-dev/holdfast/internal/acp"
	"github.com/holdfast-dev/holdfast/internal/said"
	"github.com/holdfast-dev/holdfast/internal/store"
)

// text adds a chunk to the open item, or begins a new one.
func (in *interpreter) text(kind string, c acp.Chunk, e entry) error {
	text, ok := textOf(c.Content)
	if !ok {
		if err := in.flushText(); err != nil {
			return err
		}
		return in.appendRaw(e.rec.Data)
	}
	t := in.l.turn
	other := c.MessageID != "" && t.messageID != "" && c.MessageID != t.messageID
	if t.item != "" && (t.kind != kind || other) {
		if err := in.closeText(); err != nil {
			return err
		}
	}
	if c.MessageID != "" {
		t.messageID = c.MessageID
	}
	if text == "" {
		return nil
	}
	if t.item == "" {
		t.item, t.kind = newID("i"), kind
	}
	t.pending.WriteString(text)
	return nil
}

// textOf is what a chunk's block reads as.
func textOf(b acp.ContentBlock) (string, bool) {
	if s, ok := b.AsText(); ok {
		return s, true
	}
	switch b.Type {
	case acp.BlockResourceLink:
		name := b.Title
		if name == "" {
			name = b.Name
		}
		return "[" + name + "](" + b.URI + ")", true
	case acp.BlockResource:
		if b.Resource != nil && b.Resource.Text != nil {
			return *b.Resource.Text, true
		}
	}
	return "", false
}

// flushText puts the gathered text into events of at most 32 KiB.
func (in *interpreter) flushText() error {
	t := in.l.turn
	if t == nil || t.pending.Len() == 0 {
		return nil
	}
	kind := store.TextDelta
	if t.kind == store.ItemThought {
		kind = store.ThoughtDelta
	}
	text := t.pending.String()
	t.pending.Reset()
	for len(text) > 0 {
		n := cut(text, deltaBytes)
		if _, err := in.tx.Append(in.s.ID, t.run, kind, store.DeltaBody{Item: t.item, Text: text[:n]}); err != nil {
			return err
		}
		text = text[n:]
	}
	return nil
}

// cut is the length of the longest prefix of at most limit bytes that ends
// between two characters.
func cut(s string, limit int) int {
	if len(s) <= limit {
		return len(s)
	}
	for n := limit; n > limit-utf8.UTFMax; n-- {
		if utf8.RuneStart(s[n]) {
			return n
		}
	}
	return limit
}

// closeText closes the open text item.
func (in *interpreter) closeText() error {
	if err := in.flushText(); err != nil {
		return err
	}
	t := in.l.turn
	if t != nil && t.item != "" {
		body := store.ClosedBody{Item: t.item}
		if t.kind == store.ItemThought {
			now := in.tx.Now()
			body.EndedAt = &now
		}
		t.item, t.kind, t.messageID = "", "", ""
		if _, err := in.tx.Append(in.s.ID, t.run, store.ItemClosed, body); err != nil {
			return err
		}
	}
	return in.tellRestart()
}

// tellRestart marks in the transcript that the host was away, behind the item
// in which that was: a mark within a sentence would cut it in two.
func (in *interpreter) tellRestart() error {
	at := in.l.takenUp
	if at.IsZero() || in.told || in.run.ID == "" {
		return nil
	}
	in.told = true
	return appendNotice(in.tx, in.s.ID, in.run.ID, "info", said.HostRestarted(at), "")
}

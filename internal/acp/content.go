package acp

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Types of content blocks. Text and resource links are always allowed in a
// prompt, the others by PromptCapabilities.
const (
	BlockText         = "text"
	BlockImage        = "image"
	BlockAudio        = "audio"
	BlockResourceLink = "resource_link"
	BlockResource     = "resource"
)

// ContentBlock is one block of a message. Which fields count depends on Type.
// A block of a type that this package does not know has only Type and Raw, so
// that it is never taken for empty text.
type ContentBlock struct {
	Type string
	// Text is the text of a text block; ask AsText.
	Text string
	// Data is the base64 of an image or audio block.
	Data     string
	MimeType string
	// URI, Name, Title, Description and Size belong to a resource link; an
	// image may have a URI, too.
	URI, Name, Title, Description string
	Size                          *int64
	Resource                      *Resource
	// Annotations and Meta are carried, not read.
	Annotations, Meta json.RawMessage
	// Raw is the whole block if its type is unknown, else nil.
	Raw json.RawMessage
}

// Resource is an embedded resource: text, or a blob in base64.
type Resource struct {
	URI      string          `json:"uri"`
	MimeType string          `json:"mimeType,omitempty"`
	Text     *string         `json:"text,omitempty"`
	Blob     *string         `json:"blob,omitempty"`
	Meta     json.RawMessage `json:"_meta,omitzero"`
}

// TextBlock returns a text block.
func TextBlock(text string) ContentBlock { return ContentBlock{Type: BlockText, Text: text} }

// AsText returns the text of a text block; false for every other type.
func (b ContentBlock) AsText() (string, bool) { return b.Text, b.Type == BlockText }

// Known reports whether the block's type is one of this package's constants.
func (b ContentBlock) Known() bool { return b.Raw == nil && b.Type != "" }

type wireBlock struct {
	Type        string          `json:"type"`
	Text        *string         `json:"text,omitempty"`
	Data        *string         `json:"data,omitempty"`
	MimeType    *string         `json:"mimeType,omitempty"`
	URI         *string         `json:"uri,omitempty"`
	Name        *string         `json:"name,omitempty"`
	Title       *string         `json:"title,omitempty"`
	Description *string         `json:"description,omitempty"`
	Size        *int64          `json:"size,omitempty"`
	Resource    *Resource       `json:"resource,omitempty"`
	Annotations json.RawMessage `json:"annotations,omitzero"`
	Meta        json.RawMessage `json:"_meta,omitzero"`
}

// UnmarshalJSON fails for a block without a type, and for a known type whose
// required field is missing.
func (b *ContentBlock) UnmarshalJSON(raw []byte) error {
	kind, err := discriminator(raw, "type")
	if err != nil {
		return fmt.Errorf("decode content block: %w", err)
	}
	switch kind {
	case BlockText, BlockImage, BlockAudio, BlockResourceLink, BlockResource:
	default:
		*b = ContentBlock{Type: kind, Raw: append(json.RawMessage(nil), raw...)}
		return nil
	}
	var w wireBlock
	if err := json.Unmarshal(raw, &w); err != nil {
		return fmt.Errorf("decode %s block: %w", kind, err)
	}
	var missing bool
	switch kind {
	case BlockText:
		missing = w.Text == nil
	case BlockImage:
		missing = w.Data == nil && w.URI == nil
	case BlockAudio:
		missing = w.Data == nil
	case BlockResourceLink:
		missing = w.URI == nil
	case BlockResource:
		missing = w.Resource == nil
	}
	if missing {
		return fmt.Errorf("decode %s block: %w", kind, errNoContent)
	}
	*b = ContentBlock{
		Type: kind, Text: deref(w.Text), Data: deref(w.Data), MimeType: deref(w.MimeType),
		URI: deref(w.URI), Name: deref(w.Name), Title: deref(w.Title), Description: deref(w.Description),
		Size: w.Size, Resource: w.Resource, Annotations: dropNull(w.Annotations), Meta: dropNull(w.Meta),
	}
	return nil
}

// MarshalJSON writes an unknown block as it came.
func (b ContentBlock) MarshalJSON() ([]byte, error) {
	if b.Raw != nil {
		return b.Raw, nil
	}
	if b.Type == "" {
		return nil, errNoKind
	}
	w := wireBlock{
		Type: b.Type, MimeType: ref(b.MimeType), URI: ref(b.URI), Name: ref(b.Name), Title: ref(b.Title),
		Description: ref(b.Description), Size: b.Size, Resource: b.Resource, Annotations: b.Annotations, Meta: b.Meta,
	}
	switch b.Type {
	case BlockText:
		w.Text = &b.Text
	case BlockImage, BlockAudio:
		w.Data = &b.Data
	}
	return encode(w)
}

// Types of tool content.
const (
	ToolContentBlock    = "content"
	ToolContentDiff     = "diff"
	ToolContentTerminal = "terminal"
)

// ToolContent is one piece of what a tool shows. A piece of an unknown type
// has only Type and Raw.
type ToolContent struct {
	Type string
	// Content is set for ToolContentBlock.
	Content *ContentBlock
	// Diff is set for ToolContentDiff.
	Diff *Diff
	// TerminalID is set for ToolContentTerminal.
	TerminalID string
	Meta       json.RawMessage
	Raw        json.RawMessage
}

// Diff is a change of one file.
type Diff struct {
	Path string
	// OldText is nil for a new file.
	OldText *string
	NewText string
}

type wireToolContent struct {
	Type       string          `json:"type"`
	Content    *ContentBlock   `json:"content,omitempty"`
	Path       *string         `json:"path,omitempty"`
	OldText    *string         `json:"oldText,omitempty"`
	NewText    *string         `json:"newText,omitempty"`
	TerminalID string          `json:"terminalId,omitempty"`
	Meta       json.RawMessage `json:"_meta,omitzero"`
}

// TextContent returns tool content that is one text block.
func TextContent(text string) ToolContent {
	b := TextBlock(text)
	return ToolContent{Type: ToolContentBlock, Content: &b}
}

// DiffContent returns tool content that is a diff; a nil old means a new file.
func DiffContent(path string, old *string, text string) ToolContent {
	return ToolContent{Type: ToolContentDiff, Diff: &Diff{Path: path, OldText: old, NewText: text}}
}

// UnmarshalJSON fails for content without a type, and for a known type whose
// required field is missing.
func (c *ToolContent) UnmarshalJSON(raw []byte) error {
	kind, err := discriminator(raw, "type")
	if err != nil {
		return fmt.Errorf("decode tool content: %w", err)
	}
	switch kind {
	case ToolContentBlock, ToolContentDiff, ToolContentTerminal:
	default:
		*c = ToolContent{Type: kind, Raw: append(json.RawMessage(nil), raw...)}
		return nil
	}
	var w wireToolContent
	if err := json.Unmarshal(raw, &w); err != nil {
		return fmt.Errorf("decode tool content: %w", err)
	}
	*c = ToolContent{Type: kind, TerminalID: w.TerminalID, Meta: dropNull(w.Meta)}
	switch kind {
	case ToolContentBlock:
		if w.Content == nil {
			return fmt.Errorf("decode tool content: %w", errNoContent)
		}
		c.Content = w.Content
	case ToolContentDiff:
		if w.Path == nil || w.NewText == nil {
			return fmt.Errorf("decode diff: %w", errNoContent)
		}
		c.Diff = &Diff{Path: *w.Path, OldText: w.OldText, NewText: *w.NewText}
	}
	return nil
}

// MarshalJSON writes content of an unknown type as it came.
func (c ToolContent) MarshalJSON() ([]byte, error) {
	if c.Raw != nil {
		return c.Raw, nil
	}
	w := wireToolContent{Type: c.Type, Content: c.Content, TerminalID: c.TerminalID, Meta: c.Meta}
	if c.Diff != nil {
		w.Path, w.OldText, w.NewText = &c.Diff.Path, c.Diff.OldText, &c.Diff.NewText
	}
	return encode(w)
}

var (
	errNoKind    = errors.New("no type")
	errNoContent = errors.New("a required field is missing")
)

func discriminator(raw []byte, name string) (string, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return "", err
	}
	var kind string
	if err := json.Unmarshal(fields[name], &kind); err != nil || kind == "" {
		return "", errNoKind
	}
	return kind, nil
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func ref(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// dropNull makes an explicit null the same as an absent field.
func dropNull(raw json.RawMessage) json.RawMessage {
	if isNull(raw) {
		return nil
	}
	return raw
}

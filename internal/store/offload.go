package store

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

const (
	inlineMax = 256 << 10 // a longer output of a tool becomes a blob
	inlineEnd = 64 << 10  // and its last part stays in the body
)

// Truncated is what stands beside, or instead of, an output that is too long
// for an item's body: its length in bytes, and the id under which Blob gives it.
type Truncated struct {
	Truncated bool   `json:"truncated,omitempty"`
	Size      int    `json:"size,omitempty"`
	Blob      string `json:"blob,omitempty"`
}

// blobs collects outputs that leave a body, and gives earlier ones.
type blobs struct {
	load  func(id string) ([]byte, error)
	saved map[string][]byte
}

func (b *blobs) save(id string, data []byte) {
	if b.saved == nil {
		b.saved = map[string][]byte{}
	}
	b.saved[id] = data
}

// tail returns the last part of a text, cut between characters.
func tail(text string) string {
	if len(text) <= inlineEnd {
		return text
	}
	text = text[len(text)-inlineEnd:]
	for i := 0; i < utf8.UTFMax && i < len(text); i++ {
		if utf8.RuneStart(text[i]) {
			return text[i:]
		}
	}
	return text
}

// appendText adds text to a text entry of a tool's content. One that grows over
// inlineMax keeps its end; the whole is saved as blob id when b is not nil.
func appendText(raw json.RawMessage, text, id string, b *blobs) (json.RawMessage, error) {
	fields, inner := map[string]json.RawMessage{}, map[string]json.RawMessage{}
	var was string
	var cut Truncated
	if err := json.Unmarshal(raw, &fields); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(raw, &cut); err != nil {
		return nil, err
	}
	if c := fields["content"]; len(c) > 0 {
		if err := json.Unmarshal(c, &inner); err != nil {
			return nil, err
		}
	}
	if t := inner["text"]; len(t) > 0 {
		if err := json.Unmarshal(t, &was); err != nil {
			return nil, err
		}
	}
	size := len(was) + len(text)
	if cut.Truncated {
		size = cut.Size + len(text)
	}
	now := was + text
	if size > inlineMax {
		if b != nil {
			whole := []byte(was)
			if cut.Truncated {
				var err error
				if whole, err = b.load(cut.Blob); err != nil {
					return nil, err
				}
			}
			b.save(id, append(whole, text...))
		}
		now = tail(now)
		fields["truncated"] = json.RawMessage("true")
		fields["size"] = fmt.Appendf(nil, "%d", size)
		fields["blob"], _ = json.Marshal(id) // a string always marshals
	}
	var err error
	if inner["text"], err = encode(now); err != nil {
		return nil, err
	}
	if fields["content"], err = encode(inner); err != nil {
		return nil, err
	}
	return encode(fields)
}

// offload takes outputs over inlineMax out of the fields of a tool and returns
// whether it took any. Ids of blobs begin with prefix.
func offload(fields map[string]json.RawMessage, prefix string, b *blobs) (bool, error) {
	took := false
	for _, name := range []string{"raw_input", "raw_output"} {
		raw := fields[name]
		if len(raw) <= inlineMax {
			continue
		}
		whole, end := []byte(raw), ""
		var text string
		if json.Unmarshal(raw, &text) == nil {
			whole, end = []byte(text), tail(text)
		}
		id := prefix + "-" + name
		b.save(id, whole)
		short, err := encode(struct {
			Truncated
			Text string `json:"text,omitempty"`
		}{Truncated{true, len(whole), id}, end})
		if err != nil {
			return false, err
		}
		fields[name], took = short, true
	}
	if len(fields["content"]) <= inlineMax {
		return took, nil
	}
	var content []json.RawMessage
	if err := json.Unmarshal(fields["content"], &content); err != nil {
		return false, fmt.Errorf("read content: %w", err)
	}
	for i, raw := range content {
		if len(raw) <= inlineMax {
			continue
		}
		short, err := shorten(raw, fmt.Sprintf("%s-c%d", prefix, i), b)
		if err != nil {
			return false, fmt.Errorf("shorten content %d: %w", i, err)
		}
		content[i], took = short, true
	}
	var err error
	fields["content"], err = encode(content)
	return took, err
}

// shorten replaces one entry of a content: a text by its end, anything else (a
// diff, an image) by its type and path.
func shorten(raw json.RawMessage, id string, b *blobs) (json.RawMessage, error) {
	var e struct {
		Type    string          `json:"type"`
		Path    string          `json:"path,omitempty"`
		Content json.RawMessage `json:"content,omitempty"`
		Truncated
	}
	if err := json.Unmarshal(raw, &e); err != nil {
		return nil, err
	}
	var inner struct {
		Type string `json:"type"`
		Text string `json:"text"`
	}
	whole := []byte(raw)
	if json.Unmarshal(e.Content, &inner) == nil && inner.Type == "text" {
		if len(inner.Text) <= inlineMax {
			return raw, nil // long only by its escapes
		}
		whole = []byte(inner.Text)
		inner.Text = tail(inner.Text)
		var err error
		if e.Content, err = encode(inner); err != nil {
			return nil, err
		}
	} else {
		e.Content = nil
	}
	b.save(id, whole)
	e.Truncated = Truncated{true, len(whole), id}
	return encode(e)
}

// offloadEvent takes what is too long out of the body of a tool's event.
func offloadEvent(ev *Event, item string, b *blobs) error {
	if len(ev.Body) <= inlineMax || (ev.Kind != ToolStarted && ev.Kind != ToolUpdated) {
		return nil
	}
	prefix := fmt.Sprintf("%s-%d", item, ev.Seq)
	var body map[string]json.RawMessage
	if err := json.Unmarshal(ev.Body, &body); err != nil {
		return err
	}
	fields := body
	if ev.Kind == ToolUpdated {
		fields = map[string]json.RawMessage{}
		if set := body["set"]; len(set) > 0 {
			if err := json.Unmarshal(set, &fields); err != nil {
				return err
			}
		}
	}
	took, err := offload(fields, prefix, b)
	if err != nil || !took {
		return err
	}
	if ev.Kind == ToolUpdated {
		if body["set"], err = encode(fields); err != nil {
			return err
		}
	}
	ev.Body, err = encode(body)
	return err
}

// blobItem returns the item whose appended output has the blob id.
func blobItem(id string) (string, bool) {
	i := strings.LastIndex(id, "-c")
	if i <= 0 {
		return "", false
	}
	return id[:i], true
}

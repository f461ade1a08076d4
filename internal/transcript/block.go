package transcript

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"unicode"

	"github.com/aymanbagabas/go-udiff"

	"github.com/holdfast-dev/holdfast/internal/store"
)

// block is an item as a reader sees it, whatever the form that it is put into.
type block struct {
	kind  string
	text  string // of a message, an answer, a thought, a notice
	files []store.File
	level string // of a notice

	title   string // of a tool, an approval
	status  string // of a tool
	outputs []output
	entries []planEntry
	answer  string // of an approval
}

// output is a part of what a tool did.
type output struct {
	lang string // diff, sh, json, or "" for text
	text string
	left int // bytes before text that are not here
}

type planEntry struct {
	Content string `json:"content"`
	Status  string `json:"status"`
}

// body is what the bodies of all kinds of items may have.
type body struct {
	Text    string           `json:"text"`
	Files   []store.File     `json:"files"`
	Level   string           `json:"level"`
	Title   string           `json:"title"`
	Name    string           `json:"name"`
	Kind    string           `json:"kind"`
	Status  string           `json:"status"`
	Input   json.RawMessage  `json:"raw_input"`
	Output  json.RawMessage  `json:"raw_output"`
	Content []toolContent    `json:"content"`
	Entries []planEntry      `json:"entries"`
	State   string           `json:"state"`
	Chosen  string           `json:"chosen"`
	By      string           `json:"by"`
	Reason  string           `json:"reason"`
	Options []approvalOption `json:"options"`
}

type approvalOption struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

type toolContent struct {
	Type    string  `json:"type"`
	Path    string  `json:"path"`
	OldText *string `json:"oldText"`
	NewText string  `json:"newText"`
	Content struct {
		Type string `json:"type"`
		Text string `json:"text"`
		URI  string `json:"uri"`
	} `json:"content"`
	store.Truncated
}

// blockOf reads an item. What it does not know it leaves out.
func blockOf(it store.Item) block {
	out := block{kind: it.Kind}
	var b body
	if json.Unmarshal(it.Body, &b) != nil {
		// One field of a foreign type must not hide the rest.
		var text struct {
			Text  string `json:"text"`
			Title string `json:"title"`
		}
		_ = json.Unmarshal(it.Body, &text)
		b = body{Text: text.Text, Title: text.Title}
	}
	out.text, out.files, out.level, out.entries = b.Text, b.Files, b.Level, b.Entries
	out.title = oneLine(first(b.Title, b.Name, b.Kind))
	switch it.Kind {
	case store.ItemTool:
		out.status = b.Status
		out.outputs = outputs(&b)
	case store.ItemApproval:
		out.answer = answerOf(&b)
	}
	return out
}

func first(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

func answerOf(b *body) string {
	if b.State != store.ApprovalAnswered {
		return first(b.State, store.ApprovalPending)
	}
	text := b.Chosen
	for _, o := range b.Options {
		if o.ID == b.Chosen {
			text = o.Name
		}
	}
	return oneLine(text)
}

func outputs(b *body) []output {
	var list []output
	if command := commandOf(b); command != "" {
		list = append(list, output{lang: "sh", text: command})
	}
	said := false
	for _, c := range b.Content {
		switch {
		case c.Type == "diff":
			list = append(list, output{lang: "diff", text: diff(c)})
			said = true
		case c.Content.Text != "":
			o := output{text: plain(unfence(c.Content.Text))}
			if c.Truncated.Truncated {
				o.left = max(0, c.Size-len(c.Content.Text))
			}
			list = append(list, o)
			said = true
		case c.Content.URI != "":
			list = append(list, output{text: plain(c.Content.URI)})
			said = true
		}
	}
	if said {
		return list
	}
	if text := rawText(b.Output); text != "" {
		list = append(list, output{text: plain(text)})
	}
	return list
}

// commandOf is what a tool ran, where its title does not say it already.
func commandOf(b *body) string {
	if b.Kind != "execute" {
		return ""
	}
	var in map[string]json.RawMessage
	if json.Unmarshal(b.Input, &in) != nil {
		return ""
	}
	for _, key := range []string{"command", "cmd", "script"} {
		var text string
		var words []string
		if json.Unmarshal(in[key], &text) != nil && json.Unmarshal(in[key], &words) == nil {
			text = strings.Join(words, " ")
		}
		if text != "" {
			return plain(text)
		}
	}
	return ""
}

// rawText is what an agent gave only as its tool's own result.
func rawText(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(raw, &fields) != nil {
		return ""
	}
	for _, key := range []string{"output", "formatted_output", "aggregated_output", "stdout", "text", "stderr", "error"} {
		if json.Unmarshal(fields[key], &text) == nil && strings.TrimSpace(text) != "" {
			return text
		}
	}
	return ""
}

// diffMax is how much text is compared; the cost rises with its square.
const diffMax = 128 << 10

func diff(c toolContent) string {
	was, from := "", "/dev/null"
	if c.OldText != nil {
		was, from = *c.OldText, c.Path
	}
	path := oneLine(c.Path)
	if c.Truncated.Truncated || len(was)+len(c.NewText) > diffMax {
		return fmt.Sprintf("--- %s\n+++ %s\n(too long to be compared here)\n", oneLine(from), path)
	}
	text := udiff.Unified(oneLine(from), path, ended(was), ended(c.NewText))
	if text == "" {
		return fmt.Sprintf("--- %s\n+++ %s\n(no change)\n", oneLine(from), path)
	}
	return plain(text)
}

func ended(text string) string {
	if text == "" || strings.HasSuffix(text, "\n") {
		return text
	}
	return text + "\n"
}

var fence = regexp.MustCompile("(?s)^\\s*(`{3,})[^\\n`]*\\n(.*?)\\n?(`{3,})\\s*$")

// unfence takes off the one fence that encloses a text.
func unfence(text string) string {
	if m := fence.FindStringSubmatch(text); m != nil && m[1] == m[3] && !strings.Contains(m[2], m[1]) {
		return m[2]
	}
	return text
}

var escapes = regexp.MustCompile("\x1b(?:\\[[0-9;?]*[ -/]*[@-~]|\\][^\x07\x1b]*(?:\x07|\x1b\\\\)|[@-Z\\\\-_])")

// plain takes out of a program's output what would command a terminal.
func plain(text string) string {
	text = strings.ReplaceAll(text, "\r\n", "\n")
	if strings.ContainsRune(text, '\x1b') {
		text = escapes.ReplaceAllString(text, "")
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case r == '\r':
			return '\n'
		case unicode.IsControl(r):
			return -1
		}
		return r
	}, text)
}

func oneLine(text string) string { return strings.Join(strings.Fields(plain(text)), " ") }

// ending tells how a run ended, where that is not as it should be.
func ending(r store.Run) string {
	if r.State != store.RunStateEnded {
		return ""
	}
	text := map[string]string{
		store.Interrupted:   "Interrupted",
		store.Failed:        "Failed",
		store.Cancelled:     "Stopped",
		"refusal":           "Refused",
		"max_tokens":        "Ended at the limit of tokens",
		"max_turn_requests": "Ended at the limit of requests",
	}[r.Reason]
	if text != "" && r.Detail != "" {
		text += ": " + oneLine(r.Detail)
	}
	return text
}

// runs tells when to say how a run ended: when another one's items begin.
type runs struct{ last store.Run }

// next is told of each item and returns what is to be said before it.
func (r *runs) next(it store.Item, run store.Run) string {
	if it.Kind == store.ItemUser && run.ID != r.last.ID {
		// It may wait in the queue while the run before goes on.
		if run.StartedAt.IsZero() || !r.last.EndedAt.IsZero() && it.At.After(r.last.EndedAt) {
			return r.flush()
		}
		return ""
	}
	if run.ID == r.last.ID {
		return ""
	}
	text := r.flush()
	r.last = run
	return text
}

func (r *runs) flush() string {
	text := ending(r.last)
	r.last = store.Run{}
	return text
}

func cut(text string, lines, size int) string {
	if len(text) <= size && strings.Count(text, "\n") <= lines {
		return text
	}
	var b bytes.Buffer
	all := strings.SplitAfter(text, "\n")
	head, tail := lines/4, lines-lines/4
	if len(all) <= lines {
		// Few lines, but long ones.
		return clip(text, size/4) + fmt.Sprintf("\n… (%d bytes left out)\n", len(text)-size) + clipEnd(text, size-size/4)
	}
	for _, l := range all[:head] {
		b.WriteString(l)
	}
	fmt.Fprintf(&b, "… (%d lines left out)\n", len(all)-head-tail)
	for _, l := range all[len(all)-tail:] {
		b.WriteString(l)
	}
	if b.Len() > size+100 {
		return cut(b.String(), b.Len(), size)
	}
	return b.String()
}

func clip(text string, n int) string {
	for n > 0 && n < len(text) && text[n]&0xc0 == 0x80 {
		n--
	}
	return text[:min(n, len(text))]
}

func clipEnd(text string, n int) string {
	i := max(0, len(text)-n)
	for i < len(text) && text[i]&0xc0 == 0x80 {
		i++
	}
	return text[i:]
}

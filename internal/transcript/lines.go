package transcript

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast/internal/store"
)

// Version is that of the lines which are written; others are not read.
const Version = 1

// line is one line of a file: exactly one of its fields is set, and the
// session's is the first of a session's lines, the end's the last. A run stands
// before its first item, a file before the message that has it, an output after
// the tool that it is of.
type line struct {
	Session *Session `json:"session,omitempty"`
	Run     *Run     `json:"run,omitempty"`
	File    *File    `json:"file,omitempty"`
	Item    *Item    `json:"item,omitempty"`
	Blob    *Blob    `json:"blob,omitempty"`
	End     *End     `json:"end,omitempty"`
}

// Session is a session without what only its host knows.
type Session struct {
	Holdfast  int       `json:"holdfast"` // Version
	ID        string    `json:"id"`
	Title     string    `json:"title"`
	TitleSet  bool      `json:"title_set,omitempty"` // a person named it
	Agent     string    `json:"agent"`
	Cwd       string    `json:"cwd"`
	CreatedAt time.Time `json:"created_at"`
	Pinned    bool      `json:"pinned,omitempty"`
	Archived  bool      `json:"archived,omitempty"`
	Tags      []string  `json:"tags,omitempty"`
}

// Run is how a run of the agent ended.
type Run struct {
	ID        string     `json:"id"`
	Item      string     `json:"item"` // the message that it answers
	Reason    string     `json:"reason"`
	Detail    string     `json:"detail,omitempty"`
	QueuedAt  *time.Time `json:"queued_at,omitempty"`
	StartedAt *time.Time `json:"started_at,omitempty"`
	EndedAt   *time.Time `json:"ended_at,omitempty"`
}

// File is an attachment.
type File struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Type string `json:"type"`
	Data []byte `json:"data"` // base64
}

// Item is an item of the transcript. Its body is as the API has it, without the
// ids that its host gave out; a message names its files by theirs.
type Item struct {
	ID   string          `json:"id"`
	Run  string          `json:"run,omitempty"`
	Kind string          `json:"kind"`
	At   time.Time       `json:"at"`
	Body json.RawMessage `json:"body"`
}

// Blob is an output of a tool that was too long for the body which names it.
type Blob struct {
	ID   string `json:"id"`
	Item string `json:"item"`
	Data []byte `json:"data"` // base64
}

// End says that the session's lines are whole.
type End struct {
	Items int `json:"items"`
}

// linesWriter writes what is finished: what an agent is at work on, or waits
// for, is not in it, as in a fork.
type linesWriter struct {
	w     *bufio.Writer
	src   Source
	items int
	runs  map[string]bool // whose lines are written
	files map[string]bool
}

func (l *linesWriter) begin(s store.Session) error {
	return l.line(line{Session: &Session{
		Holdfast: Version, ID: s.ID, Title: s.Title, TitleSet: s.TitleSet, Agent: s.Agent, Cwd: s.Cwd, CreatedAt: began(s),
		Pinned: s.Pinned, Archived: s.Archived, Tags: s.Tags,
	}})
}

func (l *linesWriter) end() error { return l.line(line{End: &End{Items: l.items}}) }

func (l *linesWriter) line(v line) error {
	enc := json.NewEncoder(l.w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

func (l *linesWriter) item(ctx context.Context, it store.Item, run store.Run) error {
	if it.Open || pending(it) {
		return nil
	}
	out := Item{ID: it.ID, Kind: it.Kind, At: it.At.UTC(), Body: it.Body}
	if run.State == store.RunStateEnded {
		out.Run = run.ID
		if err := l.run(run); err != nil {
			return err
		}
	}
	switch it.Kind {
	case store.ItemUser:
		var err error
		if out.Body, err = l.message(ctx, it.Body); err != nil {
			return err
		}
	case store.ItemApproval:
		var err error
		if out.Body, err = without(it.Body, "item", "session", "run"); err != nil {
			return err
		}
	}
	l.items++
	if err := l.line(line{Item: &out}); err != nil {
		return err
	}
	return l.blobs(ctx, it)
}

func (l *linesWriter) run(r store.Run) error {
	if l.runs[r.ID] {
		return nil
	}
	l.runs[r.ID] = true
	return l.line(line{Run: &Run{
		ID: r.ID, Item: r.Item, Reason: r.Reason, Detail: r.Detail,
		QueuedAt: timePtr(r.QueuedAt), StartedAt: timePtr(r.StartedAt), EndedAt: timePtr(r.EndedAt),
	}})
}

func timePtr(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// message writes the files of a message and returns its body.
func (l *linesWriter) message(ctx context.Context, body json.RawMessage) (json.RawMessage, error) {
	var b store.MessageBody
	if err := json.Unmarshal(body, &b); err != nil {
		return nil, err
	}
	var files []string
	for _, id := range b.Attachments {
		a, err := l.src.Attachment(ctx, id)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		files = append(files, id)
		if l.files[id] {
			continue
		}
		l.files[id] = true
		if err := l.data("file", File{ID: a.ID, Name: a.Name, Type: a.MIME}, a.Data); err != nil {
			return nil, err
		}
	}
	return encode(Message{Text: b.Text, Files: files})
}

// Message is the body of a message's item in a file.
type Message struct {
	Text  string   `json:"text"`
	Files []string `json:"files,omitempty"` // ids of File lines
}

var blobName = regexp.MustCompile(`"blob":"([^"\\]+)"`)

func (l *linesWriter) blobs(ctx context.Context, it store.Item) error {
	if !bytes.Contains(it.Body, []byte(`"blob":"`+it.ID+"-")) {
		return nil
	}
	for _, m := range blobName.FindAllSubmatch(it.Body, -1) {
		id := string(m[1])
		if !strings.HasPrefix(id, it.ID+"-") {
			continue
		}
		data, err := l.src.Blob(ctx, id)
		if errors.Is(err, store.ErrNotFound) {
			continue // a word of the agent's own
		}
		if err != nil {
			return err
		}
		if err := l.data("blob", Blob{ID: id, Item: it.ID}, data); err != nil {
			return err
		}
	}
	return nil
}

// data writes a line whose last field is data, which is in memory only once.
func (l *linesWriter) data(kind string, v any, data []byte) error {
	head, err := encode(v)
	if err != nil {
		return err
	}
	const empty = `null}`
	if !bytes.HasSuffix(head, []byte(empty)) {
		return fmt.Errorf("write a %s: its data does not come last", kind)
	}
	fmt.Fprintf(l.w, `{"%s":%s"`, kind, head[:len(head)-len(empty)])
	enc := base64.NewEncoder(base64.StdEncoding, l.w)
	if _, err := enc.Write(data); err != nil {
		return err
	}
	if err := enc.Close(); err != nil {
		return err
	}
	_, err = io.WriteString(l.w, "\"}}\n")
	return err
}

// without takes fields out of an object.
func without(body json.RawMessage, names ...string) (json.RawMessage, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil {
		return nil, err
	}
	for _, name := range names {
		delete(fields, name)
	}
	return encode(fields)
}

// pending tells whether an item is a question that nobody has answered.
func pending(it store.Item) bool {
	var b struct {
		State string `json:"state"`
	}
	return it.Kind == store.ItemApproval && json.Unmarshal(it.Body, &b) == nil && b.State == store.ApprovalPending
}

// encode writes JSON without the escapes that HTML would need.
func encode(v any) (json.RawMessage, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimRight(buf.Bytes(), "\n"), err
}

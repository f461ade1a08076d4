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

// Version is the newest of the lines that are written and read. A file says the
// lowest one that reads it as it is: in 2 something may have been taken back,
// which who knows only 1 would show.
const (
	Version      = 2
	versionPlain = 1
)

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
	Rewound *Rewound `json:"rewound,omitempty"`
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

	Project    *Project      `json:"project,omitempty"`
	ForkedFrom *store.Origin `json:"forked_from,omitempty"` // its ids are those of the host that wrote the file
	Options    *store.Chosen `json:"options,omitempty"`     // what a person chose of the agent's
}

// Project is the one that a session was in.
type Project struct {
	Name  string `json:"name"`
	Cwd   string `json:"cwd"`
	Agent string `json:"agent,omitempty"`
}

// Rewound says that the message Item, and what stands between it and here, was
// taken back.
type Rewound struct {
	Item string `json:"item"`
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

// linesWriter writes all that there is. What an agent is at work on, or waits
// for, is in it as if it had been interrupted there, which for the file it was.
type linesWriter struct {
	w       *bufio.Writer
	src     Source
	last    time.Time // of the session's activity
	project *Project
	rewinds []store.Taken // whose lines are not written yet
	items   int
	runs    map[string]bool // whose lines are written
	files   map[string]bool
}

func (e *Exporter) linesWriter(ctx context.Context, w *bufio.Writer, s store.Session) (*linesWriter, error) {
	l := &linesWriter{w: w, src: e.Source, last: s.LastAt.UTC(), runs: map[string]bool{}, files: map[string]bool{}}
	var err error
	if l.rewinds, err = e.Source.Rewinds(ctx, s.ID); err != nil {
		return nil, err
	}
	l.project, err = e.project(ctx, s.Project)
	return l, err
}

// project is what the file says of a project, or nil where there is none. They
// are read once for all sessions of an archive.
func (e *Exporter) project(ctx context.Context, id string) (*Project, error) {
	if id == "" {
		return nil, nil
	}
	if e.projects == nil {
		list, err := e.Source.Projects(ctx)
		if err != nil {
			return nil, err
		}
		e.projects = map[string]*Project{}
		for _, p := range list {
			e.projects[p.ID] = &Project{Name: p.Name, Cwd: p.Cwd, Agent: p.Agent}
		}
	}
	return e.projects[id], nil
}

func (l *linesWriter) begin(s store.Session) error {
	out := &Session{
		Holdfast: Version, ID: s.ID, Title: s.Title, TitleSet: s.TitleSet, Agent: s.Agent, Cwd: s.Cwd, CreatedAt: began(s),
		Pinned: s.Pinned, Archived: s.Archived, Tags: s.Tags, Project: l.project, ForkedFrom: s.ForkedFrom,
	}
	if len(l.rewinds) == 0 { // nothing was taken back
		out.Holdfast = versionPlain
	}
	if len(s.Options) > 0 {
		var b store.OptionsBody
		if err := json.Unmarshal(s.Options, &b); err != nil {
			return fmt.Errorf("read options: %w", err)
		}
		out.Options = b.Chosen
	}
	return l.line(line{Session: out})
}

func (l *linesWriter) end() error {
	if err := l.rewound(1<<63 - 1); err != nil {
		return err
	}
	return l.line(line{End: &End{Items: l.items}})
}

// rewound writes what was taken back before an item.
func (l *linesWriter) rewound(before int64) error {
	for len(l.rewinds) > 0 && l.rewinds[0].Seq < before {
		if err := l.line(line{Rewound: &Rewound{Item: l.rewinds[0].Item}}); err != nil {
			return err
		}
		l.rewinds = l.rewinds[1:]
	}
	return nil
}

func (l *linesWriter) line(v line) error {
	enc := json.NewEncoder(l.w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

func (l *linesWriter) item(ctx context.Context, it store.Item, run store.Run) error {
	if err := l.rewound(it.Seq); err != nil {
		return err
	}
	if it.Open || pending(it) {
		var err error
		if it.Body, err = l.cutOff(it); err != nil {
			return err
		}
	}
	out := Item{ID: it.ID, Kind: it.Kind, At: it.At.UTC(), Body: it.Body}
	if run.State == store.RunStateEnded || run.State == store.RunStateCurrent {
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
	if r.State == store.RunStateCurrent {
		r.Reason, r.Detail, r.EndedAt = store.Interrupted, "It was under way when the session was exported.", l.last
	}
	return l.line(line{Run: &Run{
		ID: r.ID, Item: r.Item, Reason: r.Reason, Detail: r.Detail,
		QueuedAt: timePtr(r.QueuedAt), StartedAt: timePtr(r.StartedAt), EndedAt: timePtr(r.EndedAt),
	}})
}

// cutOff is the body of what is not finished, as an interruption leaves it.
func (l *linesWriter) cutOff(it store.Item) (json.RawMessage, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(it.Body, &fields); err != nil {
		return nil, err
	}
	set := func(name string, value any) (err error) {
		fields[name], err = encode(value)
		return err
	}
	var err error
	switch it.Kind {
	case store.ItemTool:
		err = errors.Join(set("status", "cancelled"), set("ended_at", l.last))
	case store.ItemThought:
		err = set("ended_at", l.last)
	case store.ItemApproval:
		err = errors.Join(set("state", store.ApprovalCancelled), set("reason", "The session was exported before it was answered."), set("answered_at", l.last))
	}
	if err != nil {
		return nil, err
	}
	return encode(fields)
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
	out := Message{Text: b.Text, Files: files}
	if b.Steer != nil {
		out.Steer = b.Steer.State
	}
	return encode(out)
}

// Message is the body of a message's item in a file.
type Message struct {
	Text  string   `json:"text"`
	Files []string `json:"files,omitempty"` // ids of File lines
	Steer string   `json:"steer,omitempty"` // it was said into a run under way: the state of that
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

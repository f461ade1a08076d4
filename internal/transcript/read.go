package transcript

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/holdfast-dev/holdfast/internal/store"
)

// LineMax is the longest line that is read, in bytes: an attachment or the
// longest output that a keeper takes, in base64.
const LineMax = 100 << 20

// Visitor is given what a file holds, in order. What it gets was checked: an
// item's kind is known, its body is an object, and the run and the files that it
// names came before it. An error ends the reading.
type Visitor interface {
	Session(Session) error
	Run(Run) error
	File(File) error
	Item(Item) error
	// Blob's id begins with that of its item, which came last, and a hyphen.
	Blob(Blob) error
	// Rewound's item is a message that came and was not taken back before.
	Rewound(Rewound) error
	End() error
}

// LineError says where a file is wrong, and why, for a person.
type LineError struct {
	Line int
	Text string
}

// Error returns the text with its line.
func (e *LineError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Text) }

// Read reads the sessions of a file, of which there must be one at least. A nil
// Visitor only has the file checked. What is wrong with the file is a
// *LineError.
func Read(r io.Reader, v Visitor) error {
	in := bufio.NewReaderSize(r, 64<<10)
	f := &reader{v: v}
	for {
		text, err := readLine(in)
		if len(text) > 0 {
			f.line++
		}
		if errors.Is(err, errLong) {
			return f.wrong("it has more than %d MB; this is no export of Holdfast", LineMax>>20)
		}
		last := errors.Is(err, io.EOF)
		if err != nil && !last {
			return fmt.Errorf("read file: %w", err)
		}
		if len(bytes.TrimSpace(text)) > 0 {
			if err := f.take(text); err != nil {
				return err
			}
		}
		switch {
		case !last:
		case f.open:
			return f.wrong("the file ends here, in the middle of a session; export it again")
		case f.sessions == 0:
			return f.wrong("the file is empty")
		default:
			return nil
		}
	}
}

var errLong = errors.New("line too long")

func readLine(in *bufio.Reader) (text []byte, err error) {
	for {
		part, err := in.ReadSlice('\n')
		if len(text)+len(part) > LineMax {
			return text, errLong
		}
		text = append(text, part...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return text, err
		}
	}
}

// reader knows what the lines before said.
type reader struct {
	v        Visitor
	line     int
	sessions int
	open     bool // in a session
	items    int  // of it
	runs     map[string]bool
	files    map[string]bool
	blobs    map[string]bool // of the last item
	last     string          // item
	messages []string        // that were not taken back
}

func (f *reader) wrong(format string, args ...any) error {
	return &LineError{Line: max(f.line, 1), Text: fmt.Sprintf(format, args...)}
}

func (f *reader) take(text []byte) error {
	var l line
	if err := json.Unmarshal(text, &l); err != nil {
		if f.sessions == 0 {
			return f.wrong("it is not the first line of an export of Holdfast: %v", err)
		}
		return f.wrong("it cannot be read: %v", err)
	}
	kinds := 0
	for _, set := range []bool{l.Session != nil, l.Run != nil, l.File != nil, l.Item != nil, l.Blob != nil, l.Rewound != nil, l.End != nil} {
		if set {
			kinds++
		}
	}
	switch {
	case l.Session == nil && f.sessions == 0:
		return f.wrong(`it is not the first line of an export of Holdfast, which begins with {"session":{"holdfast":%d`, versionPlain)
	case kinds != 1:
		return f.wrong("it is none of session, run, file, item, blob, rewound and end")
	case (l.Session == nil) != f.open:
		if f.open {
			return f.wrong("a session begins before the one before it has ended")
		}
		return f.wrong("it stands after the end of a session")
	}
	switch {
	case l.Session != nil:
		return f.session(l.Session)
	case l.Run != nil:
		return f.run(l.Run)
	case l.File != nil:
		return f.file(l.File)
	case l.Item != nil:
		return f.item(l.Item)
	case l.Blob != nil:
		return f.blob(l.Blob)
	case l.Rewound != nil:
		return f.rewound(l.Rewound)
	}
	return f.end(l.End)
}

func (f *reader) session(s *Session) error {
	switch {
	case s.Holdfast < versionPlain || s.Holdfast > Version:
		return f.wrong("it is of version %d of the format; this Holdfast reads up to version %d. A newer Holdfast may read it.", s.Holdfast, Version)
	case s.ID == "" || s.Agent == "" || s.CreatedAt.IsZero():
		return f.wrong("a session has an id, an agent and the time at which it was made")
	case len(s.ID) > 200 || len(s.Agent) > 200 || len(s.Cwd) > 4096 || len(s.Title) > 4000:
		return f.wrong("the session's id, agent, folder or title is too long")
	case s.Project != nil && (s.Project.Cwd == "" || len(s.Project.Cwd) > 4096 || len(s.Project.Name) > 200 || len(s.Project.Agent) > 200):
		return f.wrong("the session's project has no folder, or one of its names is too long")
	case s.ForkedFrom != nil && (s.ForkedFrom.Session == "" || len(s.ForkedFrom.Session) > 200 || len(s.ForkedFrom.Item) > 200):
		return f.wrong("the session has a beginning from another one that has no id")
	}
	if s.Options != nil {
		if err := s.Options.Check(); err != nil {
			return f.wrong("what was chosen of the agent's options: %v", err)
		}
	}
	f.sessions++
	f.open, f.items, f.last, f.messages = true, 0, "", nil
	f.runs, f.files, f.blobs = map[string]bool{}, map[string]bool{}, map[string]bool{}
	if f.v == nil {
		return nil
	}
	return f.v.Session(*s)
}

func (f *reader) run(r *Run) error {
	if r.ID == "" || f.runs[r.ID] {
		return f.wrong("the run has no id, or one that there was before")
	}
	f.runs[r.ID] = true
	if f.v == nil {
		return nil
	}
	return f.v.Run(*r)
}

func (f *reader) file(a *File) error {
	switch {
	case a.ID == "" || f.files[a.ID]:
		return f.wrong("the file has no id, or one that there was before")
	case len(a.Data) > store.AttachmentMax:
		return f.wrong("the file %.100q has more than %d MB", a.Name, store.AttachmentMax>>20)
	}
	f.files[a.ID] = true
	if f.v == nil {
		return nil
	}
	return f.v.File(*a)
}

var itemKinds = []string{
	store.ItemUser, store.ItemAssistant, store.ItemThought, store.ItemTool, store.ItemPlan, store.ItemApproval, store.ItemNotice,
}

func (f *reader) item(it *Item) error {
	var fields map[string]json.RawMessage
	switch {
	case it.ID == "" || len(it.ID) > 200:
		return f.wrong("the item has no id")
	case !slices.Contains(itemKinds, it.Kind):
		return f.wrong("there is no kind of item %.40q", it.Kind)
	case it.At.IsZero():
		return f.wrong("the item has no time")
	case it.Run != "" && !f.runs[it.Run]:
		return f.wrong("the item belongs to the run %.40q, of which no line before it tells", it.Run)
	case json.Unmarshal(it.Body, &fields) != nil || fields == nil:
		return f.wrong("the item's body is not an object")
	case pending(store.Item{Kind: it.Kind, Body: it.Body}):
		return f.wrong("the question was not answered; an export has only those that were")
	}
	if it.Kind == store.ItemUser {
		var m Message
		if err := json.Unmarshal(it.Body, &m); err != nil {
			return f.wrong("the message cannot be read: %v", err)
		}
		for _, id := range m.Files {
			if !f.files[id] {
				return f.wrong("the message has the file %.40q, which no line before it holds", id)
			}
		}
	}
	if it.Kind == store.ItemUser {
		f.messages = append(f.messages, it.ID)
	}
	f.items++
	f.last = it.ID
	clear(f.blobs)
	if f.v == nil {
		return nil
	}
	return f.v.Item(*it)
}

func (f *reader) blob(b *Blob) error {
	switch {
	case b.Item == "" || b.Item != f.last:
		return f.wrong("the output does not follow the item that it is of")
	case len(b.ID) <= len(b.Item)+1 || len(b.ID) > len(b.Item)+100 || b.ID[:len(b.Item)+1] != b.Item+"-" || f.blobs[b.ID]:
		return f.wrong("the output's id does not begin with its item's, or was there before")
	}
	f.blobs[b.ID] = true
	if f.v == nil {
		return nil
	}
	return f.v.Blob(*b)
}

func (f *reader) rewound(r *Rewound) error {
	at := slices.Index(f.messages, r.Item)
	if at < 0 {
		return f.wrong("what was taken back is no message before it, or was taken back already")
	}
	// Which others it takes with it is known to who reads the session: they may have been read in another order.
	f.messages, f.last = slices.Delete(f.messages, at, at+1), ""
	if f.v == nil {
		return nil
	}
	return f.v.Rewound(*r)
}

func (f *reader) end(e *End) error {
	if e.Items != f.items {
		return f.wrong("the session should have %d items, and the file has %d of them; export it again", e.Items, f.items)
	}
	f.open = false
	if f.v == nil {
		return nil
	}
	return f.v.End()
}

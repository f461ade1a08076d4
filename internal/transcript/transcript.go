// Package transcript writes sessions as files that people keep, and reads back
// those of them that hold everything.
//
// It knows how a transcript looks in Markdown, in HTML and as lines of JSON. It
// holds a page of items in memory at a time, whatever the length of a session,
// and changes nothing: what is read is handed to a Visitor.
package transcript

import (
	"archive/zip"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"
	"unicode"

	"github.com/holdfast-dev/holdfast/internal/store"
)

// Format is a kind of file.
type Format string

// The formats. Lines alone can be read back.
const (
	Markdown Format = "md"
	HTML     Format = "html"
	Lines    Format = "jsonl"
)

// ContentType is the format's media type.
func (f Format) ContentType() string {
	switch f {
	case Markdown:
		return "text/markdown; charset=utf-8"
	case HTML:
		return "text/html; charset=utf-8"
	case Lines:
		return "application/x-ndjson"
	}
	return "application/octet-stream"
}

// Source is where sessions are read. *store.Store implements it.
type Source interface {
	Session(ctx context.Context, id string) (store.Session, error)
	TranscriptAfter(ctx context.Context, session string, after int64, all bool) ([]store.Item, []store.Run, error)
	Answers(ctx context.Context, session string) (first map[string]int64, last int64, err error)
	Rewinds(ctx context.Context, session string) ([]store.Taken, error)
	Projects(ctx context.Context) ([]store.Project, error)
	Attachment(ctx context.Context, id string) (store.Attachment, error)
	Blob(ctx context.Context, id string) ([]byte, error)
}

var _ Source = (*store.Store)(nil)

// Exporter writes sessions of a source, one after another.
type Exporter struct {
	Source Source
	Format Format
	// AgentName is what people call an agent of the catalogue; nil takes its id.
	AgentName func(id string) string

	projects map[string]*Project // by id; nil: not read yet
}

// writer puts one session into its form.
type writer interface {
	begin(s store.Session) error
	// item writes an item. run is the one that it belongs to, or zero.
	item(ctx context.Context, it store.Item, run store.Run) error
	// end is called once, after the last item.
	end() error
}

func (e *Exporter) writer(ctx context.Context, w *bufio.Writer, s store.Session) (writer, error) {
	name := e.AgentName
	if name == nil {
		name = func(id string) string { return id }
	}
	switch e.Format {
	case Markdown:
		return &mdWriter{w: w, agent: name}, nil
	case HTML:
		return &htmlWriter{w: w, src: e.Source, agent: name}, nil
	case Lines:
		return e.linesWriter(ctx, w, s)
	}
	return nil, fmt.Errorf("there is no format %q", e.Format)
}

// Write writes one session. It fails with store.ErrNotFound where the session
// is gone, also when it goes in the middle: then what was written is not whole.
func (e *Exporter) Write(ctx context.Context, w io.Writer, s store.Session) error {
	buf := bufio.NewWriterSize(w, 32<<10)
	out, err := e.writer(ctx, buf, s)
	if err != nil {
		return err
	}
	if err := out.begin(s); err != nil {
		return err
	}
	// With nothing in First it is the log's, as in lines, but for what was said
	// into a run: there the event that tells where is none of the lines.
	var order Order
	if e.Format != Lines {
		if order.First, _, err = e.Source.Answers(ctx, s.ID); err != nil {
			return err
		}
	}
	var runs map[string]store.Run
	for after := int64(0); ; {
		items, list, err := e.Source.TranscriptAfter(ctx, s.ID, after, e.Format == Lines)
		if err != nil {
			return err
		}
		if len(items) == 0 {
			break
		}
		before := runs
		runs = make(map[string]store.Run, len(list))
		for _, it := range order.Held() {
			runs[it.Run] = before[it.Run]
		}
		for _, r := range list {
			runs[r.ID] = r
		}
		for _, it := range items {
			if err := ctx.Err(); err != nil {
				return err
			}
			// A message comes with its run's first item, which has it on its page.
			for _, it := range order.Take(it) {
				if err := out.item(ctx, it, runs[it.Run]); err != nil {
					return fmt.Errorf("write item %s: %w", it.ID, err)
				}
			}
		}
		after = items[len(items)-1].Seq
	}
	for _, it := range order.Until(math.MaxInt64) { // nothing came after them, or it was taken back meanwhile
		if err := out.item(ctx, it, runs[it.Run]); err != nil {
			return fmt.Errorf("write item %s: %w", it.ID, err)
		}
	}
	if err := out.end(); err != nil {
		return err
	}
	return buf.Flush()
}

// WriteAll writes a zip archive with a file for each of the sessions. One that
// has gone meanwhile is left out.
func (e *Exporter) WriteAll(ctx context.Context, w io.Writer, ids []string) error {
	z := zip.NewWriter(w)
	for _, id := range ids {
		s, err := e.Source.Session(ctx, id)
		if errors.Is(err, store.ErrNotFound) || err == nil && s.DeletedAt != nil {
			continue
		}
		if err != nil {
			return err
		}
		entry, err := z.CreateHeader(&zip.FileHeader{Name: e.FileName(s), Method: zip.Deflate, Modified: s.LastAt})
		if err != nil {
			return fmt.Errorf("write archive: %w", err)
		}
		if err := e.Write(ctx, entry, s); err != nil {
			return fmt.Errorf("write session %s: %w", id, err)
		}
	}
	if err := z.Close(); err != nil {
		return fmt.Errorf("write archive: %w", err)
	}
	return nil
}

// FileName is a name for the file of a session that every system takes: the
// day, the title's words, and the session's id.
func (e *Exporter) FileName(s store.Session) string {
	name := began(s).UTC().Format(time.DateOnly)
	if words := slug(s.Title); words != "" {
		name += "-" + words
	}
	return name + "-" + slug(s.ID) + "." + string(e.Format)
}

// ArchiveName is a name for the archive of all sessions.
func (e *Exporter) ArchiveName(now time.Time) string {
	return "holdfast-" + now.Format(time.DateOnly) + "-" + string(e.Format) + ".zip"
}

// began is when a session was made, wherever that was.
func began(s store.Session) time.Time {
	if s.Imported != nil {
		return s.Imported.CreatedAt
	}
	return s.CreatedAt
}

// slug keeps letters and digits of a text, in small letters and with hyphens
// for all else.
func slug(text string) string {
	var b strings.Builder
	gap := false
	for _, r := range strings.ToLower(text) {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			gap = b.Len() > 0
			continue
		}
		if b.Len() >= 60 {
			break
		}
		if gap {
			b.WriteByte('-')
			gap = false
		}
		b.WriteRune(r)
	}
	return b.String()
}

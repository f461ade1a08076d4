// Package obs sets up the log: text to stderr for the supervisor and to a file
// that rotates, and the last lines in memory for the page and the crash folder.
// It opens no file but the log's own, and a log that cannot be written must not
// stop anything.
package obs

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"
)

// foldFor is how long lines with the same message are folded into a count.
const foldFor = 10 * time.Second

// foldBurst is how many equal lines pass before they are folded.
const foldBurst = 5

// maxMessages bounds the messages that folding remembers.
const maxMessages = 256

// Log is the process's log. Its Level may be changed while it runs.
type Log struct {
	*slog.Logger
	Level *slog.LevelVar
	Ring  *Ring
}

// New makes a log that writes text to w and keeps the last lines.
func New(w io.Writer, lines int) *Log {
	level := &slog.LevelVar{}
	ring := NewRing(lines)
	text := slog.NewTextHandler(&both{w: w, ring: ring}, &slog.HandlerOptions{Level: level})
	return &Log{
		Logger: slog.New(&folding{Handler: text, state: &foldState{seen: map[foldKey]*folded{}}}),
		Level:  level,
		Ring:   ring,
	}
}

// both writes each line to the ring and to the underlying writer. The ring
// comes first: it must have the line also where stderr is a closed pipe.
type both struct {
	w    io.Writer
	ring *Ring
}

func (b *both) Write(p []byte) (int, error) {
	b.ring.add(p)
	return b.w.Write(p)
}

// Ring keeps the last lines.
type Ring struct {
	mu    sync.Mutex
	lines []string
	next  int
	full  bool
}

// maxLine bounds one kept line, in bytes, so that the ring's memory is bounded.
const maxLine = 2048

// NewRing makes a ring of n lines, n at least 1.
func NewRing(n int) *Ring { return &Ring{lines: make([]string, max(n, 1))} }

func (r *Ring) add(p []byte) {
	p = bytes.TrimRight(p, "\n")
	if len(p) > maxLine {
		p = p[:maxLine]
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines[r.next] = string(p)
	r.next++
	if r.next == len(r.lines) {
		r.next, r.full = 0, true
	}
}

// Lines returns the kept lines, oldest first.
func (r *Ring) Lines() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.full {
		return append([]string(nil), r.lines[:r.next]...)
	}
	return append(append([]string(nil), r.lines[r.next:]...), r.lines[:r.next]...)
}

type foldKey struct {
	level slog.Level
	text  string
}

type folded struct {
	since   time.Time
	count   int
	dropped int
}

type foldState struct {
	mu   sync.Mutex
	seen map[foldKey]*folded
}

// folding lets the first few lines with one message through, then drops its
// repeats for a while and says how many there were: a loop that fails must not
// fill the disk. What differs is the attributes; the first lines show them.
type folding struct {
	slog.Handler
	state *foldState
}

func (f *folding) Handle(ctx context.Context, r slog.Record) error {
	pass, dropped := f.state.take(foldKey{r.Level, r.Message}, r.Time)
	if !pass {
		return nil
	}
	if dropped > 0 {
		r = r.Clone()
		r.AddAttrs(slog.String("folded", fmt.Sprintf("%d equal lines before this", dropped)))
	}
	return f.Handler.Handle(ctx, r)
}

func (s *foldState) take(key foldKey, now time.Time) (pass bool, dropped int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.seen[key]
	if e == nil {
		if len(s.seen) >= maxMessages {
			for k, old := range s.seen {
				if age := now.Sub(old.since); age >= time.Hour || (age >= foldFor && old.dropped == 0) {
					delete(s.seen, k)
				}
			}
			if len(s.seen) >= maxMessages {
				return true, 0
			}
		}
		s.seen[key] = &folded{since: now, count: 1}
		return true, 0
	}
	if now.Sub(e.since) >= foldFor {
		dropped = e.dropped
		*e = folded{since: now, count: 1}
		return true, dropped
	}
	e.count++
	if e.count <= foldBurst {
		return true, 0
	}
	e.dropped++
	return false, 0
}

func (f *folding) WithAttrs(a []slog.Attr) slog.Handler {
	return &folding{Handler: f.Handler.WithAttrs(a), state: f.state}
}

func (f *folding) WithGroup(name string) slog.Handler {
	return &folding{Handler: f.Handler.WithGroup(name), state: f.state}
}

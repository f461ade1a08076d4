package keeper

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast/internal/failpoint"
)

const (
	longLine   = 1 << 20   // after one of these memory is given back
	maxWaiting = 128 << 20 // bytes accepted and not written
)

// inbox takes the host's lines in their order and writes them to the agent's
// stdin, with a note on disk before and after each.
type inbox struct {
	stdin   io.WriteCloser
	notes   *noteWriter
	written func(n uint64, at time.Time) // called without a lock

	mu      sync.Mutex
	cond    sync.Cond
	sums    []uint32 // Checksum of each line accepted
	queue   []Line   // accepted and not begun
	waiting int      // bytes in it
	intent  uint64
	done    uint64 // the last one written
	runs    map[string]bool
	runOver time.Duration // when the last run ended, in proc.Monotonic
	closing bool
}

func newInbox(stdin io.WriteCloser, notes *noteWriter, written func(uint64, time.Time)) *inbox {
	b := &inbox{stdin: stdin, notes: notes, written: written, runs: map[string]bool{}}
	b.cond.L = &b.mu
	return b
}

// accept takes the next line, or finds that it has it. Every error wraps
// ErrProtocol.
func (b *inbox) accept(l Line) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	last := uint64(len(b.sums))
	switch {
	case l.N == 0 || l.N > last+1:
		return fmt.Errorf("%w: line %d where %d must come", ErrProtocol, l.N, last+1)
	case l.N <= last && l.Void:
		b.void(l.N)
		return nil
	case l.N <= last && Checksum(l.Data) != b.sums[l.N-1]:
		return fmt.Errorf("%w: line %d is not the one that was accepted", ErrProtocol, l.N)
	case l.N <= last:
		return nil
	case b.waiting+len(l.Data) > maxWaiting:
		return fmt.Errorf("%w: the agent does not read, and %d bytes wait for it", ErrProtocol, b.waiting)
	case bytes.IndexByte(l.Data, '\n') >= 0:
		return fmt.Errorf("%w: line %d holds a newline", ErrProtocol, l.N)
	}
	b.sums = append(b.sums, Checksum(l.Data))
	if l.Void {
		l.Data, l.Ends = nil, ""
	}
	if l.Ends != "" {
		b.runs[l.Ends] = true
	}
	b.queue = append(b.queue, l)
	b.waiting += len(l.Data)
	b.cond.Signal()
	return nil
}

// void empties a line that is accepted and not begun. It needs mu.
func (b *inbox) void(n uint64) {
	for i := range b.queue {
		if l := &b.queue[i]; l.N == n && !l.Void {
			b.waiting -= len(l.Data)
			delete(b.runs, l.Ends)
			*l = Line{N: n, Void: true}
		}
	}
}

// next waits for a line and marks it as begun; false when the inbox has closed.
func (b *inbox) next() (Line, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.queue) == 0 && !b.closing {
		b.cond.Wait()
	}
	if len(b.queue) == 0 {
		return Line{}, false
	}
	l := b.queue[0]
	b.queue[0] = Line{}
	b.queue = b.queue[1:]
	b.waiting -= len(l.Data)
	b.intent = l.N
	return l, true
}

// run writes lines until finish is called and all are written, or the agent
// takes no more. It closes stdin.
func (b *inbox) run(failed func(error)) {
	defer b.stdin.Close()
	for {
		l, ok := b.next()
		if !ok {
			return
		}
		b.notes.append(noteIntent, l.N, time.Now())
		failpoint.Hit("keeper.intent")
		if !l.Void {
			size := len(l.Data)
			if _, err := b.stdin.Write(append(l.Data, '\n')); err != nil {
				failed(fmt.Errorf("write line %d to the agent: %w", l.N, err))
				return
			}
			l.Data = nil
			if size >= longLine {
				debug.FreeOSMemory()
			}
		}
		at := time.Now().UTC()
		failpoint.Hit("keeper.write")
		b.notes.append(noteWritten, l.N, at)
		b.mu.Lock()
		b.done = l.N
		b.mu.Unlock()
		b.written(l.N, at)
	}
}

// finish closes the agent's stdin once what was accepted is written.
func (b *inbox) finish() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closing = true
	b.cond.Broadcast()
}

// abort closes the agent's stdin now, also under a write that hangs.
func (b *inbox) abort() {
	b.finish()
	b.stdin.Close()
}

// state returns what a hello tells.
func (b *inbox) state() (in LineRef, intent, written uint64, running bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n := len(b.sums); n > 0 {
		in = LineRef{N: uint64(n), Sum: b.sums[n-1]}
	}
	return in, b.intent, b.done, len(b.runs) > 0
}

// running tells whether a run is under way, and else since when none is.
func (b *inbox) running() (bool, time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.runs) > 0, b.runOver
}

// responded ends the run that waits for the response with this raw id, and
// tells whether there was one.
func (b *inbox) responded(id string, now time.Duration) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.runs[id] {
		return false
	}
	delete(b.runs, id)
	b.runOver = now
	return true
}

// noteWriter appends notes. It is used by one goroutine.
type noteWriter struct {
	f      *os.File
	size   int64
	bad    bool
	insist func(what string, do func() error)
}

// append writes a note, trying for ever: a line must not go into the agent
// without its note.
func (w *noteWriter) append(what byte, n uint64, at time.Time) {
	note := appendNote(nil, what, n, at)
	w.insist("note a line", func() error {
		if w.bad {
			if err := w.f.Truncate(w.size); err != nil {
				return err
			}
		}
		_, err := w.f.Write(note)
		w.bad = err != nil
		return err
	})
	w.size += int64(len(note))
}

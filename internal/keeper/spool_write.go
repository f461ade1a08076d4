package keeper

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast/internal/failpoint"
)

type segment struct {
	first uint64 // number of the first record
	size  int64  // bytes that are whole chunks, once and for all
}

// spoolWriter appends records and drops segments. One goroutine at a time
// appends; everything else may be called from any.
type spoolWriter struct {
	dir         string
	limit       int64 // bytes on disk; a record begun below it is written whole
	segmentSize int64
	committed   func()       // called after each chunk
	trouble     func(Status) // told of a full disk or spool, and of its end

	f   *os.File // the last segment; the appending goroutine's
	buf []byte
	bad bool // there may be bytes after the last whole chunk

	mu      sync.Mutex
	cond    sync.Cond // trimmed or lifted changed
	segs    []segment // never empty
	total   int64
	last    uint64 // the last whole record
	trimmed uint64
	lifted  bool

	dirty chan struct{} // capacity 1: something is to be synced
}

// newSpoolWriter begins the spool of a new life. A folder that holds another's
// is refused.
func newSpoolWriter(dir string, limit, segmentSize int64, committed func(), trouble func(Status)) (*spoolWriter, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make spool: %w", err)
	}
	s := &spoolWriter{
		dir: dir, limit: limit, segmentSize: segmentSize, committed: committed, trouble: trouble,
		dirty: make(chan struct{}, 1),
	}
	s.cond.L = &s.mu
	f, err := s.create(1)
	if err != nil {
		return nil, err
	}
	s.f = f
	s.segs = []segment{{first: 1}}
	return s, nil
}

func (s *spoolWriter) create(first uint64) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(s.dir, segmentName(first)), os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("create segment: %w", err)
	}
	return f, nil
}

// record is one being written.
type record struct {
	s     *spoolWriter
	c     chunk
	begun bool
}

// begin starts the next record. It waits while the spool is over its limit,
// and for ever on a full disk: nothing that the agent said is dropped.
func (s *spoolWriter) begin(kind Kind) *record {
	s.room(kind == KindLine)
	s.mu.Lock()
	n := s.last + 1
	s.mu.Unlock()
	return &record{s: s, c: chunk{kind: kind, n: n, at: time.Now().UnixNano()}}
}

// room waits until a record may begin, and begins a new segment where the
// last one is full.
func (s *spoolWriter) room(limited bool) {
	full := false
	for {
		s.mu.Lock()
		cur := s.segs[len(s.segs)-1]
		// A full spool whose every record is trimmed has one segment left, which
		// only its end can drop.
		if cur.size >= s.segmentSize || full && cur.size > 0 && s.trimmed >= s.last {
			s.mu.Unlock()
			s.rotate()
			continue
		}
		if !limited || s.lifted || s.total < s.limit {
			s.mu.Unlock()
			if full {
				s.trouble(Status{Kind: StatusRecovered, Text: "the spool has room again"})
			}
			return
		}
		if full {
			s.cond.Wait()
			s.mu.Unlock()
			continue
		}
		full = true
		total := s.total
		s.mu.Unlock()
		s.trouble(Status{Kind: StatusSpoolFull, Text: fmt.Sprintf("the spool holds %d bytes; the agent waits until the host has taken them", total)})
	}
}

// rotate closes the last segment and begins a new one, trying for ever.
func (s *spoolWriter) rotate() {
	s.mu.Lock()
	first := s.last + 1
	s.mu.Unlock()
	var next *os.File
	s.insist("begin a segment", func() (err error) {
		next, err = s.create(first)
		return err
	})
	// The old one is closed for good: it cannot be torn by a later loss of power.
	if err := errors.Join(datasync(s.f), s.f.Close()); err != nil {
		s.trouble(Status{Kind: StatusDiskFull, Text: "sync a spool segment: " + err.Error()})
	}
	s.mu.Lock()
	s.f = next
	s.segs = append(s.segs, segment{first: first})
	s.drop()
	s.mu.Unlock()
}

func (s *spoolWriter) insist(what string, do func() error) { insist(what, do, s.trouble) }

// insist does it until it works, with growing pauses, and says so.
func insist(what string, do func() error, trouble func(Status)) {
	failed := false
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		err := do()
		if err == nil {
			break
		}
		if !failed {
			failed = true
			trouble(Status{Kind: StatusDiskFull, Text: what + ": " + err.Error()})
		}
		time.Sleep(pause)
	}
	if failed {
		trouble(Status{Kind: StatusRecovered, Text: what + " worked"})
	}
}

// write appends a piece of the record of at most maxPayload bytes; flags are
// those of the last one.
func (r *record) write(payload []byte, flags uint8) {
	if !r.begun {
		flags |= flagFirst
	}
	r.begun = true
	r.c.flags = flags
	s := r.s
	s.buf, r.c.sum = appendChunk(s.buf[:0], r.c, payload)
	s.insist("append to the spool", func() error { return s.put(s.buf) })
	s.mu.Lock()
	s.segs[len(s.segs)-1].size += int64(len(s.buf))
	s.total += int64(len(s.buf))
	if flags&flagLast != 0 {
		s.last = r.c.n
	}
	s.mu.Unlock()
	s.committed()
	select {
	case s.dirty <- struct{}{}:
	default:
	}
}

// put appends a chunk, or leaves the segment as it was. A full disk shows as a
// short write: what went through is cut off before anything else is tried.
func (s *spoolWriter) put(b []byte) error {
	if s.bad {
		if err := s.cutBack(); err != nil {
			return err
		}
	}
	s.bad = true
	if failpoint.Enabled {
		half := len(b) / 2
		if _, err := s.f.Write(b[:half]); err != nil {
			return errors.Join(err, s.cutBack())
		}
		failpoint.Hit("keeper.mid_record")
		b = b[half:]
	}
	if _, err := s.f.Write(b); err != nil {
		return errors.Join(err, s.cutBack())
	}
	s.bad = false
	return nil
}

// cutBack drops what follows the last whole chunk.
func (s *spoolWriter) cutBack() error {
	s.mu.Lock()
	size := s.segs[len(s.segs)-1].size
	s.mu.Unlock()
	if err := s.f.Truncate(size); err != nil {
		return err
	}
	s.bad = false
	return nil
}

// append writes a whole record.
func (s *spoolWriter) append(kind Kind, data []byte) uint64 {
	r := s.begin(kind)
	for len(data) > maxPayload {
		r.write(data[:maxPayload], 0)
		data = data[maxPayload:]
	}
	r.write(data, flagLast)
	return r.c.n
}

// trim drops the segments that hold nothing after through.
func (s *spoolWriter) trim(through uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if through > s.last {
		return fmt.Errorf("%w: trim through record %d, the last is %d", ErrProtocol, through, s.last)
	}
	s.trimmed = max(s.trimmed, through)
	s.drop()
	s.cond.Broadcast()
	return nil
}

// drop needs mu: a cursor opens segments under it.
func (s *spoolWriter) drop() {
	for len(s.segs) > 1 && s.segs[1].first <= s.trimmed+1 {
		err := os.Remove(filepath.Join(s.dir, segmentName(s.segs[0].first)))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return // it is tried again with the next trim
		}
		s.total -= s.segs[0].size
		s.segs = slices.Delete(s.segs, 0, 1)
	}
}

// lift ends the limit: the agent has ended, and little can come.
func (s *spoolWriter) lift() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lifted = true
	s.cond.Broadcast()
}

// bounds returns the first and the last whole record on disk; first is last+1
// where there is none.
func (s *spoolWriter) bounds() (first, last uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return min(s.segs[0].first, s.last+1), s.last
}

func (s *spoolWriter) trimmedThrough() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.trimmed
}

// sync makes what is committed survive a loss of power.
func (s *spoolWriter) sync() error {
	s.mu.Lock()
	f := s.f
	s.mu.Unlock()
	err := datasync(f)
	if errors.Is(err, os.ErrClosed) {
		return nil // rotated meanwhile, which syncs
	}
	return err
}

// syncEverySecond runs until stop is closed; it sleeps while nothing is written.
func (s *spoolWriter) syncEverySecond(stop <-chan struct{}, failed func(error)) {
	for {
		select {
		case <-stop:
			return
		case <-s.dirty:
		}
		select {
		case <-stop:
			return
		case <-time.After(time.Second):
		}
		if err := s.sync(); err != nil {
			failed(err)
		}
	}
}

// cursor reads the committed bytes of a spool for one host. It is used by one
// goroutine.
type cursor struct {
	s     *spoolWriter
	f     *os.File
	first uint64 // of the segment in f
	off   int64
	next  uint64 // the record that must come, or that goes on
	skip  uint64 // records before it are passed over
	buf   []byte
}

// newCursor begins at a record that is on disk or will be the next one.
func (s *spoolWriter) newCursor(from uint64) (*cursor, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if from > s.last+1 {
		return nil, fmt.Errorf("%w: read from record %d, the last is %d", ErrProtocol, from, s.last)
	}
	c := &cursor{s: s, skip: from, buf: make([]byte, maxChunk)}
	return c, c.open(from)
}

// open opens the segment that holds the record. It needs the writer's mu.
func (c *cursor) open(n uint64) error {
	segs := c.s.segs
	if n < segs[0].first {
		return ErrGone
	}
	i := len(segs) - 1
	for segs[i].first > n {
		i--
	}
	f, err := os.Open(filepath.Join(c.s.dir, segmentName(segs[i].first)))
	if err != nil {
		return fmt.Errorf("open segment: %w", err)
	}
	c.close()
	c.f, c.first, c.off, c.next = f, segs[i].first, 0, segs[i].first
	return nil
}

// read returns whole chunks that are committed, valid until the next call, and
// none where there is nothing new.
func (c *cursor) read() ([]byte, error) {
	for {
		size, err := c.available()
		if err != nil || size <= c.off {
			return nil, err
		}
		n := int(min(int64(len(c.buf)), size-c.off))
		if _, err := c.f.ReadAt(c.buf[:n], c.off); err != nil {
			return nil, fmt.Errorf("read segment: %w", err)
		}
		from, to := 0, 0
		for n-to >= chunkHeader {
			ch, err := parseChunk(c.buf[to:])
			if err != nil {
				return nil, fmt.Errorf("read segment: %w", err)
			}
			if to+chunkHeader+ch.length > n {
				break
			}
			to += chunkHeader + ch.length
			if ch.n < c.skip {
				from = to
			}
			c.next = ch.n
			if ch.flags&flagLast != 0 {
				c.next++
			}
		}
		c.off += int64(to)
		if from < to {
			return c.buf[from:to], nil
		}
	}
}

// available returns up to where the cursor's segment may be read, and goes on
// to the next segment at its end.
func (c *cursor) available() (int64, error) {
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		i := slices.IndexFunc(s.segs, func(g segment) bool { return g.first == c.first })
		if i >= 0 && (c.off < s.segs[i].size || i == len(s.segs)-1) {
			return s.segs[i].size, nil
		}
		// Read to its end, or dropped because the host needs it no more.
		if err := c.open(c.next); err != nil {
			return 0, err
		}
	}
}

func (c *cursor) close() {
	if c.f != nil {
		c.f.Close()
		c.f = nil
	}
}

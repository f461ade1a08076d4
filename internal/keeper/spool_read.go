package keeper

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const segmentSuffix = ".seg"

func segmentName(first uint64) string { return fmt.Sprintf("%020d%s", first, segmentSuffix) }

// listSegments returns the first record numbers of the segments, ascending.
// A folder that does not exist has none.
func listSegments(spool string) ([]uint64, error) {
	entries, err := os.ReadDir(spool)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list spool: %w", err)
	}
	var firsts []uint64
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), segmentSuffix)
		if !ok {
			continue
		}
		first, err := strconv.ParseUint(name, 10, 64)
		if err != nil || first == 0 {
			return nil, fmt.Errorf("list spool: %w: a segment named %q", errCorrupt, e.Name())
		}
		firsts = append(firsts, first)
	}
	slices.Sort(firsts)
	return firsts, nil
}

// Spool reads the records of a dead keeper from disk. It is used by one
// goroutine at a time.
type Spool struct {
	dir  string
	from uint64
	segs []uint64 // those not yet opened
	f    *os.File
	dec  *decoder
	torn bool
	err  error // what Next returns for ever
}

// OpenSpool opens the spool in an epoch's folder for reading from the record
// with that number on (0 and 1: from the beginning). The error wraps ErrGone
// where that record has been dropped. A spool that has no records is no error.
func OpenSpool(dir string, from uint64) (*Spool, error) {
	s := &Spool{dir: filepath.Join(dir, dirSpool), from: max(from, 1)}
	segs, err := listSegments(s.dir)
	if err != nil {
		return nil, err
	}
	if len(segs) > 0 && segs[0] > s.from {
		return nil, fmt.Errorf("open spool at record %d: %w: the first is %d", s.from, ErrGone, segs[0])
	}
	// The last segment that begins at or before from.
	i, exact := slices.BinarySearch(segs, s.from)
	if !exact {
		i = max(i-1, 0)
	}
	s.segs = segs[i:]
	return s, nil
}

// Next returns the next record, and io.EOF at the end. A record that the
// keeper's death cut off is dropped; Torn tells of it. Damage anywhere but at
// the end is an error.
func (s *Spool) Next() (Record, error) {
	for s.err == nil {
		rec, err := s.next()
		if err != nil {
			s.err = err
			break
		}
		if rec.N >= s.from {
			return rec, nil
		}
	}
	return Record{}, s.err
}

func (s *Spool) next() (Record, error) {
	for {
		if s.f == nil {
			if len(s.segs) == 0 {
				return Record{}, io.EOF
			}
			if err := s.open(); err != nil {
				return Record{}, err
			}
		}
		rec, err := s.dec.read()
		if err == nil {
			return rec, nil
		}
		closeErr := s.f.Close()
		s.f = nil
		torn := errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, errCorrupt)
		switch {
		case torn && len(s.segs) == 0:
			s.torn = true
			return Record{}, io.EOF
		case !errors.Is(err, io.EOF):
			return Record{}, fmt.Errorf("read spool: %w", err)
		case closeErr != nil:
			return Record{}, fmt.Errorf("close segment: %w", closeErr)
		}
	}
}

func (s *Spool) open() error {
	first := s.segs[0]
	if s.dec != nil && s.dec.next != 0 && s.dec.next != first {
		return fmt.Errorf("read spool: %w: segment %d where record %d must come", errCorrupt, first, s.dec.next)
	}
	f, err := os.Open(filepath.Join(s.dir, segmentName(first)))
	if err != nil {
		return fmt.Errorf("open segment: %w", err)
	}
	s.segs = s.segs[1:]
	s.f = f
	s.dec = &decoder{r: bufio.NewReaderSize(f, maxChunk), next: first}
	return nil
}

// Torn tells, once Next has returned io.EOF, whether bytes at the end were no
// whole record.
func (s *Spool) Torn() bool { return s.torn }

// Close releases the file. It may be called twice.
func (s *Spool) Close() error {
	if s.err == nil {
		s.err = ErrClosed
	}
	if s.f == nil {
		return nil
	}
	f := s.f
	s.f = nil
	return f.Close()
}

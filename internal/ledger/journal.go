package ledger

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/google/renameio/v2/maybe"
)

// JournalStep is how much of a history the end of a process may lose.
const JournalStep = time.Minute

// journalLines bounds the file: it is cut to the last 24 hours when it has more.
const journalLines = 2 * int(historySpan/JournalStep)

// Journal keeps a History in a file, so that it outlives the process: a line a
// minute, appended without an fsync. What a loss of power cuts is left out.
type Journal struct {
	History

	path   string
	step   time.Duration
	file   *os.File
	lines  int
	minute Point // what is not written yet; At is zero where there is nothing
}

// OpenJournal reads the last 24 hours before now and goes on from there, a line
// for each step. Its History is usable whatever the error says.
func OpenJournal(path string, now time.Time, step time.Duration) (*Journal, error) {
	j := &Journal{path: path, step: step}
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return j, fmt.Errorf("read history: %w", err)
	}
	points, lines := parseJournal(data, now)
	for _, p := range points {
		j.Add(p)
	}
	if len(points) > 0 {
		// What is to come is as fine as what was: a page takes what lies further
		// apart than is usual for a gap.
		j.History.step = max(j.History.step, step)
	}
	j.lines = lines
	torn := len(data) > 0 && data[len(data)-1] != '\n'
	if lines > journalLines || torn {
		return j, j.cut(points)
	}
	return j, j.open()
}

// parseJournal returns the points of the 24 hours before now, and how many lines
// there are. A clock that was set back leaves points that are to come: they are
// left out.
func parseJournal(data []byte, now time.Time) (points []Point, lines int) {
	for line := range bytes.Lines(data) {
		lines++
		var p Point
		if json.Unmarshal(line, &p) != nil || p.At.After(now) || now.Sub(p.At) > historySpan {
			continue
		}
		if n := len(points); n > 0 && !p.At.After(points[n-1].At) {
			continue
		}
		points = append(points, p)
	}
	return points, lines
}

func (j *Journal) open() (err error) {
	if j.file, err = os.OpenFile(j.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600); err != nil {
		return fmt.Errorf("open history: %w", err)
	}
	return nil
}

// cut writes the file anew with these points.
func (j *Journal) cut(points []Point) error {
	var all bytes.Buffer
	enc := json.NewEncoder(&all)
	for _, p := range points {
		if err := enc.Encode(p); err != nil {
			return fmt.Errorf("cut history: %w", err)
		}
	}
	if j.file != nil {
		_ = j.file.Close()
		j.file = nil
	}
	if err := maybe.WriteFile(j.path, all.Bytes(), 0o600); err != nil {
		return errors.Join(fmt.Errorf("cut history: %w", err), j.open())
	}
	j.lines = len(points)
	return j.open()
}

// Note takes a point that is younger than all before, and writes what is whole.
// The point is in the History whatever the error says.
func (j *Journal) Note(p Point) error {
	j.Add(p)
	var err error
	if !j.minute.At.IsZero() && p.At.Sub(j.minute.At) >= j.step {
		err = j.flush()
	}
	if j.minute.At.IsZero() {
		j.minute = p
	} else {
		j.minute = j.minute.with(p)
	}
	return err
}

func (j *Journal) flush() error {
	p := j.minute
	j.minute = Point{}
	if j.file == nil || p.At.IsZero() {
		return nil
	}
	line, err := json.Marshal(p)
	if err == nil {
		_, err = j.file.Write(append(line, '\n'))
	}
	if err != nil {
		return fmt.Errorf("write history: %w", err)
	}
	if j.lines++; j.lines <= journalLines {
		return nil
	}
	data, err := os.ReadFile(j.path)
	if err != nil {
		return fmt.Errorf("cut history: %w", err)
	}
	points, _ := parseJournal(data, p.At)
	return j.cut(slices.Clip(points))
}

// Close writes what is left. It may be called twice.
func (j *Journal) Close() error {
	if j == nil || j.file == nil {
		return nil
	}
	err := errors.Join(j.flush(), j.file.Close())
	j.file = nil
	return err
}

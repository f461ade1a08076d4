package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/holdfast-dev/holdfast/internal/obs"
)

type logsCmd struct {
	Lines  int  `short:"n" default:"100" placeholder:"N" help:"How many of the last lines to print; 100 unless told."`
	Follow bool `short:"f" help:"Go on as lines come, until Ctrl-C."`
}

// Help is shown after the flags.
func (logsCmd) Help() string {
	return `It reads the file in the state folder, so it works with the host down.

Examples:
  holdfast logs
  holdfast logs -n 1000
  holdfast logs -f`
}

// Run prints the end of the host's log.
func (c *logsCmd) Run(ctx context.Context, a *app) error {
	if c.Lines < 0 {
		return &Error{Code: ExitUsage, Msg: fmt.Sprintf("-n is %d; it must not be below 0. See: holdfast logs --help", c.Lines)}
	}
	cfg, err := a.load(hostFlags{})
	if err != nil {
		return err
	}
	path := cfg.LogFile()
	t, err := openTail(path)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return failf("cannot read the log: %w. Run this as the user who runs the host", err)
	case err != nil:
		return failf("cannot read the log: %w", err)
	}
	defer t.close()
	if t.file == nil {
		if !c.Follow {
			return failf("there is no log at %s: no host has run for this state folder yet. Another folder is named with --home", path)
		}
		a.notef("There is no log at %s yet; waiting for it.\n", path)
	}
	if err := t.last(a.Out, c.Lines); err != nil {
		return failf("read the log: %w", err)
	}
	for c.Follow {
		if err := t.more(a.Out); err != nil {
			return failf("read the log: %w", err)
		}
		if !pause(ctx, tailEvery) {
			return nil
		}
	}
	return nil
}

// tailEvery is how often a log is looked at that is followed.
const tailEvery = 200 * time.Millisecond

// logTail reads a log that another process writes and rotates.
type logTail struct {
	path string
	file *os.File // the one that was the newest; nil where there is none yet
	at   int64    // up to here it was printed
}

// openTail notes where the log ends now.
func openTail(path string) (*logTail, error) {
	t := &logTail{path: path}
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return t, nil
	}
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return nil, err
	}
	t.file, t.at = file, info.Size()
	return t, nil
}

func (t *logTail) close() {
	if t.file != nil {
		t.file.Close()
	}
}

// last prints the last n lines before where the tail stands, of older files
// too.
func (t *logTail) last(out io.Writer, n int) error {
	if t.file == nil || n == 0 {
		return nil
	}
	chunk, found, err := lastLines(t.file, t.at, n)
	if err != nil {
		return err
	}
	chunks := [][]byte{chunk}
	ours, err := t.file.Stat()
	if err != nil {
		return err
	}
	files, newer, err := openOthers(t.path, ours)
	defer closeAll(files)
	if err != nil {
		return err
	}
	for _, file := range files[newer:] {
		if found >= n {
			break
		}
		info, err := file.Stat()
		if err != nil {
			return err
		}
		more, lines, err := lastLines(file, info.Size(), n-found)
		if err != nil {
			return err
		}
		chunks = append(chunks, more)
		found += lines
	}
	for _, chunk := range slices.Backward(chunks) {
		if len(chunk) > 0 && chunk[len(chunk)-1] != '\n' {
			chunk = append(chunk, '\n')
		}
		if _, err := out.Write(chunk); err != nil {
			return err
		}
	}
	return nil
}

// openOthers opens the log's files, newest first, without the one that ours
// tells of, and counts those that are newer than that one. A rotation meanwhile
// moves files towards the end of the list, where they are met twice, and never
// past us.
func openOthers(path string, ours os.FileInfo) (files []*os.File, newer int, err error) {
	met := false
	var seen []os.FileInfo
	for _, name := range obs.Files(path) {
		file, err := os.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return files, newer, err
		}
		info, err := file.Stat()
		if err != nil {
			file.Close()
			return files, newer, err
		}
		if ours != nil && os.SameFile(ours, info) {
			met, newer = true, len(files)
		}
		if ours != nil && os.SameFile(ours, info) || slices.ContainsFunc(seen, func(o os.FileInfo) bool { return os.SameFile(o, info) }) {
			file.Close()
			continue
		}
		seen, files = append(seen, info), append(files, file)
		// Ours may have been removed, or be too old by now: then the time tells.
		if ours != nil && !met && !info.ModTime().Before(ours.ModTime()) {
			newer = len(files)
		}
	}
	return files, newer, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// lastLines returns the last n lines of the first size bytes of a file, and how
// many there are.
func lastLines(file io.ReaderAt, size int64, n int) ([]byte, int, error) {
	const block = 64 << 10
	var text []byte
	for at := size; at > 0; {
		begin := max(0, at-block)
		part := make([]byte, at-begin)
		if got, err := file.ReadAt(part, begin); err != nil && !errors.Is(err, io.EOF) {
			return nil, 0, err
		} else if got < len(part) {
			return nil, 0, nil // it was emptied meanwhile
		}
		text = append(part, text...)
		at = begin
		if bytes.Count(text, []byte{'\n'}) > n {
			break
		}
	}
	lines := bytes.SplitAfter(text, []byte{'\n'})
	if len(lines[len(lines)-1]) == 0 {
		lines = lines[:len(lines)-1]
	}
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	return bytes.Join(lines, nil), len(lines), nil
}

// more prints what was written since, through as many rotations as there were.
func (t *logTail) more(out io.Writer) error {
	var ours os.FileInfo
	var err error
	if t.file != nil {
		if ours, err = t.file.Stat(); err != nil {
			return err
		}
	}
	// The others are opened before ours is read to its end: while it is the
	// newest, what is written after that is read the next time.
	files, newer, err := openOthers(t.path, ours)
	defer func() { closeAll(files) }()
	if err != nil {
		return err
	}
	if ours == nil {
		newer = min(1, len(files)) // the first that there is
	}
	if t.file != nil {
		if ours.Size() < t.at {
			t.at = 0 // it was emptied
		}
		n, err := io.Copy(out, io.NewSectionReader(t.file, t.at, 1<<62-t.at))
		t.at += n
		if err != nil {
			return err
		}
	}
	for i, file := range slices.Backward(files[:newer]) {
		n, err := io.Copy(out, file)
		if err != nil {
			return err
		}
		if i == 0 {
			t.close()
			t.file, t.at = file, n
			files = files[1:] // it stays open
		}
	}
	return nil
}

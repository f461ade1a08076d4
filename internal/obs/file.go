package obs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// The log's files: the one that is written, and older ones beside it with .1
// (the newest of them), .2 and .3 after the name.
const (
	fileBytes = 10 << 20
	fileCount = 4
)

// File is a log in a file that does not grow without bound. It has no goroutine
// and can be written by one process at a time; the next process goes on where
// the last one stopped.
//
// It is ours because the file must come back after somebody removed its folder,
// and must say what was lost while the disk was full.
type File struct {
	path  string
	bytes int64 // at which it rotates

	mu     sync.Mutex
	file   *os.File // nil after a failure to open
	size   int64
	torn   bool // the last line in the file lacks its end
	lost   int  // lines that could not be written
	why    error
	closed bool
}

var _ io.WriteCloser = (*File)(nil)

// OpenFile opens the log at path, making its folder where that is missing. The
// caller closes it.
func OpenFile(path string) (*File, error) {
	f := &File{path: path, bytes: fileBytes}
	if err := f.open(); err != nil {
		return nil, err
	}
	return f, nil
}

// open opens the file at the path, in the place of one that is open.
func (f *File) open() error {
	if err := os.MkdirAll(filepath.Dir(f.path), 0o700); err != nil {
		return fmt.Errorf("make folder of the log: %w", err)
	}
	file, err := os.OpenFile(f.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is no file")
	}
	if err != nil {
		file.Close()
		return fmt.Errorf("open log %s: %w", f.path, err)
	}
	if f.file != nil {
		f.file.Close()
	}
	f.file, f.size = file, info.Size()
	f.torn = f.size > 0 && !endsLine(f.path, f.size)
	return nil
}

// endsLine tells whether the file's last byte ends a line: a process that was
// killed, or a full disk, may have left half of one.
func endsLine(path string, size int64) bool {
	file, err := os.Open(path)
	if err != nil {
		return true
	}
	defer file.Close()
	var last [1]byte
	_, err = file.ReadAt(last[:], size-1)
	return err != nil || last[0] == '\n'
}

// Write writes one line, with its end. An error is no reason to stop: the next
// line is tried again, and what was lost meanwhile is told in the file.
func (f *File) Write(line []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return 0, os.ErrClosed
	}
	err := f.write(line)
	if err != nil {
		f.lost++
		f.why = err
		return 0, err
	}
	return len(line), nil
}

func (f *File) write(line []byte) error {
	if err := f.place(int64(len(line))); err != nil {
		return err
	}
	if f.lost > 0 {
		note := fmt.Appendf(nil, "time=%s level=%s msg=\"lines could not be written to this file\" count=%d err=%q\n",
			time.Now().Format(time.RFC3339Nano), slog.LevelError, f.lost, f.why)
		if err := f.put(note); err != nil {
			return err
		}
		f.lost = 0
	}
	return f.put(line)
}

// place makes f.file the one to which the next n bytes go.
func (f *File) place(n int64) error {
	if f.file != nil {
		there, err := os.Stat(f.path)
		ours, err2 := f.file.Stat()
		if err != nil || err2 != nil || !os.SameFile(there, ours) {
			f.drop() // it was removed, or moved away
		}
	}
	if f.file != nil && f.size > 0 && f.size+n > f.bytes {
		f.rotate()
	}
	if f.file == nil {
		return f.open()
	}
	return nil
}

func (f *File) drop() {
	if f.file != nil {
		f.file.Close()
	}
	f.file, f.size, f.torn = nil, 0, false
}

// rotate moves the files up by one. Where the folder does not let it, the file
// is emptied instead: it must not grow for ever.
func (f *File) rotate() {
	names := Files(f.path)
	f.drop() // some systems do not rename what is open
	moved := true
	for i := len(names) - 1; i > 0; i-- {
		if err := os.Rename(names[i-1], names[i]); err != nil && !errors.Is(err, fs.ErrNotExist) {
			moved = false
		}
	}
	if !moved {
		_ = os.Truncate(f.path, 0)
	}
}

// put writes the bytes, after the end of a line that lacks it.
func (f *File) put(p []byte) error {
	if f.torn {
		p = append([]byte{'\n'}, p...)
	}
	n, err := f.file.Write(p)
	f.size += int64(n)
	if n > 0 {
		f.torn = n < len(p)
	}
	if err == nil && n < len(p) {
		err = io.ErrShortWrite // a disk that has just become full
	}
	if err != nil {
		return fmt.Errorf("write log: %w", err)
	}
	return nil
}

// Close closes the file. It may be called twice.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	if f.file == nil {
		return nil
	}
	err := f.file.Close()
	f.file = nil
	return err
}

// Files lists the names of the log's files at path, newest first. They need not
// be there.
func Files(path string) []string {
	all := []string{path}
	for i := 1; i < fileCount; i++ {
		all = append(all, fmt.Sprintf("%s.%d", path, i))
	}
	return all
}

// Package probe finds out how the host is from what a user of it would feel,
// and keeps the evidence when it is not well. It must not mend anything.
package probe

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Part is one section of a dump. One that fails or panics says so in its place:
// a dump is written when things are broken.
type Part struct {
	Title string
	Write func(w io.Writer) error
}

// dumpName is the form of a file's name in the crash folder, which sorts by time.
const dumpName = "20060102-150405.000"

// keptDumps is how many dumps a folder holds: evidence must not fill a disk.
const keptDumps = 20

// What a part asks may be what is stuck: it may take what is left of
// partsPatience, and at least partPatience.
const (
	partsPatience = time.Second
	partPatience  = 100 * time.Millisecond
)

// Dump writes the parts to a new file of the crash folder and returns its path.
func Dump(dir, why string, now time.Time, parts ...Part) (path string, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make crash folder: %w", err)
	}
	prune(dir, keptDumps-1)
	path = filepath.Join(dir, now.UTC().Format(dumpName)+".txt")
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", fmt.Errorf("make dump: %w", err)
	}
	return path, errors.Join(fill(f, why, now, parts), f.Close())
}

// fill writes the parts, the evidence that is there already safe on the disk
// before the next is asked for.
func fill(f *os.File, why string, now time.Time, parts []Part) error {
	if _, err := fmt.Fprintf(f, "%s\n%s\n", now.Format(time.RFC3339Nano), why); err != nil {
		return fmt.Errorf("write dump: %w", err)
	}
	until := time.Now().Add(partsPatience)
	for _, p := range parts {
		text, err := p.text(max(time.Until(until), partPatience))
		if err != nil {
			text = fmt.Appendf(text, "could not be told: %v\n", err)
		}
		if _, err := fmt.Fprintf(f, "\n== %s\n%s", p.Title, text); err != nil {
			return fmt.Errorf("write dump: %w", err)
		}
	}
	return f.Sync()
}

// text is what the part writes in time.
func (p Part) text(patience time.Duration) ([]byte, error) {
	type result struct {
		text []byte
		err  error
	}
	done := make(chan result, 1)
	go func() {
		var b bytes.Buffer
		err := write(&b, p)
		done <- result{b.Bytes(), err}
	}()
	select {
	case r := <-done:
		return r.text, r.err
	case <-time.After(patience):
		return nil, errors.New("it took too long")
	}
}

// Evidence is what a dump needs, opened while descriptors are to be had: a host
// that has none left must still be able to say so. A nil *Evidence opens what it
// needs when it needs it.
type Evidence struct {
	dir string

	mu    sync.Mutex
	spare *os.File // becomes the next dump
	table *os.File // the kernel's list of our descriptors; nil where it has none
}

const spareName = "spare"

// OpenEvidence opens it. The Evidence is usable whatever the error says.
func OpenEvidence(dir string) (*Evidence, error) {
	e := &Evidence{dir: dir}
	if table, err := os.Open("/proc/self/fd"); err == nil {
		e.table = table
	}
	return e, e.open()
}

func (e *Evidence) open() (err error) {
	if err := os.MkdirAll(e.dir, 0o700); err != nil {
		return fmt.Errorf("make crash folder: %w", err)
	}
	if e.spare, err = os.OpenFile(filepath.Join(e.dir, spareName), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600); err != nil {
		return fmt.Errorf("open spare dump: %w", err)
	}
	return nil
}

// Dump is the function Dump without the need for a new descriptor.
func (e *Evidence) Dump(dir, why string, now time.Time, parts ...Part) (path string, err error) {
	if e == nil || !e.mu.TryLock() {
		return Dump(dir, why, now, parts...)
	}
	defer e.mu.Unlock()
	if e.spare == nil {
		return Dump(dir, why, now, parts...)
	}
	path = filepath.Join(e.dir, now.UTC().Format(dumpName)+".txt")
	if err := os.Rename(e.spare.Name(), path); err != nil {
		return Dump(dir, why, now, parts...) // somebody removed it
	}
	err = errors.Join(fill(e.spare, why, now, parts), e.spare.Close())
	e.spare = nil
	prune(e.dir, keptDumps)
	_ = e.open() // without it the next dump opens a file of its own
	return path, err
}

// Descriptors writes the table of this process's descriptors. It fails where
// the kernel has no list that could be opened beforehand.
func (e *Evidence) Descriptors(w io.Writer) error {
	if e == nil || e.table == nil {
		return errors.ErrUnsupported
	}
	if _, err := e.table.Seek(0, io.SeekStart); err != nil {
		return err
	}
	names, err := e.table.Readdirnames(-1)
	for _, name := range names {
		target, lerr := os.Readlink("/proc/self/fd/" + name)
		if lerr != nil {
			target = lerr.Error()
		}
		fmt.Fprintf(w, "%5s %s\n", name, target)
	}
	return err
}

// Close closes what is open. It may be called twice.
func (e *Evidence) Close() error {
	if e == nil {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	var errs []error
	if e.spare != nil {
		errs = append(errs, e.spare.Close(), os.Remove(e.spare.Name()))
	}
	if e.table != nil {
		errs = append(errs, e.table.Close())
	}
	e.spare, e.table = nil, nil
	return errors.Join(errs...)
}

func write(w io.Writer, p Part) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v", v)
		}
	}()
	return p.Write(w)
}

// prune removes the oldest dumps but for so many. What cannot be removed stays.
func prune(dir string, keep int) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	var names []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".txt") {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	for len(names) > keep {
		_ = os.Remove(filepath.Join(dir, names[0]))
		names = names[1:]
	}
}

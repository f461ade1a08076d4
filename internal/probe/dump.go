// Package probe finds out how the host is from what a user of it would feel,
// and keeps the evidence when it is not well. It must not mend anything.
package probe

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
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

// Dump writes the parts to a new file of the crash folder and returns its path.
func Dump(dir, why string, now time.Time, parts ...Part) (path string, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make crash folder: %w", err)
	}
	prune(dir, keptDumps-1)
	name := now.UTC().Format(dumpName) + ".txt"
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", fmt.Errorf("make dump: %w", err)
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}()
	if _, err := fmt.Fprintf(f, "%s\n%s\n", now.Format(time.RFC3339Nano), why); err != nil {
		return "", fmt.Errorf("write dump: %w", err)
	}
	for _, p := range parts {
		if _, err := fmt.Fprintf(f, "\n== %s\n", p.Title); err != nil {
			return "", fmt.Errorf("write dump: %w", err)
		}
		if err := write(f, p); err != nil {
			fmt.Fprintf(f, "could not be told: %v\n", err)
		}
	}
	return f.Name(), f.Sync()
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

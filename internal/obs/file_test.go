package obs

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func openTest(t *testing.T) (*File, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "logs", "holdfast.log")
	f, err := OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f, path
}

func say(t *testing.T, f *File, line string) {
	t.Helper()
	if n, err := f.Write([]byte(line + "\n")); err != nil || n != len(line)+1 {
		t.Fatalf("write %q: %d %v", line, n, err)
	}
}

func text(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestFileRotates(t *testing.T) {
	f, path := openTest(t)
	f.bytes = 1000
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 200 {
				fmt.Fprintf(f, "line %d.%03d of some length\n", w, i)
			}
		})
	}
	wg.Wait()
	for i, name := range []string{path, path + ".1", path + ".2", path + ".3"} {
		got := text(t, name)
		if len(got) > 1000 || len(got) < 900 && i > 0 || !strings.HasSuffix(got, "\n") {
			t.Errorf("%s has %d bytes", name, len(got))
		}
		for line := range strings.Lines(got) {
			if !strings.HasPrefix(line, "line ") || !strings.HasSuffix(line, " of some length\n") {
				t.Errorf("%s: torn line %q", name, line)
			}
		}
	}
	if _, err := os.Stat(path + ".4"); err == nil {
		t.Error("a fifth file is kept")
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the log is not private: %v %v", info.Mode(), err)
	}
}

// A restart in place, or a new host, goes on in the same file; what a killed
// one left half is ended first.
func TestFileGoesOn(t *testing.T) {
	f, path := openTest(t)
	say(t, f, "first")
	if _, err := f.Write([]byte("half")); err != nil {
		t.Fatal(err)
	}
	next, err := OpenFile(path) // as a new image does, before anything was closed
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	say(t, next, "second")
	if got := text(t, path); got != "first\nhalf\nsecond\n" {
		t.Errorf("%q", got)
	}
	if next.size != int64(len("first\nhalf\nsecond\n")) {
		t.Errorf("the size is thought to be %d", next.size)
	}
}

func TestFileComesBack(t *testing.T) {
	f, path := openTest(t)
	say(t, f, "before")
	if err := os.RemoveAll(filepath.Dir(path)); err != nil {
		t.Fatal(err)
	}
	say(t, f, "after")
	if got := text(t, path); got != "after\n" {
		t.Errorf("after the folder was removed: %q", got)
	}
	if err := os.Rename(path, path+".away"); err != nil {
		t.Fatal(err)
	}
	say(t, f, "again")
	if got := text(t, path); got != "again\n" {
		t.Errorf("after the file was moved: %q", got)
	}
	// The folder cannot be made for a while: a file stands in its place.
	if err := os.RemoveAll(filepath.Dir(path)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Dir(path), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := f.Write([]byte("lost\n")); err == nil {
			t.Fatal("a write into nothing succeeded")
		}
	}
	if err := os.Remove(filepath.Dir(path)); err != nil {
		t.Fatal(err)
	}
	say(t, f, "back")
	if got := text(t, path); !strings.Contains(got, "count=3") || strings.Contains(got, "lost\n") || !strings.HasSuffix(got, "\nback\n") {
		t.Errorf("after the folder was gone for a while: %q", got)
	}
}

// A folder in which nothing can be renamed must not let the file grow for ever.
func TestFileWhenRotatingFails(t *testing.T) {
	f, path := openTest(t)
	f.bytes = 100
	if err := os.MkdirAll(filepath.Join(path+".1", "in", "the", "way"), 0o700); err != nil {
		t.Fatal(err)
	}
	for range 50 {
		say(t, f, "a line of some length")
	}
	if got := text(t, path); len(got) > 100 || got == "" {
		t.Errorf("the file has %d bytes", len(got))
	}
}

func TestFileCloses(t *testing.T) {
	f, _ := openTest(t)
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if _, err := f.Write([]byte("x\n")); err == nil {
		t.Error("a closed file was written")
	}
	if _, err := OpenFile(t.TempDir()); err == nil {
		t.Error("a folder was opened")
	}
}

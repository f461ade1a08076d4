package probe

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestDump(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "crash")
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	path, err := Dump(
		dir, "asked by a test", now,
		Part{"good", func(w io.Writer) error { _, err := io.WriteString(w, "all is well\n"); return err }},
		Part{"bad", func(io.Writer) error { return errors.New("no store") }},
		Part{"worse", func(io.Writer) error { panic("nil map") }},
		Part{"last", func(w io.Writer) error { _, err := io.WriteString(w, "still told\n"); return err }},
	)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"asked by a test", "all is well", "could not be told: no store", "could not be told: panic: nil map", "still told"} {
		if !strings.Contains(string(data), want) {
			t.Errorf("no %q in\n%s", want, data)
		}
	}
	for i := range 30 {
		if _, err := Dump(dir, "again", now.Add(time.Duration(i+1)*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != keptDumps {
		t.Errorf("%d dumps are kept, %v", len(entries), err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Error("the oldest is still there")
	}
}

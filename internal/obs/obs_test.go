package obs

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRingKeepsTheLastLines(t *testing.T) {
	r := NewRing(3)
	if got := r.Lines(); len(got) != 0 {
		t.Fatalf("empty ring: %q", got)
	}
	for i := range 5 {
		r.add(fmt.Appendf(nil, "line %d\n", i))
	}
	if diff := cmp.Diff([]string{"line 2", "line 3", "line 4"}, r.Lines()); diff != "" {
		t.Fatal(diff)
	}
}

func TestEqualLinesAreFolded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := New(&out, 100)
		for i := range 100 {
			log.Warn("read spool", "n", i)
		}
		log.Warn("another")
		time.Sleep(foldFor)
		log.Warn("read spool", "n", 100)
		lines := log.Ring.Lines()
		if len(lines) != foldBurst+2 {
			t.Fatalf("%d lines:\n%s", len(lines), strings.Join(lines, "\n"))
		}
		if last := lines[len(lines)-1]; !strings.Contains(last, "95 equal lines") {
			t.Fatalf("last line does not tell what was folded: %s", last)
		}
		if got := strings.TrimSpace(out.String()); got != strings.Join(lines, "\n") {
			t.Fatalf("writer and ring differ:\n%s", got)
		}
	})
}

func TestLevelSwitch(t *testing.T) {
	var out bytes.Buffer
	log := New(&out, 10)
	log.Debug("hidden")
	log.Level.Set(slog.LevelDebug)
	log.With("k", "v").Debug("shown")
	if s := out.String(); strings.Contains(s, "hidden") || !strings.Contains(s, "shown") {
		t.Fatal(s)
	}
}

func TestFoldingMemoryIsBounded(t *testing.T) {
	log := New(&bytes.Buffer{}, 1)
	for i := range 10 * maxMessages {
		log.Info(fmt.Sprint(i))
	}
	if n := len(log.Handler().(*folding).state.seen); n > maxMessages {
		t.Fatalf("%d messages remembered", n)
	}
}

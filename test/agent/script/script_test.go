package script

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestChunksAreStable(t *testing.T) {
	// Tests elsewhere compare text across processes; this pins it across
	// releases of Go.
	const want = "keep naïve the "
	got := Chunks(7, 200)
	if d := cmp.Diff(got, Chunks(7, 200)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(got[:50], Chunks(7, 50)); d != "" {
		t.Errorf("a shorter stream is no prefix: %s", d)
	}
	if Text(7, 200) != strings.Join(got, "") || Text(7, 5) == Text(8, 5) {
		t.Error("Text does not follow from Chunks")
	}
	if got[0] != want {
		t.Errorf("first chunk of seed 7 is %q, want %q", got[0], want)
	}
}

func TestParse(t *testing.T) {
	verbs := map[string]bool{"say": true, "ask": true, "stream": true}
	steps, ok := Parse("say it's <b>\n\n  ask p1 \"Run \\\"it\\\"\" go test\r\nstream 3 10ms seed=7\nsay \"a\\nb\"", verbs)
	if !ok {
		t.Fatal("not a script")
	}
	want := []Step{
		{Verb: "say", Args: []string{"it's", "<b>"}, Rest: "it's <b>"},
		{Verb: "ask", Args: []string{"p1", `Run "it"`, "go", "test"}, Rest: `p1 "Run \"it\"" go test`},
		{Verb: "stream", Args: []string{"3", "10ms", "seed=7"}, Rest: "3 10ms seed=7"},
		{Verb: "say", Args: []string{"a\nb"}, Rest: `"a\nb"`},
	}
	if d := cmp.Diff(want, steps); d != "" {
		t.Fatalf("steps (-want +got):\n%s", d)
	}
	if got := steps[3].Text(); got != "a\nb" {
		t.Errorf("Text = %q", got)
	}
	if got := steps[0].Text(); got != "it's <b>" {
		t.Errorf("Text = %q", got)
	}
	chunks, delay, err := steps[2].Stream()
	if err != nil || delay != 10*time.Millisecond || strings.Join(chunks, "") != Text(7, 3) {
		t.Errorf("Stream = %q, %v, %v", chunks, delay, err)
	}
	for _, text := range []string{"", "hello", "say x\nhello", "saying x"} {
		if s, ok := Parse(text, verbs); ok {
			t.Errorf("Parse(%q) = %+v, want no script", text, s)
		}
	}
}

func TestLong(t *testing.T) {
	for in, want := range map[string]int{"0": 0, "7": 7, "2KB": 2000, "1MiB": 1 << 20, "10MB": 10e6} {
		n, err := Size(in)
		if err != nil || n != want || len(Long(n)) != want {
			t.Errorf("Size(%q) = %d, %v", in, n, err)
		}
	}
	if _, err := Size("x"); err == nil {
		t.Error("Size took x")
	}
}

package ledger

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestJournal lives three days in lives of some hours, some of which end without
// a word, and looks at what each finds of the ones before.
func TestJournal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.jsonl")
	at := time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
	begun := at
	for life := range 12 {
		j, err := OpenJournal(path, at, JournalStep)
		if err != nil {
			t.Fatal(err)
		}
		if points := j.Points(); life > 0 {
			newest := at.Add(-20 * time.Minute) // when the life before ended
			if got := newest.Sub(points[len(points)-1].At); got < 0 || got > historySpan/historyPoints*3+JournalStep {
				t.Errorf("life %d finds a past that ends %s before the end of the one before", life, got)
			}
			if span, want := newest.Sub(points[0].At), min(newest.Sub(begun), historySpan-20*time.Minute); span < want-10*time.Minute || span > historySpan {
				t.Errorf("life %d finds a past of %s, want %s", life, span, want)
			}
		}
		for range 6 * 60 * 4 {
			if err := j.Note(Point{At: at, Observed: life + 1}); err != nil {
				t.Fatal(err)
			}
			at = at.Add(15 * time.Second)
		}
		if life%2 == 0 {
			err = j.Close()
		} else {
			err = j.file.Close() // killed: what is not written is lost
		}
		if err != nil {
			t.Fatal(err)
		}
		at = at.Add(20 * time.Minute) // down
	}
	data, err := os.ReadFile(path)
	if err != nil || bytes.Count(data, []byte("\n")) > journalLines {
		t.Errorf("the file has %d lines, %v", bytes.Count(data, []byte("\n")), err)
	}
	j, err := OpenJournal(path, at, JournalStep)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	points := j.Points()
	gap := time.Duration(0)
	for i, p := range points[1:] {
		gap = max(gap, p.At.Sub(points[i].At))
	}
	if gap < 15*time.Minute || len(points) > historyPoints {
		t.Errorf("the longest gap is %s of 20 minutes, in %d points", gap, len(points))
	}
}

// What a loss of power left of the file, and what a clock that was set back
// wrote, is no past; what is whole is.
func TestJournalMended(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.jsonl")
	now := time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
	text := `{"at":"2026-11-23T23:00:00Z","observed":1}` + "\n\x00\x00\n" + `{"at":"2026-11-25T00:00:00Z","observed":9}` + "\n" +
		`{"at":"2026-11-23T23:30:00Z","observed":2}` + "\n" + `{"at":"2026-11-23T23:4`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		j, err := OpenJournal(path, now, JournalStep)
		if err != nil {
			t.Fatal(err)
		}
		points := j.Points()
		if len(points) < 2 || points[0].Observed != 1 || points[1].Observed != 2 {
			t.Errorf("%+v", points)
		}
		if err := j.Note(Point{At: now, Observed: 3}); err != nil {
			t.Fatal(err)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		now = now.Add(time.Hour)
	}
}

package probe

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// lived writes one life after another, each ended as said, and returns the
// Recorder of the one that follows.
type lived struct {
	t    *testing.T
	home string
	now  time.Time
	boot string
}

func (l *lived) begin(replaced bool) *Recorder {
	l.t.Helper()
	r, err := Begin(Born{Home: l.home, Crash: filepath.Join(l.home, "crash"), Version: "1", BootID: l.boot, Time: l.now, Replaced: replaced})
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { r.Close() })
	return r
}

func TestHowALifeEnds(t *testing.T) {
	crash := func(l *lived) {
		if err := os.WriteFile(filepath.Join(l.home, "crash", traceFile), []byte("panic: out of luck\n\ngoroutine 7 [running]:\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		name     string
		end      func(*lived, *Recorder)
		replaced bool
		how      string
		reason   string
	}{
		{"without a word", func(*lived, *Recorder) {}, false, EndKilled, ""},
		{"asked", func(_ *lived, r *Recorder) { r.Ending(EndAsked, "by a signal", "") }, false, EndAsked, "by a signal"},
		{"asked twice", func(_ *lived, r *Recorder) {
			r.Ending(EndAsked, "by a command", "")
			r.Ending(EndAsked, "by a signal", "")
		}, false, EndAsked, "by a command"},
		{"asked, and failed at it", func(_ *lived, r *Recorder) {
			r.Ending(EndAsked, "by a signal", "")
			r.Ending(EndFailed, "close store: no", "")
		}, false, EndFailed, "close store: no"},
		{"replaced", func(_ *lived, r *Recorder) { r.Ending(EndRestart, "", "") }, true, EndRestart, ""},
		{"killed while it was replaced", func(_ *lived, r *Recorder) { r.Ending(EndRestart, "", "") }, false, EndKilled, "while it was being replaced"},
		{"crashed", func(l *lived, _ *Recorder) { crash(l) }, false, EndCrash, "panic: out of luck"},
		{"crashed while it was asked", func(l *lived, r *Recorder) { r.Ending(EndAsked, "", ""); crash(l) }, false, EndCrash, "panic: out of luck"},
		{"with the machine", func(l *lived, _ *Recorder) { l.boot = "two" }, false, EndReboot, ""},
		{"asked, before the machine ended", func(l *lived, r *Recorder) { r.Ending(EndAsked, "", ""); l.boot = "two" }, false, EndAsked, ""},
		{"deaf", func(_ *lived, r *Recorder) { r.Ending(EndProbe, "no answer", "/dump") }, false, EndProbe, "no answer"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := &lived{t: t, home: t.TempDir(), now: time.Now(), boot: "one"}
			r := l.begin(false)
			if r.Last() != nil {
				t.Fatal("there is a life before the first")
			}
			if err := r.Mark(l.now.Add(time.Minute), 42); err != nil {
				t.Fatal(err)
			}
			tc.end(l, r)
			l.now = l.now.Add(2 * time.Minute)
			next := l.begin(tc.replaced)
			last := next.Last()
			if last == nil || last.How != tc.how || last.Reason != tc.reason || last.PeakDescriptors != 42 {
				t.Fatalf("ended %+v, want %s %q", last, tc.how, tc.reason)
			}
			if tc.how == EndCrash {
				kept, err := os.ReadFile(last.File)
				if err != nil || !strings.Contains(string(kept), "goroutine 7") || !strings.Contains(last.Trace, "goroutine 7") {
					t.Errorf("the trace is not kept: %q %v", last.Trace, err)
				}
			}
			lives, err := ReadLives(l.home)
			if err != nil || len(lives) != 1 || lives[0].How != tc.how {
				t.Errorf("the record holds %+v %v", lives, err)
			}
		})
	}
}

// A record that a loss of power cut goes on, and one that grows long is cut.
func TestRecordIsKeptShort(t *testing.T) {
	l := &lived{t: t, home: t.TempDir(), now: time.Now(), boot: "one"}
	l.begin(false).Close()
	l.begin(false).Close()
	path := filepath.Join(l.home, livesFile)
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"how":"kil`); err != nil {
		t.Fatal(err)
	}
	f.Close()
	for range tornLives + 5 {
		l.begin(false).Close()
	}
	lives, err := ReadLives(l.home)
	if err != nil || len(lives) < keptLives || len(lives) > tornLives {
		t.Errorf("%d lives are kept: %v", len(lives), err)
	}
	// One more life, the first two among them: what was cut is still counted.
	if ends := l.begin(false).Ends(); ends[EndKilled] != tornLives+7 || len(ends) != 1 {
		t.Errorf("%d lives were begun, %v are counted", tornLives+7, ends)
	}
	if err := os.WriteFile(filepath.Join(l.home, lifeFile), []byte("\x00\x00"), 0o600); err != nil {
		t.Fatal(err)
	}
	if last := l.begin(false).Last(); last == nil || last.How != EndKilled {
		t.Errorf("a marker that cannot be read: %+v", last)
	}
}

func TestSafeMode(t *testing.T) {
	now := time.Now()
	many := func(n int, l Life) []Life {
		var all []Life
		for i := range n {
			l.Ended = now.Add(time.Duration(i-n) * time.Second)
			all = append(all, l)
		}
		return all
	}
	crash := Life{How: EndCrash}
	for _, tc := range []struct {
		name  string
		lives []Life
		safe  bool
	}{
		{"five crashes", many(5, crash), false},
		{"six crashes", many(6, crash), true},
		{"six probes", many(6, Life{How: EndProbe}), true},
		{"six kills", many(6, Life{How: EndKilled}), false},
		{"six failed starts", many(6, Life{How: EndFailed}), false},
		{"six failures of a host that served", many(6, Life{How: EndFailed, Served: true}), true},
		{"six crashes, and a stop", append(many(6, crash), Life{How: EndAsked, Ended: now}), false},
		{"six crashes, and a kill", append(many(6, crash), Life{How: EndKilled, Ended: now}), true},
		{"a person left it", append(many(6, crash), Life{How: EndCrash, SafeLeft: true, Ended: now}), false},
		{"crashes of an hour ago", append([]Life{{How: EndCrash, Ended: now.Add(-time.Hour)}, {How: EndCrash, Ended: now.Add(-time.Hour)}}, many(4, crash)...), false},
	} {
		if got := looping(tc.lives, now); got != tc.safe {
			t.Errorf("%s: safe mode %v", tc.name, got)
		}
	}
	l := &lived{t: t, home: t.TempDir(), now: now, boot: "one"}
	for i := range crashLoop + 1 {
		r := l.begin(false)
		if r.Safe().Text != "" {
			t.Fatalf("safe mode after %d crashes", i)
		}
		r.Ending(EndProbe, fmt.Sprint("deaf ", i), "")
	}
	if r := l.begin(false); !strings.Contains(r.Safe().Text, "deaf 5") {
		t.Errorf("no safe mode: %q", r.Safe().Text)
	}
}

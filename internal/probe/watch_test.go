package probe

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// hang waits for longer than anybody does.
func hang(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

// TestWatcher runs a host that is well for 20 seconds and wrong from then on.
// In the bubble time goes by at once.
func TestWatcher(t *testing.T) {
	const wrong = 20 * time.Second
	fine := func(context.Context) error { return nil }
	long := func(context.Context) error { time.Sleep(7 * time.Second); return nil }
	for _, tc := range []struct {
		name     string
		read     func(context.Context) error // from the wedge on
		direct   func(context.Context) error
		write    func(context.Context) error
		written  bool          // others' writes go through
		disk     time.Duration // that its check takes
		full     error         // of the check
		answered int64         // by others, each second
		waited   time.Duration // by those, for their answers
		patient  bool
		dies     time.Duration // after the wedge; 0: lives for two minutes
		problem  string
		well     bool // to the end
	}{
		{name: "all is well", read: fine},
		{name: "no answer", read: hang, dies: 17 * time.Second, problem: "no answer"},
		{name: "the door is shut", read: func(context.Context) error { return errors.New("connection refused") }, dies: 17 * time.Second, problem: "refused"},
		{name: "reads fail", read: func(context.Context) error { return &FailingError{"no list"} }, dies: 17 * time.Second, problem: "no list"},
		{name: "reads fail, as they did before", read: func(context.Context) error { return &FailingError{"no list"} }, patient: true, problem: "no list"},
		{name: "every answer is late", read: func(context.Context) error { time.Sleep(7 * time.Second); return nil }, problem: "no answer"},
		{name: "every answer is as late as may be", read: func(context.Context) error { time.Sleep(12900 * time.Millisecond); return nil }, problem: "no answer"},
		{name: "answers are later than three probes", read: func(ctx context.Context) error { time.Sleep(25 * time.Second); return nil }, dies: 17 * time.Second},
		{name: "so they are, and others get theirs", read: func(context.Context) error { time.Sleep(25 * time.Second); return nil }, answered: 1, problem: "no answer"},
		{name: "so they are, and others wait as long as may be for theirs", read: hang, answered: 1, waited: 14 * time.Second, dies: 85 * time.Second},
		{name: "so they are, and only those who came long before get theirs", read: hang, answered: 1, waited: 17 * time.Second, dies: 17 * time.Second},
		{name: "others are answered for ever, and we never", read: hang, answered: 1, dies: 85 * time.Second},
		{name: "overloaded", read: func(context.Context) error { return ErrOverloaded }, direct: fine},
		{name: "overloaded, and stuck behind it", read: func(context.Context) error { return ErrOverloaded }, direct: hang, dies: 17 * time.Second},
		{name: "the disk stands still", read: hang, disk: time.Hour, problem: "The disk"},
		{name: "a write hangs", read: fine, write: hang, problem: "A write has been waiting"},
		{name: "a write takes long", read: fine, write: long, problem: "A write has been waiting"},
		{name: "a write takes long, and others go through", read: fine, write: long, written: true, well: true},
		{name: "a write never ends, and others go through", read: fine, write: hang, written: true, problem: "A write failed"},
		{name: "a write fails", read: fine, write: func(context.Context) error { return errors.New("no such table") }, problem: "/dev/x does not take writes, though the disk does"},
		{name: "a write fails as the disk does", read: fine, write: func(context.Context) error { return errors.New("rolled back") }, full: errors.New("no space left"), problem: "rolled back): the disk /dev/x does not take writes (no space left)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begun := time.Now()
				bad := func() bool { return time.Since(begun) >= wrong }
				ctx, cancel := context.WithCancel(t.Context())
				var died atomic.Int64
				or := func(f func(context.Context) error) func(context.Context) error {
					return func(ctx context.Context) error {
						if f == nil || !bad() {
							return nil
						}
						return f(ctx)
					}
				}
				w := &Watcher{
					Checks: Checks{
						Read: or(tc.read), Direct: or(tc.direct), Write: or(tc.write),
						Disk: func() error { time.Sleep(tc.disk); return tc.full },
						Written: func() time.Time {
							if bad() && !tc.written {
								return begun.Add(wrong)
							}
							return time.Now()
						},
						Answered: func() (int64, time.Time) {
							if tc.answered == 0 {
								return 0, time.Time{}
							}
							return tc.answered * int64(time.Since(begun)/time.Second), time.Now().Add(-tc.waited)
						},
						Deaf: func(string) {
							died.Store(int64(time.Since(begun) - wrong))
							cancel()
							runtime.Goexit() // it does not return
						},
					},
					DiskName: "/dev/x", Every: Every, Budget: Budget, Log: slog.New(slog.DiscardHandler), Patient: tc.patient,
				}
				done := make(chan struct{})
				go func() { defer close(done); _ = w.Run(ctx) }()
				time.Sleep(wrong - time.Second)
				if err := w.Well(ctx); err != nil || len(w.Problems()) > 0 {
					t.Errorf("before anything is wrong: %v %v", err, w.Problems())
				}
				for range 120 {
					time.Sleep(time.Second)
					text := told(w)
					if tc.well && text != "" {
						t.Fatalf("a false alarm: %s", text)
					}
					if tc.problem != "" && strings.Contains(text, tc.problem) {
						tc.problem = ""
					}
				}
				took := time.Duration(died.Load())
				switch {
				case tc.dies == 0 && took != 0:
					t.Errorf("it was ended after %s", took)
				case tc.dies != 0 && (took == 0 || took > tc.dies):
					t.Errorf("it was ended after %s, want within %s", took, tc.dies)
				}
				if tc.problem != "" {
					t.Errorf("nobody was told %q: %q", tc.problem, w.Problems())
				}
				cancel()
				<-done
				time.Sleep(2 * time.Hour) // what was left behind ends
			})
		})
	}
}

// TestWedgeToExit has a host become deaf at every moment of the probe's cycle:
// what came before is served still, as late as it was served before, and nothing
// that comes after. Its evidence takes as long as it may. The end is within 20
// seconds, and no sooner than a busy host may take for an answer.
func TestWedgeToExit(t *testing.T) {
	const interval = 100 * time.Millisecond // between two of the others
	worst := time.Duration(0)
	for _, own := range []time.Duration{0, time.Second, 3 * time.Second, 9 * time.Second, 12 * time.Second} { // that the probe's answers take
		for _, others := range []time.Duration{-1, 0, 2 * time.Second, 3 * time.Second, 5 * time.Second, 30 * time.Second} { // that those of others take; -1: there are none
			for phase := time.Duration(0); phase < Every; phase += 370 * time.Millisecond {
				synctest.Test(t, func(t *testing.T) {
					begun := time.Now()
					wedge := begun.Add(10*Every + phase)
					ctx, cancel := context.WithCancel(t.Context())
					var ended time.Time
					w := &Watcher{
						Checks: Checks{
							Read: func(ctx context.Context) error {
								if time.Now().After(wedge) {
									return hang(ctx)
								}
								time.Sleep(own)
								return nil
							},
							Write: func(context.Context) error { return nil }, Disk: func() error { return nil },
							Answered: func() (int64, time.Time) {
								if others < 0 {
									return 0, begun
								}
								youngest := time.Now().Add(-others)
								if youngest.After(wedge) {
									youngest = wedge
								}
								return int64(youngest.Sub(begun) / interval), youngest
							},
							Deaf: func(string) { time.Sleep(EvidenceBudget); ended = time.Now(); cancel(); runtime.Goexit() },
						},
						Every: Every, Budget: Budget, Log: slog.New(slog.DiscardHandler),
					}
					done := make(chan struct{})
					go func() { defer close(done); _ = w.Run(ctx) }()
					time.Sleep(10*Every + phase + time.Minute)
					cancel()
					<-done
					took := ended.Sub(wedge)
					if took > 20*time.Second || took < 13*time.Second {
						t.Errorf("answers took %s, those of others %s, phase %s: it ended %s after the wedge", own, others, phase, took)
					}
					worst = max(worst, took)
				})
			}
		}
	}
	t.Logf("at worst it took %s", worst)
}

// After a sleep of the machine, and while the host rests, nothing is held
// against it.
func TestWatcherForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		w := &Watcher{
			Checks: Checks{
				Read: hang, Write: func(context.Context) error { return nil }, Disk: func() error { return nil },
				Answered: func() (int64, time.Time) { return 0, time.Time{} }, Deaf: func(reason string) { t.Errorf("it was ended: %s", reason) },
			},
			Every: Every, Budget: Budget, Log: slog.New(slog.DiscardHandler),
		}
		done := make(chan struct{})
		go func() { defer close(done); _ = w.Run(ctx) }()
		for range 5 {
			time.Sleep(2 * Every)
			w.Forget()
		}
		w.Rest()
		time.Sleep(10 * Every)
		if w.Well(ctx) == nil {
			t.Error("it is well without an answer")
		}
		cancel()
		<-done
	})
}

// told is all that a watcher says is wrong.
func told(w *Watcher) string {
	var all []string
	for _, problem := range w.Problems() {
		all = append(all, problem.Text)
	}
	return strings.Join(all, " ")
}

package probe

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast/internal/said"
)

// The probe's times. A host is deaf when nothing has been answered of all that
// came within the last 17 seconds, the probe itself and others. Whenever it was
// that it became so, that is 17 seconds later at most; the evidence has two and a
// half, and half a second is left for the end: twenty in all.
const (
	Every  = 4 * time.Second
	Budget = 2 * time.Second

	// EvidenceBudget is how long whatever Deaf does may take.
	EvidenceBudget = 2500 * time.Millisecond

	patience  = 17 * time.Second // where the interval is Every
	deafAfter = 3                // misses in a row, at least

	// maxExcused bounds the misses in a row that are excused: whatever the
	// reason, a host that has not answered for a minute is of no use.
	maxExcused = 15

	// lateAnswer is how long an answer is waited for after its miss.
	lateAnswer = 30 * time.Second
)

// ErrOverloaded says that the listener answers, and has no room for the probe.
var ErrOverloaded = errors.New("the listener has no room")

// Checks are what a Watcher does to find out how the host is. Each may hang:
// it is then left behind.
type Checks struct {
	// Read asks for what a person's page asks for, through the listener.
	Read func(context.Context) error
	// Direct asks for the same without the listener, when that is overloaded.
	Direct func(context.Context) error
	// Write changes a row and reads it back. It returns when that is done, or
	// when ctx ends.
	Write func(context.Context) error
	// Written is when anything was last written where Write does.
	Written func() time.Time
	// Disk writes a file of its own to the disk.
	Disk func() error
	// Answered counts what others asked of the same kind and got, and tells when
	// the youngest of them came.
	Answered func() (count int64, youngest time.Time)
	// Deaf ends the host. It does not return.
	Deaf func(reason string)
}

// Watcher probes the host as a user of it, again and again. It shares no lock
// with what it watches.
type Watcher struct {
	Checks

	DiskName      string // for a person
	Every, Budget time.Duration
	Log           *slog.Logger

	// Patient keeps it from ending the host for answers that say that reads
	// fail: they did before the host was started anew, too.
	Patient bool

	mu      sync.Mutex
	passed  time.Time     // of the last answer
	took    time.Duration // that it took
	served  time.Time     // what came then was answered; later where nothing may be held against the host before
	misses  []time.Time   // when the rounds began that were missed since
	excused int           // in a row
	missed  string        // why the last one was a miss; "" where it was none
	write   time.Time     // since when a write is under way
	werr    error         // how the last one failed
	disk    time.Time     // since when the disk's own check is under way
	derr    error         // how the last one failed, unless a write has passed since
	resting bool
}

type answer struct {
	round int
	begun time.Time
	took  time.Duration
	err   error
}

// FailingError is an answer that says that reads fail.
type FailingError struct{ Text string }

func (e *FailingError) Error() string { return e.Text }

// Run probes until ctx ends.
func (w *Watcher) Run(ctx context.Context) error {
	answers := make(chan answer, 64)
	w.Forget()
	next := time.Now()
	for round := 1; ; round++ {
		begun := time.Now()
		others, _ := w.Answered()
		w.launch(ctx, round, answers)
		w.launchWrite(ctx)
		got, err := w.await(ctx, answers, round, begun.Add(w.Budget))
		if ctx.Err() != nil {
			return nil
		}
		count, _ := w.Answered()
		w.judge(verdict{begun: begun, passed: got && err == nil, err: err, late: time.Since(begun) - w.Budget, others: count - others})
		next = next.Add(w.Every)
		if time.Until(next) < w.Every/4 {
			next = time.Now().Add(w.Every) // it stood still, or was told to rest
		}
		for time.Until(next) > 0 {
			if got, _ := w.await(ctx, answers, -1, next); !got && ctx.Err() != nil {
				return nil
			}
		}
		if late := time.Since(next); late > w.stoodStill() {
			w.Forget()
		}
	}
}

// patience is for how long nothing that came may go without an answer.
func (w *Watcher) patience() time.Duration {
	return time.Duration(float64(w.Every) * float64(patience) / float64(Every))
}

// stoodStill is by how much a timer must be late to tell that the process, or
// the machine, stood still and not the host.
func (w *Watcher) stoodStill() time.Duration { return w.Every / 4 }

// launch asks once. An answer that comes after its budget is taken still: it
// tells a busy host from a deaf one.
func (w *Watcher) launch(ctx context.Context, round int, answers chan<- answer) {
	go func() {
		ctx, cancel := context.WithTimeout(ctx, max(lateAnswer, w.Budget))
		defer cancel()
		begun := time.Now()
		err := w.Read(ctx)
		if errors.Is(err, ErrOverloaded) {
			err = w.Direct(ctx)
		}
		select {
		case answers <- answer{round, begun, time.Since(begun), err}:
		default: // nobody listens any more
		}
	}()
}

// await takes answers until the one of the round comes or the time is over, and
// ends the host when it is deaf meanwhile.
func (w *Watcher) await(ctx context.Context, answers <-chan answer, round int, until time.Time) (got bool, err error) {
	for {
		first, due := until, w.due()
		if !due.IsZero() && due.Before(until) {
			first = due
		}
		timer := time.NewTimer(time.Until(first))
		select {
		case a := <-answers:
			w.take(a)
			if a.round == round {
				timer.Stop()
				return true, a.err
			}
		case <-timer.C:
			if first.Equal(until) {
				return false, nil
			}
			w.end()
		case <-ctx.Done():
			timer.Stop()
			return false, ctx.Err()
		}
		timer.Stop()
	}
}

// take notes an answer, however late: what came then is served. It says nothing
// of what came later.
func (w *Watcher) take(a answer) {
	if a.err != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.took, w.passed, w.excused = a.took, time.Now(), 0
	w.heardLocked(a.begun)
}

// heardLocked notes that what came at a time is not held against the host any
// more.
func (w *Watcher) heardLocked(at time.Time) {
	if at.After(w.served) {
		w.served = at
	}
	w.misses = slices.DeleteFunc(w.misses, func(begun time.Time) bool { return !begun.After(w.served) })
}

// due is when the host is deaf unless something is answered until then; zero:
// nothing says that it is about to be.
func (w *Watcher) due() time.Time {
	_, youngest := w.Answered()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.excused < maxExcused {
		w.heardLocked(youngest)
	}
	if w.diskStandsLocked() {
		w.heardLocked(time.Now())
	}
	if w.resting || len(w.misses) < deafAfter {
		return time.Time{}
	}
	return w.served.Add(w.patience())
}

// end ends the host where it is deaf.
func (w *Watcher) end() {
	if due := w.due(); due.IsZero() || time.Now().Before(due) {
		return
	}
	w.mu.Lock()
	misses, reason := len(w.misses), w.missed
	w.mu.Unlock()
	w.Deaf(fmt.Sprintf("the host is deaf: its own probe was missed %d times, and nothing was answered that came within the last %s: %s", misses, w.patience(), reason))
}

// diskStandsLocked tells whether the disk's own check does not come back: what a
// restart does not mend.
func (w *Watcher) diskStandsLocked() bool {
	return !w.disk.IsZero() && time.Since(w.disk) > w.Budget/2
}

// verdict is what one round brought.
type verdict struct {
	begun  time.Time
	passed bool
	err    error         // of an answer that was no pass; nil: there was no answer in time
	late   time.Duration // by how much the budget's timer was late
	others int64         // what others got meanwhile
}

// judge counts what a round brought, and ends the host where it is deaf.
func (w *Watcher) judge(v verdict) {
	w.mu.Lock()
	if w.resting {
		w.mu.Unlock()
		return
	}
	if v.passed {
		w.missed = ""
		w.mu.Unlock()
		return
	}
	reason := fmt.Sprintf("no answer within %s", w.Budget)
	if v.err != nil {
		reason = v.err.Error()
	}
	excuse := ""
	var failing *FailingError
	switch {
	// What a restart does not mend is excused for as long as it lasts.
	case w.diskStandsLocked():
		excuse = "the disk stands still"
		w.passed = time.Now()
		w.heardLocked(w.passed)
	case w.Patient && errors.As(v.err, &failing):
		excuse = "it was so before a restart"
		w.passed = time.Now()
		w.heardLocked(w.passed)
	case w.excused < maxExcused && v.late > w.stoodStill():
		excuse = "the process stood still"
		w.excused++
		w.heardLocked(w.served.Add(v.late)) // that time does not count
	default:
		w.misses = append(w.misses, v.begun)
		if w.excused < maxExcused && v.others > 0 {
			excuse = fmt.Sprintf("others were answered %d times meanwhile", v.others)
			w.excused++
		}
	}
	w.missed = reason
	misses := len(w.misses)
	w.mu.Unlock()
	w.launchDisk()
	w.say(slog.LevelWarn, "the host missed its own probe", "reason", reason, "excuse", excuse, "misses", misses)
	w.end()
}

// say logs without waiting: the log may be what is stuck.
func (w *Watcher) say(level slog.Level, text string, args ...any) {
	go w.Log.Log(context.Background(), level, text, args...) //nolint:sloglint // constants of this file
}

// launchWrite begins a write unless one is under way still.
func (w *Watcher) launchWrite(ctx context.Context) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.write.IsZero() {
		if time.Since(w.write) > w.Budget {
			go w.launchDisk()
		}
		return
	}
	w.write = time.Now()
	go func() {
		begun := time.Now()
		ctx, cancel := context.WithTimeout(ctx, lateAnswer)
		defer cancel()
		err := w.Write(ctx)
		w.mu.Lock()
		defer w.mu.Unlock()
		w.write, w.werr = time.Time{}, err
		if err != nil {
			go w.launchDisk() // which of the two is it?
		} else {
			w.derr = nil
		}
		if took := time.Since(begun); took > w.Budget {
			w.say(slog.LevelWarn, "a write took long", "took", took.Round(time.Millisecond), "disk", w.DiskName, "err", err)
		}
	}()
}

// launchDisk begins a check of the disk unless one is under way still.
func (w *Watcher) launchDisk() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.disk.IsZero() {
		return
	}
	w.disk = time.Now()
	go func() {
		err := w.Disk()
		w.mu.Lock()
		defer w.mu.Unlock()
		w.disk, w.derr = time.Time{}, err
		if err != nil {
			w.say(slog.LevelWarn, "the disk does not take a write", "disk", w.DiskName, "err", err)
		}
	}()
}

// Forget forgets the misses: what came to be while the machine slept says
// nothing of the host.
func (w *Watcher) Forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.excused, w.missed = 0, ""
	w.heardLocked(time.Now())
}

// Rest ends the judging: the host closes its doors by itself.
func (w *Watcher) Rest() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.resting = true
}

// Well returns nil while the host has answered lately.
func (w *Watcher) Well(context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.passed.IsZero() {
		return errors.New("no probe has passed yet")
	}
	if since := time.Since(w.passed); since > 2*w.Every+w.Budget {
		return fmt.Errorf("no probe has passed for %s", since.Round(time.Second))
	}
	return nil
}

// Latency is how long the last answer took, and when it came.
func (w *Watcher) Latency() (took time.Duration, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.took, w.passed
}

// Problems says what is wrong, for a person.
func (w *Watcher) Problems() []said.Words {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []said.Words
	stalled := w.diskStandsLocked()
	since := time.Since(w.write)
	if w.Written != nil {
		// A write that waits while others go through is behind them, not stuck.
		since = min(since, time.Since(w.Written()))
	}
	if !w.write.IsZero() && since > w.Budget || w.werr != nil {
		stuck := said.Writes{Since: since, Disk: w.DiskName, Stalled: stalled, DiskErr: w.derr}
		if w.write.IsZero() || since <= w.Budget {
			stuck.Failed = w.werr
		}
		all = append(all, stuck.Stuck())
	} else if stalled {
		all = append(all, said.DiskStalled(w.DiskName))
	}
	if w.missed != "" {
		all = append(all, said.Deaf(w.missed))
	}
	return all
}

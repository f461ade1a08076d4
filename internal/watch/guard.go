package watch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast/internal/proc"
)

// Threshold is how many descriptors are too many: a count, or a share of the
// process's soft limit. The zero Threshold is not reached.
type Threshold struct {
	Count int
	Share float64 // 0 to 1
}

// ParseThreshold reads "200" or "80%".
func ParseThreshold(text string) (Threshold, error) {
	bad := fmt.Errorf("%q is no number of descriptors and no share of the limit; write for example 200 or 80%%", text)
	if percent, ok := strings.CutSuffix(text, "%"); ok {
		n, err := strconv.ParseFloat(percent, 64)
		if err != nil || math.IsNaN(n) || n <= 0 || n > 100 {
			return Threshold{}, bad
		}
		return Threshold{Share: n / 100}, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n <= 0 {
		return Threshold{}, bad
	}
	return Threshold{Count: n}, nil
}

func (t Threshold) String() string {
	if t.Share > 0 {
		return strconv.FormatFloat(t.Share*100, 'g', 4, 64) + "% of the limit"
	}
	return strconv.Itoa(t.Count)
}

// ErrNoLimit says that a share was asked for and the limit is not known.
var ErrNoLimit = errors.New("the descriptor limit of the process is not known here, so a share of it cannot be watched; give a number: --max-fds 200")

// Over tells whether the sample has reached the threshold.
func (t Threshold) Over(s *Sample) (bool, error) {
	switch {
	case t.Count > 0:
		return s.Count >= t.Count, nil
	case t.Share > 0 && s.Soft == 0 && s.Hard == 0:
		return false, ErrNoLimit
	case t.Share > 0 && s.Soft > 0:
		return s.Share() >= t.Share, nil
	}
	return false, nil
}

// Options says what to guard, and how.
type Options struct {
	Selector Selector
	Pinned   proc.ID // with a pid: exactly this process, where it is known
	MaxFDs   Threshold
	Lenient  bool   // a threshold that cannot be looked at is a note and no error
	URL      string // "" asks nothing
	Timeout  time.Duration
	Patience int
	Busy     time.Duration // a server at work may be silent for so long; 0 for ever
	Young    time.Duration // no answer counts against a younger process
	Cooldown time.Duration
	Confirm  time.Duration // a count over the threshold is looked at again after so long
	Action   Action
	// Save keeps the memory before something is done, so that a look which
	// dies, or is overtaken by the next one, does not do it twice.
	Save func(Memory) error
}

// State is what a look came to.
type State string

// The states. Only Trouble is acted upon.
const (
	Well     State = "well"
	Starting State = "starting" // no answer yet, of a young process
	Busy     State = "busy"     // no answer, and at work
	Missed   State = "missed"   // no answer, or no process, but patience is left
	Trouble  State = "trouble"
)

// Finding is what one look saw and did.
type Finding struct {
	Time    time.Time `json:"time"`
	Watched string    `json:"watched"`
	State   State     `json:"state"`
	Text    string    `json:"text"`
	PIDs    []int     `json:"pids"`
	Count   int       `json:"descriptors,omitempty"` // of the process that has most
	Soft    uint64    `json:"soft_limit,omitempty"`
	Top     []Tally   `json:"top,omitempty"` // in trouble with descriptors
	Misses  int       `json:"misses,omitempty"`
	Action  string    `json:"action,omitempty"` // that was to be done
	Acted   bool      `json:"acted"`
	Failed  string    `json:"failed,omitempty"` // why it could not be
	Ended   bool      `json:"ended,omitempty"`  // the one process that was named is no more
}

// Look looks once, and acts where that is due. An error says that it could not
// look.
func Look(ctx context.Context, o Options, m *Memory) (*Finding, error) {
	f := &Finding{Time: time.Now(), Watched: o.Selector.String(), State: Well, PIDs: []int{}}
	ids, err := o.Selector.Find()
	if err == nil && o.Pinned.Start != 0 && len(ids) > 0 && ids[0] != o.Pinned {
		ids = nil // another process has its pid
	}
	if err != nil && !errors.Is(err, proc.ErrGone) {
		return nil, err
	}
	var first proc.ID
	if len(ids) > 0 {
		first = ids[0]
	}
	if first != m.First {
		m.First, m.Misses, m.Silent = first, 0, time.Time{}
	}
	for _, id := range ids {
		f.PIDs = append(f.PIDs, id.PID)
	}
	targets := roots(ids)
	if len(ids) == 0 {
		o.absent(f, m)
	} else if worst, err := o.descriptors(ctx, f, ids); err != nil {
		return nil, err
	} else if !worst.Zero() {
		targets = []proc.ID{worst}
	} else if o.URL != "" {
		o.http(ctx, f, m, ids)
	}
	f.Misses = m.Misses
	if ctx.Err() != nil {
		return nil, ctx.Err() // what was cut short says nothing
	}
	if f.State == Trouble {
		o.act(ctx, f, m, targets)
	}
	return f, nil
}

// absent judges that no process is there.
func (o Options) absent(f *Finding, m *Memory) {
	m.Misses++
	f.State, f.Text = Missed, "no process is there"
	if o.Selector.PID != 0 {
		f.State, f.Text, f.Ended = Trouble, fmt.Sprintf("process %d has ended", o.Selector.PID), true
		return
	}
	o.spend(f, m)
}

// spend makes trouble of a miss when patience has run out.
func (o Options) spend(f *Finding, m *Memory) {
	f.Text += fmt.Sprintf(" (%d of %d)", m.Misses, o.Patience)
	if m.Misses >= o.Patience {
		f.State = Trouble
	}
}

// descriptors looks at the threshold, and returns the process that has reached
// it.
func (o Options) descriptors(ctx context.Context, f *Finding, ids []proc.ID) (proc.ID, error) {
	var most *Sample
	var blind error
	for _, id := range ids {
		s, err := Take(id)
		if errors.Is(err, proc.ErrGone) {
			continue
		}
		if err != nil {
			blind = err
			continue
		}
		over, err := o.MaxFDs.Over(s)
		if err != nil {
			blind = err
		}
		if over {
			// A burst is gone a moment later; a leak is not.
			if !sleep(ctx, o.Confirm) {
				return proc.ID{}, ctx.Err()
			}
			again, err := Take(id)
			if err != nil {
				continue
			}
			if over, _ = o.MaxFDs.Over(again); over {
				o.leak(f, again)
				return again.ID, nil
			}
			s = again
		}
		if most == nil || s.Count > most.Count {
			most = s
		}
	}
	if blind != nil && !o.Lenient {
		return proc.ID{}, blind
	}
	if most == nil {
		f.Text = "its descriptors cannot be seen"
		if blind == nil {
			f.Text = "it has just ended"
		} else if errors.Is(blind, fs.ErrPermission) {
			f.Text = "its descriptors cannot be seen: it belongs to another user"
		}
		return proc.ID{}, nil
	}
	f.Count, f.Soft = most.Count, most.Soft
	f.Text = "process " + strconv.Itoa(most.PID) + " has " + Usage(most)
	return proc.ID{}, nil
}

func (o Options) leak(f *Finding, s *Sample) {
	f.State, f.Count, f.Soft = Trouble, s.Count, s.Soft
	f.Top = s.Names[:min(5, len(s.Names))]
	f.Text = fmt.Sprintf("process %d has %s; the threshold is %s", s.PID, Usage(s), o.MaxFDs)
	if len(s.Names) > 0 && s.Names[0].Count > 1 {
		f.Text += fmt.Sprintf("; %d of them are %s", s.Names[0].Count, s.Names[0].Name)
	}
}

// Usage says how many descriptors there are, and of how many.
func Usage(s *Sample) string {
	text := fmt.Sprintf("%d descriptors", s.Count)
	if s.Soft > 0 {
		text += fmt.Sprintf(" of %d (%.0f%%)", s.Soft, 100*s.Share())
	}
	return text
}

// http asks, and judges the silence.
func (o Options) http(ctx context.Context, f *Finding, m *Memory, ids []proc.ID) {
	a := ask(ctx, o.URL, o.Timeout, ids)
	f.Text += "; " + a.text
	if a.alive {
		m.Misses, m.Silent = 0, time.Time{}
		return
	}
	now := time.Now()
	if began, err := proc.StartedAt(ids[0]); err == nil && now.Sub(began) < o.Young {
		f.State = Starting
		f.Text += "; it is " + now.Sub(began).Round(time.Second).String() + " old and may still be starting"
		return
	}
	if m.Silent.IsZero() {
		m.Silent = now
	}
	if a.busy && (o.Busy == 0 || now.Sub(m.Silent) < o.Busy) {
		// What it missed while it was idle stands; its work adds nothing to that.
		f.State = Busy
		return
	}
	if a.busy {
		f.Text += fmt.Sprintf("; it has given no answer for %s", now.Sub(m.Silent).Round(time.Second))
	}
	m.Misses++
	f.State = Missed
	o.spend(f, m)
}

// act does what is to be done, unless it was done a moment ago.
func (o Options) act(ctx context.Context, f *Finding, m *Memory, targets []proc.ID) {
	if o.Action.None() {
		return
	}
	f.Action = o.Action.String()
	if wait := o.Cooldown - f.Time.Sub(m.Acted); !m.Acted.IsZero() && wait > 0 && wait <= o.Cooldown {
		f.Failed = fmt.Sprintf("it was done at %s already; not again for %s", m.Acted.Local().Format(time.TimeOnly), wait.Round(time.Second))
		return
	}
	before := *m
	m.Acted, m.Misses, m.Silent = f.Time, 0, time.Time{}
	if o.Save != nil {
		if err := o.Save(*m); err != nil {
			// Without a memory a run a minute would restart it each minute.
			*m = before
			f.Failed = err.Error()
			return
		}
	}
	if err := o.Action.do(ctx, f, targets); err != nil {
		f.Failed = err.Error()
		return
	}
	f.Acted = true
}

// roots leaves out processes that others of the list have started.
func roots(ids []proc.ID) []proc.ID {
	listed := map[int]bool{}
	for _, id := range ids {
		listed[id.PID] = true
	}
	var top []proc.ID
	for _, id := range ids {
		if p, err := proc.Lookup(id.PID); err == nil && !listed[p.Parent] {
			top = append(top, id)
		}
	}
	return top
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

package session

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast/internal/store"
)

// RunReasons are how a run can end, as Tally counts it: those of ACP, our own,
// and "other" for whatever else an agent says.
var RunReasons = []string{
	store.EndTurn, store.Cancelled, "max_tokens", "max_turn_requests", "refusal", store.Interrupted, store.Failed, otherReason,
}

const otherReason = "other"

// RunBuckets are the upper bounds of Tally.Took.
var RunBuckets = []time.Duration{
	time.Second, 5 * time.Second, 15 * time.Second, time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour, 4 * time.Hour,
}

// Tally counts the runs of one agent of the catalogue since the host started.
type Tally struct {
	Ended map[string]uint64 // by each of RunReasons; those that never began among them
	Took  []uint64          // that ended within each of RunBuckets, those of the bucket before among them
	Count uint64            // that began and ended
	Sum   time.Duration     // from the prompt to the end, of those
}

// endedRun is a run whose end is committed.
type endedRun struct {
	agent, reason string
	began         bool
	took          time.Duration
}

// tallies counts what has been committed. The zero tallies is ready.
type tallies struct {
	mu sync.Mutex
	by map[string]*Tally // by agent
}

func (t *tallies) ofLocked(agent string) *Tally {
	if t.by == nil {
		t.by = map[string]*Tally{}
	}
	a := t.by[agent]
	if a == nil {
		a = &Tally{Ended: map[string]uint64{}, Took: make([]uint64, len(RunBuckets))}
		t.by[agent] = a
	}
	return a
}

// began has an agent counted from zero on, so that its first end is a rise.
func (t *tallies) began(agent string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ofLocked(agent)
}

func (t *tallies) ended(r endedRun) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.ofLocked(r.agent)
	if !slices.Contains(RunReasons, r.reason) {
		r.reason = otherReason // an agent's own word is no label
	}
	a.Ended[r.reason]++
	if !r.began {
		return
	}
	a.Count++
	a.Sum += r.took
	for i, bound := range RunBuckets {
		if r.took <= bound {
			a.Took[i]++
		}
	}
}

// Tallies counts the runs that have ended since the host started, by agent.
func (m *Manager) Tallies() map[string]Tally {
	m.tally.mu.Lock()
	defer m.tally.mu.Unlock()
	out := map[string]Tally{}
	for agent, t := range m.tally.by {
		out[agent] = Tally{Ended: maps.Clone(t.Ended), Took: slices.Clone(t.Took), Count: t.Count, Sum: t.Sum}
	}
	return out
}

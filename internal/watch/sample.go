// Package watch looks at processes that need not be ours: what descriptors one
// has open, what grows, whether it answers; and acts when it does not.
//
// It must need nothing of the process but what the kernel tells and, where
// asked for, an HTTP answer. It opens none of the files that it lists.
package watch

import (
	"cmp"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/holdfast-dev/holdfast/internal/proc"
)

// Tally is how many descriptors there are of one kind or name.
type Tally struct {
	Kind    proc.Kind `json:"kind"`
	Name    string    `json:"name,omitempty"`
	Count   int       `json:"count"`
	Deleted int       `json:"deleted,omitempty"` // of them, files that no name leads to
}

// Sample is what the descriptors of a process were at one moment.
type Sample struct {
	proc.ID
	Command string    `json:"command"`
	Args    []string  `json:"args,omitempty"`
	Since   time.Time `json:"since,omitzero"`
	At      time.Time `json:"at"`
	Count   int       `json:"count"`
	Soft    uint64    `json:"soft_limit,omitempty"` // 0 where unknown, or none
	Hard    uint64    `json:"hard_limit,omitempty"`
	Kinds   []Tally   `json:"kinds"` // most first
	Names   []Tally   `json:"names"` // most first
}

// Share is how much of the soft limit is used, 0 to 1; 0 where there is none.
func (s *Sample) Share() float64 {
	if s.Soft == 0 {
		return 0
	}
	return float64(s.Count) / float64(s.Soft)
}

// Take looks at a process. Where it has ended, or another one has its pid, the
// error is proc.ErrGone.
func Take(id proc.ID) (*Sample, error) {
	info, err := proc.Lookup(id.PID)
	if err != nil {
		return nil, err
	}
	if id.Start != 0 && info.ID != id || info.Zombie {
		return nil, proc.ErrGone
	}
	fds, err := proc.Table(id.PID)
	if err != nil {
		return nil, err
	}
	s := tally(fds)
	s.ID, s.Command, s.At = info.ID, info.Command, time.Now()
	s.Args, _ = proc.Args(id.PID) // what is not known stays empty
	s.Since, _ = proc.StartedAt(info.ID)
	soft, hard, err := proc.NoFile(id.PID)
	if errors.Is(err, proc.ErrGone) {
		return nil, err
	}
	if err == nil && soft != math.MaxUint64 {
		s.Soft = soft
	}
	if err == nil && hard != math.MaxUint64 {
		s.Hard = hard
	}
	return s, nil
}

func tally(fds []proc.Descriptor) *Sample {
	type key struct {
		kind proc.Kind
		name string
	}
	kinds, names := map[key]*Tally{}, map[key]*Tally{}
	count := func(m map[key]*Tally, k key, deleted bool) {
		t := m[k]
		if t == nil {
			t = &Tally{Kind: k.kind, Name: k.name}
			m[k] = t
		}
		t.Count++
		if deleted {
			t.Deleted++
		}
	}
	for _, d := range fds {
		count(kinds, key{kind: d.Kind}, d.Deleted)
		count(names, key{d.Kind, d.Name}, d.Deleted)
	}
	list := func(m map[key]*Tally) []Tally {
		all := make([]Tally, 0, len(m))
		for _, t := range m {
			all = append(all, *t)
		}
		sortTallies(all)
		return all
	}
	return &Sample{Count: len(fds), Kinds: list(kinds), Names: list(names)}
}

// sortTallies puts those first that count most, or grew most.
func sortTallies(all []Tally) {
	slices.SortFunc(all, func(a, b Tally) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
}

// Delta is what changed from one sample to a later one.
type Delta struct {
	Count int     `json:"count"`
	Kinds []Tally `json:"kinds"` // only those that changed
	Names []Tally `json:"names"`
}

// Since tells what changed since an earlier sample of the same process.
func Since(before, now *Sample) Delta {
	return Delta{Count: now.Count - before.Count, Kinds: changes(before.Kinds, now.Kinds), Names: changes(before.Names, now.Names)}
}

func changes(before, now []Tally) []Tally {
	type key struct {
		kind proc.Kind
		name string
	}
	old := map[key]Tally{}
	for _, t := range before {
		old[key{t.Kind, t.Name}] = t
	}
	changed := []Tally{}
	for _, t := range now {
		k := key{t.Kind, t.Name}
		was := old[k]
		delete(old, k)
		t.Count -= was.Count
		t.Deleted -= was.Deleted
		if t.Count != 0 || t.Deleted != 0 {
			changed = append(changed, t)
		}
	}
	for _, t := range old {
		t.Count, t.Deleted = -t.Count, -t.Deleted
		changed = append(changed, t)
	}
	sortTallies(changed)
	return changed
}

package ledger

import (
	"fmt"
	"slices"
	"strings"

	"github.com/holdfast-dev/holdfast/internal/said"
)

// Finding is something that is wrong, in words for a person.
type Finding struct {
	Subject string `json:"subject,omitempty" doc:"An owner, or a session's id"`
	said.Words
}

const (
	rises     = 5 // samples in a row that must each be higher
	riseLeast = 5 // descriptors that they must have grown by together
	twiceFor  = 2 // samples in a row: a burst that ends is no leak

	nearShare, fullShare, calmShare = 0.70, 0.90, 0.80
)

// strides are the distances between the samples that are compared, in samples:
// a leak that is slow beside the noise is seen over hours.
func strides() []int { return []int{1, 4, 16, 64, 256} }

// Watch judges samples in their order. The zero Watch is ready.
type Watch struct {
	twice  int
	full   bool
	series []series
	leak   *leak
}

// mark is what a series keeps of a sample.
type mark struct {
	unexplained int
	groups      map[groupKey]int
}

// series compares samples at one distance: of as many as it is wide the lowest
// counts, so that a peak is no growth.
type series struct {
	every, n int
	low      mark
	marks    []mark
}

func (s *series) feed(m mark) {
	if s.n == 0 || m.unexplained < s.low.unexplained {
		s.low = m
	}
	if s.n++; s.n < s.every {
		return
	}
	s.n = 0
	s.marks = append(s.marks, s.low)
	if len(s.marks) > rises+1 {
		s.marks = slices.Delete(s.marks, 0, 1)
	}
}

// grew tells whether each of the last samples is higher than the one before.
func grew(marks []mark) bool {
	if len(marks) < rises+1 {
		return false
	}
	for i := 1; i < len(marks); i++ {
		if marks[i].unexplained <= marks[i-1].unexplained {
			return false
		}
	}
	return marks[len(marks)-1].unexplained-marks[0].unexplained >= riseLeast
}

// leak is one that was found. It is told until most of it has gone.
type leak struct {
	from, peak int
	what       []Group
}

// Feed judges one sample more. shed says that the host is to take nothing that
// costs descriptors until it says otherwise.
func (w *Watch) Feed(s Sample) (found []Finding, shed bool) {
	found = append(found, owners(s)...)

	if s.Observed > 2*s.Expected {
		w.twice++
	} else {
		w.twice = 0
	}
	if w.twice >= twiceFor {
		all := top(s.groups, 3, func(groupKey) bool { return true })
		found = append(found, Finding{Words: said.Twice(s.Observed, s.Expected, words(all))})
	}

	if g := w.growth(s); g != nil {
		found = append(found, Finding{Words: said.Growth(s.Unexplained, words(g.what))})
	}

	share := 0.0
	if s.Limit > 0 {
		share = float64(s.Observed) / float64(s.Limit)
	}
	switch {
	case share >= fullShare:
		w.full = true
	case share < calmShare:
		w.full = false
	}
	switch {
	case w.full:
		found = append(found, Finding{Words: said.AtLimit(s.Observed, s.Limit, int(100*calmShare))})
	case share >= nearShare:
		found = append(found, Finding{Words: said.NearLimit(s.Observed, s.Limit, int(100*fullShare))})
	}
	return found, w.full
}

// owners holds each owner against its bound.
func owners(s Sample) []Finding {
	var found []Finding
	for _, h := range s.Owners {
		if has := max(h.Observed, h.Expected); h.Bound >= 0 && has > h.Bound {
			found = append(found, Finding{Subject: h.Owner, Words: said.OwnerLeak(h.Owner, has, h.Kind, h.Bound)})
		}
	}
	return found
}

func (w *Watch) growth(s Sample) *leak {
	if w.series == nil {
		for _, every := range strides() {
			w.series = append(w.series, series{every: every})
		}
	}
	now := mark{unexplained: s.Unexplained, groups: s.groups}
	for i := range w.series {
		one := &w.series[i]
		one.feed(now)
		if one.n != 0 || !grew(one.marks) {
			continue
		}
		first, last := one.marks[0], one.marks[len(one.marks)-1]
		if w.leak == nil {
			w.leak = &leak{from: first.unexplained}
		}
		w.leak.what = difference(first.groups, last.groups)
		break
	}
	if w.leak == nil {
		return nil
	}
	w.leak.peak = max(w.leak.peak, s.Unexplained)
	if s.Unexplained <= w.leak.from+(w.leak.peak-w.leak.from)/4 {
		w.leak = nil
	}
	return w.leak
}

// difference lists what there is more of now.
func difference(before, now map[groupKey]int) []Group {
	more := map[groupKey]int{}
	for g, n := range now {
		more[g] = n - before[g]
	}
	return top(more, 3, func(groupKey) bool { return true })
}

// words tells of groups: "40 × sqlite /home/…/state-*.db".
func words(groups []Group) string {
	if len(groups) == 0 {
		return "nothing of one make"
	}
	parts := make([]string, 0, len(groups))
	for _, g := range groups {
		parts = append(parts, strings.TrimSpace(fmt.Sprintf("%d × %s %s", g.Count, g.Kind, g.Target)))
	}
	return strings.Join(parts, ", ")
}

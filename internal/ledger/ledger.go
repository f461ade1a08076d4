// Package ledger compares the descriptors that the host holds with those that
// it can explain: every owner declares what it holds and how much that may
// ever be, the kernel lists what is open, and what no owner explains is looked
// at for growth. It does the same for memory, goroutines, the database's log,
// the disk and the processes of agents.
//
// The rules are functions over samples: nothing here acts, and nothing here
// knows what an owner is for.
package ledger

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast/internal/proc"
)

// Owner is one part of the host that holds descriptors.
type Owner struct {
	Name string
	// Kind is what its descriptors are. Owners of one kind that claim nothing
	// share what is open of it.
	Kind string
	// Claims tells which descriptors are surely its own. Nil: they look like
	// others of its kind, as sockets do, so it is believed how many it has.
	Claims func(proc.Descriptor) bool
	// Holds says how many it holds now, or means to hold at most where it does
	// not count, and the number that it must never exceed.
	Holds func() (expected, bound int)
}

// PathPrefix claims what lies at a path or below it, files beside it included.
func PathPrefix(prefix string) func(proc.Descriptor) bool {
	return func(d proc.Descriptor) bool { return prefix != "" && strings.HasPrefix(d.Target, prefix) }
}

// Holding is what one owner declares, and what the kernel says of it.
type Holding struct {
	Owner    string `json:"owner"`
	Kind     string `json:"kind"`
	Expected int    `json:"expected"`
	Bound    int    `json:"bound"`
	Observed int    `json:"observed" doc:"-1 where its descriptors look like those of other owners"`
}

// Group is a number of descriptors that look alike.
type Group struct {
	Kind   string `json:"kind"`
	Target string `json:"target" doc:"A path or what a socket is for, with numbers replaced by *; empty where the kind says all"`
	Count  int    `json:"count"`
}

// KindCount is what there is of one kind.
type KindCount struct {
	Kind     string  `json:"kind"`
	Expected int     `json:"expected"`
	Observed int     `json:"observed"`
	Top      []Group `json:"top"`
}

// Sample is the state of the host's descriptors at one moment.
type Sample struct {
	At          time.Time   `json:"at"`
	Limit       int         `json:"limit"`
	Expected    int         `json:"expected"`
	Observed    int         `json:"observed"`
	Unexplained int         `json:"unexplained" doc:"What no owner expects"`
	Owners      []Holding   `json:"owners"`
	Kinds       []KindCount `json:"kinds"`

	groups map[groupKey]int
}

type groupKey struct{ kind, target string }

// topPaths is how many groups of a kind are told.
const topPaths = 10

// Count makes a sample of what is open and of what the owners declare.
func Count(at time.Time, limit int, open []proc.Descriptor, owners []Owner) Sample {
	s := Sample{At: at, Limit: limit, Observed: len(open), groups: map[groupKey]int{}}
	claimed := make([]int, len(owners))
	pool, want := map[string]int{}, map[string]int{}
	kinds := map[string]*KindCount{}
	kind := func(name string) *KindCount {
		if kinds[name] == nil {
			kinds[name] = &KindCount{Kind: name}
		}
		return kinds[name]
	}
	for _, d := range open {
		k := KindOf(d)
		kind(k).Observed++
		s.groups[groupKey{k, pattern(d)}]++
		i := slices.IndexFunc(owners, func(o Owner) bool { return o.Claims != nil && o.Claims(d) })
		if i < 0 {
			pool[k]++
		} else {
			claimed[i]++
		}
	}
	for i, o := range owners {
		expected, bound := o.Holds()
		h := Holding{Owner: o.Name, Kind: o.Kind, Expected: expected, Bound: bound, Observed: -1}
		if o.Claims != nil {
			h.Observed = claimed[i]
			s.Unexplained += max(0, claimed[i]-expected)
		} else {
			want[o.Kind] += expected
		}
		s.Expected += expected
		kind(o.Kind).Expected += expected
		s.Owners = append(s.Owners, h)
	}
	for k, n := range pool {
		s.Unexplained += max(0, n-want[k])
	}
	for _, k := range slices.Sorted(maps.Keys(kinds)) {
		kinds[k].Top = top(s.groups, topPaths, func(g groupKey) bool { return g.kind == k })
		s.Kinds = append(s.Kinds, *kinds[k])
	}
	return s
}

// top lists the largest groups.
func top(groups map[groupKey]int, n int, want func(groupKey) bool) []Group {
	list := []Group{}
	for g, count := range groups {
		if want(g) && count > 0 {
			list = append(list, Group{Kind: g.kind, Target: g.target, Count: count})
		}
	}
	slices.SortFunc(list, func(a, b Group) int {
		return cmp.Or(b.Count-a.Count, cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Target, b.Target))
	})
	return list[:min(n, len(list))]
}

// pattern is what a descriptor is of, with numbers replaced, so that state-1.db
// and state-2.db are found to be of one make.
func pattern(d proc.Descriptor) string {
	target := d.Name
	if target == "" && strings.HasPrefix(d.Target, "/") {
		target = d.Target
	}
	var b strings.Builder
	number := false
	for _, r := range target {
		if r >= '0' && r <= '9' {
			if !number {
				b.WriteByte('*')
			}
			number = true
			continue
		}
		number = false
		b.WriteRune(r)
	}
	return b.String()
}

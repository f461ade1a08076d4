package transcript

import (
	"cmp"
	"slices"

	"github.com/holdfast-dev/holdfast/internal/store"
)

// Order brings items from the order of the log into that in which people read
// them. The log has a message where it was sent; it is read where its answer
// begins, which is later if another run was under way.
type Order struct {
	// First is, of each run that has begun to answer, the seq with which its
	// answer begins.
	First map[string]int64

	held []store.Item // messages, by where their answers begin
}

// Take takes the log's next item, and returns what is read by then.
func (o *Order) Take(it store.Item) []store.Item {
	out := o.Until(it.Seq)
	if it.Kind != store.ItemUser || o.First[it.Run] <= it.Seq {
		return append(out, it)
	}
	at, _ := slices.BinarySearchFunc(o.held, it, func(a, b store.Item) int { return cmp.Compare(o.First[a.Run], o.First[b.Run]) })
	o.held = slices.Insert(o.held, at, it)
	return out
}

// Until returns the messages that were taken and are read up to and with a seq.
func (o *Order) Until(seq int64) (out []store.Item) {
	for len(o.held) > 0 && o.First[o.held[0].Run] <= seq {
		out, o.held = append(out, o.held[0]), o.held[1:]
	}
	return out
}

// Held are the messages that were taken and not returned.
func (o *Order) Held() []store.Item { return o.held }

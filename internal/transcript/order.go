package transcript

import (
	"cmp"
	"slices"

	"github.com/holdfast-dev/holdfast/internal/store"
)

// Order brings items from the order of the log into that in which people read
// them. The log has a message where it was sent; it is read where its answer
// begins, which is later if another run was under way, or where it was said into
// a run, which is later if it had waited.
type Order struct {
	// First is, of each run that has begun to answer, the seq with which its
	// answer begins.
	First map[string]int64

	held []held // messages, by where they are read
}

type held struct {
	at int64
	store.Item
}

// place is the seq with which an item is read.
func (o *Order) place(it store.Item) int64 {
	if it.Kind != store.ItemUser {
		return it.Seq
	}
	if at, into := it.Said(); into {
		return at
	}
	return max(it.Seq, o.First[it.Run])
}

// Take takes the log's next item, and returns what is read by then.
func (o *Order) Take(it store.Item) []store.Item {
	out := o.Until(it.Seq)
	at := o.place(it)
	if at == it.Seq {
		return append(out, it)
	}
	i, _ := slices.BinarySearchFunc(o.held, at, func(h held, at int64) int { return cmp.Compare(h.at, at) })
	o.held = slices.Insert(o.held, i, held{at, it})
	return out
}

// Until returns the messages that were taken and are read up to and with a seq.
func (o *Order) Until(seq int64) (out []store.Item) {
	for len(o.held) > 0 && o.held[0].at <= seq {
		out, o.held = append(out, o.held[0].Item), o.held[1:]
	}
	return out
}

// Held are the messages that were taken and not returned.
func (o *Order) Held() (out []store.Item) {
	for _, h := range o.held {
		out = append(out, h.Item)
	}
	return out
}

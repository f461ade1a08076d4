package store

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// talk is a session in which messages wait, change places and are removed, as
// the log has it.
type talk struct {
	t       *rapid.T
	s       *Store
	id      string
	n       *int
	current string          // the run under way
	queue   []string        // the runs that wait
	said    map[string]bool // messages that were said into another's run
}

func (k *talk) tx(do func(tx *Tx) error) {
	k.t.Helper()
	if err := k.s.Update(Relaxed, do); err != nil {
		k.t.Fatal(err)
	}
}

func (k *talk) send() {
	*k.n++
	run := fmt.Sprintf("r%d", *k.n)
	k.tx(func(tx *Tx) error {
		if _, err := tx.Append(k.id, run, MessageUser, MessageBody{Item: "u" + run, Text: run}); err != nil {
			return err
		}
		state := RunStateQueued
		if k.current == "" {
			state = RunStateCurrent
		}
		return tx.PutRun(Run{ID: run, Session: k.id, Item: "u" + run, State: state, Pos: int64(*k.n), QueuedAt: tx.Now()})
	})
	if k.current == "" {
		k.current = run
	} else {
		k.queue = append(k.queue, run)
	}
}

// steer says a message into the run under way: the one that waits at a place, or
// a new one.
func (k *talk) steer(at int) {
	if at == len(k.queue) {
		k.send()
	}
	run := k.queue[at]
	k.queue = slices.Delete(k.queue, at, at+1)
	k.said["u"+run] = true
	k.tx(func(tx *Tx) error {
		if _, err := tx.Append(k.id, k.current, MessageSteered, SteeredBody{Item: "u" + run, State: SteerRead, Own: run}); err != nil {
			return err
		}
		return tx.PutRun(Run{ID: run, Session: k.id, Item: "u" + run, State: RunStateEnded, Steer: SteerRead, EndedAt: tx.Now()})
	})
}

func (k *talk) say() {
	*k.n++
	item := fmt.Sprintf("a%d", *k.n)
	k.tx(func(tx *Tx) error {
		if _, err := tx.Append(k.id, k.current, TextDelta, DeltaBody{Item: item, Text: item}); err != nil {
			return err
		}
		_, err := tx.Append(k.id, k.current, ItemClosed, ClosedBody{Item: item})
		return err
	})
}

func (k *talk) ends(run string) {
	k.tx(func(tx *Tx) error {
		return tx.PutRun(Run{ID: run, Session: k.id, Item: "u" + run, State: RunStateEnded, EndedAt: tx.Now()})
	})
}

func (k *talk) end() {
	k.ends(k.current)
	if k.current = ""; len(k.queue) > 0 {
		k.current, k.queue = k.queue[0], k.queue[1:]
	}
}

// shown is what the transcript has, and where the run of each item is read: at
// its first answer, or where its message was sent. What was said into a run is
// of that.
func (k *talk) shown() (ids []string, place map[string]int64) {
	p, err := k.s.Items(k.t.Context(), k.id, 0, 500)
	if err != nil {
		k.t.Fatal(err)
	}
	first := map[string]int64{}
	for _, it := range p.Items {
		if at, ok := first[it.Run]; !ok && it.Kind != ItemUser {
			first[it.Run] = it.Seq
		} else if ok && it.Seq < at {
			k.t.Fatal("items are not ascending")
		}
	}
	place = map[string]int64{}
	for _, it := range p.Items {
		ids = append(ids, it.ID)
		place[it.ID] = it.Seq
	}
	for _, it := range p.Items {
		if at, ok := first[it.Run]; ok {
			place[it.ID] = at
		} else if it.ID != "u"+it.Run {
			place[it.ID] = place["u"+it.Run]
		}
	}
	return ids, place
}

// TestRewindTakesWhatIsReadAfter: runs go or stay whole, whatever the order in
// which their messages were sent.
func TestRewindTakesWhatIsReadAfter(t *testing.T) {
	s := newStore(t)
	n := 0 // ids are of the whole store
	rapid.Check(t, func(rt *rapid.T) {
		k := &talk{t: rt, s: s, id: newSession(t, s), n: &n, said: map[string]bool{}}
		for range rapid.IntRange(1, 2).Draw(rt, "rewinds") {
			for range rapid.IntRange(2, 14).Draw(rt, "steps") {
				switch step := rapid.SampledFrom([]string{"send", "say", "say", "end", "reorder", "remove", "steer"}).Draw(rt, "step"); {
				case step == "send", k.current == "":
					k.send()
				case step == "say":
					k.say()
				case step == "end":
					k.end()
				case step == "steer":
					k.steer(rapid.IntRange(0, len(k.queue)).Draw(rt, "which"))
				case step == "reorder":
					k.queue = rapid.Permutation(k.queue).Draw(rt, "order")
				case step == "remove" && len(k.queue) > 0:
					k.ends(k.queue[0])
					k.queue = k.queue[1:]
				}
			}
			for k.current != "" {
				if rapid.Bool().Draw(rt, "last words") {
					k.say()
				}
				k.end()
			}
			ids, place := k.shown()
			var messages []string
			for _, id := range ids {
				if id[0] == 'u' && !k.said[id] {
					messages = append(messages, id)
				}
			}
			to := rapid.SampledFrom(messages).Draw(rt, "to")
			want := slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return place[id] >= place[to] })
			k.tx(func(tx *Tx) error { return tx.Rewind(k.id, to) })
			if got, _ := k.shown(); !slices.Equal(got, want) {
				rt.Fatalf("of %v with %v, rewound to %s, is left\n%v, want\n%v", ids, place, to, got, want)
			}
		}
	})
	verified(t, s)
}

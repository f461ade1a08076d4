package session

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/holdfast-dev/holdfast/internal/store"
	"github.com/holdfast-dev/holdfast/internal/transcript"
)

// A copy has what was said in the order in which people read it, whatever the
// order in which it was sent, and in whichever parts it is read.
func TestCopyInReadingOrder(t *testing.T) {
	var log []store.Item
	for i, id := range strings.Fields("u1.1 a.1 u2.2 u3.3 b.1 u4.4 c.3 u5.5 d.2 e.2") {
		id, run, _ := strings.Cut(id, ".")
		kind := store.ItemAssistant
		if id[0] == 'u' {
			kind = store.ItemUser
		}
		log = append(log, store.Item{ID: id, Run: run, Kind: kind, Seq: int64(i + 1)})
	}
	first := map[string]int64{"1": 2, "3": 7, "2": 9} // 4 was removed, 5 waits
	for _, c := range []struct {
		last, want string
		through    int64
	}{
		{"", "u1 a b u4 u3 c u2 d e", 10},
		{"b", "u1 a b", 5},
		{"u3", "u1 a b u4 u3", 6},
		{"u2", "u1 a b u4 u3 c u2", 8},
		{"c", "u1 a b u4 u3 c", 7},
		{"u1", "u1", 1},
	} {
		for size := 1; size <= len(log); size++ {
			r := reading{Order: transcript.Order{First: first}, skip: map[string]bool{"u5": true}, last: c.last}
			var got []string
			add := func(items []store.Item) {
				for _, it := range items {
					got = append(got, it.ID)
				}
			}
			for i := 0; i < int(c.through); i += size {
				add(r.next(log[i:min(i+size, int(c.through))], c.through, false))
			}
			add(r.next(nil, c.through, true))
			if strings.Join(got, " ") != c.want {
				t.Errorf("to %q in parts of %d: %v, want %s", c.last, size, got, c.want)
			}
		}
	}
}

// A copy has what waited and was said into a run where it was said.
func TestForkOfWhatWasSaidIntoARun(t *testing.T) {
	m := shop(t)
	id := mustSession(t, m)
	err := m.Store.Update(store.Durable, func(tx *store.Tx) error {
		add := func(run string, kind store.Kind, body any) {
			if _, err := tx.Append(id, run, kind, body); err != nil {
				t.Errorf("%s: %v", kind, err)
			}
		}
		say := func(item string) {
			add("r", store.TextDelta, store.DeltaBody{Item: item, Text: item})
			add("r", store.ItemClosed, store.ClosedBody{Item: item})
		}
		add("r", store.MessageUser, store.MessageBody{Item: "asked", Text: "asked"})
		add("own", store.MessageUser, store.MessageBody{Item: "waited", Text: "waited"})
		say("before")
		add("r", store.MessageSteered, store.SteeredBody{Item: "waited", State: store.SteerRead, Own: "own"})
		say("behind")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for item, want := range map[string]string{"": "asked before waited behind ", "waited": "asked before waited ", "before": "asked before "} {
		made, _, err := m.Fork(t.Context(), id, Fork{Item: item})
		if err != nil {
			t.Fatal(err)
		}
		page, err := m.Store.Items(t.Context(), made.ID, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, it := range page.Items {
			var b store.MessageBody
			if err := json.Unmarshal(it.Body, &b); err != nil {
				t.Fatal(err)
			}
			got += b.Text + " "
		}
		if got != want {
			t.Errorf("to %q: %s, want %s", item, got, want)
		}
	}
}

// A new agent session is told what was said in that order, too.
func TestReadPageInReadingOrder(t *testing.T) {
	item := func(seq int64, id, run, kind string) store.Item {
		return store.Item{ID: id, Run: run, Kind: kind, Seq: seq}
	}
	got := ""
	for _, it := range read(store.ItemsPage{
		Messages: []store.Asked{{Item: item(1, "u1", "1", store.ItemUser), Before: 2}, {Item: item(3, "u2", "2", store.ItemUser), Before: 6}},
		Items: []store.Item{
			item(4, "b", "1", store.ItemAssistant), item(5, "u3", "3", store.ItemUser),
			item(6, "c", "2", store.ItemAssistant), item(7, "n", "", store.ItemNotice), item(8, "d", "3", store.ItemAssistant),
		},
	}) {
		got += it.ID + " "
	}
	if want := "u1 b u2 c n u3 d "; got != want {
		t.Errorf("%swant %s", got, want)
	}
}

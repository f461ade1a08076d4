package store

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// searchSize is how many items the benchmark's database has.
const searchSize = 1_000_000

// BenchmarkSearch measures queries over a generated database of a million
// items of about 290 bytes, whose words are as common as those of a language.
func BenchmarkSearch(b *testing.B) {
	s := newStore(b)
	generate(b, s, searchSize)
	benchSearch(b, s)
}

func benchSearch(b *testing.B, s *Store) {
	b.Helper()
	for _, q := range []struct {
		name string
		q    Query
	}{
		{"a word in half of all", Query{Text: "w0 "}},
		{"a word in one of 10", Query{Text: "w9 "}},
		{"a word in one of 1,000", Query{Text: "rare7 "}},
		{"two common words", Query{Text: "w0 w1 "}},
		{"a common phrase", Query{Text: `"w0 w1"`}},
		{"a rare and a common word", Query{Text: "w0 rare7 "}},
		{"two words never together", Query{Text: "rare7 rare8 "}},
		{"a rare beginning of two letters", Query{Text: "ra"}},
		{"a rare beginning of three letters", Query{Text: "rar"}},
		{"a beginning that all items have", Query{Text: "w1"}},
		{"a beginning in one of 20", Query{Text: "w34"}},
		{"a rare word and a common beginning", Query{Text: "rare7 w1"}},
		{"a common word in one session", Query{Text: "w0 ", Session: "s500"}},
		{"a common word in titles", Query{Text: "w0 ", Kinds: []string{HitTitle}}},
		{"a common word under a tag of 20 sessions", Query{Text: "w0 ", Tag: "few"}},
		{"a common word of an agent of one session in 10", Query{Text: "w0 ", Agent: "tenth"}},
		{"a common word in what is not archived", Query{Text: "w0 ", Archived: new(bool)}},
		{"nothing", Query{Text: "nowhere"}},
	} {
		b.Run(q.name, func(b *testing.B) {
			n := 0
			percentiles(b, func() { n = len(search(b, s, q.q).Hits) })
			b.ReportMetric(float64(n), "hits")
		})
	}
}

// generate fills a store with n items in 1,000 sessions, past the log's rules:
// by way of Append it would take an hour.
func generate(b *testing.B, s *Store, n int) {
	b.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	start := time.Now()
	seq := map[string]int64{}
	for i := range 1000 {
		update(b, s, Relaxed, func(tx *Tx) error {
			row := Session{ID: fmt.Sprintf("s%d", i), Agent: "a", Cwd: "/", Title: fmt.Sprintf("w0 title %d", i), Archived: i%4 == 0}
			if i%10 == 0 {
				row.Agent = "tenth"
			}
			if i%50 == 0 {
				row.Tags = []string{"few"}
			}
			_, err := tx.CreateSession(row)
			return err
		})
		seq[fmt.Sprintf("s%d", i)] = 1
	}
	searched(b, s)
	for done := 0; done < n; {
		update(b, s, Relaxed, func(tx *Tx) error {
			for range 2000 {
				id := fmt.Sprintf("s%d", rng.IntN(1000))
				var text strings.Builder
				for range 45 {
					w := int(rng.ExpFloat64() * 15)
					if rng.IntN(45_000) == 0 {
						fmt.Fprintf(&text, "rare%d ", rng.IntN(10))
					}
					fmt.Fprintf(&text, "w%d ", w*w/7)
				}
				r, err := tx.peek(id)
				if err != nil {
					return err
				}
				done++
				seq[id]++
				tx.w.lastID++
				body, _ := encode(MessageBody{Item: fmt.Sprintf("i%d", done), Text: text.String()})
				if err := tx.exec("INSERT INTO events (id, sid, session, seq, run, at, kind, item, body) VALUES (?, ?, ?, ?, 'r', ?, 'message.user', ?, ?)",
					tx.w.lastID, r.sid, id, seq[id], tx.now.UnixMilli(), seq[id], string(body)); err != nil {
					return err
				}
				if err := tx.exec("INSERT INTO items ("+itemColumns+") VALUES (?, ?, 'r', 'user', ?, ?, 0, 0, ?)",
					fmt.Sprintf("i%d", done), id, seq[id], tx.now.UnixMilli(), string(body)); err != nil {
					return err
				}
				if err := tx.exec("INSERT INTO search (rowid, text, scope) VALUES (?, ?, ?)", tx.w.lastID, text.String(), scopeOf(r.sid)); err != nil {
					return err
				}
			}
			tx.w.index.at, tx.w.index.wanted = tx.w.lastID, false
			return nil
		})
	}
	b.Logf("made in %v, %d MB", time.Since(start).Round(time.Second), fileSize(s.path)>>20)
}

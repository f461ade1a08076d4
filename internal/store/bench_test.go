package store

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const sixty = "sixty bytes of text, as an agent streams them to its reader. "

// percentiles reports what b.N repetitions of fn took.
func percentiles(b *testing.B, fn func()) {
	b.Helper()
	var took []time.Duration
	for b.Loop() {
		start := time.Now()
		fn()
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}

func BenchmarkOpen(b *testing.B) {
	path := filepath.Join(b.TempDir(), "holdfast.db")
	percentiles(b, func() {
		s, err := Open(context.Background(), Options{Path: path, BootID: "boot"})
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	})
}

func BenchmarkDurableCommit(b *testing.B) {
	s := newStore(b)
	session := newSession(b, s)
	n := 0
	percentiles(b, func() {
		n++
		update(b, s, Durable, func(tx *Tx) error {
			_, err := tx.Append(session, "", MessageUser, MessageBody{Item: session + number(n), Text: sixty})
			return err
		})
	})
}

// As many deltas as there can be, from eight sessions.
func BenchmarkDeltas(b *testing.B) {
	s := newStore(b)
	var wg sync.WaitGroup
	start := time.Now()
	for range 8 {
		session := newSession(b, s)
		wg.Go(func() {
			for range b.N / 8 {
				r := &request{done: make(chan result, 1), fn: func(tx *Tx) error {
					_, err := tx.Append(session, "", TextDelta, DeltaBody{Item: session + "t", Text: sixty})
					return err
				}}
				if err := s.submit(r); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if err := s.Update(Durable, func(*Tx) error { return nil }); err != nil {
		b.Error(err)
	}
	b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "deltas/s")
}

// Eight sessions, thirty deltas a second each: what a delta waits for its
// commit, and what it writes to the disk.
func BenchmarkStreaming(b *testing.B) {
	for _, window := range []time.Duration{0, commitWindow} {
		b.Run(fmt.Sprintf("window=%v", window), func(b *testing.B) {
			s := newStore(b)
			setWindow(b, s, window)
			crowd(b, s)
			for b.Loop() {
				stream(b, s, 4*time.Second)
			}
		})
	}
}

// crowd makes 2,000 sessions with 30 events each, so that the sessions that
// stream do not share pages of an index.
func crowd(b *testing.B, s *Store) {
	b.Helper()
	for range 20 {
		update(b, s, Relaxed, func(tx *Tx) error {
			for range 100 {
				r, err := tx.CreateSession(Session{Agent: "a", Cwd: "/work", Title: sixty})
				if err != nil {
					return err
				}
				for range 29 {
					if _, err := tx.Append(r.ID, "", TextDelta, DeltaBody{Item: r.ID, Text: sixty}); err != nil {
						return err
					}
				}
			}
			return nil
		})
	}
	time.Sleep(2 * activityEvery) // for the list to be told of them
}

func setWindow(t testing.TB, s *Store, window time.Duration) {
	t.Helper()
	update(t, s, Relaxed, func(tx *Tx) error {
		tx.w.window = window
		return nil
	})
}

func stream(b *testing.B, s *Store, length time.Duration) {
	b.Helper()
	var mu sync.Mutex
	var took []time.Duration
	var wg sync.WaitGroup
	var sessions []string
	for range 8 {
		session := newSession(b, s)
		sessions = append(sessions, session)
		update(b, s, Relaxed, func(tx *Tx) error {
			return tx.PutEpoch(Epoch{Name: session, Session: session, State: EpochReady})
		})
	}
	before, first := written(b), s.Last()
	for i, session := range sessions {
		wg.Go(func() {
			time.Sleep(time.Duration(i) * 4 * time.Millisecond)
			tick := time.NewTicker(time.Second / 30)
			defer tick.Stop()
			n := uint64(0)
			for end := time.Now().Add(length); time.Now().Before(end); <-tick.C {
				n++
				start := time.Now()
				err := s.Update(Relaxed, func(tx *Tx) error {
					if _, err := tx.Append(session, "", TextDelta, DeltaBody{Item: session + "t", Text: sixty}); err != nil {
						return err
					}
					return tx.SetOffset(session, n)
				})
				if err != nil {
					b.Error(err)
				}
				mu.Lock()
				took = append(took, time.Since(start))
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	slices.Sort(took)
	b.ReportMetric(float64(written(b)-before)/float64(s.Last()-first), "B/event")
	b.ReportMetric(float64(written(b)-before)/float64(len(took)), "B/delta")
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}

// written returns how many bytes this process has handed to write calls.
func written(b *testing.B) int64 {
	b.Helper()
	data, err := os.ReadFile("/proc/self/io")
	if err != nil {
		b.Skip("no /proc/self/io here")
	}
	for line := range strings.Lines(string(data)) {
		var n int64
		if _, err := fmt.Sscanf(line, "wchar: %d", &n); err == nil {
			return n
		}
	}
	b.Fatal("no wchar in /proc/self/io")
	return 0
}

func BenchmarkList(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		b.Run(fmt.Sprintf("sessions=%d", n), func(b *testing.B) {
			s := newStore(b)
			for made := 0; made < n; {
				update(b, s, Relaxed, func(tx *Tx) error {
					for range min(1000, n-made) {
						made++
						if _, err := tx.CreateSession(Session{Agent: "a", Cwd: "/work/" + number(made), Title: sixty}); err != nil {
							return err
						}
					}
					return nil
				})
			}
			b.Run("page", func(b *testing.B) {
				percentiles(b, func() {
					if _, err := s.Sessions(b.Context(), SessionsFilter{}, "", 50); err != nil {
						b.Fatal(err)
					}
				})
			})
			b.Run("offers of an agent without any", func(b *testing.B) {
				percentiles(b, func() {
					if _, err := s.Offers(b.Context(), "other"); err != nil {
						b.Fatal(err)
					}
				})
			})
		})
	}
}

func BenchmarkFirstPage(b *testing.B) {
	fill := func(b *testing.B, s *Store) string {
		b.Helper()
		session := newSession(b, s)
		for made := 0; made < 10_000; {
			update(b, s, Relaxed, func(tx *Tx) error {
				for range 1000 {
					made++
					if _, err := tx.Append(session, "", NoticeGiven, NoticeBody{Item: session + number(made), Text: strings.Repeat(sixty, 16)}); err != nil {
						return err
					}
				}
				return nil
			})
		}
		return session
	}
	page := func(b *testing.B, s *Store, session string) {
		b.Helper()
		p, err := s.Items(b.Context(), session, 0, 50)
		if err != nil || len(p.Items) != 50 {
			b.Fatal(len(p.Items), err)
		}
	}
	b.Run("items=10000", func(b *testing.B) {
		s := newStore(b)
		session := fill(b, s)
		percentiles(b, func() { page(b, s, session) })
	})
	b.Run("open=3000", func(b *testing.B) {
		s := newStore(b)
		session := fill(b, s)
		update(b, s, Relaxed, func(tx *Tx) error {
			for range 3000 {
				if _, err := tx.Append(session, "", TextDelta, DeltaBody{Item: session + "t", Text: sixty}); err != nil {
					return err
				}
			}
			return nil
		})
		b.Run("memory", func(b *testing.B) { percentiles(b, func() { page(b, s, session) }) })
		b.Run("log", func(b *testing.B) {
			percentiles(b, func() {
				s.open.clear() // the writer is idle
				page(b, s, session)
			})
		})
	})
}

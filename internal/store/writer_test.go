package store

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestUpdateErrorRollsBackOnlyItsOwn(t *testing.T) {
	s := newStore(t)
	session := newSession(t, s)
	boom := errors.New("boom")
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			err := s.Update(Relaxed, func(tx *Tx) error {
				if _, err := tx.Append(session, "", TextDelta, DeltaBody{Item: "a", Text: number(i % 10)}); err != nil {
					return err
				}
				if i%4 == 0 {
					if _, err := tx.Append(session, "", TextDelta, DeltaBody{Item: "never" + number(i), Text: "x"}); err != nil {
						return err
					}
					return boom
				}
				return nil
			})
			if (i%4 == 0) != errors.Is(err, boom) {
				t.Errorf("update %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	if got := textOf(t, item(t, s, "a")); len(got) != 30 {
		t.Errorf("text %q has %d characters, want 30", got, len(got))
	}
	for i, ev := range allEvents(t, s, session) {
		if ev.Seq != int64(i+1) {
			t.Fatalf("event %d has seq %d", i, ev.Seq)
		}
	}
	verified(t, s)
}

func TestUpdatePanicReachesItsCaller(t *testing.T) {
	s := newStore(t)
	session := newSession(t, s)
	func() {
		defer func() {
			if v := recover(); v != "broken record" {
				t.Errorf("recovered %v", v)
			}
		}()
		_ = s.Update(Durable, func(tx *Tx) error {
			if _, err := tx.Append(session, "", NoticeGiven, NoticeBody{Item: "n", Text: "x"}); err != nil {
				return err
			}
			panic("broken record")
		})
	}()
	if n := len(allEvents(t, s, session)); n != 1 {
		t.Errorf("%d events, want 1", n)
	}
	appendTo(t, s, session, NoticeGiven, NoticeBody{Item: "n", Text: "x"})
	verified(t, s)
}

// A commit that fails takes every Update of its batch with it, what the writer
// knows beside the database is what the database says, and the next goes well.
func TestFailedCommitVoidsTheBatch(t *testing.T) {
	var faults []error
	s := newStore(t, func(o *Options) { o.OnFault = func(err error) { faults = append(faults, err) } })
	session := newSession(t, s)
	appendTo(t, s, session, TextDelta, DeltaBody{Item: "a", Text: "kept"})
	before := s.Last()

	disk := errors.New("disk on fire")
	var burning atomic.Bool
	update(t, s, Relaxed, func(tx *Tx) error {
		tx.w.hook = func(string) error {
			if burning.Load() {
				return disk
			}
			return nil
		}
		return nil
	})
	burning.Store(true)
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			err := s.Update(Relaxed, func(tx *Tx) error {
				if _, err := tx.Append(session, "", TextDelta, DeltaBody{Item: "a", Text: "lost"}); err != nil {
					return err
				}
				_, err := tx.Append(session, "", ItemClosed, ClosedBody{Item: "a"})
				return err
			})
			// One that runs after the close of another of its batch fails by itself.
			if !errors.Is(err, ErrCommit) || !errors.Is(err, disk) || errors.Is(err, ErrDiskFull) {
				t.Errorf("update: %v", err)
			}
		})
	}
	wg.Wait()
	burning.Store(false)
	if s.Last() != before {
		t.Errorf("the log ends with %d, want %d", s.Last(), before)
	}
	if ev := appendTo(t, s, session, TextDelta, DeltaBody{Item: "a", Text: "!"}); ev.ID != before+1 {
		t.Errorf("the next event has id %d, want %d", ev.ID, before+1)
	}
	if got := textOf(t, item(t, s, "a")); got != "kept!" {
		t.Errorf("text is %q", got)
	}
	if len(faults) == 0 {
		t.Error("no fault was told")
	}
	verified(t, s)
}

// Commits are a window apart, however many Updates there are.
func TestCommitsAreAWindowApart(t *testing.T) {
	s := newStore(t)
	session := newSession(t, s)
	commits := 0
	update(t, s, Durable, func(tx *Tx) error {
		tx.w.hook = func(string) error { commits++; return nil }
		return nil
	})
	start := time.Now()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 30 {
				err := s.Update(Relaxed, func(tx *Tx) error {
					_, err := tx.Append(session, "", TextDelta, DeltaBody{Item: session + number(i), Text: "."})
					return err
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	took := time.Since(start)
	update(t, s, Durable, func(tx *Tx) error { tx.w.hook = nil; return nil })
	if most := int(took/commitWindow) + int(took/activityEvery) + 3; commits > most {
		t.Errorf("%d commits in %v, at most %d", commits, took, most)
	}
}

func TestDurableEndsTheWindow(t *testing.T) {
	s := newStore(t)
	setWindow(t, s, time.Hour)
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			if err := s.Update(Relaxed, func(tx *Tx) error { return nil }); err != nil {
				t.Error(err)
			}
		})
	}
	done := make(chan struct{})
	go func() {
		wg.Wait()
		close(done)
	}()
	for end := time.Now().Add(10 * time.Second); ; {
		update(t, s, Durable, func(tx *Tx) error { return nil })
		select {
		case <-done:
			return
		default:
			if time.Now().After(end) {
				t.Fatal("the relaxed updates still wait")
			}
		}
	}
}

func TestSynchronousSwitches(t *testing.T) {
	s := newStore(t)
	read := func(tx *Tx) (n int) {
		row := tx.w.conn.QueryRowContext(context.Background(), "PRAGMA synchronous")
		if err := row.Scan(&n); err != nil {
			t.Error(err)
		}
		return n
	}
	var got []int
	for _, d := range []Durability{Durable, Relaxed, Durable, Durable, Relaxed} {
		update(t, s, d, func(tx *Tx) error {
			got = append(got, read(tx))
			return nil
		})
	}
	if diff := cmp.Diff([]int{2, 1, 2, 2, 1}, got); diff != "" {
		t.Error(diff)
	}
}

// The reason why setSync runs text. Where this test fails the driver has
// changed, and setSync may too.
func TestPreparedPragmaDoesNothing(t *testing.T) {
	ctx := t.Context()
	db, err := sql.Open("sqlite", dsn(filepath.Join(t.TempDir(), "x.db"), false))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	conn, err := db.Conn(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	is := func(when string, want int) {
		t.Helper()
		var got int
		if err := conn.QueryRowContext(ctx, "PRAGMA synchronous").Scan(&got); err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("%s synchronous is %d, want %d", when, got, want)
		}
	}
	is("at first", 2)
	normal, err := conn.PrepareContext(ctx, "PRAGMA synchronous = NORMAL")
	if err != nil {
		t.Fatal(err)
	}
	defer normal.Close()
	is("when it is only compiled", 1)
	if _, err := conn.ExecContext(ctx, "PRAGMA synchronous = FULL"); err != nil {
		t.Fatal(err)
	}
	if _, err := normal.ExecContext(ctx); err != nil {
		t.Fatal(err)
	}
	is("when it is run", 2)
	if _, err := conn.ExecContext(ctx, "BEGIN"); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.ExecContext(ctx, "PRAGMA synchronous = NORMAL"); err == nil {
		t.Error("inside a transaction it was not refused")
	}
}

// writeUntilKilled is the process that TestKilledWriterKeepsWhatItAcknowledged
// kills: it says which rows have been acknowledged.
func writeUntilKilled(path string) {
	s, err := Open(context.Background(), Options{Path: path, BootID: "boot"})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	var session string
	err = s.Update(Durable, func(tx *Tx) error {
		r, err := tx.CreateSession(Session{Agent: "a"})
		session = r.ID
		return err
	})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				d := Relaxed
				if g == 0 {
					d = Durable
				}
				var ev Event
				err := s.Update(d, func(tx *Tx) (err error) {
					ev, err = tx.Append(session, "", TextDelta, DeltaBody{Item: session + number(g), Text: fmt.Sprintf("%d.", i)})
					return err
				})
				mu.Lock()
				if err != nil {
					fmt.Println("error", err)
				} else {
					fmt.Println("ok", ev.ID)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

func TestKilledWriterKeepsWhatItAcknowledged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "holdfast.db")
	generation := ""
	for round := range 4 {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), "STORE_TEST_WRITE="+path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		acked := []int64{}
		scan := bufio.NewScanner(out)
		killed := false
		for scan.Scan() {
			word, rest, _ := strings.Cut(scan.Text(), " ")
			if word != "ok" {
				t.Fatal(scan.Text())
			}
			id, err := strconv.ParseInt(rest, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			acked = append(acked, id)
			if len(acked) > 150*(round+1) && !killed {
				killed = true
				_ = cmd.Process.Kill()
			}
		}
		_ = cmd.Wait()

		s, err := Open(t.Context(), Options{Path: path, BootID: "boot"})
		if err != nil {
			t.Fatal(err)
		}
		if round > 0 && s.life.generation != generation {
			t.Error("the generation changed though the power was not lost")
		}
		generation = s.life.generation
		there := map[int64]bool{}
		next := int64(1)
		for f := s.Follow(0); next <= s.Last(); {
			events, err := f.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, ev := range events {
				if ev.ID != next {
					t.Fatalf("id %d after %d", ev.ID, next-1)
				}
				there[ev.ID] = true
				next++
			}
		}
		for _, id := range acked {
			if !there[id] {
				t.Errorf("event %d was acknowledged and is gone", id)
			}
		}
		verified(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

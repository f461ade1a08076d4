package store

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if path := os.Getenv("STORE_TEST_WRITE"); path != "" {
		writeUntilKilled(path)
		return
	}
	if path := os.Getenv("STORE_TEST_SYNC"); path != "" {
		if err := withoutSync(path); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	if err := flag.Set("rapid.checks", checks); err != nil { // the command line is read later and wins
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// openAt opens a store that is closed with the test.
func openAt(t testing.TB, path string, change ...func(*Options)) *Store {
	t.Helper()
	o := Options{Path: path, BootID: "boot"}
	for _, f := range change {
		f(&o)
	}
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func newStore(t testing.TB, change ...func(*Options)) *Store {
	t.Helper()
	return openAt(t, filepath.Join(t.TempDir(), "holdfast.db"), change...)
}

func update(t testing.TB, s *Store, d Durability, fn func(*Tx) error) {
	t.Helper()
	if err := s.Update(d, fn); err != nil {
		t.Fatal(err)
	}
}

func newSession(t testing.TB, s *Store) string {
	t.Helper()
	var id string
	update(t, s, Durable, func(tx *Tx) error {
		r, err := tx.CreateSession(Session{Agent: "scripted", Cwd: "/work"})
		id = r.ID
		return err
	})
	return id
}

func appendTo(t testing.TB, s *Store, session string, kind Kind, body any) Event {
	t.Helper()
	var ev Event
	update(t, s, Relaxed, func(tx *Tx) (err error) {
		ev, err = tx.Append(session, "run", kind, body)
		return err
	})
	return ev
}

// verified fails the test where a projection is not what the log folds to.
func verified(t testing.TB, s *Store) {
	t.Helper()
	found, err := s.Verify(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range found {
		t.Errorf("session %s, %s:\nstored %s\nfolded %s", d.Session, d.What, d.Stored, d.Folded)
	}
	if len(found) > 0 {
		t.FailNow()
	}
}

func allEvents(t testing.TB, s *Store, session string) []Event {
	t.Helper()
	var all []Event
	for {
		after := int64(0)
		if len(all) > 0 {
			after = all[len(all)-1].Seq
		}
		events, last, err := s.Events(t.Context(), session, after, 100)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, events...)
		if len(all) == 0 || all[len(all)-1].Seq == last {
			return all
		}
	}
}

// forgetOpen makes the next readers of open items ask the log.
func forgetOpen(t testing.TB, s *Store) {
	t.Helper()
	update(t, s, Relaxed, func(tx *Tx) error {
		tx.w.s.open.clear()
		return nil
	})
}

func item(t testing.TB, s *Store, id string) Item {
	t.Helper()
	it, err := s.Item(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return it
}

func textOf(t testing.TB, it Item) string {
	t.Helper()
	var b textBody
	if err := json.Unmarshal(it.Body, &b); err != nil {
		t.Fatal(err)
	}
	return b.Text
}

// descriptors counts this process's.
func descriptors(t testing.TB) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("no /proc here: descriptors are counted on Linux only")
	}
	return len(list) - 1 // the folder itself
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatal("never came true: " + what)
}

func number(i int) string { return strconv.Itoa(i) }

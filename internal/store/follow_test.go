package store

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// Followers that begin at any point of a running log, fast ones and slow ones,
// see each event once and in order; the log is longer than the ring.
func TestFollowersMissNothing(t *testing.T) {
	s := newStore(t)
	update(t, s, Relaxed, func(tx *Tx) error { tx.w.window = 0; return nil })
	session := newSession(t, s)
	const total = 3 * ringEvents
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	for g := range 6 {
		wg.Go(func() {
			f := s.Follow(int64(g % 2))
			next := f.At() + 1
			for next <= total {
				events, err := f.Next(ctx)
				if err != nil {
					t.Error(err)
					return
				}
				for _, ev := range events {
					if ev.ID != next {
						t.Errorf("follower %d: event %d, want %d", g, ev.ID, next)
						return
					}
					next++
				}
				if g >= 4 {
					time.Sleep(20 * time.Millisecond) // falls behind the ring
				}
			}
		})
	}
	text := strings.Repeat("x", 800) // so that bytes bound the ring, too
	for s.Last() < total {
		update(t, s, Relaxed, func(tx *Tx) error {
			for range 64 {
				if _, err := tx.Append(session, "", TextDelta, DeltaBody{Item: session + "t", Text: text}); err != nil {
					return err
				}
			}
			return nil
		})
		s.ring.mu.Lock()
		n, bytes := len(s.ring.events), s.ring.bytes
		s.ring.mu.Unlock()
		if n > ringEvents || bytes > ringBytes {
			t.Fatalf("the ring holds %d events, %d bytes", n, bytes)
		}
	}
	wg.Wait()
}

func TestFollowEndsWithItsContext(t *testing.T) {
	s := newStore(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := s.Follow(s.Last()).Next(ctx)
		ended <- err
	}()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// A cursor that was just read can be followed from, though the commit that it
// names has not been told to those who follow yet.
func TestCursorOfAReadIsKnown(t *testing.T) {
	s := openAt(t, filepath.Join(t.TempDir(), "holdfast.db"))
	session := newSession(t, s)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 500 {
			err := s.Update(Relaxed, func(tx *Tx) error {
				_, err := tx.Append(session, "", NoticeGiven, NoticeBody{Item: session + number(i), Text: "x"})
				return err
			})
			if err != nil {
				t.Error(err)
				return
			}
		}
	}()
	for writing := true; writing; {
		select {
		case <-done:
			writing = false
		default:
		}
		items, err := s.Items(t.Context(), session, 0, 1)
		if err != nil {
			t.Fatal(err)
		}
		if _, known := s.ParseCursor(items.Cursor); !known {
			t.Fatalf("the items' cursor %s is not known", items.Cursor)
		}
		list, err := s.Sessions(t.Context(), SessionsFilter{}, "", 1)
		if err != nil {
			t.Fatal(err)
		}
		if _, known := s.ParseCursor(list.Cursor); !known {
			t.Fatalf("the list's cursor %s is not known", list.Cursor)
		}
	}
}

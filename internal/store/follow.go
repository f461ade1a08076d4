package store

import (
	"bytes"
	"context"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	ringEvents   = 4096
	ringBytes    = 4 << 20
	followEvents = 512     // at most, of one Next
	followBytes  = 1 << 20 // about, of one Next
	followSpan   = 20_000  // ids that one query looks at
)

// ring holds the last committed events, so that those who follow need not ask
// the database.
type ring struct {
	mu     sync.Mutex
	events []Event
	bytes  int
	base   int64         // every event with an id above it, up to last, is in events
	last   int64         // of the log, committed
	wake   chan struct{} // closed at the next publish
	closed bool
}

func newRing() *ring { return &ring{wake: make(chan struct{})} }

// start forgets what the ring holds: the log ends with last.
func (r *ring) start(last int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if last == r.last {
		return
	}
	r.events, r.bytes, r.base, r.last = nil, 0, last, last
	r.signal()
}

func (r *ring) publish(events []Event, last int64) {
	if len(events) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, ev := range events {
		r.bytes += eventSize(ev)
	}
	r.events = append(r.events, events...)
	drop := 0
	for len(r.events)-drop > ringEvents || (r.bytes > ringBytes && drop < len(r.events)) {
		r.bytes -= eventSize(r.events[drop])
		r.base = r.events[drop].ID
		drop++
	}
	if drop > 0 {
		clear(r.events[:drop]) // let the bodies go
		r.events = r.events[drop:]
	}
	r.last = last
	r.signal()
}

// reach waits until the ring has the log up to id. A reader sees a commit a
// moment before it is told to those who follow, and a cursor from then must not
// be one that nobody knows. A commit that ended in an error may have been one
// all the same, and is told with the next: so it waits for a second at most.
func (r *ring) reach(ctx context.Context, id int64) error {
	var late <-chan time.Time
	for {
		r.mu.Lock()
		there, wake := r.closed || r.last >= id, r.wake
		r.mu.Unlock()
		if there {
			return nil
		}
		if late == nil {
			late = time.After(time.Second)
		}
		select {
		case <-wake:
		case <-late:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func eventSize(ev Event) int { return len(ev.Body) + 128 }

func (r *ring) signal() {
	close(r.wake)
	r.wake = make(chan struct{})
}

func (r *ring) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.closed = true
		r.signal()
	}
}

// after returns events with ids above id. ok is false where the database must
// be asked; wake is closed when there is more than last.
func (r *ring) after(id int64) (events []Event, ok bool, last int64, wake <-chan struct{}, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, false, 0, nil, ErrClosed
	}
	if id < r.base {
		return nil, false, r.last, r.wake, nil
	}
	i := sort.Search(len(r.events), func(i int) bool { return r.events[i].ID > id })
	size := 0
	for _, ev := range r.events[i:] {
		if len(events) == followEvents || (size > followBytes && len(events) > 0) {
			break
		}
		size += eventSize(ev)
		events = append(events, ev)
	}
	return events, true, r.last, r.wake, nil
}

// FollowFilter chooses events: every one of the named sessions, those about no
// session, and the session.* events of all, but for the rows of those that no list has: in the
// trash, or not whole yet.
type FollowFilter struct {
	Sessions map[string]bool
}

func (f *FollowFilter) takes(ev Event) bool {
	if f == nil || ev.Session == "" || f.Sessions[ev.Session] {
		return true
	}
	switch ev.Kind {
	case SessionCreated, SessionChanged:
		return !bytes.Contains(ev.Body, []byte(`"building":true`)) && !bytes.Contains(ev.Body, []byte(`"deleted_at":`))
	}
	return strings.HasPrefix(string(ev.Kind), "session.")
}

// Follower reads the log from a point on: what is there, then what comes, with
// no gap and no repeat. It holds no descriptor and needs no Close. Next belongs
// to one goroutine.
type Follower struct {
	s      *Store
	filter *FollowFilter
	at     atomic.Int64
}

// Follow returns a reader of all events with ids above after.
func (s *Store) Follow(after int64) *Follower { return s.FollowFiltered(after, nil) }

// FollowFiltered is Follow for those events which the filter takes; nil takes all.
func (s *Store) FollowFiltered(after int64, filter *FollowFilter) *Follower {
	f := &Follower{s: s, filter: filter}
	f.at.Store(after)
	return f
}

// At returns the id up to which Next has looked at every event: a cursor from
// which nothing that the filter takes is missed. Any goroutine may ask.
func (f *Follower) At() int64 { return f.at.Load() }

// Next returns the following events, at least one, in order; it waits for them.
// It ends with ctx's error, or with ErrClosed.
func (f *Follower) Next(ctx context.Context) ([]Event, error) {
	for {
		events, more, err := f.Take(ctx)
		if err != nil || len(events) > 0 {
			return events, err
		}
		select {
		case <-more:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Take is Next for one who waits for other things too: it returns the following
// events, or where there are none a channel that is closed when there may be.
func (f *Follower) Take(ctx context.Context) (events []Event, more <-chan struct{}, err error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		at := f.at.Load()
		events, ok, last, wake, err := f.s.ring.after(at)
		if err != nil {
			return nil, nil, err
		}
		end := last
		switch {
		case !ok:
			events, end, err = f.s.page(ctx, at, last, f.filter)
			if err != nil {
				return nil, nil, fmt.Errorf("follow from %d: %w", at, err)
			}
		case len(events) > 0:
			end = events[len(events)-1].ID
		}
		taken := events[:0]
		for _, ev := range events {
			if f.filter.takes(ev) {
				taken = append(taken, ev)
			}
		}
		if end > at {
			f.at.Store(end)
		}
		if len(taken) > 0 {
			return taken, nil, nil
		}
		if end <= at {
			return nil, wake, nil
		}
	}
}

// page reads events with ids above after and up to last, and the id up to
// which it has looked.
func (s *Store) page(ctx context.Context, after, last int64, filter *FollowFilter) ([]Event, int64, error) {
	end := min(after+followSpan, last)
	text := "SELECT " + eventColumns + " FROM events WHERE id > ? AND id <= ?"
	args := []any{after, end}
	if filter != nil {
		text += " AND (kind IN ('session.created', 'session.changed', 'session.deleted', 'session.restored') OR session = ''"
		for id, on := range filter.Sessions {
			if on {
				text += " OR session = ?"
				args = append(args, id)
			}
		}
		text += ")"
	}
	text += " ORDER BY id LIMIT " + strconv.Itoa(followEvents)
	var events []Event
	cut := false
	err := s.view(ctx, func(q *reading) error {
		rows, err := q.query(text, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		size := 0
		for rows.Next() {
			ev, err := scanEvent(rows)
			if err != nil {
				return err
			}
			events = append(events, ev)
			if size += eventSize(ev); size > followBytes {
				cut = true
				break
			}
		}
		return rows.Err()
	})
	if err != nil {
		return nil, after, err
	}
	if cut || len(events) == followEvents {
		end = events[len(events)-1].ID
	}
	return events, end, nil
}

// Cursor names the end of the log, opaque to clients.
func (s *Store) Cursor() string { return s.CursorAt(s.Last()) }

// Last returns the id of the last committed event.
func (s *Store) Last() int64 {
	s.ring.mu.Lock()
	defer s.ring.mu.Unlock()
	return s.ring.last
}

// CursorAt names the point after event id.
func (s *Store) CursorAt(id int64) string {
	return s.life.generation + "-" + strconv.FormatInt(id, 10)
}

// ParseCursor returns the event that a cursor names; ok is false for one of
// another generation or of a log that was longer.
func (s *Store) ParseCursor(cursor string) (id int64, ok bool) {
	generation, number, found := strings.Cut(cursor, "-")
	if !found || generation != s.life.generation {
		return 0, false
	}
	id, err := strconv.ParseInt(number, 10, 64)
	return id, err == nil && id >= 0 && id <= s.Last() && strconv.FormatInt(id, 10) == number
}

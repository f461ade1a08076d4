package store

import (
	"context"
	"fmt"
	"os"
	"time"
)

// Stats is what the store holds and uses.
type Stats struct {
	Sessions int
	Events   int64 // ever appended
	DBBytes  int64
	WALBytes int64
	InUse    int // readers at work, of 4
	Open     int // connections, the writer's included
}

// Stats returns figures for status and metrics. What cannot be read within the
// deadline is 0.
func (s *Store) Stats(ctx context.Context) Stats {
	pool := s.read.Stats()
	st := Stats{InUse: pool.InUse, Open: pool.OpenConnections + s.write.Stats().OpenConnections, Events: s.Last()}
	err := s.view(ctx, func(q *reading) error {
		return q.one("SELECT count(*) FROM sessions", nil, &st.Sessions)
	})
	if err != nil {
		s.log.Warn("count sessions failed", "err", err)
	}
	st.DBBytes, st.WALBytes = fileSize(s.path), fileSize(s.path+"-wal")
	return st
}

// RunCounts is how many runs have not ended.
type RunCounts struct {
	Running int // an agent is at work on them
	Waiting int // next to go, and wait for an agent
	Queued  int // wait behind another of their session, or for a person

	// OldestWaiting is when the oldest of Waiting was sent; zero: there is none.
	OldestWaiting time.Time
}

// RunCounts counts the runs that have not ended.
func (s *Store) RunCounts(ctx context.Context) (c RunCounts, err error) {
	var oldest int64
	err = s.view(ctx, func(q *reading) error {
		return q.one(`SELECT
				count(*) FILTER (WHERE state = 'current' AND started_at <> 0),
				count(*) FILTER (WHERE state = 'current' AND started_at = 0),
				count(*) FILTER (WHERE state = 'queued'),
				coalesce(min(queued_at) FILTER (WHERE state = 'current' AND started_at = 0), 0)
			FROM runs WHERE state <> 'ended'`, nil, &c.Running, &c.Waiting, &c.Queued, &oldest)
	})
	if err != nil {
		return RunCounts{}, fmt.Errorf("count runs: %w", err)
	}
	c.OldestWaiting = fromMillis(oldest)
	return c, nil
}

// WAL is how long the log beside the file is, in bytes. It asks the file
// system only, so it answers while the database does not.
func (s *Store) WAL() int64 { return fileSize(s.path + "-wal") }

// fileSize asks for a size without opening the file: to open and close it would
// strip the locks that SQLite holds on it.
func fileSize(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// Written is when the last commit was through: whether the writer moves, however
// slowly. It is the zero time before the first.
func (s *Store) Written() time.Time {
	if at := s.written.Load(); at != 0 {
		return time.Unix(0, at)
	}
	return time.Time{}
}

// Canary updates a row through the writer and reads it back through a reader.
// It returns when ctx ends, also while the writer is stuck. One canary is under
// way at a time: the next waits for it, so that two who ask at once are not told
// of each other.
func (s *Store) Canary(ctx context.Context) error {
	select {
	case s.canary <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("canary: wait for the one before: %w", ctx.Err())
	}
	want := newNonce()
	r := &request{durability: Relaxed, done: make(chan result, 1), fn: func(tx *Tx) error {
		return tx.exec("INSERT INTO meta VALUES ('canary', ?) ON CONFLICT DO UPDATE SET value = excluded.value", want)
	}}
	sent := make(chan error, 1)
	go func() { // ends with the writer, which always answers
		err := s.submit(r)
		if err == nil {
			err = (<-r.done).err
		}
		sent <- err
	}()
	select {
	case err := <-sent:
		defer func() { <-s.canary }()
		if err != nil {
			return fmt.Errorf("canary: %w", err)
		}
	case <-ctx.Done():
		go func() {
			<-sent
			<-s.canary
		}()
		return fmt.Errorf("canary: wait for the writer: %w", ctx.Err())
	}
	var got string
	err := s.view(ctx, func(q *reading) error {
		return q.one("SELECT value FROM meta WHERE key = 'canary'", nil, &got)
	})
	if err != nil {
		return fmt.Errorf("canary: %w", err)
	}
	if got != want {
		return fmt.Errorf("canary: read %q, wrote %q", got, want)
	}
	return nil
}

package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"path/filepath"
	"runtime/debug"
	"sync/atomic"
	"time"

	sqlite3 "modernc.org/sqlite/lib"

	"github.com/holdfast-dev/holdfast/internal/failpoint"
)

// Durability says what an Update's return promises.
type Durability int

const (
	// Relaxed survives the end of the process, not the loss of power.
	Relaxed Durability = iota
	// Durable survives the loss of power too.
	Durable
)

const (
	commitWindow  = 10 * time.Millisecond
	activityEvery = time.Second
	maxBatch      = 512
)

type request struct {
	durability Durability
	fn         func(*Tx) error
	done       chan result // buffered; the writer sends once
}

type result struct {
	err      error
	panicked bool
	value    any
}

// writer is the one goroutine that changes the database. Its contexts cannot be
// cancelled: an interrupted statement would roll everybody's events back.
type writer struct {
	s        *Store
	requests chan *request
	done     chan struct{}

	conn  *sql.Conn // nil after a fault, until the next batch
	stmts map[string]*sql.Stmt
	sync  Durability // what the connection is set to

	// What is known without asking the database; all of it is dropped when a
	// batch is void, and put back when one Update is rolled back.
	lastID  int64
	rows    map[string]*row
	offsets map[string]uint64
	batch   []Event // appended by the batch, published after its commit

	swollen               bool          // the batch folded a long body: give its memory back
	swells                atomic.Int64  // how often that was wanted and not begun
	freeing               chan struct{} // has one while memory is given back
	own                   bool          // the batch is a chore
	window, activityEvery time.Duration
	hook                  func(stage string) error // a test's way to make a batch fail
	chores                chores
	index                 indexer
	busy                  time.Time // of the last batch that was not a chore
}

func newWriter(s *Store) *writer {
	return &writer{
		s: s, requests: make(chan *request, maxBatch), done: make(chan struct{}), freeing: make(chan struct{}, 1),
		window: commitWindow, activityEvery: activityEvery,
	}
}

// Update runs fn in a transaction and returns when that is committed. Several
// Updates share one transaction, each in a savepoint: an error of fn rolls its
// own part back and is returned. Where the transaction itself fails, every
// Update of it returns an error that wraps ErrCommit, and nothing of them is
// stored. A panic in fn rolls its part back and goes on in the caller.
//
// fn runs in the writer's goroutine: it must be quick, must not call Update nor
// end its goroutine (as testing's Fatal does), and must not keep the Tx. An
// Update cannot be cancelled.
func (s *Store) Update(d Durability, fn func(*Tx) error) error {
	r := &request{durability: d, fn: fn, done: make(chan result, 1)}
	if err := s.submit(r); err != nil {
		return err
	}
	res := <-r.done
	if res.panicked {
		panic(res.value)
	}
	return res.err
}

func (s *Store) submit(r *request) error {
	s.closeMu.RLock()
	defer s.closeMu.RUnlock()
	if s.closed {
		return ErrClosed
	}
	s.w.requests <- r
	return nil
}

func (w *writer) run() {
	defer close(w.done)
	var last time.Time // of the last commit
	for {
		batch, more := w.collect(last)
		if len(batch) > 0 {
			w.commit(batch)
			last = time.Now()
			w.busy = last
			w.chores.wrote(last)
			if w.chores.due(last) { // though somebody waits: it is about other sessions
				w.flush(false)
			}
		} else if more {
			w.chore()
		}
		if !more {
			w.flushAll()
			w.freeing <- struct{}{}
			return
		}
	}
}

// collect waits for what the next transaction holds: everything that is there
// when a commit window has passed since the last one, or sooner when something
// durable ends the window. Without requests it returns when a chore is due.
func (w *writer) collect(last time.Time) (batch []*request, more bool) {
	var timer <-chan time.Time
	if wait, ok := w.choreIn(); ok {
		t := time.NewTimer(wait)
		defer t.Stop()
		timer = t.C
	}
	select {
	case r, ok := <-w.requests:
		if !ok {
			return nil, false
		}
		batch = append(batch, r)
	case <-timer:
		return nil, true
	}
	if rest := w.window - time.Since(last); rest > 0 && batch[0].durability != Durable {
		t := time.NewTimer(rest)
		defer t.Stop()
		for ended := false; !ended && len(batch) < maxBatch; {
			select {
			case r, ok := <-w.requests:
				if !ok {
					return batch, false
				}
				batch = append(batch, r)
				ended = r.durability == Durable
			case <-t.C:
				ended = true
			}
		}
	}
	for len(batch) < maxBatch {
		select {
		case r, ok := <-w.requests:
			if !ok {
				return batch, false
			}
			batch = append(batch, r)
		default:
			return batch, true
		}
	}
	return batch, true
}

// commit runs a batch in one transaction and answers its requests.
func (w *writer) commit(batch []*request) {
	results := make([]result, len(batch))
	if err := w.attempt(batch, results); err != nil {
		err = w.void(err)
		for i := range results {
			if !results[i].panicked {
				results[i].err = err
			}
		}
	}
	for i, r := range batch {
		r.done <- results[i]
	}
}

func (w *writer) attempt(batch []*request, results []result) error {
	if w.conn == nil {
		if err := w.connect(); err != nil {
			return err
		}
	}
	durability := Relaxed
	for _, r := range batch {
		durability = max(durability, r.durability)
	}
	if err := w.setSync(durability); err != nil {
		return err
	}
	if err := w.exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	w.batch = nil
	for i, r := range batch {
		var err error
		if results[i], err = w.one(r); err != nil {
			return err
		}
	}
	if !w.own {
		failpoint.Hit("store.commit.before")
	}
	if w.hook != nil {
		if err := w.hook("commit"); err != nil {
			return err
		}
	}
	if err := w.exec("COMMIT"); err != nil {
		return err
	}
	w.s.written.Store(time.Now().UnixNano())
	if !w.own {
		failpoint.Hit("store.commit.after")
	}
	w.s.ring.publish(w.batch, w.lastID)
	w.batch = nil
	if !w.index.wanted { // nothing since is to be found, so the search is not behind
		w.index.at = w.lastID
		w.s.searched.Store(w.lastID)
	}
	w.trim()
	if w.swollen {
		w.swollen = false
		w.giveBack()
	}
	return nil
}

// giveBack returns the memory that a long body took to the system. That is a
// collection of the whole heap, on a busy machine half a second, so the writer
// does not wait for it; it does so at its end.
func (w *writer) giveBack() {
	w.swells.Add(1)
	select {
	case w.freeing <- struct{}{}:
		go func() {
			for w.swells.Swap(0) > 0 {
				debug.FreeOSMemory()
			}
			<-w.freeing
		}()
	default: // it is under way, and looks again when it is done
	}
}

// one runs one Update in its savepoint. Its error is one of the transaction.
func (w *writer) one(r *request) (result, error) {
	if err := w.exec("SAVEPOINT one"); err != nil {
		return result{}, err
	}
	tx := &Tx{w: w, now: w.s.now().UTC().Truncate(time.Millisecond), lastID: w.lastID, events: len(w.batch)}
	res := tx.run(r.fn)
	if tx.fatal != nil {
		return res, tx.fatal
	}
	if res.err == nil && !res.panicked {
		res.err = tx.finish()
		if tx.fatal != nil {
			return res, tx.fatal
		}
	}
	if res.err != nil || res.panicked {
		tx.rollback()
		if err := w.exec("ROLLBACK TO one"); err != nil {
			return res, err
		}
	}
	return res, w.exec("RELEASE one")
}

// setSync tells SQLite whether the next commit waits for the disk. It is text
// each time: a prepared PRAGMA acts when it is compiled and does nothing when
// it is run, and inside a transaction it is refused. It is read back, because
// what does not work here is found out only when the power is lost.
func (w *writer) setSync(d Durability) error {
	if d == w.sync {
		return nil
	}
	text, want := "PRAGMA synchronous = NORMAL", 1
	if d == Durable {
		text, want = "PRAGMA synchronous = FULL", 2
	}
	if _, err := w.conn.ExecContext(context.Background(), text); err != nil {
		return fmt.Errorf("set synchronous: %w", err)
	}
	var is int
	stmt, err := w.stmt("PRAGMA synchronous")
	if err == nil {
		err = stmt.QueryRowContext(context.Background()).Scan(&is)
	}
	if err != nil {
		return fmt.Errorf("read synchronous: %w", err)
	}
	if is != want {
		return fmt.Errorf("set synchronous: it is %d, not %d", is, want)
	}
	w.sync = d
	return nil
}

// connect opens the writer's connection and loads what must be known.
func (w *writer) connect() error {
	ctx := context.Background()
	conn, err := w.s.write.Conn(ctx)
	if err != nil {
		return fmt.Errorf("connect writer: %w", err)
	}
	w.conn, w.stmts = conn, map[string]*sql.Stmt{}
	w.rows, w.offsets = map[string]*row{}, map[string]uint64{}
	w.s.open.clear()
	w.sync = -1 // not known: the next batch sets it
	err = conn.QueryRowContext(ctx, "SELECT coalesce(max(id), 0) FROM events").Scan(&w.lastID)
	if err != nil {
		w.disconnect(true)
		return fmt.Errorf("connect writer: %w", err)
	}
	var searched string
	err = conn.QueryRowContext(ctx, "SELECT value FROM meta WHERE key = 'searched'").Scan(&searched)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		w.disconnect(true)
		return fmt.Errorf("connect writer: %w", err)
	}
	w.index.load(searched, w.lastID)
	w.s.searched.Store(w.index.at)
	w.s.ring.start(w.lastID)
	return nil
}

// disconnect gives the connection back, or ends it when bad.
func (w *writer) disconnect(bad bool) {
	if w.conn == nil {
		return
	}
	for _, stmt := range w.stmts {
		_ = stmt.Close() // nothing depends on it: the connection ends or is idle
	}
	if bad {
		_ = w.conn.Raw(func(any) error { return driver.ErrBadConn })
	}
	_ = w.conn.Close()
	w.conn, w.stmts = nil, nil
}

// void takes the whole transaction back after cause, drops everything that is
// known beside the database, and says so.
func (w *writer) void(cause error) error {
	if w.conn != nil {
		_, _ = w.conn.ExecContext(context.Background(), "ROLLBACK") // SQLite may have done so itself
		w.disconnect(true)
	}
	w.batch = nil
	w.rows, w.offsets = map[string]*row{}, map[string]uint64{}
	w.s.open.clear()
	err := fmt.Errorf("%w: %w", ErrCommit, cause)
	if w.s.diskFull(cause) {
		err = fmt.Errorf("%w: %w: %w", ErrCommit, ErrDiskFull, cause)
	}
	w.s.log.Error("batch is void", "err", err)
	w.s.fault(err)
	return err
}

// diskFull tells whether err came from a full disk. SQLite says so itself, but
// for the shared memory beside the log, which fails with an I/O error.
func (s *Store) diskFull(err error) bool {
	switch code(err) {
	case sqlite3.SQLITE_FULL:
		return true
	case sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN:
		free, e := freeBytes(filepath.Dir(s.path))
		return e == nil && free < 1<<20
	}
	return errors.Is(err, ErrDiskFull)
}

// exec runs a statement without result through the prepared statements.
func (w *writer) exec(text string, args ...any) error {
	_, err := w.execN(text, args...)
	return err
}

func (w *writer) execN(text string, args ...any) (int64, error) {
	stmt, err := w.stmt(text)
	if err != nil {
		return 0, err
	}
	res, err := stmt.ExecContext(context.Background(), args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

func (w *writer) stmt(text string) (*sql.Stmt, error) {
	if stmt := w.stmts[text]; stmt != nil {
		return stmt, nil
	}
	stmt, err := w.conn.PrepareContext(context.Background(), text)
	if err != nil {
		return nil, err
	}
	w.stmts[text] = stmt
	return stmt, nil
}

// Package store keeps the ordered log of everything that happened, the
// projections that pages read, and the outbox, in one SQLite database.
//
// It is the only door to that database: one writer with group commit, at most
// four readers, eleven descriptors. Its API is in terms of sessions, events and
// items, never of SQL. It must not know what an agent is or how events come to
// be; it decides only whether they are stored, and in which order.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	readers = 4
	// MaxDescriptors bounds what the store holds open: three files for the
	// writer, two for each reader.
	MaxDescriptors = 3 + 2*readers
	readDeadline   = 5 * time.Second
)

// Options say where the store is and what it is told about its world.
type Options struct {
	Path   string // of the database; its folder must exist
	Now    func() time.Time
	Log    *slog.Logger
	BootID string // of the machine's present boot
	// AllowNetFS opens the database on a network filesystem too.
	AllowNetFS bool
	// OnFault is told of each batch that could not be committed. It is called
	// by the writer: it must return soon and must not call Update.
	OnFault func(error)
}

// Store is an open database. Its methods may be called from many goroutines.
type Store struct {
	path    string
	now     func() time.Time
	log     *slog.Logger
	fault   func(error)
	life    *life
	write   *sql.DB
	read    *sql.DB
	w       *writer
	open    *openItems
	ring    *ring
	stmts   stmtCache
	canary  chan struct{} // has one while a canary is under way
	written atomic.Int64  // when the last commit was through, in Unix nanoseconds

	copying  atomic.Int64 // when the copy under way was begun, in Unix nanoseconds; 0 without one
	copied   atomic.Int64 // when the last one ended
	began    time.Time    // this life
	searched atomic.Int64 // the event up to which the search finds what was said

	searchTime time.Duration // that a page of hits may look for them

	closeMu sync.RWMutex // held for reading while something is begun that Close waits for
	closed  bool
	views   sync.WaitGroup  // reads under way
	ended   context.Context //nolint:containedctx // ends reads at Close
	cancel  context.CancelFunc
	once    sync.Once
	closing error
}

// Open opens or makes the database and starts the writer. It returns a
// *TooNewError, *NetFSError or *ForeignError where a person must act.
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.OnFault == nil {
		o.OnFault = func(error) {}
	}
	path, err := filepath.Abs(o.Path)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if !o.AllowNetFS {
		kind, err := netFS(filepath.Dir(path))
		if err != nil {
			return nil, fmt.Errorf("open store: look at the filesystem of %s: %w", path, err)
		}
		if kind != "" {
			return nil, &NetFSError{Path: path, Type: kind}
		}
	}
	s := &Store{path: path, now: o.Now, log: o.Log, fault: o.OnFault, open: newOpenItems(), ring: newRing(), stmts: stmtCache{}, canary: make(chan struct{}, 1), searchTime: searchTime}
	if err := s.start(ctx, o.BootID); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	return s, nil
}

// start opens the pools, migrates, settles the generation and starts the
// writer; on an error it leaves nothing behind.
func (s *Store) start(ctx context.Context, bootID string) (err error) {
	s.write, err = sql.Open("sqlite", dsn(s.path, false))
	if err != nil {
		return err
	}
	s.write.SetMaxOpenConns(1)
	s.read, err = sql.Open("sqlite", dsn(s.path, true))
	if err != nil {
		return errors.Join(err, s.write.Close())
	}
	s.read.SetMaxOpenConns(readers)
	s.read.SetMaxIdleConns(readers)
	defer func() {
		if err != nil {
			err = errors.Join(err, s.read.Close(), s.write.Close())
		}
	}()

	conn, err := s.write.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := migrate(ctx, conn, s.path); err != nil {
		return err
	}
	if err := os.Chmod(s.path, 0o600); err != nil {
		return err
	}
	s.life, err = beginLife(ctx, conn, filepath.Join(filepath.Dir(s.path), "life"), bootID)
	if err != nil {
		return err
	}
	if err := repairActivity(ctx, conn); err != nil {
		return err
	}
	if err := conn.Close(); err != nil {
		return err
	}
	s.w = newWriter(s)
	if err := s.w.connect(); err != nil {
		return err
	}
	if err := s.stmts.prepare(ctx, s.read); err != nil {
		s.w.disconnect(false)
		return err
	}
	s.ended, s.cancel = context.WithCancel(context.Background())
	s.began = s.now().UTC()
	s.w.chores.trash = time.Now()
	s.w.chores.deleting = true // what the last life left, if anything
	go s.w.run()
	return nil
}

// dsn holds every setting, because the driver opens connections by itself when
// one was interrupted, and what was set by hand is lost with the old one.
func dsn(path string, reader bool) string {
	q := url.Values{}
	pragma := func(text string) { q.Add("_pragma", text) }
	pragma("busy_timeout(5000)")
	if reader {
		q.Set("mode", "ro")
		pragma("query_only(1)")
	} else {
		if fileSize(path) == 0 {
			// Incremental. It acts before the first table only; later it would
			// write a page at every start.
			pragma("auto_vacuum(2)")
		}
		// A savepoint that touches many pages keeps a journal of its own: not in
		// a file, which would be one more descriptor on a disk that may be full.
		pragma("temp_store(2)")
		pragma("journal_mode(WAL)")
		pragma("journal_size_limit(16777216)")
		pragma("synchronous(FULL)")
		q.Set("_txlock", "immediate")
		if runtime.GOOS == "darwin" {
			pragma("fullfsync(1)")
			pragma("checkpoint_fullfsync(1)")
		}
	}
	escaped := (&url.URL{Path: filepath.ToSlash(path)}).EscapedPath()
	if !strings.HasPrefix(escaped, "/") {
		escaped = "/" + escaped // a Windows drive
	}
	return "file:" + escaped + "?" + q.Encode()
}

// Close ends the writer after what it was handed, marks the life as ended in
// order and closes the database. It may be called twice.
func (s *Store) Close() error {
	s.once.Do(func() {
		s.closeMu.Lock()
		s.closed = true
		close(s.w.requests)
		s.closeMu.Unlock()
		s.ring.close()
		s.cancel()
		<-s.w.done
		s.views.Wait()
		s.closing = s.shut()
	})
	return s.closing
}

func (s *Store) shut() error {
	s.stmts.close()
	errRead := s.read.Close()
	errLife := s.end()
	return errors.Join(errRead, errLife, s.write.Close())
}

func (s *Store) end() error {
	ctx := context.Background()
	s.w.disconnect(false)
	conn, err := s.write.Conn(ctx)
	if err != nil {
		return fmt.Errorf("close store: %w", err)
	}
	defer conn.Close()
	if err := s.life.end(ctx, conn, s.Last()); err != nil {
		return fmt.Errorf("close store: %w", err)
	}
	if _, err := conn.ExecContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
		s.log.Warn("checkpoint at close failed", "err", err) // the next start reads the log beside the file
	}
	return nil
}

// Path returns where the database is.
func (s *Store) Path() string { return s.path }

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

func millisPtr(t *time.Time) int64 {
	if t == nil {
		return 0
	}
	return millis(*t)
}

func fromMillisPtr(ms int64) *time.Time {
	if ms == 0 {
		return nil
	}
	t := fromMillis(ms)
	return &t
}

package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	sqlite3 "modernc.org/sqlite/lib"
)

const (
	copyPoll = 100 * time.Millisecond
	// copySpare stays free on the disk that a copy is written to: the log of the
	// running host may lie there too.
	copySpare = 64 << 20
)

// CopyInfo is what a copy of the database holds.
type CopyInfo struct {
	Schema   int   `json:"schema"`
	Sessions int   `json:"sessions"`
	Last     int64 `json:"last"` // the last event's id
}

// Copy writes a consistent copy of the database to a file that must not exist
// yet, while the store goes on. It has one reader meanwhile, and the file beside
// the database grows by what is written until the copy is whole. Where it
// fails or ctx ends, nothing is left. progress, which may be nil, is told bytes.
func (s *Store) Copy(ctx context.Context, to string, progress func(done, total int64)) (err error) {
	if _, err := os.Lstat(to); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("copy database: %s: %w", to, errors.Join(ErrExists, err))
	}
	s.closeMu.RLock()
	if s.closed {
		s.closeMu.RUnlock()
		return ErrClosed
	}
	s.views.Add(1)
	s.closeMu.RUnlock()
	defer s.views.Done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ended, cancel)()

	conn, err := s.read.Conn(ctx)
	if err != nil {
		return fmt.Errorf("copy database: %w", err)
	}
	defer conn.Close()
	var total int64
	if err := conn.QueryRowContext(ctx, "SELECT (page_count - freelist_count) * page_size FROM pragma_page_count, pragma_freelist_count, pragma_page_size").Scan(&total); err != nil {
		return fmt.Errorf("copy database: %w", err)
	}
	if free, err := freeBytes(filepath.Dir(to)); err == nil && free < uint64(total)+copySpare { //nolint:gosec // a size
		return fmt.Errorf("copy database: it takes %d MB, and %s has %d MB free: %w", (total+copySpare)>>20, filepath.Dir(to), free>>20, ErrDiskFull)
	}
	// Private from its first byte on; SQLite takes an empty file for a new one.
	f, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("copy database: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, removeAll(to, to+"-journal"))
		}
	}()
	if err := f.Close(); err != nil {
		return fmt.Errorf("copy database: %w", err)
	}
	defer tellSize(to, total, progress)()
	s.copying.Store(s.now().UnixNano())
	defer func() { s.copied.Store(s.now().UnixNano()); s.copying.Store(0) }()
	if err := vacuumInto(ctx, conn, to); err != nil {
		if code(err) == sqlite3.SQLITE_FULL {
			err = errors.Join(err, ErrDiskFull)
		}
		return fmt.Errorf("copy database: %w", errors.Join(err, ctx.Err()))
	}
	return nil
}

// copyPatience is how long a copy may be under way before it counts as stuck: at
// 10 MB a second a store of 36 GB is copied by then.
const copyPatience = time.Hour

// copySettles is how long the log of a busy store may take to be taken in
// after a copy.
const copySettles = 2 * time.Minute

// Copying tells whether the log beside the database may be long because of a
// copy: one is under way that is not stuck, or was until just now.
func (s *Store) Copying() bool {
	now := s.now().UnixNano()
	since := s.copying.Load()
	return since != 0 && now-since < int64(copyPatience) || since == 0 && now-s.copied.Load() < int64(copySettles)
}

// vacuumInto lifts the ban on writing from a reader for as long as the copy
// takes: it counts for every file that the connection opens.
func vacuumInto(ctx context.Context, conn *sql.Conn, to string) (err error) {
	if _, err := conn.ExecContext(ctx, "PRAGMA query_only(0)"); err != nil {
		return err
	}
	defer func() {
		if _, e := conn.ExecContext(context.WithoutCancel(ctx), "PRAGMA query_only(1)"); e != nil {
			// The pool is to throw it away, not to hand it to a reader.
			_ = conn.Raw(func(any) error { return driver.ErrBadConn })
			err = errors.Join(err, e)
		}
	}()
	_, err = conn.ExecContext(ctx, "VACUUM INTO ?", to)
	return err
}

// tellSize reports how long a file that is being written is, until the
// returned function is called.
func tellSize(path string, total int64, progress func(done, total int64)) (stop func()) {
	if progress == nil {
		return func() {}
	}
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(copyPoll)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				progress(min(fileSize(path), total), total)
			case <-end:
				return
			}
		}
	}()
	return func() { close(end); <-ended }
}

// CheckCopy looks at a database that nobody has open and changes nothing of it:
// that SQLite finds it whole, that it is ours and not newer than this program,
// and that what pages would show of it equals its log.
func CheckCopy(ctx context.Context, path string, progress func(done, total int64)) (info CopyInfo, err error) {
	// Immutable: no lock and no file beside it are needed.
	escaped := (&url.URL{Path: filepath.ToSlash(path)}).EscapedPath()
	if !strings.HasPrefix(escaped, "/") {
		escaped = "/" + escaped
	}
	s := &Store{path: path, now: time.Now, log: slog.New(slog.DiscardHandler), open: newOpenItems(), ring: newRing(), stmts: stmtCache{}, canary: make(chan struct{}, 1)}
	s.ended, s.cancel = context.WithCancel(context.Background())
	defer s.cancel()
	s.read, err = sql.Open("sqlite", "file:"+escaped+"?mode=ro&immutable=1&_pragma=query_only(1)")
	if err != nil {
		return info, fmt.Errorf("check copy: %w", err)
	}
	defer s.read.Close()
	s.read.SetMaxOpenConns(1)
	known, err := Schema()
	if err != nil {
		return info, err
	}
	err = s.viewLong(ctx, func(q *reading) error {
		var id, need int
		if err := q.one("PRAGMA application_id", nil, &id); err != nil {
			return err
		}
		if id != applicationID {
			return &ForeignError{Path: path}
		}
		if err := q.one("PRAGMA user_version", nil, &info.Schema); err != nil {
			return err
		}
		if info.Schema > known {
			err := q.one("SELECT value FROM meta WHERE key = 'writer_min'", nil, &need)
			if err != nil || need > known {
				return errors.Join(&TooNewError{Path: path, Schema: info.Schema, Known: known}, err)
			}
		}
		texts, err := queryRead(q, scanText, "PRAGMA integrity_check")
		if err != nil {
			return err
		}
		if len(texts) != 1 || texts[0] != "ok" {
			return fmt.Errorf("the database is damaged: %s", strings.Join(texts, "; "))
		}
		if info.Last, err = q.last(); err != nil {
			return err
		}
		return q.one("SELECT count(*) FROM sessions", nil, &info.Sessions)
	})
	if err != nil {
		return info, fmt.Errorf("check copy: %w", err)
	}
	if info.Schema < known {
		return info, nil // its projection is brought up to date when a host opens it
	}
	differences, err := s.Verify(ctx, progress)
	if err != nil {
		return info, fmt.Errorf("check copy: %w", err)
	}
	if len(differences) > 0 {
		return info, fmt.Errorf("check copy: what pages show differs from the log in %d places, first: %v", len(differences), differences[0])
	}
	return info, nil
}

// Exchange puts a checked copy in the place of the database at path, which
// nobody has open; what was there goes to the folder old. A
// crash in the middle leaves either the one or the other in place, and all of
// the old one in its folder. The next start begins a new generation, so that
// pages and keepers take nothing of the old past for granted.
func Exchange(path, with, old string) error {
	life := filepath.Join(filepath.Dir(path), "life")
	if err := os.MkdirAll(old, 0o700); err != nil {
		return fmt.Errorf("keep the old state: %w", err)
	}
	for _, p := range []string{path, path + "-wal", life} {
		if err := keepFile(p, filepath.Join(old, filepath.Base(p))); err != nil {
			return fmt.Errorf("keep the old state: %w", err)
		}
	}
	if err := syncDir(old); err != nil {
		return fmt.Errorf("keep the old state: %w", err)
	}
	// Without it a start takes whatever database it finds for a restored one. It
	// goes first, so that this is true from here on.
	if err := removeAll(life, path+"-wal", path+"-shm"); err != nil {
		return fmt.Errorf("put the copy in place: %w", err)
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return fmt.Errorf("put the copy in place: %w", err)
	}
	if err := os.Rename(with, path); err != nil {
		return fmt.Errorf("put the copy in place: %w", err)
	}
	return syncDir(filepath.Dir(path))
}

func keepFile(from, to string) error {
	err := os.Link(from, to)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return copyFile(from, to) // another filesystem, or one without links
}

func removeAll(paths ...string) error {
	var errs []error
	for _, p := range paths {
		if err := os.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// syncDir makes names in a folder durable, where the system can.
func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, fs.ErrPermission) || errors.Is(err, errors.ErrUnsupported) {
		err = nil // Windows, and filesystems that have no such thing
	}
	return errors.Join(err, d.Close())
}

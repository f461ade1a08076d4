package store

import (
	"database/sql"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestOpenSetsTheFileUp(t *testing.T) {
	s := newStore(t)
	newSession(t, s)
	var vacuum, app, version int
	var journal string
	err := s.view(t.Context(), func(q *reading) error {
		return errors.Join(
			q.one("PRAGMA auto_vacuum", nil, &vacuum), q.one("PRAGMA application_id", nil, &app),
			q.one("PRAGMA user_version", nil, &version), q.one("PRAGMA journal_mode", nil, &journal))
	})
	if err != nil {
		t.Fatal(err)
	}
	if vacuum != 2 || app != applicationID || version != schema(t) || journal != "wal" {
		t.Errorf("auto_vacuum %d, application_id %x, user_version %d, journal_mode %s", vacuum, app, version, journal)
	}
	info, err := os.Stat(s.Path())
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
}

func TestReadersCannotWrite(t *testing.T) {
	s := newStore(t)
	if _, err := s.read.ExecContext(t.Context(), "DELETE FROM meta"); err == nil {
		t.Error("a reader deleted rows")
	}
}

// alter runs SQL on a database that is not open.
func alter(t *testing.T, path string, texts ...string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, text := range texts {
		if _, err := db.ExecContext(t.Context(), text); err != nil {
			t.Fatal(err)
		}
	}
}

// schema is the newest version of the schema.
func schema(t testing.TB) int {
	t.Helper()
	n, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestOpenRefusesANewerSchema(t *testing.T) {
	path := filepath.Join(t.TempDir(), "holdfast.db")
	if err := openAt(t, path).Close(); err != nil {
		t.Fatal(err)
	}

	alter(t, path, "PRAGMA user_version = 99")
	s := openAt(t, path) // writer_min says that this program may still write
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	alter(t, path, "UPDATE meta SET value = '99' WHERE key = 'writer_min'")
	_, err := Open(t.Context(), Options{Path: path})
	if e, ok := errors.AsType[*TooNewError](err); !ok || e.Schema != 99 || e.Known != schema(t) {
		t.Errorf("open: %v", err)
	}
}

func TestOpenRefusesAForeignDatabase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	alter(t, path, "CREATE TABLE theirs (x)")
	_, err := Open(t.Context(), Options{Path: path})
	if _, ok := errors.AsType[*ForeignError](err); !ok {
		t.Errorf("open: %v", err)
	}
}

// A migration makes a copy first.
func TestMigrationCopiesFirst(t *testing.T) {
	path := filepath.Join(t.TempDir(), "holdfast.db")
	s := openAt(t, path)
	session := newSession(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", dsn(path, false))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	steps, err := migrations()
	if err != nil {
		t.Fatal(err)
	}
	steps = append(steps, migration{schema(t) + 1, "ALTER TABLE sessions ADD COLUMN colour TEXT NOT NULL DEFAULT ''"})
	if err := migrateTo(t.Context(), conn, path, steps); err != nil {
		t.Fatal(err)
	}
	old := openAt(t, copyName(path, schema(t)+1))
	if _, err := old.Session(t.Context(), session); err != nil {
		t.Error(err)
	}
	var version int
	if err := conn.QueryRowContext(t.Context(), "PRAGMA user_version").Scan(&version); err != nil || version != schema(t)+1 {
		t.Errorf("user_version %d, %v", version, err)
	}
	// One that fails leaves the schema before it.
	steps = append(steps, migration{schema(t) + 2, "CREATE TABLE half (x); CREATE TABLE sessions (y)"})
	if err := migrateTo(t.Context(), conn, path, steps); err == nil {
		t.Error("a broken migration passed")
	}
	var halves int
	if err := conn.QueryRowContext(t.Context(), "SELECT count(*) FROM sqlite_schema WHERE name = 'half'").Scan(&halves); err != nil || halves != 0 {
		t.Errorf("%d halves, %v", halves, err)
	}
}

// abandon closes s without the marks of an orderly end.
func abandon(t *testing.T, s *Store) {
	t.Helper()
	s.once.Do(func() {
		s.closeMu.Lock()
		s.closed = true
		close(s.w.requests)
		s.closeMu.Unlock()
		<-s.w.done
		s.cancel()
		s.ring.close()
		s.stmts.close()
		s.w.disconnect(false)
		if err := errors.Join(s.read.Close(), s.write.Close()); err != nil {
			t.Fatal(err)
		}
	})
}

func TestGeneration(t *testing.T) {
	copyFiles := func(t *testing.T, from, to string) {
		t.Helper()
		src, err := os.Open(from)
		if err != nil {
			t.Fatal(err)
		}
		defer src.Close()
		dst, err := os.Create(to)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(dst, src); err != nil {
			t.Fatal(err)
		}
		if err := dst.Close(); err != nil {
			t.Fatal(err)
		}
	}
	generation := func(t *testing.T, path, boot string, crash bool) string {
		t.Helper()
		s, err := Open(t.Context(), Options{Path: path, BootID: boot})
		if err != nil {
			t.Fatal(err)
		}
		g := s.life.generation
		if !crash {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			return g
		}
		abandon(t, s)
		return g
	}
	for _, tt := range []struct {
		name   string
		crash  bool
		boot   string
		before func(t *testing.T, path string)
		same   bool
	}{
		{name: "orderly end", boot: "one", same: true},
		{name: "orderly end and reboot", boot: "two", same: true},
		{name: "crash", crash: true, boot: "one", same: true},
		{name: "crash and reboot", crash: true, boot: "two", same: false},
		{name: "crash, boot not known", crash: true, boot: "", same: false},
		{name: "life file lost", boot: "one", same: false, before: func(t *testing.T, path string) {
			if err := os.Remove(filepath.Join(filepath.Dir(path), "life")); err != nil {
				t.Fatal(err)
			}
		}},
		{name: "copy of an earlier life restored", boot: "one", same: false, before: func(t *testing.T, path string) {
			copyFiles(t, path, path+".copy")
			generation(t, path, "one", false)
			copyFiles(t, path+".copy", path)
		}},
		{name: "copy of the same life restored after a crash", crash: true, boot: "one", same: false, before: func(t *testing.T, path string) {
			s := openAt(t, path)
			session := newSession(t, s)
			copyFiles(t, path, path+".copy")
			copyFiles(t, path+"-wal", path+".copy-wal")
			appendTo(t, s, session, UsageChanged, nil)
			update(t, s, Relaxed, func(tx *Tx) error { return s.life.mark(tx.lastID) })
			abandon(t, s)
			copyFiles(t, path+".copy", path)
			copyFiles(t, path+".copy-wal", path+"-wal")
			if err := os.Remove(path + "-shm"); err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
		}},
		{name: "crash between the first two writes of an end", boot: "one", same: true, before: func(t *testing.T, path string) {
			file := filepath.Join(filepath.Dir(path), "life")
			f, err := readLife(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := writeLife(file, lifeFile{Nonce: f.Nonce, Next: "never", Last: f.Last}); err != nil {
				t.Fatal(err)
			}
		}},
		{name: "crash between the last two writes of an end", boot: "one", same: true, before: func(t *testing.T, path string) {
			file := filepath.Join(filepath.Dir(path), "life")
			f, err := readLife(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := writeLife(file, lifeFile{Nonce: "before", Next: f.Nonce, Last: f.Last}); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "holdfast.db")
			first := generation(t, path, "one", tt.crash)
			if tt.before != nil {
				tt.before(t, path)
			}
			second := generation(t, path, tt.boot, false)
			if (first == second) != tt.same {
				t.Errorf("generation %s, then %s; want the same: %v", first, second, tt.same)
			}
		})
	}
}

func TestCursor(t *testing.T) {
	s := newStore(t)
	session := newSession(t, s)
	appendTo(t, s, session, UsageChanged, map[string]int{"used": 1})
	g := s.life.generation
	for _, tt := range []struct {
		cursor string
		id     int64
		ok     bool
	}{
		{s.Cursor(), s.Last(), true},
		{g + "-0", 0, true},
		{g + "-1", 1, true},
		{g + "-999", 999, false},
		{"other-1", 0, false},
		{g + "--1", -1, false},
		{g + "-01", 1, false},
		{g, 0, false},
		{"", 0, false},
		{g + "-1x", 0, false},
	} {
		if id, ok := s.ParseCursor(tt.cursor); ok != tt.ok || (ok && id != tt.id) {
			t.Errorf("ParseCursor(%q) = %d, %v; want %d, %v", tt.cursor, id, ok, tt.id, tt.ok)
		}
	}
}

func TestClosedStore(t *testing.T) {
	s := newStore(t)
	session := newSession(t, s)
	f := s.Follow(s.Last())
	ended := make(chan error, 1)
	go func() {
		_, err := f.Next(t.Context())
		ended <- err
	}()
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-ended; !errors.Is(err, ErrClosed) {
		t.Errorf("follower: %v", err)
	}
	if err := s.Update(Relaxed, func(*Tx) error { return nil }); !errors.Is(err, ErrClosed) {
		t.Errorf("update: %v", err)
	}
	if _, err := s.Session(t.Context(), session); !errors.Is(err, ErrClosed) {
		t.Errorf("read: %v", err)
	}
}

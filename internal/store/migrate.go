package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/holdfast-dev/holdfast/internal/failpoint"
)

// applicationID marks the file as ours ("HOLD").
const applicationID = 0x484f4c44

// Schema is the newest schema version that this program knows.
func Schema() (int, error) {
	steps, err := migrations()
	return len(steps), err
}

// WriterMin is the lowest schema version that a program must know to write to
// a database that this one has opened.
func WriterMin() int {
	if n, err := strconv.Atoi(failpoint.Value("writer_min")); err == nil {
		return n
	}
	return writerMin
}

// Restore puts the copy that was made before the migration to the schema
// version in the place of the database, which nobody may have open. What was
// committed since is lost; the caller knows that nothing was.
func Restore(path string, schema int) error {
	before := copyName(path, schema)
	if _, err := os.Stat(before); err != nil {
		return fmt.Errorf("restore database: %w", err)
	}
	for _, side := range []string{"-wal", "-shm"} {
		if err := os.Remove(path + side); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("restore database: %w", err)
		}
	}
	if err := os.Rename(before, path); err != nil {
		return fmt.Errorf("restore database: %w", err)
	}
	return nil
}

// DropCopy removes the copy that was made before the migration to the schema
// version, where there is one.
func DropCopy(path string, schema int) error {
	if err := os.Remove(copyName(path, schema)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove copy of the database: %w", err)
	}
	return nil
}

func copyName(path string, schema int) string { return fmt.Sprintf("%s.before-v%d", path, schema) }

// writerMin is the lowest schema version that a program must know to be able
// to write to a database of the newest schema. A migration that only adds
// tables or columns with defaults leaves it.
const writerMin = 1

//go:embed migrations/*.sql
var migrationFiles embed.FS

type migration struct {
	version int
	text    string
}

// migrations returns the steps in order; step N leads to user_version N.
func migrations() ([]migration, error) {
	names, err := fs.Glob(migrationFiles, "migrations/*.sql")
	if err != nil {
		return nil, err
	}
	var list []migration
	for _, name := range names { // Glob sorts
		text, err := migrationFiles.ReadFile(name)
		if err != nil {
			return nil, err
		}
		number, _, _ := strings.Cut(strings.TrimPrefix(name, "migrations/"), "_")
		v, err := strconv.Atoi(number)
		if err != nil || v != len(list)+1 {
			return nil, fmt.Errorf("read migration %s: number out of order", name)
		}
		list = append(list, migration{v, string(text)})
	}
	if text := failpoint.Value("next_schema"); text != "" {
		list = append(list, migration{len(list) + 1, text})
	}
	return list, nil
}

// migrate brings the schema up to date: one transaction for each step, and a
// copy of the whole beside it before the first step of an existing database.
func migrate(ctx context.Context, conn *sql.Conn, path string) error {
	steps, err := migrations()
	if err != nil {
		return err
	}
	return migrateTo(ctx, conn, path, steps)
}

func migrateTo(ctx context.Context, conn *sql.Conn, path string, steps []migration) error {
	var id, version int
	if err := conn.QueryRowContext(ctx, "PRAGMA application_id").Scan(&id); err != nil {
		return fmt.Errorf("read application id: %w", err)
	}
	if err := conn.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return fmt.Errorf("read schema version: %w", err)
	}
	if id != applicationID {
		var tables int
		if err := conn.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema").Scan(&tables); err != nil {
			return fmt.Errorf("read schema: %w", err)
		}
		if id != 0 || tables != 0 {
			return &ForeignError{Path: path}
		}
	}
	known := len(steps)
	if version > known {
		need := version
		if err := conn.QueryRowContext(ctx, "SELECT value FROM meta WHERE key = 'writer_min'").Scan(&need); err != nil {
			return fmt.Errorf("read writer_min: %w", err)
		}
		if need > known {
			return &TooNewError{Path: path, Schema: version, Known: known}
		}
		return nil
	}
	if version == known {
		return nil
	}
	if version > 0 {
		if err := copyBefore(ctx, conn, copyName(path, known)); err != nil {
			return fmt.Errorf("copy database before migrating: %w", err)
		}
	}
	for _, m := range steps[version:] {
		if err := apply(ctx, conn, m); err != nil {
			return fmt.Errorf("migrate to schema %d: %w", m.version, err)
		}
	}
	return nil
}

// copyBefore writes a copy of the whole database, unless an earlier try of the
// same migration has left one: that is the older one.
func copyBefore(ctx context.Context, conn *sql.Conn, to string) error {
	if _, err := os.Stat(to); err == nil {
		return nil
	}
	partial := to + ".partial"
	if err := os.Remove(partial); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, err := conn.ExecContext(ctx, "VACUUM INTO ?", partial); err != nil {
		return err
	}
	return os.Rename(partial, to)
}

func apply(ctx context.Context, conn *sql.Conn, m migration) error {
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	for _, text := range []string{
		m.text,
		fmt.Sprintf("PRAGMA user_version = %d", m.version),
		fmt.Sprintf("PRAGMA application_id = %d", applicationID),
		fmt.Sprintf("INSERT INTO meta VALUES ('writer_min', '%d') ON CONFLICT DO UPDATE SET value = excluded.value", min(WriterMin(), m.version)),
	} {
		if _, err := tx.ExecContext(ctx, text); err != nil {
			return err
		}
	}
	return tx.Commit()
}

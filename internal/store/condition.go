package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"time"
)

// Condition is how the database is.
type Condition struct {
	Bytes      int64
	SQLite     string // the version of the library
	Schema     int    // of the database
	Known      int    // the newest that this program knows
	Foreign    bool   // it is no database of ours
	Generation string
	Damage     []string // what SQLite's quick check found, ten lines at most
	// Unchecked says why the quick check did not come to its end; nil where it
	// did.
	Unchecked error
	Took      time.Duration // by the check
}

// Condition looks at the database through one of the readers. The check reads
// the whole file; where ctx ends first, what it did not see is unchecked. The
// error says that the database answers nothing at all.
func (s *Store) Condition(ctx context.Context) (c Condition, err error) {
	err = s.viewLong(ctx, func(q *reading) error {
		c, err = condition(ctx, q.tx, s.path)
		return err
	})
	if err != nil {
		return c, fmt.Errorf("look at the database: %w", err)
	}
	return c, nil
}

// ConditionOf looks at a database that no process has open, and changes
// nothing that it holds. The caller has the lock of its folder.
func ConditionOf(ctx context.Context, path string) (c Condition, err error) {
	db, err := sql.Open("sqlite", dsn(path, true))
	if err != nil {
		return c, fmt.Errorf("look at the database: %w", err)
	}
	db.SetMaxOpenConns(1)
	defer func() { err = errors.Join(err, db.Close()) }()
	if c, err = condition(ctx, db, path); err != nil {
		return c, fmt.Errorf("look at the database: %w", err)
	}
	return c, nil
}

// asked is what can be asked: a pool or a transaction.
type asked interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

func condition(ctx context.Context, db asked, path string) (c Condition, err error) {
	c.Bytes = fileSize(path)
	if c.Known, err = Schema(); err != nil {
		return c, err
	}
	var id int
	err = db.QueryRowContext(ctx, "SELECT sqlite_version(), user_version, application_id FROM pragma_user_version, pragma_application_id").Scan(&c.SQLite, &c.Schema, &id)
	if err != nil {
		return c, err
	}
	if c.Foreign = id != applicationID; c.Foreign {
		return c, nil
	}
	began := time.Now()
	c.Damage, c.Unchecked = quickCheck(ctx, db)
	c.Took = time.Since(began)
	if c.Unchecked != nil && ctx.Err() != nil {
		c.Unchecked = ctx.Err()
	}
	if err := db.QueryRowContext(context.WithoutCancel(ctx), "SELECT value FROM meta WHERE key = 'generation'").Scan(&c.Generation); err != nil && len(c.Damage) == 0 && c.Unchecked == nil {
		return c, err
	}
	return c, nil
}

// refreshSearch has a connection look at the index of the search as it is now.
// SQLite's check of a file takes what the connection remembers of it from the
// query before, and calls the difference damage.
const refreshSearch = "SELECT rowid FROM search WHERE search MATCH 'x' LIMIT 1"

func quickCheck(ctx context.Context, db asked) (damage []string, err error) {
	// Without the table, or with a broken one, the check itself says so.
	if rows, err := db.QueryContext(ctx, refreshSearch); err == nil {
		rows.Next()
		_ = rows.Close()
	}
	rows, err := db.QueryContext(ctx, "PRAGMA quick_check(10)")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return damage, err
		}
		if text != "ok" {
			damage = append(damage, text)
		}
	}
	return damage, rows.Err()
}

// NetworkFS names the filesystem under folder where it is one on which SQLite
// has been seen to corrupt databases, such as nfs; "" for any other.
func NetworkFS(folder string) (string, error) { return netFS(filepath.Clean(folder)) }

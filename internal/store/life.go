package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"
)

// A life is one time that the store is open. It settles the generation, which
// changes when cursors that clients hold may name events that are no more:
//
//   - The last life had no end and the machine was started anew: what had been
//     committed without an fsync may be gone.
//   - The database is a copy that was restored. A file beside it holds the
//     random nonce of the last orderly end, which the database holds too, and
//     an event id that the log had reached, brought up to date every minute: a
//     copy has another nonce, or its log is shorter.
type life struct {
	path       string // of the file
	generation string
	file       lifeFile
	marked     time.Time // when file.Last was last written
}

const markEvery = time.Minute

// lifeFile is the file's content. Next is set from before the database is
// given a new nonce until after it, so that a crash between the two writes is
// not taken for a restored copy.
type lifeFile struct {
	Nonce string `json:"nonce"`
	Next  string `json:"next,omitempty"`
	Last  int64  `json:"last"` // the log has been at least this long
}

func readLife(path string) (lifeFile, error) {
	var f lifeFile
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err != nil {
		return f, err
	}
	if json.Unmarshal(data, &f) != nil {
		return lifeFile{}, nil // as good as absent
	}
	return f, nil
}

func writeLife(path string, f lifeFile) error {
	data, err := json.Marshal(f)
	if err != nil {
		return err
	}
	if err := replaceFile(path, append(data, '\n')); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

func newNonce() string { return strings.ToLower(rand.Text()[:16]) }

// beginLife settles the generation and marks the life as begun, durably: before
// anything can be shown that a loss of power would take back.
func beginLife(ctx context.Context, conn *sql.Conn, path, bootID string) (*life, error) {
	meta, last, err := readMeta(ctx, conn)
	if err != nil {
		return nil, fmt.Errorf("begin life: %w", err)
	}
	file, err := readLife(path)
	if err != nil {
		return nil, fmt.Errorf("begin life: %w", err)
	}
	l := &life{path: path, generation: meta["generation"], file: file, marked: time.Now()}
	nonce := meta["nonce"]
	restored := nonce == "" || (nonce != file.Nonce && nonce != file.Next) || last < file.Last
	powerLost := meta["clean"] != "1" && (bootID == "" || meta["boot_id"] != bootID)
	set := map[string]string{"clean": "0", "boot_id": bootID}
	if l.generation == "" || restored || powerLost {
		l.generation = newNonce()[:8]
		nonce = newNonce()
		set["generation"], set["nonce"] = l.generation, nonce
	}
	if l.file = (lifeFile{Nonce: nonce, Last: last}); restored || powerLost {
		// Before the database: a crash between the two looks restored again.
		if err := writeLife(path, l.file); err != nil {
			return nil, fmt.Errorf("begin life: %w", err)
		}
	}
	if err := setMeta(ctx, conn, set); err != nil {
		return nil, fmt.Errorf("begin life: %w", err)
	}
	return l, nil
}

// end marks the life as ended in order; the log ends with last.
func (l *life) end(ctx context.Context, conn *sql.Conn, last int64) error {
	next := newNonce()
	if err := writeLife(l.path, lifeFile{Nonce: l.file.Nonce, Next: next, Last: last}); err != nil {
		return fmt.Errorf("end life: %w", err)
	}
	if err := setMeta(ctx, conn, map[string]string{"clean": "1", "nonce": next}); err != nil {
		return fmt.Errorf("end life: %w", err)
	}
	if err := writeLife(l.path, lifeFile{Nonce: next, Last: last}); err != nil {
		return fmt.Errorf("end life: %w", err)
	}
	return nil
}

// mark notes in the file that the log has reached last.
func (l *life) mark(last int64) error {
	l.marked = time.Now()
	l.file.Last = last
	return writeLife(l.path, l.file)
}

func readMeta(ctx context.Context, conn *sql.Conn) (meta map[string]string, last int64, err error) {
	rows, err := conn.QueryContext(ctx, "SELECT key, value FROM meta")
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	meta = map[string]string{}
	for rows.Next() {
		var k, v string
		if err := rows.Scan(&k, &v); err != nil {
			return nil, 0, err
		}
		meta[k] = v
	}
	if err := rows.Err(); err != nil {
		return nil, 0, err
	}
	err = conn.QueryRowContext(ctx, lastQuery).Scan(&last)
	return meta, last, err
}

// setMeta changes meta durably, in one transaction.
func setMeta(ctx context.Context, conn *sql.Conn, meta map[string]string) error {
	if _, err := conn.ExecContext(ctx, "PRAGMA synchronous = FULL"); err != nil {
		return err
	}
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	for k, v := range meta {
		_, err := tx.ExecContext(ctx, "INSERT INTO meta VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", k, v)
		if err != nil {
			return err
		}
	}
	return tx.Commit()
}

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
)

// A life is one time that the store is open. A random nonce of the last start
// or end is kept both in the database and in a file beside it: where the two
// differ, the database is a restored copy, cursors that clients hold may name
// events which are no more, and the generation changes. It changes too when a
// life had no end and the machine was started anew, because what had been
// committed without an fsync may be gone.
type life struct {
	path       string // of the file
	nonce      string
	generation string
}

// lifeFile is the file's content. Next is set from before the database is
// given a new nonce until after it, so that a crash between the two writes is
// not taken for a restored copy.
type lifeFile struct {
	Nonce string `json:"nonce"`
	Next  string `json:"next,omitempty"`
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

// beginLife settles the generation and marks the life as begun; its end is
// marked by end.
func beginLife(ctx context.Context, conn *sql.Conn, path, bootID string) (*life, error) {
	meta := map[string]string{}
	rows, err := conn.QueryContext(ctx, "SELECT key, value FROM meta")
	if err != nil {
		return nil, fmt.Errorf("read meta: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var k, v string
		if err := rows.Scan(&k, &v); err != nil {
			return nil, fmt.Errorf("read meta: %w", err)
		}
		meta[k] = v
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read meta: %w", err)
	}
	file, err := readLife(path)
	if err != nil {
		return nil, fmt.Errorf("read life: %w", err)
	}

	l := &life{path: path, nonce: newNonce(), generation: meta["generation"]}
	old := meta["nonce"]
	restored := old == "" || (old != file.Nonce && old != file.Next)
	powerLost := meta["clean"] != "1" && (bootID == "" || meta["boot_id"] != bootID)
	if l.generation == "" || restored || powerLost {
		l.generation = newNonce()[:8]
	}
	err = l.turn(ctx, conn, old, map[string]string{"generation": l.generation, "boot_id": bootID, "clean": "0"})
	if err != nil {
		return nil, fmt.Errorf("begin life: %w", err)
	}
	return l, nil
}

// end marks the life as ended in order.
func (l *life) end(ctx context.Context, conn *sql.Conn) error {
	old := l.nonce
	l.nonce = newNonce()
	if err := l.turn(ctx, conn, old, map[string]string{"clean": "1"}); err != nil {
		return fmt.Errorf("end life: %w", err)
	}
	return nil
}

// turn changes the nonce from old to l.nonce in both places, and meta with it.
func (l *life) turn(ctx context.Context, conn *sql.Conn, old string, meta map[string]string) error {
	if err := writeLife(l.path, lifeFile{Nonce: old, Next: l.nonce}); err != nil {
		return err
	}
	meta["nonce"] = l.nonce
	if _, err := conn.ExecContext(ctx, "PRAGMA synchronous = FULL"); err != nil {
		return err
	}
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	for k, v := range meta {
		_, err := tx.ExecContext(ctx, "INSERT INTO meta VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", k, v)
		if err != nil {
			return err
		}
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	return writeLife(l.path, lifeFile{Nonce: l.nonce})
}

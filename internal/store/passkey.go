package store

import (
	"context"
	"fmt"
	"time"
)

// Passkey is a public key that logs its owner in under one of the host's names.
type Passkey struct {
	ID         string
	Name       string // as a person named it
	RP         string // the host's name that it is of
	Credential []byte // id by which its authenticator knows it
	Body       []byte // what it is checked with; the caller's
	CreatedAt  time.Time
	LastUsed   time.Time // zero: never
}

const passkeyColumns = "id, name, rp, credential, body, created_at, last_used"

func scanPasskey(row scanner) (p Passkey, err error) {
	var created, used int64
	err = row.Scan(&p.ID, &p.Name, &p.RP, &p.Credential, &p.Body, &created, &used)
	p.CreatedAt, p.LastUsed = fromMillis(created), fromMillis(used)
	return p, err
}

// AddPasskey stores p under a new ID. Where there are limit of them already it
// returns ErrExists, as it does for one that is known.
func (s *Store) AddPasskey(_ context.Context, p Passkey, limit int) (Passkey, error) {
	err := s.Update(Durable, func(tx *Tx) error {
		var all, same int
		if err := tx.one("SELECT count(*), count(CASE WHEN credential = ? THEN 1 END) FROM passkeys", []any{p.Credential}, &all, &same); err != nil {
			return err
		}
		if all >= limit || same > 0 {
			return ErrExists
		}
		p.ID, p.CreatedAt = NewID(), tx.now
		return tx.exec("INSERT INTO passkeys ("+passkeyColumns+") VALUES (?, ?, ?, ?, ?, ?, 0)", p.ID, p.Name, p.RP, p.Credential, p.Body, millis(p.CreatedAt))
	})
	if err != nil {
		return Passkey{}, fmt.Errorf("add passkey: %w", err)
	}
	return p, nil
}

// Passkeys lists those of one of the host's names, newest first; "" means all.
func (s *Store) Passkeys(ctx context.Context, rp string) (list []Passkey, err error) {
	err = s.view(ctx, func(q *reading) error {
		list, err = queryRead(q, scanPasskey, "SELECT "+passkeyColumns+" FROM passkeys WHERE rp = ?1 OR ?1 = '' ORDER BY created_at DESC, rowid DESC", rp)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list passkeys: %w", err)
	}
	return list, nil
}

// UsePasskey notes that one logged in, and what it is checked with next time.
// One that was removed meanwhile is ErrNotFound.
func (s *Store) UsePasskey(_ context.Context, id string, body []byte) error {
	return s.changePasskey("use", func(tx *Tx) (int64, error) {
		return tx.w.execN("UPDATE passkeys SET body = ?, last_used = ? WHERE id = ?", body, tx.now.UnixMilli(), id)
	})
}

// RenamePasskey gives one another name, or returns ErrNotFound.
func (s *Store) RenamePasskey(_ context.Context, id, name string) error {
	return s.changePasskey("rename", func(tx *Tx) (int64, error) {
		return tx.w.execN("UPDATE passkeys SET name = ? WHERE id = ?", name, id)
	})
}

// RemovePasskey removes one, or returns ErrNotFound.
func (s *Store) RemovePasskey(_ context.Context, id string) error {
	return s.changePasskey("remove", func(tx *Tx) (int64, error) {
		return tx.w.execN("DELETE FROM passkeys WHERE id = ?", id)
	})
}

func (s *Store) changePasskey(what string, change func(*Tx) (int64, error)) error {
	err := s.Update(Durable, func(tx *Tx) error {
		n, err := change(tx)
		if err == nil && n == 0 {
			return ErrNotFound
		}
		return tx.check(err)
	})
	if err != nil {
		return fmt.Errorf("%s passkey: %w", what, err)
	}
	return nil
}

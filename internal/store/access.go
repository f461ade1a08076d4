package store

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Credential is something that lets a person or a script in. What it is checked
// against is stored as a hash only.
type Credential struct {
	ID        string
	Kind      string // cookie, token, link, …
	Name      string
	Hash      []byte
	CreatedAt time.Time
	LastUsed  time.Time
	ExpiresAt time.Time // zero: never
	UserAgent string
}

// KindLink is the kind of a one-time link, which TakeLink redeems.
const KindLink = "link"

const (
	credentialColumns = "id, kind, name, hash, created_at, last_used, expires_at, user_agent"
	credentialQuery   = "SELECT " + credentialColumns + " FROM credentials WHERE kind = ? AND hash = ?"
)

func scanCredential(row scanner) (c Credential, err error) {
	var created, used, expires int64
	err = row.Scan(&c.ID, &c.Kind, &c.Name, &c.Hash, &created, &used, &expires, &c.UserAgent)
	c.CreatedAt, c.LastUsed, c.ExpiresAt = fromMillis(created), fromMillis(used), fromMillis(expires)
	return c, err
}

// AddCredential stores c. Empty ID and CreatedAt are filled in.
func (s *Store) AddCredential(_ context.Context, c Credential) (Credential, error) {
	err := s.Update(Durable, func(tx *Tx) error {
		if c.ID == "" {
			c.ID = NewID()
		}
		if c.CreatedAt.IsZero() {
			c.CreatedAt = tx.now
		}
		return tx.exec("INSERT INTO credentials ("+credentialColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
			c.ID, c.Kind, c.Name, c.Hash, millis(c.CreatedAt), millis(c.LastUsed), millis(c.ExpiresAt), c.UserAgent)
	})
	if err != nil {
		return Credential{}, fmt.Errorf("add credential: %w", err)
	}
	return c, nil
}

// CredentialByHash returns the credential of that kind with that hash, or
// ErrNotFound; one that has expired is not found.
func (s *Store) CredentialByHash(ctx context.Context, kind string, hash []byte) (c Credential, err error) {
	err = s.view(ctx, func(q *reading) error {
		c, err = one1(queryRead(q, scanCredential, credentialQuery, kind, hash))
		return err
	})
	if err == nil && !c.ExpiresAt.IsZero() && !s.now().Before(c.ExpiresAt) {
		err = ErrNotFound
	}
	if err != nil {
		return Credential{}, fmt.Errorf("read credential: %w", err)
	}
	return c, nil
}

// Credentials lists the credentials of a kind, newest first; "" means all.
func (s *Store) Credentials(ctx context.Context, kind string) (list []Credential, err error) {
	err = s.view(ctx, func(q *reading) error {
		list, err = queryRead(q, scanCredential, "SELECT "+credentialColumns+
			" FROM credentials WHERE kind = ?1 OR ?1 = '' ORDER BY created_at DESC, rowid DESC", kind)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list credentials: %w", err)
	}
	return list, nil
}

// RenameCredential gives one another name, or returns ErrNotFound.
func (s *Store) RenameCredential(_ context.Context, id, name string) error {
	err := s.Update(Durable, func(tx *Tx) error {
		n, err := tx.w.execN("UPDATE credentials SET name = ? WHERE id = ?", name, id)
		if err == nil && n == 0 {
			return ErrNotFound
		}
		return tx.check(err)
	})
	if err != nil {
		return fmt.Errorf("rename credential %s: %w", id, err)
	}
	return nil
}

// RemoveCredential removes one with what it owns, or returns ErrNotFound.
func (s *Store) RemoveCredential(_ context.Context, id string) error {
	err := s.Update(Durable, func(tx *Tx) error {
		n, err := tx.w.execN("DELETE FROM credentials WHERE id = ?", id)
		if err == nil && n == 0 {
			return ErrNotFound
		}
		if err := tx.check(err); err != nil {
			return err
		}
		if err := tx.exec("DELETE FROM push_levels WHERE subscription IN (SELECT id FROM push_subscriptions WHERE device = ?)", id); err != nil {
			return err
		}
		return tx.exec("DELETE FROM push_subscriptions WHERE device = ?", id)
	})
	if err != nil {
		return fmt.Errorf("remove credential %s: %w", id, err)
	}
	return nil
}

// TakeLink removes an unexpired link and returns it, so that it is redeemed
// once; otherwise it returns ErrNotFound. Links that have expired go with it.
func (s *Store) TakeLink(_ context.Context, hash []byte) (c Credential, err error) {
	missing := false
	err = s.Update(Durable, func(tx *Tx) error {
		if err := tx.exec("DELETE FROM credentials WHERE kind = ? AND expires_at > 0 AND expires_at <= ?", KindLink, tx.now.UnixMilli()); err != nil {
			return err
		}
		c, err = one1(queryTx(tx, scanCredential, credentialQuery, KindLink, hash))
		if errors.Is(err, ErrNotFound) {
			missing = true
			return nil
		}
		if err != nil {
			return err
		}
		return tx.exec("DELETE FROM credentials WHERE id = ?", c.ID)
	})
	if err == nil && missing {
		err = ErrNotFound
	}
	if err != nil {
		return Credential{}, fmt.Errorf("take link: %w", err)
	}
	return c, nil
}

// TouchCredential notes that c was used, at most once a minute.
func (s *Store) TouchCredential(_ context.Context, c Credential) error {
	now := s.now()
	if now.Sub(c.LastUsed) < time.Minute {
		return nil
	}
	err := s.Update(Relaxed, func(tx *Tx) error {
		return tx.exec("UPDATE credentials SET last_used = ? WHERE id = ? AND last_used < ?",
			tx.now.UnixMilli(), c.ID, tx.now.Add(-time.Minute).UnixMilli())
	})
	if err != nil {
		return fmt.Errorf("touch credential %s: %w", c.ID, err)
	}
	return nil
}

// Setting returns what SetSetting stored under key, or ErrNotFound.
func (s *Store) Setting(ctx context.Context, key string) (value []byte, err error) {
	err = s.view(ctx, func(q *reading) error {
		return q.one("SELECT value FROM settings WHERE key = ?", []any{key}, &value)
	})
	if err != nil {
		return nil, fmt.Errorf("read setting %s: %w", key, err)
	}
	return value, nil
}

// SetSetting stores a value under key; nil removes it.
func (s *Store) SetSetting(_ context.Context, key string, value []byte) error {
	err := s.Update(Durable, func(tx *Tx) error {
		if value == nil {
			return tx.exec("DELETE FROM settings WHERE key = ?", key)
		}
		return tx.exec("INSERT INTO settings VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", key, value)
	})
	if err != nil {
		return fmt.Errorf("set setting %s: %w", key, err)
	}
	return nil
}

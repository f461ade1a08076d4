package store

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// PushSubscription is where a device wants to be told what happens.
type PushSubscription struct {
	ID        string
	Device    string // id of the device's credential, with which it ends
	Endpoint  string // of the browser's push service
	P256DH    string // the browser's public key, base64url
	Auth      string // its secret for this subscription, base64url
	Level     string
	CreatedAt time.Time
	Sessions  map[string]string // levels of single sessions
}

// SetPush stores a device's subscription in the place of the one that it had.
// Where ID is empty, or names one that is gone, it is a new one. Levels of
// sessions stay.
func (s *Store) SetPush(_ context.Context, p PushSubscription) (PushSubscription, error) {
	err := s.Update(Durable, func(tx *Tx) error {
		var known int
		if err := tx.one("SELECT count(*) FROM credentials WHERE id = ?", []any{p.Device}, &known); err != nil {
			return err
		}
		if known == 0 {
			return ErrNotFound // it was logged out meanwhile
		}
		if err := tx.one("SELECT id FROM push_subscriptions WHERE device = ?", []any{p.Device}, &p.ID); err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		if p.ID == "" {
			p.ID = NewID()
		}
		p.CreatedAt = tx.now
		// The endpoint may be known of a login that this browser had before.
		if err := tx.exec("DELETE FROM push_levels WHERE subscription IN (SELECT id FROM push_subscriptions WHERE endpoint = ? AND device <> ?)", p.Endpoint, p.Device); err != nil {
			return err
		}
		if err := tx.exec("DELETE FROM push_subscriptions WHERE endpoint = ? OR device = ?", p.Endpoint, p.Device); err != nil {
			return err
		}
		return tx.exec("INSERT INTO push_subscriptions (id, device, endpoint, p256dh, auth, level, created_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
			p.ID, p.Device, p.Endpoint, p.P256DH, p.Auth, p.Level, millis(p.CreatedAt))
	})
	if err != nil {
		return PushSubscription{}, fmt.Errorf("store push subscription: %w", err)
	}
	return p, nil
}

// SetPushLevel sets what a subscription is told of a session; "" goes back to
// the level of the device.
func (s *Store) SetPushLevel(_ context.Context, subscription, session, level string) error {
	err := s.Update(Durable, func(tx *Tx) error {
		if level == "" {
			return tx.exec("DELETE FROM push_levels WHERE subscription = ? AND session = ?", subscription, session)
		}
		return tx.exec("INSERT INTO push_levels VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET level = excluded.level", subscription, session, level)
	})
	if err != nil {
		return fmt.Errorf("set push level: %w", err)
	}
	return nil
}

// RemovePush removes a subscription; one that is gone is no error.
func (s *Store) RemovePush(_ context.Context, id string) error {
	err := s.Update(Durable, func(tx *Tx) error {
		if err := tx.exec("DELETE FROM push_levels WHERE subscription = ?", id); err != nil {
			return err
		}
		return tx.exec("DELETE FROM push_subscriptions WHERE id = ?", id)
	})
	if err != nil {
		return fmt.Errorf("remove push subscription: %w", err)
	}
	return nil
}

// Pushes lists every subscription.
func (s *Store) Pushes(ctx context.Context) (list []PushSubscription, err error) {
	type level struct{ subscription, session, level string }
	var levels []level
	err = s.view(ctx, func(q *reading) error {
		list, err = queryRead(q, func(row scanner) (p PushSubscription, err error) {
			var created int64
			err = row.Scan(&p.ID, &p.Device, &p.Endpoint, &p.P256DH, &p.Auth, &p.Level, &created)
			p.CreatedAt, p.Sessions = fromMillis(created), map[string]string{}
			return p, err
		}, "SELECT id, device, endpoint, p256dh, auth, level, created_at FROM push_subscriptions ORDER BY created_at")
		if err != nil {
			return err
		}
		levels, err = queryRead(q, func(row scanner) (l level, err error) {
			err = row.Scan(&l.subscription, &l.session, &l.level)
			return l, err
		}, "SELECT subscription, session, level FROM push_levels")
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list push subscriptions: %w", err)
	}
	for _, l := range levels {
		for i := range list {
			if list[i].ID == l.subscription {
				list[i].Sessions[l.session] = l.level
			}
		}
	}
	return list, nil
}

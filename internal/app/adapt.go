package app

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/holdfast-dev/holdfast/internal/access"
	"github.com/holdfast-dev/holdfast/internal/httpapi"
	"github.com/holdfast-dev/holdfast/internal/store"
)

// logins is the store as package access sees it.
type logins struct{ *store.Store }

var _ access.Store = logins{}

func credentialOf(c store.Credential) access.Credential {
	return access.Credential{
		ID: c.ID, Kind: c.Kind, Name: c.Name, Hash: string(c.Hash),
		CreatedAt: c.CreatedAt, LastUsed: c.LastUsed, ExpiresAt: c.ExpiresAt, UserAgent: c.UserAgent,
	}
}

func denied(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return access.ErrNotFound
	}
	return err
}

func (l logins) AddCredential(ctx context.Context, c access.Credential) error {
	_, err := l.Store.AddCredential(ctx, store.Credential{
		ID: c.ID, Kind: c.Kind, Name: c.Name, Hash: []byte(c.Hash),
		CreatedAt: c.CreatedAt, LastUsed: c.LastUsed, ExpiresAt: c.ExpiresAt, UserAgent: c.UserAgent,
	})
	return err
}

func (l logins) CredentialByHash(ctx context.Context, hash string) (access.Credential, error) {
	for _, kind := range []string{access.KindCookie, access.KindToken, access.KindLink} {
		c, err := l.Store.CredentialByHash(ctx, kind, []byte(hash))
		if err == nil {
			return credentialOf(c), nil
		}
		if !errors.Is(err, store.ErrNotFound) {
			return access.Credential{}, err
		}
	}
	return access.Credential{}, access.ErrNotFound
}

func (l logins) Credentials(ctx context.Context) ([]access.Credential, error) {
	list, err := l.Store.Credentials(ctx, "")
	if err != nil {
		return nil, err
	}
	out := make([]access.Credential, 0, len(list))
	for _, c := range list {
		out = append(out, credentialOf(c))
	}
	return out, nil
}

func (l logins) RemoveCredential(ctx context.Context, id string) error {
	return denied(l.Store.RemoveCredential(ctx, id))
}

func (l logins) TakeLink(ctx context.Context, hash string, _ time.Time) (access.Credential, error) {
	c, err := l.Store.TakeLink(ctx, []byte(hash))
	return credentialOf(c), denied(err)
}

func (l logins) TouchCredential(ctx context.Context, id string, _, _ time.Time) error {
	return l.Store.TouchCredential(ctx, store.Credential{ID: id})
}

func (l logins) Setting(ctx context.Context, name string) (string, error) {
	value, err := l.Store.Setting(ctx, name)
	if errors.Is(err, store.ErrNotFound) {
		return "", nil
	}
	return string(value), err
}

func (l logins) SetSetting(ctx context.Context, name, value string) error {
	return l.Store.SetSetting(ctx, name, []byte(value))
}

// reads is the store as package httpapi sees it.
type reads struct{ *store.Store }

var _ httpapi.Store = reads{}

func (r reads) Sessions(ctx context.Context, before int64, limit int) ([]store.Session, int64, error) {
	page := ""
	if before > 0 {
		page = strconv.FormatInt(before, 10)
	}
	p, err := r.Store.Sessions(ctx, page, limit)
	if err != nil {
		return nil, 0, err
	}
	last, ok := r.ParseCursor(p.Cursor)
	if !ok {
		return nil, 0, fmt.Errorf("list sessions: cursor %q", p.Cursor)
	}
	return p.Sessions, last, nil
}

func (r reads) Items(ctx context.Context, session string, before int64, limit int) ([]store.Item, int64, int64, error) {
	p, err := r.Store.Items(ctx, session, before, limit)
	if err != nil {
		return nil, 0, 0, err
	}
	last, ok := r.ParseCursor(p.Cursor)
	if !ok {
		return nil, 0, 0, fmt.Errorf("list items: cursor %q", p.Cursor)
	}
	return p.Items, p.Seq, last, nil
}

func (r reads) Approvals(ctx context.Context, state string) ([]store.Approval, error) {
	return r.Store.Approvals(ctx, state, "")
}

func (r reads) Last(context.Context) (int64, error) { return r.Store.Last(), nil }
func (r reads) Cursor(id int64) string              { return r.CursorAt(id) }
func (r reads) Follow(after int64) httpapi.Follower { return r.Store.Follow(after) }

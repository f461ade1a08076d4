package httpapi

import (
	"context"

	"github.com/holdfast-dev/holdfast/internal/store"
)

// Store is what is read of the log and its projection.
type Store interface {
	Sessions(ctx context.Context, before int64, limit int) (list []store.Session, last int64, err error)
	Session(ctx context.Context, id string) (store.Session, error)
	Items(ctx context.Context, session string, before int64, limit int) (items []store.Item, seq, last int64, err error)
	Events(ctx context.Context, session string, after int64, limit int) (events []store.Event, last int64, err error)
	Approvals(ctx context.Context, state string) ([]store.Approval, error)
	RecentFolders(ctx context.Context, limit int) ([]string, error)
	Last(ctx context.Context) (int64, error)
	Cursor(id int64) string
	ParseCursor(cursor string) (id int64, ok bool)
	Follow(after int64) Follower
	Canary(ctx context.Context) error
}

// Follower reads the log from a place on, in order and without gaps.
type Follower interface {
	// Next waits for events and returns them, at least one.
	Next(ctx context.Context) ([]store.Event, error)
}

package httpapi

import (
	"context"

	"github.com/holdfast-dev/holdfast/internal/store"
)

// Store is what is read of the log and its projection, and where attachments
// go. *store.Store implements it.
type Store interface {
	Sessions(ctx context.Context, f store.SessionsFilter, page string, limit int) (store.SessionsPage, error)
	Tags(ctx context.Context) ([]store.TagCount, error)
	Search(ctx context.Context, q store.Query) (store.HitsPage, error)
	Session(ctx context.Context, id string) (store.Session, error)
	Items(ctx context.Context, session string, before int64, limit int) (store.ItemsPage, error)
	ItemsFrom(ctx context.Context, session string, after int64, limit int) (store.ItemsPage, error)
	ItemsAround(ctx context.Context, session, item string, limit int) (store.ItemsPage, error)
	Events(ctx context.Context, session string, after int64, limit int) (events []store.Event, last int64, err error)
	Answers(ctx context.Context, session string) (first map[string]int64, last int64, err error)
	TranscriptAfter(ctx context.Context, session string, after int64, all bool) ([]store.Item, []store.Run, error)
	Rewinds(ctx context.Context, session string) ([]store.Taken, error)
	SessionIDs(ctx context.Context) ([]string, error)
	Projects(ctx context.Context) ([]store.Project, error)
	Queue(ctx context.Context, session string) (list []store.Queued, paused bool, err error)
	Approval(ctx context.Context, id string) (store.Approval, error)
	Approvals(ctx context.Context, state, session string) ([]store.Approval, error)
	Offers(ctx context.Context, agent string) (store.OptionsBody, error)
	RecentFolders(ctx context.Context, n int) ([]string, error)
	Last() int64
	Stats(ctx context.Context) store.Stats
	RunCounts(ctx context.Context) (store.RunCounts, error)
	CursorAt(id int64) string
	ParseCursor(cursor string) (id int64, ok bool)
	FollowFiltered(after int64, filter *store.FollowFilter) *store.Follower
	Canary(ctx context.Context) error
	Blob(ctx context.Context, id string) ([]byte, error)
	PutAttachment(ctx context.Context, name, mime string, data []byte) (id string, err error)
	Attachment(ctx context.Context, id string) (store.Attachment, error)
	Copier
}

var _ Store = (*store.Store)(nil)

package session

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/holdfast-dev/holdfast/internal/said"
	"github.com/holdfast-dev/holdfast/internal/store"
)

const (
	titleMax = 500 // bytes
	tagsMax  = 20  // of one session
	tagMax   = 50  // bytes
	bulkAt   = 8   // sessions that a bulk action works on at a time

	deleteWait = 15 * time.Second // for the agent of a session to end
)

// present returns a session that is not in the trash.
func present(tx *store.Tx, id string) (store.Session, error) {
	s, err := tx.Session(id)
	if err == nil && s.DeletedAt != nil {
		return s, &Error{Code: CodeNotFound, Message: "The session is in the trash. Restore it first."}
	}
	return s, err
}

// Patch changes what a person may set. version is that of the row which the
// person saw, or 0 for whatever it is.
func (m *Manager) Patch(ctx context.Context, session string, version int64, p Patch) (store.Session, error) {
	err := m.update(func(tx *store.Tx, _ *effects) error { return patch(tx, session, version, p) })
	if err != nil {
		return store.Session{}, err
	}
	s, err := m.Store.Session(ctx, session)
	return s, publicError(err)
}

func patch(tx *store.Tx, session string, version int64, p Patch) error {
	s, err := present(tx, session)
	if err != nil {
		return err
	}
	if version != 0 && version != s.Version {
		return &Error{Code: CodeVersionConflict, Message: "The session was changed elsewhere since you saw it. Read it again and repeat the change."}
	}
	if p.Project != nil && *p.Project != "" {
		if err := projectExists(tx, *p.Project); err != nil {
			return err
		}
	}
	t := store.Traits{Pinned: p.Pinned, Archived: p.Archived, Project: p.Project}
	if p.Tags != nil {
		tags, err := tagsOf(*p.Tags)
		if err != nil {
			return err
		}
		t.Tags = &tags
	}
	if p.Title != nil {
		title := strings.TrimSpace(*p.Title)
		if title == "" || len(title) > titleMax {
			return &Error{Code: CodeBadRequest, Message: "A title has 1 to 500 bytes."}
		}
		if err := tx.SetTitle(session, title, true); err != nil {
			return err
		}
	}
	return tx.SetTraits(session, t)
}

// tagsOf trims tags and drops those that are there twice.
func tagsOf(list []string) ([]string, error) {
	tags := []string{}
	for _, tag := range list {
		tag = strings.Join(strings.Fields(tag), " ")
		switch {
		case tag == "" || len(tag) > tagMax || !utf8.ValidString(tag):
			return nil, &Error{Code: CodeBadRequest, Message: fmt.Sprintf("A tag has 1 to %d bytes.", tagMax)}
		case !slices.Contains(tags, tag):
			tags = append(tags, tag)
		}
	}
	if len(tags) > tagsMax {
		return nil, &Error{Code: CodeBadRequest, Message: fmt.Sprintf("A session has at most %d tags.", tagsMax)}
	}
	return tags, nil
}

// Delete ends the session's agent and puts the session into the trash, where it
// stays for store.TrashKept. What waited in its queue does not run any more.
// One that is in the trash already stays there. With forever it is removed at
// once, from the trash too.
func (m *Manager) Delete(ctx context.Context, session string, forever bool) error {
	if _, err := m.Store.Session(ctx, session); err != nil {
		return publicError(err)
	}
	ctx, stop := context.WithTimeout(ctx, deleteWait)
	defer stop()
	if err := m.endAndWait(ctx, session); err != nil {
		return err
	}
	return m.update(func(tx *store.Tx, fx *effects) error {
		if _, live, err := tx.LiveEpoch(session); err != nil {
			return err
		} else if live {
			return &Error{Code: CodeSessionBusy, Message: "The session's agent was started again meanwhile. Try again."}
		}
		if forever {
			return tx.DeleteSession(session)
		}
		if err := m.dropWaiting(tx, session, said.SessionDeleted(), fx); err != nil {
			return err
		}
		return tx.TrashSession(session)
	})
}

// dropWaiting ends the runs of a session that has no agent: the queued ones
// first, so that none of them follows on the current one.
func (m *Manager) dropWaiting(tx *store.Tx, session string, why said.Words, fx *effects) error {
	waiting, err := tx.QueuedRuns(session)
	if err != nil {
		return err
	}
	if current, ok, err := tx.CurrentRun(session); err != nil {
		return err
	} else if ok {
		waiting = append(waiting, current)
	}
	for _, run := range waiting {
		if err := m.endRun(tx, run, store.Cancelled, why, false, fx); err != nil {
			return err
		}
	}
	return nil
}

// Restore takes a session out of the trash.
func (m *Manager) Restore(ctx context.Context, session string) (store.Session, error) {
	err := m.update(func(tx *store.Tx, _ *effects) error { return tx.RestoreSession(session) })
	if err != nil {
		return store.Session{}, err
	}
	s, err := m.Store.Session(ctx, session)
	return s, publicError(err)
}

// Bulk does one thing to many sessions. Each succeeds or fails by itself; the
// errors are in the order of the ids, nil where it went well.
func (m *Manager) Bulk(ctx context.Context, b Bulk) []error {
	results := make([]error, len(b.IDs))
	places := make(chan struct{}, bulkAt)
	var wg sync.WaitGroup
	for i, id := range b.IDs {
		places <- struct{}{}
		wg.Go(func() {
			results[i] = m.bulkOne(ctx, id, b)
			<-places
		})
	}
	wg.Wait()
	return results
}

func (m *Manager) bulkOne(ctx context.Context, id string, b Bulk) error {
	yes, no := true, false
	var p Patch
	switch b.Action {
	case BulkDelete:
		return m.Delete(ctx, id, false)
	case BulkRestore:
		_, err := m.Restore(ctx, id)
		return err
	case BulkArchive:
		p.Archived = &yes
	case BulkUnarchive:
		p.Archived = &no
	case BulkPin:
		p.Pinned = &yes
	case BulkUnpin:
		p.Pinned = &no
	case BulkProject:
		p.Project = &b.Project
	case BulkTag, BulkUntag:
		return m.update(func(tx *store.Tx, _ *effects) error {
			s, err := present(tx, id)
			if err != nil {
				return err
			}
			tags := slices.DeleteFunc(slices.Clone(s.Tags), func(tag string) bool { return tag == b.Tag })
			if b.Action == BulkTag {
				tags = append(slices.Clone(s.Tags), b.Tag)
			}
			return patch(tx, id, 0, Patch{Tags: &tags})
		})
	default:
		return &Error{Code: CodeBadRequest, Message: fmt.Sprintf("There is no action %q.", b.Action)}
	}
	return m.update(func(tx *store.Tx, _ *effects) error { return patch(tx, id, 0, p) })
}

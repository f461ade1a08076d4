package session

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"strings"

	"github.com/holdfast-dev/holdfast/internal/failpoint"
	"github.com/holdfast-dev/holdfast/internal/said"
	"github.com/holdfast-dev/holdfast/internal/store"
	"github.com/holdfast-dev/holdfast/internal/transcript"
)

// copyAt is how many items one transaction copies: others want the writer, too.
const copyAt = 50

// rewind takes back a message and all after it. The agent's own session knows
// what was said, so it is given up: the next one is told of what is left.
func rewind(tx *store.Tx, session, item string, fx *effects) error {
	if _, running, err := tx.CurrentRun(session); err != nil {
		return err
	} else if running {
		return &Error{Code: CodeSessionBusy, Message: "A run is under way. Stop it first, or wait for its end."}
	}
	if queue, err := tx.QueuedRuns(session); err != nil {
		return err
	} else if len(queue) > 0 {
		return &Error{Code: CodeSessionBusy, Message: "Messages wait in the queue. Remove them first."}
	}
	if err := closeItems(tx, session, "", "cancelled"); err != nil {
		return err
	}
	err := tx.Rewind(session, item)
	if errors.Is(err, store.ErrNotFound) {
		return &Error{Code: CodeNotFound, Message: "There is no such message in this session, or it was taken back already."}
	}
	if err != nil {
		return err
	}
	// It stands directly behind the event, which is how a page finds what was
	// taken back.
	if err := appendNotice(tx, session, "", "info", said.Rewound(), ""); err != nil {
		return err
	}
	if err := tx.SetAgentSession(session, ""); err != nil {
		return err
	}
	ep, live, err := tx.LiveEpoch(session)
	if err != nil || !live || ep.State == store.EpochEnding {
		return err
	}
	ep.State = store.EpochEnding
	if err := tx.PutEpoch(ep); err != nil {
		return err
	}
	fx.wakeUp(session)
	return appendAgentState(tx, session, "", "ending", said.BegunAnew())
}

// Rewind takes back the message item and all after it: kept in the log, not
// shown. It is refused while a run is under way or waits.
func (m *Manager) Rewind(ctx context.Context, session, item string) (store.Session, error) {
	err := m.update(func(tx *store.Tx, fx *effects) error {
		if _, err := present(tx, session); err != nil {
			return err
		}
		return rewind(tx, session, item, fx)
	})
	if err != nil {
		return store.Session{}, err
	}
	s, err := m.Store.Session(ctx, session)
	return s, publicError(err)
}

// Fork makes a session that begins with what another one has, up to an item. It
// may be asked for in mid-run: what is not finished is not copied. The copy is
// in no list before it is whole; one that a kill cut short is removed by the
// next life. A repeated client id returns the session that it made, and true.
func (m *Manager) Fork(ctx context.Context, session string, f Fork) (made store.Session, existing bool, err error) {
	m.copying.Lock()
	defer m.copying.Unlock()
	from, err := m.Store.Session(ctx, session)
	if err != nil {
		return made, false, publicError(err)
	}
	first, through, err := m.Store.Answers(ctx, session)
	if err != nil {
		return made, false, publicError(err)
	}
	waits, _, err := m.Store.Queue(ctx, session)
	if err != nil {
		return made, false, publicError(err)
	}
	order := reading{Order: transcript.Order{First: first}, skip: map[string]bool{}}
	for _, w := range waits {
		order.skip[w.Item] = true
	}
	if f.Item != "" {
		it, err := m.Store.Item(ctx, f.Item)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return made, false, err
		}
		if err != nil || it.Session != session || it.Rewound {
			return made, false, &Error{Code: CodeNotFound, Message: "There is no such item in this session, or it was taken back."}
		}
		order.last, through = it.ID, it.Seq
		delete(order.skip, it.ID)
		if at, into := it.Said(); into {
			through = at
		} else if at := first[it.Run]; it.Kind == store.ItemUser && at > it.Seq {
			through = at - 1
		}
	}
	made, existing, err = m.beginCopy(from, f)
	if err != nil || existing {
		return made, existing, err
	}
	if err := m.copyItems(ctx, made.ID, session, through, &order); err != nil {
		_ = m.update(func(tx *store.Tx, _ *effects) error { return tx.DeleteSession(made.ID) }) // else the next life does it
		return made, false, publicError(err)
	}
	failpoint.Hit("fork.whole")
	err = m.update(func(tx *store.Tx, _ *effects) error { return tx.FinishSession(made.ID) })
	if err != nil {
		return made, false, err
	}
	made, err = m.Store.Session(ctx, made.ID)
	return made, false, err
}

func (m *Manager) beginCopy(from store.Session, f Fork) (made store.Session, existing bool, err error) {
	title := strings.TrimSpace(f.Title)
	set := title != ""
	if !set {
		title, set = from.Title, from.TitleSet
	}
	known, err := optionsOf(from)
	if err != nil {
		return made, false, err
	}
	err = m.update(func(tx *store.Tx, _ *effects) error {
		if _, err := present(tx, from.ID); err != nil {
			return err
		}
		row := store.Session{
			ID: newID("s"), Agent: from.Agent, Cwd: from.Cwd, Title: title, TitleSet: set, ClientID: f.ClientID, Building: true,
			Project: from.Project, Tags: from.Tags, ForkedFrom: &store.Origin{Session: from.ID, Item: f.Item},
		}
		var err error
		if made, existing, err = build(tx, row); !existing {
			if err == nil && known.body.Chosen != nil { // what is offered is told by the copy's own agent
				_, err = tx.Append(made.ID, "", store.AgentOptions, store.OptionsBody{Chosen: known.body.Chosen})
			}
			return err
		}
		if made.ForkedFrom == nil || *made.ForkedFrom != *row.ForkedFrom {
			return &Error{Code: CodeSessionConflict, Message: "Another session was made before with this client_id. Give the copy a client_id of its own."}
		}
		return nil
	})
	return made, existing, err
}

// build begins a session that is not shown before it is whole, or finds the one
// that its client_id has made. Of one that did not come to its end nothing is
// kept: nobody else is at it now.
func build(tx *store.Tx, row store.Session) (made store.Session, existing bool, err error) {
	made, err = tx.CreateSession(row)
	if errors.Is(err, store.ErrExists) && made.Building {
		if err := tx.DeleteSession(made.ID); err != nil {
			return made, false, err
		}
		made, err = tx.CreateSession(row)
	}
	return made, errors.Is(err, store.ErrExists), err
}

func (m *Manager) copyItems(ctx context.Context, to, from string, through int64, order *reading) error {
	for after := int64(0); ; {
		items, err := m.Store.ItemsAfter(ctx, from, after, through)
		if err != nil {
			return err
		}
		end := len(items) == 0
		if !end {
			after = items[len(items)-1].Seq
		}
		items = order.next(items, through, end)
		for len(items) > 0 {
			n := min(len(items), copyAt)
			failpoint.Hit("fork.step")
			err := m.Store.Update(store.Relaxed, func(tx *store.Tx) error {
				for _, it := range items[:n] {
					if err := tx.CopyItem(to, it); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				return err
			}
			items = items[n:]
		}
		if end {
			return nil
		}
	}
}

// reading is the order of a copy: in it no run says any more what belongs to
// what, so the order in which people read is the copy's own.
type reading struct {
	transcript.Order
	skip map[string]bool // messages that wait: they are the original's
	last string          // the message that the copy ends with, or any other item
}

// read returns a page's items and the messages that stand before it, in the
// order in which people read them.
func read(page store.ItemsPage) []store.Item {
	r := reading{Order: transcript.Order{First: map[string]int64{}}}
	for _, it := range page.Items {
		if _, known := r.First[it.Run]; !known && it.Kind != store.ItemUser {
			r.First[it.Run] = it.Seq
		}
	}
	var items []store.Item
	for _, m := range page.Messages {
		items = append(items, m.Item)
	}
	return r.next(append(items, page.Items...), math.MaxInt64, true)
}

// next takes items in the order of the log and returns what can be copied by
// then; at the end all that is read up to and with through.
func (r *reading) next(items []store.Item, through int64, end bool) (out []store.Item) {
	for _, it := range items {
		if r.skip[it.ID] || pending(it) {
			out = append(out, r.Until(it.Seq)...)
		} else {
			out = append(out, r.Take(it)...)
		}
	}
	if end {
		out = append(out, r.Until(through)...)
		for _, m := range r.Held() {
			if m.ID == r.last {
				out = append(out, m)
			}
		}
	}
	return out
}

// pending tells whether an item is a question that nobody has answered: it is
// the original's.
func pending(it store.Item) bool {
	var b struct {
		State string `json:"state"`
	}
	return it.Kind == store.ItemApproval && json.Unmarshal(it.Body, &b) == nil && b.State == store.ApprovalPending
}

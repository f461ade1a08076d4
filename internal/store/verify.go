package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Difference is a place where a projection is not what the log folds to, or
// where the database itself is damaged.
type Difference struct {
	Session string `json:"session,omitempty"`
	What    string `json:"what"` // the row, an item, an approval, the log, the file
	Stored  string `json:"stored"`
	Folded  string `json:"folded"`
}

const differencesMax = 100

// Verify folds the whole log anew and compares it with what pages read. It
// takes as long as it takes, one session to a transaction, and returns up to a
// hundred differences. progress, which may be nil, is told of sessions.
func (s *Store) Verify(ctx context.Context, progress func(done, total int64)) ([]Difference, error) {
	var found []Difference
	var sessions []string
	err := s.viewLong(ctx, func(q *reading) error {
		_, _ = queryRead(q, scanText, refreshSearch) // what is wrong with it the check itself says
		texts, err := queryRead(q, scanText, "PRAGMA quick_check")
		if err != nil {
			return err
		}
		for _, text := range texts {
			if text != "ok" {
				found = append(found, Difference{What: "the file", Stored: text, Folded: "ok"})
			}
		}
		sessions, err = queryRead(q, scanText, "SELECT id FROM sessions ORDER BY id")
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	for i, id := range sessions {
		if progress != nil {
			progress(int64(i), int64(len(sessions)))
		}
		err := s.viewLong(ctx, func(q *reading) error {
			some, err := q.verify(id)
			found = append(found, some...)
			return err
		})
		if err != nil {
			return found, fmt.Errorf("verify session %s: %w", id, err)
		}
		if len(found) > differencesMax {
			return found[:differencesMax], nil
		}
	}
	if progress != nil {
		progress(int64(len(sessions)), int64(len(sessions)))
	}
	return found, nil
}

func scanText(row scanner) (text string, err error) {
	err = row.Scan(&text)
	return text, err
}

// refold is a session made anew from its log.
type refold struct {
	row       Session
	stored    Session
	then      Session // the row after the last event that the stored one knows of
	items     map[string]Item
	entries   map[string][]entry
	approvals map[string]Approval
	broken    []Difference
}

func (q *reading) verify(session string) ([]Difference, error) {
	f := &refold{items: map[string]Item{}, entries: map[string][]entry{}, approvals: map[string]Approval{}}
	stored, err := one1(queryRead(q, scanSession, "SELECT "+sessionColumns+" FROM sessions WHERE id = ?", session))
	if errors.Is(err, ErrNotFound) {
		return nil, nil // deleted since
	}
	if err != nil {
		return nil, err
	}
	f.stored = stored
	rows, err := q.query("SELECT "+eventColumns+" FROM events WHERE sid = (SELECT sid FROM sessions WHERE id = ?) ORDER BY seq", session)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		ev, err := scanEvent(rows)
		if err != nil {
			return nil, err
		}
		if err := f.add(ev); err != nil {
			f.differ("the log", "", fmt.Sprintf("event %d: %v", ev.ID, err))
		}
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return nil, err
	}
	f.compareRow()
	if err := f.compareItems(q); err != nil {
		return nil, err
	}
	if err := f.compareApprovals(q); err != nil {
		return nil, err
	}
	for i := range f.broken {
		f.broken[i].Session = session
	}
	return f.broken, nil
}

func (f *refold) differ(what, stored, folded string) {
	f.broken = append(f.broken, Difference{What: what, Stored: stored, Folded: folded})
}

// add folds the next event.
func (f *refold) add(ev Event) error {
	if ev.Seq != f.row.Seq+1 || ev.ID <= f.row.LastEvent {
		f.differ("the log", fmt.Sprintf("seq %d, id %d", ev.Seq, ev.ID),
			fmt.Sprintf("seq %d, an id above %d", f.row.Seq+1, f.row.LastEvent))
	}
	var err error
	if f.row, err = foldRow(f.row, ev); err != nil {
		return err
	}
	if ev.Seq == f.stored.Seq {
		f.then = f.row
	}
	if err := f.addApproval(ev); err != nil {
		return err
	}
	if ev.Kind == Rewound {
		return f.rewind(ev)
	}
	id, err := itemID(ev)
	if err != nil || id == "" {
		return err
	}
	it, known := f.items[id]
	if !known {
		f.items[id], err = makeItem(id, ev)
		return err
	}
	e, err := newEntry(ev)
	if err != nil {
		return err
	}
	f.entries[id] = append(f.entries[id], e)
	if it.Open && ev.Kind != ItemClosed {
		return nil
	}
	it.Body, err = foldItem(it, f.entries[id], nil)
	it.Open, it.Run = false, runOf(it, ev)
	f.items[id] = it
	delete(f.entries, id)
	return err
}

func (f *refold) rewind(ev Event) error {
	var b RewoundBody
	if err := json.Unmarshal(ev.Body, &b); err != nil {
		return err
	}
	for id, it := range f.items {
		if b.takes(it) {
			it.Rewound = true
			f.items[id] = it
		}
	}
	return nil
}

func (f *refold) addApproval(ev Event) error {
	switch ev.Kind {
	case ApprovalRequested:
		var a Approval
		if err := json.Unmarshal(ev.Body, &a); err != nil {
			return err
		}
		a.normalise()
		f.approvals[a.ID] = a
	case ApprovalResolved:
		var b ResolvedBody
		if err := json.Unmarshal(ev.Body, &b); err != nil {
			return err
		}
		a := f.approvals[b.ID]
		a.resolve(b)
		f.approvals[b.ID] = a
	}
	return nil
}

// compareRow allows the stored row's activity to lag: it is written at most
// once a second.
func (f *refold) compareRow() {
	stored, want := f.stored, f.row
	if f.then.Seq > 0 {
		want.Seq, want.LastEvent, want.Activity, want.LastAt = f.then.Seq, f.then.LastEvent, f.then.Activity, f.then.LastAt
	}
	if want.TitleSet && !stored.TitleSet {
		f.differ("the row", "named by its agent", "named by a person")
	}
	want.TitleSet = stored.TitleSet // which an old log does not tell of every session
	a, _ := encode(stored)          // plain values always marshal
	b, _ := encode(want)
	if !bytes.Equal(a, b) || !slices.Equal(stored.Queue, want.Queue) {
		f.differ("the row", fmt.Sprintf("%s %v", a, stored.Queue), fmt.Sprintf("%s %v", b, want.Queue))
	}
}

func (f *refold) compareItems(q *reading) error {
	rows, err := q.query("SELECT "+itemColumns+" FROM items WHERE session = ?", f.row.ID)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		stored, err := scanItem(rows)
		if err != nil {
			return err
		}
		want, ok := f.items[stored.ID]
		delete(f.items, stored.ID)
		f.compare("item "+stored.ID, stored, want, ok)
	}
	for _, id := range slices.Sorted(maps.Keys(f.items)) {
		f.compare("item "+id, nil, f.items[id], true)
	}
	return rows.Err()
}

func (f *refold) compareApprovals(q *reading) error {
	list, err := queryRead(q, scanApproval, "SELECT "+approvalColumns+" FROM approvals WHERE session = ?", f.row.ID)
	if err != nil {
		return err
	}
	for _, stored := range list {
		want, ok := f.approvals[stored.ID]
		delete(f.approvals, stored.ID)
		f.compare("approval "+stored.ID, stored, want, ok)
	}
	for _, id := range slices.Sorted(maps.Keys(f.approvals)) {
		f.compare("approval "+id, nil, f.approvals[id], true)
	}
	return nil
}

func (f *refold) compare(what string, stored, folded any, made bool) {
	a, _ := encode(stored)
	b, _ := encode(folded)
	if !made {
		b = nil
	}
	if stored == nil {
		a = nil
	}
	if !bytes.Equal(a, b) {
		f.differ(what, short(a), short(b))
	}
}

func short(text []byte) string {
	const most = 500
	if len(text) <= most {
		return string(text)
	}
	return string(text[:most]) + fmt.Sprintf("… (%d bytes)", len(text))
}

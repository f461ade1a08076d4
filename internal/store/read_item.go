package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
)

const itemsBytes = 4 << 20 // about; a page with long items is a shorter one

// ItemsPage is a part of a transcript, ascending, and the point in the log that
// it agrees with.
type ItemsPage struct {
	Items  []Item
	Cursor string
	Last   int64 // the log's last event at the cursor
	Seq    int64 // the session's last seq at the cursor
	More   bool  // there may be earlier items
	Newer  bool  // there may be later items
	Runs   []Run // those that the items belong to, without their texts; but on older pages also those that have not ended

	// Messages are those of Runs that are not among Items: sent while another
	// run was on, or with an answer longer than a page, or waiting; and those
	// that had waited from before the page and were said into one of Runs.
	Messages []Asked

	// Plan is that of the newest run, where it is not among Items: it was made
	// before them, or while somebody reads elsewhere. A page that does not reach
	// the end has it only while the run is under way.
	Plan *Item
}

// Asked is a message, and where its answer begins.
type Asked struct {
	Item   Item
	Before int64 // seq of the first item that its run made, 0: none yet; or of the event by which it was said into one
}

const (
	itemsQuery      = "SELECT " + itemColumns + " FROM items WHERE session = ? AND seq < ? AND rewound = 0 ORDER BY seq DESC LIMIT ?"
	newerItemsQuery = "SELECT " + itemColumns + " FROM items WHERE session = ? AND seq > ? AND rewound = 0 ORDER BY seq LIMIT ?"
)

// endless is a seq behind every one.
const endless = 1<<63 - 1

// Items returns the items made before seq before (0: the newest ones). Open
// items are folded up to exactly the page's cursor and seq.
func (s *Store) Items(ctx context.Context, session string, before int64, limit int) (ItemsPage, error) {
	limit = clamp(limit, 50, 500)
	return s.itemsPage(ctx, session, func(q *reading, last int64, p *ItemsPage) (err error) {
		to := before
		if to <= 0 {
			to = endless
		}
		if p.Items, p.More, err = q.items(itemsQuery, session, to, limit, last); err != nil {
			return err
		}
		p.Newer = to < endless
		first := to
		if len(p.Items) > 0 {
			first = p.Items[0].Seq
		}
		return q.beside(session, p, first, to, last, !p.Newer)
	})
}

// ItemsFrom returns the items made after seq after, the oldest ones, as Items
// does.
func (s *Store) ItemsFrom(ctx context.Context, session string, after int64, limit int) (ItemsPage, error) {
	limit = clamp(limit, 50, 500)
	return s.itemsPage(ctx, session, func(q *reading, last int64, p *ItemsPage) (err error) {
		p.More = after > 0
		if p.Items, p.Newer, err = q.items(newerItemsQuery, session, after, limit, last); err != nil {
			return err
		}
		return q.beside(session, p, after+1, p.end(), last, !p.Newer)
	})
}

// ItemsAround returns an item with as many before as after it, as Items does.
// It is ErrNotFound, too, where the session has no such item, or it was taken
// back.
func (s *Store) ItemsAround(ctx context.Context, session, item string, limit int) (ItemsPage, error) {
	limit = clamp(limit, 50, 500)
	return s.itemsPage(ctx, session, func(q *reading, last int64, p *ItemsPage) error {
		at, err := one1(queryRead(q, scanItem, shownItemQuery, item))
		if err == nil && at.Session != session {
			err = ErrNotFound
		}
		if err != nil {
			return err
		}
		if p.Items, p.More, err = q.items(itemsQuery, session, at.Seq+1, limit/2+1, last); err != nil {
			return err
		}
		newer, more, err := q.items(newerItemsQuery, session, at.Seq, max(1, limit-limit/2-1), last)
		if err != nil {
			return err
		}
		p.Items, p.Newer = append(p.Items, newer...), more
		return q.beside(session, p, p.Items[0].Seq, p.end(), last, true)
	})
}

// end is the seq before which the page's items end.
func (p *ItemsPage) end() int64 {
	if !p.Newer || len(p.Items) == 0 {
		return endless
	}
	return p.Items[len(p.Items)-1].Seq + 1
}

// itemsPage makes a page of what read finds in a session.
func (s *Store) itemsPage(ctx context.Context, session string, read func(q *reading, last int64, p *ItemsPage) error) (p ItemsPage, err error) {
	p.Cursor, err = s.snapshot(ctx, func(q *reading, last int64) (err error) {
		p.Last = last
		if p.Seq, err = q.seq(session); err != nil {
			return err
		}
		return read(q, last, &p)
	})
	if err != nil {
		return ItemsPage{}, fmt.Errorf("read items of session %s: %w", session, err)
	}
	return p, nil
}

// beside adds to a page of what was made from first on and before before what
// belongs to its items, and where live is set the runs that have not ended.
func (q *reading) beside(session string, p *ItemsPage, first, before, last int64, live bool) (err error) {
	var ids []string
	if live {
		ids, err = queryRead(q, func(r scanner) (id string, err error) { return id, r.Scan(&id) }, pendingRunsQuery, session)
		if err != nil {
			return err
		}
	}
	if p.Runs, err = q.runsOf(p.Items, ids...); err != nil {
		return err
	}
	if live {
		if p.Plan, err = q.plan(p, last); err != nil {
			return err
		}
	}
	if p.Messages, err = q.asked(p.Runs, p.Items); err != nil || len(p.Items) == 0 {
		return err
	}
	said, err := q.said(session, first, before)
	p.Messages = append(p.Messages, said...)
	return err
}

// ItemsAfter returns closed items made after seq after and up to seq through,
// oldest first: about 4 MB at most, and at least one where there is one.
// Nothing tells an end but an empty list.
func (s *Store) ItemsAfter(ctx context.Context, session string, after, through int64) (list []Item, err error) {
	err = s.view(ctx, func(q *reading) error {
		list, err = q.itemsAfter(session, after, through, shownItems+" AND open = 0")
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read items of session %s: %w", session, err)
	}
	return list, nil
}

// Answers tells for each run of a session that has begun to answer the seq of
// the first item that it made, and the session's last seq.
func (s *Store) Answers(ctx context.Context, session string) (first map[string]int64, last int64, err error) {
	type answer struct {
		run string
		seq int64
	}
	first = map[string]int64{}
	err = s.view(ctx, func(q *reading) error {
		if last, err = q.seq(session); err != nil {
			return err
		}
		list, err := queryRead(q, func(r scanner) (a answer, err error) { return a, r.Scan(&a.run, &a.seq) },
			"SELECT run, min(seq) FROM items WHERE session = ? AND kind <> 'user' AND run <> '' AND rewound = 0 GROUP BY run", session)
		for _, a := range list {
			first[a.run] = a.seq
		}
		return err
	})
	if err != nil {
		return nil, 0, fmt.Errorf("read answers of session %s: %w", session, err)
	}
	return first, last, nil
}

// TranscriptAfter is ItemsAfter with the items that are open, as they are now,
// with those that were taken back where all is set, and with the runs that the
// items belong to. It is ErrNotFound where there is no session, or it is in the
// trash.
func (s *Store) TranscriptAfter(ctx context.Context, session string, after int64, all bool) (list []Item, runs []Run, err error) {
	err = s.view(ctx, func(q *reading) error {
		if _, err := q.seq(session); err != nil {
			return err
		}
		last, err := q.last()
		if err != nil {
			return err
		}
		which := shownItems
		if all {
			which = ""
		}
		if list, err = q.itemsAfter(session, after, 1<<63-1, which); err != nil {
			return err
		}
		for i := range list {
			if list[i].Body, err = q.fold(list[i], last, nil); err != nil {
				return err
			}
		}
		runs, err = q.runsOf(list)
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("read transcript of session %s: %w", session, err)
	}
	return list, runs, nil
}

// shownItems are those that were not taken back.
const shownItems = " AND rewound = 0"

// Taken is where something was taken back: the message Item and what came after
// it, before the event Seq.
type Taken struct {
	Seq  int64
	Item string
}

// Rewinds lists what was taken back in a session, in order.
func (s *Store) Rewinds(ctx context.Context, session string) (list []Taken, err error) {
	err = s.view(ctx, func(q *reading) error {
		list, err = queryRead(q, func(r scanner) (t Taken, err error) { return t, r.Scan(&t.Seq, &t.Item) },
			`SELECT seq, body ->> '$.item' FROM events
			WHERE sid = (SELECT sid FROM sessions WHERE id = ?) AND kind = 'transcript.rewound' ORDER BY seq`, session)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read what was taken back in session %s: %w", session, err)
	}
	return list, nil
}

func (q *reading) itemsAfter(session string, after, through int64, which string) (list []Item, err error) {
	rows, err := q.query("SELECT "+itemColumns+` FROM items
		WHERE session = ? AND seq > ? AND seq <= ?`+which+` ORDER BY seq LIMIT 200`, session, after, through)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for size := 0; size < itemsBytes && rows.Next(); {
		it, err := scanItem(rows)
		if err != nil {
			return nil, err
		}
		size += len(it.Body)
		list = append(list, it)
	}
	return list, errors.Join(rows.Err(), rows.Close())
}

// items returns what query finds from a seq on, at most limit, ascending.
func (q *reading) items(query, session string, from int64, limit int, last int64) (list []Item, more bool, err error) {
	rows, err := q.query(query, session, from, limit+1)
	if err != nil {
		return nil, false, err
	}
	defer rows.Close()
	size := 0
	for rows.Next() {
		it, err := scanItem(rows)
		if err != nil {
			return nil, false, err
		}
		size += len(it.Body)
		if len(list) == limit || (len(list) > 0 && size > itemsBytes) {
			more = true
			break
		}
		list = append(list, it)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return nil, false, err
	}
	if query == itemsQuery {
		slices.Reverse(list)
	}
	for i := range list {
		if list[i].Body, err = q.fold(list[i], last, nil); err != nil {
			return nil, false, err
		}
	}
	return list, more, nil
}

const runsOfQuery = `SELECT id, session, item, '', state, reason, detail, pos, epoch, prompt, cancelling, steer, queued_at, started_at, ended_at, said
	FROM runs WHERE id IN (SELECT value FROM json_each(?)) ORDER BY pos`

// runsOf returns the runs that the items belong to, and more: how each began
// and ended is part of what a transcript tells.
func (q *reading) runsOf(items []Item, more ...string) ([]Run, error) {
	ids := more
	for _, it := range items {
		if it.Run != "" && !slices.Contains(ids, it.Run) {
			ids = append(ids, it.Run)
		}
	}
	if len(ids) == 0 {
		return nil, nil
	}
	list, err := encode(ids)
	if err != nil {
		return nil, err
	}
	return queryRead(q, scanRun, runsOfQuery, string(list))
}

// plan returns ItemsPage.Plan, or nil.
func (q *reading) plan(p *ItemsPage, last int64) (*Item, error) {
	for _, r := range slices.Backward(p.Runs) {
		if r.State != RunStateCurrent && r.State != RunStateEnded {
			continue
		}
		id := PlanItem(r.ID)
		if p.Newer && r.State == RunStateEnded || slices.ContainsFunc(p.Items, func(it Item) bool { return it.ID == id }) {
			return nil, nil
		}
		it, err := one1(queryRead(q, scanItem, shownItemQuery, id))
		if errors.Is(err, ErrNotFound) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		it.Body, err = q.fold(it, last, nil)
		return &it, err
	}
	return nil, nil
}

// asked returns the messages of the runs that are not among the items, oldest
// first.
func (q *reading) asked(runs []Run, items []Item) (list []Asked, err error) {
	for _, r := range runs {
		if slices.ContainsFunc(items, func(it Item) bool { return it.ID == r.Item }) {
			continue
		}
		var a Asked
		a.Item, err = one1(queryRead(q, scanItem, shownItemQuery, r.Item))
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err == nil {
			err = q.one(answerQuery, []any{a.Item.Session, a.Item.Seq, r.ID}, &a.Before)
		}
		if err != nil && !errors.Is(err, ErrNotFound) {
			return nil, err
		}
		list = append(list, a)
	}
	slices.SortFunc(list, func(a, b Asked) int { return cmp.Compare(a.Item.Seq, b.Item.Seq) })
	return list, nil
}

const (
	// pendingRunsQuery asks for the runs whose messages stand in no page, perhaps.
	pendingRunsQuery = "SELECT id FROM runs WHERE session = ? AND state <> 'steering' AND state <> 'ended'"
	shownItemQuery   = "SELECT " + itemColumns + " FROM items WHERE id = ? AND rewound = 0"
	// answerQuery asks where the answer of a run to a message begins.
	answerQuery = "SELECT seq FROM items WHERE session = ? AND seq > ? AND run = ? AND kind <> 'user' AND rewound = 0 ORDER BY seq LIMIT 1"
)

// saidQuery asks for a steer that is not empty: the partial index has those.
const saidQuery = "SELECT " + itemColumns + ` FROM items WHERE id IN (SELECT item FROM runs WHERE session = ?1 AND steer <> '')
	AND seq < ?2 AND rewound = 0 AND body ->> '$.steer.state' <> 'late' AND body ->> '$.steer.seq' >= ?2 AND body ->> '$.steer.seq' < ?3 ORDER BY seq`

// said returns the messages that waited from before first and were said into a
// run between it and before.
func (q *reading) said(session string, first, before int64) ([]Asked, error) {
	return queryRead(q, func(row scanner) (a Asked, err error) {
		if a.Item, err = scanItem(row); err != nil {
			return a, err
		}
		a.Before, _ = a.Item.Said()
		return a, nil
	}, saidQuery, session, first, before)
}

// fold returns an item's body at event last, which the snapshot ends with.
func (q *reading) fold(it Item, last int64, b *blobs) (body []byte, err error) {
	if !it.Open {
		return it.Body, nil
	}
	entries, ok := q.s.open.upTo(it.ID, last)
	if !ok {
		if entries, err = queryRead(q, scanEntry, entriesQuery, it.Session, it.Seq); err != nil {
			return nil, err
		}
	}
	return foldItem(it, entries, b)
}

// Item returns one item, folded, or ErrNotFound.
func (s *Store) Item(ctx context.Context, id string) (it Item, err error) {
	err = s.view(ctx, func(q *reading) error {
		it, err = q.item(id, nil)
		return err
	})
	if err != nil {
		return Item{}, fmt.Errorf("read item %s: %w", id, err)
	}
	return it, nil
}

func (q *reading) item(id string, b *blobs) (Item, error) {
	last, err := q.last()
	if err != nil {
		return Item{}, err
	}
	it, err := one1(queryRead(q, scanItem, "SELECT "+itemColumns+" FROM items WHERE id = ?", id))
	if err != nil {
		return Item{}, err
	}
	it.Body, err = q.fold(it, last, b)
	return it, err
}

// Blob returns an output that was too long for its item's body, or ErrNotFound.
func (s *Store) Blob(ctx context.Context, id string) (data []byte, err error) {
	err = s.view(ctx, func(q *reading) error {
		data, err = q.blob(id)
		if !errors.Is(err, ErrNotFound) {
			return err
		}
		// An open item's outputs become blobs when it closes.
		item, ok := blobItem(id)
		if !ok {
			return err
		}
		b := &blobs{load: q.blob}
		if _, e := q.item(item, b); e != nil {
			return e
		}
		if data, ok = b.saved[id]; ok {
			err = nil
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read blob %s: %w", id, err)
	}
	return data, nil
}

func (q *reading) blob(id string) (data []byte, err error) {
	err = q.one("SELECT data FROM blobs WHERE id = ?", []any{id}, &data)
	return data, err
}

package store

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// itemChange is what an event does to an item, worked out before anything is
// written.
type itemChange struct {
	id    string
	seq   int64 // of the item
	made  *Item
	open  *openItem       // grows by the event
	body  json.RawMessage // the new body of an item that is or becomes closed
	run   string          // which it belongs to then
	blobs map[string][]byte
}

const itemColumns = "id, session, run, kind, seq, at, open, rewound, body"

func scanItem(row scanner) (it Item, err error) {
	var at int64
	err = row.Scan(&it.ID, &it.Session, &it.Run, &it.Kind, &it.Seq, &at, &it.Open, &it.Rewound, (*[]byte)(&it.Body))
	it.At = fromMillis(at)
	return it, err
}

// planItem finds what ev does to the item that it is about, and takes what is
// too long out of ev. It returns nil where ev is about none.
func (tx *Tx) planItem(ev *Event) (*itemChange, error) {
	id, err := itemID(*ev)
	if err != nil {
		return nil, err
	}
	if id == "" {
		switch ev.Kind {
		case MessageUser, MessageEdited, MessageSteered, ItemCopied, TextDelta, ThoughtDelta, ToolStarted, ToolUpdated, PlanChanged, ItemClosed:
			return nil, errors.New("body names no item")
		}
		return nil, nil
	}
	b := &blobs{load: tx.blob}
	if err := offloadEvent(ev, id, b); err != nil {
		return nil, err
	}
	c := &itemChange{id: id}
	open, closed, err := tx.lookUp(id)
	switch {
	case errors.Is(err, ErrNotFound):
		var it Item
		it, err = makeItem(id, *ev)
		c.made, c.seq = &it, ev.Seq
	case err != nil:
	case open != nil && open.item.Session != ev.Session, closed != nil && closed.Session != ev.Session:
		err = fmt.Errorf("item %s belongs to another session", id)
	case open != nil:
		c.seq, c.run = open.item.Seq, open.item.Run
		err = tx.planOpen(c, open, *ev, b)
	default:
		c.seq = closed.Seq
		err = planClosed(c, *closed, *ev, b)
	}
	if err != nil {
		return nil, err
	}
	c.blobs = b.saved
	return c, nil
}

// longBody is from where on the memory that folding took is given back at once:
// the collector keeps it for long otherwise.
const longBody = 1 << 20

func (tx *Tx) planOpen(c *itemChange, open *openItem, ev Event, b *blobs) error {
	switch ev.Kind {
	case TextDelta, ThoughtDelta, ToolUpdated:
		c.open = open
		return fits(open.item.Kind, ev.Kind)
	case ItemClosed:
		entries := open.entries
		if open.partial {
			var err error
			if entries, err = tx.entries(open.item); err != nil {
				return err
			}
		}
		e, err := newEntry(ev)
		if err != nil {
			return err
		}
		c.body, err = foldItem(open.item, append(slices.Clip(entries), e), b)
		tx.w.swollen = tx.w.swollen || len(c.body) > longBody
		return err
	}
	return fmt.Errorf("%s about item %s: %w", ev.Kind, c.id, ErrExists)
}

// planClosed folds an event that comes after an item's close at once: an
// update of a tool that its agent had been done with, an answer, a new plan.
func planClosed(c *itemChange, it Item, ev Event, b *blobs) error {
	switch ev.Kind {
	case TextDelta, ThoughtDelta:
		return ErrItemClosed
	case ToolUpdated, PlanChanged, ApprovalResolved, ItemClosed, MessageEdited, MessageSteered:
		if err := fits(it.Kind, ev.Kind); err != nil {
			return err
		}
		e, err := newEntry(ev)
		if err != nil {
			return err
		}
		c.run = runOf(it, ev)
		c.body, err = foldItem(it, []entry{e}, b)
		return err
	}
	return fmt.Errorf("%s about item %s: %w", ev.Kind, c.id, ErrExists)
}

// runOf is the run that a closed item belongs to after ev.
func runOf(it Item, ev Event) string {
	if ev.Kind == MessageSteered {
		return ev.Run
	}
	return it.Run
}

// fits tells whether an event can be about an item of that kind.
func fits(item string, kind Kind) error {
	want := map[Kind]string{
		TextDelta: ItemAssistant, ThoughtDelta: ItemThought, ToolUpdated: ItemTool,
		PlanChanged: ItemPlan, ApprovalResolved: ItemApproval, MessageEdited: ItemUser, MessageSteered: ItemUser,
	}[kind]
	if want != "" && want != item {
		return fmt.Errorf("%s about an item of kind %s", kind, item)
	}
	return nil
}

// lookUp returns the item id as an open or a closed one.
func (tx *Tx) lookUp(id string) (*openItem, *Item, error) {
	if oi := tx.w.s.open.get(id); oi != nil {
		return oi, nil, nil
	}
	list, err := queryTx(tx, scanItem, "SELECT "+itemColumns+" FROM items WHERE id = ?", id)
	it, ok, err := first(list, err)
	if err != nil {
		return nil, nil, err
	}
	if !ok {
		return nil, nil, ErrNotFound
	}
	if !it.Open {
		return nil, &it, nil
	}
	oi := &openItem{item: it}
	entries, err := tx.entries(it)
	if err != nil {
		return nil, nil, err
	}
	for _, e := range entries {
		oi.bytes += len(e.text) + len(e.body)
	}
	if oi.partial = oi.bytes > openBytesMax; !oi.partial {
		oi.entries = entries
	}
	tx.w.s.open.put(oi)
	return oi, nil, nil
}

const entriesQuery = `SELECT id, kind, CASE WHEN kind IN ('text.delta', 'thought.delta') THEN body ->> 'text' ELSE body END FROM events
	WHERE sid = (SELECT sid FROM sessions WHERE id = ?1) AND seq > ?2 AND item = ?2 ORDER BY seq`

func scanEntry(row scanner) (e entry, err error) {
	var body sql.RawBytes
	if err := row.Scan(&e.id, &e.kind, &body); err != nil {
		return entry{}, err
	}
	if e.kind == TextDelta || e.kind == ThoughtDelta {
		e.text = string(body)
	} else {
		e.body = bytes.Clone(body)
	}
	return e, nil
}

// entries reads from the log what an open item has grown by.
func (tx *Tx) entries(it Item) ([]entry, error) {
	return queryTx(tx, scanEntry, entriesQuery, it.Session, it.Seq)
}

func (tx *Tx) blob(id string) ([]byte, error) {
	var data []byte
	if err := tx.one("SELECT data FROM blobs WHERE id = ?", []any{id}, &data); err != nil {
		return nil, fmt.Errorf("read blob %s: %w", id, err)
	}
	return data, nil
}

// applyItem writes the change.
func (tx *Tx) applyItem(ev Event, c *itemChange) error {
	for _, id := range slices.Sorted(maps.Keys(c.blobs)) {
		err := tx.exec("INSERT INTO blobs (id, session, data) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET data = excluded.data",
			id, ev.Session, c.blobs[id])
		if err != nil {
			return err
		}
	}
	open := tx.w.s.open
	switch {
	case c.made != nil:
		it := *c.made
		err := tx.exec("INSERT INTO items ("+itemColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, 0, ?)",
			it.ID, it.Session, it.Run, it.Kind, it.Seq, it.At.UnixMilli(), it.Open, string(it.Body))
		if err != nil {
			return err
		}
		if it.Open {
			open.put(&openItem{item: it})
			tx.onUndo(func() { open.drop(it.ID) })
		}
	case c.open != nil:
		e, err := newEntry(ev)
		if err != nil {
			return err
		}
		open.add(c.open, e)
		tx.onUndo(func() { open.cut(c.open, e) })
	case c.body != nil:
		if err := tx.exec("UPDATE items SET open = 0, run = ?, body = ? WHERE id = ?", c.run, string(c.body), c.id); err != nil {
			return err
		}
		if oi := open.get(c.id); oi != nil {
			open.drop(c.id)
			tx.onUndo(func() { open.put(oi) })
		}
	}
	return nil
}

// OpenItems returns the items of a session that are open, first made first.
// Their bodies are as the first event made them; Item folds one.
func (tx *Tx) OpenItems(session string) ([]Item, error) {
	return queryTx(tx, scanItem, "SELECT "+itemColumns+" FROM items WHERE session = ? AND open = 1 ORDER BY seq", session)
}

// Item returns one item, folded. It returns ErrNotFound when there is none.
func (tx *Tx) Item(id string) (Item, error) {
	open, closed, err := tx.lookUp(id)
	if err != nil {
		return Item{}, err
	}
	if closed != nil {
		return *closed, nil
	}
	entries := open.entries
	if open.partial {
		if entries, err = tx.entries(open.item); err != nil {
			return Item{}, err
		}
	}
	it := open.item
	it.Body, err = foldItem(it, entries, nil)
	return it, err
}

package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// Rewind takes back the message item and everything that is read after it: it
// stays in the log, and no page of the transcript has it. It returns
// ErrNotFound where item is no message that the transcript shows and that began a run. No run of the
// session may be under way.
func (tx *Tx) Rewind(session, item string) error {
	it, err := tx.Item(item)
	if err == nil && (it.Session != session || it.Kind != ItemUser || it.Rewound) {
		err = ErrNotFound
	}
	if _, into := it.Said(); err == nil && into {
		err = ErrNotFound
	}
	var body RewoundBody
	if err == nil {
		body, err = tx.readAfter(it)
	}
	if err == nil {
		_, err = tx.Append(session, "", Rewound, body)
	}
	if err != nil {
		return fmt.Errorf("rewind session %s to %s: %w", session, item, err)
	}
	return nil
}

// Said tells whether an item is a message that was said into a run which answers
// another, and the seq of where it was: its own, or that of the event by which
// one was that had waited in the queue.
func (it Item) Said() (seq int64, into bool) {
	var b MessageBody
	if it.Kind != ItemUser || json.Unmarshal(it.Body, &b) != nil || b.Steer == nil || b.Steer.State == SteerLate {
		return 0, false
	}
	return max(it.Seq, b.Steer.Seq), true
}

// readAfter is what stands in a transcript from the message it on. The log has
// a message where it was sent, people read it where its run begins: one that
// waited in the queue lies in the midst of an earlier run, or even before
// another message that was put ahead of it. One that waited and was said into a
// run may lie before the message of that.
func (tx *Tx) readAfter(it Item) (RewoundBody, error) {
	body := RewoundBody{Item: it.ID, Seq: it.Seq}
	begins := it.Seq // of what is read from it on
	if it.Run != "" {
		err := tx.one(answerQuery, []any{it.Session, it.Seq, it.Run}, &begins)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return body, err
		}
	}
	// A message that was sent before this one and is answered after it.
	err := tx.one(`SELECT coalesce(min(m.seq), ?2)
		FROM (SELECT DISTINCT run FROM items WHERE session = ?1 AND seq >= ?3 AND kind <> 'user' AND run NOT IN ('', ?4) AND rewound = 0) l
		JOIN runs r ON r.id = l.run JOIN items m ON m.id = r.item
		WHERE m.seq < ?2 AND NOT EXISTS (SELECT 1 FROM items a WHERE a.session = ?1 AND a.seq > m.seq AND a.seq < ?3 AND a.run = l.run AND a.kind <> 'user')`,
		[]any{it.Session, it.Seq, begins, it.Run}, &body.Seq)
	if err != nil {
		return body, err
	}
	// A message that was sent before that one and said into its run or a later one.
	err = tx.one(`SELECT coalesce(min(m.seq), ?2) FROM runs own JOIN items m ON m.id = own.item
		WHERE own.session = ?1 AND own.steer <> '' AND m.seq < ?2 AND m.rewound = 0 AND m.body ->> '$.steer.state' <> 'late'
		AND (m.run = ?4 OR EXISTS (SELECT 1 FROM items a WHERE a.session = ?1 AND a.seq >= ?3 AND a.run = m.run)
			AND NOT EXISTS (SELECT 1 FROM items a WHERE a.session = ?1 AND a.seq > m.seq AND a.seq < ?3 AND a.run = m.run AND a.kind <> 'user'))`,
		[]any{it.Session, body.Seq, begins, it.Run}, &body.Seq)
	if err != nil {
		return body, err
	}
	// Runs of which something lies there and that are read before: the one that
	// was under way, those that had said something by then, and those that never
	// did, also where something was said into them later.
	body.Keep, err = queryTx(tx, func(r scanner) (run string, err error) { return run, r.Scan(&run) }, `
		SELECT run FROM (SELECT run FROM items
			WHERE session = ?1 AND seq < ?3 AND kind <> 'user' AND run NOT IN ('', ?4) AND rewound = 0 ORDER BY seq DESC LIMIT 1) u
		WHERE EXISTS (SELECT 1 FROM items a WHERE a.session = ?1 AND a.seq >= ?2 AND a.run = u.run)
		UNION
		SELECT run FROM (SELECT run, max(kind <> 'user') AS says FROM items
			WHERE session = ?1 AND seq >= ?2 AND seq < ?3 AND run NOT IN ('', ?4) AND rewound = 0 GROUP BY run) b
		WHERE says OR NOT EXISTS (SELECT 1 FROM items a WHERE a.session = ?1 AND a.seq >= ?3 AND a.run = b.run)
		UNION
		SELECT i.run FROM items i JOIN runs r ON r.id = i.run JOIN items m ON m.id = r.item
		WHERE i.session = ?1 AND i.seq >= ?2 AND i.kind = 'user' AND i.run <> ?4 AND i.rewound = 0 AND m.id <> i.id AND m.seq < ?3
		AND NOT EXISTS (SELECT 1 FROM items a WHERE a.session = ?1 AND a.seq >= ?3 AND a.run = i.run AND a.kind <> 'user')`,
		it.Session, body.Seq, begins, it.Run)
	return body, err
}

func (tx *Tx) applyRewound(ev Event) error {
	var b RewoundBody
	if err := json.Unmarshal(ev.Body, &b); err != nil {
		return err
	}
	keep, err := encode(append([]string{}, b.Keep...))
	if err != nil {
		return err
	}
	// What is open in memory is the item as it was made.
	tx.w.s.open.forget(ev.Session)
	return tx.exec("UPDATE items SET rewound = 1 WHERE session = ? AND seq >= ? AND run NOT IN (SELECT value FROM json_each(?))", ev.Session, b.Seq, string(keep))
}

// takes tells whether an item is among what is taken back.
func (b RewoundBody) takes(it Item) bool {
	return it.Seq >= b.Seq && !slices.Contains(b.Keep, it.Run)
}

package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	sqlite3 "modernc.org/sqlite/lib"
)

const (
	deleteStep  = 400 // events of a deleted session, in one transaction
	choreEvery  = 50 * time.Millisecond
	vacuumPages = 128 // given back in one step
	vacuumFrom  = 256 // free pages; fewer stay, they are used again

	// TrashKept is how long a deleted session can be had back.
	TrashKept  = 30 * 24 * time.Hour
	trashEvery = time.Hour

	walKeep  = 1 << 20 // bytes of the log beside the file that may stay
	walRest  = time.Second
	walEvery = 30 * time.Second
	walMost  = 2 * time.Minute // the log is looked at then, though the writer never rests
)

// chores is what the writer does when nobody waits for it.
type chores struct {
	owed     time.Time // when the next session.changed of mere activity is due
	deleting bool      // there are deleted sessions whose bulk is still there
	vacuum   bool      // there may be pages to give back
	next     time.Time // no deleting and no vacuum before
	tidy     time.Time // when to look at the length of the log beside the file; zero: nothing was written since
	tidied   time.Time
	dirty    time.Time // the first commit since it was looked at
	trash    time.Time // when to look into the trash, and for attachments that nothing names
}

func (c *chores) owe(due time.Time) {
	if c.owed.IsZero() || due.Before(c.owed) {
		c.owed = due
	}
}

// due tells whether session.changed is owed to somebody.
func (c *chores) due(now time.Time) bool { return !c.owed.IsZero() && !now.Before(c.owed) }

// choreIn returns how long the writer may wait for requests, if there is a chore.
func (w *writer) choreIn() (time.Duration, bool) {
	c := &w.chores
	var due time.Time
	if c.deleting || c.vacuum {
		due = c.next
		if due.IsZero() {
			due = time.Now()
		}
	}
	if !c.owed.IsZero() && (due.IsZero() || c.owed.Before(due)) {
		due = c.owed
	}
	if w.conn != nil && w.lastID != w.s.life.file.Last {
		if mark := w.s.life.marked.Add(markEvery); due.IsZero() || mark.Before(due) {
			due = mark
		}
	}
	if !c.tidy.IsZero() && (due.IsZero() || c.tidy.Before(due)) {
		due = c.tidy
	}
	if !c.trash.IsZero() && w.conn != nil && (due.IsZero() || c.trash.Before(due)) {
		due = c.trash
	}
	if next := w.index.next; w.conn != nil && w.index.wanted {
		if next.IsZero() {
			next = time.Now()
		}
		if due.IsZero() || next.Before(due) {
			due = next
		}
	}
	if due.IsZero() {
		return 0, false
	}
	return max(time.Until(due), 0), true
}

// chore does what is due.
func (w *writer) chore() {
	c := &w.chores
	now := time.Now()
	if c.due(now) {
		w.flush(false)
		return
	}
	if !now.Before(w.s.life.marked.Add(markEvery)) {
		if err := w.s.life.mark(w.lastID); err != nil {
			w.s.log.Error("note the length of the log failed", "err", err)
		}
		return
	}
	if !c.tidy.IsZero() && !now.Before(c.tidy) {
		c.tidy, c.tidied = time.Time{}, now
		if fileSize(w.s.path+"-wal") >= walKeep {
			w.checkpoint()
		}
		return
	}
	if w.conn != nil && !c.trash.IsZero() && !now.Before(c.trash) {
		c.trash = now.Add(trashEvery)
		w.alone(func(tx *Tx) error {
			more, err := tx.emptyTrash()
			if err == nil && !more {
				more, err = tx.dropAttachments()
			}
			if more {
				c.trash, c.vacuum = now.Add(choreEvery), true
			}
			return err
		})
		return
	}
	if w.conn != nil && w.index.wanted && !now.Before(w.index.next) {
		w.searchChore(now)
		return
	}
	if now.Before(c.next) || !c.deleting && !c.vacuum {
		return
	}
	c.next = now.Add(choreEvery)
	switch {
	case c.deleting:
		w.alone(func(tx *Tx) error {
			more, err := tx.deleteSome()
			if err != nil {
				return err
			}
			if c.deleting, c.vacuum = more, true; !more {
				c.trash = time.Now() // what only its messages named is nobody's now
			}
			return nil
		})
	case c.vacuum:
		c.vacuum = w.vacuum()
	}
	c.next = time.Now().Add(choreEvery)
}

// wrote has the log beside the file looked at when the writer rests.
func (c *chores) wrote(now time.Time) {
	if c.tidy.IsZero() {
		c.dirty = now
	}
	c.tidy = now.Add(walRest)
	if most := c.dirty.Add(walMost); c.tidy.After(most) {
		c.tidy = most
	}
	if again := c.tidied.Add(walEvery); c.tidy.Before(again) {
		c.tidy = again
	}
}

// checkpoint takes the log in and cuts it to nothing. A reader at work keeps
// it from that; then it is tried again after the next commit, and does not
// make the writer wait.
func (w *writer) checkpoint() {
	if w.conn == nil {
		return
	}
	ctx := context.Background()
	var busy, length, done int
	_, err := w.conn.ExecContext(ctx, "PRAGMA busy_timeout = 0")
	if err == nil {
		err = w.conn.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &length, &done)
		_, again := w.conn.ExecContext(ctx, "PRAGMA busy_timeout = 5000")
		err = errors.Join(err, again)
	}
	if err != nil && code(err) != sqlite3.SQLITE_BUSY && code(err) != sqlite3.SQLITE_LOCKED {
		w.s.log.Error("checkpoint failed", "err", err)
		w.disconnect(true)
	}
}

// alone runs fn as an Update of the writer's own. Its errors have been told:
// of the transaction by void, its own here.
func (w *writer) alone(fn func(*Tx) error) {
	if err := w.aloneErr(fn); err != nil {
		w.s.log.Error("chore failed", "err", err)
		w.chores.next = time.Now().Add(10 * time.Second)
		w.chores.deleting, w.chores.vacuum = false, false // until the next deletion or start
	}
}

// aloneErr is alone for who looks at the error.
func (w *writer) aloneErr(fn func(*Tx) error) error {
	r := &request{durability: Relaxed, fn: fn, done: make(chan result, 1)}
	w.own = true
	w.commit([]*request{r})
	w.own = false
	res := <-r.done
	if res.panicked {
		return fmt.Errorf("chore panicked: %v", res.value)
	}
	return res.err
}

// flush tells the list of activity that it has not been told of: of all, or of
// what is due.
func (w *writer) flush(all bool) {
	w.chores.owed = time.Time{}
	owed := false
	for _, r := range w.rows {
		if r.owed {
			owed = true
			if all {
				r.written = time.Time{}
			}
		}
	}
	if owed {
		w.alone(func(tx *Tx) error {
			for _, r := range w.rows {
				if r.owed {
					tx.touch(r)
				}
			}
			return nil // finish does the rest
		})
	}
}

func (w *writer) flushAll() { w.flush(true) }

// trim keeps what the writer remembers within bounds. Between transactions only.
func (w *writer) trim() {
	w.s.open.trim()
	if len(w.rows) > 2048 {
		for id, r := range w.rows {
			if !r.owed {
				delete(w.rows, id)
			}
		}
	}
	if len(w.offsets) > 2048 {
		clear(w.offsets)
	}
}

// emptyTrash deletes for good one session whose time is over, or which is a copy
// that an earlier life of the host did not come to finish. It tells whether
// there may be more.
func (tx *Tx) emptyTrash() (more bool, err error) {
	var id string
	err = tx.one(`SELECT id FROM sessions WHERE deleted_at <> 0 AND deleted_at < ?
		UNION ALL SELECT id FROM sessions WHERE building = 1 AND created_at < ? LIMIT 1`,
		[]any{tx.now.Add(-TrashKept).UnixMilli(), tx.w.s.began.UnixMilli()}, &id)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, tx.DeleteSession(id)
}

// attachmentKept is how long an attachment may wait for its message.
const attachmentKept = 24 * time.Hour

// unnamed are attachments that no message names, in any session; the condition on
// items is that of their index.
const unnamed = `SELECT id FROM attachments WHERE created_at < ? AND id NOT IN (
		SELECT value FROM items, json_each(items.body, '$.attachments')
		WHERE items.kind = 'user' AND items.body ->> '$.attachments' IS NOT NULL)
	LIMIT 8`

// dropAttachments removes some attachments that no message names any more, or
// that came and were never sent. It tells whether there may be more.
func (tx *Tx) dropAttachments() (more bool, err error) {
	n, err := tx.w.execN("DELETE FROM attachments WHERE id IN ("+unnamed+")", tx.now.Add(-attachmentKept).UnixMilli())
	return n > 0, tx.check(err)
}

// deleteEvents are the events of a deleted session that go next.
var deleteEvents = fmt.Sprintf(`SELECT id FROM events WHERE sid = (SELECT sid FROM deletions WHERE session = ?)
	AND kind <> 'session.deleted' ORDER BY seq LIMIT %d`, deleteStep)

// searchDelete takes what those events made out of the index of the search.
var searchDelete = "DELETE FROM search WHERE rowid IN (" + deleteEvents + ")"

// deleteSome removes a part of one deleted session and tells whether there is more.
func (tx *Tx) deleteSome() (more bool, err error) {
	var session string
	err = tx.one("SELECT session FROM deletions LIMIT 1", nil, &session)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	tx.w.s.open.forget(session)
	// The tombstone stays, so that ids never go down.
	for _, step := range []string{
		"DELETE FROM blobs WHERE rowid IN (SELECT rowid FROM blobs WHERE session = ? LIMIT 1)",
		fmt.Sprintf("DELETE FROM items WHERE rowid IN (SELECT rowid FROM items WHERE session = ? LIMIT %d)", deleteStep/4),
		"DELETE FROM lines WHERE rowid IN (SELECT rowid FROM lines WHERE epoch IN (SELECT name FROM epochs WHERE session = ?) LIMIT 50)",
		searchDelete,
		fmt.Sprintf("DELETE FROM events WHERE rowid IN (%s)", deleteEvents),
	} {
		if step == searchDelete { // of those events that go next; it is no step of its own
			if err := tx.exec(step, session); err != nil {
				return true, err
			}
			continue
		}
		if n, err := tx.w.execN(step, session); err != nil || n > 0 {
			return true, tx.check(err)
		}
	}
	for _, text := range []string{
		"DELETE FROM search_titles WHERE sid = (SELECT sid FROM deletions WHERE session = ?)",
		"DELETE FROM runs WHERE session = ?",
		"DELETE FROM messages WHERE session = ?",
		"DELETE FROM offsets WHERE epoch IN (SELECT rowid FROM epochs WHERE session = ?)",
		"DELETE FROM epochs WHERE session = ?",
		"DELETE FROM deletions WHERE session = ?",
	} {
		if err := tx.exec(text, session); err != nil {
			return false, err
		}
	}
	return true, nil
}

// vacuum gives some free pages back to the disk and tells whether there are more.
func (w *writer) vacuum() bool {
	if w.conn == nil {
		return false
	}
	ctx := context.Background()
	var free int
	if err := w.conn.QueryRowContext(ctx, "PRAGMA freelist_count").Scan(&free); err != nil || free < vacuumFrom {
		return false
	}
	if err := w.setSync(Relaxed); err != nil {
		return false
	}
	if _, err := w.conn.ExecContext(ctx, fmt.Sprintf("PRAGMA incremental_vacuum(%d)", vacuumPages)); err != nil {
		w.s.log.Error("vacuum failed", "err", err)
		w.disconnect(true)
		return false
	}
	return true
}

// repairActivity brings the activity of those rows up to date whose sessions
// streamed when the last life ended: they are among the last to be written. So
// are those that an older host wrote, which knows nothing of it.
func repairActivity(ctx context.Context, conn *sql.Conn) error {
	_, err := conn.ExecContext(ctx, `
		WITH recent AS (SELECT id, sid, seq FROM sessions ORDER BY activity DESC LIMIT 500),
		late AS (
			SELECT id, sid FROM recent WHERE (SELECT max(seq) FROM events e WHERE e.sid = recent.sid) > recent.seq
			UNION SELECT id, sid FROM sessions WHERE counted <> last_event
		), told AS (
			SELECT late.id, a.id AS activity, a.at, e.id AS last_event, e.seq FROM late
			JOIN events a ON a.id = (SELECT id FROM events WHERE sid = late.sid AND kind IN (`+activityKinds+`) ORDER BY seq DESC LIMIT 1)
			JOIN events e ON e.id = (SELECT id FROM events WHERE sid = late.sid ORDER BY seq DESC LIMIT 1)
		)
		UPDATE sessions SET activity = told.activity, last_at = told.at, last_event = told.last_event, counted = told.last_event, seq = told.seq
		FROM told WHERE sessions.id = told.id`)
	if err != nil {
		return fmt.Errorf("repair activity: %w", err)
	}
	return nil
}

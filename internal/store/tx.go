package store

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"time"
)

// Tx is one Update under way. Its reads see what it has written. It belongs to
// the writer's goroutine and ends with the function that it was given to.
type Tx struct {
	w   *writer
	now time.Time

	lastID  int64 // of the log, before this Update
	events  int   // of the batch, before this Update
	undo    []func()
	touched []*row
	fatal   error // of SQL: the batch is void
	failed  error // a half-done change: this Update cannot succeed any more
}

// Now returns the time of this Update, in milliseconds, UTC.
func (tx *Tx) Now() time.Time { return tx.now }

// run calls fn and turns its panic into a result.
func (tx *Tx) run(fn func(*Tx) error) (res result) {
	defer func() {
		if v := recover(); v != nil {
			tx.w.s.log.Error("update panicked", "panic", v, "stack", string(debug.Stack()))
			res = result{panicked: true, value: v}
		}
	}()
	if err := fn(tx); err != nil {
		return result{err: err}
	}
	return result{err: tx.failed}
}

// rollback puts back what is known beside the database.
func (tx *Tx) rollback() {
	for i := len(tx.undo) - 1; i >= 0; i-- {
		tx.undo[i]()
	}
	tx.w.lastID = tx.lastID
	tx.w.batch = tx.w.batch[:tx.events]
}

func (tx *Tx) onUndo(f func()) { tx.undo = append(tx.undo, f) }

// check records an error of SQL: one after which the transaction cannot be
// trusted voids the batch, whatever the caller makes of it.
func (tx *Tx) check(err error) error {
	if err == nil || errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if harmless(err) {
		if tx.failed == nil {
			tx.failed = err
		}
		return err
	}
	if tx.fatal == nil {
		tx.fatal = err
	}
	return err
}

func (tx *Tx) exec(text string, args ...any) error {
	return tx.check(tx.w.exec(text, args...))
}

// one scans one row; ErrNotFound when there is none.
func (tx *Tx) one(text string, args []any, dest ...any) error {
	stmt, err := tx.w.stmt(text)
	if err == nil {
		err = stmt.QueryRowContext(context.Background(), args...).Scan(dest...)
	}
	if errors.Is(err, sql.ErrNoRows) {
		return ErrNotFound
	}
	return tx.check(err)
}

// queryTx returns all rows that scan makes.
func queryTx[T any](tx *Tx, scan func(scanner) (T, error), text string, args ...any) ([]T, error) {
	stmt, err := tx.w.stmt(text)
	if err != nil {
		return nil, tx.check(err)
	}
	rows, err := stmt.QueryContext(context.Background(), args...)
	if err != nil {
		return nil, tx.check(err)
	}
	list, err := collectRows(rows, scan)
	return list, tx.check(err)
}

// scanner is a *sql.Row or *sql.Rows.
type scanner interface{ Scan(dest ...any) error }

// collectRows scans all rows and closes them.
func collectRows[T any](rows *sql.Rows, scan func(scanner) (T, error)) ([]T, error) {
	defer rows.Close()
	var list []T
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, rows.Err()
}

// first returns the first of list; ok is false when there is none.
func first[T any](list []T, err error) (v T, ok bool, _ error) {
	if err != nil || len(list) == 0 {
		return v, false, err
	}
	return list[0], true, nil
}

// encode writes v as JSON without the escapes that HTML would need.
func encode(v any) (json.RawMessage, error) {
	switch raw := v.(type) {
	case json.RawMessage:
		if !json.Valid(raw) {
			return nil, errors.New("encode body: not JSON")
		}
		return raw, nil
	case nil:
		return json.RawMessage("{}"), nil
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("encode body: %w", err)
	}
	return bytes.TrimRight(buf.Bytes(), "\n"), nil
}

// Append adds an event to a session's log and folds it into the items, the
// approvals and the list row. body is marshalled, a json.RawMessage is taken as
// it is. It returns ErrNotFound for a session that is not there and
// ErrItemClosed for a delta of a closed item.
func (tx *Tx) Append(session, run string, kind Kind, body any) (Event, error) {
	raw, err := encode(body)
	if err != nil {
		return Event{}, fmt.Errorf("append %s: %w", kind, err)
	}
	ev, err := tx.append(session, run, kind, raw, nil)
	if err != nil {
		return Event{}, fmt.Errorf("append %s to session %s: %w", kind, session, err)
	}
	return ev, nil
}

// append does the work of Append; extra holds what an approval's row keeps
// beside the event.
func (tx *Tx) append(session, run string, kind Kind, body json.RawMessage, extra *Approval) (Event, error) {
	r, err := tx.row(session)
	if err != nil {
		return Event{}, err
	}
	ev := Event{
		ID: tx.w.lastID + 1, Session: session, Seq: r.Seq + 1, Run: run,
		At: tx.now, Kind: kind, Body: body,
	}
	change, err := tx.planItem(&ev)
	if err != nil {
		return Event{}, err
	}
	approve, err := tx.planApproval(ev, extra)
	if err != nil {
		return Event{}, err
	}
	folded, err := foldRow(r.Session, ev)
	if err != nil {
		return Event{}, err
	}

	// From here on a failure is a half-done change.
	if err := tx.store(r, folded, ev, change, approve); err != nil {
		if tx.failed == nil {
			tx.failed = err
		}
		return Event{}, err
	}
	return ev, nil
}

func (tx *Tx) store(r *row, folded Session, ev Event, change *itemChange, approve func() error) error {
	item := int64(0)
	if change != nil {
		item = change.seq
	}
	err := tx.exec("INSERT INTO events (id, sid, session, seq, run, at, kind, item, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
		ev.ID, r.sid, ev.Session, ev.Seq, ev.Run, ev.At.UnixMilli(), string(ev.Kind), item, string(ev.Body))
	if err != nil {
		return err
	}
	tx.w.lastID = ev.ID
	tx.w.batch = append(tx.w.batch, ev)
	tx.w.index.wanted = tx.w.index.wanted || settles(ev.Kind)
	r.Session = folded
	if change != nil {
		if err := tx.applyItem(ev, change); err != nil {
			return err
		}
	}
	if ev.Kind == Rewound {
		return tx.applyRewound(ev)
	}
	if approve != nil {
		return approve()
	}
	return nil
}

// tell adds an event about no session to the log. Nothing is folded from it: its
// cause has been written by the same Update.
func (tx *Tx) tell(kind Kind, body any) error {
	raw, err := encode(body)
	if err != nil {
		return fmt.Errorf("tell of %s: %w", kind, err)
	}
	ev := Event{ID: tx.w.lastID + 1, At: tx.now, Kind: kind, Body: raw}
	if err := tx.one("SELECT coalesce(max(seq), 0) + 1 FROM events WHERE sid = 0", nil, &ev.Seq); err != nil {
		return fmt.Errorf("tell of %s: %w", kind, err)
	}
	err = tx.exec("INSERT INTO events (id, sid, session, seq, run, at, kind, item, body) VALUES (?, 0, '', ?, '', ?, ?, 0, ?)",
		ev.ID, ev.Seq, ev.At.UnixMilli(), string(kind), string(raw))
	if err != nil {
		return fmt.Errorf("tell of %s: %w", kind, err)
	}
	tx.w.lastID = ev.ID
	tx.w.batch = append(tx.w.batch, ev)
	return nil
}

package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

const runColumns = "id, session, item, text, state, reason, detail, pos, epoch, prompt, cancelling, steer, queued_at, started_at, ended_at, said"

func scanRun(row scanner) (r Run, err error) {
	var queued, started, ended int64
	var said []byte
	err = row.Scan(&r.ID, &r.Session, &r.Item, &r.Text, &r.State, &r.Reason, &r.Detail, &r.Pos, &r.Epoch, &r.Prompt,
		&r.Cancelling, &r.Steer, &queued, &started, &ended, &said)
	r.QueuedAt, r.StartedAt, r.EndedAt = fromMillis(queued), fromMillis(started), fromMillis(ended)
	if err == nil && len(said) > 0 {
		err = json.Unmarshal(said, &r.Said)
	}
	return r, err
}

// one1 returns the one row that list holds, or ErrNotFound.
func one1[T any](list []T, err error) (T, error) {
	v, ok, err := first(list, err)
	if err == nil && !ok {
		err = ErrNotFound
	}
	return v, err
}

// What the hot paths ask, inside an Update and beside it. The second condition
// on a run's state is there for the partial index.
const (
	liveEpochQuery  = "SELECT " + epochColumns + " FROM epochs WHERE session = ? AND state <> 'ended' ORDER BY rowid DESC"
	currentRunQuery = "SELECT " + runColumns + " FROM runs WHERE session = ? AND state = 'current' AND state <> 'ended'"
	linesQuery      = "SELECT " + lineColumns + " FROM lines WHERE epoch = ? AND n > ? ORDER BY n"
)

// PutRun writes a run's row. It changes no list row: that is what run.queued,
// run.started and run.ended are for.
func (tx *Tx) PutRun(r Run) error {
	said := ""
	if r.Said.Code != "" {
		body, err := encode(r.Said)
		if err != nil {
			return fmt.Errorf("put run %s: %w", r.ID, err)
		}
		said = string(body)
	}
	err := tx.exec("INSERT INTO runs ("+runColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET item = excluded.item, text = excluded.text, state = excluded.state, reason = excluded.reason,
			detail = excluded.detail, pos = excluded.pos, epoch = excluded.epoch, prompt = excluded.prompt,
			cancelling = excluded.cancelling, steer = excluded.steer, queued_at = excluded.queued_at, started_at = excluded.started_at, ended_at = excluded.ended_at,
			said = excluded.said`,
		r.ID, r.Session, r.Item, r.Text, r.State, r.Reason, r.Detail, r.Pos, r.Epoch, int64(r.Prompt), //nolint:gosec // a count
		r.Cancelling, r.Steer, millis(r.QueuedAt), millis(r.StartedAt), millis(r.EndedAt), said)
	if err != nil {
		return fmt.Errorf("put run %s: %w", r.ID, err)
	}
	return nil
}

// Run returns a run, or ErrNotFound.
func (tx *Tx) Run(id string) (Run, error) {
	return one1(queryTx(tx, scanRun, "SELECT "+runColumns+" FROM runs WHERE id = ?", id))
}

// CurrentRun returns the run of a session that is next to go or under way.
func (tx *Tx) CurrentRun(session string) (Run, bool, error) {
	return first(queryTx(tx, scanRun, currentRunQuery, session))
}

// QueuedRuns returns the runs that wait, first to go first.
func (tx *Tx) QueuedRuns(session string) ([]Run, error) {
	return queryTx(tx, scanRun, "SELECT "+runColumns+
		" FROM runs WHERE session = ? AND state = 'queued' AND state <> 'ended' ORDER BY pos, queued_at, rowid", session)
}

// SteeringRuns returns the runs whose messages were said into the current one
// and not read yet, in the order in which they were said.
func (tx *Tx) SteeringRuns(session string) ([]Run, error) {
	return queryTx(tx, scanRun, "SELECT "+runColumns+
		" FROM runs WHERE session = ? AND state = 'steering' AND state <> 'ended' ORDER BY prompt", session)
}

const epochColumns = `name, session, agent, boot_id, state, coalesce((SELECT n FROM offsets WHERE epoch = epochs.rowid), 0),
	replaying, started_at, ended_at, reason, info`

func scanEpoch(row scanner) (e Epoch, err error) {
	var started, ended int64
	err = row.Scan(&e.Name, &e.Session, &e.Agent, &e.BootID, &e.State, &e.Offset, &e.Replaying, &started, &ended, &e.Reason, (*[]byte)(&e.Info))
	e.StartedAt, e.EndedAt = fromMillis(started), fromMillis(ended)
	return e, err
}

// PutEpoch writes an epoch's row. The offset is written by it only for a new
// epoch; later it is SetOffset's.
func (tx *Tx) PutEpoch(e Epoch) error {
	var info any
	if len(e.Info) > 0 {
		info = string(e.Info)
	}
	err := tx.exec(`INSERT INTO epochs (name, session, agent, boot_id, state, replaying, started_at, ended_at, reason, info)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (name) DO UPDATE SET agent = excluded.agent, boot_id = excluded.boot_id, state = excluded.state,
				replaying = excluded.replaying, started_at = excluded.started_at, ended_at = excluded.ended_at,
				reason = excluded.reason, info = excluded.info`,
		e.Name, e.Session, e.Agent, e.BootID, e.State, e.Replaying, millis(e.StartedAt), millis(e.EndedAt), e.Reason, info)
	if err == nil {
		err = tx.exec("INSERT INTO offsets SELECT rowid, ? FROM epochs WHERE name = ? ON CONFLICT DO NOTHING", int64(e.Offset), e.Name) //nolint:gosec // a count
	}
	if err != nil {
		return fmt.Errorf("put epoch %s: %w", e.Name, err)
	}
	return nil
}

// Epoch returns an epoch, or ErrNotFound.
func (tx *Tx) Epoch(name string) (Epoch, error) {
	return one1(queryTx(tx, scanEpoch, "SELECT "+epochColumns+" FROM epochs WHERE name = ?", name))
}

// LiveEpoch returns the epoch of a session that has not ended.
func (tx *Tx) LiveEpoch(session string) (Epoch, bool, error) {
	return first(queryTx(tx, scanEpoch, liveEpochQuery, session))
}

// SetOffset notes that the events of spool record n, and of all before it, are
// stored with this Update. It returns ErrOrder where n is not above the last.
func (tx *Tx) SetOffset(epoch string, n uint64) error {
	was, known := tx.w.offsets[epoch]
	if !known {
		e, err := tx.Epoch(epoch)
		if err != nil {
			return fmt.Errorf("set offset of epoch %s: %w", epoch, err)
		}
		was = e.Offset
	}
	if n <= was {
		return fmt.Errorf("set offset of epoch %s to %d, it is %d: %w", epoch, n, was, ErrOrder)
	}
	err := tx.exec("UPDATE offsets SET n = ? WHERE epoch = (SELECT rowid FROM epochs WHERE name = ?)", int64(n), epoch) //nolint:gosec // a count
	if err != nil {
		return fmt.Errorf("set offset of epoch %s: %w", epoch, err)
	}
	tx.w.offsets[epoch] = n
	tx.onUndo(func() { tx.w.offsets[epoch] = was })
	return nil
}

const lineColumns = "epoch, n, kind, run, approval, sum, void, answered, data"

func scanLine(row scanner) (l Line, err error) {
	err = row.Scan(&l.Epoch, &l.N, &l.Kind, &l.Run, &l.Approval, &l.Sum, &l.Void, &l.Answered, &l.Data)
	return l, err
}

// NextLine returns the number that PushLine would take.
func (tx *Tx) NextLine(epoch string) (uint64, error) {
	var n uint64
	err := tx.one("SELECT coalesce(max(n), 0) + 1 FROM lines WHERE epoch = ?", []any{epoch}, &n)
	return n, err
}

// PushLine adds a line to an epoch's outbox. An N of 0 takes the next number;
// any other must be the next, or it returns ErrOrder.
func (tx *Tx) PushLine(l Line) (Line, error) {
	next, err := tx.NextLine(l.Epoch)
	if err != nil {
		return Line{}, fmt.Errorf("push line: %w", err)
	}
	if l.N != 0 && l.N != next {
		return Line{}, fmt.Errorf("push line %d of epoch %s, the next is %d: %w", l.N, l.Epoch, next, ErrOrder)
	}
	l.N = next
	data := l.Data
	if data == nil {
		data = []byte{}
	}
	err = tx.exec("INSERT INTO lines ("+lineColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
		l.Epoch, int64(l.N), l.Kind, l.Run, l.Approval, l.Sum, l.Void, l.Answered, data) //nolint:gosec // a count
	if err != nil {
		return Line{}, fmt.Errorf("push line %d of epoch %s: %w", l.N, l.Epoch, err)
	}
	return l, nil
}

// Line returns one line, or ErrNotFound.
func (tx *Tx) Line(epoch string, n uint64) (Line, error) {
	return one1(queryTx(tx, scanLine, "SELECT "+lineColumns+" FROM lines WHERE epoch = ? AND n = ?", epoch, int64(n))) //nolint:gosec // a count
}

// HasLine tells whether an epoch's outbox has a line of the kind.
func (tx *Tx) HasLine(epoch, kind string) (bool, error) {
	var n int
	err := tx.one("SELECT 1 FROM lines WHERE epoch = ? AND kind = ? ORDER BY n LIMIT 1", []any{epoch, kind}, &n)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// UnansweredLines returns, in order, the lines of the given kinds (of all, when
// none is given) that are neither void nor answered.
func (tx *Tx) UnansweredLines(epoch string, kinds ...string) ([]Line, error) {
	list, err := queryTx(tx, scanLine, "SELECT "+lineColumns+" FROM lines WHERE epoch = ? AND void = 0 AND answered = 0 ORDER BY n", epoch)
	if len(kinds) > 0 {
		list = slices.DeleteFunc(list, func(l Line) bool { return !slices.Contains(kinds, l.Kind) })
	}
	return list, err
}

// LinesAfter returns the lines with numbers above n, void ones too, in order.
func (tx *Tx) LinesAfter(epoch string, n uint64) ([]Line, error) {
	return queryTx(tx, scanLine, linesQuery, epoch, int64(n)) //nolint:gosec // a count
}

// VoidLine marks a line as one that is never written.
func (tx *Tx) VoidLine(epoch string, n uint64) error { return tx.markLine("void", epoch, n) }

// SetAnswered marks a line as one whose response has been read.
func (tx *Tx) SetAnswered(epoch string, n uint64) error { return tx.markLine("answered", epoch, n) }

func (tx *Tx) markLine(column, epoch string, n uint64) error {
	if _, err := tx.Line(epoch, n); err != nil {
		return fmt.Errorf("mark line %d of epoch %s %s: %w", n, epoch, column, err)
	}
	return tx.exec("UPDATE lines SET "+column+" = 1 WHERE epoch = ? AND n = ?", epoch, int64(n)) //nolint:gosec // a count
}

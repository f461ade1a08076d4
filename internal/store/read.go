package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/holdfast-dev/holdfast/internal/failpoint"
)

// stmtCache holds the prepared statements of the readers' pool: those of the
// hot paths, prepared once at the start.
type stmtCache map[string]*sql.Stmt

func (c stmtCache) get(text string) *sql.Stmt { return c[text] }

// prepare fills the cache; nothing changes it afterwards.
func (c stmtCache) prepare(ctx context.Context, db *sql.DB) error {
	for _, text := range []string{
		lastQuery, seqQuery, sessionsFirst, sessionsNext, itemsQuery, newerItemsQuery, runsOfQuery, entriesQuery, eventsQuery,
		credentialQuery, liveEpochQuery, currentRunQuery, linesQuery, hitQuery, pendingRunsQuery, shownItemQuery, answerQuery, saidQuery,
	} {
		stmt, err := db.PrepareContext(ctx, text)
		if err != nil {
			return fmt.Errorf("prepare %q: %w", text, err)
		}
		c[text] = stmt
	}
	return nil
}

func (c stmtCache) close() {
	for _, stmt := range c {
		_ = stmt.Close() // its connections are closed next
	}
}

// reading is one read transaction: its queries agree with each other.
type reading struct {
	s   *Store
	ctx context.Context //nolint:containedctx // lives as long as the transaction
	tx  *sql.Tx
}

// view runs fn in a read transaction with a deadline.
func (s *Store) view(ctx context.Context, fn func(*reading) error) error {
	ctx, cancel := context.WithTimeout(ctx, readDeadline)
	defer cancel()
	return s.viewLong(ctx, fn)
}

// snapshot is view for what a stream goes on from: fn gets the log's last id,
// and cursor is that id's.
func (s *Store) snapshot(ctx context.Context, fn func(q *reading, last int64) error) (cursor string, err error) {
	var last int64
	err = s.view(ctx, func(q *reading) (err error) {
		if last, err = q.last(); err != nil {
			return err
		}
		return fn(q, last)
	})
	if err != nil {
		return "", err
	}
	return s.CursorAt(last), s.ring.reach(ctx, last)
}

// viewLong is view without a deadline of its own. It ends when the store closes.
func (s *Store) viewLong(ctx context.Context, fn func(*reading) error) error {
	s.closeMu.RLock()
	if s.closed {
		s.closeMu.RUnlock()
		return ErrClosed
	}
	s.views.Add(1)
	s.closeMu.RUnlock()
	defer s.views.Done()
	failpoint.Hit("store.read")

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ended, cancel)()
	tx, err := s.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // nothing was written
	failpoint.Hit("store.reading")
	return fn(&reading{s: s, ctx: ctx, tx: tx})
}

func (q *reading) query(text string, args ...any) (*sql.Rows, error) {
	if stmt := q.s.stmts.get(text); stmt != nil {
		return q.tx.StmtContext(q.ctx, stmt).QueryContext(q.ctx, args...)
	}
	return q.tx.QueryContext(q.ctx, text, args...)
}

func (q *reading) one(text string, args []any, dest ...any) error {
	rows, err := q.query(text, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	if !rows.Next() {
		return errors.Join(rows.Err(), ErrNotFound)
	}
	return errors.Join(rows.Scan(dest...), rows.Close())
}

func queryRead[T any](q *reading, scan func(scanner) (T, error), text string, args ...any) ([]T, error) {
	rows, err := q.query(text, args...)
	if err != nil {
		return nil, err
	}
	return collectRows(rows, scan)
}

const (
	lastQuery   = "SELECT coalesce(max(id), 0) FROM events"
	seqQuery    = "SELECT (SELECT max(seq) FROM events WHERE sid = sessions.sid) FROM sessions WHERE id = ? AND deleted_at = 0"
	eventsQuery = "SELECT " + eventColumns + " FROM events WHERE sid = (SELECT sid FROM sessions WHERE id = ?) AND seq > ? ORDER BY seq LIMIT ?"
)

// last returns the id of the last event of the snapshot.
func (q *reading) last() (id int64, err error) {
	err = q.one(lastQuery, nil, &id)
	return id, err
}

const eventColumns = "id, session, seq, run, at, kind, body"

func scanEvent(row scanner) (ev Event, err error) {
	var at int64
	err = row.Scan(&ev.ID, &ev.Session, &ev.Seq, &ev.Run, &at, &ev.Kind, (*[]byte)(&ev.Body))
	ev.At = fromMillis(at)
	return ev, err
}

// SessionsPage is a part of the list, with the cursor that it agrees with.
type SessionsPage struct {
	Sessions []Session
	Next     string // the next page, or ""
	Cursor   string
}

// SessionsFilter chooses sessions. The zero value is the list as a person has
// it: what is neither archived nor in the trash.
type SessionsFilter struct {
	Archived bool   // those that are, instead of those that are not
	Deleted  bool   // those in the trash, archived or not
	Tag      string // with this tag; "" is any
	Project  string // of this project; "" is any
}

const (
	sessionsListed = "SELECT " + sessionColumns + " FROM sessions WHERE deleted_at = 0 AND archived = 0 AND building = 0"
	sessionsFirst  = sessionsListed + sessionsOrder
	sessionsNext   = sessionsListed + " AND activity < ? AND pinned = 0" + sessionsOrder
	sessionsOrder  = " ORDER BY activity DESC LIMIT ?"
	trashOrder     = " ORDER BY last_event DESC LIMIT ?" // what was deleted last is first
)

// pinnedMax bounds the pinned sessions that the first page has whatever their age.
const pinnedMax = 200

// query returns the text that lists what f chooses, below a place or, at 0,
// from the newest on.
func (f SessionsFilter) query(below int64) (text string, args []any) {
	if f == (SessionsFilter{}) {
		if below == 0 {
			return sessionsFirst, nil
		}
		return sessionsNext, []any{below}
	}
	text, args = f.where()
	if f.Deleted {
		if below != 0 {
			text, args = text+" AND last_event < ?", append(args, below)
		}
		return text + trashOrder, args
	}
	if below != 0 {
		text, args = text+" AND activity < ? AND pinned = 0", append(args, below)
	}
	return text + sessionsOrder, args
}

// place is where f's list has a session: the next page begins below the last one's.
func (f SessionsFilter) place(s Session) int64 {
	if f.Deleted {
		return s.LastEvent
	}
	return s.Activity
}

// taggedWith is the condition that a session has a tag.
const taggedWith = "tags <> '[]' AND EXISTS (SELECT 1 FROM json_each(tags) WHERE value = ?)"

func (f SessionsFilter) where() (text string, args []any) {
	text = "SELECT " + sessionColumns + " FROM sessions WHERE building = 0"
	switch {
	case f.Deleted:
		text += " AND deleted_at <> 0"
	case f.Archived:
		text += " AND deleted_at = 0 AND archived = 1"
	default:
		text += " AND deleted_at = 0 AND archived = 0"
	}
	if f.Project != "" {
		text, args = text+" AND project = ?", append(args, f.Project)
	}
	if f.Tag != "" {
		text, args = text+" AND "+taggedWith, append(args, f.Tag)
	}
	return text, args
}

// Sessions lists sessions, newest activity first. page is "" or the Next of the
// page before. Pinned ones are all at the end of the first page if they are
// older than it, and in no other.
func (s *Store) Sessions(ctx context.Context, f SessionsFilter, page string, limit int) (SessionsPage, error) {
	limit = clamp(limit, 50, 500)
	below := int64(0)
	if page != "" {
		var err error
		if below, err = strconv.ParseInt(page, 10, 64); err != nil || below <= 0 {
			return SessionsPage{}, fmt.Errorf("list sessions: page %q: %w", page, ErrNotFound)
		}
	}
	text, args := f.query(below)
	var p SessionsPage
	cursor, err := s.snapshot(ctx, func(q *reading, _ int64) (err error) {
		if p.Sessions, err = queryRead(q, scanSession, text, append(args, limit+1)...); err != nil || len(p.Sessions) <= limit {
			return err
		}
		p.Sessions = p.Sessions[:limit]
		oldest := f.place(p.Sessions[limit-1])
		p.Next = strconv.FormatInt(oldest, 10)
		if below != 0 || f.Deleted {
			return nil
		}
		text, args := f.where()
		pinned, err := queryRead(q, scanSession, text+" AND pinned = 1 AND activity < ?"+sessionsOrder, append(args, oldest, pinnedMax)...)
		p.Sessions = append(p.Sessions, pinned...)
		return err
	})
	if err != nil {
		return SessionsPage{}, fmt.Errorf("list sessions: %w", err)
	}
	p.Cursor = cursor
	return p, nil
}

// SessionIDs lists the sessions that are not in the trash, archived ones too,
// the oldest first.
func (s *Store) SessionIDs(ctx context.Context) (list []string, err error) {
	err = s.view(ctx, func(q *reading) error {
		list, err = queryRead(q, scanText, "SELECT id FROM sessions WHERE deleted_at = 0 AND building = 0 ORDER BY sid")
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list sessions: %w", err)
	}
	return list, nil
}

// TagCount is a tag and how many sessions have it.
type TagCount struct {
	Tag      string `json:"tag"`
	Sessions int    `json:"sessions"`
}

// Tags lists the tags in use, the most used first.
func (s *Store) Tags(ctx context.Context) (list []TagCount, err error) {
	err = s.view(ctx, func(q *reading) error {
		list, err = queryRead(q, func(r scanner) (t TagCount, err error) { return t, r.Scan(&t.Tag, &t.Sessions) },
			`SELECT value, count(*) AS n FROM sessions, json_each(tags) WHERE tags <> '[]' AND deleted_at = 0 AND building = 0
			GROUP BY value ORDER BY n DESC, value LIMIT 500`)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list tags: %w", err)
	}
	return list, nil
}

func clamp(n, standard, most int) int {
	if n <= 0 {
		return standard
	}
	return min(n, most)
}

// Session returns one session with what lists do not hold, or ErrNotFound.
func (s *Store) Session(ctx context.Context, id string) (Session, error) {
	return s.session(ctx, "id", id)
}

// SessionByClientID returns the session that a client made under this id, or
// ErrNotFound.
func (s *Store) SessionByClientID(ctx context.Context, clientID string) (Session, error) {
	return s.session(ctx, "client_id", clientID)
}

func (s *Store) session(ctx context.Context, column, id string) (found Session, err error) {
	err = s.view(ctx, func(q *reading) error {
		found, err = one1(queryRead(q, scanSession, "SELECT "+sessionColumns+" FROM sessions WHERE "+column+" = ?", id))
		if err != nil {
			return err
		}
		err = q.one("SELECT body FROM session_options WHERE session = ?", []any{found.ID}, (*[]byte)(&found.Options))
		if errors.Is(err, ErrNotFound) {
			err = nil
		}
		return err
	})
	if err != nil {
		return Session{}, fmt.Errorf("read session %s: %w", id, err)
	}
	return found, nil
}

// Events returns up to limit events of a session with seqs above after, and
// the session's last seq.
func (s *Store) Events(ctx context.Context, session string, after int64, limit int) (events []Event, last int64, err error) {
	limit = clamp(limit, 1000, 1000)
	err = s.view(ctx, func(q *reading) error {
		if last, err = q.seq(session); err != nil {
			return err
		}
		events, err = queryRead(q, scanEvent, eventsQuery, session, after, limit)
		return err
	})
	if err != nil {
		return nil, 0, fmt.Errorf("read events of session %s: %w", session, err)
	}
	return events, last, nil
}

// seq returns the last seq of a session, or ErrNotFound where there is none or
// it is in the trash.
func (q *reading) seq(session string) (n int64, err error) {
	err = q.one(seqQuery, []any{session}, &n)
	return n, err
}

// Approvals lists approvals, newest first: of one state or of all, of one
// session or of all.
func (s *Store) Approvals(ctx context.Context, state, session string) (list []Approval, err error) {
	text, args := "SELECT "+approvalColumns+" FROM approvals WHERE 1", []any(nil)
	if state == ApprovalPending {
		text += " AND state = 'pending'" // in the text, for the partial index
	} else if state != "" {
		text, args = text+" AND state = ?", append(args, state)
	}
	if session != "" {
		text, args = text+" AND session = ?", append(args, session)
	}
	text += " ORDER BY at DESC, rowid DESC LIMIT 1000"
	err = s.view(ctx, func(q *reading) error {
		list, err = queryRead(q, scanApproval, text, args...)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list approvals: %w", err)
	}
	return list, nil
}

// Approval returns one approval, or ErrNotFound.
func (s *Store) Approval(ctx context.Context, id string) (a Approval, err error) {
	err = s.view(ctx, func(q *reading) error {
		a, err = one1(queryRead(q, scanApproval, "SELECT "+approvalColumns+" FROM approvals WHERE id = ?", id))
		return err
	})
	if err != nil {
		return Approval{}, fmt.Errorf("read approval %s: %w", id, err)
	}
	return a, nil
}

// Runs returns a session's runs, oldest first.
func (s *Store) Runs(ctx context.Context, session string) (list []Run, err error) {
	err = s.view(ctx, func(q *reading) error {
		list, err = queryRead(q, scanRun, "SELECT "+runColumns+" FROM runs WHERE session = ? ORDER BY queued_at, rowid", session)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list runs of session %s: %w", session, err)
	}
	return list, nil
}

// Queued is a message that waits.
type Queued struct {
	Run      string    `json:"run"`
	Item     string    `json:"item"`
	Text     string    `json:"text"`
	Files    []File    `json:"files,omitempty"`
	QueuedAt time.Time `json:"queued_at"`
}

// Queue returns the messages of a session that wait, first to go first, and
// whether they wait for a person. It is ErrNotFound where there is no session.
func (s *Store) Queue(ctx context.Context, session string) (list []Queued, paused bool, err error) {
	err = s.view(ctx, func(q *reading) error {
		err := q.one("SELECT paused FROM sessions WHERE id = ? AND deleted_at = 0", []any{session}, &paused)
		if err != nil {
			return err
		}
		list, err = queryRead(q, func(r scanner) (w Queued, err error) {
			var at int64
			var files []byte
			if err := r.Scan(&w.Run, &w.Item, &w.Text, &at, &files); err != nil {
				return w, err
			}
			w.QueuedAt = fromMillis(at)
			return w, json.Unmarshal(files, &w.Files)
		}, `SELECT r.id, r.item, r.text, r.queued_at, coalesce(i.body -> 'files', 'null') FROM runs r LEFT JOIN items i ON i.id = r.item
			WHERE r.session = ? AND r.state = 'queued' AND r.state <> 'ended' ORDER BY r.pos, r.queued_at, r.rowid`, session)
		return err
	})
	if err != nil {
		return nil, false, fmt.Errorf("read queue of session %s: %w", session, err)
	}
	return list, paused, nil
}

// Run returns one run, or ErrNotFound.
func (s *Store) Run(ctx context.Context, id string) (r Run, err error) {
	err = s.view(ctx, func(q *reading) error {
		r, err = one1(queryRead(q, scanRun, "SELECT "+runColumns+" FROM runs WHERE id = ?", id))
		return err
	})
	if err != nil {
		return Run{}, fmt.Errorf("read run %s: %w", id, err)
	}
	return r, nil
}

// Unstarted lists the sessions that have a run which has not ended: one under
// way, or one that waits.
func (s *Store) Unstarted(ctx context.Context) (list []string, err error) {
	err = s.view(ctx, func(q *reading) error {
		list, err = queryRead(q, func(r scanner) (id string, err error) { return id, r.Scan(&id) },
			"SELECT DISTINCT session FROM runs WHERE state <> 'ended'")
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list sessions with runs: %w", err)
	}
	return list, nil
}

// Epochs lists epochs, oldest first: those that have not ended, or all.
func (s *Store) Epochs(ctx context.Context, live bool) (list []Epoch, err error) {
	text := "SELECT " + epochColumns + " FROM epochs"
	if live {
		text += " WHERE state <> 'ended'"
	}
	err = s.view(ctx, func(q *reading) error {
		list, err = queryRead(q, scanEpoch, text+" ORDER BY rowid")
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list epochs: %w", err)
	}
	return list, nil
}

// Live returns a session's epoch that has not ended and its run that is current,
// each zero where there is none.
func (s *Store) Live(ctx context.Context, session string) (ep Epoch, run Run, err error) {
	err = s.view(ctx, func(q *reading) error {
		if ep, _, err = first(queryRead(q, scanEpoch, liveEpochQuery, session)); err != nil {
			return err
		}
		run, _, err = first(queryRead(q, scanRun, currentRunQuery, session))
		return err
	})
	if err != nil {
		return Epoch{}, Run{}, fmt.Errorf("read what lives of session %s: %w", session, err)
	}
	return ep, run, nil
}

// Lines returns the lines of an epoch with numbers above after, void ones too.
func (s *Store) Lines(ctx context.Context, epoch string, after uint64) (list []Line, err error) {
	err = s.view(ctx, func(q *reading) error {
		list, err = queryRead(q, scanLine, linesQuery, epoch, int64(after)) //nolint:gosec // a count
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list lines of epoch %s: %w", epoch, err)
	}
	return list, nil
}

// offersQuery walks the list from its newest row on: it ends at the agent's
// first, and an agent without any costs a look at each.
const offersQuery = `SELECT coalesce(o.body, '') FROM sessions s LEFT JOIN session_options o ON o.session = s.id
	WHERE s.agent = ? AND s.agent_session <> '' ORDER BY s.activity DESC LIMIT 1`

// Offers returns what an agent was last known to let a person choose: modes,
// models, options and commands as the newest session has them that it has
// opened. Nil where it never opened one.
func (s *Store) Offers(ctx context.Context, agent string) (OptionsBody, error) {
	var had, out OptionsBody
	err := s.view(ctx, func(q *reading) error {
		var body []byte
		err := q.one(offersQuery, []any{agent}, &body)
		if errors.Is(err, ErrNotFound) || err == nil && len(body) == 0 {
			return nil
		}
		if err != nil {
			return err
		}
		return json.Unmarshal(body, &had)
	})
	if err != nil {
		return out, fmt.Errorf("read what the agent %s offers: %w", agent, err)
	}
	out.Modes, out.Models, out.Config, out.Commands = had.Modes, had.Models, had.Config, had.Commands
	return out, nil
}

// RecentFolders returns up to n folders of sessions, the last used first.
func (s *Store) RecentFolders(ctx context.Context, n int) (list []string, err error) {
	err = s.view(ctx, func(q *reading) error {
		list, err = queryRead(q, func(r scanner) (f string, err error) {
			err = r.Scan(&f)
			return f, err
		}, "SELECT cwd FROM sessions WHERE cwd <> '' GROUP BY cwd ORDER BY max(activity) DESC LIMIT ?", clamp(n, 20, 200))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list recent folders: %w", err)
	}
	return list, nil
}

package store

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// NewID returns a random name for a session, an item, a run and so on.
func NewID() string { return strings.ToLower(rand.Text()[:16]) }

// row is a list row in the writer's memory.
type row struct {
	Session           // as of the last event
	sid     int64     // the id of its first event
	saved   Session   // as the database has it
	written time.Time // when session.changed was last appended
	owed    bool      // activity of which the list has not been told
	deleted bool
}

const sessionColumns = `id, coalesce(client_id, ''), title, title_set, agent, cwd, state, waiting, queue, paused,
	run, agent_state, reason, created_at, last_at, activity, last_event, seq, version, agent_session,
	pinned, archived, tags, project, deleted_at, forked_from, building, imported`

func scanSession(r scanner) (s Session, err error) {
	var queue, tags, from, imported []byte
	var created, last, deleted int64
	err = r.Scan(&s.ID, &s.ClientID, &s.Title, &s.TitleSet, &s.Agent, &s.Cwd, &s.State, &s.Waiting, &queue, &s.Paused,
		&s.Run, &s.AgentState, &s.Reason, &created, &last, &s.Activity, &s.LastEvent, &s.Seq, &s.Version, &s.AgentSession,
		&s.Pinned, &s.Archived, &tags, &s.Project, &deleted, &from, &s.Building, &imported)
	if err != nil {
		return s, err
	}
	s.DeletedAt = fromMillisPtr(deleted)
	if len(tags) > len("[]") {
		if err := json.Unmarshal(tags, &s.Tags); err != nil {
			return s, fmt.Errorf("read tags of session %s: %w", s.ID, err)
		}
	}
	if len(from) > 0 {
		if err := json.Unmarshal(from, &s.ForkedFrom); err != nil {
			return s, fmt.Errorf("read origin of session %s: %w", s.ID, err)
		}
	}
	if len(imported) > 0 {
		if err := json.Unmarshal(imported, &s.Imported); err != nil {
			return s, fmt.Errorf("read where session %s was: %w", s.ID, err)
		}
	}
	s.CreatedAt, s.LastAt = fromMillis(created), fromMillis(last)
	if len(queue) > len("[]") { // most have none, and a list has many rows
		if err := json.Unmarshal(queue, &s.Queue); err != nil {
			return s, fmt.Errorf("read queue of session %s: %w", s.ID, err)
		}
	}
	s.Queued = len(s.Queue)
	return s, nil
}

// row returns the list row of a session that is about to change.
func (tx *Tx) row(id string) (*row, error) {
	r, err := tx.peek(id)
	if err != nil {
		return nil, err
	}
	tx.touch(r)
	return r, nil
}

// touch notes r's state, for a rollback, and that finish has to look at it.
func (tx *Tx) touch(r *row) {
	for _, t := range tx.touched {
		if t == r {
			return
		}
	}
	before := *r
	tx.onUndo(func() { *r = before })
	tx.touched = append(tx.touched, r)
}

func (tx *Tx) peek(id string) (*row, error) {
	if r := tx.w.rows[id]; r != nil {
		if r.deleted {
			return nil, ErrNotFound
		}
		return r, nil
	}
	list, err := queryTx(tx, scanSession, "SELECT "+sessionColumns+" FROM sessions WHERE id = ?", id)
	s, ok, err := first(list, err)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, ErrNotFound
	}
	err = tx.one("SELECT body FROM session_options WHERE session = ?", []any{id}, (*[]byte)(&s.Options))
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	r := &row{Session: s, saved: s}
	err = tx.one(`SELECT sid, seq, id FROM events WHERE sid = (SELECT sid FROM sessions WHERE id = ?)
		ORDER BY seq DESC LIMIT 1`, []any{id}, &r.sid, &r.Seq, &r.LastEvent)
	if err == nil && r.Seq > s.Seq {
		err = tx.lastActivity(r)
	}
	if err != nil {
		return nil, fmt.Errorf("read the last event of session %s: %w", id, err)
	}
	tx.w.rows[id] = r
	return r, nil
}

// lastActivity reads from the log what a stored row lags behind.
func (tx *Tx) lastActivity(r *row) error {
	var at int64
	err := tx.one("SELECT id, at FROM events WHERE sid = ? AND seq > ? AND kind IN ("+activityKinds+") ORDER BY seq DESC LIMIT 1",
		[]any{r.sid, r.saved.Seq}, &r.Activity, &at)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	r.LastAt = fromMillis(at)
	return err
}

// finish writes the rows that the Update changed. A row that looks different
// in a list is told to the log at once; mere activity at most once a second,
// because a row written with every delta triples what a delta costs.
func (tx *Tx) finish() error {
	for _, r := range tx.touched {
		if r.deleted {
			continue
		}
		active := r.owed || r.Seq != r.saved.Seq
		if r.unlisted() { // mere activity is nobody's concern
			tell := tx.writeRow
			if a, b := r.saved, r.Session; a.Title != b.Title || a.TitleSet != b.TitleSet || a.Version != b.Version || !sameTraits(a, b) {
				tell = tx.appendChanged // no other event says it
			}
			if err := tell(r); err != nil {
				return err
			}
			r.owed = false
			continue
		}
		if !sameList(r.saved, r.Session) || (active && time.Since(r.written) >= tx.w.activityEvery) {
			if err := tx.appendChanged(r); err != nil {
				return err
			}
			continue
		}
		if !sameHidden(r.saved, r.Session) {
			if err := tx.writeRow(r); err != nil {
				return err
			}
		}
		if r.owed = active; active {
			tx.w.chores.owe(r.written.Add(tx.w.activityEvery))
		}
	}
	return nil
}

// unlisted tells whether no list shows the session: it is in the trash, or not
// whole yet.
func (r *row) unlisted() bool { return r.DeletedAt != nil || r.Building }

// appendChanged appends the whole row, as it is after that very event.
func (tx *Tx) appendChanged(r *row) error {
	s := r.Session
	s.Seq, s.LastEvent = r.Seq+1, tx.w.lastID+1
	body, err := encode(s)
	if err != nil {
		return err
	}
	if _, err := tx.append(r.ID, "", SessionChanged, body, nil); err != nil {
		return fmt.Errorf("append session.changed of %s: %w", r.ID, err)
	}
	r.written, r.owed = time.Now(), false
	return tx.writeRow(r)
}

func (tx *Tx) writeRow(r *row) error {
	queue, err := encode(append([]string{}, r.Queue...))
	if err != nil {
		return err
	}
	tags, from, err := r.columns()
	if err != nil {
		return err
	}
	err = tx.exec(`UPDATE sessions SET title = ?, title_set = ?, state = ?, waiting = ?, queue = ?, paused = ?, run = ?,
			agent_state = ?, reason = ?, last_at = ?, activity = ?, last_event = ?, counted = ?, seq = ?, version = ?, agent_session = ?,
			pinned = ?, archived = ?, tags = ?, project = ?, deleted_at = ?, forked_from = ?, building = ? WHERE id = ?`,
		r.Title, r.TitleSet, r.State, r.Waiting, string(queue), r.Paused, r.Run,
		r.AgentState, r.Reason, r.LastAt.UnixMilli(), r.Activity, r.LastEvent, r.LastEvent, r.Seq, r.Version, r.AgentSession,
		r.Pinned, r.Archived, tags, r.Project, millisPtr(r.DeletedAt), from, r.Building, r.ID)
	if err != nil {
		return fmt.Errorf("write row of session %s: %w", r.ID, err)
	}
	if string(r.Options) != string(r.saved.Options) {
		err := tx.exec("INSERT INTO session_options VALUES (?, ?) ON CONFLICT DO UPDATE SET body = excluded.body", r.ID, string(r.Options))
		if err != nil {
			return fmt.Errorf("write options of session %s: %w", r.ID, err)
		}
	}
	r.saved = r.Session
	return nil
}

// columns are what the row keeps as JSON.
func (s Session) columns() (tags, from string, err error) {
	list, err := encode(append([]string{}, s.Tags...))
	if err != nil || s.ForkedFrom == nil {
		return string(list), "", err
	}
	origin, err := encode(s.ForkedFrom)
	return string(list), string(origin), err
}

// CreateSession adds a session and its session.created. An empty ID is filled
// in. Where one with the same ClientID is there already, it returns that one
// and ErrExists.
func (tx *Tx) CreateSession(s Session) (Session, error) {
	if s.ClientID != "" {
		var id string
		err := tx.one("SELECT id FROM sessions WHERE client_id = ?", []any{s.ClientID}, &id)
		if err == nil {
			had, err := tx.Session(id)
			return had, errors.Join(ErrExists, err)
		}
		if !errors.Is(err, ErrNotFound) {
			return Session{}, err
		}
	}
	if s.ID == "" {
		s.ID = NewID()
	}
	if _, err := tx.peek(s.ID); !errors.Is(err, ErrNotFound) {
		return Session{}, errors.Join(fmt.Errorf("create session %s: %w", s.ID, ErrExists), err)
	}
	s.CreatedAt, s.LastAt, s.LastEvent, s.Activity, s.Seq = tx.now, tx.now, tx.w.lastID+1, tx.w.lastID+1, 1
	s.Version = max(s.Version, 1)
	s.Queue, s.Queued, s.Waiting, s.Run, s.DeletedAt = nil, 0, 0, "", nil
	s.State = rowState(s)
	body, err := encode(s)
	if err != nil {
		return Session{}, err
	}
	if err := tx.insertSession(s); err != nil {
		return Session{}, fmt.Errorf("create session: %w", err)
	}
	r := &row{Session: s, saved: s, sid: s.LastEvent}
	r.Seq = 0 // session.created is event 1
	tx.w.rows[s.ID] = r
	tx.onUndo(func() { delete(tx.w.rows, s.ID) })
	if _, err := tx.append(s.ID, "", SessionCreated, body, nil); err != nil {
		return Session{}, fmt.Errorf("create session: %w", err)
	}
	r.saved, r.written = r.Session, time.Now()
	return r.Session, nil
}

func (tx *Tx) insertSession(s Session) error {
	var clientID any
	if s.ClientID != "" {
		clientID = s.ClientID
	}
	tags, from, err := s.columns()
	if err != nil {
		return err
	}
	imported := []byte{}
	if s.Imported != nil {
		if imported, err = encode(s.Imported); err != nil {
			return err
		}
	}
	err = tx.exec(`INSERT INTO sessions (id, sid, client_id, title, title_set, agent, cwd, state, waiting, queue, paused,
			run, agent_state, reason, created_at, last_at, activity, last_event, counted, seq, version, agent_session,
			pinned, archived, tags, project, deleted_at, forked_from, building, imported)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, '[]', ?, '', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?)`,
		s.ID, s.LastEvent, clientID, s.Title, s.TitleSet, s.Agent, s.Cwd, s.State, s.Paused,
		s.AgentState, s.Reason, s.CreatedAt.UnixMilli(), s.LastAt.UnixMilli(), s.Activity, s.LastEvent, s.LastEvent, s.Seq, s.Version, s.AgentSession,
		s.Pinned, s.Archived, tags, s.Project, from, s.Building, string(imported))
	if err != nil || len(s.Options) == 0 {
		return err
	}
	return tx.exec("INSERT INTO session_options VALUES (?, ?)", s.ID, string(s.Options))
}

// Session returns a session's row with what lists do not hold, or ErrNotFound.
func (tx *Tx) Session(id string) (Session, error) {
	r, err := tx.peek(id)
	if err != nil {
		return Session{}, err
	}
	return r.Session, nil
}

// SetTitle names a session. A person's title raises the version and is not
// replaced by an agent's.
func (tx *Tx) SetTitle(session, title string, byPerson bool) error {
	r, err := tx.row(session)
	if err != nil {
		return fmt.Errorf("set title of session %s: %w", session, err)
	}
	if !byPerson && r.TitleSet {
		return nil
	}
	r.Title = title
	if byPerson {
		r.TitleSet = true
		r.Version++
	}
	return nil
}

// SetAgentSession notes the id of the agent's own session.
func (tx *Tx) SetAgentSession(session, acpID string) error {
	r, err := tx.row(session)
	if err != nil {
		return fmt.Errorf("set agent session of session %s: %w", session, err)
	}
	r.AgentSession = acpID
	return nil
}

// Traits are what a person may set of a session beside its title. Nil leaves
// one as it is.
type Traits struct {
	Pinned   *bool
	Archived *bool
	Tags     *[]string
	Project  *string
}

// SetTraits changes what a person set, and raises the version where something
// is different.
func (tx *Tx) SetTraits(session string, t Traits) error {
	r, err := tx.row(session)
	if err != nil {
		return fmt.Errorf("change session %s: %w", session, err)
	}
	was := r.Session
	if t.Pinned != nil {
		r.Pinned = *t.Pinned
	}
	if t.Archived != nil {
		r.Archived = *t.Archived
	}
	if t.Tags != nil {
		r.Tags = nil
		if len(*t.Tags) > 0 {
			r.Tags = slices.Clone(*t.Tags)
		}
	}
	if t.Project != nil {
		r.Project = *t.Project
	}
	if !sameTraits(was, r.Session) {
		r.Version++
	}
	return nil
}

// TrashSession puts a session where lists do not show it and a person can have
// it back. It does nothing to one that is there already.
func (tx *Tx) TrashSession(session string) error {
	s, err := tx.Session(session)
	if err == nil && s.DeletedAt == nil {
		_, err = tx.Append(session, "", SessionDeleted, json.RawMessage("{}"))
	}
	if err != nil {
		return fmt.Errorf("delete session %s: %w", session, err)
	}
	return nil
}

// RestoreSession takes a session out of the trash.
func (tx *Tx) RestoreSession(session string) error {
	s, err := tx.Session(session)
	if err == nil && s.DeletedAt != nil {
		_, err = tx.Append(session, "", SessionRestored, json.RawMessage("{}"))
	}
	if err != nil {
		return fmt.Errorf("restore session %s: %w", session, err)
	}
	return nil
}

// DeleteSession removes a session for good. Its session.deleted stays in the log; the
// rest is gone for readers at once and from the disk in small steps.
func (tx *Tx) DeleteSession(session string) error {
	r, err := tx.row(session)
	if err != nil {
		return fmt.Errorf("delete session %s: %w", session, err)
	}
	if _, err := tx.append(session, "", SessionDeleted, json.RawMessage(`{"forever":true}`), nil); err != nil {
		return fmt.Errorf("delete session %s: %w", session, err)
	}
	r.deleted = true
	for _, text := range []string{
		"INSERT INTO deletions SELECT id, sid FROM sessions WHERE id = ?",
		"DELETE FROM sessions WHERE id = ?",
		"DELETE FROM session_options WHERE session = ?",
		"DELETE FROM approvals WHERE session = ?",
	} {
		if err := tx.exec(text, session); err != nil {
			return fmt.Errorf("delete session %s: %w", session, err)
		}
	}
	tx.w.chores.deleting = true
	return nil
}

// MessageRecord is what a message with a client's id became.
type MessageRecord struct {
	Item     string
	Run      string
	Seq      int64
	TextHash string
}

// HashText returns the hash by which a repeated message is told from another
// one with the same id.
func HashText(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// Message returns what the message with this client's id became, if it came.
func (tx *Tx) Message(session, clientID string) (MessageRecord, bool, error) {
	var m MessageRecord
	err := tx.one("SELECT item, run, seq, text_hash FROM messages WHERE session = ? AND client_id = ?",
		[]any{session, clientID}, &m.Item, &m.Run, &m.Seq, &m.TextHash)
	if errors.Is(err, ErrNotFound) {
		return MessageRecord{}, false, nil
	}
	return m, err == nil, err
}

// PutMessage notes what a message became.
func (tx *Tx) PutMessage(session, clientID, text, item, run string, seq int64) error {
	err := tx.exec("INSERT INTO messages (session, client_id, item, run, seq, text_hash) VALUES (?, ?, ?, ?, ?, ?)",
		session, clientID, item, run, seq, HashText(text))
	if err != nil {
		return fmt.Errorf("put message %s of session %s: %w", clientID, session, err)
	}
	return nil
}

package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	searchStep  = 20        // rows of one step
	searchBytes = 128 << 10 // of text, after which a step ends
	searchSpan  = 5000      // ids of the log that one step looks at
	searchEvery = 50 * time.Millisecond
	searchRest  = 5 * time.Millisecond // between steps while nobody writes
	searchIdle  = time.Second          // without a commit: nobody writes

	// searchText bounds what of one item is found: the first 192 KiB and the
	// last 64 KiB.
	searchText = 256 << 10
)

// settles tells whether an event of that kind may give an item the text that it
// is found by, or a session its title.
func settles(kind Kind) bool {
	switch kind {
	case MessageUser, MessageEdited, ItemCopied, ItemClosed, PlanChanged, NoticeGiven, ApprovalRequested, ToolUpdated, SessionCreated, SessionChanged:
		return true
	}
	return false
}

const searchNext = `SELECT id, sid, session, kind, item FROM events WHERE id > ? AND id <= ? AND kind IN (
	'message.user', 'message.edited', 'item.copied', 'item.closed', 'plan', 'notice', 'approval.requested', 'tool.updated', 'session.created', 'session.changed')
	ORDER BY id LIMIT 500`

// settled is an event after which something has to be found anew.
type settled struct {
	id, sid, item int64
	session       string
	kind          Kind
}

// indexSome brings the index of the search further along the log, up to
// through. What it has done and how far it came are one transaction, so a kill
// loses and doubles nothing. With an error, to is the event that it is about.
func (tx *Tx) indexSome(from, through int64) (to int64, wrote bool, err error) {
	through = min(through, from+searchSpan)
	list, err := queryTx(tx, func(r scanner) (e settled, err error) {
		return e, r.Scan(&e.id, &e.sid, &e.session, &e.kind, &e.item)
	}, searchNext, from, through)
	if err != nil {
		return from + 1, false, err
	}
	to = through
	rows, size := 0, 0
	done := map[[2]int64]bool{} // of this step
	for i, e := range list {
		if rows >= searchStep || size >= searchBytes || i == 499 {
			to = e.id - 1
			break
		}
		key := [2]int64{e.sid, e.item}
		if done[key] {
			continue
		}
		done[key] = true
		row, text, err := tx.found(e)
		if err != nil {
			return e.id, false, err
		}
		if row == 0 {
			continue
		}
		if err := tx.index(row, e.sid, text, row == e.sid); err != nil {
			return e.id, false, err
		}
		rows++
		size += len(text)
	}
	return to, rows > 0, nil
}

// found returns the row of the index that e is about and the text of it; 0:
// none, or not yet.
func (tx *Tx) found(e settled) (row int64, text string, err error) {
	if e.kind == SessionCreated || e.kind == SessionChanged {
		s, err := tx.Session(e.session)
		if errors.Is(err, ErrNotFound) {
			return 0, "", nil
		}
		if err != nil {
			return 0, "", err
		}
		if e.kind == SessionChanged {
			var had string
			err := tx.one("SELECT title FROM search_titles WHERE sid = ?", []any{e.sid}, &had)
			if err != nil && !errors.Is(err, ErrNotFound) || err == nil && had == s.Title {
				return 0, "", err
			}
		}
		err = tx.exec("INSERT INTO search_titles VALUES (?, ?) ON CONFLICT DO UPDATE SET title = excluded.title", e.sid, s.Title)
		return e.sid, s.Title, err
	}
	if e.item == 0 {
		return 0, "", nil
	}
	list, err := queryTx(tx, scanItem, "SELECT "+itemColumns+" FROM items WHERE session = ? AND seq = ?", e.session, e.item)
	it, ok, err := first(list, err)
	if err != nil || !ok || it.Open {
		return 0, "", err
	}
	err = tx.one("SELECT id FROM events WHERE sid = ? AND seq = ?", []any{e.sid, e.item}, &row)
	if errors.Is(err, ErrNotFound) {
		return 0, "", nil // it is being deleted
	}
	if err != nil {
		return 0, "", err
	}
	return row, wordsOf(it, tx.blob), nil
}

// index replaces a row.
func (tx *Tx) index(row, sid int64, text string, title bool) error {
	if err := tx.exec("DELETE FROM search WHERE rowid = ?", row); err != nil {
		return fmt.Errorf("index row %d: %w", row, err)
	}
	if text == "" {
		return nil
	}
	scope := scopeOf(sid)
	if title {
		scope += " " + scopeTitle
	}
	if err := tx.exec("INSERT INTO search (rowid, text, scope) VALUES (?, ?, ?)", row, text, scope); err != nil {
		return fmt.Errorf("index row %d: %w", row, err)
	}
	return nil
}

// scopeTitle is a word of those rows that are titles: a search of titles alone
// reads no others.
const scopeTitle = "title"

func scopeOf(sid int64) string { return "s" + strconv.FormatInt(sid, 10) }

// wordsOf is what an item is found by: what was said, run and printed.
func wordsOf(it Item, load func(id string) ([]byte, error)) string {
	var body map[string]json.RawMessage
	if json.Unmarshal(it.Body, &body) != nil {
		return ""
	}
	w := words{load: load}
	switch it.Kind {
	case ItemUser, ItemAssistant, ItemThought:
		w.value(body["text"])
		w.value(body["files"])
	case ItemNotice:
		w.value(body["text"])
		w.value(body["detail"])
	case ItemPlan:
		var entries []struct {
			Content string `json:"content"`
		}
		_ = json.Unmarshal(body["entries"], &entries) // foreign: what is not like this has no words
		for _, e := range entries {
			w.add(e.Content)
		}
	case ItemApproval:
		w.value(body["title"])
		w.value(body["detail"])
	case ItemTool:
		for _, name := range []string{"title", "name", "locations", "raw_input", "content", "raw_output"} {
			w.value(body[name])
		}
	}
	return w.text()
}

// escapes are what colours a terminal: their letters belong to no word.
var escapes = regexp.MustCompile("\x1b(\\[[0-?]*[ -/]*[@-~]|\\][^\x07\x1b]*(\x07|\x1b\\\\))")

// words gathers texts, the first of them and the last.
type words struct {
	load func(id string) ([]byte, error)
	head strings.Builder
	tail string
}

const (
	headMax = searchText - tailMax
	tailMax = 64 << 10
)

func (w *words) add(s string) {
	if s == "" {
		return
	}
	s = escapes.ReplaceAllString(strings.ToValidUTF8(s, " "), "")
	if room := headMax - w.head.Len(); room > 0 {
		n := len(s)
		if n > room {
			n = runeStart(s, room)
		}
		w.head.WriteString(s[:n])
		w.head.WriteByte('\n')
		s = s[n:]
	}
	if s != "" {
		w.tail += s + "\n"
		if over := len(w.tail) - tailMax; over > 0 {
			w.tail = w.tail[runeStart(w.tail, over):]
		}
	}
}

// runeStart is the first place at or before n where a character begins.
func runeStart(s string, n int) int {
	for n > 0 && n < len(s) && !utf8.RuneStart(s[n]) {
		n--
	}
	return n
}

func (w *words) text() string { return strings.ReplaceAll(w.head.String()+w.tail, "\x00", " ") }

// value adds every text in a JSON value, but those that are data: base64, types
// and ids.
func (w *words) value(raw json.RawMessage) {
	if len(raw) == 0 {
		return
	}
	switch raw[0] {
	case '"':
		var s string
		if json.Unmarshal(raw, &s) == nil {
			w.add(s)
		}
	case '[':
		var list []json.RawMessage
		if json.Unmarshal(raw, &list) == nil {
			for _, v := range list {
				w.value(v)
			}
		}
	case '{':
		w.object(raw)
	}
}

func (w *words) object(raw json.RawMessage) {
	fields, err := orderedFields(raw)
	if err != nil {
		return
	}
	var cut Truncated
	if json.Unmarshal(raw, &cut) == nil && cut.Truncated && cut.Blob != "" && w.load != nil {
		if data, err := w.load(cut.Blob); err == nil {
			w.add(string(data[:min(len(data), headMax)]))
			if rest := len(data) - headMax; rest > 0 {
				w.add(string(data[len(data)-min(rest, tailMax):]))
			}
			return
		}
	}
	for _, f := range fields {
		switch f.name {
		case "type", "data", "blob", "mimeType", "kind", "toolCallId", "terminalId", "_meta", "annotations":
			continue
		}
		w.value(f.value)
	}
}

type field struct {
	name  string
	value json.RawMessage
}

// orderedFields reads an object's fields as they stand.
func orderedFields(raw json.RawMessage) (list []field, err error) {
	dec := json.NewDecoder(strings.NewReader(string(raw)))
	if _, err := dec.Token(); err != nil {
		return nil, err
	}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, err
		}
		var v json.RawMessage
		if err := dec.Decode(&v); err != nil {
			return nil, err
		}
		key, _ := name.(string)
		list = append(list, field{key, v})
	}
	return list, nil
}

// indexer is how far the writer has brought the index of the search.
type indexer struct {
	at     int64     // of the log
	saved  int64     // of the log, in the database
	wanted bool      // something has settled since
	next   time.Time // no step before
}

// searchLag is how far the place in the database may lie behind: what is
// between is looked at again after a kill, which changes nothing.
const searchLag = 5000

// searchChore does one step.
func (w *writer) searchChore(now time.Time) {
	x := &w.index
	var to int64
	err := w.aloneErr(func(tx *Tx) error {
		var wrote bool
		var err error
		if to, wrote, err = tx.indexSome(x.at, w.lastID); err != nil {
			return err
		}
		if !wrote && to-x.saved < searchLag {
			return nil
		}
		x.saved = to
		return tx.exec("INSERT INTO meta VALUES ('searched', ?) ON CONFLICT DO UPDATE SET value = excluded.value", strconv.FormatInt(to, 10))
	})
	wait := searchEvery
	if now.Sub(w.busy) > searchIdle {
		wait = searchRest
	}
	switch {
	case err != nil && w.conn == nil:
		return // void: where it stands is read again with the next connection
	case err != nil:
		// What cannot be indexed must not keep the rest from being found.
		w.s.log.Error("index for the search failed", "err", err, "event", to)
		x.at, x.saved, wait = to, 0, time.Second
	default:
		x.at = to
		w.chores.wrote(now)
	}
	x.wanted = x.at < w.lastID
	w.s.searched.Store(x.at)
	x.next = time.Now().Add(wait)
}

// load reads how far the index came. The writer calls it with a connection anew.
func (x *indexer) load(text string, last int64) {
	x.at, _ = strconv.ParseInt(text, 10, 64) // none yet: from the beginning
	x.at = min(x.at, last)
	x.saved, x.wanted, x.next = x.at, x.at < last, time.Time{}
}

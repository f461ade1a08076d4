package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

const (
	searchDeadline = 2 * time.Second
	searchTime     = 200 * time.Millisecond // that a page may look for its hits
	searchSample   = 100                    // rows tell whether the beginning of a word is rare: under one in 10
	queryMax       = 500                    // bytes of a query that count
	termsMax       = 16
	snippetBefore  = 60  // characters
	snippetLength  = 240 // characters
)

// HitTitle is the kind of a hit that is a session's title; its Item is "".
const HitTitle = "title"

// Kinds of hits that stand for several: what was said, and what was run and
// printed.
const (
	HitSaid = "said"
	HitRun  = "run"
)

// Hit is a place where what was searched for stands.
type Hit struct {
	Session  string    `json:"session"`
	Title    string    `json:"title"`    // of the session
	Archived bool      `json:"archived"` // the session is
	Item     string    `json:"item,omitempty"`
	Kind     string    `json:"kind"`          // of the item, or "title"
	Seq      int64     `json:"seq,omitempty"` // of the item
	Run      string    `json:"run,omitempty"`
	At       time.Time `json:"at"`
	Snippet  []Segment `json:"snippet"`
}

// Segment is a part of a snippet. Joined, the parts are the snippet.
type Segment struct {
	Text  string `json:"text"`
	Match bool   `json:"match,omitempty"`
}

// Query asks for what was said, run and printed.
type Query struct {
	Text     string   // words, "phrases"; the last word may be a beginning
	Session  string   // only in this one; "" is all
	Kinds    []string // of items, HitTitle, HitSaid, HitRun; none is all
	Project  string   // only in sessions of this one
	Tag      string   // only in sessions that have it
	Agent    string   // only in sessions of this one
	Archived *bool    // only in those that are, or are not; nil is both
	Before   string   // "" or the Next of the page before
	Limit    int
}

// HitsPage is a part of what was found, newest first.
type HitsPage struct {
	Hits   []Hit
	Next   string // the next page, or ""; there may be one after a page that is not full
	Behind int64  // events that are not yet looked through
}

const (
	searchAll   = `SELECT f.rowid, e.session, e.kind FROM search f CROSS JOIN events e ON e.id = f.rowid WHERE f.rowid < ?`
	searchMatch = ` AND f.search MATCH ?`
	searchOrder = ` ORDER BY f.rowid DESC`
	hitQuery    = `SELECT s.id, s.title, s.archived, e.at, coalesce(i.id, ''), coalesce(i.kind, '` + HitTitle + `'), coalesce(i.seq, 0), coalesce(i.run, ''), coalesce(i.body, '')
		FROM events e CROSS JOIN sessions s ON s.id = e.session AND s.deleted_at = 0 AND s.building = 0
			LEFT JOIN items i ON i.session = e.session AND i.seq = e.seq
		WHERE e.id = ? AND (e.kind = 'session.created' OR i.rewound = 0)`
)

// Search finds items and titles, newest first. Words are whole words without
// regard to case and accents; the last one may be the beginning of a word where
// it has two letters or more. What cannot be a word finds nothing and is no
// error. A Before that Search did not give out is ErrNotFound.
//
// Where the other conditions leave little of what has the words, the page ends
// when its time is over, and the next one goes on there: none is left out and
// none comes twice.
func (s *Store) Search(ctx context.Context, query Query) (p HitsPage, err error) {
	limit := clamp(query.Limit, 20, 100)
	before := int64(1<<63 - 1)
	if query.Before != "" {
		if before, err = strconv.ParseInt(query.Before, 10, 64); err != nil {
			return p, fmt.Errorf("search before %q: %w", query.Before, ErrNotFound)
		}
	}
	p.Behind = max(s.Last()-s.searched.Load(), 0)
	terms := parseQuery(query.Text)
	if len(terms) == 0 {
		return p, nil
	}
	ctx, cancel := context.WithTimeout(ctx, searchDeadline)
	defer cancel()
	err = s.view(ctx, func(q *reading) error {
		f := &finder{q: q, sieve: newSieve(q, query), terms: terms, limit: limit, page: &p, last: before}
		scopes, some, err := f.sieve.scopes()
		if err != nil || !some {
			return err
		}
		whole, beginning := beginningOf(terms)
		if beginning != nil {
			rare, err := f.read(append(whole, scopes...), beginning)
			if err != nil || !rare {
				return err
			}
		}
		_, err = f.read(append([]string{matchOf(terms)}, scopes...), nil)
		return err
	})
	if err != nil {
		return HitsPage{}, fmt.Errorf("search: %w", err)
	}
	return p, nil
}

// beginningOf takes apart a query whose last word is the beginning of one. The
// index has to bring together all places of all words that begin so before it
// gives the first, which takes half a second where they are half of a million
// items; yet then the newest few have one. So those are looked through first,
// with what the index knows of the other words.
func beginningOf(terms []term) (match []string, beginning *term) {
	last := terms[len(terms)-1]
	if !last.prefix {
		return nil, nil
	}
	whole := terms[: len(terms)-1 : len(terms)-1]
	if n := len(last.words) - 1; n > 0 {
		whole = append(whole, term{words: last.words[:n]})
	}
	if len(whole) > 0 {
		match = []string{matchOf(whole)}
	}
	return match, &last
}

// finder fills a page.
type finder struct {
	q     *reading
	sieve *sieve
	terms []term
	limit int
	page  *HitsPage
	last  int64 // the row that was looked at; the next ones are before it

	tested, had int // rows for what they must have
}

// read looks at the rows of the index that match all of match, until there are
// no more, or the page is full or its time over and says where the next one
// begins. must, which may be nil, is what the index was not asked for; where it
// is so rare that the index is the faster, read ends.
func (f *finder) read(match []string, must *term) (rare bool, err error) {
	text, args := searchAll, []any{f.last}
	if len(match) > 0 {
		text, args = text+searchMatch, append(args, strings.Join(match, " AND "))
	}
	rows, err := f.q.query(text+searchOrder, args...)
	if err != nil {
		return false, err
	}
	defer rows.Close()
	began := time.Now()
	for rows.Next() {
		if len(f.page.Hits) == f.limit {
			f.page.Next = strconv.FormatInt(f.last, 10)
			return false, rows.Close()
		}
		var session string
		var kind Kind
		if err := rows.Scan(&f.last, &session, &kind); err != nil {
			return false, err
		}
		if err := f.look(session, kind, must); err != nil {
			return false, err
		}
		if must != nil && f.tested >= searchSample && f.had*10 < f.tested {
			return true, rows.Close()
		}
		if time.Since(began) > f.q.s.searchTime {
			f.page.Next = strconv.FormatInt(f.last, 10)
			return false, rows.Close()
		}
	}
	return false, errors.Join(rows.Err(), rows.Close())
}

// look puts the row into the page, where it belongs there.
func (f *finder) look(session string, kind Kind, must *term) error {
	ok, err := f.sieve.passes(session, kind)
	if err != nil || !ok {
		return err
	}
	f.tested++
	h, err := f.q.hit(f.last, f.terms, must)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	f.had++
	if f.sieve.kinds == nil || f.sieve.kinds[h.Kind] {
		f.page.Hits = append(f.page.Hits, h)
	}
	return nil
}

// hit reads what a row of the index is about. It is ErrNotFound where that was
// taken back, or is in the trash, or has not what it must have.
func (q *reading) hit(row int64, terms []term, must *term) (h Hit, err error) {
	var at int64
	var body []byte
	err = q.one(hitQuery, []any{row}, &h.Session, &h.Title, &h.Archived, &at, &h.Item, &h.Kind, &h.Seq, &h.Run, &body)
	if err != nil {
		return h, err
	}
	text := h.Title
	if h.Kind != HitTitle {
		text = wordsOf(Item{Kind: h.Kind, Body: json.RawMessage(body)}, q.blob)
	}
	if must != nil && len(matchesIn(text, []term{*must})) == 0 {
		return h, ErrNotFound
	}
	h.At = fromMillis(at)
	h.Snippet = snippet(text, terms)
	return h, nil
}

// term is one word of a query, or several that stand behind one another.
type term struct {
	words  []string
	prefix bool // the last word is the beginning of one
}

// parseQuery reads what a person typed. There is nothing that it refuses.
func parseQuery(text string) (terms []term) {
	text = text[:runeStart(text, min(len(text), queryMax))]
	for i, part := range strings.Split(text, `"`) {
		if i%2 == 1 {
			if words := tokens(part); len(words) > 0 {
				terms = append(terms, term{words: words})
			}
			continue
		}
		for _, word := range strings.Fields(part) {
			if words := tokens(word); len(words) > 0 {
				terms = append(terms, term{words: words})
			}
		}
	}
	if len(terms) > termsMax {
		return terms[:termsMax]
	}
	if len(terms) > 0 {
		last := &terms[len(terms)-1]
		end, _ := utf8.DecodeLastRuneInString(text)
		last.prefix = wordRune(end) && utf8.RuneCountInString(last.words[len(last.words)-1]) >= 2
	}
	return terms
}

// matchOf writes the terms in FTS5's language, where nothing but letters and
// digits within quotes comes from outside.
func matchOf(terms []term) string {
	parts := make([]string, 0, len(terms))
	for _, t := range terms {
		part := `"` + strings.Join(t.words, " ") + `"`
		if t.prefix {
			part += "*"
		}
		parts = append(parts, part)
	}
	return "text : (" + strings.Join(parts, " AND ") + ")"
}

// wordRune tells whether r belongs to a word, as the index's tokenizer sees it.
func wordRune(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.Is(unicode.Co, r) || unicode.Is(unicode.Mn, r)
}

// fold takes case and accents from a word.
func fold(word string) string {
	ascii := true
	for i := range len(word) {
		ascii = ascii && word[i] < utf8.RuneSelf
	}
	if ascii {
		return strings.ToLower(word)
	}
	return strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Mn, r) {
			return -1
		}
		return unicode.ToLower(r)
	}, norm.NFD.String(word))
}

// tokens are the folded words of a text.
func tokens(text string) (list []string) {
	for _, w := range strings.FieldsFunc(text, func(r rune) bool { return !wordRune(r) }) {
		if f := fold(w); f != "" {
			list = append(list, f)
		}
	}
	return list
}

// span is a word's place in a text.
type span struct{ from, to int }

// nextWord returns the first word at or after i; from is len(text) where there
// is none.
func nextWord(text string, i int) span {
	for i < len(text) {
		r, n := utf8.DecodeRuneInString(text[i:])
		if wordRune(r) {
			break
		}
		i += n
	}
	from := i
	for i < len(text) {
		r, n := utf8.DecodeRuneInString(text[i:])
		if !wordRune(r) {
			break
		}
		i += n
	}
	return span{from, i}
}

// at tells whether t stands in text where the word w is, and where it ends.
func (t term) at(text string, w span) (end int, ok bool) {
	for i, want := range t.words {
		if i > 0 {
			w = nextWord(text, w.to)
		}
		if w.from == w.to {
			return 0, false
		}
		word := fold(text[w.from:w.to])
		if t.prefix && i == len(t.words)-1 {
			if !strings.HasPrefix(word, want) {
				return 0, false
			}
		} else if word != want {
			return 0, false
		}
		end = w.to
	}
	return end, true
}

// snippet cuts the part of text where the first of terms stands, and marks
// each that is in it. White space is one space.
func snippet(text string, terms []term) []Segment {
	matches := matchesIn(text, terms)
	start := 0
	if len(matches) > 0 {
		start = back(text, matches[0].from, snippetBefore)
	}
	end, left := start, snippetLength
	for end < len(text) && left > 0 {
		_, n := utf8.DecodeRuneInString(text[end:])
		end += n
		left--
	}
	var out []Segment
	add := func(part string, match bool) {
		if part != "" {
			out = append(out, Segment{Text: part, Match: match})
		}
	}
	pos, before := start, ""
	if start > 0 {
		before = "…"
	}
	for _, m := range matches {
		if m.from >= end {
			break
		}
		m.to = min(m.to, end)
		add(before+squeeze(text[pos:m.from]), false)
		add(squeeze(text[m.from:m.to]), true)
		pos, before = m.to, ""
	}
	rest := squeeze(text[pos:end])
	if end < len(text) && strings.TrimSpace(text[end:]) != "" {
		rest += "…"
	} else {
		rest = strings.TrimRight(rest, " ")
	}
	add(before+rest, false)
	return out
}

// matchesIn returns where the terms stand, from the first place on for as long
// as a snippet is.
func matchesIn(text string, terms []term) (list []span) {
	stop := len(text)
	for w := nextWord(text, 0); w.from < w.to && w.from < stop; w = nextWord(text, w.to) {
		for _, t := range terms {
			end, ok := t.at(text, w)
			if !ok {
				continue
			}
			if len(list) == 0 {
				stop = min(stop, w.from+snippetLength*utf8.UTFMax)
			}
			list = append(list, span{w.from, end})
			w.to = end
			break
		}
	}
	return list
}

// back is about n characters before i, at the beginning of a word.
func back(text string, i, n int) int {
	j := i
	for ; j > 0 && n > 0; n-- {
		_, size := utf8.DecodeLastRuneInString(text[:j])
		j -= size
	}
	if j == 0 {
		return 0
	}
	if k := strings.IndexAny(text[j:i], " \n\t"); k >= 0 {
		return j + k + 1
	}
	return j
}

// squeeze makes one space of white space, and nothing of what cannot be seen.
func squeeze(s string) string {
	var b strings.Builder
	space := false
	for _, r := range s {
		switch {
		case unicode.IsSpace(r):
			space = true
			continue
		case unicode.IsControl(r):
			continue
		}
		if space {
			b.WriteByte(' ')
			space = false
		}
		b.WriteRune(r)
	}
	if space {
		b.WriteByte(' ')
	}
	return b.String()
}

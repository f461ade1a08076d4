package store

import (
	"errors"
	"strings"
)

// sieveScopes is the most sessions that a search names to the index. Of more, it
// looks at what it finds.
const sieveScopes = 64

// hitKinds are the kinds that one stands for.
var hitKinds = map[string][]string{
	HitSaid: {ItemUser, ItemAssistant, ItemThought, ItemPlan, ItemNotice},
	HitRun:  {ItemTool, ItemApproval},
}

// makers are the kinds of hits whose items are made by no other events than
// these; an item.copied may make any.
var makers = map[Kind]string{
	SessionCreated: HitTitle, MessageUser: ItemUser, TextDelta: ItemAssistant, ThoughtDelta: ItemThought,
	ToolStarted: ItemTool, PlanChanged: ItemPlan, ApprovalRequested: ItemApproval, NoticeGiven: ItemNotice,
}

// sieve are the conditions of a search beside its words.
type sieve struct {
	q     *reading
	query Query
	kinds map[string]bool // nil is all

	where string // of a session
	args  []any
	known map[string]bool // sessions, and whether they pass; nil: all do
}

func newSieve(q *reading, query Query) *sieve {
	v := &sieve{q: q, query: query}
	for _, kind := range query.Kinds {
		if v.kinds == nil {
			v.kinds = map[string]bool{}
		}
		if of := hitKinds[kind]; of != nil {
			for _, each := range of {
				v.kinds[each] = true
			}
		} else {
			v.kinds[kind] = true
		}
	}
	add := func(text string, arg any) {
		v.where, v.args = v.where+" AND "+text, append(v.args, arg)
	}
	if query.Project != "" {
		add("project = ?", query.Project)
	}
	if query.Agent != "" {
		add("agent = ?", query.Agent)
	}
	if query.Archived != nil {
		add("archived = ?", *query.Archived)
	}
	if query.Tag != "" {
		add(taggedWith, query.Tag)
	}
	return v
}

// scopes are what the index can be asked for of the conditions; some is false
// where nothing can be found. It is ErrNotFound where there is no such session.
func (v *sieve) scopes() (parts []string, some bool, err error) {
	if v.query.Session != "" {
		var sid int64
		if err := v.q.one("SELECT sid FROM sessions WHERE id = ?", []any{v.query.Session}, &sid); err != nil {
			return nil, false, err
		}
		parts = append(parts, `scope : "`+scopeOf(sid)+`"`)
	}
	if len(v.kinds) == 1 && v.kinds[HitTitle] {
		parts = append(parts, `scope : "`+scopeTitle+`"`)
	}
	if v.where == "" {
		return parts, true, nil
	}
	list, err := queryRead(v.q, func(r scanner) (sid int64, err error) { return sid, r.Scan(&sid) },
		"SELECT sid FROM sessions WHERE deleted_at = 0 AND building = 0"+v.where+" LIMIT ?", append(v.args, sieveScopes+1)...)
	if err != nil || len(list) == 0 {
		return nil, false, err
	}
	if len(list) > sieveScopes {
		v.known = map[string]bool{}
		return parts, true, nil
	}
	var scopes []string
	for _, sid := range list {
		scopes = append(scopes, `"`+scopeOf(sid)+`"`)
	}
	return append(parts, "scope : ("+strings.Join(scopes, " OR ")+")"), true, nil
}

// passes tells whether what an event made can be wanted.
func (v *sieve) passes(session string, kind Kind) (ok bool, err error) {
	if made := makers[kind]; v.kinds != nil && made != "" && !v.kinds[made] {
		return false, nil
	}
	if v.known == nil {
		return true, nil
	}
	ok, had := v.known[session]
	if had {
		return ok, nil
	}
	var one int
	err = v.q.one("SELECT 1 FROM sessions WHERE id = ?"+v.where, append([]any{session}, v.args...), &one)
	if errors.Is(err, ErrNotFound) {
		err = nil
	}
	v.known[session] = one == 1
	return one == 1, err
}

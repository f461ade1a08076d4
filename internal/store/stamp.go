package store

import (
	"encoding/json"
	"time"
)

// stamp is a time as the contract with the outside writes it: RFC 3339, UTC,
// always three digits of milliseconds. Go's own form drops trailing zeros.
type stamp time.Time

const stampLayout = `"2006-01-02T15:04:05.000Z"`

// MarshalJSON implements json.Marshaler.
func (s stamp) MarshalJSON() ([]byte, error) {
	return time.Time(s).UTC().AppendFormat(nil, stampLayout), nil
}

func stampPtr(t *time.Time) *stamp { return (*stamp)(t) }

// The types below hold a plain time.Time for those who compute with it, and
// write it as a stamp: the outer field hides the inner one of the same name.

// MarshalJSON implements json.Marshaler.
func (e Event) MarshalJSON() ([]byte, error) {
	type plain Event
	return encode(struct {
		plain
		At stamp `json:"at"`
	}{plain(e), stamp(e.At)})
}

// MarshalJSON implements json.Marshaler.
func (it Item) MarshalJSON() ([]byte, error) {
	type plain Item
	return encode(struct {
		plain
		At stamp `json:"at"`
	}{plain(it), stamp(it.At)})
}

// MarshalJSON implements json.Marshaler.
func (s Session) MarshalJSON() ([]byte, error) {
	type plain Session
	return encode(struct {
		plain
		CreatedAt stamp  `json:"created_at"`
		LastAt    stamp  `json:"last_at"`
		DeletedAt *stamp `json:"deleted_at,omitempty"`
	}{plain(s), stamp(s.CreatedAt), stamp(s.LastAt), stampPtr(s.DeletedAt)})
}

// MarshalJSON implements json.Marshaler.
func (a Approval) MarshalJSON() ([]byte, error) {
	type plain Approval
	return encode(struct {
		plain
		At         stamp  `json:"at"`
		AnsweredAt *stamp `json:"answered_at,omitempty"`
		ExpiresAt  *stamp `json:"expires_at,omitempty"`
	}{plain(a), stamp(a.At), stampPtr(a.AnsweredAt), stampPtr(a.ExpiresAt)})
}

// MarshalJSON implements json.Marshaler.
func (b ToolBody) MarshalJSON() ([]byte, error) {
	type plain ToolBody
	return encode(struct {
		plain
		EndedAt *stamp `json:"ended_at,omitempty"`
	}{plain(b), stampPtr(b.EndedAt)})
}

// MarshalJSON implements json.Marshaler.
func (b ClosedBody) MarshalJSON() ([]byte, error) {
	type plain ClosedBody
	return encode(struct {
		plain
		EndedAt *stamp `json:"ended_at,omitempty"`
	}{plain(b), stampPtr(b.EndedAt)})
}

// MarshalJSON implements json.Marshaler.
func (b ResolvedBody) MarshalJSON() ([]byte, error) {
	type plain ResolvedBody
	return encode(struct {
		plain
		AnsweredAt stamp `json:"answered_at"`
	}{plain(b), stamp(b.AnsweredAt)})
}

// MarshalJSON implements json.Marshaler.
func (b CopiedBody) MarshalJSON() ([]byte, error) {
	type plain CopiedBody
	return encode(struct {
		plain
		At stamp `json:"at"`
	}{plain(b), stamp(b.At)})
}

// MarshalJSON implements json.Marshaler.
func (p Project) MarshalJSON() ([]byte, error) {
	type plain Project
	return encode(struct {
		plain
		CreatedAt stamp `json:"created_at"`
	}{plain(p), stamp(p.CreatedAt)})
}

// MarshalJSON implements json.Marshaler.
func (h Hit) MarshalJSON() ([]byte, error) {
	type plain Hit
	return encode(struct {
		plain
		At stamp `json:"at"`
	}{plain(h), stamp(h.At)})
}

// MarshalJSON implements json.Marshaler.
func (q Queued) MarshalJSON() ([]byte, error) {
	type plain Queued
	return encode(struct {
		plain
		QueuedAt stamp `json:"queued_at"`
	}{plain(q), stamp(q.QueuedAt)})
}

// MarshalJSON implements json.Marshaler.
func (i Imported) MarshalJSON() ([]byte, error) {
	type plain Imported
	return encode(struct {
		plain
		CreatedAt stamp `json:"created_at"`
	}{plain(i), stamp(i.CreatedAt)})
}

var (
	_ json.Marshaler = Event{}
	_ json.Marshaler = Session{}
)

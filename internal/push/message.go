package push

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/holdfast-dev/holdfast/internal/store"
)

// The kinds of a notification.
const (
	KindEnded  = "ended"
	KindFailed = "failed"
	KindNeeds  = "needs"
	KindTest   = "test"
)

// Payload is what a service worker is given. Docs/architecture.md, section 7,
// is its contract; a field may be added, none changes its meaning.
type Payload struct {
	V       int      `json:"v"` // 1
	Kind    string   `json:"kind"`
	Session string   `json:"session,omitempty"`
	Title   string   `json:"title"`          // of the session
	Text    string   `json:"text,omitempty"` // the question, or why a run failed
	Tag     string   `json:"tag"`            // a later notification of the same tag takes its place
	Path    string   `json:"path"`           // of the page, below its base path
	At      int64    `json:"at"`             // milliseconds since 1970
	Actions []Action `json:"actions,omitempty"`
}

// Action answers a question from its notification.
type Action struct {
	Action     string `json:"action"` // allow or deny
	Title      string `json:"title"`  // as the agent names the option
	Capability string `json:"capability"`
}

// capabilityLife is how long a notification can answer.
const capabilityLife = 24 * time.Hour

// message is one notification on its way to one device.
type message struct {
	event    int64
	approval string // of a question: it is told only while it is open
	payload  Payload
	options  []store.ApprovalOption
	ttl      time.Duration
	urgent   bool
}

// tell puts what an event means before those who want to know.
func (s *Service) tell(ctx context.Context, e *store.Event) {
	m := message{event: e.ID, payload: Payload{V: 1, Session: e.Session, At: e.At.UnixMilli(), Path: "/s/" + e.Session}}
	switch e.Kind {
	case store.RunEnded:
		var b store.RunBody
		if json.Unmarshal(e.Body, &b) != nil || b.Reason == store.Cancelled || s.o.Now().Sub(e.At) > stale {
			return
		}
		m.payload.Kind, m.ttl = KindEnded, 12*time.Hour
		if b.Reason == store.Failed || b.Reason == store.Interrupted {
			m.payload.Kind, m.payload.Text = KindFailed, clip(b.Detail, 300)
		}
		m.payload.Tag = "run-" + e.Session
	case store.ApprovalRequested:
		var a store.Approval
		if json.Unmarshal(e.Body, &a) != nil || a.ID == "" {
			return
		}
		m.payload.Kind, m.approval, m.options, m.urgent, m.ttl = KindNeeds, a.ID, a.Options, true, capabilityLife
		if a.ExpiresAt != nil {
			m.ttl = a.ExpiresAt.Sub(s.o.Now())
			if m.ttl <= 0 {
				return
			}
		}
		m.payload.Text, m.payload.Tag = clip(a.Title, 400), "ask-"+a.ID
	default:
		return
	}
	s.mu.Lock()
	var to []*line
	for _, l := range s.lines {
		if wants(l.sub, e.Session, m.payload.Kind) && !s.seenLocked(l.sub.Device, e.Session) {
			to = append(to, l)
		}
	}
	s.mu.Unlock()
	if len(to) == 0 {
		return
	}
	row, err := s.o.Store.Session(ctx, e.Session)
	if err != nil {
		return // it is deleted
	}
	m.payload.Title = clip(row.Title, 120)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range to {
		s.putLocked(ctx, l, m)
	}
}

func wants(sub store.PushSubscription, session, kind string) bool {
	level := sub.Level
	if own, ok := sub.Sessions[session]; ok {
		level = own
	}
	return level == All || level == Needs && kind == KindNeeds
}

// putLocked puts a message into a line; where that is full the oldest goes.
func (s *Service) putLocked(ctx context.Context, l *line, m message) {
	if s.lines[l.sub.ID] != l {
		return
	}
	if len(l.waiting) >= maxWaiting {
		s.doneLocked(l.waiting[0].event)
		l.waiting = l.waiting[1:]
	}
	l.waiting = append(l.waiting, m)
	s.open[m.event]++
	if !l.busy {
		l.busy = true
		s.wait.Go(func() { s.work(ctx, l) })
	}
}

// actions makes the answers that a notification offers: one that allows and one
// that denies, the narrowest of each.
func (s *Service) actions(m *message, subscription string) []Action {
	var out []Action
	until := s.o.Now().Add(min(m.ttl, capabilityLife))
	for _, a := range []struct{ name, prefix string }{{"allow", "allow"}, {"deny", "reject"}} {
		best := -1
		for i, o := range m.options {
			if o.Kind == a.prefix+"_once" || best < 0 && strings.HasPrefix(o.Kind, a.prefix) {
				best = i
				if o.Kind == a.prefix+"_once" {
					break
				}
			}
		}
		if best < 0 {
			continue
		}
		o := m.options[best]
		out = append(out, Action{Action: a.name, Title: clip(o.Name, 60), Capability: s.capability(m.approval, o.ID, subscription, until)})
	}
	return out
}

// capability lets whoever has it give one answer to one question. It is no row:
// a question is answered once, and who was logged out has no subscription.
func (s *Service) capability(approval, option, subscription string, until time.Time) string {
	text := strings.Join([]string{approval, option, subscription, strconv.FormatInt(until.Unix(), 10)}, "\x00")
	return base64.RawURLEncoding.EncodeToString([]byte(text)) + "." + base64.RawURLEncoding.EncodeToString(s.sign(text))
}

func (s *Service) sign(text string) []byte {
	mac := hmac.New(sha256.New, s.secret)
	mac.Write([]byte("push answer\x00" + text))
	return mac.Sum(nil)
}

// Answer is what a capability says.
type Answer struct {
	Approval string
	Option   string
	Device   string
}

// Redeem reads a capability; ErrCapability where it is none, is too old, or its
// device was logged out. That the question is still open the caller finds out.
func (s *Service) Redeem(capability string) (Answer, error) {
	body, mac, _ := strings.Cut(capability, ".")
	text, err := base64.RawURLEncoding.DecodeString(body)
	if err != nil {
		return Answer{}, ErrCapability
	}
	got, err := base64.RawURLEncoding.DecodeString(mac)
	if err != nil || !hmac.Equal(got, s.sign(string(text))) {
		return Answer{}, ErrCapability
	}
	parts := strings.Split(string(text), "\x00")
	if len(parts) != 4 {
		return Answer{}, ErrCapability
	}
	until, err := strconv.ParseInt(parts[3], 10, 64)
	if err != nil || s.o.Now().Unix() > until {
		return Answer{}, ErrCapability
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.lines[parts[2]]
	if l == nil {
		return Answer{}, ErrCapability
	}
	return Answer{Approval: parts[0], Option: parts[1], Device: l.sub.Device}, nil
}

// topic has a push service replace what it still holds of the same thing. It
// may hold 32 characters of base64url (RFC 8030, section 5.4).
func topic(tag string) string {
	sum := sha256.Sum256([]byte(tag))
	return base64.RawURLEncoding.EncodeToString(sum[:18])
}

func clip(s string, runes int) string {
	if utf8.RuneCountInString(s) <= runes {
		return s
	}
	return string([]rune(s)[:runes-1]) + "…"
}

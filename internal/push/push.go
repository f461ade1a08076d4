// Package push tells devices whose page is closed what happened: by Web Push
// (RFC 8030, 8291, 8292) through the service of each browser's maker.
//
// The log is the queue: the package follows it and keeps the id up to which
// everything was delivered or given up, so nothing is forgotten over a restart
// and nothing is kept twice. It knows sessions and approvals by the log, and
// answers none itself.
package push

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	webpush "github.com/SherClockHolmes/webpush-go"

	"github.com/holdfast-dev/holdfast/internal/store"
)

// What a device, or one session on it, wants to be told.
const (
	All   = "all"   // a run ended or failed, or an agent needs an answer
	Needs = "needs" // an agent needs an answer
	None  = "none"
)

// MaxSubscriptions bounds the devices that are told.
const MaxSubscriptions = 64

// The bounds of what waits for one device, and of how long.
const (
	maxWaiting = 32
	maxTries   = 5
	tryTime    = 20 * time.Second
	endTime    = 2 * time.Second // for a try when the host ends
	stale      = time.Hour       // after which an end is no news
	saveEvery  = time.Minute
)

// The errors of a subscription.
var (
	ErrFull         = fmt.Errorf("%d devices are told already; log one out that you do not use", MaxSubscriptions)
	ErrNotFound     = errors.New("this device has no subscription")
	ErrEndpoint     = errors.New("the address is none of a push service")
	ErrKeys         = errors.New("the keys are none of a push subscription")
	ErrLevel        = errors.New("a level is all, needs or none")
	ErrCapability   = errors.New("the notification is unknown, too old, or was for a device that was logged out")
	errGone         = errors.New("the subscription has ended")
	errRefused      = errors.New("the push service refused the message")
	errPrivate      = errors.New("the address is not one of the internet")
	errNotSupported = errors.New("the subscription's address must be https at port 443")
)

// Store is what is read of the log, and where subscriptions and keys are kept.
// *store.Store implements it.
type Store interface {
	Setting(ctx context.Context, key string) ([]byte, error)
	SetSetting(ctx context.Context, key string, value []byte) error
	Pushes(ctx context.Context) ([]store.PushSubscription, error)
	SetPush(ctx context.Context, p store.PushSubscription) (store.PushSubscription, error)
	SetPushLevel(ctx context.Context, subscription, session, level string) error
	RemovePush(ctx context.Context, id string) error
	Session(ctx context.Context, id string) (store.Session, error)
	Approval(ctx context.Context, id string) (store.Approval, error)
	Last() int64
	Follow(after int64) *store.Follower
}

var _ Store = (*store.Store)(nil)

// Options are what a service needs.
type Options struct {
	Store Store
	Log   *slog.Logger
	Now   func() time.Time // nil: time.Now
	// Contact is a URL by which a push service reaches whoever runs this.
	Contact string
	// Test lets endpoints of this host:port be reached by plain HTTP on a
	// private address. It is for tests.
	Test string
	// Pause is the first wait before a message is tried again; 0: 2 s.
	Pause time.Duration
}

// Service keeps subscriptions and sends. Its methods may be called at the same
// time.
type Service struct {
	o      Options
	keys   vapid
	secret []byte // of capabilities
	client *http.Client

	mu    sync.Mutex
	lines map[string]*line // by subscription; at most MaxSubscriptions
	open  map[int64]int    // messages under way, by the event that they tell of
	seen  int64            // up to which events were looked at
	saved int64
	looks looks

	wait sync.WaitGroup
}

// line is a subscription and what waits for it, in order.
type line struct {
	sub     store.PushSubscription
	waiting []message
	busy    bool // a goroutine sends
}

// vapid are the keys by which push services know this host.
type vapid struct {
	Private string `json:"private"`
	Public  string `json:"public"`
}

const (
	keysSetting   = "push_vapid"
	secretSetting = "push_secret"
	atSetting     = "push_at"
)

// New makes a service, and its keys where there are none yet. It sends nothing
// before Run.
func New(ctx context.Context, o Options) (*Service, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Pause == 0 {
		o.Pause = 2 * time.Second
	}
	s := &Service{o: o, lines: map[string]*line{}, open: map[int64]int{}, looks: looks{}}
	s.client = s.newClient()
	err := s.setting(ctx, keysSetting, &s.keys, func() (any, error) {
		private, public, err := webpush.GenerateVAPIDKeys()
		return vapid{private, public}, err
	})
	if err != nil {
		return nil, err
	}
	err = s.setting(ctx, secretSetting, &s.secret, func() (any, error) {
		key := make([]byte, 32)
		rand.Read(key)
		return key, nil
	})
	if err != nil {
		return nil, err
	}
	subs, err := o.Store.Pushes(ctx)
	if err != nil {
		return nil, err
	}
	for _, sub := range subs {
		s.lines[sub.ID] = &line{sub: sub}
	}
	return s, nil
}

// setting reads a setting, or makes it.
func (s *Service) setting(ctx context.Context, key string, into any, make func() (any, error)) error {
	data, err := s.o.Store.Setting(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		var value any
		if value, err = make(); err == nil {
			if data, err = json.Marshal(value); err == nil {
				err = s.o.Store.SetSetting(ctx, key, data)
			}
		}
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", key, err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("read %s: %w", key, err)
	}
	return nil
}

// PublicKey is the VAPID key that a browser subscribes with, base64url.
func (s *Service) PublicKey() string { return s.keys.Public }

// Subscription is what a browser's PushSubscription says of itself.
type Subscription struct {
	Endpoint string
	P256DH   string
	Auth     string
}

// Settings are how a device is told.
type Settings struct {
	Subscribed bool
	Level      string
	Sessions   map[string]string
}

// Subscribe has a device told from now on. A device that is subscribed already
// is told at the new address.
func (s *Service) Subscribe(ctx context.Context, device string, sub Subscription, level string) error {
	if !knownLevel(level) {
		return ErrLevel
	}
	if err := s.checkEndpoint(sub.Endpoint); err != nil {
		return fmt.Errorf("%w: %w", ErrEndpoint, err)
	}
	if err := checkKeys(sub); err != nil {
		return err
	}
	s.mu.Lock()
	full := len(s.lines) >= MaxSubscriptions && s.ofLocked(device) == nil
	s.mu.Unlock()
	if full {
		return ErrFull
	}
	stored, err := s.o.Store.SetPush(ctx, store.PushSubscription{Device: device, Endpoint: sub.Endpoint, P256DH: sub.P256DH, Auth: sub.Auth, Level: level})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	stored.Sessions = map[string]string{}
	for id, l := range s.lines {
		switch {
		case id == stored.ID:
			stored.Sessions = l.sub.Sessions
		case l.sub.Endpoint == stored.Endpoint:
			s.dropLocked(id)
		}
	}
	if l := s.lines[stored.ID]; l != nil {
		l.sub = stored
	} else {
		s.lines[stored.ID] = &line{sub: stored}
	}
	return nil
}

// Unsubscribe has a device told no more.
func (s *Service) Unsubscribe(ctx context.Context, device string) error {
	s.mu.Lock()
	l := s.ofLocked(device)
	s.mu.Unlock()
	if l == nil {
		return ErrNotFound
	}
	if err := s.o.Store.RemovePush(ctx, l.sub.ID); err != nil {
		return err
	}
	s.Forget(device)
	return nil
}

// Forget drops what a device had: it was logged out, and the store has removed
// its subscription with it.
func (s *Service) Forget(device string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.ofLocked(device); l != nil {
		s.dropLocked(l.sub.ID)
	}
	delete(s.looks, device)
}

// Settings says how a device is told.
func (s *Service) Settings(device string) Settings {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.ofLocked(device)
	if l == nil {
		return Settings{Level: None, Sessions: map[string]string{}}
	}
	set := Settings{Subscribed: true, Level: l.sub.Level, Sessions: map[string]string{}}
	for session, level := range l.sub.Sessions {
		set.Sessions[session] = level
	}
	return set
}

// SetLevel sets what a device is told: of one session, or of all where session
// is "". A session's level "" goes back to the device's.
func (s *Service) SetLevel(ctx context.Context, device, session, level string) error {
	if !knownLevel(level) && (session == "" || level != "") {
		return ErrLevel
	}
	s.mu.Lock()
	l := s.ofLocked(device)
	var sub store.PushSubscription
	if l != nil {
		sub = l.sub
	}
	s.mu.Unlock()
	if l == nil {
		return ErrNotFound
	}
	if session == "" {
		sub.Level = level
		if _, err := s.o.Store.SetPush(ctx, sub); err != nil {
			return err
		}
	} else if err := s.o.Store.SetPushLevel(ctx, sub.ID, session, level); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case session == "":
		l.sub.Level = level
	case level == "":
		delete(l.sub.Sessions, session)
	default:
		l.sub.Sessions[session] = level
	}
	return nil
}

func knownLevel(level string) bool { return level == All || level == Needs || level == None }

func (s *Service) ofLocked(device string) *line {
	for _, l := range s.lines {
		if l.sub.Device == device {
			return l
		}
	}
	return nil
}

// dropLocked forgets a line and what waits in it; one that is being sent ends by
// itself.
func (s *Service) dropLocked(id string) {
	l := s.lines[id]
	if l == nil {
		return
	}
	for _, m := range l.waiting {
		s.doneLocked(m.event)
	}
	l.waiting = nil
	delete(s.lines, id)
}

// Run follows the log and sends, until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	defer s.wait.Wait()
	last := s.o.Store.Last()
	at, known := last, false
	if data, err := s.o.Store.Setting(ctx, atSetting); err == nil {
		// One beyond the log is of a log that was restored.
		if n, err := strconv.ParseInt(string(data), 10, 64); err == nil && n <= last {
			at, known = n, true
		}
	}
	if !known {
		// From here on: what comes while no host runs is told by the next one.
		if err := s.o.Store.SetSetting(ctx, atSetting, strconv.AppendInt(nil, at, 10)); err != nil {
			return fmt.Errorf("begin to tell: %w", err)
		}
	}
	s.mu.Lock()
	s.seen, s.saved = at, at
	s.mu.Unlock()
	follower := s.o.Store.Follow(at)
	saver := s.o.Now()
	for {
		next, cancel := context.WithTimeout(ctx, saveEvery)
		events, err := follower.Next(next)
		cancel()
		if ctx.Err() != nil || errors.Is(err, store.ErrClosed) {
			break
		}
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("follow log: %w", err)
		}
		for i := range events {
			s.tell(ctx, &events[i])
		}
		s.mu.Lock()
		s.seen = follower.At()
		s.mu.Unlock()
		if now := s.o.Now(); now.Sub(saver) > saveEvery {
			saver = now
			s.save(ctx)
		}
	}
	s.wait.Wait()
	s.save(context.WithoutCancel(ctx))
	return nil
}

// save keeps the id up to which everything was told.
func (s *Service) save(ctx context.Context) {
	s.mu.Lock()
	at := s.seen
	for id := range s.open {
		at = min(at, id-1)
	}
	old := s.saved
	s.saved = at
	s.mu.Unlock()
	if at == old {
		return
	}
	if err := s.o.Store.SetSetting(ctx, atSetting, strconv.AppendInt(nil, at, 10)); err != nil && !errors.Is(err, store.ErrClosed) {
		s.o.Log.Warn("keep what was pushed", "err", err)
	}
}

// doneLocked ends a message of an event.
func (s *Service) doneLocked(event int64) {
	if s.open[event]--; s.open[event] <= 0 {
		delete(s.open, event)
	}
}

// hosts that a test names may be reached in ways that others may not.
func (s *Service) isTest(hostport string) bool { return s.o.Test != "" && hostport == s.o.Test }

// public tells whether an address is one of the internet.
func public(a netip.Addr) bool {
	a = a.Unmap()
	if !a.IsGlobalUnicast() || a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() {
		return false
	}
	for _, p := range special {
		if p.Contains(a) {
			return false
		}
	}
	return true
}

// special are networks that look global and are not the internet's (RFC 6890).
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"), netip.MustParsePrefix("64:ff9b::/96"),
	netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("100::/64"), netip.MustParsePrefix("2001::/23"),
	netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("2002::/16"),
}

// Test puts a notification before a device that says nothing but that it works.
func (s *Service) Test(ctx context.Context, device string) error {
	s.mu.Lock()
	l := s.ofLocked(device)
	var sub store.PushSubscription
	if l != nil {
		sub = l.sub
	}
	s.mu.Unlock()
	if l == nil {
		return ErrNotFound
	}
	m := message{payload: Payload{V: 1, Kind: KindTest, Title: "Holdfast", Tag: "test", Path: "/settings", At: s.o.Now().UnixMilli()}, ttl: time.Minute}
	_, err := s.send(ctx, &m, sub)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrEndpoint, err)
	}
	return nil
}

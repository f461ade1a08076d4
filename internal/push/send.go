package push

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	webpush "github.com/SherClockHolmes/webpush-go"

	"github.com/holdfast-dev/holdfast/internal/store"
)

// newClient makes the client by which push services are reached. Whoever may
// log in chooses an endpoint, so it must not reach what only this machine can:
// the address is checked where it is known for sure, at the connection.
func (s *Service) newClient() *http.Client {
	dialer := &net.Dialer{
		Timeout: 10 * time.Second,
		Control: func(_, address string, _ syscall.RawConn) error {
			if s.isTest(address) {
				return nil
			}
			ap, err := netip.ParseAddrPort(address)
			if err != nil || !public(ap.Addr()) {
				return errPrivate
			}
			return nil
		},
	}
	return &http.Client{
		Timeout: tryTime,
		Transport: &http.Transport{
			DialContext: dialer.DialContext, ForceAttemptHTTP2: true,
			MaxIdleConns: 4, IdleConnTimeout: 10 * time.Second, TLSHandshakeTimeout: 10 * time.Second, MaxResponseHeaderBytes: 16 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// checkEndpoint refuses what cannot be a push service's address.
func (s *Service) checkEndpoint(endpoint string) error {
	u, err := url.Parse(endpoint)
	if err != nil || len(endpoint) > 2000 || u.User != nil || u.Fragment != "" {
		return errNotSupported
	}
	if s.isTest(u.Host) {
		return nil
	}
	if u.Scheme != "https" || (u.Port() != "" && u.Port() != "443") {
		return errNotSupported
	}
	name := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	if a, err := netip.ParseAddr(name); err == nil && !public(a) {
		return errPrivate
	}
	if !strings.Contains(name, ".") || name == "localhost" || strings.HasSuffix(name, ".localhost") || strings.HasSuffix(name, ".local") || strings.HasSuffix(name, ".internal") {
		return errPrivate
	}
	return nil
}

// checkKeys refuses keys to which nothing can be encrypted.
func checkKeys(sub Subscription) error {
	key, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(sub.P256DH, "="))
	if err != nil {
		return ErrKeys
	}
	if _, err := ecdh.P256().NewPublicKey(key); err != nil {
		return ErrKeys
	}
	auth, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(sub.Auth, "="))
	if err != nil || len(auth) != 16 {
		return ErrKeys
	}
	return nil
}

// work sends what waits in a line, in order, until nothing does.
func (s *Service) work(ctx context.Context, l *line) {
	for {
		s.mu.Lock()
		if len(l.waiting) == 0 || ctx.Err() != nil {
			// What is left is told by the next life, which reads the log again.
			l.busy = false
			s.mu.Unlock()
			return
		}
		m, sub := l.waiting[0], l.sub
		l.waiting = l.waiting[1:]
		s.mu.Unlock()

		err := s.deliver(ctx, &m, sub)
		if ctx.Err() != nil && err != nil {
			return // it stays open, so the saved place is before it
		}
		if errors.Is(err, errGone) {
			if err := s.o.Store.RemovePush(ctx, sub.ID); err != nil {
				s.o.Log.Warn("remove a dead push subscription", "err", err)
			}
			s.mu.Lock()
			if s.lines[sub.ID] == l && l.sub.Endpoint == sub.Endpoint {
				s.dropLocked(sub.ID)
			}
			s.mu.Unlock()
		}
		if err != nil {
			s.o.Log.Warn("a notification was not delivered", "device", sub.Device, "kind", m.payload.Kind, "err", err)
		}
		s.mu.Lock()
		s.doneLocked(m.event)
		s.mu.Unlock()
		s.save(ctx)
	}
}

// deliver tries a message a few times.
func (s *Service) deliver(ctx context.Context, m *message, sub store.PushSubscription) error {
	pause := s.o.Pause
	began := s.o.Now()
	for try := 1; ; try++ {
		if m.approval != "" {
			a, err := s.o.Store.Approval(ctx, m.approval)
			if err != nil || a.State != store.ApprovalPending {
				return nil // it is no question any more
			}
		}
		wait, err := s.sendWhole(ctx, m, sub)
		if err == nil || errors.Is(err, errGone) || errors.Is(err, errRefused) || errors.Is(err, errPrivate) {
			return err
		}
		if try >= maxTries || s.o.Now().Sub(began) > m.ttl {
			return fmt.Errorf("given up after %d tries: %w", try, err)
		}
		t := time.NewTimer(max(pause, wait))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
		pause *= 4
	}
}

// sendWhole lets a try that is under way come to its end when ctx ends, or the
// next life would send it again.
func (s *Service) sendWhole(ctx context.Context, m *message, sub store.PushSubscription) (time.Duration, error) {
	sending, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		select {
		case <-time.After(endTime):
			cancel()
		case <-sending.Done():
		}
	})()
	return s.send(sending, m, sub)
}

// maxWait bounds what a push service may ask us to wait.
const maxWait = 5 * time.Minute

// send tries once. Where the service says when to come back, it says so.
func (s *Service) send(ctx context.Context, m *message, sub store.PushSubscription) (wait time.Duration, err error) {
	p := m.payload
	p.Actions = s.actions(m, sub.ID)
	text, err := json.Marshal(p)
	if err != nil {
		return 0, err
	}
	urgency := webpush.UrgencyNormal
	if m.urgent {
		urgency = webpush.UrgencyHigh
	}
	resp, err := webpush.SendNotificationWithContext(ctx, text, &webpush.Subscription{
		Endpoint: sub.Endpoint, Keys: webpush.Keys{Auth: sub.Auth, P256dh: sub.P256DH},
	}, &webpush.Options{
		HTTPClient: s.client, Subscriber: s.o.Contact, Topic: topic(p.Tag), TTL: int(m.ttl / time.Second), Urgency: urgency,
		VAPIDPublicKey: s.keys.Public, VAPIDPrivateKey: s.keys.Private,
	})
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	said, _ := io.ReadAll(io.LimitReader(resp.Body, 512))
	switch code := resp.StatusCode; {
	case code/100 == 2:
		return 0, nil
	case code == http.StatusNotFound, code == http.StatusGone:
		return 0, errGone
	case code == http.StatusTooManyRequests, code/100 == 5:
		if n, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && n > 0 {
			wait = min(time.Duration(n)*time.Second, maxWait)
		}
		return wait, fmt.Errorf("the push service answers %s", resp.Status)
	default:
		return 0, fmt.Errorf("%w: %s %.200q", errRefused, resp.Status, bytes.TrimSpace(said))
	}
}

package access

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/holdfast-dev/holdfast/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is a time that a test moves.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func open(t *testing.T, path string, c *clock) (*Service, *store.Store) {
	t.Helper()
	db, err := store.Open(t.Context(), store.Options{Path: path, BootID: "boot", Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return New(db, c.now), db
}

func newService(t *testing.T) (*Service, *store.Store, *clock) {
	t.Helper()
	c := &clock{t: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)}
	s, db := open(t, filepath.Join(t.TempDir(), "holdfast.db"), c)
	return s, db, c
}

func TestLinkIsRedeemedOnceAndInTime(t *testing.T) {
	s, _, c := newService(t)
	ctx := t.Context()
	late, _, err := s.CreateLink(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	c.pass(LinkLife)
	if _, err := s.Redeem(ctx, late, ""); !errors.Is(err, ErrDenied) {
		t.Errorf("after ten minutes: %v", err)
	}
	link, _, err := s.CreateLink(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Cookie(ctx, link); !errors.Is(err, ErrDenied) {
		t.Errorf("a link's secret is taken as a cookie: %v", err)
	}
	var mu sync.Mutex
	won := 0
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			cookie, err := s.Redeem(ctx, link, "Firefox/1 Linux")
			if errors.Is(err, ErrDenied) {
				return
			}
			id, err2 := s.Cookie(ctx, cookie)
			if err != nil || err2 != nil || id.Name != "Firefox on Linux" || id.Kind != KindCookie {
				t.Errorf("%+v %v %v", id, err, err2)
			}
			mu.Lock()
			defer mu.Unlock()
			won++
		})
	}
	wg.Wait()
	if won != 1 {
		t.Errorf("the link was redeemed %d times", won)
	}
}

func TestCookieSlidesAndSurvivesRestart(t *testing.T) {
	c := &clock{t: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)}
	path := filepath.Join(t.TempDir(), "holdfast.db")
	ctx := t.Context()
	s, db := open(t, path, c)
	link, _, err := s.CreateLink(ctx, "phone")
	if err != nil {
		t.Fatal(err)
	}
	cookie, err := s.Redeem(ctx, link, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s, _ = open(t, path, c)
	for range 4 {
		c.pass(CookieLife - time.Hour)
		if _, err := s.Cookie(ctx, cookie); err != nil {
			t.Fatalf("used every 29 days: %v", err)
		}
	}
	c.pass(CookieLife)
	if _, err := s.Cookie(ctx, cookie); !errors.Is(err, ErrDenied) {
		t.Errorf("unused for 30 days: %v", err)
	}
	if list, err := s.List(ctx); err != nil || len(list) != 0 {
		t.Errorf("%v %v", list, err)
	}
	again, _, err := s.CreateLink(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Redeem(ctx, again, ""); err != nil {
		t.Fatal(err)
	}
	if all, err := s.store.Credentials(ctx, ""); err != nil || len(all) != 1 {
		t.Errorf("ended logins are kept: %d, %v", len(all), err)
	}
}

func TestTokenLivesUntilItIsRemoved(t *testing.T) {
	s, db, c := newService(t)
	ctx := t.Context()
	token, err := s.CreateToken(ctx, "backup")
	if err != nil {
		t.Fatal(err)
	}
	c.pass(10 * 365 * 24 * time.Hour)
	id, err := s.Token(ctx, token)
	if err != nil || id.Name != "backup" {
		t.Fatalf("%+v %v", id, err)
	}
	stored, err := db.Credentials(ctx, "")
	if err != nil || len(stored) != 1 || strings.Contains(fmt.Sprintf("%+v %s", stored, stored[0].Hash), token) {
		t.Errorf("the token itself is stored: %+v %v", stored, err)
	}
	for _, wrong := range []string{"", "hf_", token + "x", token[:len(token)-1], strings.Repeat("x", 1000)} {
		if _, err := s.Token(ctx, wrong); !errors.Is(err, ErrDenied) {
			t.Errorf("%q: %v", wrong, err)
		}
	}
	if err := s.Remove(ctx, id.ID); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(ctx, id.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("second removal: %v", err)
	}
	if _, err := s.Token(ctx, token); !errors.Is(err, ErrDenied) {
		t.Errorf("after its removal: %v", err)
	}
}

func TestPassword(t *testing.T) {
	s, db, _ := newService(t)
	ctx := t.Context()
	if _, err := s.Login(ctx, "", ""); !errors.Is(err, ErrDenied) {
		t.Errorf("no password set, empty tried: %v", err)
	}
	for _, bad := range []string{"short", "ééééééééé", strings.Repeat("x", maxPassword+1)} {
		if err := s.SetPassword(ctx, bad); !errors.Is(err, ErrWeakPassword) {
			t.Errorf("%.20q: %v", bad, err)
		}
	}
	if err := s.SetPassword(ctx, "correct horse"); err != nil {
		t.Fatal(err)
	}
	phc, err := db.Setting(ctx, passwordSetting)
	if err != nil || !strings.HasPrefix(string(phc), "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("%s %v", phc, err)
	}
	if _, err := s.Login(ctx, "correct horse", ""); err != nil {
		t.Error(err)
	}
	for _, wrong := range []string{"", "correct horsf", "correct horse ", strings.Repeat("x", maxPassword+1)} {
		if _, err := s.Login(ctx, wrong, ""); !errors.Is(err, ErrDenied) {
			t.Errorf("%.20q: %v", wrong, err)
		}
	}
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := s.Login(canceled, "correct horse", ""); err == nil {
		t.Error("a canceled attempt logs in")
	}
	if err := s.SetPassword(ctx, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Login(ctx, "correct horse", ""); !errors.Is(err, ErrDenied) {
		t.Errorf("removed password: %v", err)
	}
}

func TestDamagedPasswordIsRefused(t *testing.T) {
	for _, s := range []string{
		"x", "$argon2id$v=19$m=1,t=1,p=1$$", "$argon2i$v=19$m=19456,t=2,p=1$AAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA",
		"$argon2id$v=18$m=19456,t=2,p=1$AAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA", "$argon2id$v=19$m=4294967295,t=2,p=1$AAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA",
		"$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAA$", "$argon2id$v=19$m=19456,t=0,p=1$AAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA",
	} {
		if p, err := decodePHC(s); err == nil {
			t.Errorf("%s: %+v", s, p)
		}
	}
	if _, err := decodePHC("$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA"); err != nil {
		t.Error(err)
	}
}

func TestLoginLimits(t *testing.T) {
	c := &clock{t: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)}
	l := newLimiter(c.now)
	for i := range addressBurst {
		if _, ok := l.take("192.0.2.1:1000"); !ok {
			t.Fatalf("attempt %d is refused", i)
		}
	}
	wait, ok := l.take("192.0.2.1:2000")
	if ok || wait <= 0 || wait > addressEvery {
		t.Fatalf("over the limit: %v %v", wait, ok)
	}
	if _, ok := l.take("192.0.2.2:1000"); !ok {
		t.Error("another address is refused")
	}
	c.pass(wait)
	if _, ok := l.take("192.0.2.1:3000"); !ok {
		t.Error("refused after the wait that was promised")
	}
	if _, ok := l.take("192.0.2.1:3000"); ok {
		t.Error("one wait gives more than one attempt")
	}
	for i := range 2 * addressBurst { // one network is one address
		_, ok = l.take(fmt.Sprintf("[2001:db8::%x]:80", i))
	}
	if ok {
		t.Error("an IPv6 network has as many attempts as addresses")
	}
	for i := range 3 * maxAddresses {
		l.take(fmt.Sprintf("10.%d.%d.1:80", i/256, i%256))
	}
	if n := len(l.addresses); n > maxAddresses {
		t.Errorf("%d addresses are remembered", n)
	}
	if _, ok := l.take("198.51.100.1:80"); ok {
		t.Error("there is no limit over all addresses")
	}
	c.pass(globalBurst * globalEvery)
	if _, ok := l.take("198.51.100.1:80"); !ok {
		t.Error("the limit over all addresses does not end")
	}
	l.giveBack("198.51.100.1:80")
	for range addressBurst {
		if _, ok := l.take("198.51.100.1:81"); !ok {
			t.Error("a good login costs an attempt")
		}
	}
}

func TestLimiterForgetsTheLeast(t *testing.T) {
	c := &clock{t: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)}
	l := newLimiter(c.now)
	for range addressBurst {
		l.take("192.0.2.1:1")
	}
	for i := range 2 * maxAddresses {
		c.pass(5 * time.Millisecond)
		l.global = bucket{} // what is tested is the memory alone
		l.take(fmt.Sprintf("10.%d.%d.1:80", i/256, i%256))
	}
	if _, ok := l.take("192.0.2.1:1"); ok {
		t.Error("many addresses make the host forget one that is at its limit")
	}
}

func TestCheckBind(t *testing.T) {
	for _, tc := range []struct {
		addr                        string
		tls, password, insecure, ok bool
	}{
		{"127.0.0.1:8787", false, false, false, true},
		{"127.8.8.8:0", false, false, false, true},
		{"localhost:8787", false, false, false, true},
		{"[::1]:8787", false, false, false, true},
		{"[::ffff:127.0.0.1]:8787", false, false, false, true},
		{"0.0.0.0:8787", false, false, false, false},
		{":8787", false, false, false, false},
		{"[::]:8787", false, true, false, false},
		{"192.0.2.1:8787", false, false, true, false},
		{"192.0.2.1:8787", false, true, true, true},
		{"192.0.2.1:8787", true, false, false, true},
		{"localhost.evil.example:8787", false, false, false, false},
		{"8787", true, true, true, false},
	} {
		err := CheckBind(tc.addr, tc.tls, tc.password, tc.insecure)
		if (err == nil) != tc.ok {
			t.Errorf("%+v: %v", tc, err)
		}
		if err != nil && tc.addr != "8787" && (!strings.Contains(err.Error(), "ssh -L") || !strings.Contains(err.Error(), "--insecure-bind")) {
			t.Errorf("does not say what to do: %v", err)
		}
	}
}

func TestNewHostsRefusesWhatIsTooWide(t *testing.T) {
	for _, bad := range []string{"*", "*.com", "*.*.com", "", "http://x", "a b", "x/y", "user@x"} {
		if _, err := NewHosts("127.0.0.1:8787", []string{bad}); err == nil {
			t.Errorf("%q is taken", bad)
		} else if !strings.Contains(err.Error(), "allowed_hosts") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestHostsAllows(t *testing.T) {
	h, err := NewHosts("192.0.2.9:8787", []string{"Box.Example.org:443", "*.tail.ts.net"})
	if err != nil {
		t.Fatal(err)
	}
	all, err := NewHosts("0.0.0.0:8787", nil)
	if err != nil {
		t.Fatal(err)
	}
	local := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 8787}
	for _, tc := range []struct {
		hosts *Hosts
		host  string
		want  bool
	}{
		{h, "192.0.2.9:8787", true},
		{h, "192.0.2.9", true},
		{h, "box.example.org", true},
		{h, "BOX.example.org.:443", true},
		{h, "a.tail.ts.net", true},
		{h, "a.b.tail.ts.net:443", true},
		{h, "tail.ts.net", false},
		{h, "xtail.ts.net", false},
		{h, "", false},
		{h, ":8787", false},
		{h, "0.0.0.0:8787", false},
		{all, "192.0.2.7:8787", true},
		{all, "192.0.2.8:8787", false},
		{all, "[::ffff:192.0.2.7]:8787", true},
		{all, "name.example", false},
		{all, "0.0.0.0:8787", false},
	} {
		if got := tc.hosts.Allows(tc.host, local); got != tc.want {
			t.Errorf("%q: %v", tc.host, got)
		}
	}
}

func TestBrowserName(t *testing.T) {
	for agent, want := range map[string]string{
		"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36":                 "Chrome on Linux",
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/605.1.15": "Safari on Mac",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36 Edg/140.0": "Edge on Windows",
		"curl/8.5.0": "curl",
		"":           "a browser",
	} {
		if got := browserName(agent); got != want {
			t.Errorf("%q: %q", agent, got)
		}
	}
}

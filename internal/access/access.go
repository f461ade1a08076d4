// Package access decides who may talk to the host, and from where: one-time
// links, cookies, tokens and the password, the checks of Host and Origin, and
// the addresses that the host may listen on.
//
// A login equals a shell as the person who runs the host, so nothing here is
// optional on loopback either. Secrets are 32 random bytes and are stored as
// SHA-256 only; a password is stored as an argon2id PHC string. The package
// knows net/http's types and nothing of routes.
package access

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast/internal/store"
)

// The kinds of credentials.
const (
	KindCookie = "cookie"       // a browser that logged in
	KindToken  = "token"        // a script's bearer token
	KindLink   = store.KindLink // a one-time link that nobody has used yet
)

// How long credentials live.
const (
	LinkLife   = 10 * time.Minute
	CookieLife = 30 * 24 * time.Hour // since its last use

	// touchEvery is how stale a credential's last use may be: a write for each
	// request would make reading as dear as writing.
	touchEvery = 5 * time.Minute
)

// ErrDenied is returned for a secret that is unknown, expired or already used.
// It does not say which: a caller that guesses learns nothing.
var ErrDenied = errors.New("secret is unknown, expired or already used")

// ErrNotFound is returned where a credential to remove does not exist.
var ErrNotFound = errors.New("no such credential")

// Store keeps credentials and settings. *store.Store implements it.
type Store interface {
	AddCredential(ctx context.Context, c store.Credential) (store.Credential, error)
	CredentialByHash(ctx context.Context, kind string, hash []byte) (store.Credential, error)
	Credentials(ctx context.Context, kind string) ([]store.Credential, error)
	RenameCredential(ctx context.Context, id, name string) error
	RemoveCredential(ctx context.Context, id string) error
	TakeLink(ctx context.Context, hash []byte) (store.Credential, error)
	TouchCredential(ctx context.Context, c store.Credential) error
	Setting(ctx context.Context, key string) ([]byte, error)
	SetSetting(ctx context.Context, key string, value []byte) error
}

var _ Store = (*store.Store)(nil)

// Identity is who sent a request.
type Identity struct {
	ID   string // of the credential
	Kind string // KindCookie, KindToken, or KindLocal
	Name string // as a person named it, or the browser
}

// KindLocal is the identity of the control socket, which only the person who
// runs the host can open.
const KindLocal = "local"

// Service makes and checks credentials. Its methods may be called at the same
// time.
type Service struct {
	store     Store
	now       func() time.Time
	passwords *passwords
	logins    *limiter
}

// New makes a service over a store. Now is time.Now except in tests.
func New(s Store, now func() time.Time) *Service {
	return &Service{store: s, now: now, passwords: newPasswords(s), logins: newLimiter(now)}
}

// CreateLink makes a one-time link's secret; name is what the browser that
// redeems it will be called ("" takes its user agent).
func (s *Service) CreateLink(ctx context.Context, name string) (secret string, expires time.Time, err error) {
	expires = s.now().Add(LinkLife)
	secret, err = s.create(ctx, KindLink, "", name, "", expires)
	return secret, expires, err
}

// CreateToken makes a bearer token that does not expire.
func (s *Service) CreateToken(ctx context.Context, name string) (token string, err error) {
	return s.create(ctx, KindToken, tokenPrefix, name, "", time.Time{})
}

// Redeem turns a link's secret into a cookie's, once. It needs no limit on
// attempts, the secret being past guessing, and so a link lets its owner in
// also while somebody else has used up the attempts at the password.
func (s *Service) Redeem(ctx context.Context, secret, userAgent string) (cookie string, err error) {
	// Looked up before it is taken, because taking is a write: who guesses must
	// not make the disk work.
	if _, err := s.store.CredentialByHash(ctx, KindLink, hash(secret)); errors.Is(err, store.ErrNotFound) {
		return "", ErrDenied
	} else if err != nil {
		return "", err
	}
	link, err := s.store.TakeLink(ctx, hash(secret))
	if errors.Is(err, store.ErrNotFound) {
		return "", ErrDenied
	}
	if err != nil {
		return "", err
	}
	return s.createCookie(ctx, link.Name, userAgent)
}

// Login turns the password into a cookie's secret. Guesses are limited by the
// caller with Allow.
func (s *Service) Login(ctx context.Context, password, userAgent string) (cookie string, err error) {
	if err := s.passwords.verify(ctx, password); err != nil {
		return "", err
	}
	return s.createCookie(ctx, "", userAgent)
}

// SetPassword sets the password; "" removes it.
func (s *Service) SetPassword(ctx context.Context, password string) error {
	return s.passwords.set(ctx, password)
}

// ImportPassword takes the hash of a password that Hermes WebUI has, with the
// salts that it may be of. The password is hashed as ours when it first logs
// in. Where one is set already it is ErrPasswordSet.
func (s *Service) ImportPassword(ctx context.Context, hash []byte, salts [][]byte) error {
	return s.passwords.adopt(ctx, hash, salts)
}

// HasPassword reports whether a password is set.
func (s *Service) HasPassword(ctx context.Context) (bool, error) {
	return s.passwords.present(ctx)
}

// Allow takes one login attempt of an address from the limits. Where it may
// not go on, it says after how long it may.
func (s *Service) Allow(address string) (wait time.Duration, ok bool) {
	return s.logins.take(address)
}

// Succeeded gives the address's attempt back.
func (s *Service) Succeeded(address string) { s.logins.giveBack(address) }

// Cookie checks a cookie's secret and moves its end.
func (s *Service) Cookie(ctx context.Context, secret string) (Identity, error) {
	return s.check(ctx, KindCookie, secret)
}

// Token checks a bearer token.
func (s *Service) Token(ctx context.Context, secret string) (Identity, error) {
	return s.check(ctx, KindToken, secret)
}

// List returns the cookies and tokens that live, links left out.
func (s *Service) List(ctx context.Context) ([]store.Credential, error) {
	all, err := s.store.Credentials(ctx, "")
	if err != nil {
		return nil, err
	}
	now := s.now()
	live := make([]store.Credential, 0, len(all))
	for _, c := range all {
		if c.Kind != KindLink && !expired(c, now) {
			live = append(live, c)
		}
	}
	return live, nil
}

// Remove ends a credential at once.
func (s *Service) Remove(ctx context.Context, id string) error {
	err := s.store.RemoveCredential(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return ErrNotFound
	}
	return err
}

// Rename gives a browser or a token another name.
func (s *Service) Rename(ctx context.Context, id, name string) error {
	err := s.store.RenameCredential(ctx, id, clip(name, maxName))
	if errors.Is(err, store.ErrNotFound) {
		return ErrNotFound
	}
	return err
}

// RemoveBrowsers logs every browser out but one, and says which they were. One
// that is gone already is not among them.
func (s *Service) RemoveBrowsers(ctx context.Context, keep string) (removed []string, err error) {
	cookies, err := s.store.Credentials(ctx, KindCookie)
	if err != nil {
		return nil, err
	}
	for _, c := range cookies {
		if c.ID == keep {
			continue
		}
		switch err := s.store.RemoveCredential(ctx, c.ID); {
		case err == nil:
			removed = append(removed, c.ID)
		case !errors.Is(err, store.ErrNotFound):
			return removed, err
		}
	}
	return removed, nil
}

const (
	tokenPrefix = "hf_" // so that scanners for leaked secrets can know one
	maxName     = 200   // bytes
)

func (s *Service) create(ctx context.Context, kind, prefix, name, userAgent string, expires time.Time) (string, error) {
	secret := newSecret(prefix)
	now := s.now()
	_, err := s.store.AddCredential(ctx, store.Credential{
		Kind:      kind,
		Name:      clip(name, maxName),
		Hash:      hash(secret),
		CreatedAt: now,
		LastUsed:  now,
		ExpiresAt: expires,
		UserAgent: clip(userAgent, 300),
	})
	return secret, err
}

func (s *Service) createCookie(ctx context.Context, name, userAgent string) (string, error) {
	if name == "" {
		name = browserName(userAgent)
	}
	s.sweep(ctx)
	return s.create(ctx, KindCookie, "", name, userAgent, time.Time{})
}

// sweep removes logins that nobody has used for so long that they have ended.
// It is done where a new one comes, so that their number stays small; one that
// cannot be removed now is removed by a later sweep.
func (s *Service) sweep(ctx context.Context) {
	cookies, err := s.store.Credentials(ctx, KindCookie)
	if err != nil {
		return
	}
	now := s.now()
	for _, c := range cookies {
		if expired(c, now) {
			_ = s.store.RemoveCredential(ctx, c.ID)
		}
	}
}

func (s *Service) check(ctx context.Context, kind, secret string) (Identity, error) {
	if len(secret) < 20 || len(secret) > 200 {
		return Identity{}, ErrDenied
	}
	c, err := s.store.CredentialByHash(ctx, kind, hash(secret))
	if errors.Is(err, store.ErrNotFound) {
		return Identity{}, ErrDenied
	}
	if err != nil {
		return Identity{}, err
	}
	now := s.now()
	if expired(c, now) {
		return Identity{}, ErrDenied
	}
	if now.Sub(c.LastUsed) >= touchEvery {
		// A disk that cannot be written must not log everybody out: the login
		// is good, only its end has not moved.
		_ = s.store.TouchCredential(context.WithoutCancel(ctx), c)
	}
	return Identity{ID: c.ID, Kind: c.Kind, Name: c.Name}, nil
}

// Expires says when a credential ends by itself; zero means never. A cookie's
// end moves with its use, so it is not stored.
func Expires(c store.Credential) time.Time {
	if c.Kind == KindCookie {
		return c.LastUsed.Add(CookieLife)
	}
	return c.ExpiresAt
}

func expired(c store.Credential, now time.Time) bool {
	end := Expires(c)
	return !end.IsZero() && !now.Before(end)
}

func newSecret(prefix string) string {
	var b [32]byte
	rand.Read(b[:]) // never fails: it ends the process instead
	return prefix + base64.RawURLEncoding.EncodeToString(b[:])
}

// hash is what is stored of a secret. A plain hash is enough: the secret has
// 256 random bits, so there is nothing to guess.
func hash(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}

func clip(s string, n int) string {
	s = strings.ToValidUTF8(s, "")
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}

// browserName makes a short name from a user agent, for the list of devices.
func browserName(userAgent string) string {
	browser := ""
	for _, b := range []struct{ token, name string }{
		{"Edg/", "Edge"},
		{"OPR/", "Opera"},
		{"Firefox/", "Firefox"},
		{"FxiOS/", "Firefox"},
		{"CriOS/", "Chrome"},
		{"Chrome/", "Chrome"},
		{"Safari/", "Safari"},
		{"curl/", "curl"},
	} {
		if strings.Contains(userAgent, b.token) {
			browser = b.name
			break
		}
	}
	system := ""
	for _, o := range []struct{ token, name string }{
		{"iPhone", "iPhone"},
		{"iPad", "iPad"},
		{"Android", "Android"},
		{"Macintosh", "Mac"},
		{"Windows", "Windows"},
		{"CrOS", "ChromeOS"},
		{"Linux", "Linux"},
	} {
		if strings.Contains(userAgent, o.token) {
			system = o.name
			break
		}
	}
	switch {
	case browser != "" && system != "":
		return browser + " on " + system
	case browser != "" || system != "":
		return browser + system
	default:
		return "a browser"
	}
}

package access

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/holdfast-dev/holdfast/internal/store"
)

// authenticator is one key of a person, as a phone or a stick holds it.
type authenticator struct {
	t     *testing.T
	key   *ecdsa.PrivateKey
	id    []byte
	user  string
	count uint32
	flags byte // user present 1, user verified 4
}

func newAuthenticator(t *testing.T) *authenticator {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &authenticator{t: t, key: key, id: make([]byte, 16), flags: 1 | 4}
	rand.Read(a.id)
	return a
}

func (a *authenticator) client(kind, challenge, origin string) []byte {
	a.t.Helper()
	text, err := json.Marshal(map[string]any{"type": kind, "challenge": challenge, "origin": origin, "crossOrigin": false})
	if err != nil {
		a.t.Fatal(err)
	}
	return text
}

func (a *authenticator) data(rp string, attested []byte) []byte {
	a.count++
	sum := sha256.Sum256([]byte(rp))
	flags := a.flags
	if attested != nil {
		flags |= 64
	}
	return append(binary.BigEndian.AppendUint32(append(sum[:], flags), a.count), attested...)
}

func (a *authenticator) response(fields map[string]string) []byte {
	a.t.Helper()
	text, err := json.Marshal(map[string]any{"id": b64(a.id), "rawId": b64(a.id), "type": "public-key", "response": fields, "clientExtensionResults": map[string]any{}})
	if err != nil {
		a.t.Fatal(err)
	}
	return text
}

func (a *authenticator) create(c *CreationOptions, origin string) []byte {
	a.t.Helper()
	a.user = c.User.ID
	point, err := a.key.PublicKey.Bytes()
	if err != nil {
		a.t.Fatal(err)
	}
	key, err := cbor.Marshal(map[int]any{1: 2, 3: -7, -1: 1, -2: point[1:33], -3: point[33:]})
	if err != nil {
		a.t.Fatal(err)
	}
	attested := append(make([]byte, 16), 0, byte(len(a.id)))
	attested = append(append(attested, a.id...), key...)
	object, err := cbor.Marshal(map[string]any{"fmt": "none", "attStmt": map[string]any{}, "authData": a.data(c.RP.ID, attested)})
	if err != nil {
		a.t.Fatal(err)
	}
	return a.response(map[string]string{"clientDataJSON": b64(a.client("webauthn.create", c.Challenge, origin)), "attestationObject": b64(object)})
}

func (a *authenticator) get(o *RequestOptions, origin string) []byte {
	a.t.Helper()
	client, data := a.client("webauthn.get", o.Challenge, origin), a.data(o.RPID, nil)
	sum := sha256.Sum256(client)
	digest := sha256.Sum256(append(data, sum[:]...))
	signature, err := ecdsa.SignASN1(rand.Reader, a.key, digest[:])
	if err != nil {
		a.t.Fatal(err)
	}
	return a.response(map[string]string{
		"clientDataJSON": b64(client), "authenticatorData": b64(data), "signature": b64(signature), "userHandle": a.user,
	})
}

type passkeyBench struct {
	*Passkeys
	service *Service
	store   *store.Store
	clock   *clock
	ctx     context.Context
	origin  Origin
}

const boxURL = "https://box.example.org"

func newPasskeyBench(t *testing.T) *passkeyBench {
	t.Helper()
	// The library asks the machine what time it is.
	c := &clock{t: time.Now()}
	s, db := open(t, filepath.Join(t.TempDir(), "holdfast.db"), c)
	o, err := PasskeyOrigin(boxURL)
	if err != nil {
		t.Fatal(err)
	}
	return &passkeyBench{NewPasskeys(db, s), s, db, c, t.Context(), o}
}

func (b *passkeyBench) add(t *testing.T, a *authenticator) store.Passkey {
	t.Helper()
	options, err := b.Begin(b.ctx, b.origin, "mini")
	if err != nil {
		t.Fatal(err)
	}
	k, err := b.Add(b.ctx, b.origin, "Pixel 9", a.create(options, boxURL))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func (b *passkeyBench) begin(t *testing.T) *RequestOptions {
	t.Helper()
	options, err := b.BeginLogin(b.ctx, b.origin)
	if err != nil || options == nil {
		t.Fatalf("begin login: %v %v", options, err)
	}
	return options
}

func TestPasskeyLogsIn(t *testing.T) {
	b := newPasskeyBench(t)
	if options, err := b.BeginLogin(b.ctx, b.origin); options != nil || err != nil {
		t.Errorf("a login without a passkey: %v %v", options, err)
	}
	a := newAuthenticator(t)
	k := b.add(t, a)
	if k.RP != "box.example.org" || k.Name != "Pixel 9" {
		t.Errorf("passkey: %+v", k)
	}
	for range 2 {
		cookie, err := b.Login(b.ctx, b.origin, a.get(b.begin(t), boxURL), "Mozilla/5.0 (Android) Chrome/140")
		if err != nil {
			t.Fatal(err)
		}
		if id, err := b.service.Cookie(b.ctx, cookie); err != nil || id.Name != "Chrome on Android" {
			t.Errorf("cookie: %+v %v", id, err)
		}
	}
	list, err := b.List(b.ctx)
	if err != nil || len(list) != 1 || list[0].LastUsed.IsZero() {
		t.Errorf("list: %+v %v", list, err)
	}
	options, err := b.Begin(b.ctx, b.origin, "mini")
	if err != nil || len(options.ExcludeCredentials) != 1 || options.ExcludeCredentials[0].ID != b64(a.id) {
		t.Errorf("an authenticator may have two: %+v %v", options, err)
	}
	if _, err := b.Add(b.ctx, b.origin, "again", a.create(options, boxURL)); !errors.Is(err, ErrPasskeyKnown) {
		t.Errorf("the same once more: %v", err)
	}
	// Another host's life knows the person by the same name.
	again := NewPasskeys(b.store, b.service)
	next, err := again.BeginLogin(b.ctx, b.origin)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := again.Login(b.ctx, b.origin, a.get(next, boxURL), ""); err != nil {
		t.Errorf("after a restart: %v", err)
	}
	if err := b.Rename(b.ctx, k.ID, "My phone"); err != nil {
		t.Error(err)
	}
	if list, _ := b.List(b.ctx); list[0].Name != "My phone" {
		t.Errorf("renamed: %+v", list)
	}
	waiting := a.get(b.begin(t), boxURL)
	if err := b.Remove(b.ctx, k.ID); err != nil {
		t.Error(err)
	}
	if _, err := b.Login(b.ctx, b.origin, waiting, ""); !errors.Is(err, ErrDenied) {
		t.Errorf("a passkey that was removed: %v", err)
	}
	for what, err := range map[string]error{"rename": b.Rename(b.ctx, k.ID, "x"), "remove": b.Remove(b.ctx, k.ID)} {
		if !errors.Is(err, ErrNotFound) {
			t.Errorf("%s one that is gone: %v", what, err)
		}
	}
}

func TestPasskeyLoginIsRefused(t *testing.T) {
	elsewhere, err := PasskeyOrigin("https://evil.example")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		try  func(t *testing.T, b *passkeyBench, a *authenticator) error
	}{
		{"an answer that came before", func(t *testing.T, b *passkeyBench, a *authenticator) error {
			answer := a.get(b.begin(t), boxURL)
			if _, err := b.Login(b.ctx, b.origin, answer, ""); err != nil {
				t.Fatal(err)
			}
			_, err := b.Login(b.ctx, b.origin, answer, "")
			return err
		}},
		{"a challenge that is too old", func(t *testing.T, b *passkeyBench, a *authenticator) error {
			answer := a.get(b.begin(t), boxURL)
			b.clock.pass(challengeLife)
			_, err := b.Login(b.ctx, b.origin, answer, "")
			return err
		}},
		{"a challenge of its own", func(t *testing.T, b *passkeyBench, a *authenticator) error {
			options := b.begin(t)
			options.Challenge = b64(make([]byte, 56))
			_, err := b.Login(b.ctx, b.origin, a.get(options, boxURL), "")
			return err
		}},
		{"a challenge to make a passkey", func(t *testing.T, b *passkeyBench, a *authenticator) error {
			made, err := b.Begin(b.ctx, b.origin, "mini")
			if err != nil {
				t.Fatal(err)
			}
			_, err = b.Login(b.ctx, b.origin, a.get(&RequestOptions{RPID: made.RP.ID, Challenge: made.Challenge}, boxURL), "")
			return err
		}},
		{"a page of another site", func(t *testing.T, b *passkeyBench, a *authenticator) error {
			_, err := b.Login(b.ctx, b.origin, a.get(b.begin(t), "https://evil.example"), "")
			return err
		}},
		{"another name of the host", func(t *testing.T, b *passkeyBench, a *authenticator) error {
			_, err := b.Login(b.ctx, elsewhere, a.get(b.begin(t), boxURL), "")
			return err
		}},
		{"nobody before the authenticator", func(t *testing.T, b *passkeyBench, a *authenticator) error {
			a.flags = 1
			_, err := b.Login(b.ctx, b.origin, a.get(b.begin(t), boxURL), "")
			return err
		}},
		{"another key of the same name", func(t *testing.T, b *passkeyBench, a *authenticator) error {
			forged := newAuthenticator(t)
			forged.id, forged.user = a.id, a.user
			_, err := b.Login(b.ctx, b.origin, forged.get(b.begin(t), boxURL), "")
			return err
		}},
		{"another person", func(t *testing.T, b *passkeyBench, a *authenticator) error {
			a.user = b64([]byte("somebody else"))
			_, err := b.Login(b.ctx, b.origin, a.get(b.begin(t), boxURL), "")
			return err
		}},
		{"a copy of the authenticator", func(t *testing.T, b *passkeyBench, a *authenticator) error {
			a.count = 10
			if _, err := b.Login(b.ctx, b.origin, a.get(b.begin(t), boxURL), ""); err != nil {
				t.Fatal(err)
			}
			a.count = 5
			_, err := b.Login(b.ctx, b.origin, a.get(b.begin(t), boxURL), "")
			return err
		}},
		{"what is no answer", func(_ *testing.T, b *passkeyBench, _ *authenticator) error {
			_, err := b.Login(b.ctx, b.origin, []byte(`{"id":"x"}`), "")
			return err
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newPasskeyBench(t)
			a := newAuthenticator(t)
			b.add(t, a)
			if err := c.try(t, b, a); !errors.Is(err, ErrDenied) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestPasskeyIsNotTaken(t *testing.T) {
	b := newPasskeyBench(t)
	for name, change := range map[string]func(*CreationOptions, *authenticator) string{
		"a challenge of its own":         func(c *CreationOptions, _ *authenticator) string { c.Challenge = "AAAA"; return boxURL },
		"a page of another site":         func(*CreationOptions, *authenticator) string { return "https://evil.example" },
		"made for another name":          func(c *CreationOptions, _ *authenticator) string { c.RP.ID = "evil.example"; return boxURL },
		"nobody before it":               func(_ *CreationOptions, a *authenticator) string { a.flags = 1; return boxURL },
		"a challenge that is of no time": func(*CreationOptions, *authenticator) string { b.clock.pass(challengeLife); return boxURL },
	} {
		options, err := b.Begin(b.ctx, b.origin, "mini")
		if err != nil {
			t.Fatal(err)
		}
		a := newAuthenticator(t)
		origin := change(options, a)
		if _, err := b.Add(b.ctx, b.origin, "x", a.create(options, origin)); !errors.Is(err, ErrPasskey) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if list, err := b.List(b.ctx); err != nil || len(list) != 0 {
		t.Errorf("kept: %+v %v", list, err)
	}
}

// TestChallengesTakeNoMemory: who is not logged in may ask for as many as he likes.
func TestChallengesTakeNoMemory(t *testing.T) {
	b := newPasskeyBench(t)
	a := newAuthenticator(t)
	b.add(t, a)
	for range 100 {
		b.begin(t)
		_, _ = b.Login(b.ctx, b.origin, newAuthenticator(t).get(b.begin(t), boxURL), "")
	}
	if n := len(b.used); n != 1 { // of making the passkey
		t.Errorf("%d challenges are remembered", n)
	}
	b.clock.pass(challengeLife)
	if !b.once("another") || len(b.used) != 1 {
		t.Errorf("old ones stay: %v", b.used)
	}
}

func TestPasskeyOrigin(t *testing.T) {
	for origin, name := range map[string]string{
		"https://box.example.org":      "box.example.org",
		"https://Box.Example.org:8443": "box.example.org",
		"http://localhost:8787":        "localhost",
		"http://box.localhost":         "box.localhost",
		"http://box.example.org":       "",
		"https://192.168.1.2":          "",
		"http://127.0.0.1:8787":        "",
		"https://[2001:db8::1]":        "",
		"null":                         "",
		"":                             "",
	} {
		if o, err := PasskeyOrigin(origin); o.name != name || (err == nil) != (name != "") {
			t.Errorf("%q: %+v %v", origin, o, err)
		}
	}
}

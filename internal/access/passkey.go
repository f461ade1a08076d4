package access

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/protocol/webauthncose"
	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/holdfast-dev/holdfast/internal/store"
)

// PasskeyStore keeps passkeys. *store.Store implements it.
type PasskeyStore interface {
	AddPasskey(ctx context.Context, p store.Passkey, limit int) (store.Passkey, error)
	Passkeys(ctx context.Context, rp string) ([]store.Passkey, error)
	UsePasskey(ctx context.Context, id string, body []byte) error
	RenamePasskey(ctx context.Context, id, name string) error
	RemovePasskey(ctx context.Context, id string) error
}

const (
	// challengeLife is how long a person may take before his authenticator.
	challengeLife = 5 * time.Minute
	// maxPasskeys bounds what the list and each login read.
	maxPasskeys = 64

	passkeyUserSetting = "passkey_user"
)

var (
	// ErrNoName is returned where a browser came by an address that passkeys
	// cannot be of.
	ErrNoName = errors.New("passkeys are of a name, over HTTPS or of localhost")
	// ErrPasskey is returned for a new passkey that does not hold.
	ErrPasskey = errors.New("the passkey does not hold")
	// ErrPasskeyKnown is returned for one too many, or one that is there.
	ErrPasskeyKnown = errors.New("this authenticator has a passkey already, or there are too many")
)

// Origin is where a browser came from, which its passkeys are bound to.
type Origin struct {
	name string // "box.example.org": the relying party's id
	url  string // "https://box.example.org:8443"
}

// PasskeyOrigin reads the Origin of a request that CheckOrigin has passed. An
// address that is no name, or plain HTTP, has no passkeys: browsers make none.
func PasskeyOrigin(origin string) (Origin, error) {
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" {
		return Origin{}, ErrNoName
	}
	name := normalHost(u.Hostname())
	if _, err := netip.ParseAddr(name); err == nil || net.ParseIP(name) != nil {
		return Origin{}, ErrNoName
	}
	if u.Scheme != "https" && name != "localhost" && !strings.HasSuffix(name, ".localhost") {
		return Origin{}, ErrNoName
	}
	return Origin{name: name, url: u.Scheme + "://" + u.Host}, nil
}

// Passkeys makes and checks passkeys. Its methods may be called at the same
// time. The challenges that it gives are signed and not kept, so that who is
// not logged in can fill no memory; those that were answered are remembered
// until they end, for one answer each.
type Passkeys struct {
	store  PasskeyStore
	access *Service
	key    [32]byte // signs challenges, for this life of the host

	mu   sync.Mutex
	used map[string]time.Time
}

// NewPasskeys makes the part for passkeys of a service.
func NewPasskeys(s PasskeyStore, a *Service) *Passkeys {
	p := &Passkeys{store: s, access: a, used: map[string]time.Time{}}
	rand.Read(p.key[:])
	return p
}

const (
	toCreate = "create"
	toLogIn  = "login"
)

type keyParam struct {
	Type string `json:"type"`
	Alg  int    `json:"alg"`
}

type keyName struct {
	Type string `json:"type"`
	ID   string `json:"id"`
}

// CreationOptions are what a browser's navigator.credentials.create takes, in
// JSON: what is binary there is base64url.
type CreationOptions struct {
	RP struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	} `json:"rp"`
	User struct {
		ID          string `json:"id"`
		Name        string `json:"name"`
		DisplayName string `json:"displayName"`
	} `json:"user"`
	Challenge          string     `json:"challenge"`
	PubKeyCredParams   []keyParam `json:"pubKeyCredParams"`
	Timeout            int64      `json:"timeout"`
	ExcludeCredentials []keyName  `json:"excludeCredentials"`
	Selection          struct {
		ResidentKey      string `json:"residentKey"`
		RequireResident  bool   `json:"requireResidentKey"`
		UserVerification string `json:"userVerification"`
	} `json:"authenticatorSelection"`
	Attestation string `json:"attestation"`
}

// RequestOptions are what navigator.credentials.get takes, in JSON.
type RequestOptions struct {
	RPID             string `json:"rpId"`
	Challenge        string `json:"challenge"`
	Timeout          int64  `json:"timeout"`
	UserVerification string `json:"userVerification"`
}

// Begin says how a browser of a person who is logged in makes a passkey.
func (p *Passkeys) Begin(ctx context.Context, o Origin, machine string) (*CreationOptions, error) {
	user, err := p.user(ctx, o)
	if err != nil {
		return nil, err
	}
	c := &CreationOptions{Challenge: p.challenge(toCreate, o), Timeout: challengeLife.Milliseconds(), Attestation: "none", ExcludeCredentials: []keyName{}}
	c.RP.ID, c.RP.Name = o.name, "Holdfast"
	c.User.ID, c.User.Name, c.User.DisplayName = b64(user.id), "Holdfast on "+machine, "Holdfast on "+machine
	for _, alg := range []int{-8, -7, -257} { // EdDSA, ES256, RS256
		c.PubKeyCredParams = append(c.PubKeyCredParams, keyParam{"public-key", alg})
	}
	for _, k := range user.keys {
		c.ExcludeCredentials = append(c.ExcludeCredentials, keyName{"public-key", b64(k.Credential)})
	}
	// It names its person by itself, and asks for more than its presence: a
	// login equals a shell.
	c.Selection.ResidentKey, c.Selection.RequireResident, c.Selection.UserVerification = "required", true, "required"
	return c, nil
}

// Add takes what the browser made.
func (p *Passkeys) Add(ctx context.Context, o Origin, name string, response []byte) (store.Passkey, error) {
	parsed, err := protocol.ParseCredentialCreationResponseBytes(response)
	if err != nil {
		return store.Passkey{}, refusal(ErrPasskey, err)
	}
	challenge := parsed.Response.CollectedClientData.Challenge
	if !p.isOurs(toCreate, o, challenge) {
		return store.Passkey{}, fmt.Errorf("%w: it took too long, or the host was restarted", ErrPasskey)
	}
	user, err := p.user(ctx, o)
	if err != nil {
		return store.Passkey{}, err
	}
	w, err := o.checker()
	if err != nil {
		return store.Passkey{}, err
	}
	params := []protocol.CredentialParameter{}
	for _, alg := range []int{-8, -7, -257} {
		params = append(params, protocol.CredentialParameter{Type: protocol.PublicKeyCredentialType, Algorithm: webauthncose.COSEAlgorithmIdentifier(alg)})
	}
	made, err := w.CreateCredential(user, webauthn.SessionData{
		Challenge: challenge, RelyingPartyID: o.name, UserID: user.id, UserVerification: protocol.VerificationRequired, CredParams: params,
	}, parsed)
	if err != nil {
		return store.Passkey{}, refusal(ErrPasskey, err)
	}
	if !p.once(challenge) {
		return store.Passkey{}, ErrPasskeyKnown
	}
	made.Attestation = webauthn.CredentialAttestation{} // of no use: nothing is asked of who made it
	body, err := json.Marshal(made)
	if err != nil {
		return store.Passkey{}, fmt.Errorf("encode passkey: %w", err)
	}
	added, err := p.store.AddPasskey(ctx, store.Passkey{Name: clip(name, maxName), RP: o.name, Credential: made.ID, Body: body}, maxPasskeys)
	if errors.Is(err, store.ErrExists) {
		return store.Passkey{}, ErrPasskeyKnown
	}
	return added, err
}

// BeginLogin says how a browser logs in; nil where there is no passkey of the
// name that it came by.
func (p *Passkeys) BeginLogin(ctx context.Context, o Origin) (*RequestOptions, error) {
	keys, err := p.store.Passkeys(ctx, o.name)
	if err != nil || len(keys) == 0 {
		return nil, err
	}
	return &RequestOptions{RPID: o.name, Challenge: p.challenge(toLogIn, o), Timeout: challengeLife.Milliseconds(), UserVerification: "required"}, nil
}

// Login turns an authenticator's answer into a cookie's secret. The reason of a
// refusal is for the log.
func (p *Passkeys) Login(ctx context.Context, o Origin, response []byte, userAgent string) (cookie string, err error) {
	parsed, err := protocol.ParseCredentialRequestResponseBytes(response)
	if err != nil {
		return "", refusal(ErrDenied, err)
	}
	challenge := parsed.Response.CollectedClientData.Challenge
	if !p.isOurs(toLogIn, o, challenge) {
		return "", fmt.Errorf("%w: the challenge is not of this host, or too old", ErrDenied)
	}
	user, err := p.user(ctx, o)
	if err != nil {
		return "", err
	}
	w, err := o.checker()
	if err != nil {
		return "", err
	}
	found, err := w.ValidateDiscoverableLogin(func(_, handle []byte) (webauthn.User, error) {
		if !bytes.Equal(handle, user.id) {
			return nil, ErrDenied
		}
		return user, nil
	}, webauthn.SessionData{Challenge: challenge, RelyingPartyID: o.name, UserVerification: protocol.VerificationRequired}, parsed)
	if err != nil {
		return "", refusal(ErrDenied, err)
	}
	if found.Authenticator.CloneWarning {
		return "", fmt.Errorf("%w: the passkey's counter went back, so there may be a copy of it", ErrDenied)
	}
	if !p.once(challenge) {
		return "", fmt.Errorf("%w: the challenge was answered already", ErrDenied)
	}
	body, err := json.Marshal(found)
	if err != nil {
		return "", fmt.Errorf("encode passkey: %w", err)
	}
	for _, k := range user.keys {
		if bytes.Equal(k.Credential, found.ID) {
			err := p.store.UsePasskey(ctx, k.ID, body)
			if errors.Is(err, store.ErrNotFound) {
				return "", ErrDenied // it was removed meanwhile
			}
			if err != nil {
				return "", err
			}
			return p.access.createCookie(ctx, "", userAgent)
		}
	}
	return "", ErrDenied
}

// List lists all passkeys, of whatever name of the host.
func (p *Passkeys) List(ctx context.Context) ([]store.Passkey, error) {
	return p.store.Passkeys(ctx, "")
}

// Rename gives a passkey another name.
func (p *Passkeys) Rename(ctx context.Context, id, name string) error {
	return orNotFound(p.store.RenamePasskey(ctx, id, clip(name, maxName)))
}

// Remove ends a passkey. Whoever logged in by it stays logged in.
func (p *Passkeys) Remove(ctx context.Context, id string) error {
	return orNotFound(p.store.RemovePasskey(ctx, id))
}

func orNotFound(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return ErrNotFound
	}
	return err
}

// refusal keeps the library's reason, which no client is told of.
func refusal(is, err error) error {
	var p *protocol.Error
	if errors.As(err, &p) && p.DevInfo != "" {
		return fmt.Errorf("%w: %s (%s)", is, p.Details, p.DevInfo)
	}
	return fmt.Errorf("%w: %w", is, err)
}

func (o Origin) checker() (*webauthn.WebAuthn, error) {
	w, err := webauthn.New(&webauthn.Config{RPID: o.name, RPDisplayName: "Holdfast", RPOrigins: []string{o.url}})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoName, err)
	}
	return w, nil
}

// person is the one who runs the host.
type person struct {
	id   []byte
	keys []store.Passkey // of one of the host's names
	list []webauthn.Credential
}

var _ webauthn.User = (*person)(nil)

func (p *person) WebAuthnID() []byte                         { return p.id }
func (p *person) WebAuthnName() string                       { return "holdfast" }
func (p *person) WebAuthnDisplayName() string                { return "Holdfast" }
func (p *person) WebAuthnCredentials() []webauthn.Credential { return p.list }

// user reads who it is that passkeys are of: a random name, made once.
func (p *Passkeys) user(ctx context.Context, o Origin) (*person, error) {
	id, err := p.userID(ctx)
	if err != nil {
		return nil, err
	}
	who := &person{id: id}
	if who.keys, err = p.store.Passkeys(ctx, o.name); err != nil {
		return nil, err
	}
	for _, k := range who.keys {
		var c webauthn.Credential
		if err := json.Unmarshal(k.Body, &c); err != nil {
			return nil, fmt.Errorf("read passkey %s: %w", k.ID, err)
		}
		who.list = append(who.list, c)
	}
	return who, nil
}

func (p *Passkeys) userID(ctx context.Context) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	id, err := p.access.store.Setting(ctx, passkeyUserSetting)
	if errors.Is(err, store.ErrNotFound) {
		id = make([]byte, 32)
		rand.Read(id)
		err = p.access.store.SetSetting(ctx, passkeyUserSetting, id)
	}
	return id, err
}

// challenge makes one that is for one purpose and one origin, and ends.
func (p *Passkeys) challenge(purpose string, o Origin) string {
	b := make([]byte, 16, 16+8+sha256.Size)
	rand.Read(b)
	b = binary.BigEndian.AppendUint64(b, uint64(p.access.now().Add(challengeLife).Unix())) //nolint:gosec // a time of our own
	return b64(append(b, p.sign(purpose, o, b)...))
}

func (p *Passkeys) sign(purpose string, o Origin, b []byte) []byte {
	mac := hmac.New(sha256.New, p.key[:])
	mac.Write(append([]byte(purpose+"\x00"+o.url+"\x00"), b...))
	return mac.Sum(nil)
}

func (p *Passkeys) isOurs(purpose string, o Origin, challenge string) bool {
	b, err := base64.RawURLEncoding.DecodeString(challenge)
	if err != nil || len(b) != 16+8+sha256.Size || !hmac.Equal(b[24:], p.sign(purpose, o, b[:24])) {
		return false
	}
	return p.access.now().Unix() < int64(binary.BigEndian.Uint64(b[16:])) //nolint:gosec // it is signed
}

// once takes a challenge that was answered rightly. Only such are remembered,
// so that their number is that of logins in challengeLife.
func (p *Passkeys) once(challenge string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.access.now()
	for c, end := range p.used {
		if !now.Before(end) {
			delete(p.used, c)
		}
	}
	if _, again := p.used[challenge]; again {
		return false
	}
	p.used[challenge] = now.Add(challengeLife)
	return true
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

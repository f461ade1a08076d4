package access

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"

	"github.com/holdfast-dev/holdfast/internal/store"
)

// The cost of a guess (OWASP's second choice of argon2id). One is worked out at
// a time, so that guessing from many addresses cannot take the host's memory.
const (
	argonMemory  = 19 * 1024 // KiB
	argonTime    = 2
	argonThreads = 1
	argonKey     = 32
	argonSalt    = 16
)

// MinPassword is the least number of characters of a password.
const MinPassword = 10

const maxPassword = 1024 // bytes

// ErrWeakPassword is returned for a password that is too short or too long.
var ErrWeakPassword = fmt.Errorf("a password needs at least %d characters and at most %d bytes", MinPassword, maxPassword)

const passwordSetting = "password"

// passwords keeps the one password, as a PHC string in a setting.
type passwords struct {
	store  Store
	turn   chan struct{} // holds one: whose turn it is to compute
	change sync.Mutex    // held while the setting is read and then written
}

func newPasswords(s Store) *passwords {
	return &passwords{store: s, turn: make(chan struct{}, 1)}
}

func (p *passwords) present(ctx context.Context) (bool, error) {
	phc, err := p.stored(ctx)
	return phc != "", err
}

// stored is the PHC string, or "" where there is no password.
func (p *passwords) stored(ctx context.Context) (string, error) {
	phc, err := p.store.Setting(ctx, passwordSetting)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return "", err
	}
	return string(phc), nil
}

func (p *passwords) set(ctx context.Context, password string) error {
	var phc []byte // nil removes it
	if password != "" {
		if utf8.RuneCountInString(password) < MinPassword || len(password) > maxPassword {
			return ErrWeakPassword
		}
		text, err := p.hash(ctx, password)
		if err != nil {
			return err
		}
		phc = []byte(text)
	}
	p.change.Lock()
	defer p.change.Unlock()
	return p.store.SetSetting(context.WithoutCancel(ctx), passwordSetting, phc)
}

func (p *passwords) hash(ctx context.Context, password string) (phc string, err error) {
	salt := make([]byte, argonSalt)
	rand.Read(salt)
	key, err := p.derive(ctx, password, salt, argonMemory, argonTime, argonThreads, argonKey)
	if err != nil {
		return "", err
	}
	return encodePHC(salt, key), nil
}

// verify does the same work whether there is a password or not, so that the
// time of an answer does not tell.
func (p *passwords) verify(ctx context.Context, password string) error {
	if len(password) > maxPassword {
		return ErrDenied
	}
	phc, err := p.stored(ctx)
	if err != nil {
		return err
	}
	if old, ok := decodeOld(phc); ok {
		return p.verifyOld(ctx, password, phc, old)
	}
	want := phcString{memory: argonMemory, time: argonTime, threads: argonThreads, salt: make([]byte, argonSalt), key: make([]byte, argonKey)}
	if phc != "" {
		if want, err = decodePHC(phc); err != nil {
			return fmt.Errorf("read password: %w", err)
		}
	}
	key, err := p.derive(ctx, password, want.salt, want.memory, want.time, want.threads, uint32(len(want.key)))
	if err != nil {
		return err
	}
	if subtle.ConstantTimeCompare(key, want.key)&present(phc) != 1 {
		return ErrDenied
	}
	return nil
}

func present(phc string) int {
	if phc == "" {
		return 0
	}
	return 1
}

func (p *passwords) derive(ctx context.Context, password string, salt []byte, memory, time uint32, threads uint8, n uint32) ([]byte, error) {
	select {
	case p.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-p.turn }()
	return argon2.IDKey([]byte(password), salt, time, memory, threads, n), nil
}

type phcString struct {
	memory, time uint32
	threads      uint8
	salt, key    []byte
}

func encodePHC(salt, key []byte) string {
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s",
		argon2.Version, argonMemory, argonTime, argonThreads, b64.EncodeToString(salt), b64.EncodeToString(key))
}

var errPHC = errors.New("not an argon2id PHC string that this version knows")

func decodePHC(s string) (phcString, error) {
	var p phcString
	parts := strings.Split(s, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return p, errPHC
	}
	if n, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &p.memory, &p.time, &p.threads); err != nil || n != 3 {
		return p, errPHC
	}
	var err error
	if p.salt, err = base64.RawStdEncoding.DecodeString(parts[4]); err != nil {
		return p, errPHC
	}
	if p.key, err = base64.RawStdEncoding.DecodeString(parts[5]); err != nil {
		return p, errPHC
	}
	// A damaged setting must not make the host work for ever or take all memory.
	if p.memory == 0 || p.memory > 1<<20 || p.time == 0 || p.time > 64 || p.threads == 0 || len(p.key) < 16 || len(p.key) > 64 || len(p.salt) < 8 {
		return p, errPHC
	}
	return p, nil
}

package access

import (
	"context"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// How Hermes WebUI hashes its password: one salt for the whole installation.
const (
	oldScheme = "hermes-webui"
	oldRounds = 600_000
	oldSalt   = 32
)

var (
	// ErrPasswordSet is returned where a password would be replaced by an old one.
	ErrPasswordSet = errors.New("a password is set already")
	// ErrOldPassword is returned for what is no hash of Hermes WebUI.
	ErrOldPassword = fmt.Errorf("a hash of Hermes WebUI has %d bytes, and each of its one or two salts has %d", sha256.Size, oldSalt)
)

// oldPassword is a hash that was taken over. It is of one of the salts: a
// password that was set long ago is of another than a later one, and only the
// password tells.
type oldPassword struct {
	hash  []byte
	salts [][]byte
}

func (o oldPassword) encode() string {
	parts := []string{"", oldScheme, base64.RawStdEncoding.EncodeToString(o.hash)}
	for _, salt := range o.salts {
		parts = append(parts, base64.RawStdEncoding.EncodeToString(salt))
	}
	return strings.Join(parts, "$")
}

func (o oldPassword) valid() bool {
	if len(o.hash) != sha256.Size || len(o.salts) == 0 || len(o.salts) > 2 {
		return false
	}
	for _, salt := range o.salts {
		if len(salt) != oldSalt {
			return false
		}
	}
	return true
}

func decodeOld(text string) (o oldPassword, ok bool) {
	parts := strings.Split(text, "$")
	if len(parts) < 3 || parts[0] != "" || parts[1] != oldScheme {
		return o, false
	}
	for i, part := range parts[2:] {
		b, err := base64.RawStdEncoding.DecodeString(part)
		if err != nil {
			return o, false
		}
		if i == 0 {
			o.hash = b
		} else {
			o.salts = append(o.salts, b)
		}
	}
	return o, o.valid()
}

// adopt stores an old hash where there is no password.
func (p *passwords) adopt(ctx context.Context, hash []byte, salts [][]byte) error {
	old := oldPassword{hash, salts}
	if !old.valid() {
		return ErrOldPassword
	}
	p.change.Lock()
	defer p.change.Unlock()
	if stored, err := p.stored(ctx); err != nil {
		return err
	} else if stored != "" {
		return ErrPasswordSet
	}
	return p.store.SetSetting(context.WithoutCancel(ctx), passwordSetting, []byte(old.encode()))
}

// verifyOld checks a password against an old hash, and where it is right stores
// our own in its place. However short: it is what its owner has, and a login
// is no moment to be told to think of another.
func (p *passwords) verifyOld(ctx context.Context, password, stored string, old oldPassword) error {
	right := 0
	for _, salt := range old.salts {
		key, err := p.deriveOld(ctx, password, salt)
		if err != nil {
			return err
		}
		right |= subtle.ConstantTimeCompare(key, old.hash)
	}
	if right != 1 {
		return ErrDenied
	}
	phc, err := p.hash(ctx, password)
	if err != nil {
		return err
	}
	replaced, err := p.replace(ctx, stored, phc)
	if err == nil && !replaced {
		return p.verify(ctx, password) // it was set, removed or hashed anew meanwhile
	}
	return err
}

// replace stores a hash in the place of another that is still there.
func (p *passwords) replace(ctx context.Context, old, phc string) (replaced bool, err error) {
	p.change.Lock()
	defer p.change.Unlock()
	if now, err := p.stored(ctx); err != nil || now != old {
		return false, err
	}
	return true, p.store.SetSetting(context.WithoutCancel(ctx), passwordSetting, []byte(phc))
}

func (p *passwords) deriveOld(ctx context.Context, password string, salt []byte) ([]byte, error) {
	select {
	case p.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-p.turn }()
	return pbkdf2.Key(sha256.New, password, salt, oldRounds, sha256.Size)
}

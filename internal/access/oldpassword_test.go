package access

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"
)

// What Python's hashlib.pbkdf2_hmac("sha256", b"old horse", salt, 600000) gives
// for salts of the bytes 0 to 31, and 32 to 63: that is how Hermes WebUI hashes.
const (
	hashOfFirst  = "d0b5d149ff8fa93861932d768a61b375d1ccbb58702125903c766d6ffa3eeb90"
	hashOfSecond = "be4c449d9b8d7b2ac8a75467456f9e9903c0bb3edcae1a9bcdd0725bfd5b870a"
)

func oldSalts() [][]byte {
	salts := [][]byte{make([]byte, 32), make([]byte, 32)}
	for i := range 64 {
		salts[i/32][i%32] = byte(i)
	}
	return salts
}

// TestOldPasswordIsHashedAnew at its first login, whichever key it is of.
func TestOldPasswordIsHashedAnew(t *testing.T) {
	for name, text := range map[string]string{"of the key for passwords": hashOfFirst, "of the older key": hashOfSecond} {
		t.Run(name, func(t *testing.T) {
			s, db, _ := newService(t)
			hash, err := hex.DecodeString(text)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.ImportPassword(t.Context(), hash, oldSalts()); err != nil {
				t.Fatal(err)
			}
			stored := func() string {
				t.Helper()
				value, err := db.Setting(t.Context(), passwordSetting)
				if err != nil {
					t.Fatal(err)
				}
				return string(value)
			}
			if has, err := s.HasPassword(t.Context()); err != nil || !has || !strings.HasPrefix(stored(), "$hermes-webui$") {
				t.Errorf("taken over: %v %v %s", has, err, stored())
			}
			if _, err := s.Login(t.Context(), "new horse", ""); !errors.Is(err, ErrDenied) || !strings.HasPrefix(stored(), "$hermes-webui$") {
				t.Errorf("a wrong one: %v, stored %s", err, stored())
			}
			if _, err := s.Login(t.Context(), "old horse", ""); err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(stored(), "$argon2id$") {
				t.Errorf("not hashed anew: %s", stored())
			}
			if _, err := s.Login(t.Context(), "old horse", ""); err != nil {
				t.Errorf("the second time: %v", err)
			}
			if _, err := s.Login(t.Context(), "new horse", ""); !errors.Is(err, ErrDenied) {
				t.Errorf("a wrong one, later: %v", err)
			}
		})
	}
}

func TestOldPasswordTakesNoPlace(t *testing.T) {
	s, db, _ := newService(t)
	hash, err := hex.DecodeString(hashOfFirst)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		hash  []byte
		salts [][]byte
	}{
		"half a hash": {hash[:16], oldSalts()}, "no salt": {hash, nil}, "a short salt": {hash, [][]byte{hash[:8]}}, "three": {hash, append(oldSalts(), hash)},
	} {
		if err := s.ImportPassword(t.Context(), c.hash, c.salts); !errors.Is(err, ErrOldPassword) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := s.SetPassword(t.Context(), "correct horse"); err != nil {
		t.Fatal(err)
	}
	if err := s.ImportPassword(t.Context(), hash, oldSalts()); !errors.Is(err, ErrPasswordSet) {
		t.Errorf("over one that is set: %v", err)
	}
	// One that is set while the old one is looked at stays.
	before := (oldPassword{hash, oldSalts()}).encode()
	if err := s.passwords.verifyOld(t.Context(), "old horse", before, oldPassword{hash, oldSalts()}); !errors.Is(err, ErrDenied) {
		t.Errorf("the old one logs in still: %v", err)
	}
	if _, err := s.Login(t.Context(), "correct horse", ""); err != nil {
		t.Errorf("the one that was set is gone: %v", err)
	}
	if err := db.SetSetting(t.Context(), passwordSetting, []byte("$hermes-webui$AAAA$!")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Login(t.Context(), "old horse", ""); err == nil || errors.Is(err, ErrDenied) {
		t.Errorf("a damaged one: %v", err)
	}
}

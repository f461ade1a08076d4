package store

import (
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// clock is a time that a test sets.
type clock struct{ ms atomic.Int64 }

func (c *clock) now() time.Time      { return time.UnixMilli(c.ms.Load()).UTC() }
func (c *clock) add(d time.Duration) { c.ms.Add(d.Milliseconds()) }
func (c *clock) use(o *Options)      { c.ms.Store(1_800_000_000_000); o.Now = c.now }

func TestCredentials(t *testing.T) {
	var c clock
	s := newStore(t, c.use)
	token, err := s.AddCredential(t.Context(), Credential{Kind: "token", Name: "script", Hash: []byte{1, 2}, UserAgent: "curl"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.AddCredential(t.Context(), Credential{Kind: "cookie", Hash: []byte{1, 2}, ExpiresAt: c.now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	got, err := s.CredentialByHash(t.Context(), "token", []byte{1, 2})
	if diff := cmp.Diff(token, got); diff != "" || err != nil {
		t.Error(err, diff)
	}
	if _, err := s.CredentialByHash(t.Context(), "link", []byte{1, 2}); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	c.add(2 * time.Hour)
	if _, err := s.CredentialByHash(t.Context(), "cookie", []byte{1, 2}); !errors.Is(err, ErrNotFound) {
		t.Errorf("expired: %v", err)
	}
	used := c.now()
	for range 3 {
		if err := s.TouchCredential(t.Context(), got); err != nil {
			t.Fatal(err)
		}
		c.add(20 * time.Second)
	}
	if got, err = s.CredentialByHash(t.Context(), "token", []byte{1, 2}); err != nil || !got.LastUsed.Equal(used) {
		t.Errorf("last used %v, want %v, %v", got.LastUsed, used, err)
	}
	if list, err := s.Credentials(t.Context(), ""); err != nil || len(list) != 2 {
		t.Errorf("%+v, %v", list, err)
	}
	if err := s.RemoveCredential(t.Context(), token.ID); err != nil {
		t.Error(err)
	}
	if err := s.RemoveCredential(t.Context(), token.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("removed twice: %v", err)
	}
	if list, err := s.Credentials(t.Context(), "token"); err != nil || len(list) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
}

func TestLinkIsTakenOnce(t *testing.T) {
	var c clock
	s := newStore(t, c.use)
	add := func(hash string) {
		t.Helper()
		if _, err := s.AddCredential(t.Context(), Credential{Kind: KindLink, Hash: []byte(hash), ExpiresAt: c.now().Add(time.Minute)}); err != nil {
			t.Fatal(err)
		}
	}
	add("one")
	var taken atomic.Int32
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			switch _, err := s.TakeLink(t.Context(), []byte("one")); {
			case err == nil:
				taken.Add(1)
			case !errors.Is(err, ErrNotFound):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if taken.Load() != 1 {
		t.Errorf("taken %d times", taken.Load())
	}
	add("two")
	c.add(time.Minute)
	if _, err := s.TakeLink(t.Context(), []byte("two")); !errors.Is(err, ErrNotFound) {
		t.Errorf("expired: %v", err)
	}
	if list, err := s.Credentials(t.Context(), KindLink); err != nil || len(list) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
}

// TestOffers: what an agent offers is what its newest session says that was
// opened, whatever was chosen since and elsewhere.
func TestOffers(t *testing.T) {
	s := newStore(t)
	begin := func(agent, opened string, body OptionsBody) {
		update(t, s, Relaxed, func(tx *Tx) error {
			r, err := tx.CreateSession(Session{Agent: agent, Cwd: "/a", AgentSession: opened})
			if err != nil {
				return err
			}
			_, err = tx.Append(r.ID, "", AgentOptions, body)
			return err
		})
	}
	told := func(models string) OptionsBody {
		return OptionsBody{Models: json.RawMessage(models), Commands: json.RawMessage(models), Chosen: &Chosen{Mode: "x"}}
	}
	begin("a", "s1", told(`"older"`))
	begin("a", "s2", told(`"newer"`))
	begin("a", "", OptionsBody{Chosen: &Chosen{Model: "mine"}})
	begin("b", "s3", told(`"other"`))
	begin("c", "", told(`"of no agent"`))
	for agent, want := range map[string]string{"a": `"newer"`, "b": `"other"`, "c": "", "d": ""} {
		got, err := s.Offers(t.Context(), agent)
		if err != nil || string(got.Models) != want || string(got.Commands) != want || got.Chosen != nil {
			t.Errorf("%s offers %s and the commands %s, %v", agent, got.Models, got.Commands, err)
		}
	}
	begin("a", "s4", OptionsBody{})
	if got, err := s.Offers(t.Context(), "a"); err != nil || got.Models != nil {
		t.Errorf("offers %s, which the agent has no more, %v", got.Models, err)
	}
}

func TestSettingsFoldersAttachments(t *testing.T) {
	s := newStore(t)
	if _, err := s.Setting(t.Context(), "password"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	for _, v := range []string{"a", "b"} {
		if err := s.SetSetting(t.Context(), "password", []byte(v)); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Setting(t.Context(), "password"); err != nil || string(got) != v {
			t.Errorf("%q, %v", got, err)
		}
	}
	if err := s.SetSetting(t.Context(), "password", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Setting(t.Context(), "password"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}

	for _, cwd := range []string{"/a", "/b", "/a", "/c"} {
		update(t, s, Relaxed, func(tx *Tx) error {
			_, err := tx.CreateSession(Session{Cwd: cwd})
			return err
		})
	}
	folders, err := s.RecentFolders(t.Context(), 2)
	if diff := cmp.Diff([]string{"/c", "/a"}, folders); diff != "" || err != nil {
		t.Error(err, diff)
	}

	id, err := s.PutAttachment(t.Context(), "x.png", "image/png", []byte{0, 1, 255})
	if err != nil {
		t.Fatal(err)
	}
	a, err := s.Attachment(t.Context(), id)
	if err != nil || a.Name != "x.png" || a.MIME != "image/png" || string(a.Data) != "\x00\x01\xff" || a.CreatedAt.IsZero() {
		t.Errorf("%+v, %v", a, err)
	}
	if _, err := s.PutAttachment(t.Context(), "big", "", make([]byte, AttachmentMax+1)); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
	if _, err := s.Attachment(t.Context(), "none"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}

func TestCanary(t *testing.T) {
	s := newStore(t)
	for range 3 {
		if err := s.Canary(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	// A stuck writer is told of at the deadline, and does not gather canaries.
	hold, held := make(chan struct{}), make(chan struct{})
	go func() {
		_ = s.Update(Relaxed, func(*Tx) error { close(held); <-hold; return nil })
	}()
	<-held
	if err := s.Canary(expired(t)); err == nil {
		t.Error("no error while the writer is stuck")
	}
	if err := s.Canary(expired(t)); err == nil {
		t.Error("no error while the writer is stuck")
	}
	close(hold)
	// Those who ask at once are not told of each other.
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if err := s.Canary(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
}

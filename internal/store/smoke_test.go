package store

import (
	"path/filepath"
	"testing"
)

func TestSmoke(t *testing.T) {
	s, err := Open(t.Context(), Options{Path: filepath.Join(t.TempDir(), "holdfast.db"), BootID: "b"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	f := s.Follow(0)
	var id string
	err = s.Update(Durable, func(tx *Tx) error {
		r, err := tx.CreateSession(Session{Agent: "a", Cwd: "/x"})
		id = r.ID
		if err != nil {
			return err
		}
		_, err = tx.Append(id, "r", MessageUser, MessageBody{Item: "m1", Text: "hi"})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		err = s.Update(Relaxed, func(tx *Tx) error {
			_, err = tx.Append(id, "r", TextDelta, DeltaBody{Item: "i1", Text: string(rune('a' + i))})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	p, err := s.Items(t.Context(), id, 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v %s", p, p.Items[1].Body)
	evs, err := f.Next(t.Context())
	t.Log(len(evs), err, s.Stats(t.Context()), s.Canary(t.Context()))
	d, err := s.Verify(t.Context(), nil)
	t.Log(d, err)
	l, err := s.Sessions(t.Context(), "", 0)
	t.Logf("%+v %v", l, err)
}

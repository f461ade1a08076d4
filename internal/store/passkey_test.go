package store

import (
	"errors"
	"testing"
)

func TestPasskeys(t *testing.T) {
	s := newStore(t)
	first, err := s.AddPasskey(t.Context(), Passkey{Name: "one", RP: "box", Credential: []byte{1}, Body: []byte("{}")}, 2)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.AddPasskey(t.Context(), Passkey{RP: "box", Credential: []byte{1}, Body: []byte("{}")}, 2); !errors.Is(err, ErrExists) {
		t.Errorf("the same again: %v", err)
	}
	if _, err := s.AddPasskey(t.Context(), Passkey{RP: "other", Credential: []byte{2}, Body: []byte("{}")}, 2); err != nil {
		t.Error(err)
	}
	if _, err := s.AddPasskey(t.Context(), Passkey{RP: "other", Credential: []byte{3}, Body: []byte("{}")}, 2); !errors.Is(err, ErrExists) {
		t.Errorf("one too many: %v", err)
	}
	if err := s.UsePasskey(t.Context(), first.ID, []byte(`{"n":1}`)); err != nil {
		t.Error(err)
	}
	list, err := s.Passkeys(t.Context(), "box")
	if err != nil || len(list) != 1 || list[0].ID != first.ID || string(list[0].Body) != `{"n":1}` || list[0].LastUsed.IsZero() {
		t.Errorf("%+v %v", list, err)
	}
	if list, err := s.Passkeys(t.Context(), ""); err != nil || len(list) != 2 || !list[0].LastUsed.IsZero() {
		t.Errorf("all: %+v %v", list, err)
	}
	if err := s.RemovePasskey(t.Context(), first.ID); err != nil {
		t.Error(err)
	}
	for what, err := range map[string]error{
		"use": s.UsePasskey(t.Context(), first.ID, nil), "rename": s.RenamePasskey(t.Context(), first.ID, "x"), "remove": s.RemovePasskey(t.Context(), first.ID),
	} {
		if !errors.Is(err, ErrNotFound) {
			t.Errorf("%s one that is gone: %v", what, err)
		}
	}
}

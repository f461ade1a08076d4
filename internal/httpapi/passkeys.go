package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/holdfast-dev/holdfast/internal/access"
	"github.com/holdfast-dev/holdfast/internal/session"
)

// Passkey is one that logs its owner in.
type Passkey struct {
	ID        string     `json:"id"`
	Name      string     `json:"name"`
	Host      string     `json:"host" doc:"The host's name that it is of; it logs in by no other"`
	CreatedAt time.Time  `json:"created_at"`
	LastUsed  *time.Time `json:"last_used,omitempty"`
}

type passkeysOutput struct {
	Body struct {
		Passkeys []Passkey `json:"passkeys" nullable:"false"`
	}
}

type beginPasskeyOutput struct {
	Body struct {
		PublicKey json.RawMessage `json:"publicKey" doc:"What PublicKeyCredential.parseCreationOptionsFromJSON reads"`
	}
}

type addPasskeyInput struct {
	Body struct {
		Name       string          `json:"name" minLength:"1" maxLength:"200"`
		Credential json.RawMessage `json:"credential" doc:"What PublicKeyCredential.toJSON gives"`
	}
}

type passkeyOutput struct{ Body Passkey }

type renamePasskeyInput struct {
	ID   string `path:"id" maxLength:"100"`
	Body struct {
		Name string `json:"name" minLength:"1" maxLength:"200"`
	}
}

type beginPasskeyLoginOutput struct {
	Body struct {
		PublicKey json.RawMessage `json:"publicKey,omitempty" doc:"What PublicKeyCredential.parseRequestOptionsFromJSON reads; absent where there is no passkey of the name that the browser came by"`
	}
}

type passkeyLoginInput struct {
	Body struct {
		Credential json.RawMessage `json:"credential" doc:"What PublicKeyCredential.toJSON gives"`
	}
}

func (s *Server) passkeyRoutes(api huma.API) {
	if s.cfg.Passkeys == nil {
		return
	}
	origin := func(ctx context.Context) (access.Origin, error) {
		o, err := access.PasskeyOrigin(requestOf(ctx).Header.Get("Origin"))
		if err != nil {
			return o, newProblem(session.CodeBadRequest, "a passkey is of a name, over HTTPS, or of localhost; this browser came by an address that is neither.")
		}
		return o, nil
	}
	register(s, api, operation("list-passkeys", http.MethodGet, "/api/v1/passkeys", "access", "Passkeys that log in"),
		func(ctx context.Context, _ *struct{}) (*passkeysOutput, error) {
			list, err := s.cfg.Passkeys.List(ctx)
			if err != nil {
				return nil, err
			}
			out := &passkeysOutput{}
			out.Body.Passkeys = make([]Passkey, len(list))
			for i, k := range list {
				out.Body.Passkeys[i] = Passkey{ID: k.ID, Name: k.Name, Host: k.RP, CreatedAt: k.CreatedAt}
				if !k.LastUsed.IsZero() {
					out.Body.Passkeys[i].LastUsed = &list[i].LastUsed
				}
			}
			return out, nil
		})
	register(s, api, operation("begin-passkey", http.MethodPost, "/api/v1/passkeys/begin", "access", "Begin to make a passkey"),
		func(ctx context.Context, _ *struct{}) (*beginPasskeyOutput, error) {
			o, err := origin(ctx)
			if err != nil {
				return nil, err
			}
			options, err := s.cfg.Passkeys.Begin(context.WithoutCancel(ctx), o, machineName())
			if err != nil {
				return nil, err
			}
			out := &beginPasskeyOutput{}
			out.Body.PublicKey, err = json.Marshal(options)
			return out, err
		})
	add := operation("add-passkey", http.MethodPost, "/api/v1/passkeys", "access", "Keep a passkey that was made")
	add.DefaultStatus = http.StatusCreated
	register(s, api, add, func(ctx context.Context, in *addPasskeyInput) (*passkeyOutput, error) {
		o, err := origin(ctx)
		if err != nil {
			return nil, err
		}
		k, err := s.cfg.Passkeys.Add(context.WithoutCancel(ctx), o, strings.TrimSpace(in.Body.Name), in.Body.Credential)
		if errors.Is(err, access.ErrPasskey) || errors.Is(err, access.ErrPasskeyKnown) {
			s.log.Warn("passkey refused", "from", requestOf(ctx).RemoteAddr, "err", err)
			return nil, newProblem(session.CodeBadRequest, "the passkey was not taken: it took too long, or this authenticator has one already. Begin again.")
		}
		if err != nil {
			return nil, err
		}
		s.log.Info("passkey added", "from", requestOf(ctx).RemoteAddr, "name", k.Name, "host", k.RP)
		return &passkeyOutput{Body: Passkey{ID: k.ID, Name: k.Name, Host: k.RP, CreatedAt: k.CreatedAt}}, nil
	})
	rename := operation("rename-passkey", http.MethodPatch, "/api/v1/passkeys/{id}", "access", "Give a passkey another name")
	rename.DefaultStatus = http.StatusNoContent
	register(s, api, rename, func(ctx context.Context, in *renamePasskeyInput) (*struct{}, error) {
		name := strings.TrimSpace(in.Body.Name)
		if name == "" {
			return nil, newProblem(session.CodeBadRequest, "the name is empty.")
		}
		return nil, noPasskey(s.cfg.Passkeys.Rename(context.WithoutCancel(ctx), in.ID, name), in.ID)
	})
	remove := operation("remove-passkey", http.MethodDelete, "/api/v1/passkeys/{id}", "access", "Remove a passkey")
	remove.Description = "Browsers that it has logged in stay logged in; they are in the list of devices."
	remove.DefaultStatus = http.StatusNoContent
	register(s, api, remove, func(ctx context.Context, in *idInput) (*struct{}, error) {
		return nil, noPasskey(s.cfg.Passkeys.Remove(context.WithoutCancel(ctx), in.ID), in.ID)
	})

	begin := operation("begin-login-passkey", http.MethodPost, "/api/v1/login/passkey/begin", "access", "Begin to log in by a passkey")
	begin.Security = []map[string][]string{}
	register(s, api, begin, func(ctx context.Context, _ *struct{}) (*beginPasskeyLoginOutput, error) {
		out := &beginPasskeyLoginOutput{}
		o, err := access.PasskeyOrigin(requestOf(ctx).Header.Get("Origin"))
		if err != nil {
			return out, nil // it has none
		}
		options, err := s.cfg.Passkeys.BeginLogin(ctx, o)
		if err != nil || options == nil {
			return out, err
		}
		out.Body.PublicKey, err = json.Marshal(options)
		return out, err
	})
	login := operation("login-passkey", http.MethodPost, "/api/v1/login/passkey", "access", "Log a browser in by a passkey")
	login.Security = []map[string][]string{}
	register(s, api, login, func(ctx context.Context, in *passkeyLoginInput) (*loginOutput, error) {
		o, err := origin(ctx)
		if err != nil {
			return nil, err
		}
		return s.login(ctx, func(userAgent string) (string, error) {
			return s.cfg.Passkeys.Login(context.WithoutCancel(ctx), o, in.Body.Credential, userAgent)
		}, "the passkey is unknown here, was removed, or it took too long. `holdfast link` makes a link that logs in without it.")
	})
}

func noPasskey(err error, id string) error {
	if errors.Is(err, access.ErrNotFound) {
		return newProblem(session.CodeNotFound, fmt.Sprintf("there is no passkey %.100q; it may have been removed already", id))
	}
	return err
}

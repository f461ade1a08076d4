package httpapi

import (
	"context"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/holdfast-dev/holdfast/internal/access"
	"github.com/holdfast-dev/holdfast/internal/push"
	"github.com/holdfast-dev/holdfast/internal/session"
)

// Push tells devices whose page is closed. *push.Service implements it.
type Push interface {
	PublicKey() string
	Subscribe(ctx context.Context, device string, sub push.Subscription, level string) error
	Unsubscribe(ctx context.Context, device string) error
	Settings(device string) push.Settings
	SetLevel(ctx context.Context, device, session, level string) error
	Look(device, tab, session string, visible bool)
	Redeem(capability string) (push.Answer, error)
	Test(ctx context.Context, device string) error
	Forget(device string)
}

var _ Push = (*push.Service)(nil)

// PushState is how this device is told.
type PushState struct {
	PublicKey  string            `json:"public_key" doc:"VAPID key for PushManager.subscribe, base64url"`
	Subscribed bool              `json:"subscribed"`
	Level      string            `json:"level" enum:"all,needs,none" doc:"all: a run ended or failed, or an agent needs an answer; needs: only the last"`
	Sessions   map[string]string `json:"sessions" doc:"Levels of single sessions, where they differ"`
}

type pushOutput struct{ Body PushState }

type subscribeInput struct {
	Body struct {
		Endpoint string `json:"endpoint" minLength:"1" maxLength:"2000"`
		Keys     struct {
			P256DH string `json:"p256dh" minLength:"1" maxLength:"200"`
			Auth   string `json:"auth" minLength:"1" maxLength:"100"`
		} `json:"keys"`
		ExpirationTime *float64 `json:"expirationTime,omitempty" doc:"As browsers send it; not used"`
		Level          string   `json:"level,omitempty" enum:"all,needs,none" default:"all"`
	}
}

type pushLevelInput struct {
	Body struct {
		Level   string `json:"level" enum:"all,needs,none,default" doc:"default: as the device; for a session only"`
		Session string `json:"session,omitempty" maxLength:"100" doc:"Empty: the device"`
	}
}

type pushAnswerInput struct {
	Body struct {
		Capability string `json:"capability" minLength:"1" maxLength:"4000" doc:"Of one of the notification's actions"`
	}
}

type lookInput struct {
	Body struct {
		Tab     string `json:"tab" minLength:"1" maxLength:"64" doc:"A random name of the tab"`
		Session string `json:"session,omitempty" maxLength:"100" doc:"That it shows"`
		Visible bool   `json:"visible"`
	}
}

func (s *Server) pushRoutes(api huma.API) {
	if s.cfg.Push == nil {
		return
	}
	state := func(ctx context.Context) *pushOutput {
		set := s.cfg.Push.Settings(identityOf(ctx).ID)
		return &pushOutput{Body: PushState{PublicKey: s.cfg.Push.PublicKey(), Subscribed: set.Subscribed, Level: set.Level, Sessions: set.Sessions}}
	}
	register(s, api, operation("push", http.MethodGet, "/api/v1/push", "push", "How this device is told"),
		func(ctx context.Context, _ *struct{}) (*pushOutput, error) { return state(ctx), nil })
	sub := operation("push-subscribe", http.MethodPut, "/api/v1/push", "push", "Tell this device, by its browser's PushSubscription")
	sub.Description = "The body is what PushSubscription.toJSON() gives, with a level. It replaces what the device had; a browser may change its endpoint at any time (`pushsubscriptionchange`). " +
		"The payload of a notification is described in docs/architecture.md, section 7."
	register(s, api, sub, func(ctx context.Context, in *subscribeInput) (*pushOutput, error) {
		if identityOf(ctx).Kind == access.KindLocal {
			return nil, newProblem(session.CodeBadRequest, "a device has to be logged in to be told.")
		}
		err := s.cfg.Push.Subscribe(context.WithoutCancel(ctx), identityOf(ctx).ID, push.Subscription{Endpoint: in.Body.Endpoint, P256DH: in.Body.Keys.P256DH, Auth: in.Body.Keys.Auth}, in.Body.Level)
		if err != nil {
			return nil, pushProblem(err)
		}
		return state(ctx), nil
	})
	level := operation("push-level", http.MethodPatch, "/api/v1/push", "push", "Set what this device is told, of all sessions or of one")
	register(s, api, level, func(ctx context.Context, in *pushLevelInput) (*pushOutput, error) {
		l := in.Body.Level
		if l == "default" {
			l = ""
		}
		if err := s.cfg.Push.SetLevel(context.WithoutCancel(ctx), identityOf(ctx).ID, in.Body.Session, l); err != nil {
			return nil, pushProblem(err)
		}
		return state(ctx), nil
	})
	off := operation("push-unsubscribe", http.MethodDelete, "/api/v1/push", "push", "Tell this device no more")
	off.DefaultStatus = http.StatusNoContent
	register(s, api, off, func(ctx context.Context, _ *struct{}) (*struct{}, error) {
		if err := s.cfg.Push.Unsubscribe(context.WithoutCancel(ctx), identityOf(ctx).ID); err != nil && !errors.Is(err, push.ErrNotFound) {
			return nil, err
		}
		return nil, nil
	})
	try := operation("push-test", http.MethodPost, "/api/v1/push/test", "push", "Send this device a notification to try it")
	try.DefaultStatus = http.StatusAccepted
	register(s, api, try, func(ctx context.Context, _ *struct{}) (*struct{}, error) {
		if err := s.cfg.Push.Test(ctx, identityOf(ctx).ID); err != nil {
			return nil, pushProblem(err)
		}
		return nil, nil
	})
	answer := operation("push-answer", http.MethodPost, "/api/v1/push/answer", "push", "Answer a question from its notification")
	answer.Description = "Needs no login: the capability lets its holder give one answer to one question, once, while the device is logged in and for at most a day. 409 where somebody else was first."
	answer.Security = []map[string][]string{}
	register(s, api, answer, func(ctx context.Context, in *pushAnswerInput) (*approvalOutput, error) {
		got, err := s.cfg.Push.Redeem(in.Body.Capability)
		if err != nil {
			return nil, newProblem(codeLoginDenied, "this notification cannot answer any more. Open the page and answer there.")
		}
		a, err := s.cfg.Sessions.Answer(context.WithoutCancel(ctx), got.Approval, session.Answer{
			Option: got.Option, ClientID: "push-" + got.Device + "-" + got.Option, By: s.deviceName(ctx, got.Device),
		})
		if err != nil {
			return nil, err
		}
		a.Detail = nil // who holds a notification gets no more than that said
		return &approvalOutput{Body: a}, nil
	})
	look := operation("presence", http.MethodPost, "/api/v1/presence", "push", "Say what a tab shows, so that nobody is told of what he sees")
	look.Description = "Sent when a tab becomes visible or shows another session, when it is hidden or closed (`visible` false, by sendBeacon or keepalive), and at most once a minute while somebody types or points there."
	look.DefaultStatus = http.StatusNoContent
	register(s, api, look, func(ctx context.Context, in *lookInput) (*struct{}, error) {
		s.cfg.Push.Look(identityOf(ctx).ID, in.Body.Tab, in.Body.Session, in.Body.Visible)
		return nil, nil
	})
}

func pushProblem(err error) error {
	switch {
	case errors.Is(err, push.ErrNotFound):
		return newProblem(session.CodeNotFound, "this device is not subscribed; turn its notifications on first.")
	case errors.Is(err, push.ErrFull), errors.Is(err, push.ErrEndpoint), errors.Is(err, push.ErrKeys), errors.Is(err, push.ErrLevel):
		return newProblem(session.CodeBadRequest, err.Error()+".")
	}
	return err
}

// deviceName is how a device is called; "a notification" where it has gone.
func (s *Server) deviceName(ctx context.Context, id string) string {
	if list, err := s.cfg.Access.List(ctx); err == nil {
		for _, c := range list {
			if c.ID == id {
				return c.Name
			}
		}
	}
	return "a notification"
}

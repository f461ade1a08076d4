package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/holdfast-dev/holdfast/internal/access"
	"github.com/holdfast-dev/holdfast/internal/session"
)

type linkInput struct {
	Body struct {
		Secret string `json:"secret" minLength:"1" maxLength:"200" doc:"From the link's fragment"`
	}
}

type passwordInput struct {
	Body struct {
		Password string `json:"password" minLength:"1" maxLength:"1024"`
	}
}

type loginOutput struct {
	SetCookie http.Cookie `header:"Set-Cookie"`
	Body      struct {
		Name string `json:"name" doc:"How this browser is called in the list of devices"`
	}
}

// Me is who is logged in.
type Me struct {
	ID       string `json:"id"`
	Kind     string `json:"kind" enum:"cookie,token,local"`
	Name     string `json:"name"`
	Version  string `json:"version" doc:"Of the host"`
	Host     string `json:"host" doc:"The machine's name"`
	Home     string `json:"home"`
	Password bool   `json:"password" doc:"A password is set"`
	Page     string `json:"page" doc:"Which page the host has; a page that says another in its meta element holdfast-page is of another version"`
	SafeMode string `json:"safe_mode,omitempty" doc:"Why no agent is started or resumed; POST /api/v1/host/resume ends that"`
}

type meOutput struct {
	Body Me
}

type logoutOutput struct {
	SetCookie http.Cookie `header:"Set-Cookie"`
}

func (s *Server) loginRoutes(api huma.API) {
	link := operation("login-link", http.MethodPost, "/api/v1/login/link", "access", "Log a browser in by a one-time link")
	link.Security = []map[string][]string{}
	register(s, api, link, func(ctx context.Context, in *linkInput) (*loginOutput, error) {
		return s.login(ctx, func(userAgent string) (string, error) {
			return s.cfg.Access.Redeem(context.WithoutCancel(ctx), in.Body.Secret, userAgent)
		}, "the link is unknown, older than ten minutes, or was used already. Make a new one with `holdfast link`.")
	})
	password := operation("login-password", http.MethodPost, "/api/v1/login/password", "access", "Log a browser in by the password")
	password.Security = []map[string][]string{}
	register(s, api, password, func(ctx context.Context, in *passwordInput) (*loginOutput, error) {
		return s.login(ctx, func(userAgent string) (string, error) {
			from := requestOf(ctx).RemoteAddr
			if wait, ok := s.cfg.Access.Allow(from); !ok {
				return "", newProblem(codeTooManyLogins, fmt.Sprintf("too many attempts; try again in %d seconds. On the host's machine, `holdfast link` makes a link that logs in now.", int(wait/time.Second)+1)).retryAfter(wait)
			}
			secret, err := s.cfg.Access.Login(ctx, in.Body.Password, userAgent)
			if err == nil {
				s.cfg.Access.Succeeded(from)
			}
			return secret, err
		}, "the password is wrong, or none is set. On the host's machine, `holdfast link` makes a link that logs in without it.")
	})
	logout := operation("logout", http.MethodPost, "/api/v1/logout", "access", "Log this browser out")
	logout.DefaultStatus = http.StatusNoContent
	register(s, api, logout, func(ctx context.Context, _ *struct{}) (*logoutOutput, error) {
		id := identityOf(ctx)
		if id.Kind != access.KindCookie {
			return nil, newProblem(session.CodeBadRequest, "only a browser logs out; remove a token with DELETE /api/v1/devices/{id} or `holdfast token revoke`.")
		}
		if err := s.cfg.Access.Remove(context.WithoutCancel(ctx), id.ID); err != nil && !errors.Is(err, access.ErrNotFound) {
			return nil, err
		}
		s.ended(id.ID)
		c := s.cookie(requestOf(ctx), "")
		c.MaxAge = -1
		return &logoutOutput{SetCookie: c}, nil
	})
	register(s, api, operation("me", http.MethodGet, "/api/v1/me", "access", "Who is logged in"), func(ctx context.Context, _ *struct{}) (*meOutput, error) {
		has, err := s.cfg.Access.HasPassword(ctx)
		if err != nil {
			return nil, err
		}
		id := identityOf(ctx)
		return &meOutput{Body: Me{ID: id.ID, Kind: id.Kind, Name: id.Name, Version: s.cfg.Version, Host: machineName(), Home: s.cfg.Home, Password: has, Page: s.page.version(), SafeMode: s.safe()}}, nil
	})
}

// login runs one attempt and makes the cookie.
func (s *Server) login(ctx context.Context, attempt func(userAgent string) (string, error), denied string) (*loginOutput, error) {
	r := requestOf(ctx)
	secret, err := attempt(r.UserAgent())
	if errors.Is(err, access.ErrDenied) {
		s.log.Warn("login refused", "from", r.RemoteAddr, "err", err)
		return nil, newProblem(codeLoginDenied, denied)
	}
	if err != nil {
		return nil, err
	}
	id, err := s.cfg.Access.Cookie(ctx, secret)
	if err != nil {
		return nil, err
	}
	s.log.Info("logged in", "from", r.RemoteAddr, "name", id.Name)
	out := &loginOutput{SetCookie: s.cookie(r, secret)}
	out.Body.Name = id.Name
	return out, nil
}

// cookie makes the login's cookie. That the browser speaks https to a proxy
// before us it also says itself, in the Origin that every POST carries: so the
// cookie is Secure also where nobody named the proxy.
func (s *Server) cookie(r *http.Request, value string) http.Cookie {
	return http.Cookie{
		Name:     s.cfg.CookieName,
		Value:    value,
		Path:     s.cfg.BasePath + "/",
		MaxAge:   int(cookieMaxAge / time.Second),
		HttpOnly: true,
		SameSite: http.SameSiteLaxMode,
		Secure:   isSecure(r.Context()) || strings.HasPrefix(r.Header.Get("Origin"), "https://"),
	}
}

// cookieMaxAge is longer than a login lives without use, because the login's
// end moves with its use and the cookie's does not.
const cookieMaxAge = 400 * 24 * time.Hour

// machineName is how a person knows the machine, without its domain.
func machineName() string {
	name, err := os.Hostname()
	if err != nil {
		return ""
	}
	short, _, _ := strings.Cut(name, ".")
	return short
}

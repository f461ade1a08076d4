package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"rsc.io/qr"

	"github.com/holdfast-dev/holdfast/internal/access"
	"github.com/holdfast-dev/holdfast/internal/session"
)

// Device is a browser that is logged in, or a token.
type Device struct {
	ID            string     `json:"id"`
	Kind          string     `json:"kind" enum:"cookie,token"`
	Name          string     `json:"name"`
	UserAgent     string     `json:"user_agent,omitempty"`
	CreatedAt     time.Time  `json:"created_at"`
	LastUsed      time.Time  `json:"last_used" doc:"To five minutes"`
	ExpiresAt     *time.Time `json:"expires_at,omitempty"`
	Current       bool       `json:"current" doc:"The one that asks"`
	Notifications bool       `json:"notifications" doc:"It is told what happens while its page is closed"`
}

type devicesOutput struct {
	Body struct {
		Devices []Device `json:"devices" nullable:"false"`
	}
}

type renameDeviceInput struct {
	ID   string `path:"id" maxLength:"100"`
	Body struct {
		Name string `json:"name" minLength:"1" maxLength:"200"`
	}
}

type removedOutput struct {
	Body struct {
		Removed int `json:"removed"`
	}
}

type newLinkInput struct {
	Body *struct {
		Name string `json:"name,omitempty" maxLength:"200" doc:"What the browser that opens it will be called"`
	}
}

// NewLink is a one-time link for another device.
type NewLink struct {
	URL       string    `json:"url" doc:"Its secret is in the fragment"`
	Elsewhere bool      `json:"elsewhere" doc:"The address is one that another machine may reach"`
	ExpiresAt time.Time `json:"expires_at"`
	QR        []string  `json:"qr" doc:"The link as a QR code, a row of 0 (light) and 1 (dark) each, without its margin" nullable:"false"`
}

type newLinkOutput struct{ Body NewLink }

func (s *Server) deviceRoutes(api huma.API) {
	register(s, api, operation("list-devices", http.MethodGet, "/api/v1/devices", "access", "Browsers and tokens that are logged in"),
		func(ctx context.Context, _ *struct{}) (*devicesOutput, error) {
			devices, err := s.devices(ctx)
			if err != nil {
				return nil, err
			}
			out := &devicesOutput{}
			out.Body.Devices = devices
			return out, nil
		})
	rename := operation("rename-device", http.MethodPatch, "/api/v1/devices/{id}", "access", "Give a browser or a token another name")
	rename.DefaultStatus = http.StatusNoContent
	register(s, api, rename, func(ctx context.Context, in *renameDeviceInput) (*struct{}, error) {
		name := strings.TrimSpace(in.Body.Name)
		if name == "" {
			return nil, newProblem(session.CodeBadRequest, "the name is empty.")
		}
		return nil, noDevice(s.cfg.Access.Rename(context.WithoutCancel(ctx), in.ID, name), in.ID)
	})
	remove := operation("remove-device", http.MethodDelete, "/api/v1/devices/{id}", "access", "Log a browser or a token out")
	remove.Description = "Its streams end at once."
	remove.DefaultStatus = http.StatusNoContent
	register(s, api, remove, func(ctx context.Context, in *idInput) (*struct{}, error) {
		return nil, s.removeDevice(ctx, in.ID)
	})
	others := operation("remove-other-browsers", http.MethodDelete, "/api/v1/devices", "access", "Log every browser out but the one that asks")
	others.Description = "Tokens stay: scripts use them, and each is removed by its id."
	register(s, api, others, func(ctx context.Context, _ *struct{}) (*removedOutput, error) {
		removed, err := s.cfg.Access.RemoveBrowsers(context.WithoutCancel(ctx), identityOf(ctx).ID)
		s.ended(removed...)
		if err != nil {
			return nil, err
		}
		out := &removedOutput{}
		out.Body.Removed = len(removed)
		return out, nil
	})
	link := operation("create-link", http.MethodPost, "/api/v1/links", "access", "Make a one-time link that logs another device in")
	link.Description = "It works once, for ten minutes. Its address is the public one of the configuration; else that by which the caller came, or one of this machine's on its network."
	link.DefaultStatus = http.StatusCreated
	register(s, api, link, func(ctx context.Context, in *newLinkInput) (*newLinkOutput, error) {
		name := ""
		if in.Body != nil {
			name = strings.TrimSpace(in.Body.Name)
		}
		secret, expires, err := s.cfg.Access.CreateLink(context.WithoutCancel(ctx), name)
		if err != nil {
			return nil, err
		}
		base, elsewhere := s.bestAddress(requestOf(ctx))
		out := &newLinkOutput{Body: NewLink{URL: LinkURL(base, secret), Elsewhere: elsewhere, ExpiresAt: expires}}
		out.Body.QR, err = qrRows(out.Body.URL)
		return out, err
	})
}

func (s *Server) devices(ctx context.Context) ([]Device, error) {
	list, err := s.cfg.Access.List(ctx)
	if err != nil {
		return nil, err
	}
	devices := make([]Device, len(list))
	for i, c := range list {
		devices[i] = Device{ID: c.ID, Kind: c.Kind, Name: c.Name, UserAgent: c.UserAgent, CreatedAt: c.CreatedAt, LastUsed: c.LastUsed, Current: c.ID == identityOf(ctx).ID}
		if end := access.Expires(c); !end.IsZero() {
			devices[i].ExpiresAt = &end
		}
		if s.cfg.Push != nil {
			devices[i].Notifications = s.cfg.Push.Settings(c.ID).Subscribed
		}
	}
	return devices, nil
}

func (s *Server) removeDevice(ctx context.Context, id string) error {
	err := s.cfg.Access.Remove(context.WithoutCancel(ctx), id)
	if err == nil {
		s.ended(id)
	}
	return noDevice(err, id)
}

// ended has what logins leave behind end with them: streams, and what was to be
// pushed.
func (s *Server) ended(ids ...string) {
	if len(ids) == 0 {
		return
	}
	if s.cfg.Push != nil {
		for _, id := range ids {
			s.cfg.Push.Forget(id)
		}
	}
	s.Nudge()
}

func noDevice(err error, id string) error {
	if errors.Is(err, access.ErrNotFound) {
		return newProblem(session.CodeNotFound, fmt.Sprintf("there is no device or token %.100q; it may have been removed already", id))
	}
	return err
}

// bestAddress is where another device is most likely to find the page, and
// whether it is one that another machine may reach at all.
func (s *Server) bestAddress(r *http.Request) (base string, elsewhere bool) {
	if s.cfg.Public != "" {
		return s.cfg.Public, true
	}
	scheme := "http://"
	if isSecure(r.Context()) || strings.HasPrefix(r.Header.Get("Origin"), "https://") {
		scheme = "https://"
	}
	if !onlyHere(hostName(r.Host)) {
		return scheme + r.Host + s.cfg.BasePath, true
	}
	// The person sits before the machine itself.
	if name, port, err := net.SplitHostPort(s.cfg.Addr); err == nil && !onlyHere(name) {
		if ip, err := netip.ParseAddr(name); err == nil && ip.IsUnspecified() {
			name = networkAddress()
		}
		if name != "" {
			return scheme + net.JoinHostPort(name, port) + s.cfg.BasePath, true
		}
	}
	return scheme + r.Host + s.cfg.BasePath, false
}

func onlyHere(host string) bool {
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if host == "" || strings.EqualFold(host, "localhost") || strings.HasSuffix(strings.ToLower(host), ".localhost") {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback()
}

// networkAddress is an address of this machine on its network; "" where it has
// none. One of a private network comes first: that is where a phone is.
func networkAddress() string {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return ""
	}
	found := ""
	for _, a := range addrs {
		p, err := netip.ParsePrefix(a.String())
		if err != nil || !p.Addr().Is4() || !p.Addr().IsGlobalUnicast() {
			continue
		}
		if p.Addr().IsPrivate() {
			return p.Addr().String()
		}
		if found == "" {
			found = p.Addr().String()
		}
	}
	return found
}

// qrRows draws a text as a QR code.
func qrRows(text string) ([]string, error) {
	code, err := qr.Encode(text, qr.M)
	if err != nil {
		return nil, fmt.Errorf("draw QR code: %w", err)
	}
	rows := make([]string, code.Size)
	for y := range rows {
		row := make([]byte, code.Size)
		for x := range row {
			row[x] = '0'
			if code.Black(x, y) {
				row[x] = '1'
			}
		}
		rows[y] = string(row)
	}
	return rows, nil
}

package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/holdfast-dev/holdfast/internal/access"
	"github.com/holdfast-dev/holdfast/internal/doctor"
	"github.com/holdfast-dev/holdfast/internal/handoff"
	"github.com/holdfast-dev/holdfast/internal/probe"
	"github.com/holdfast-dev/holdfast/internal/session"
)

// Host is what only the whole host can do or knows. Package app implements it.
type Host interface {
	// Status says how the host is. Requests, LiveAgents and Version are filled
	// in by the caller.
	Status(ctx context.Context) Status
	// URL is where a browser finds the page, without a slash at its end.
	URL() string
	// PublicURL is where a browser elsewhere finds it; "" where nobody said.
	PublicURL() string
	// Stop asks the host to stop. With all it ends the agents too, and returns
	// when their processes are gone; otherwise it returns at once. With stay the
	// host takes no more work and waits for its supervisor to stop it.
	Stop(ctx context.Context, all, stay bool) error
	// Restart asks the host to replace its own program in place. It returns
	// when nothing stands against that, before it is done; the error is a
	// *RefusedError where something does.
	Restart(ctx context.Context, r Restart) error
	// Verify folds the log anew and compares, and tells how far it is. What it
	// finds wrong is in the report; the error says that it could not look.
	Verify(ctx context.Context, progress func(done, total int64)) (VerifyReport, error)
	// Examine looks at what only the host itself sees: its limits, its database,
	// the agents as it starts them. It tells what it looks at and each check as
	// it is done, one at a time, and returns when ctx ends.
	Examine(ctx context.Context, in doctor.Request, tell func(doctor.Line)) error
}

// Restart is how a host is to replace its program.
type Restart struct {
	// Staged is the path of a new binary that is to be tried; it takes the
	// place of the old one when it has proven itself. Empty: the same path.
	Staged string `json:"staged,omitempty"`
	// Idle waits until no run is under way.
	Idle bool `json:"idle,omitempty"`
}

// RefusedError says why the host does not do what it was asked to, for a person.
type RefusedError struct{ Text string }

func (r *RefusedError) Error() string { return r.Text }

// Status is what `holdfast status --json` prints.
type Status struct {
	PID              int       `json:"pid"`
	Address          string    `json:"address"`
	URL              string    `json:"url" doc:"Of the page, from this machine"`
	Version          string    `json:"version"`
	StartedAt        time.Time `json:"started_at"`
	UptimeS          float64   `json:"uptime_s"`
	Sessions         int       `json:"sessions"`
	Requests         int64     `json:"requests"`
	LiveAgents       int       `json:"live_agents"`
	Connections      int       `json:"connections"`
	Descriptors      int       `json:"descriptors"`
	DescriptorsPeak  int       `json:"descriptors_peak"`
	DescriptorsLimit int       `json:"descriptors_limit"`
	Health           string    `json:"health"`
	Unit             string    `json:"unit" doc:"The supervisor's service that runs the host; empty where none does"`
	Awake            string    `json:"awake,omitempty" doc:"Whether the machine is kept from sleeping, or why not"`
	Restarts         int       `json:"restarts" doc:"How often the program was replaced in place"`
	Exe              string    `json:"exe" doc:"The binary that the next restart runs"`
	Trial            bool      `json:"trial,omitempty" doc:"This is a new version that has not proven itself yet"`
	Upgrade          string    `json:"upgrade,omitempty" doc:"What became of the last upgrade"`
	UpgradeFailed    bool      `json:"upgrade_failed,omitempty"`
	Problems         []string  `json:"problems,omitempty"`

	LastLife *probe.Life `json:"last_life,omitempty" doc:"How the host's life before this one ended"`
	SafeMode string      `json:"safe_mode,omitempty" doc:"Why no agent is started or resumed"`
}

// VerifyReport is what Verify found.
type VerifyReport struct {
	Sessions int64    `json:"sessions"`
	Events   int64    `json:"events"`
	Wrong    []string `json:"wrong"` // empty where the projection is what the log folds to
}

// VerifyLine is one line of POST /control/verify: how far it is, and at last
// the report or why there is none.
type VerifyLine struct {
	Done   int64         `json:"done"`
	Total  int64         `json:"total"`
	Report *VerifyReport `json:"report,omitempty"`
	Error  string        `json:"error,omitempty"`
}

type controlLinkInput struct {
	Body *struct {
		Name string `json:"name,omitempty" maxLength:"200"`
	}
}

// ControlLink is a one-time link. The secret is in the fragment, which browsers
// and previews send nowhere; the page redeems it by a POST.
type ControlLink struct {
	URL       string    `json:"url" doc:"By the public address, where the configuration names one"`
	Local     string    `json:"local,omitempty" doc:"For a browser of the host's own machine, where that is another address"`
	Secret    string    `json:"secret"`
	ExpiresAt time.Time `json:"expires_at"`
}

type controlLinkOutput struct{ Body ControlLink }

type controlTokenInput struct {
	Body struct {
		Name string `json:"name" minLength:"1" maxLength:"200"`
	}
}

type controlTokenOutput struct {
	Body struct {
		Token string `json:"token"`
	}
}

type controlTokensOutput struct {
	Body struct {
		Tokens []Device `json:"tokens" doc:"Browsers too; kind tells them apart"`
	}
}

type controlPasswordInput struct {
	Body struct {
		Password string `json:"password" maxLength:"1024" doc:"Empty removes it"`
	}
}

type controlPasswordImportInput struct {
	Body struct {
		Hash  []byte   `json:"hash" doc:"Of Hermes WebUI: PBKDF2-HMAC-SHA256, 600,000 rounds"`
		Salts [][]byte `json:"salts" minItems:"1" maxItems:"2" doc:"That it may be of"`
	}
}

type controlStatusOutput struct{ Body Status }

type controlStopInput struct {
	Body *struct {
		All  bool `json:"all,omitempty"`
		Stay bool `json:"stay,omitempty"`
	}
}

type controlRestartInput struct{ Body *Restart }

// LinkURL is the address that logs a browser in with a link's secret.
func LinkURL(base, secret string) string { return base + "/#link=" + url.QueryEscape(secret) }

// NewControl makes the handler of the control socket: the whole API without a
// login, for whoever may open the socket is the host's own user, and what only
// the command line does.
func NewControl(s *Server, h Host) http.Handler {
	mux := http.NewServeMux()
	api := humago.New(mux, huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0", Info: &huma.Info{Title: "Holdfast control", Version: s.cfg.Version},
			Components: &huma.Components{Schemas: huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)},
		},
		Formats:       map[string]huma.Format{"application/json": jsonFormat(), "json": jsonFormat()},
		DefaultFormat: "application/json",
	})
	register(s, api, operation("control-link", http.MethodPost, "/control/link", "control", "Make a one-time link"),
		func(ctx context.Context, in *controlLinkInput) (*controlLinkOutput, error) {
			name := ""
			if in.Body != nil {
				name = in.Body.Name
			}
			secret, expires, err := s.cfg.Access.CreateLink(context.WithoutCancel(ctx), name)
			if err != nil {
				return nil, err
			}
			out := &controlLinkOutput{Body: ControlLink{URL: LinkURL(h.URL(), secret), Secret: secret, ExpiresAt: expires}}
			if public := h.PublicURL(); public != "" && public != h.URL() {
				out.Body.URL, out.Body.Local = LinkURL(public, secret), out.Body.URL
			}
			return out, nil
		})
	register(s, api, operation("control-token", http.MethodPost, "/control/token", "control", "Make a token"),
		func(ctx context.Context, in *controlTokenInput) (*controlTokenOutput, error) {
			token, err := s.cfg.Access.CreateToken(context.WithoutCancel(ctx), in.Body.Name)
			if err != nil {
				return nil, err
			}
			out := &controlTokenOutput{}
			out.Body.Token = token
			return out, nil
		})
	register(s, api, operation("control-tokens", http.MethodGet, "/control/tokens", "control", "List tokens and browsers"),
		func(ctx context.Context, _ *struct{}) (*controlTokensOutput, error) {
			devices, err := s.devices(ctx)
			if err != nil {
				return nil, err
			}
			out := &controlTokensOutput{}
			out.Body.Tokens = devices
			return out, nil
		})
	remove := operation("control-token-remove", http.MethodDelete, "/control/tokens/{id}", "control", "Remove a token or log a browser out")
	remove.DefaultStatus = http.StatusNoContent
	register(s, api, remove, func(ctx context.Context, in *idInput) (*struct{}, error) {
		return nil, s.removeDevice(ctx, in.ID)
	})
	password := operation("control-password", http.MethodPost, "/control/password", "control", "Set or remove the password")
	password.DefaultStatus = http.StatusNoContent
	register(s, api, password, func(ctx context.Context, in *controlPasswordInput) (*struct{}, error) {
		err := s.cfg.Access.SetPassword(ctx, in.Body.Password)
		if errors.Is(err, access.ErrWeakPassword) {
			return nil, newProblem(codeWeakPassword, err.Error())
		}
		return nil, err
	})
	imports := operation("control-password-import", http.MethodPost, "/control/password/import", "control", "Take over the password of Hermes WebUI by its hash")
	imports.DefaultStatus = http.StatusNoContent
	register(s, api, imports, func(ctx context.Context, in *controlPasswordImportInput) (*struct{}, error) {
		err := s.cfg.Access.ImportPassword(ctx, in.Body.Hash, in.Body.Salts)
		if errors.Is(err, access.ErrPasswordSet) {
			return nil, newProblem(codeRefused, "a password is set already, and stays. To take the other one: holdfast password remove, then again.")
		}
		if errors.Is(err, access.ErrOldPassword) {
			return nil, newProblem(session.CodeBadRequest, err.Error()+".")
		}
		return nil, err
	})
	register(s, api, operation("control-status", http.MethodGet, "/control/status", "control", "How the host is"),
		func(ctx context.Context, _ *struct{}) (*controlStatusOutput, error) {
			return &controlStatusOutput{Body: s.status(ctx, h)}, nil
		})
	stop := operation("control-stop", http.MethodPost, "/control/stop", "control", "Stop the host")
	stop.DefaultStatus = http.StatusAccepted
	register(s, api, stop, func(ctx context.Context, in *controlStopInput) (*struct{}, error) {
		return nil, h.Stop(context.WithoutCancel(ctx), in.Body != nil && in.Body.All, in.Body != nil && in.Body.Stay)
	})
	restart := operation("control-restart", http.MethodPost, "/control/restart", "control", "Replace the host's program in place")
	restart.DefaultStatus = http.StatusAccepted
	register(s, api, restart, func(ctx context.Context, in *controlRestartInput) (*struct{}, error) {
		var r Restart
		if in.Body != nil {
			r = *in.Body
		}
		err := h.Restart(ctx, r)
		var refusal *RefusedError
		if errors.As(err, &refusal) {
			return nil, newProblem(codeRefused, refusal.Text)
		}
		return nil, err
	})
	mux.HandleFunc("POST /control/verify", func(w http.ResponseWriter, r *http.Request) { s.verify(w, r, h) })
	mux.HandleFunc("POST /control/doctor", func(w http.ResponseWriter, r *http.Request) { s.examine(w, r, h) })
	mux.HandleFunc("POST /control/copy", s.copyDatabase)

	// Limits of its own: a host that is full must still be stopped by its owner.
	return s.outer(s.admit(newGates(s.cfg.Limits), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := context.WithValue(r.Context(), keyIdentity, access.Identity{Kind: access.KindLocal, Name: "the command line"})
		r = r.WithContext(ctx)
		if !strings.HasPrefix(r.URL.Path, "/control/") {
			s.api.ServeHTTP(w, r)
			return
		}
		// Ending all agents and verifying a large log may take long, and the
		// caller sits before a terminal: no deadline but its own patience.
		rc := http.NewResponseController(w)
		_ = rc.SetReadDeadline(time.Time{})
		_ = rc.SetWriteDeadline(time.Time{})
		route(mux, w, r)
	})))
}

func (s *Server) status(ctx context.Context, h Host) Status {
	st := h.Status(ctx)
	st.Version = s.cfg.Version
	st.StartedAt = st.StartedAt.UTC().Truncate(time.Millisecond)
	st.Requests = s.Requests()
	st.Connections = s.Connections()
	st.LiveAgents = s.cfg.Sessions.Live()
	health := s.health()
	st.Health, st.Problems = health.Status, health.Problems
	return st
}

// verify answers with a line of JSON whenever there is progress to tell.
func (s *Server) verify(w http.ResponseWriter, r *http.Request, h Host) {
	w.Header().Set("Content-Type", "application/x-ndjson")
	rc := http.NewResponseController(w)
	enc := json.NewEncoder(w)
	var last time.Time
	report, err := h.Verify(r.Context(), func(done, total int64) {
		if now := time.Now(); now.Sub(last) >= 100*time.Millisecond {
			last = now
			// A client that has gone is seen by the context.
			_ = enc.Encode(VerifyLine{Done: done, Total: total})
			_ = rc.Flush()
		}
	})
	line := VerifyLine{Done: report.Events, Total: report.Events, Report: &report}
	if err != nil {
		s.log.Error("verify log", "instance", instanceOf(r.Context()), "err", err)
		line = VerifyLine{Error: fmt.Sprintf("verify log: %v", err)}
	}
	_ = enc.Encode(line)
}

// beat is the longest silence of an examination: who asks takes a host that is
// silent for much longer for a deaf one.
const beat = time.Second

// examine answers with a line of JSON for each check.
func (s *Server) examine(w http.ResponseWriter, r *http.Request, h Host) {
	var in doctor.Request
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&in); err != nil && !errors.Is(err, io.EOF) {
		http.Error(w, "the request is no JSON: "+err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	rc := http.NewResponseController(w)
	lines := make(chan doctor.Line)
	ended := make(chan error, 1)
	go func() {
		defer close(lines)
		ended <- h.Examine(r.Context(), in, func(l doctor.Line) { lines <- l })
	}()
	enc := json.NewEncoder(w)
	put := func(l doctor.Line) {
		// A client that has gone is seen by the context.
		_ = enc.Encode(l)
		_ = rc.Flush()
	}
	var last doctor.Line
	put(last)
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for {
		select {
		case l, more := <-lines:
			if !more {
				if err := <-ended; err != nil {
					s.log.Error("examine host", "instance", instanceOf(r.Context()), "err", err)
					return // without an end, which the client sees
				}
				put(doctor.Line{Done: true})
				return
			}
			if put(l); l.Doing != "" {
				last = l
			}
		case <-tick.C:
			put(doctor.Line{Doing: last.Doing})
		}
	}
}

// ServeControl answers on the control socket until the context ends, like Serve.
func (s *Server) ServeControl(ctx context.Context, ln *handoff.Listener, control http.Handler) error {
	return s.serve(ctx, ln, control, nil)
}

package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"sort"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/holdfast-dev/holdfast/internal/access"
)

// useProblems makes huma's own errors ours. Huma keeps the function in a
// variable of its package, so this happens once, before the first route.
var useProblems = sync.OnceFunc(func() {
	huma.NewError = humaProblem
	huma.NewErrorWithContext = func(_ huma.Context, status int, msg string, errs ...error) huma.StatusError {
		return humaProblem(status, msg, errs...)
	}
})

// routes makes every route, without access checks.
func (s *Server) routes() http.Handler {
	useProblems()
	mux := http.NewServeMux()
	cfg := huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title:   "Holdfast",
				Version: s.cfg.Version,
				Description: "An always-on host for AI agents. A client is a fold of the log: it reads a snapshot with its cursor, then the stream from there.\n\n" +
					"Errors are `application/problem+json` (RFC 9457) with a stable `code`:\n\n" + problemList(),
			},
			Components: &huma.Components{
				Schemas: huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer),
				SecuritySchemes: map[string]*huma.SecurityScheme{
					"bearer": {Type: "http", Scheme: "bearer", Description: "A token of `holdfast token create`."},
					"cookie": {Type: "apiKey", In: "cookie", Name: s.cfg.CookieName, Description: "A browser's login."},
				},
			},
			Security: []map[string][]string{{"bearer": {}}, {"cookie": {}}},
		},
		Formats:       map[string]huma.Format{"application/json": jsonFormat(), "json": jsonFormat()},
		DefaultFormat: "application/json",
	}
	api := humago.New(mux, cfg)
	s.healthRoutes(api)
	s.hostRoutes(api)
	s.sessionRoutes(api)
	s.searchRoute(api)
	s.exportRoutes(api)
	s.streamRoute(api)
	s.approvalRoutes(api)
	s.folderRoutes(api)
	s.attachmentRoutes(api)
	s.loginRoutes(api)
	s.deviceRoutes(api)
	s.passkeyRoutes(api)
	s.pushRoutes(api)
	s.ledgerRoute(api)

	document := sync.OnceValues(func() ([]byte, error) { return json.Marshal(api.OpenAPI()) })
	mux.HandleFunc("GET /api/v1/openapi.json", func(w http.ResponseWriter, r *http.Request) {
		text, err := document()
		if err != nil {
			s.problemOf(r.Context(), fmt.Errorf("make OpenAPI document: %w", err)).write(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/vnd.oai.openapi+json;version=3.1")
		w.Write(text)
	})
	mux.Handle("GET /metrics", s.metrics.handler)
	mux.HandleFunc("GET /problems/{code}", func(w http.ResponseWriter, r *http.Request) { explain(w, r, r.PathValue("code")) })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isAPI(r.URL.Path) && !strings.HasPrefix(r.URL.Path, "/problems/") {
			s.page.ServeHTTP(w, r)
			return
		}
		route(mux, w, r)
	})
}

// route serves a request by the mux, with problems for what it does not know.
func route(mux *http.ServeMux, w http.ResponseWriter, r *http.Request) {
	h, pattern := mux.Handler(r)
	if pattern == "" {
		// The mux answers 404 and 405 in its own words; only its verdict is used.
		v := &verdict{header: http.Header{}}
		h.ServeHTTP(v, r)
		if allow := v.header.Get("Allow"); v.status == http.StatusMethodNotAllowed {
			newProblem(codeMethod, fmt.Sprintf("%s is not allowed here; allowed: %s", clipText(r.Method), allow)).with("Allow", allow).write(w, r)
			return
		}
		newProblem(codeNoRoute, fmt.Sprintf("there is nothing at %.200q. GET /api/v1/openapi.json lists the addresses that there are.", r.URL.Path)).write(w, r)
		return
	}
	if r.Body != nil && r.Body != http.NoBody && !takesBody(r) {
		if r.URL.Path == importPath {
			newProblem(codeMediaType, fmt.Sprintf("the body's type %.100q is not taken here. Send the file itself, with the header Content-Type: %s or %s.", r.Header.Get("Content-Type"), importTypes[0], importTypes[1])).
				write(w, r)
			return
		}
		if r.URL.Path == exportPath {
			newProblem(codeMediaType, fmt.Sprintf("the body's type %.100q is not taken here. Send a form, with the header Content-Type: %s.", r.Header.Get("Content-Type"), formType)).write(w, r)
			return
		}
		newProblem(codeMediaType, fmt.Sprintf("the body's type %.100q is not taken here. Send JSON with the header Content-Type: application/json.", r.Header.Get("Content-Type"))).
			with("Accept", "application/json").write(w, r)
		return
	}
	mux.ServeHTTP(w, r)
}

// verdict is an answer of which only status and headers are looked at.
type verdict struct {
	header http.Header
	status int
}

func (v *verdict) Header() http.Header         { return v.header }
func (v *verdict) Write(b []byte) (int, error) { return len(b), nil }
func (v *verdict) WriteHeader(status int)      { v.status = status }

func clipText(s string) string { return fmt.Sprintf("%.40s", s) }

// takesBody reports whether the body has a type that the route reads. A body
// without a type is taken for JSON.
func takesBody(r *http.Request) bool {
	ct := r.Header.Get("Content-Type")
	if ct == "" {
		return true
	}
	base, params, err := mime.ParseMediaType(ct)
	if err != nil {
		return false
	}
	switch {
	case classOf(r) == classUpload:
		return base == "multipart/form-data"
	case r.URL.Path == importPath:
		return slices.Contains(importTypes, base)
	case r.URL.Path == exportPath:
		return base == formType
	}
	if charset := params["charset"]; charset != "" && !strings.EqualFold(charset, "utf-8") {
		return false
	}
	return base == "application/json"
}

// jsonFormat reads strictly and says where a body is wrong.
func jsonFormat() huma.Format {
	return huma.Format{
		Marshal: func(w io.Writer, v any) error {
			enc := json.NewEncoder(w)
			enc.SetEscapeHTML(false)
			return enc.Encode(v)
		},
		Unmarshal: unmarshal,
	}
}

func unmarshal(data []byte, v any) error {
	if !utf8.Valid(data) {
		at := 0
		for at < len(data) {
			r, n := utf8.DecodeRune(data[at:])
			if r == utf8.RuneError && n == 1 {
				break
			}
			at += n
		}
		return fmt.Errorf("%s: the text is not UTF-8", position(data, at+1))
	}
	err := json.Unmarshal(data, v)
	var syntax *json.SyntaxError
	var typ *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &syntax):
		return fmt.Errorf("%s: %w", position(data, int(syntax.Offset)), err)
	case errors.As(err, &typ):
		return fmt.Errorf("%s: %s must be %s, not %s", position(data, int(typ.Offset)), typ.Field, typ.Type, typ.Value)
	default:
		return err
	}
}

// position names a place in a body by line and column, both from 1.
func position(data []byte, offset int) string {
	offset = min(max(offset, 0), len(data))
	before := data[:offset]
	line := 1 + bytes.Count(before, []byte("\n"))
	column := utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:])
	return fmt.Sprintf("line %d, column %d", line, max(column, 1))
}

// operation is what all routes share. The errors that every route may answer
// are described once, by the default response.
func operation(id, method, path, tag, summary string) huma.Operation {
	return huma.Operation{OperationID: id, Method: method, Path: path, Tags: []string{tag}, Summary: summary, MaxBodyBytes: -1, BodyReadTimeout: bodyTimeout}
}

// register adds a route whose handler's errors become problems.
func register[I, O any](s *Server, api huma.API, op huma.Operation, handler func(context.Context, *I) (*O, error)) {
	if op.MaxBodyBytes == 0 {
		op.MaxBodyBytes = -1
	}
	huma.Register(api, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := handler(ctx, in)
		if err != nil {
			return nil, s.problemOf(ctx, err)
		}
		return out, nil
	})
}

func problemList() string {
	codes := make([]string, 0, len(problems))
	for code := range problems {
		codes = append(codes, code)
	}
	sort.Slice(codes, func(i, j int) bool {
		a, b := problems[codes[i]].Status, problems[codes[j]].Status
		return a < b || (a == b && codes[i] < codes[j])
	})
	var b strings.Builder
	for _, code := range codes {
		p := problems[code]
		fmt.Fprintf(&b, "* `%s` (%d): %s. %s\n", code, p.Status, p.Title, p.Doc)
	}
	return b.String()
}

// authenticate finds out who sends a request. Only the page, which is an empty
// shell, the document, probes and the login itself are open to everybody.
func (s *Server) authenticate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if open(r) {
			next.ServeHTTP(w, r)
			return
		}
		id, err := s.identify(r)
		if errors.Is(err, access.ErrDenied) {
			detail := "a browser opens a one-time link (`holdfast link` prints one); a script sends Authorization: Bearer with a token from `holdfast token create --name NAME`."
			if r.Header.Get("Authorization") != "" {
				detail = "the token in Authorization is unknown or was removed. Make one with `holdfast token create --name NAME`."
			}
			newProblem(codeLoginRequired, detail).with("WWW-Authenticate", `Bearer realm="holdfast"`).write(w, r)
			return
		}
		if err != nil {
			s.problemOf(r.Context(), err).write(w, r)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), keyIdentity, id)))
	})
}

func open(r *http.Request) bool {
	switch path := r.URL.Path; {
	case !isAPI(path), path == "/health", path == "/api/v1/openapi.json",
		path == "/api/v1/login/link", path == "/api/v1/login/password",
		path == "/api/v1/login/passkey", path == "/api/v1/login/passkey/begin", path == "/api/v1/push/answer":
		return true
	default:
		return false
	}
}

// identify checks the token of a request, or else its cookie.
func (s *Server) identify(r *http.Request) (access.Identity, error) {
	if auth := r.Header.Get("Authorization"); auth != "" {
		scheme, token, _ := strings.Cut(auth, " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return access.Identity{}, access.ErrDenied
		}
		return s.cfg.Access.Token(r.Context(), strings.TrimSpace(token))
	}
	err := access.ErrDenied
	// A browser may hold another host's cookie of the same name for a wider
	// path; any that is good is good.
	for _, c := range r.CookiesNamed(s.cfg.CookieName) {
		var id access.Identity
		if id, err = s.cfg.Access.Cookie(r.Context(), c.Value); err == nil {
			return id, nil
		}
	}
	return access.Identity{}, err
}

package httpapi

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast/internal/access"
	"github.com/holdfast-dev/holdfast/internal/failpoint"
)

// class is a kind of request with a limit of its own, so that one kind cannot
// starve another; probes above all.
type class string

const (
	classAPI    class = "api"
	classStream class = "stream"
	classUpload class = "upload"
	classFile   class = "export or import"
	classProbe  class = "probe"
	classDeep   class = "deep probe" // may wait for a disk, which must not hold up the plain ones
	classSelf   class = "own probe"  // the host's own, which nobody else may hold up
	classLogin  class = "login"      // open to everybody, who must not hold up those who are logged in
	classPage   class = "page"

	allButProbes class = "request" // of all classes together but the probes'
)

func classOf(r *http.Request) class {
	switch path := r.URL.Path; {
	case path == "/health" && r.URL.RawQuery != "":
		return classDeep
	case path == "/health":
		return classProbe
	case strings.HasPrefix(path, "/api/v1/login/") || path == "/api/v1/push/answer":
		return classLogin
	case path == "/api/v1/stream" || path == "/control/verify":
		return classStream
	case path == "/api/v1/attachments":
		return classUpload
	case path == exportPath || path == importPath || strings.HasPrefix(path, "/api/v1/sessions/") && strings.HasSuffix(path, "/export"):
		return classFile
	case isAPI(path):
		return classAPI
	default:
		return classPage
	}
}

// isAPI tells the routes of programs from those of the page.
func isAPI(path string) bool {
	return path == "/health" || path == "/metrics" || path == "/api" || strings.HasPrefix(path, "/api/") || strings.HasPrefix(path, "/control/")
}

// ownProbes is far more than the host sends before it judges itself.
const ownProbes = 64

// probeHeader holds the key of the host's own probe.
const probeHeader = "Holdfast-Probe"

// own reports whether a request is the host's own probe.
func (s *Server) own(r *http.Request) bool {
	key := r.Header.Get(probeHeader)
	return key != "" && s.cfg.ProbeKey != "" && subtle.ConstantTimeCompare([]byte(key), []byte(s.cfg.ProbeKey)) == 1
}

// SignProbe marks a request as the host's own probe.
func SignProbe(r *http.Request, key string) { r.Header.Set(probeHeader, key) }

// gates holds the limit of each class.
type gates map[class]*gate

func newGates(l Limits) gates {
	return gates{
		classAPI:    newGate(l.API),
		classStream: newGate(l.Streams),
		classUpload: newGate(l.Uploads),
		classFile:   newGate(l.Uploads),
		classProbe:  newGate(l.Probes),
		classDeep:   newGate(l.Probes),
		classSelf:   newGate(ownProbes),
		classLogin:  newGate(l.Logins),
		classPage:   newGate(l.API),

		allButProbes: newGate(l.working()),
	}
}

// gate lets so many requests through at once.
type gate struct{ slots chan struct{} }

func newGate(n int) *gate { return &gate{slots: make(chan struct{}, n)} }

func (g *gate) enter() bool {
	select {
	case g.slots <- struct{}{}:
		return true
	default:
		return false
	}
}

func (g *gate) leave() { <-g.slots }

type contextKey int

const (
	keyInstance contextKey = iota
	keyIdentity
	keyRequest
	keySecure
)

// instanceOf names the request in the log.
func instanceOf(ctx context.Context) string {
	id, _ := ctx.Value(keyInstance).(string)
	return id
}

// identityOf says who sent the request.
func identityOf(ctx context.Context) access.Identity {
	id, _ := ctx.Value(keyIdentity).(access.Identity)
	return id
}

// requestOf returns the request of a handler that gets its context only.
func requestOf(ctx context.Context) *http.Request {
	r, _ := ctx.Value(keyRequest).(*http.Request)
	return r
}

// answer knows whether an answer has begun: after that a panic can only cut it.
type answer struct {
	http.ResponseWriter
	begun  bool
	status int    // 0 where nothing was said, which is 200
	rest   func() // what is left to do when the handlers have returned, whose stack it does not need; nil: nothing

	// last tells that the connection is to end with this answer.
	last func() bool

	body *intake // nil: none, or HTTP/2, which can refuse one by itself
}

// intake is a request's body.
type intake struct {
	io.ReadCloser
	asks  bool // the client waits to be told that it may send it
	begun bool
	ended bool  // with its last byte, or an error
	spare int64 // so much of it is taken and dropped where the request is refused
}

func (i *intake) Read(p []byte) (int, error) {
	i.begun = true
	n, err := i.ReadCloser.Read(p)
	i.ended = err != nil
	return n, err
}

// spared is a body of which nobody needs a byte: too long, or not allowed.
const spared = 1 << 20

// begin is called before the first byte of the answer.
func (a *answer) begin() {
	if a.last() {
		a.Header().Set("Connection", "close")
	}
	a.begun = true
	if b := a.body; b != nil && a.status >= http.StatusBadRequest && !b.ended && (b.begun || !b.asks) {
		// To close a connection over unread bytes is to reset it, and a client
		// that still sends sees that and no answer. net/http reads them only
		// where the connection stays; a proxy's often does not.
		_ = http.NewResponseController(a.ResponseWriter).SetReadDeadline(time.Now().Add(bodyTimeout))
		_, _ = io.CopyN(io.Discard, b, b.spare)
	}
}

func (a *answer) WriteHeader(status int) {
	if !a.begun {
		a.status = status
		a.begin()
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(b []byte) (int, error) {
	if !a.begun {
		a.begin()
	}
	return a.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// reached finds out who asks and by which name, and takes off the base path. A
// proxy may have taken it off already, and what asks on this machine (a
// supervisor's probe) does not know of it: both ways are served.
func (s *Server) reached(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reach := s.cfg.Proxies.Reach(r)
		r = r.WithContext(context.WithValue(r.Context(), keySecure, reach.Secure))
		r.RemoteAddr, r.Host = reach.Client, reach.Host
		if base := s.cfg.BasePath; base != "" {
			switch rest, ok := strings.CutPrefix(r.URL.Path, base); {
			case ok && rest == "":
				// Relative addresses, a manifest's scope: all want the slash.
				http.Redirect(w, r, base+"/", http.StatusPermanentRedirect)
				return
			case ok && rest[0] == '/':
				u := *r.URL
				u.Path, u.RawPath = rest, strings.TrimPrefix(u.RawPath, base)
				r.URL = &u
			}
		}
		next.ServeHTTP(w, r)
	})
}

// isSecure tells whether the browser speaks https, to us or to a proxy that is
// trusted.
func isSecure(ctx context.Context) bool {
	secure, _ := ctx.Value(keySecure).(bool)
	return secure
}

// outer counts requests, names them, and turns a panic into a 500.
func (s *Server) outer(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		failpoint.Leak("http.leak")
		failpoint.Leak("http.cache")
		var b [8]byte
		rand.Read(b[:])
		instance := "r" + hex.EncodeToString(b[:])
		ctx := context.WithValue(context.WithValue(r.Context(), keyInstance, instance), keyRequest, r)
		r = r.WithContext(ctx)
		a := &answer{ResponseWriter: w, last: func() bool { return r.TLS != nil && s.life.Err() != nil }}
		if r.ProtoMajor == 1 && r.Body != nil && r.Body != http.NoBody {
			a.body = &intake{ReadCloser: r.Body, asks: r.Header.Get("Expect") != "", spare: spared}
			r.Body = a.body
		}
		began := time.Now()
		// Always, so that no answer meets the deadline of the one before it.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(s.cfg.WriteTimeout + bodyTimeout))
		defer func() {
			v := recover()
			if v == nil {
				s.metrics.ended(classOf(r), a.status, time.Since(began))
				return
			}
			if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(v)
			}
			s.metrics.ended(classOf(r), http.StatusInternalServerError, time.Since(began))
			s.log.Error("panic in request", "instance", instance, "method", r.Method, "path", r.URL.Path, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			if a.begun {
				// Cut the connection: half an answer must not look whole.
				panic(http.ErrAbortHandler)
			}
			p := newProblem(codeInternal, "")
			p.Instance = instance
			p.write(w, r)
		}()
		next.ServeHTTP(a, r)
	})
}

// policy is the page's content security policy: everything from here, nothing
// inline, nothing framed but the host's answer to a form.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; connect-src 'self'; " +
	"manifest-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'self'; frame-src 'self'; frame-ancestors 'none'"

// secure sets the headers that keep other sites out, and refuses requests under
// a foreign name or from a foreign page.
func (s *Server) secure(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		// Not no-referrer: a form would come without its origin, as from anywhere.
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(self), payment=(), usb=()")
		if isAPI(r.URL.Path) {
			h.Set("Cache-Control", "no-store")
		}
		local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
		if !s.cfg.Hosts.Allows(r.Host, local) {
			newProblem(codeUnknownHost, fmt.Sprintf(
				"the request asks for the host %.100q, which is not one of this host's names. Open it by 127.0.0.1 or localhost, or add the name to config.toml: allowed_hosts = [%.100q], then restart.",
				r.Host, hostName(r.Host))).write(w, r)
			return
		}
		if err := s.cfg.Hosts.CheckOrigin(r, !isAPI(r.URL.Path)); err != nil {
			newProblem(codeForeignOrigin, err.Error()+". If this is your own proxy, add the name that the browser shows to allowed_hosts in config.toml and restart.").write(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func hostName(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return host
}

// openInSafeMode tells what a person needs to look at the host and to end its
// safe mode.
func openInSafeMode(path string) bool {
	return strings.HasPrefix(path, "/api/v1/login/") || path == "/api/v1/logout" || strings.HasPrefix(path, "/api/v1/host/")
}

// reads reports whether a request changes nothing.
func reads(r *http.Request) bool {
	return r.Method == http.MethodGet || r.Method == http.MethodHead || r.URL.Path == exportPath
}

// hold refuses what would change something while the host takes nothing new.
func (s *Server) hold(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !reads(r) && s.cfg.Held != nil && s.cfg.Held() {
			text := "the host is trying a new version of itself, or is about to stop; nothing was taken. Try again in a moment."
			if why := s.safe(); why != "" {
				if openInSafeMode(r.URL.Path) {
					next.ServeHTTP(w, r)
					return
				}
				text = why + " Nothing was taken."
			}
			newProblem(codeHeld, text).write(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// admit bounds the requests of each class, their bodies and the time that they
// may take.
func (s *Server) admit(all gates, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := classOf(r)
		if (c == classProbe || c == classDeep) && s.own(r) {
			c = classSelf
		}
		g := all[c]
		if !g.enter() {
			newProblem(codeOverloaded, fmt.Sprintf("the host answers %d requests of the kind %q at once, and has them. Try again in a moment.", cap(g.slots), c)).write(w, r)
			return
		}
		defer g.leave()
		if c != classProbe && c != classDeep && c != classSelf {
			working := all[allButProbes]
			if !working.enter() {
				newProblem(codeOverloaded, fmt.Sprintf("the host answers %d requests of all kinds at once, and has them. Try again in a moment.", cap(working.slots))).write(w, r)
				return
			}
			defer working.leave()
		}
		begun := time.Now()
		failpoint.Hit("http.admit")
		rc := http.NewResponseController(w)
		limit := int64(64 << 10)
		switch {
		case c == classUpload:
			limit = s.cfg.Limits.Attachment + 64<<10
		case r.URL.Path == importPath:
			limit = s.cfg.Limits.Import
		case r.URL.Path == exportPath:
			limit = exportBytes
		case strings.HasSuffix(r.URL.Path, "/messages"), strings.HasSuffix(r.URL.Path, "/steer"), r.Method == http.MethodPatch && strings.Contains(r.URL.Path, "/queue/"):
			// A character of text may take six in JSON.
			limit = 6*int64(s.cfg.Limits.Text) + 64<<10
		}
		a, ok := w.(*answer)
		if r.Body != nil && r.Body != http.NoBody {
			if ok && a.body != nil {
				a.body.spare = max(spared, limit)
			}
			r.Body = http.MaxBytesReader(w, r.Body, limit)
			deadline := bodyTimeout
			if c == classUpload || r.URL.Path == importPath {
				deadline = uploadTimeout
				_ = rc.SetWriteDeadline(time.Now().Add(uploadTimeout + s.cfg.WriteTimeout))
			}
			_ = rc.SetReadDeadline(time.Now().Add(deadline))
		}
		next.ServeHTTP(w, r)
		if ok && a.rest != nil {
			a.rest()
		}
		if ok && c == classAPI && r.Method == http.MethodGet && strings.HasPrefix(r.URL.Path, "/api/v1/sessions") && a.status < http.StatusBadRequest {
			s.servedSince(begun)
		}
	})
}

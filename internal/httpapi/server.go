// Package httpapi is the host's door: HTTP, the event stream, admission, the
// OpenAPI document and the page. It declares the interfaces that it needs of
// the parts below, holds no transcript, and decides nothing about sessions.
package httpapi

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-dev/holdfast/internal/access"
	"github.com/holdfast-dev/holdfast/internal/handoff"
	"github.com/holdfast-dev/holdfast/internal/session"
	"github.com/holdfast-dev/holdfast/internal/store"
)

// Sessions is the heart. *session.Manager implements it.
type Sessions interface {
	Create(ctx context.Context, n session.New) (s store.Session, existing bool, err error)
	Send(ctx context.Context, sessionID string, m session.Message) (session.Accepted, error)
	Cancel(ctx context.Context, sessionID, run string) error
	SetPaused(ctx context.Context, sessionID string, paused bool) error
	PutProject(ctx context.Context, id string, version int64, c session.ProjectChange) (store.Project, error)
	DeleteProject(ctx context.Context, id string) error
	Rewind(ctx context.Context, sessionID, item string) (store.Session, error)
	Fork(ctx context.Context, sessionID string, f session.Fork) (s store.Session, existing bool, err error)
	EditQueued(ctx context.Context, sessionID, run, text string) error
	Steer(ctx context.Context, sessionID string, st session.Steer) (session.Accepted, error)
	Unqueue(ctx context.Context, sessionID, run string) error
	Reorder(ctx context.Context, sessionID string, order []string) error
	Choose(ctx context.Context, sessionID string, c session.Choice) (options json.RawMessage, err error)
	EndAgent(ctx context.Context, sessionID string, force bool) error
	Printed(ctx context.Context, sessionID string) (session.Printed, error)
	Answer(ctx context.Context, approvalID string, a session.Answer) (store.Approval, error)
	Patch(ctx context.Context, sessionID string, version int64, p session.Patch) (store.Session, error)
	Delete(ctx context.Context, sessionID string, forever bool) error
	Restore(ctx context.Context, sessionID string) (store.Session, error)
	Bulk(ctx context.Context, b session.Bulk) []error
	Agents(ctx context.Context) []session.AgentInfo
	Live() int
	MaxLive() int
	Import(ctx context.Context, r io.Reader, clientID string) ([]session.Imported, error)
	Tallies() map[string]session.Tally
}

// Config is what a server needs. Zero values of the rest mean the defaults.
type Config struct {
	Sessions Sessions
	Store    Store
	Access   *access.Service
	Passkeys *access.Passkeys // nil: there are none
	Push     Push             // nil: nobody is told
	Hosts    *access.Hosts
	Files    fs.FS // the built page
	Version  string
	Home     string // where choosing a folder begins; the person's home folder
	Log      *slog.Logger
	Health   func() Health // what the watchdog says; nil says ok
	Held     func() bool   // nothing new is taken now; nil: never
	Safe     func() string // why it is so until a person acts; "" or nil: it is not
	Machine  Machine       // nil where no host runs
	ProbeKey string        // by which the host's own probe is known; "" where it has none
	Pressure func() Pressure
	Ledger   func(context.Context) (HostLedger, error)

	Proxies  access.Proxies // whose word is taken for who asks
	BasePath string         // below which a browser sees the page; "" or "/holdfast"
	Public   string         // URL by which a browser elsewhere finds the page; "" where nobody said
	Addr     string         // that the public listener is bound to
	TLS      *tls.Config    // of public listeners; nil: plain HTTP

	// CookieName tells the cookies of hosts apart that share a name on
	// different ports, which browsers do not.
	CookieName string

	Limits       Limits
	Heartbeat    time.Duration // of streams; 15 s
	WriteTimeout time.Duration // of one frame of a stream and of other answers; 20 s
}

// Limits bounds what clients may take. Zero means the default.
type Limits struct {
	Connections int // 400; the caller keeps it below the descriptor limit
	API         int // 64 requests at once
	Streams     int // 256; never more than three quarters of what connections there are for requests
	Uploads     int // 4; and as many exports and imports
	Probes      int // 8; of each kind
	Logins      int // 8
	Text        int // bytes of a message; 1 MiB
	Attachment  int64
	Import      int64 // bytes of a file; 4 GiB
}

func (l Limits) withDefaults() Limits {
	def := func(n *int, d int) {
		if *n == 0 {
			*n = d
		}
	}
	def(&l.Connections, 400)
	def(&l.API, 64)
	def(&l.Streams, 256)
	def(&l.Uploads, 4)
	def(&l.Probes, 8)
	def(&l.Logins, 8)
	def(&l.Text, 1<<20)
	if l.Attachment == 0 {
		l.Attachment = 20 << 20
	}
	if l.Import == 0 {
		l.Import = 4 << 30
	}
	l.Streams = min(l.Streams, max(1, 3*l.working()/4))
	return l
}

// working is how many connections may be at work with something else than
// probes, which find room so: each kind of them has its own few.
func (l Limits) working() int { return max(1, l.Connections-min(3*l.Probes, l.Connections/4)) }

// The deadlines of a connection. A stalled client must not hold one for ever,
// and no answer but a stream takes longer than a minute.
const (
	readHeaderTimeout = 5 * time.Second
	bodyTimeout       = 30 * time.Second
	uploadTimeout     = 10 * time.Minute
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 64 << 10
	stopTimeout       = 3 * time.Second
)

// Server answers HTTP requests. Serve may be called for several listeners.
type Server struct {
	cfg      Config
	log      *slog.Logger
	api      http.Handler // routes and admission, without access checks
	public   http.Handler
	page     *page
	gates    gates
	frames   frameCache
	deep     deepProbe
	metrics  *metrics
	read     deepProbe // the same without a write, which a disk may hold up
	requests atomic.Int64
	answered atomic.Int64
	youngest atomic.Int64 // when the last of those came, in ns since born
	born     time.Time
	conns    atomic.Int64

	// life ends when streams must: it outlives every request, so it is the
	// server's and not a caller's.
	life context.Context
	stop context.CancelFunc

	nudged atomic.Pointer[context.Context] // ends when streams are to be written to at once
	nudge  context.CancelFunc              // under mu
	mu     sync.Mutex
}

// New makes a server. It starts nothing.
func New(cfg Config) (*Server, error) {
	cfg.Limits = cfg.Limits.withDefaults()
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Heartbeat == 0 {
		cfg.Heartbeat = 15 * time.Second
	}
	if cfg.WriteTimeout == 0 {
		cfg.WriteTimeout = 20 * time.Second
	}
	if cfg.CookieName == "" {
		cfg.CookieName = "holdfast"
	}
	if cfg.Sessions == nil || cfg.Store == nil || cfg.Access == nil || cfg.Hosts == nil || cfg.Files == nil {
		return nil, errors.New("make HTTP server: a part is missing")
	}
	s := &Server{cfg: cfg, log: cfg.Log, born: time.Now()}
	s.life, s.stop = context.WithCancel(context.Background())
	s.Nudge()
	s.gates = newGates(cfg.Limits)
	s.page = newPage(cfg.Files, cfg.BasePath)
	s.metrics = newMetrics(s)
	s.api = s.hold(s.relieve(s.routes()))
	s.public = s.reached(s.outer(s.secure(s.admit(s.gates, s.authenticate(s.api)))))
	return s, nil
}

// ServeHTTP answers one request of the outside.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.public.ServeHTTP(w, r) }

// Requests is the number of requests since the start.
func (s *Server) Requests() int64 { return s.requests.Load() }

// Answered is the number of requests for sessions that were answered with them,
// and when the youngest of them came. They read what the host's own probe reads,
// which is not among them: it tells whether somebody else was served meanwhile.
func (s *Server) Answered() (count int64, youngest time.Time) {
	return s.answered.Load(), s.born.Add(time.Duration(s.youngest.Load()))
}

// servedSince notes an answer to a request that came at begun.
func (s *Server) servedSince(begun time.Time) {
	came := int64(begun.Sub(s.born))
	for {
		was := s.youngest.Load()
		if came <= was || s.youngest.CompareAndSwap(was, came) {
			break
		}
	}
	s.answered.Add(1)
}

// Connections is the number of open connections of all listeners.
func (s *Server) Connections() int { return int(s.conns.Load()) }

// Serve answers on a listener until the context ends, then lets requests end
// for up to three seconds. It closes the listener.
func (s *Server) Serve(ctx context.Context, ln *handoff.Listener) error {
	return s.serve(ctx, ln, s.public, s.cfg.TLS)
}

// Nudge has every stream look at its login and write a heartbeat, at once.
func (s *Server) Nudge() {
	s.mu.Lock()
	defer s.mu.Unlock()
	ctx, cancel := context.WithCancel(s.life)
	s.nudged.Store(&ctx)
	if s.nudge != nil {
		s.nudge()
	}
	s.nudge = cancel
}

// EndStreams has every stream say goodbye to its reader and end, before the
// host stops or is replaced. New ones are refused.
func (s *Server) EndStreams() { s.stop() }

func (s *Server) serve(ctx context.Context, ln *handoff.Listener, h http.Handler, secret *tls.Config) error {
	limited := newConns(ln, s.cfg.Limits.Connections, &s.conns)
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	srv := &http.Server{
		Protocols:         &protocols,
		Handler:           h,
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ConnState:         limited.state,
		// "OPTIONS *" gets no answer of its own, past the checks of Host.
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	served := make(chan error, 1)
	var door net.Listener = limited
	if secret != nil {
		ln.Seal()
		limited.tls = true
		door = tls.NewListener(limited, secret)
	}
	go func() { served <- srv.Serve(door) }()

	select {
	case err := <-served:
		srv.Close()
		return err
	case <-ctx.Done():
	}
	s.stop()
	limited.closeSilent()
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err := srv.Shutdown(grace); err != nil {
		s.log.Warn("end requests in time", "err", err)
		srv.Close()
	}
	<-served
	return nil
}

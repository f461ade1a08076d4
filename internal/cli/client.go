package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/holdfast-dev/holdfast/internal/config"
)

// client speaks to a host over its control socket, or to the same handler in
// this process.
type client struct {
	http  *http.Client
	close func() error
}

// errNoHost says that nothing listens on the control socket.
var errNoHost = errors.New("no host runs")

func noHost(cfg *config.Config) error {
	return &Error{
		Code: ExitFailure, Err: errNoHost,
		Msg: fmt.Sprintf("no host runs for the state folder %s. Start one with: holdfast up", cfg.Home),
	}
}

// connect reaches the running host.
func (a *app) connect(ctx context.Context) (*client, *config.Config, error) {
	cfg, broken := a.load(hostFlags{})
	if broken != nil {
		// The host that runs took an earlier configuration.
		home, err := config.Home(config.Sources{Flags: config.Flags{Home: a.grammar.Home}, Env: a.Env, Home: a.UserHome})
		if err != nil {
			return nil, nil, broken
		}
		cfg = &config.Config{Home: home}
	}
	c, err := dial(ctx, cfg)
	if errors.Is(err, errNoHost) && broken != nil {
		err = broken
	}
	return c, cfg, err
}

// connectOrOpen reaches the running host or, where none runs, takes the lock
// and does what it would do.
func (a *app) connectOrOpen(ctx context.Context) (*client, error) {
	cfg, err := a.load(hostFlags{})
	if err != nil {
		return nil, err
	}
	c, err := dial(ctx, cfg)
	if !errors.Is(err, errNoHost) || a.Offline == nil {
		return c, err
	}
	h, done, err := a.Offline(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return inProcess(h, done), nil
}

func dial(ctx context.Context, cfg *config.Config) (*client, error) {
	path := config.SocketPath(cfg.Home)
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			d := net.Dialer{Timeout: 2 * time.Second}
			return d.DialContext(ctx, "unix", path)
		},
	}
	conn, err := transport.DialContext(ctx, "", "")
	switch {
	case err == nil:
		_ = conn.Close()
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOTDIR):
		return nil, noHost(cfg)
	case errors.Is(err, fs.ErrPermission):
		return nil, failf("cannot open the control socket %s: %w. Run this as the user who runs the host", path, err)
	default:
		return nil, failf("cannot reach the host at %s: %w", path, err)
	}
	return &client{
		http:  &http.Client{Transport: transport},
		close: func() error { transport.CloseIdleConnections(); return nil },
	}, nil
}

// inProcess serves h to a client over connections in memory.
func inProcess(h http.Handler, done func() error) *client {
	l := &memory{conns: make(chan net.Conn), closed: make(chan struct{})}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	var served sync.WaitGroup
	served.Go(func() { _ = srv.Serve(l) })
	transport := &http.Transport{DialContext: l.dial}
	return &client{
		http: &http.Client{Transport: transport},
		close: func() error {
			transport.CloseIdleConnections()
			err := srv.Close()
			served.Wait()
			return errors.Join(err, done())
		},
	}
}

// memory is a listener whose connections never leave the process.
type memory struct {
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

var _ net.Listener = (*memory)(nil)

func (l *memory) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case l.conns <- there:
		return here, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *memory) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *memory) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *memory) Addr() net.Addr { return &net.UnixAddr{Name: "memory", Net: "unix"} }

// problem is an error of the API.
type problem struct {
	Status int    `json:"status"`
	Title  string `json:"title"`
	Detail string `json:"detail"`
	Code   string `json:"code"`
}

func (p *problem) Error() string {
	if p.Detail != "" {
		return p.Detail
	}
	if p.Title != "" {
		return p.Title
	}
	return fmt.Sprintf("the host answered with status %d", p.Status)
}

// call sends in as JSON (nil: no body) and decodes the answer into out (nil:
// it is not read). A refusal is a *problem.
func (c *client) call(ctx context.Context, method, path string, in, out any) error {
	resp, err := c.open(ctx, method, path, in)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil {
		_, err = io.Copy(io.Discard, resp.Body)
		return err
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return fmt.Errorf("read the host's answer to %s %s: %w", method, path, err)
	}
	return nil
}

// open sends a request and returns its answer if that is a success.
func (c *client) open(ctx context.Context, method, path string, in any) (*http.Response, error) {
	if in == nil {
		return c.send(ctx, method, path, "", nil)
	}
	data, err := json.Marshal(in)
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	return c.send(ctx, method, path, "application/json", bytes.NewReader(data))
}

// post is open for a body that is no JSON of ours.
func (c *client) post(ctx context.Context, path, kind string, body io.Reader) (*http.Response, error) {
	return c.send(ctx, http.MethodPost, path, kind, body)
}

func (c *client) send(ctx context.Context, method, path, kind string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://localhost"+path, body)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return nil, &lostError{err}
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer resp.Body.Close()
	p := &problem{Status: resp.StatusCode}
	if data, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20)); err == nil && strings.Contains(resp.Header.Get("Content-Type"), "json") {
		_ = json.Unmarshal(data, p)
	}
	return nil, p
}

// lostError says that the connection failed: the host may be restarting.
type lostError struct{ err error }

func (e *lostError) Error() string { return "the connection to the host failed: " + e.err.Error() }
func (e *lostError) Unwrap() error { return e.err }

// transient tells whether it makes sense to try again in a moment.
func transient(err error) bool {
	var lost *lostError
	if errors.As(err, &lost) {
		return !errors.Is(err, context.Canceled)
	}
	var p *problem
	return errors.As(err, &p) && (p.Status == http.StatusServiceUnavailable && p.Code != "agent_missing" || p.Status == http.StatusTooManyRequests)
}

// patience is how long a command waits for a host that went away.
const patience = 60 * time.Second

// persist does what call does, and tries again while the host restarts. The
// request must be one that may be repeated.
func (c *client) persist(ctx context.Context, method, path string, in, out any) error {
	deadline := time.Now().Add(patience)
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		err := c.call(ctx, method, path, in, out)
		if err == nil || !transient(err) || time.Now().After(deadline) {
			return err
		}
		if !pause(ctx, wait) {
			return ctx.Err()
		}
	}
}

// pause waits for d and tells whether ctx is still alive.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

package app

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/holdfast-dev/holdfast/internal/cli"
	"github.com/holdfast-dev/holdfast/internal/failpoint"
	"github.com/holdfast-dev/holdfast/internal/httpapi"
	"github.com/holdfast-dev/holdfast/internal/probe"
	"github.com/holdfast-dev/holdfast/internal/store"
)

// newProbeKey is by which the server knows the host's own probe.
func newProbeKey() string { return rand.Text() }

// watcher makes the probe of this host. deaf does not return.
func (c *core) watcher(h *host, server *httpapi.Server, deaf func(string)) *probe.Watcher {
	w := &probe.Watcher{
		Checks: probe.Checks{
			Read:     func(ctx context.Context) error { return h.askRead(ctx, c.probeKey) },
			Direct:   func(ctx context.Context) error { return h.readDirect(ctx, server, c.probeKey) },
			Write:    c.canary,
			Written:  c.store.Written,
			Disk:     c.touchDisk,
			Answered: server.Answered,
			Deaf:     deaf,
		},
		DiskName: probe.DiskOf(c.cfg.Home), Every: probe.Every, Budget: probe.Budget, Log: c.log,
		Patient: c.safe.text() != "",
	}
	if every := failpoint.Millis("probe_ms", 0); every > 0 {
		w.Every, w.Budget = every, every/2
	}
	return w
}

// probed is what the probe says of the health.
func (c *core) probed() httpapi.Health {
	w := c.probe.Load()
	if w == nil {
		return httpapi.Health{Status: httpapi.HealthOK}
	}
	return httpapi.Degraded(w.Problems()...)
}

// latency is how long the last probe that passed took; 0 where there was none.
func (c *core) latency() time.Duration {
	w := c.probe.Load()
	if w == nil {
		return 0
	}
	took, _ := w.Latency()
	return took
}

const readProbe = "/health?deep=read"

// askRead asks through the public listener, on a connection of its own, as
// somebody does who comes anew.
func (h *host) askRead(ctx context.Context, key string) error {
	status, body, err := h.askListener(ctx, readProbe, key)
	if err != nil {
		return err
	}
	return readVerdict(status, body)
}

// well is what a version on trial has to pass: an answer of the public
// listener, to which the list of sessions could be read.
func (h *host) well(ctx context.Context) error {
	status, _, err := h.askListener(ctx, "/health?deep=1", "")
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("ask for health: %d", status)
	}
	return err
}

// askListener asks the public listener on a connection of its own. With a key
// the server knows the request for the host's own.
func (h *host) askListener(ctx context.Context, path, key string) (status int, body []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.listener()+path, nil)
	if err != nil {
		return 0, nil, fmt.Errorf("ask the listener: %w", err)
	}
	if key != "" {
		httpapi.SignProbe(req, key)
	}
	// Not through a proxy of the environment: it would be probed, not we. Whether
	// browsers trust the certificate is not what is asked here.
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // our own listener
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, fmt.Errorf("ask the listener: %w", err)
	}
	defer resp.Body.Close()
	if body, err = io.ReadAll(io.LimitReader(resp.Body, 64<<10)); err != nil {
		return 0, nil, fmt.Errorf("ask the listener: %w", err)
	}
	return resp.StatusCode, body, nil
}

// readDirect asks the same without the listener.
func (h *host) readDirect(ctx context.Context, server http.Handler, key string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.listener()+readProbe, nil)
	if err != nil {
		return fmt.Errorf("ask for the list: %w", err)
	}
	httpapi.SignProbe(req, key)
	rec := &recorder{header: http.Header{}, status: http.StatusOK}
	server.ServeHTTP(rec, req)
	return readVerdict(rec.status, rec.body.Bytes())
}

// readVerdict says what an answer means.
func readVerdict(status int, body []byte) error {
	var said struct {
		Code     string   `json:"code"`
		Problems []string `json:"problems"`
	}
	_ = json.Unmarshal(body, &said) // what it is not says nothing
	switch {
	case status == http.StatusOK:
		return nil
	case status == http.StatusServiceUnavailable && said.Code == "overloaded":
		return probe.ErrOverloaded
	case status == http.StatusServiceUnavailable && said.Code == "":
		return &probe.FailingError{Text: strings.Join(said.Problems, "; ")}
	default:
		return fmt.Errorf("the answer has status %d", status)
	}
}

// recorder is an http.ResponseWriter in memory.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(status int)      { r.status = status }
func (r *recorder) Write(b []byte) (int, error) { return r.body.Write(b) }

// canary changes a row and reads it back.
func (c *core) canary(ctx context.Context) error {
	err := c.store.Canary(ctx)
	if errors.Is(err, store.ErrClosed) {
		return nil // the host ends
	}
	return err
}

// touchDisk writes a file beside the database.
func (c *core) touchDisk() error {
	failpoint.Hit("disk.check")
	f, err := os.OpenFile(filepath.Join(c.cfg.Home, "disk.check"), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteAt([]byte(time.Now().UTC().Format(time.RFC3339Nano)), 0)
	return errors.Join(err, f.Sync(), f.Close())
}

// replacePatience is how long a restart in place may take, from when the doors
// begin to close: what is left of it after drainPatience is short. With the
// evidence it is within twenty seconds.
const replacePatience = drainPatience + 7*time.Second

// deathPatience is how long the evidence of a deaf host is waited for. The rest of
// probe.EvidenceBudget is for beginning anew.
const deathPatience = probe.EvidenceBudget - 300*time.Millisecond

// againVar tells a program that it follows a deaf one in the same process.
const againVar = "HOLDFAST_AFTER_DEAF"

// deaf ends this process within probe.EvidenceBudget, whatever is stuck.
func (h *host) deaf(log *slog.Logger, reason string) {
	failpoint.Hit("host.deaf")
	time.AfterFunc(probe.EvidenceBudget, func() { os.Exit(cli.ExitRestart) })
	told := make(chan struct{})
	go func() {
		defer close(told)
		ending(h.life, log, probe.EndProbe, reason, "")
		path, err := h.dump(reason)
		ending(h.life, log, probe.EndProbe, reason, path)
		log.Error("the host is deaf and ends itself", "reason", reason, "dump", path, "err", err)
	}()
	select {
	case <-told:
	case <-time.After(deathPatience): // the disk or the log may be what is stuck
	}
	if h.unit.Zero() {
		h.beginAnew(log)
	}
	os.Exit(cli.ExitRestart)
}

// beginAnew runs the program again in this process, where no supervisor would.
// It is a first start: exec closes the listeners, the lock and whatever was
// leaked. It returns on an error.
func (h *host) beginAnew(log *slog.Logger) {
	told := h.replace.state()
	args := append([]string{}, os.Args...)
	for i := range args {
		// A port that the system chose is kept: pages come back to it.
		args[i] = strings.Replace(args[i], told.Addr, h.addr, 1)
	}
	env := append(os.Environ(), againVar+"=1")
	err := syscall.Exec(told.Exe, args, env) //nolint:gosec // our own binary and arguments
	log.Error("start anew", "err", err)
}

// afterDeaf tells whether this program follows a deaf one. What it starts does
// not see the sign.
func afterDeaf() bool {
	again := os.Getenv(againVar) != ""
	_ = os.Unsetenv(againVar) // never fails for a name without "="
	return again
}

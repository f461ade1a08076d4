package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"go.uber.org/goleak"

	"github.com/holdfast-dev/holdfast/internal/access"
	"github.com/holdfast-dev/holdfast/internal/handoff"
	"github.com/holdfast-dev/holdfast/internal/session"
	"github.com/holdfast-dev/holdfast/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// flaky is the real store, whose disk can be made to fail.
type flaky struct {
	*store.Store
	mu     sync.Mutex
	fail   error // of reads
	canary func(context.Context) error
	pages  func(n int) error           // of the n-th page of a transcript
	wait   func(context.Context) error // in the reading of a transcript
	read   int
}

func (f *flaky) TranscriptAfter(ctx context.Context, session string, after int64, all bool) ([]store.Item, []store.Run, error) {
	if f.wait != nil {
		return nil, nil, f.wait(ctx)
	}
	if f.read++; f.pages != nil {
		if err := f.pages(f.read); err != nil {
			return nil, nil, err
		}
	}
	return f.Store.TranscriptAfter(ctx, session, after, all)
}

func (f *flaky) failure() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.fail
}

func (f *flaky) Sessions(ctx context.Context, filter store.SessionsFilter, page string, limit int) (store.SessionsPage, error) {
	if err := f.failure(); err != nil {
		return store.SessionsPage{}, err
	}
	return f.Store.Sessions(ctx, filter, page, limit)
}

func (f *flaky) Canary(ctx context.Context) error {
	if f.canary != nil {
		return f.canary(ctx)
	}
	return f.Store.Canary(ctx)
}

// fakeSessions is a heart that keeps what it was told.
type fakeSessions struct {
	log  *flaky
	mu   sync.Mutex
	sent []session.Message
	err  error                     // of the next calls
	hook func(ctx context.Context) // of Agents

	patch  session.Patch  // the last
	bulk   session.Bulk   // the last
	choice session.Choice // the last
}

func (f *fakeSessions) Create(_ context.Context, n session.New) (store.Session, bool, error) {
	if f.err != nil {
		return store.Session{}, false, f.err
	}
	if n.Agent != "tour" {
		return store.Session{}, false, &session.Error{Code: session.CodeAgentUnknown, Message: fmt.Sprintf("there is no agent %q", n.Agent)}
	}
	var row store.Session
	err := f.log.Update(store.Durable, func(tx *store.Tx) (err error) {
		row, err = tx.CreateSession(store.Session{Agent: n.Agent, Cwd: n.Cwd, Title: n.Title, ClientID: n.ClientID})
		return err
	})
	if errors.Is(err, store.ErrExists) {
		return row, true, nil
	}
	return row, false, err
}

func (f *fakeSessions) Send(ctx context.Context, id string, m session.Message) (session.Accepted, error) {
	if _, err := f.log.Session(ctx, id); err != nil {
		return session.Accepted{}, &session.Error{Code: session.CodeNotFound, Message: "there is no such session"}
	}
	if f.err != nil {
		return session.Accepted{}, f.err
	}
	f.mu.Lock()
	f.sent = append(f.sent, m)
	f.mu.Unlock()
	var e store.Event
	err := f.log.Update(store.Durable, func(tx *store.Tx) (err error) {
		e, err = tx.Append(id, "r1", store.MessageUser, store.MessageBody{Item: "i1", Text: m.Text})
		return err
	})
	return session.Accepted{Item: "i1", Run: "r1", Seq: e.Seq, State: "started"}, err
}

func (f *fakeSessions) Cancel(_ context.Context, _, run string) error {
	if run != "r1" {
		return &session.Error{Code: session.CodeRunNotCurrent, Message: "the run has ended"}
	}
	return f.err
}

func (f *fakeSessions) Steer(_ context.Context, _ string, st session.Steer) (session.Accepted, error) {
	if st.Run != "r1" {
		return session.Accepted{}, &session.Error{Code: session.CodeRunNotCurrent, Message: "the run has ended"}
	}
	return session.Accepted{Item: "i", Run: st.Queued, Seq: 7, State: store.SteerSent}, f.err
}

func (f *fakeSessions) EditQueued(ctx context.Context, _, run, _ string) error {
	return f.Unqueue(ctx, "", run)
}

func (f *fakeSessions) Unqueue(_ context.Context, _, run string) error {
	if run != "r1" {
		return &session.Error{Code: session.CodeNotQueued, Message: "it has begun"}
	}
	return f.err
}

func (f *fakeSessions) Rewind(ctx context.Context, id, _ string) (store.Session, error) {
	return f.log.Session(ctx, id)
}

func (f *fakeSessions) Fork(ctx context.Context, id string, _ session.Fork) (store.Session, bool, error) {
	s, err := f.log.Session(ctx, id)
	return s, true, err
}

func (f *fakeSessions) PutProject(_ context.Context, id string, _ int64, c session.ProjectChange) (store.Project, error) {
	p := store.Project{ID: id, Version: 1}
	if c.Name != nil {
		p.Name = *c.Name
	}
	return p, f.err
}
func (f *fakeSessions) DeleteProject(context.Context, string) error     { return f.err }
func (f *fakeSessions) Reorder(context.Context, string, []string) error { return f.err }
func (f *fakeSessions) Choose(_ context.Context, _ string, c session.Choice) (json.RawMessage, error) {
	f.choice = c
	return json.RawMessage(`{"chosen":{}}`), f.err
}
func (f *fakeSessions) SetPaused(context.Context, string, bool) error { return f.err }
func (f *fakeSessions) EndAgent(context.Context, string, bool) error  { return f.err }
func (f *fakeSessions) Printed(_ context.Context, id string) (session.Printed, error) {
	return session.Printed{Agent: "fake", State: "starting", Text: "reading " + id, Size: 10}, f.err
}

func (f *fakeSessions) Answer(_ context.Context, id string, a session.Answer) (store.Approval, error) {
	answered := store.Approval{ID: id, State: store.ApprovalAnswered, Chosen: "allow", By: "the phone", Options: []store.ApprovalOption{}}
	if a.Option == "late" {
		return answered, &session.Error{Code: session.CodeApprovalAnswered, Message: "the phone answered first", Approval: &answered}
	}
	answered.By = a.By
	return answered, f.err
}

func (f *fakeSessions) Patch(ctx context.Context, id string, version int64, p session.Patch) (store.Session, error) {
	row, err := f.log.Session(ctx, id)
	if err != nil {
		return row, err
	}
	if version != row.Version {
		return row, &session.Error{Code: session.CodeVersionConflict, Message: "somebody else renamed it"}
	}
	if p.Title != nil {
		row.Title = *p.Title
	}
	f.patch = p
	return row, f.err
}
func (f *fakeSessions) Delete(context.Context, string, bool) error { return f.err }
func (f *fakeSessions) Restore(ctx context.Context, id string) (store.Session, error) {
	return f.log.Session(ctx, id)
}

func (f *fakeSessions) Bulk(_ context.Context, b session.Bulk) []error {
	f.bulk = b
	errs := make([]error, len(b.IDs))
	for i, id := range b.IDs {
		if id == "gone" {
			errs[i] = &session.Error{Code: session.CodeNotFound, Message: "there is no such session"}
		}
	}
	return errs
}

func (f *fakeSessions) Import(_ context.Context, r io.Reader, _ string) ([]session.Imported, error) {
	data, err := io.ReadAll(r)
	switch {
	case err != nil:
		return nil, fmt.Errorf("keep import: %w", err)
	case string(data) == "bad":
		return nil, &session.Error{Code: session.CodeBadImport, Message: "line 3: it is bad"}
	}
	return []session.Imported{{Session: store.Session{ID: "new", Title: string(data)}, Existing: string(data) == "again"}}, f.err
}

func (f *fakeSessions) Agents(ctx context.Context) []session.AgentInfo {
	if f.hook != nil {
		f.hook(ctx)
	}
	return []session.AgentInfo{{ID: "tour", Name: "Tour", Ready: true}}
}
func (f *fakeSessions) Live() int    { return 0 }
func (f *fakeSessions) MaxLive() int { return 8 }
func (f *fakeSessions) Tallies() map[string]session.Tally {
	return map[string]session.Tally{"tour": {
		Ended: map[string]uint64{store.EndTurn: 3, store.Failed: 1, "other": 1}, Count: 4, Sum: 90 * time.Second,
		Took: []uint64{1, 2, 2, 4, 4, 4, 4, 4},
	}}
}

// host is a server under test.
type host struct {
	testing.TB
	log      *flaky
	sessions *fakeSessions
	access   *access.Service
	server   *Server
	url      string
	token    string
	stop     func() // ends Serve and waits; may be called twice
}

func testFiles() fstest.MapFS {
	return fstest.MapFS{
		"index.html":         {Data: []byte("<!doctype html><title>Holdfast</title>" + strings.Repeat("<p>shell", 300))},
		"assets/app-1234.js": {Data: []byte("console.log(1)")},
		"icon.svg":           {Data: []byte("<svg/>")},
	}
}

func newHost(t testing.TB, change ...func(*Config)) *host {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(t.Context(), store.Options{Path: filepath.Join(t.TempDir(), "holdfast.db"), BootID: "boot"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("close store: %v", err)
		}
	})
	log := &flaky{Store: db}
	h := &host{TB: t, log: log, sessions: &fakeSessions{log: log}, url: "http://" + ln.Addr().String()}
	h.access = access.New(db, time.Now)
	hosts, err := access.NewHosts(ln.Addr().String(), []string{"box.example.org", "*.tail.ts.net"})
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Sessions: h.sessions, Store: log, Access: h.access, Hosts: hosts, Files: testFiles(), Version: "1.2.3", Home: t.TempDir(), Log: slog.New(slog.NewTextHandler(testWriter{t}, nil))}
	for _, f := range change {
		f(&cfg)
	}
	if h.server, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	if h.token, err = h.access.CreateToken(t.Context(), "test"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- h.server.Serve(ctx, handoff.NewListener(ln)) }()
	h.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-served:
			if err != nil {
				t.Errorf("serve: %v", err)
			}
		case <-time.After(time.Minute):
			t.Error("the server does not stop")
		}
	})
	t.Cleanup(h.stop)
	return h
}

// session makes a session of that id.
func (h *host) session(id string) {
	h.Helper()
	err := h.log.Update(store.Durable, func(tx *store.Tx) error {
		_, err := tx.CreateSession(store.Session{ID: id, Agent: "tour", Cwd: "/"})
		return err
	})
	if err != nil {
		h.Fatal(err)
	}
}

// say appends a delta to a session's text.
func (h *host) say(id, text string) store.Event {
	h.Helper()
	var e store.Event
	err := h.log.Update(store.Relaxed, func(tx *store.Tx) (err error) {
		e, err = tx.Append(id, "r1", store.TextDelta, store.DeltaBody{Item: "i-" + id, Text: text})
		return err
	})
	if err != nil {
		h.Fatal(err)
	}
	return e
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s", strings.TrimSpace(string(p)))
	return len(p), nil
}

// do sends a request with the token, unless the headers say otherwise.
func (h *host) do(method, path, body string, headers ...string) (*http.Response, string) {
	h.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, h.url+path, strings.NewReader(body))
	if err != nil {
		h.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+h.token)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		switch {
		case headers[i] == "Host":
			req.Host = headers[i+1]
		case headers[i+1] == "":
			req.Header.Del(headers[i])
		default:
			req.Header.Set(headers[i], headers[i+1])
		}
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(req)
	if err != nil {
		h.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		h.Fatal(err)
	}
	return res, string(text)
}

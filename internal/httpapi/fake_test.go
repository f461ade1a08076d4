package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"go.uber.org/goleak"

	"github.com/holdfast-dev/holdfast/internal/access"
	"github.com/holdfast-dev/holdfast/internal/session"
	"github.com/holdfast-dev/holdfast/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeLog is a log in memory that behaves like the store's.
type fakeLog struct {
	mu        sync.Mutex
	sessions  map[string]store.Session
	events    []store.Event
	changed   chan struct{}
	approvals map[string]store.Approval
	fail      error // of every read
	canary    func(context.Context) error
	reads     int
}

func newFakeLog() *fakeLog {
	return &fakeLog{sessions: map[string]store.Session{}, approvals: map[string]store.Approval{}, changed: make(chan struct{})}
}

func (f *fakeLog) add(sessionID string, kind store.Kind, body string) store.Event {
	f.mu.Lock()
	defer f.mu.Unlock()
	row := f.sessions[sessionID]
	row.ID, row.Seq = sessionID, row.Seq+1
	e := store.Event{ID: int64(len(f.events)) + 1, Session: sessionID, Seq: row.Seq, At: time.Now().UTC().Truncate(time.Millisecond), Kind: kind, Body: json.RawMessage(body)}
	row.LastEvent = e.ID
	f.sessions[sessionID] = row
	f.events = append(f.events, e)
	close(f.changed)
	f.changed = make(chan struct{})
	return e
}

func (f *fakeLog) Sessions(ctx context.Context, before int64, limit int) ([]store.Session, int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reads++
	if f.fail != nil {
		return nil, 0, f.fail
	}
	var list []store.Session
	for _, s := range f.sessions {
		if before == 0 || s.LastEvent < before {
			list = append(list, s)
		}
	}
	slices.SortFunc(list, func(a, b store.Session) int { return int(b.LastEvent - a.LastEvent) })
	return list[:min(limit, len(list))], int64(len(f.events)), nil
}

func (f *fakeLog) Session(_ context.Context, id string) (store.Session, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		return store.Session{}, f.fail
	}
	s, ok := f.sessions[id]
	if !ok {
		return s, fmt.Errorf("read session: %w", store.ErrNotFound)
	}
	return s, nil
}

func (f *fakeLog) Items(_ context.Context, id string, before int64, limit int) ([]store.Item, int64, int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return nil, f.sessions[id].Seq, int64(len(f.events)), f.fail
}

func (f *fakeLog) Events(_ context.Context, id string, after int64, limit int) ([]store.Event, int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []store.Event
	for _, e := range f.events {
		if e.Session == id && e.Seq > after && len(list) < limit {
			list = append(list, e)
		}
	}
	return list, f.sessions[id].Seq, f.fail
}

func (f *fakeLog) Approvals(_ context.Context, state string) ([]store.Approval, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []store.Approval
	for _, a := range f.approvals {
		if a.State == state {
			list = append(list, a)
		}
	}
	return list, f.fail
}

func (f *fakeLog) RecentFolders(context.Context, int) ([]string, error) { return nil, nil }

func (f *fakeLog) Last(context.Context) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return int64(len(f.events)), f.fail
}

func (f *fakeLog) Cursor(id int64) string { return fmt.Sprintf("g1.%d", id) }

func (f *fakeLog) ParseCursor(c string) (int64, bool) {
	rest, ok := strings.CutPrefix(c, "g1.")
	if !ok {
		return 0, false
	}
	id, err := strconv.ParseInt(rest, 10, 64)
	f.mu.Lock()
	defer f.mu.Unlock()
	return id, err == nil && id >= 0 && id <= int64(len(f.events))
}

func (f *fakeLog) Follow(after int64) Follower { return &fakeFollower{log: f, at: after} }

func (f *fakeLog) Canary(ctx context.Context) error {
	if f.canary != nil {
		return f.canary(ctx)
	}
	return nil
}

type fakeFollower struct {
	log *fakeLog
	at  int64
}

func (f *fakeFollower) Next(ctx context.Context) ([]store.Event, error) {
	for {
		f.log.mu.Lock()
		events, changed := f.log.events, f.log.changed
		f.log.mu.Unlock()
		if f.at < int64(len(events)) {
			batch := events[f.at:min(f.at+100, int64(len(events)))]
			f.at += int64(len(batch))
			return batch, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// fakeSessions is a heart that keeps what it was told.
type fakeSessions struct {
	log  *fakeLog
	mu   sync.Mutex
	sent []session.Message
	err  error                     // of the next calls
	hook func(ctx context.Context) // of Agents
}

func (f *fakeSessions) Create(_ context.Context, n session.New) (store.Session, bool, error) {
	if f.err != nil {
		return store.Session{}, false, f.err
	}
	if n.Agent != "tour" {
		return store.Session{}, false, &session.Error{Code: session.CodeAgentUnknown, Message: fmt.Sprintf("there is no agent %q", n.Agent)}
	}
	id := "s" + strconv.Itoa(len(f.log.sessions)+1)
	f.log.add(id, store.SessionCreated, `{"id":"`+id+`"}`)
	row, _ := f.log.Session(context.Background(), id)
	return row, n.ClientID == "again", nil
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
	e := f.log.add(id, store.MessageUser, `{"item":"i1","text":"x"}`)
	return session.Accepted{Item: "i1", Run: "r1", Seq: e.Seq, State: "started"}, nil
}

func (f *fakeSessions) Cancel(_ context.Context, _, run string) error {
	if run != "r1" {
		return &session.Error{Code: session.CodeRunNotCurrent, Message: "the run has ended"}
	}
	return f.err
}
func (f *fakeSessions) SetPaused(context.Context, string, bool) error { return f.err }
func (f *fakeSessions) EndAgent(context.Context, string, bool) error  { return f.err }
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
	row.Title = *p.Title
	return row, f.err
}
func (f *fakeSessions) Delete(context.Context, string) error { return f.err }
func (f *fakeSessions) Agents(ctx context.Context) []session.AgentInfo {
	if f.hook != nil {
		f.hook(ctx)
	}
	return []session.AgentInfo{{ID: "tour", Name: "Tour", Ready: true}}
}
func (f *fakeSessions) Live() int { return 0 }

// host is a server under test.
type host struct {
	*testing.T
	log      *fakeLog
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

func newHost(t *testing.T, change ...func(*Config)) *host {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	log := newFakeLog()
	h := &host{T: t, log: log, sessions: &fakeSessions{log: log}, url: "http://" + ln.Addr().String()}
	h.access = access.New(newMemory(), time.Now)
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
	go func() { served <- h.server.Serve(ctx, ln) }()
	h.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-served:
			if err != nil {
				t.Errorf("serve: %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Error("the server does not stop")
		}
	})
	t.Cleanup(h.stop)
	return h
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s", strings.TrimSpace(string(p)))
	return len(p), nil
}

// do sends a request with the token, unless the headers say otherwise.
func (h *host) do(method, path, body string, headers ...string) (*http.Response, string) {
	h.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
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

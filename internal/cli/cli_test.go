package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/holdfast-dev/holdfast/internal/config"
	"github.com/holdfast-dev/holdfast/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is a state folder, and perhaps a host that a test made up.
type bench struct {
	t    *testing.T
	home string
	p    Programs
	in   string
}

func newBench(t *testing.T) *bench {
	t.Helper()
	home, err := os.MkdirTemp("", "hf") // short: a socket lies in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(home) })
	return &bench{t: t, home: home, p: Programs{
		Version: "1.2.3", Env: []string{"HOLDFAST_HOME=" + home}, UserHome: home,
		Serve: func(context.Context, *config.Config, ServeOptions) error { return errors.New("not in this test") },
	}}
}

// listen serves mux on the control socket until the test ends.
func (b *bench) listen(h http.Handler) *http.Server {
	b.t.Helper()
	l, err := net.Listen("unix", config.SocketPath(b.home))
	if err != nil {
		b.t.Fatal(err)
	}
	srv := &http.Server{Handler: h}
	var wg sync.WaitGroup
	wg.Go(func() { _ = srv.Serve(l) })
	b.t.Cleanup(func() {
		_ = srv.Close()
		wg.Wait()
	})
	return srv
}

// run runs a command line and returns its code and what it printed.
func (b *bench) run(args ...string) (code int, out, errOut string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 20*time.Second)
	defer cancel()
	return b.runIn(ctx, args...)
}

func (b *bench) runIn(ctx context.Context, args ...string) (code int, out, errOut string) {
	var o, e bytes.Buffer
	p := b.p
	p.In, p.Out, p.Err = strings.NewReader(b.in), &o, &e
	code = Main(ctx, args, p)
	return code, o.String(), e.String()
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func TestCommandLine(t *testing.T) {
	for _, c := range []struct {
		name    string
		args    []string
		code    int
		out     []string
		problem []string
	}{
		{"nothing", nil, 0, []string{"holdfast up", "send", "The host"}, nil},
		{"help", []string{"--help"}, 0, []string{"log another browser in"}, nil},
		{"help of a command", []string{"send", "--help"}, 0, []string{"Examples:", "--answer"}, nil},
		{"help of the agent", []string{"agent", "--help"}, 0, []string{"ACP"}, nil},
		{"version", []string{"version"}, 0, []string{"holdfast 1.2.3 ("}, nil},
		{"unknown command", []string{"sned"}, 2, nil, []string{"sned", "--help"}},
		{"unknown flag", []string{"status", "--jsn"}, 2, nil, []string{"--jsn", "holdfast status --help"}},
		{"send without text", []string{"send", "s_1"}, 2, nil, []string{"--new AGENT"}},
		{"send with too much", []string{"send", "--new", "x", "a", "b"}, 2, nil, []string{"in quotes"}},
		{"send with a wrong answer", []string{"send", "--answer", "yes", "s", "x"}, 2, nil, []string{"allow_once"}},
		{"token without a name", []string{"token", "create"}, 2, nil, []string{"--name"}},
		{"token with an empty name", []string{"token", "create", "--name", " "}, 2, nil, []string{"--name is empty"}},
		{"tail after without json", []string{"tail", "s", "--after", "1"}, 2, nil, []string{"--json"}},
		{"export of nothing", []string{"export"}, 2, nil, []string{"--all"}},
		{"export of one and all", []string{"export", "s", "--all"}, 2, nil, []string{"--all"}},
		{"export of two into a file", []string{"export", "s", "t", "-o", "x"}, 2, nil, []string{"folder"}},
		{"export into no format", []string{"export", "s", "--format", "pdf"}, 2, nil, []string{"md"}},
		{"export without a host", []string{"export", "s"}, 1, nil, []string{"holdfast up"}},
		{"import of nothing", []string{"import"}, 2, nil, []string{"file"}},
		{"search for nothing", []string{"search"}, 2, nil, []string{"words"}},
		{"search without a host", []string{"search", "x"}, 1, nil, []string{"holdfast up"}},
		{"wrong address", []string{"serve", "--addr", "8787"}, 78, nil, []string{"--addr", "HOST:PORT"}},
		{"status without a host", []string{"status"}, 1, nil, []string{"no host runs for the state folder", "holdfast up"}},
		{"send without a host", []string{"send", "s", "x"}, 1, nil, []string{"holdfast up"}},
		{"stop without a host", []string{"stop"}, 0, nil, []string{"nothing to stop"}},
		{"stop all without a host", []string{"stop", "--all"}, 1, nil, []string{"Start one"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, out, problem := newBench(t).run(c.args...)
			if code != c.code {
				t.Errorf("code %d, want %d; %s", code, c.code, problem)
			}
			for _, w := range c.out {
				if !strings.Contains(out, w) {
					t.Errorf("output %q lacks %q", out, w)
				}
			}
			for _, w := range c.problem {
				if !strings.Contains(problem, w) {
					t.Errorf("standard error %q lacks %q", problem, w)
				}
			}
		})
	}
}

func TestEveryCommandHasExamples(t *testing.T) {
	for _, cmd := range []string{"up", "serve", "status", "stop", "logs", "verify", "link", "token create", "password set", "agents", "sessions", "send", "tail", "search", "export", "import"} {
		code, out, _ := newBench(t).run(append(strings.Fields(cmd), "--help")...)
		if code != 0 || !strings.Contains(out, "Example") || !strings.Contains(out, "holdfast "+cmd) {
			t.Errorf("help of %s (%d):\n%s", cmd, code, out)
		}
	}
}

func TestConfigError(t *testing.T) {
	b := newBench(t)
	if err := os.WriteFile(filepath.Join(b.home, "config.toml"), []byte("adr = 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"serve"}, {"up"}, {"status"}, {"link"}} {
		if code, _, problem := b.run(args...); code != 78 || !strings.Contains(problem, "config.toml:1:1") {
			t.Errorf("%v: code %d, %s", args, code, problem)
		}
	}
}

type codedError struct{ code int }

func (e codedError) Error() string { return "the port is taken" }
func (e codedError) ExitCode() int { return e.code }

func TestServe(t *testing.T) {
	b := newBench(t)
	var got *config.Config
	var asked bool
	b.p.Serve = func(_ context.Context, cfg *config.Config, o ServeOptions) error {
		got, asked = cfg, o.Link
		o.Ready(Ready{URL: "http://127.0.0.1:9", Link: "http://127.0.0.1:9/#login=x"})
		return nil
	}
	code, out, problem := b.run("serve", "--addr", "127.0.0.1:9")
	if code != 0 || got.Addr != "127.0.0.1:9" || got.Home != b.home || asked || out != "" || !strings.Contains(problem, "#login=x") {
		t.Errorf("serve: %d %+v %q %q", code, got, out, problem)
	}
	code, out, _ = b.run("up")
	if code != 0 || !asked || !strings.Contains(out, "#login=x") || !strings.Contains(out, "Ctrl-C") {
		t.Errorf("up: %d %q", code, out)
	}
	b.p.Serve = func(context.Context, *config.Config, ServeOptions) error {
		return fmt.Errorf("serve: %w", codedError{75})
	}
	if code, _, problem := b.run("serve"); code != 75 || !strings.Contains(problem, "the port is taken") {
		t.Errorf("coded: %d %q", code, problem)
	}
}

func TestPrograms(t *testing.T) {
	b := newBench(t)
	var got []string
	b.p.Keeper = func(args []string) int { got = args; return 7 }
	b.p.Agent = func(args []string) int { got = args; return 8 }
	if code, _, _ := b.run("keeper", "--help", "x"); code != 7 || cmp.Diff([]string{"--help", "x"}, got) != "" {
		t.Errorf("keeper: %d %q", code, got)
	}
	if code, _, _ := b.run("agent", "--x"); code != 8 || cmp.Diff([]string{"--x"}, got) != "" {
		t.Errorf("agent: %d %q", code, got)
	}
}

// control is the part of the control socket that needs no sessions.
func control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /control/link", func(w http.ResponseWriter, r *http.Request) {
		var in struct{ Name string }
		_ = json.NewDecoder(r.Body).Decode(&in)
		reply(w, map[string]any{"url": "http://127.0.0.1:1/#login=" + in.Name, "expires_at": time.Now()})
	})
	mux.HandleFunc("POST /control/token", func(w http.ResponseWriter, _ *http.Request) { reply(w, map[string]string{"token": "hf_secret"}) })
	mux.HandleFunc("GET /control/tokens", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, map[string]any{"tokens": []login{{ID: "t1", Kind: "token", Name: "evil\x1b[2Jname"}}})
	})
	mux.HandleFunc("DELETE /control/tokens/{id}", func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("id") == "t1" {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusNotFound)
		_ = json.NewEncoder(w).Encode(problem{Detail: "there is no login of that id", Code: "not_found"})
	})
	mux.HandleFunc("PATCH /api/v1/devices/{id}", func(w http.ResponseWriter, r *http.Request) {
		var in struct{ Name string }
		if json.NewDecoder(r.Body).Decode(&in) != nil || in.Name != "Pixel 9" || r.PathValue("id") != "t1" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("DELETE /api/v1/devices", func(w http.ResponseWriter, _ *http.Request) { reply(w, map[string]int{"removed": 3}) })
	mux.HandleFunc("POST /control/password", func(w http.ResponseWriter, r *http.Request) {
		var in struct{ Password string }
		_ = json.NewDecoder(r.Body).Decode(&in)
		if in.Password != "" && len(in.Password) < 10 {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusBadRequest)
			_ = json.NewEncoder(w).Encode(problem{Detail: "the password is too short"})
		}
	})
	mux.HandleFunc("POST /control/verify", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, `{"done":1,"total":2}`)
		fmt.Fprintln(w, `{"done":2,"total":2,"report":{"sessions":1,"events":2,"wrong":["item i1 differs"]}}`)
	})
	return mux
}

func TestLogins(t *testing.T) {
	running := newBench(t)
	running.listen(control())
	offline := newBench(t)
	opened := 0
	offline.p.Offline = func(context.Context, *config.Config) (http.Handler, func() error, error) {
		opened++
		return control(), func() error { opened--; return nil }, nil
	}
	for name, b := range map[string]*bench{"a running host": running, "no host": offline} {
		t.Run(name, func(t *testing.T) {
			b.t = t
			if code, out, _ := b.run("link", "--name", "phone"); code != 0 || out != "http://127.0.0.1:1/#login=phone\n" {
				t.Errorf("link: %d %q", code, out)
			}
			if code, out, problem := b.run("token", "create", "--name", "n"); code != 0 || out != "hf_secret\n" || problem != "" {
				t.Errorf("token create: %d %q %q", code, out, problem)
			}
			if code, out, _ := b.run("token", "list"); code != 0 || !strings.Contains(out, "t1") || strings.Contains(out, "\x1b") {
				t.Errorf("token list: %d %q", code, out)
			}
			if code, out, said := b.run("link", "--name", "phone", "--qr"); code != 0 || out != "http://127.0.0.1:1/#login=phone\n" || strings.Count(said, "█") < 100 || strings.Contains(said, "\x1b") {
				t.Errorf("link --qr: %d %q %q", code, out, said)
			}
			if code, _, problem := b.run("token", "rename", "t1", "Pixel 9"); code != 0 {
				t.Errorf("token rename: %d %q", code, problem)
			}
			if code, _, said := b.run("token", "revoke", "--browsers"); code != 0 || !strings.Contains(said, "3") {
				t.Errorf("token revoke --browsers: %d %q", code, said)
			}
			for _, args := range [][]string{{"token", "revoke"}, {"token", "revoke", "t1", "--browsers"}} {
				if code, _, problem := b.run(args...); code != ExitUsage || !strings.Contains(problem, "--browsers") {
					t.Errorf("%v: %d %q", args, code, problem)
				}
			}
			if code, _, _ := b.run("token", "revoke", "t1"); code != 0 {
				t.Errorf("token revoke: %d", code)
			}
			if code, _, problem := b.run("token", "revoke", "t2"); code != 1 || !strings.Contains(problem, "no login of that id") {
				t.Errorf("token revoke of none: %d %q", code, problem)
			}
			b.in = "short\n"
			if code, _, problem := b.run("password", "set"); code != 1 || !strings.Contains(problem, "too short") {
				t.Errorf("short password: %d %q", code, problem)
			}
			b.in = "\n"
			if code, _, problem := b.run("password", "set"); code != 1 || !strings.Contains(problem, "password remove") {
				t.Errorf("empty password: %d %q", code, problem)
			}
			b.in = "long enough to pass"
			if code, _, _ := b.run("password", "set"); code != 0 {
				t.Errorf("password: %d", code)
			}
			if code, _, _ := b.run("password", "remove"); code != 0 {
				t.Errorf("password remove: %d", code)
			}
			if code, out, problem := b.run("verify"); code != 1 || !strings.Contains(out, "item i1 differs") || !strings.Contains(problem, "differs from the log") {
				t.Errorf("verify: %d %q %q", code, out, problem)
			}
		})
	}
	if opened != 0 {
		t.Errorf("%d stores left open", opened)
	}
}

func TestOfflineRefused(t *testing.T) {
	b := newBench(t)
	b.p.Offline = func(context.Context, *config.Config) (http.Handler, func() error, error) {
		return nil, nil, &Error{Code: ExitNoRestart, Msg: "another host holds the state folder: pid 1"}
	}
	if code, _, problem := b.run("link"); code != 78 || !strings.Contains(problem, "pid 1") {
		t.Errorf("link: %d %q", code, problem)
	}
}

func TestStatusAndStop(t *testing.T) {
	b := newBench(t)
	mux := http.NewServeMux()
	var srv *http.Server
	mux.HandleFunc("GET /control/status", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, status{PID: 42, Address: "127.0.0.1:1", Version: "1", LiveAgents: 2})
	})
	var all atomic.Bool
	mux.HandleFunc("POST /control/stop", func(_ http.ResponseWriter, r *http.Request) {
		var in struct{ All bool }
		_ = json.NewDecoder(r.Body).Decode(&in)
		all.Store(in.All)
		go srv.Close()
	})
	srv = b.listen(mux)
	if code, out, _ := b.run("status"); code != 0 || !strings.Contains(out, "http://127.0.0.1:1") || !strings.Contains(out, "42") {
		t.Errorf("status: %d %q", code, out)
	}
	var s status
	if code, out, _ := b.run("status", "--json"); code != 0 || json.Unmarshal([]byte(out), &s) != nil || s.LiveAgents != 2 {
		t.Errorf("status --json: %d %q", code, out)
	}
	if code, _, problem := b.run("stop", "--all"); code != 0 || !all.Load() || !strings.Contains(problem, "Stopped") {
		t.Errorf("stop: %d %v %q", code, all.Load(), problem)
	}
}

// host is a made-up host with one session, whose stream a test cuts.
type host struct {
	mu      sync.Mutex
	events  []store.Event
	cutAt   int // connections are cut after the event with this number; 0: never
	gen     string
	posts   int
	answers []string
	made    map[string]string // what the session was asked for with
}

func (h *host) add(run string, kind store.Kind, body any) {
	data, _ := json.Marshal(body)
	n := int64(len(h.events) + 1)
	h.events = append(h.events, store.Event{ID: n, Session: "s1", Seq: n, Run: run, Kind: kind, Body: data})
}

func (h *host) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v1/sessions", func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		defer h.mu.Unlock()
		_ = json.NewDecoder(r.Body).Decode(&h.made)
		w.WriteHeader(http.StatusCreated)
		reply(w, map[string]string{"id": "s1"})
	})
	mux.HandleFunc("GET /api/v1/sessions/s1/items", func(w http.ResponseWriter, _ *http.Request) {
		h.mu.Lock()
		defer h.mu.Unlock()
		reply(w, snapshot{Cursor: fmt.Sprintf("%s.%d", h.gen, len(h.events)), Seq: int64(len(h.events)), Items: []store.Item{
			{ID: "u0", Session: "s1", Kind: store.ItemUser, Body: json.RawMessage(`{"text":"earlier"}`)},
			{ID: "a0", Session: "s1", Kind: store.ItemAssistant, Body: json.RawMessage(`{"text":"said"}`)},
		}})
	})
	mux.HandleFunc("GET /api/v1/sessions/s1/events", func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		defer h.mu.Unlock()
		var after int
		_, _ = fmt.Sscan(r.URL.Query().Get("after"), &after)
		end := min(after+2, len(h.events)) // small pages
		reply(w, map[string]any{"events": h.events[min(after, end):end], "last": len(h.events)})
	})
	mux.HandleFunc("POST /api/v1/sessions/s1/messages", func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.posts++
		if h.posts == 1 {
			panic(http.ErrAbortHandler) // the host dies before it answers
		}
		var in map[string]string
		_ = json.NewDecoder(r.Body).Decode(&in)
		h.add("r1", store.MessageUser, store.MessageBody{Item: "u1", Text: in["text"]})
		h.add("r0", store.TextDelta, store.DeltaBody{Item: "other", Text: "of another run"})
		h.add("r1", store.TextDelta, store.DeltaBody{Item: "a1", Text: "one "})
		h.add("r1", store.ThoughtDelta, store.DeltaBody{Item: "t1", Text: "hm"})
		h.add("r1", store.ToolStarted, store.ToolBody{Item: "x", Title: "run date"})
		h.add("r1", store.ApprovalRequested, store.Approval{ID: "ap1", Title: "May I?", Options: []store.ApprovalOption{
			{ID: "no", Name: "No", Kind: "reject_once"}, {ID: "yes", Name: "Yes", Kind: "allow_once"},
		}})
		h.add("r1", store.TextDelta, store.DeltaBody{Item: "a1", Text: "two"})
		h.add("r1", store.RunEnded, store.RunBody{Run: "r1", Reason: in["text"]})
		reply(w, map[string]any{"run": "r1", "state": "started"})
	})
	mux.HandleFunc("POST /api/v1/approvals/ap1", func(_ http.ResponseWriter, r *http.Request) {
		var in map[string]string
		_ = json.NewDecoder(r.Body).Decode(&in)
		h.mu.Lock()
		defer h.mu.Unlock()
		h.answers = append(h.answers, in["option"])
	})
	mux.HandleFunc("GET /api/v1/stream", func(w http.ResponseWriter, r *http.Request) {
		gen, at, _ := strings.Cut(r.URL.Query().Get("cursor"), ".")
		var from int
		_, _ = fmt.Sscan(at, &from)
		h.mu.Lock()
		defer h.mu.Unlock()
		rc := http.NewResponseController(w)
		if gen != h.gen {
			from = len(h.events)
			fmt.Fprintf(w, "event: resync\nid: %s.%d\ndata: {}\n\n", h.gen, from)
		}
		fmt.Fprintf(w, "retry: 10\nevent: ping\nid: %s.%d\ndata: {}\n\n", h.gen, from)
		for _, e := range h.events[from:] {
			data, _ := json.Marshal(e)
			fmt.Fprintf(w, "id: %s.%d\ndata: %s\n\n", h.gen, e.ID, data)
			_ = rc.Flush()
			if int(e.ID) == h.cutAt {
				h.cutAt = 0
				h.gen = "g2" // and a copy of the log was restored meanwhile
				panic(http.ErrAbortHandler)
			}
		}
	})
	return mux
}

func TestSend(t *testing.T) {
	for _, c := range []struct {
		name   string
		cutAt  int
		args   []string
		in     string
		code   int
		wanted []string
	}{
		{"a session", 0, []string{"send", "s1", "end_turn"}, "", 0, []string{"* run date", "? May I?", "--answer"}},
		{"a new one", 0, []string{"send", "--new", "tour", "end_turn"}, "", 0, []string{"session s1"}},
		{"one with a model", 0, []string{"send", "--new", "tour", "--model", "m1", "--mode", "ask", "end_turn"}, "", 0, []string{"session s1"}},
		{"from standard input", 0, []string{"send", "s1", "-"}, "end_turn", 0, nil},
		{"cut in the middle", 3, []string{"send", "s1", "end_turn"}, "", 0, []string{"the host is away", "the host is back"}},
		{"answered", 0, []string{"send", "--answer", "allow_once", "s1", "end_turn"}, "", 0, []string{"May I? -> Yes"}},
		{"interrupted", 0, []string{"send", "s1", "interrupted"}, "", 1, []string{"the run ended with interrupted"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, h := newBench(t), &host{cutAt: c.cutAt, gen: "g1"}
			b.in = c.in
			b.listen(h.handler())
			code, out, problem := b.run(c.args...)
			if code != c.code || out != "one two\n" {
				t.Errorf("code %d, answer %q; %s", code, out, problem)
			}
			for _, w := range c.wanted {
				if !strings.Contains(problem, w) {
					t.Errorf("standard error %q lacks %q", problem, w)
				}
			}
			if h.posts != 2 {
				t.Errorf("%d posts, want one that failed and one", h.posts)
			}
			if answered := len(h.answers) == 1 && h.answers[0] == "yes"; answered != (c.name == "answered") {
				t.Errorf("answers %q", h.answers)
			}
			if c.name == "one with a model" && (h.made["model"] != "m1" || h.made["mode"] != "ask") {
				t.Errorf("the session was asked for with %v", h.made)
			}
		})
	}
	b := newBench(t)
	if code, _, problem := b.run("send", "--model", "m1", "s1", "hello"); code != ExitUsage {
		t.Errorf("a model for a session that is there: code %d, %s", code, problem)
	}
}

func TestTail(t *testing.T) {
	b, h := newBench(t), &host{gen: "g1", posts: 1}
	b.listen(h.handler())
	if code, _, problem := b.run("send", "s1", "end_turn"); code != 0 {
		t.Fatalf("send: %d %s", code, problem)
	}
	code, out, _ := b.run("tail", "s1", "--no-follow")
	if code != 0 || out != "> earlier\nsaid\n" {
		t.Errorf("tail: %d %q", code, out)
	}
	code, out, _ = b.run("tail", "s1", "--json", "--after", "0", "--no-follow")
	if lines := strings.Split(strings.TrimSpace(out), "\n"); code != 0 || len(lines) != len(h.events) {
		t.Errorf("tail --json: %d, %d of %d events", code, len(lines), len(h.events))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	code, out, problem := b.runIn(ctx, "tail", "s1", "-n", "0")
	if code != 0 || out != "" {
		t.Errorf("tail until interrupted: %d %q %q", code, out, problem)
	}
}

func TestPrintable(t *testing.T) {
	if got := printable("a\x1b[2J\u009bb\tc\n"); got != "a[2Jb\tc\n" {
		t.Errorf("printable: %q", got)
	}
}

// Package e2e drives the built binary as a process: over HTTP, with scripted
// agents, real signals and a real second process.
package e2e

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// bins are the programs under test, built once. The host is built with
// failpoints, which are quiet unless armed, and with the race detector where
// the tests are.
var bins struct{ host, agent string }

func TestMain(m *testing.M) {
	if dir := os.Getenv(sweepVar); dir != "" {
		_, _ = io.Copy(io.Discard, os.Stdin) // ends when the test that started us does
		sweep(dir)
		_ = os.RemoveAll(dir)
		return
	}
	dir, err := os.MkdirTemp("", "hf-e2e")
	if err != nil {
		panic(err)
	}
	build := func(out, pkg string, tags ...string) string {
		path := filepath.Join(dir, out)
		args := append([]string{"build", "-o", path}, tags...)
		cmd := exec.Command("go", append(args, pkg)...)
		cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
		if err := cmd.Run(); err != nil {
			fmt.Fprintf(os.Stderr, "build %s: %v\n", pkg, err)
			os.Exit(1)
		}
		return path
	}
	tags := []string{"-tags", "failpoints"}
	if raceEnabled {
		tags = append(tags, "-race")
	}
	bins.host = build("holdfast", "github.com/holdfast-dev/holdfast/cmd/holdfast", tags...)
	bins.agent = build("scripted", "github.com/holdfast-dev/holdfast/test/agent")
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// world is one state folder with the host that serves it.
// databaseMost is what the database may have open: three for the writer and two
// for each of four readers, opened as they are first needed.
const databaseMost = 11

type world struct {
	t     *testing.T
	home  string
	work  string // the sessions' folder
	log   string // every line that scripted agents got
	env   []string
	agent string // of new sessions
	bin   string // the host's binary
	host  *exec.Cmd
	base  string
	token string
	out   *syncBuffer
	done  chan struct{}
	after func() // at the very end

	args   []string // of the host, beside the usual ones
	nofile int      // its limit of descriptors; 0: as it is
	soft   bool     // it may raise that

	// within turns a command into one that runs where a supervisor's host lives;
	// nil: here. A host that a supervisor started is not w.host's.
	within func(argv []string) []string
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// long leaves a test out of the quick run; `make check` has all of them.
func long(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("left out by -short")
	}
}

// agentEnv is the environment of the scripted agent of a world.
type agentEnv map[string]string

func newWorld(t *testing.T, env agentEnv, config string) *world {
	t.Helper()
	dir, err := os.MkdirTemp("", "hf")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, agent: "script", bin: bins.host, home: filepath.Join(dir, "home"), work: filepath.Join(dir, "work"), log: filepath.Join(dir, "agent.log"), out: &syncBuffer{}}
	for _, d := range []string{w.home, w.work, filepath.Join(dir, "state")} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	vars := fmt.Sprintf("SCRIPT_AGENT_LOG = %q, SCRIPT_AGENT_STATE = %q", w.log, filepath.Join(dir, "state"))
	for k, v := range env {
		vars += fmt.Sprintf(", %s = %q", k, v)
	}
	if env["SCRIPT_AGENT_STEER"] != "" {
		w.agent = "hermes" // which the catalogue knows to be steered
	}
	text := config + fmt.Sprintf("\n[agents.%s]\nname = \"Script\"\ncommand = [%q]\nenv = { %s }\npermission_deadline = %q\n", w.agent, bins.agent, vars, cmp.Or(env["EXPIRE"], "0s"))
	if err := os.WriteFile(filepath.Join(w.home, "config.toml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			w.dump()
		}
		w.stopAll()
		if left := w.marked(); len(left) > 0 {
			t.Errorf("left running at the end: %v", left)
			for _, pid := range left {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		if t.Failed() {
			t.Logf("host output:\n%s", tail(w.out.String(), 12000))
		}
		if w.after != nil {
			w.after()
		}
		_ = os.RemoveAll(dir)
	})
	return w
}

// dump shows the log of every session, texts left out.
func (w *world) dump() {
	var page struct{ Sessions []sessionRow }
	if w.base == "" || w.call("GET", "/api/v1/sessions", nil, &page) != nil {
		return
	}
	for _, s := range page.Sessions {
		var log struct{ Events []event }
		if w.call("GET", "/api/v1/sessions/"+s.ID+"/events?after=0&limit=1000", nil, &log) != nil {
			continue
		}
		for _, e := range log.Events {
			if e.Kind == "text.delta" || e.Kind == "session.changed" {
				continue
			}
			w.t.Logf("%s %d %s %s %.300s", s.ID, e.Seq, e.Kind, e.Run, e.Body)
		}
	}
}

func tail(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return "…" + s[len(s)-n:]
}

// start runs the host and waits until it is healthy. failpoints arms places in
// this life of it.
func (w *world) start(failpoints ...string) {
	w.t.Helper()
	w.launch(failpoints...)
	w.awaitHealthy()
	if w.token == "" {
		w.token = strings.TrimSpace(w.cli("token", "create", "--name", "test"))
	}
}

func (w *world) launch(failpoints ...string) {
	w.t.Helper()
	if w.host != nil {
		select {
		case <-w.done:
		default:
			w.t.Fatal("a host of this world still runs: the test meant to end it first")
		}
	}
	addr := "127.0.0.1:0"
	if w.base != "" {
		addr = strings.TrimPrefix(w.base, "http://") // a page comes back to the same address
	}
	argv := append([]string{w.bin, "serve", "--addr", addr, "--home", w.home}, w.args...)
	cmd := exec.Command(argv[0], argv[1:]...)
	if w.nofile > 0 {
		cmd = limited(w.nofile, w.soft, argv)
	}
	cmd.Env = w.environ()
	if len(failpoints) > 0 {
		cmd.Env = append(cmd.Env, "HOLDFAST_FAILPOINT="+strings.Join(failpoints, ","))
	}
	cmd.Stdout, cmd.Stderr = w.out, w.out
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	w.host, w.done = cmd, done
}

// limited is a command under a limit of descriptors, which it may raise where it
// is a soft one.
func limited(n int, soft bool, argv []string) *exec.Cmd {
	which := ""
	if soft {
		which = "-S"
	}
	return exec.Command("/bin/sh", append([]string{"-c", fmt.Sprintf(`ulimit %s -n %d && exec "$0" "$@"`, which, n)}, argv...)...)
}

func (w *world) environ() []string {
	env := append(os.Environ(), "HOLDFAST_HOME="+w.home, "SHELL=/bin/sh")
	return append(env, w.env...)
}

func (w *world) awaitHealthy() {
	w.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for time.Now().Before(deadline) {
		if w.base == "" {
			if st := w.status(); st != nil {
				w.base = "http://" + st["address"].(string)
			}
		}
		if w.base != "" {
			resp, err := http.Get(w.base + "/health")
			if err == nil {
				_ = resp.Body.Close()
				if resp.StatusCode == http.StatusOK {
					return
				}
			}
		}
		select {
		case <-w.done:
			w.t.Fatalf("the host ended before it was healthy:\n%s", w.out)
		case <-time.After(5 * time.Millisecond):
		}
	}
	w.t.Fatalf("the host was not healthy in time:\n%s", w.out)
}

// command is the built binary with the world's environment.
func (w *world) command(args ...string) *exec.Cmd {
	argv := append([]string{bins.host}, args...)
	if w.within != nil {
		argv = w.within(argv)
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = w.environ()
	return cmd
}

// status is what `holdfast status --json` says, or nil where no host answers.
func (w *world) status() map[string]any {
	out, err := w.command("status", "--json", "--home", w.home).Output()
	if err != nil {
		return nil
	}
	var st map[string]any
	if json.Unmarshal(out, &st) != nil || st["address"] == nil || st["address"] == "" {
		return nil
	}
	return st
}

// cli runs a command against the world's state folder and returns its stdout.
func (w *world) cli(args ...string) string {
	w.t.Helper()
	cmd := w.command(append(args, "--home", w.home)...)
	var errOut bytes.Buffer
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	if err != nil {
		w.t.Fatalf("holdfast %s: %v\n%s%s", strings.Join(args, " "), err, out, errOut.String())
	}
	return string(out)
}

// kill is kill -9.
func (w *world) kill() {
	w.t.Helper()
	_ = w.host.Process.Kill()
	w.awaitExit()
}

func (w *world) awaitExit() int {
	w.t.Helper()
	select {
	case <-w.done:
	case <-time.After(30 * time.Second):
		w.t.Fatalf("the host did not end")
	}
	return w.host.ProcessState.ExitCode()
}

// stop is SIGTERM: an orderly stop.
func (w *world) stop() int {
	w.t.Helper()
	_ = w.host.Process.Signal(syscall.SIGTERM)
	return w.awaitExit()
}

// stopAll ends the host and every agent.
func (w *world) stopAll() {
	if w.host != nil {
		select {
		case <-w.done:
		default:
			_ = w.command("stop", "--all", "--home", w.home).Run()
			_ = w.host.Process.Signal(syscall.SIGTERM)
			select {
			case <-w.done:
			case <-time.After(10 * time.Second):
				w.t.Errorf("the host did not end")
				_ = w.host.Process.Kill()
				<-w.done
			}
			return
		}
	}
	for _, pid := range w.marked() { // a test that ends with its host dead
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	time.Sleep(50 * time.Millisecond)
}

// marked lists the processes that carry the world's mark.
func (w *world) marked() []int {
	var pids []int
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		var pid int
		if _, err := fmt.Sscan(e.Name(), &pid); err != nil {
			continue
		}
		env, err := os.ReadFile(filepath.Join("/proc", e.Name(), "environ"))
		if err == nil && bytes.Contains(env, []byte("HOLDFAST_MARK="+w.home+":")) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// sweepVar makes the test binary the sweeper of a test's folder, and siteVar is
// how a supervisor and what it starts are known.
const (
	sweepVar = "HOLDFAST_TEST_SWEEP"
	siteVar  = "HOLDFAST_TEST_SITE"
)

// sweep kills what belongs to a test's folder until nothing of it is left: a
// supervisor that lives on starts what was killed before it.
func sweep(dir string) {
	for quiet := 0; quiet < 3; {
		quiet++
		entries, _ := os.ReadDir("/proc")
		for _, e := range entries {
			var pid int
			if _, err := fmt.Sscan(e.Name(), &pid); err != nil || pid == os.Getpid() {
				continue
			}
			env, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "environ"))
			args, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
			if bytes.Contains(env, []byte(siteVar+"="+dir+"\x00")) || bytes.Contains(env, []byte("HOLDFAST_MARK="+dir+"/")) || bytes.Contains(args, []byte(dir+"/")) {
				_ = syscall.Kill(pid, syscall.SIGKILL)
				quiet = 0
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// problem is an answer that is not 2xx.
type problem struct {
	Status int
	Code   string `json:"code"`
	Title  string `json:"title"`
	Detail string `json:"detail"`
	Body   string `json:"-"`
}

func (p *problem) Error() string {
	return fmt.Sprintf("%d %s: %s %s", p.Status, p.Code, p.Title, p.Detail)
}

// call makes a request and reads its JSON answer into out.
func (w *world) call(method, path string, in, out any) error {
	return w.callBase(w.base, method, path, in, out)
}

func (w *world) callBase(base, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	ctx, stop := context.WithTimeout(context.Background(), 20*time.Second)
	defer stop()
	req, err := http.NewRequestWithContext(ctx, method, base+path, body)
	if err != nil {
		return err
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Authorization", "Bearer "+w.token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		p := &problem{Body: string(data)}
		_ = json.Unmarshal(data, p)
		p.Status = resp.StatusCode
		return p
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(data, out)
}

// must is call that has to succeed.
func (w *world) must(method, path string, in, out any) {
	w.t.Helper()
	if err := w.call(method, path, in, out); err != nil {
		w.t.Fatalf("%s %s: %v", method, path, err)
	}
}

// refused is a call that has to fail with the status and code.
func (w *world) refused(status int, code, method, path string, in any) *problem {
	w.t.Helper()
	err := w.call(method, path, in, nil)
	var p *problem
	if !errors.As(err, &p) || p.Status != status || code != "" && p.Code != code {
		w.t.Fatalf("%s %s: got %v, want %d %s", method, path, err, status, code)
	}
	return p
}

type sessionRow struct {
	ID, Title, Agent, State, Run, Reason string
	AgentState                           string `json:"agent_state"`
	Waiting, Queued                      int
	Paused                               bool
	Seq                                  int64
}

type item struct {
	ID, Run, Kind string
	Seq           int64
	Open          bool
	Body          struct {
		Item    string
		Text    string
		Title   string
		Status  string
		Code    string
		Detail  json.RawMessage
		Level   string
		State   string
		Steer   struct{ State string }
		Content []json.RawMessage
	}
}

type event struct {
	ID      int64
	Session string
	Seq     int64
	Run     string
	At      time.Time
	Kind    string
	Body    json.RawMessage
}

type accepted struct {
	Item, Run, State string
	Seq              int64
}

type approval struct {
	ID, Session, Run, State, Title, Item, Chosen, By, Reason string
	Options                                                  []struct{ ID, Name, Kind string }
}

func (w *world) newSession() sessionRow {
	w.t.Helper()
	var s sessionRow
	w.must("POST", "/api/v1/sessions", map[string]any{"agent": w.agent, "cwd": w.work}, &s)
	return s
}

func (w *world) session(id string) sessionRow {
	w.t.Helper()
	var s sessionRow
	w.must("GET", "/api/v1/sessions/"+id, nil, &s)
	return s
}

var messageCount struct {
	sync.Mutex
	n int
}

func (w *world) send(session, text string) accepted {
	w.t.Helper()
	messageCount.Lock()
	messageCount.n++
	id := fmt.Sprintf("m%d", messageCount.n)
	messageCount.Unlock()
	var a accepted
	w.must("POST", "/api/v1/sessions/"+session+"/messages", map[string]any{"client_id": id, "text": text}, &a)
	return a
}

// items reads the whole transcript, page by page.
func (w *world) items(session string) []item {
	w.t.Helper()
	var all []item
	before := int64(0)
	for {
		var page struct{ Items []item }
		path := fmt.Sprintf("/api/v1/sessions/%s/items?limit=200", session)
		if before > 0 {
			path += fmt.Sprintf("&before=%d", before)
		}
		w.must("GET", path, nil, &page)
		if len(page.Items) == 0 {
			return all
		}
		all = append(append([]item{}, page.Items...), all...)
		before = page.Items[0].Seq
	}
}

// said is the text of the assistant in one run.
func (w *world) said(session, run string) string {
	w.t.Helper()
	var b strings.Builder
	for _, it := range w.items(session) {
		if it.Run == run && it.Kind == "assistant" {
			b.WriteString(it.Body.Text)
		}
	}
	return b.String()
}

// events reads the whole log of a session.
func (w *world) events(session string) []event {
	w.t.Helper()
	var all []event
	after := int64(0)
	for {
		var page struct {
			Events []event
			Last   int64
		}
		w.must("GET", fmt.Sprintf("/api/v1/sessions/%s/events?after=%d&limit=1000", session, after), nil, &page)
		if len(page.Events) == 0 {
			return all
		}
		all = append(all, page.Events...)
		after = page.Events[len(page.Events)-1].Seq
	}
}

// until polls cond until it holds: what it waits for is another process.
func (w *world) until(what string, limit time.Duration, cond func() bool) {
	w.t.Helper()
	deadline := time.Now().Add(limit)
	for !cond() {
		if time.Now().After(deadline) {
			w.t.Fatalf("%s: not within %v", what, limit)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// ended waits for the end of a run and returns its reason.
func (w *world) ended(session, run string) string {
	w.t.Helper()
	reason := ""
	w.until("end of run "+run, 60*time.Second, func() bool {
		after := int64(0)
		for {
			var page struct{ Events []event }
			if err := w.call("GET", fmt.Sprintf("/api/v1/sessions/%s/events?after=%d&limit=1000", session, after), nil, &page); err != nil || len(page.Events) == 0 {
				return false
			}
			for _, e := range page.Events {
				if e.Kind == "run.ended" && e.Run == run {
					var body struct{ Reason string }
					_ = json.Unmarshal(e.Body, &body)
					reason = body.Reason
					return true
				}
			}
			after = page.Events[len(page.Events)-1].Seq
		}
	})
	return reason
}

// endAgent ends the session's agent and waits until nothing of it is left.
func (w *world) endAgent(session string) {
	w.t.Helper()
	w.must("POST", "/api/v1/sessions/"+session+"/agent/end", nil, nil)
	w.until("the agent's end", 20*time.Second, func() bool {
		return w.session(session).AgentState == "ended" && len(w.marked()) == 0
	})
}

// pending waits for an open question of the session.
func (w *world) pending(session string) approval {
	w.t.Helper()
	var found approval
	w.until("a question", 20*time.Second, func() bool {
		var page struct{ Approvals []approval }
		if w.call("GET", "/api/v1/approvals?state=pending", nil, &page) != nil {
			return false
		}
		for _, a := range page.Approvals {
			if a.Session == session {
				found = a
				return true
			}
		}
		return false
	})
	return found
}

// heard is what the scripted agents got, one line a message.
func (w *world) heard(contains string) []string {
	data, err := os.ReadFile(w.log)
	if err != nil {
		return nil
	}
	var out []string
	for line := range strings.Lines(string(data)) {
		if strings.Contains(line, contains) {
			out = append(out, strings.TrimSuffix(line, "\n"))
		}
	}
	return out
}

// whole checks what always holds for a session's log: seqs without gap, ids
// rising, the projection equal to the log.
func (w *world) whole(session string) {
	w.t.Helper()
	var lastID int64
	for i, e := range w.events(session) {
		if e.Seq != int64(i+1) {
			w.t.Fatalf("event %d of %s has seq %d", i+1, session, e.Seq)
		}
		if e.ID <= lastID {
			w.t.Fatalf("event ids do not rise: %d after %d", e.ID, lastID)
		}
		lastID = e.ID
	}
	if out := w.cli("verify"); strings.Contains(strings.ToLower(out), "differ") && !strings.Contains(out, "0 differences") && !strings.Contains(out, "no difference") {
		w.t.Fatalf("verify: %s", out)
	}
}

// follower is a client that reads the stream as a page does: it comes back by
// itself with its last cursor, and folds.
type follower struct {
	w       *world
	session string
	cancel  context.CancelFunc
	done    chan struct{}

	mu      sync.Mutex
	cursor  string
	events  []event
	resyncs int
	opens   int
}

func (w *world) follow(session, cursor string) *follower {
	ctx, cancel := context.WithCancel(context.Background())
	f := &follower{w: w, session: session, cursor: cursor, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(f.done)
		for ctx.Err() == nil {
			f.once(ctx)
			select {
			case <-time.After(5 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	}()
	w.t.Cleanup(f.close)
	return f
}

func (f *follower) close() { f.cancel(); <-f.done }

func (f *follower) once(ctx context.Context) {
	f.mu.Lock()
	cursor := f.cursor
	f.mu.Unlock()
	url := f.w.base + "/api/v1/stream?session=" + f.session
	if cursor != "" {
		url += "&cursor=" + cursor
	}
	req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		return
	}
	req.Header.Set("Authorization", "Bearer "+f.w.token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return
	}
	f.mu.Lock()
	f.opens++
	f.mu.Unlock()
	r := bufio.NewReaderSize(resp.Body, 64<<10)
	var id, kind, data string
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimSuffix(line, "\n")
		switch {
		case line == "":
			f.mu.Lock()
			if kind == "resync" {
				f.resyncs++
			} else if data != "" && (kind == "" || kind == "message") {
				var e event
				if json.Unmarshal([]byte(data), &e) == nil {
					f.events = append(f.events, e)
				}
			}
			if id != "" {
				f.cursor = id
			}
			f.mu.Unlock()
			id, kind, data = "", "", ""
		case strings.HasPrefix(line, "id:"):
			id = strings.TrimSpace(line[3:])
		case strings.HasPrefix(line, "event:"):
			kind = strings.TrimSpace(line[6:])
		case strings.HasPrefix(line, "data:"):
			data += strings.TrimPrefix(line[5:], " ")
		}
	}
}

// seen returns what the client got of the session so far.
func (f *follower) seen() []event {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []event
	for _, e := range f.events {
		if e.Session == f.session {
			out = append(out, e)
		}
	}
	return out
}

// text folds the text deltas of a run as the client saw them.
func (f *follower) text(run string) string {
	var b strings.Builder
	for _, e := range f.seen() {
		if e.Kind == "text.delta" && e.Run == run {
			var body struct{ Text string }
			_ = json.Unmarshal(e.Body, &body)
			b.WriteString(body.Text)
		}
	}
	return b.String()
}

// gapless checks that the client saw every event once, in order.
func (f *follower) gapless(t *testing.T) {
	t.Helper()
	var last int64
	for _, e := range f.seen() {
		if last != 0 && e.Seq != last+1 {
			t.Fatalf("the stream jumped from seq %d to %d", last, e.Seq)
		}
		last = e.Seq
	}
}

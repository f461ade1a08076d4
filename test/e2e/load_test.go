//go:build soak

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"mime/multipart"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// visitor is a client with connections of its own, as a browser or a script has.
type visitor struct {
	w      *world
	client http.Client
	said   map[int]int // statuses that it got

	version string // for If-Match
}

func (w *world) visitor() *visitor {
	return &visitor{w: w, client: http.Client{Timeout: 60 * time.Second, Transport: &http.Transport{MaxConnsPerHost: 2}}, said: map[int]int{}}
}

// leave closes its connections.
func (v *visitor) leave() { v.client.CloseIdleConnections() }

// do asks and fails the test unless the answer has one of the statuses.
func (v *visitor) do(method, path string, in, out any, want ...int) int {
	var body io.Reader
	kind := "application/json"
	switch in := in.(type) {
	case nil:
	case string:
		body = strings.NewReader(in)
	case *upload:
		body, kind = in.body(), in.kind
	default:
		data, err := json.Marshal(in)
		if err != nil {
			panic(err)
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(v.w.t.Context(), method, v.w.base+path, body)
	if err != nil {
		panic(err)
	}
	if body != nil {
		req.Header.Set("Content-Type", kind)
	}
	if v.version != "" {
		req.Header.Set("If-Match", v.version)
	}
	req.Header.Set("Authorization", "Bearer "+v.w.token)
	resp, err := v.client.Do(req)
	if err != nil {
		v.w.t.Errorf("%s %s: %v", method, path, err)
		return 0
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	v.said[resp.StatusCode]++
	if err != nil || len(want) > 0 && !slices.Contains(want, resp.StatusCode) {
		v.w.t.Errorf("%s %s: %d %.300s, %v; want %v", method, path, resp.StatusCode, data, err, want)
	}
	if out != nil && resp.StatusCode < 300 {
		if err := json.Unmarshal(data, out); err != nil {
			v.w.t.Errorf("%s %s: %v", method, path, err)
		}
	}
	return resp.StatusCode
}

// upload is a file to attach.
type upload struct {
	kind string
	data []byte
}

func newUpload(size int) *upload {
	var b bytes.Buffer
	form := multipart.NewWriter(&b)
	part, err := form.CreateFormFile("file", "notes.txt")
	if err != nil {
		panic(err)
	}
	_, _ = part.Write(bytes.Repeat([]byte("0123456789abcde\n"), size/16))
	_ = form.Close()
	return &upload{kind: form.FormDataContentType(), data: b.Bytes()}
}

func (u *upload) body() io.Reader { return bytes.NewReader(u.data) }

// stream opens a stream and leaves it: at once, or after some of its events.
func (v *visitor) stream(query string, events int) {
	ctx, cancel := context.WithTimeout(v.w.t.Context(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", v.w.base+"/api/v1/stream"+query, nil)
	if err != nil {
		panic(err)
	}
	req.Header.Set("Authorization", "Bearer "+v.w.token)
	resp, err := v.client.Do(req)
	if err != nil {
		v.w.t.Errorf("open a stream: %v", err)
		return
	}
	defer resp.Body.Close()
	v.said[resp.StatusCode]++
	if resp.StatusCode != http.StatusOK {
		v.w.t.Errorf("a stream got %s", resp.Status)
		return
	}
	for r := bufio.NewReader(resp.Body); events > 0; {
		line, err := r.ReadString('\n')
		if err != nil {
			v.w.t.Errorf("a stream ended: %v", err)
			return
		}
		if strings.HasPrefix(line, "id:") {
			events--
		}
	}
}

// runs tells how runs end, by one stream of all sessions of a test.
type runs struct {
	mu   sync.Mutex
	ends map[string]string // by run: the reason
	news chan struct{}     // closed when one has ended
	stop context.CancelFunc
	done chan struct{}
}

func (w *world) watchRuns(sessions []string) *runs {
	ctx, stop := context.WithCancel(context.Background())
	r := &runs{ends: map[string]string{}, news: make(chan struct{}), stop: stop, done: make(chan struct{})}
	query := "?session=" + strings.Join(sessions, "&session=")
	var last struct{ Cursor string }
	w.must("GET", "/api/v1/sessions?limit=1", nil, &last)
	go func() {
		defer close(r.done)
		for ctx.Err() == nil {
			last.Cursor = r.read(ctx, w, query, last.Cursor)
		}
	}()
	w.t.Cleanup(r.leave)
	return r
}

// read follows one stream to its end and returns the cursor there.
func (r *runs) read(ctx context.Context, w *world, query, cursor string) string {
	req, err := http.NewRequestWithContext(ctx, "GET", w.base+"/api/v1/stream"+query+"&cursor="+cursor, nil)
	if err != nil {
		panic(err)
	}
	req.Header.Set("Authorization", "Bearer "+w.token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return cursor
	}
	defer resp.Body.Close()
	for in := bufio.NewReaderSize(resp.Body, 1<<20); ; {
		line, err := in.ReadString('\n')
		if err != nil {
			return cursor
		}
		if id, ok := strings.CutPrefix(line, "id: "); ok {
			cursor = strings.TrimSpace(id)
		}
		if !strings.Contains(line, `"kind":"run.ended"`) {
			continue
		}
		var e event
		var body struct{ Reason string }
		if json.Unmarshal([]byte(strings.TrimPrefix(line, "data: ")), &e) == nil && json.Unmarshal(e.Body, &body) == nil {
			r.mu.Lock()
			r.ends[e.Run] = body.Reason
			close(r.news)
			r.news = make(chan struct{})
			r.mu.Unlock()
		}
	}
}

// end waits for the end of a run and returns its reason; "" where it does not
// come.
func (r *runs) end(run string) string {
	limit := time.After(60 * time.Second)
	for {
		r.mu.Lock()
		reason, news := r.ends[run], r.news
		r.mu.Unlock()
		if reason != "" {
			return reason
		}
		select {
		case <-news:
		case <-limit:
			return ""
		}
	}
}

func (r *runs) leave() { r.stop(); <-r.done }

// ran starts the agent of a session and waits until it has answered.
func (w *world) ran(s sessionRow) {
	w.t.Helper()
	if reason := w.ended(s.ID, w.send(s.ID, "say ready").Run); reason != "end_turn" {
		w.t.Fatalf("ended by %q", reason)
	}
}

// TestLoadOfRequests: ten thousand requests of all kinds, good ones and bad
// ones, leave nothing behind.
func TestLoadOfRequests(t *testing.T) {
	const requests, visitors, live = 10_000, 8, 4
	t.Parallel()
	w := newWorld(t, nil, "")
	w.args = []string{superviseFlag}
	w.start()
	var sessions [live]sessionRow
	for i := range sessions {
		sessions[i] = w.newSession()
		w.ran(sessions[i])
	}
	before := w.atRest()

	file := newUpload(64 << 10)
	var next atomic.Int64
	var mu sync.Mutex
	said := map[int]int{}
	var group sync.WaitGroup
	begun := time.Now()
	for range visitors {
		group.Go(func() {
			v := w.visitor()
			defer v.leave()
			for {
				n := int(next.Add(1))
				if n > requests {
					break
				}
				w.request(v, n, sessions[n%live].ID, file)
			}
			mu.Lock()
			defer mu.Unlock()
			for status, n := range v.said {
				said[status] += n
			}
		})
	}
	group.Wait()
	t.Logf("%d requests in %s: %v", requests, time.Since(begun).Round(time.Millisecond), said)
	if said[200] < requests/2 || said[201] == 0 || said[202] == 0 || said[400] == 0 || said[401] == 0 || said[404] == 0 {
		t.Errorf("they were not mixed: %v", said)
	}
	for status := range maps.Keys(said) {
		if status >= 500 {
			t.Errorf("%d answers with %d", said[status], status)
		}
	}
	for _, s := range sessions {
		w.until("the end of what it was told", 60*time.Second, func() bool { s := w.session(s.ID); return s.Run == "" && s.Queued == 0 })
	}
	t.Logf("before %+v, after %+v", before, w.settled(before, 30*time.Second))
	w.quiet(t)
}

// request is the n-th of a mix, in a session with an agent.
func (w *world) request(v *visitor, n int, id string, file *upload) {
	session := "/api/v1/sessions/" + id
	switch n % 25 {
	case 0:
		v.do("POST", session+"/messages", map[string]any{"client_id": fmt.Sprint("r", n), "text": fmt.Sprint("say ", n)}, nil, 202)
	case 1:
		var s sessionRow
		if v.do("POST", "/api/v1/sessions", map[string]any{"agent": w.agent, "cwd": w.work}, &s, 201) == 201 {
			v.do("DELETE", "/api/v1/sessions/"+s.ID, nil, nil, 200, 204)
			v.do("GET", "/api/v1/sessions/"+s.ID, nil, nil, 404, 410)
		}
	case 2:
		var now struct{ Version int }
		v.do("GET", session, nil, &now, 200)
		v.version = fmt.Sprintf("%q", fmt.Sprint(now.Version))
		v.do("PATCH", session, map[string]any{"title": fmt.Sprint("Session ", n)}, nil, 200, 412) // 412: another was first
		v.version = ""
	case 3:
		v.do("POST", session+"/cancel", map[string]any{"run": "none"}, nil, 404, 409)
	case 4:
		v.do("GET", "/api/v1/approvals?state=pending", nil, nil, 200)
	case 5:
		v.do("POST", "/api/v1/approvals/none", map[string]any{"option": "yes"}, nil, 404)
	case 6:
		v.stream("?session="+id, 0)
	case 7:
		v.stream("", 1)
	case 8:
		v.do("GET", "/health?deep=1", nil, nil, 200)
	case 9:
		v.do("GET", "/health", nil, nil, 200)
	case 10:
		v.do("POST", session+"/messages", `{"client_id": `, nil, 400)
	case 11:
		v.do("GET", "/api/v1/nothing", nil, nil, 404)
	case 12:
		v.do("GET", session+"/events?after=0&limit=100", nil, nil, 200)
	case 13:
		v.do("GET", session+"/items?limit=20", nil, nil, 200)
	case 14:
		v.do("GET", session+"/events?after=x", nil, nil, 422)
	case 15:
		token := w.token
		stranger := &visitor{w: &world{t: w.t, base: w.base, token: "x" + token}, client: v.client, said: v.said}
		stranger.do("GET", "/api/v1/sessions", nil, nil, 401)
	case 16:
		if n%100 == 16 {
			v.do("POST", "/api/v1/attachments", file, nil, 200, 201)
		} else {
			v.do("GET", "/metrics", nil, nil, 200)
		}
	case 17:
		v.do("GET", "/", nil, nil, 200)
	case 18:
		v.do("POST", "/api/v1/sessions", map[string]any{"agent": "nobody", "cwd": w.work}, nil, 400)
	case 19:
		v.do("GET", "/api/v1/host/ledger", nil, nil, 200)
	default:
		v.do("GET", "/api/v1/sessions?limit=50", nil, nil, 200)
	}
}

// quiet checks that the host has had nothing to complain of in this life.
func (w *world) quiet(t *testing.T) {
	t.Helper()
	w.alive(t)
	if h := w.health(); h.Status != "ok" {
		t.Errorf("health says %+v", h)
	}
	if f := w.ledger().Findings; len(f) > 0 {
		t.Errorf("the ledger finds %+v", f)
	}
	for line := range strings.Lines(w.out.String()) {
		if strings.Contains(line, "does not add up") || strings.Contains(line, "missed its own probe") || strings.Contains(line, "level=ERROR") {
			t.Errorf("the log has %s", line)
		}
	}
}

// TestLoadOfRuns: a thousand runs, of which some are cancelled, some fail and
// some take their agent with them, leave nothing behind.
func TestLoadOfRuns(t *testing.T) {
	const total, parallel = 1000, 8
	t.Parallel()
	w := newWorld(t, nil, "")
	w.args = []string{superviseFlag}
	w.start()
	var sessions []sessionRow
	var ids []string
	for range parallel {
		s := w.newSession()
		w.ran(s)
		sessions, ids = append(sessions, s), append(ids, s.ID)
	}
	before := w.atRest()
	ends := w.watchRuns(ids)

	var mu sync.Mutex
	reasons := map[string]int{}
	var group sync.WaitGroup
	begun := time.Now()
	for i, s := range sessions {
		group.Go(func() {
			v := w.visitor()
			defer v.leave()
			for n := i; n < total; n += parallel {
				reason := w.oneRun(v, ends, s.ID, n)
				mu.Lock()
				reasons[reason]++
				mu.Unlock()
			}
		})
	}
	group.Wait()
	t.Logf("%d runs in %s ended by %v", total, time.Since(begun).Round(time.Millisecond), reasons)
	for _, reason := range []string{"end_turn", "cancelled", "error", "interrupted", "refusal"} {
		if reasons[reason] < 10 {
			t.Errorf("%d runs ended by %s", reasons[reason], reason)
		}
	}
	for _, s := range sessions { // whose agent may have gone
		w.ran(s)
	}
	ends.leave()
	t.Logf("before %+v, after %+v", before, w.settled(before, 30*time.Second))
	w.whole(sessions[0].ID) // and what the log folds to, of all
	w.quiet(t)
}

// oneRun is the n-th of a mix. It returns how it ended.
func (w *world) oneRun(v *visitor, ends *runs, id string, n int) string {
	text, want, cancel := fmt.Sprintf("say run %d\nthink of it\ntool t%d read A file\ntool-done t%d", n, n, n), "end_turn", false
	switch n / 8 % 20 {
	case 1, 6, 11:
		text, want, cancel = "say begin\nsleep 60s", "cancelled", true
	case 3, 13:
		text, want = "say begin\nerror -32603 it broke", "error"
	case 5:
		text, want = "say begin\nexit 3", "interrupted"
	case 7:
		text, want = "say no\nstop refusal", "refusal"
	case 9:
		text = "ask q1 Run it\nsay done"
	case 12:
		text, want, cancel = "ask q2 Run it\nsay done", "cancelled", true
	case 15:
		text = "stream 50 1ms seed=3\njunk no JSON\nunknown-update"
	case 17:
		text = "line 100KB"
	}
	var a accepted
	if v.do("POST", "/api/v1/sessions/"+id+"/messages", map[string]any{"client_id": fmt.Sprint("run", n), "text": text}, &a, 202) != 202 {
		return "refused"
	}
	if strings.HasPrefix(text, "ask") {
		question := v.question(id)
		if !cancel {
			v.do("POST", "/api/v1/approvals/"+question, map[string]any{"option": "allow_once"}, nil, 200)
		}
	}
	if cancel {
		v.do("POST", "/api/v1/sessions/"+id+"/cancel", map[string]any{"run": a.Run}, nil, 202)
	}
	reason := ends.end(a.Run)
	if reason != want {
		w.t.Errorf("run %d (%.40q) ended by %q, want %q", n, text, reason, want)
	}
	return reason
}

// question waits for the session's open one.
func (v *visitor) question(session string) string {
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		var page struct{ Approvals []approval }
		v.do("GET", "/api/v1/approvals?state=pending", nil, &page, 200)
		for _, a := range page.Approvals {
			if a.Session == session {
				return a.ID
			}
		}
	}
	v.w.t.Errorf("no question of %s", session)
	return "none"
}

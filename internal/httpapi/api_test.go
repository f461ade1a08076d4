package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-dev/holdfast/internal/session"
	"github.com/holdfast-dev/holdfast/internal/store"
)

func TestScenarios(t *testing.T) {
	long := `{"client_id":"c","text":"` + strings.Repeat("x", 200_000) + `"}`
	limits := func(c *Config) { c.Limits.Text = 100_000 }
	shared, n := newHost(t, limits), 10
	for _, tc := range []struct {
		name, method, path, body string
		headers                  []string
		setup                    func(h *host)
		status                   int
		want, unwanted           []string
	}{
		{name: "agents", method: "GET", path: "/api/v1/agents", status: 200, want: []string{`"id":"tour"`, `"ready":true`}},
		{name: "sessions", method: "GET", path: "/api/v1/sessions", status: 200, want: []string{`"id":"s1"`}},
		{name: "create", method: "POST", path: "/api/v1/sessions", body: `{"agent":"tour","cwd":"/tmp"}`, status: 201, want: []string{`"agent":"tour"`, `"cwd":"/tmp"`}},
		{name: "create again", method: "POST", path: "/api/v1/sessions", body: `{"agent":"tour","cwd":"/tmp","client_id":"again"}`, status: 200, setup: func(h *host) {
			if _, _, err := h.sessions.Create(h.Context(), session.New{Agent: "tour", Cwd: "/tmp", ClientID: "again"}); err != nil {
				h.Fatal(err)
			}
		}},
		{name: "create, unknown agent", method: "POST", path: "/api/v1/sessions", body: `{"agent":"x","cwd":"/tmp"}`, status: 400, want: []string{`"code":"agent_unknown"`, `there is no agent`}},
		{name: "create, no cwd", method: "POST", path: "/api/v1/sessions", body: `{"agent":"tour"}`, status: 422, want: []string{`"code":"invalid_request"`, "cwd"}},
		{name: "session", method: "GET", path: "/api/v1/sessions/s1", status: 200, want: []string{`"id":"s1"`, `"version":1`}},
		{name: "no session", method: "GET", path: "/api/v1/sessions/nope", status: 404, want: []string{`"code":"not_found"`, "nope"}},
		{name: "message", method: "POST", path: "/api/v1/sessions/s1/messages", body: `{"client_id":"c","text":"hello"}`, status: 202, want: []string{`"item":"i1"`, `"run":"r1"`, `"seq":2`, `"state":"started"`}},
		{name: "message to nobody", method: "POST", path: "/api/v1/sessions/nope/messages", body: `{"client_id":"c","text":"hello"}`, status: 404, want: []string{"not_found"}},
		{name: "message, empty", method: "POST", path: "/api/v1/sessions/s1/messages", body: `{"client_id":"c","text":"  "}`, status: 422, want: []string{"empty"}},
		{name: "message without client_id", method: "POST", path: "/api/v1/sessions/s1/messages", body: `{"text":"x"}`, status: 422, want: []string{"client_id"}},
		{name: "message, unknown field", method: "POST", path: "/api/v1/sessions/s1/messages", body: `{"client_id":"c","text":"x","txet":1}`, status: 422, want: []string{"txet"}},
		{name: "message, wrong type", method: "POST", path: "/api/v1/sessions/s1/messages", body: `{"client_id":"c","text":7}`, status: 422, want: []string{"body.text"}},
		{name: "message, too long", method: "POST", path: "/api/v1/sessions/s1/messages", body: long, status: 413, want: []string{"body_too_large", "100000"}},
		{name: "message, far too long", method: "POST", path: "/api/v1/sessions/s1/messages", body: strings.Repeat(long, 4), status: 413, want: []string{"body_too_large"}},
		{name: "malformed JSON", method: "POST", path: "/api/v1/sessions/s1/messages", body: "{\"client_id\":\"c\",\n \"text\":}", status: 400, want: []string{"invalid_json", "line 2, column 9"}},
		{name: "two documents", method: "POST", path: "/api/v1/sessions/s1/messages", body: `{"client_id":"c","text":"x"}{}`, status: 400, want: []string{"invalid_json", "line 1, column 29"}},
		{name: "not UTF-8", method: "POST", path: "/api/v1/sessions/s1/messages", body: "{\"client_id\":\"c\",\"text\":\"\xff\"}", status: 400, want: []string{"UTF-8", "line 1, column 26"}},
		{name: "no body", method: "POST", path: "/api/v1/sessions/s1/messages", headers: []string{"Content-Type", "application/json"}, status: 400, want: []string{"body"}},
		{name: "wrong media type", method: "POST", path: "/api/v1/sessions/s1/messages", body: `text=1`, headers: []string{"Content-Type", "application/x-www-form-urlencoded"}, status: 415, want: []string{"unsupported_media_type", "application/json"}},
		{name: "other charset", method: "POST", path: "/api/v1/sessions/s1/messages", body: `{}`, headers: []string{"Content-Type", "application/json; charset=latin1"}, status: 415},
		{
			name: "disk full", method: "POST", path: "/api/v1/sessions/s1/messages", body: `{"client_id":"c","text":"x"}`, status: 507, want: []string{"disk_full", "make room"},
			setup: func(h *host) { h.sessions.err = &session.Error{Code: session.CodeDiskFull, Message: "make room"} },
		},
		{
			name: "disk full, below", method: "POST", path: "/api/v1/sessions/s1/messages", body: `{"client_id":"c","text":"x"}`, status: 507, want: []string{"disk_full", "Make room"},
			setup: func(h *host) {
				h.sessions.err = fmt.Errorf("send: %w", errors.Join(store.ErrCommit, store.ErrDiskFull))
			},
		},
		{
			name: "store closed", method: "POST", path: "/api/v1/sessions/s1/messages", body: `{"client_id":"c","text":"x"}`, status: 503, want: []string{"stopping"},
			setup: func(h *host) { h.sessions.err = fmt.Errorf("send: %w", store.ErrClosed) },
		},
		{
			name: "read in vain", method: "GET", path: "/api/v1/sessions", status: 503, want: []string{`"code":"timeout"`},
			setup: func(h *host) { h.log.fail = fmt.Errorf("list sessions: %w", context.DeadlineExceeded) },
		},
		{
			name: "unforeseen error", method: "POST", path: "/api/v1/sessions/s1/messages", body: `{"client_id":"c","text":"x"}`, status: 500, want: []string{`"code":"internal"`, `"instance":"r`}, unwanted: []string{"secret cause"},
			setup: func(h *host) { h.sessions.err = errors.New("secret cause") },
		},
		{
			name: "error of a code that has no row", method: "POST", path: "/api/v1/sessions/s1/messages", body: `{"client_id":"c","text":"x"}`, status: 500,
			setup: func(h *host) { h.sessions.err = &session.Error{Code: "new_code", Message: "x"} },
		},
		{name: "cancel", method: "POST", path: "/api/v1/sessions/s1/cancel", body: `{"run":"r1"}`, status: 202, want: []string{`"run":"r1"`}},
		{name: "cancel what has ended", method: "POST", path: "/api/v1/sessions/s1/cancel", body: `{"run":"r0"}`, status: 409, want: []string{"run_not_current"}},
		{name: "steer", method: "POST", path: "/api/v1/sessions/s1/steer", body: `{"client_id":"c","run":"r1","queued":"r2"}`, status: 202, want: []string{`{"item":"i","run":"r2","seq":7,"state":"sent"}`}},
		{name: "steer, with as much as a message has", method: "POST", path: "/api/v1/sessions/s1/steer", body: `{"client_id":"c","run":"r1","text":"` + strings.Repeat("\\n", 100_000) + `"}`, status: 202},
		{name: "steer, too long", method: "POST", path: "/api/v1/sessions/s1/steer", body: `{"client_id":"c","run":"r1","text":"` + strings.Repeat("x", 200_000) + `"}`, status: 413, want: []string{"body_too_large", "100000"}},
		{name: "steer what has ended", method: "POST", path: "/api/v1/sessions/s1/steer", body: `{"client_id":"c","run":"r0","text":"a"}`, status: 409, want: []string{`"code":"run_not_current"`}},
		{name: "steer without a run", method: "POST", path: "/api/v1/sessions/s1/steer", body: `{"client_id":"c","text":"a"}`, status: 422, want: []string{"run"}},
		{name: "queue", method: "POST", path: "/api/v1/sessions/s1/queue", body: `{"paused":false}`, status: 200, want: []string{`"paused":false`}},
		{name: "end agent", method: "POST", path: "/api/v1/sessions/s1/agent/end", status: 202},
		{name: "end agent by force", method: "POST", path: "/api/v1/sessions/s1/agent/end", body: `{"force":true}`, status: 202},
		{name: "the agent's log", method: "GET", path: "/api/v1/sessions/s1/agent/log", status: 200, want: []string{`"state":"starting"`, `"text":"reading s1"`}},
		{name: "the log of no session's agent", method: "GET", path: "/api/v1/sessions/s0/agent/log", status: 404, want: []string{"not_found"}},
		{name: "items", method: "GET", path: "/api/v1/sessions/s1/items", status: 200, want: []string{`"items":[]`, `"cursor":"`, `"seq":1`, `"more":false`}},
		{name: "items after", method: "GET", path: "/api/v1/sessions/s1/items?after=1", status: 200, want: []string{`"items":[]`, `"more":true`, `"newer":false`}},
		{name: "items around none", method: "GET", path: "/api/v1/sessions/s1/items?around=gone", status: 404, want: []string{`"code":"not_found"`, "has no item"}},
		{name: "items around, no session", method: "GET", path: "/api/v1/sessions/none/items?around=gone", status: 404, want: []string{"no session"}},
		{name: "items two ways", method: "GET", path: "/api/v1/sessions/s1/items?around=x&before=3", status: 400, want: []string{"only one of"}},
		{name: "items between", method: "GET", path: "/api/v1/sessions/s1/items?after=1&before=3", status: 400, want: []string{"only one of"}},
		{name: "events", method: "GET", path: "/api/v1/sessions/s1/events?after=0&limit=1000", status: 200, want: []string{`"kind":"session.created"`, `"last":1`, `"run":""`}},
		{name: "too many events", method: "GET", path: "/api/v1/sessions/s1/events?limit=1001", status: 422, want: []string{"query.limit"}},
		{name: "limit is no number", method: "GET", path: "/api/v1/sessions?limit=many", status: 422, want: []string{"query.limit"}},
		{name: "foreign page", method: "GET", path: "/api/v1/sessions?page=!", status: 400, want: []string{"unknown_cursor"}},
		{name: "approvals", method: "GET", path: "/api/v1/approvals?state=pending", status: 200, want: []string{`"approvals":[]`}},
		{name: "approvals of no state", method: "GET", path: "/api/v1/approvals?state=asleep", status: 422},
		{name: "answer", method: "POST", path: "/api/v1/approvals/a1", body: `{"option":"allow"}`, status: 200, want: []string{`"chosen":"allow"`, `"by":"test"`}},
		{name: "answer, too late", method: "POST", path: "/api/v1/approvals/a1", body: `{"option":"late"}`, status: 409, want: []string{`"code":"approval_answered"`, `"approval":{"id":"a1"`, `"by":"the phone"`}},
		{name: "rename", method: "PATCH", path: "/api/v1/sessions/s1", body: `{"title":"T"}`, headers: []string{"If-Match", `"1"`}, status: 200, want: []string{`"title":"T"`}},
		{name: "rename, other version", method: "PATCH", path: "/api/v1/sessions/s1", body: `{"title":"T"}`, headers: []string{"If-Match", `"7"`}, status: 412, want: []string{"version_conflict"}},
		{name: "rename without version", method: "PATCH", path: "/api/v1/sessions/s1", body: `{"title":"T"}`, status: 428, want: []string{"version_required"}},
		{name: "pin and tag", method: "PATCH", path: "/api/v1/sessions/s1", body: `{"pinned":true,"tags":["a"]}`, headers: []string{"If-Match", `"1"`}, status: 200},
		{name: "bulk", method: "POST", path: "/api/v1/sessions/bulk", body: `{"ids":["s1","gone"],"action":"archive"}`, status: 200, want: []string{`"ok":true},{"id":"gone","ok":false,"code":"not_found"`}},
		{name: "bulk without the tag", method: "POST", path: "/api/v1/sessions/bulk", body: `{"ids":["s1"],"action":"tag"}`, status: 422, want: []string{"invalid_request"}},
		{name: "bulk of what is none", method: "POST", path: "/api/v1/sessions/bulk", body: `{"ids":["s1"],"action":"burn"}`, status: 422, want: []string{"invalid_request"}},
		{name: "restore", method: "POST", path: "/api/v1/sessions/s1/restore", status: 200},
		{name: "tags", method: "GET", path: "/api/v1/tags", status: 200, want: []string{`"tags":[]`}},
		{name: "search", method: "GET", path: "/api/v1/search?q=nothing", status: 200, want: []string{`"hits":[]`, `"next":null`}},
		{name: "search for junk", method: "GET", path: "/api/v1/search?q=%22%20AND%20(*", status: 200, want: []string{`"hits":[]`}},
		{name: "search from nowhere", method: "GET", path: "/api/v1/search?q=x&before=y", status: 400, want: []string{"unknown_cursor"}},
		{name: "search in no session", method: "GET", path: "/api/v1/search?q=x&session=none", status: 404, want: []string{"not_found"}},
		{name: "search with conditions", method: "GET", path: "/api/v1/search?q=nothing&kind=said,title&project=p&tag=t&agent=a&archived=false", status: 200, want: []string{`"hits":[]`}},
		{name: "search for no kind", method: "GET", path: "/api/v1/search?q=x&kind=said,noise", status: 422, want: []string{"query.kind"}},
		{name: "search in half an archive", method: "GET", path: "/api/v1/search?q=x&archived=maybe", status: 422, want: []string{"query.archived"}},
		{name: "delete", method: "DELETE", path: "/api/v1/sessions/s1", status: 204},
		{name: "no such route", method: "GET", path: "/api/v1/nope", status: 404, want: []string{"no_such_route"}},
		{name: "no such API", method: "GET", path: "/api/v2/sessions", status: 404, want: []string{"no_such_route"}},
		{name: "wrong method", method: "PUT", path: "/api/v1/sessions", status: 405, want: []string{"method_not_allowed", "GET"}},
		{name: "no login", method: "GET", path: "/api/v1/sessions", headers: []string{"Authorization", ""}, status: 401, want: []string{"login_required", "holdfast link"}},
		{name: "no login, unknown route", method: "GET", path: "/api/v1/nope", headers: []string{"Authorization", ""}, status: 401},
		{name: "bad token", method: "GET", path: "/api/v1/sessions", headers: []string{"Authorization", "Bearer hf_nonsense-nonsense-nonsense"}, status: 401, want: []string{"holdfast token create"}},
		{name: "basic login", method: "GET", path: "/api/v1/sessions", headers: []string{"Authorization", "Basic eDp5"}, status: 401},
		{name: "health without login", method: "GET", path: "/health", headers: []string{"Authorization", ""}, status: 200, want: []string{`"status":"ok"`, `"version":"1.2.3"`}},
		{name: "deep health", method: "GET", path: "/health?deep=1", headers: []string{"Authorization", ""}, status: 200, want: []string{`"status":"ok"`}},
		{name: "deep health, reads fail", method: "GET", path: "/health?deep=1", status: 503, want: []string{`"status":"failing"`}, setup: func(h *host) { h.log.fail = errors.New("disk gone") }},
		{name: "reads fail", method: "GET", path: "/api/v1/sessions", status: 500, unwanted: []string{"disk gone"}, setup: func(h *host) { h.log.fail = errors.New("disk gone") }},
		{name: "page", method: "GET", path: "/", headers: []string{"Authorization", ""}, status: 200, want: []string{"<!doctype html>"}},
		{name: "page of a session", method: "GET", path: "/s/s1", headers: []string{"Authorization", ""}, status: 200, want: []string{"<!doctype html>"}},
		{name: "page of the search", method: "GET", path: "/search?q=words", headers: []string{"Authorization", ""}, status: 200, want: []string{"<!doctype html>"}},
		{name: "no such page", method: "GET", path: "/wp-login.php", headers: []string{"Authorization", ""}, status: 404, want: []string{"no_such_route"}},
		{name: "out of the files", method: "GET", path: "/assets/../../../etc/passwd", status: 404},
		{name: "folder as file", method: "GET", path: "/assets", status: 404},
		{name: "post to the page", method: "POST", path: "/", body: "{}", status: 405, want: []string{"method_not_allowed"}},
		{name: "stream of nothing", method: "GET", path: "/api/v1/stream?session=s1&session=nope", status: 404, want: []string{"not_found", `"session":"nope"`}},
		{name: "stream without login", method: "GET", path: "/api/v1/stream", headers: []string{"Authorization", ""}, status: 401},
		{name: "head of a stream ends", method: "HEAD", path: "/api/v1/stream", status: 200},
		{name: "me", method: "GET", path: "/api/v1/me", status: 200, want: []string{`"kind":"token"`, `"name":"test"`, `"password":false`}},
		{name: "folders, relative", method: "GET", path: "/api/v1/folders?path=a/b", status: 422, want: []string{"absolute"}},
		{name: "folders, none", method: "GET", path: "/api/v1/folders?path=/does/not/exist", status: 404, want: []string{"folder_not_found"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := shared
			if tc.setup != nil {
				h = newHost(t, limits)
				tc.setup(h)
			}
			n++
			id := fmt.Sprintf("s%d", n)
			h.session(id)
			mine := func(text string) string { return strings.ReplaceAll(text, "s1", id) }
			res, body := h.do(tc.method, mine(tc.path), tc.body, tc.headers...)
			if res.StatusCode != tc.status {
				t.Fatalf("status %d, want %d: %s", res.StatusCode, tc.status, body)
			}
			for _, w := range tc.want {
				if w = mine(w); !strings.Contains(body, w) {
					t.Errorf("no %q in %s", w, body)
				}
			}
			for _, w := range tc.unwanted {
				if strings.Contains(body, w) {
					t.Errorf("%q in %s", w, body)
				}
			}
			if res.StatusCode >= 400 && !strings.HasPrefix(tc.path, "/health") {
				var p Problem
				if err := json.Unmarshal([]byte(body), &p); err != nil || res.Header.Get("Content-Type") != "application/problem+json" {
					t.Fatalf("not a problem document (%s, %v): %s", res.Header.Get("Content-Type"), err, body)
				}
				if p.Status != res.StatusCode || p.Detail == "" || p.Title == "" || problems[p.Code].Status != p.Status {
					t.Errorf("incomplete problem: %+v", p)
				}
				if p.Status == 503 && res.Header.Get("Retry-After") == "" {
					t.Error("503 without Retry-After")
				}
				if p.Status == 405 && res.Header.Get("Allow") == "" {
					t.Error("405 without Allow")
				}
			}
			if res.Header.Get("Content-Security-Policy") == "" || res.Header.Get("X-Content-Type-Options") != "nosniff" {
				t.Error("security headers are missing")
			}
			for name := range res.Header {
				if strings.HasPrefix(name, "Access-Control-") {
					t.Errorf("a CORS header: %s", name)
				}
			}
		})
	}
}

// TestEveryCodeHasARow reads the codes of the heart from its source, so that a
// new one cannot be forgotten here and become a 500.
func TestEveryCodeHasARow(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../session/api.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, d := range file.Decls {
		decl, ok := d.(*ast.GenDecl)
		if !ok || decl.Tok != token.CONST {
			continue
		}
		for _, spec := range decl.Specs {
			v := spec.(*ast.ValueSpec)
			if !strings.HasPrefix(v.Names[0].Name, "Code") {
				continue
			}
			code, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			n++
			if _, ok := problems[code]; !ok {
				t.Errorf("session.%s (%s) has no row in the table of problems", v.Names[0].Name, code)
			}
		}
	}
	if n < 10 {
		t.Errorf("only %d codes were found", n)
	}
}

func TestProblemTypesAreExplained(t *testing.T) {
	h := newHost(t)
	_, body := h.do("GET", "/api/v1/sessions/none", "")
	var p Problem
	if err := json.Unmarshal([]byte(body), &p); err != nil {
		t.Fatal(err)
	}
	if res, text := h.do("GET", p.Type, "", "Authorization", ""); res.StatusCode != 200 || !strings.Contains(text, p.Title) {
		t.Errorf("%s: %d %s", p.Type, res.StatusCode, text)
	}
	if res, _ := h.do("GET", "/problems/none", ""); res.StatusCode != 404 {
		t.Errorf("%d", res.StatusCode)
	}
}

func TestEmptyHost(t *testing.T) {
	h := newHost(t)
	for path, want := range map[string]string{
		"/api/v1/sessions":  `{"sessions":[],"next":null,"cursor":"` + h.log.Cursor() + `"}`,
		"/api/v1/approvals": `{"approvals":[]}`,
	} {
		if res, body := h.do("GET", path, ""); res.StatusCode != 200 || strings.TrimSpace(body) != want {
			t.Errorf("%s: %d %s", path, res.StatusCode, body)
		}
	}
}

func TestSessionsInPages(t *testing.T) {
	h := newHost(t)
	var want []string
	for i := range 7 {
		id := fmt.Sprintf("s%d", i)
		h.session(id)
		want = append([]string{id}, want...)
	}
	var got []string
	for page := ""; ; {
		res, body := h.do("GET", "/api/v1/sessions?limit=3&page="+page, "")
		var out struct {
			Sessions []store.Session
			Next     *string
		}
		if err := json.Unmarshal([]byte(body), &out); err != nil || res.StatusCode != 200 || len(out.Sessions) > 3 {
			t.Fatalf("%d %s", res.StatusCode, body)
		}
		for _, s := range out.Sessions {
			got = append(got, s.ID)
		}
		if out.Next == nil {
			break
		}
		page = *out.Next
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

package httpapi

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/internal/store"
)

func TestExport(t *testing.T) {
	h := newHost(t)
	h.session("s1")
	h.say("s1", "an answer <b>")
	for _, tc := range []struct{ path, kind, want, end string }{
		{"/api/v1/sessions/s1/export", "text/markdown", "an answer <b>", ".md"},
		{"/api/v1/sessions/s1/export?format=html", "text/html", "an answer &lt;b&gt;", ".html"},
		{"/api/v1/sessions/s1/export?format=jsonl", "application/x-ndjson", `{"end":{"items":1}}`, ".jsonl"},
		{"/api/v1/export?format=html", "application/zip", "PK", "-html.zip"},
		{"/api/v1/export", "application/zip", "PK", "-jsonl.zip"},
	} {
		res, text := h.do("GET", tc.path, "")
		how, params, err := mime.ParseMediaType(res.Header.Get("Content-Disposition"))
		if res.StatusCode != 200 || !strings.HasPrefix(res.Header.Get("Content-Type"), tc.kind) || !strings.Contains(text, tc.want) ||
			err != nil || how != "attachment" || !strings.HasSuffix(params["filename"], tc.end) {
			t.Errorf("%s: %d %v\n%.300s", tc.path, res.StatusCode, res.Header, text)
		}
		if !strings.Contains(res.Header.Get("Content-Security-Policy"), "sandbox") {
			t.Errorf("%s could run as this page: %v", tc.path, res.Header)
		}
		if res, text := h.do("HEAD", tc.path, ""); res.StatusCode != 200 || text != "" {
			t.Errorf("HEAD %s: %d", tc.path, res.StatusCode)
		}
	}
	_, text := h.do("GET", "/api/v1/export", "")
	if z, err := zip.NewReader(strings.NewReader(text), int64(len(text))); err != nil || len(z.File) != 1 {
		t.Errorf("%v %v", z, err)
	}
	h.session("s2")
	h.session("s3")
	if _, text := h.do("GET", "/api/v1/export", ""); !holds(t, text, "-s1.jsonl", "-s2.jsonl", "-s3.jsonl") {
		t.Error("all: not all three")
	}
	for path, status := range map[string]int{"/api/v1/export?ids=s1": 422, "/api/v1/sessions/none/export": 404, "/api/v1/sessions/s1/export?format=pdf": 422, "/api/v1/export?format=pdf": 422} {
		if res, text := h.do("GET", path, ""); res.StatusCode != status {
			t.Errorf("%s: %d %s", path, res.StatusCode, text)
		}
	}
}

// TestExportOfAForm: a browser names sessions, more than an address holds, and saves
// what comes.
func TestExportOfAForm(t *testing.T) {
	held := false
	h := newHost(t, func(c *Config) { c.Held = func() bool { return held } })
	var ids, files []string
	for i := range 450 {
		id := fmt.Sprintf("session%09d", i)
		ids, files = append(ids, id), append(files, "-"+id+".md")
	}
	if err := h.log.Update(store.Durable, func(tx *store.Tx) (err error) {
		for _, id := range ids {
			if _, err = tx.CreateSession(store.Session{ID: id, Agent: "tour", Cwd: "/"}); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	h.session("other")
	form := func(format string, ids ...string) string {
		return url.Values{"format": {format}, "ids": {strings.Join(ids, ",")}}.Encode()
	}
	post := func(body string, headers ...string) (*http.Response, string) {
		t.Helper()
		return h.do("POST", "/api/v1/export", body, append([]string{"Content-Type", "application/x-www-form-urlencoded"}, headers...)...)
	}
	res, text := post(form("md", ids...), "Origin", h.url, "Sec-Fetch-Site", "same-origin")
	if res.StatusCode != 200 || !holds(t, text, files...) || !strings.HasPrefix(res.Header.Get("Content-Disposition"), "attachment") ||
		!strings.Contains(res.Header.Get("Content-Security-Policy"), "sandbox") || res.Header.Get("X-Frame-Options") != "SAMEORIGIN" {
		t.Errorf("as many: %d %v", res.StatusCode, res.Header)
	}
	if _, text := post("ids=other,gone," + ids[3] + ",other"); !holds(t, text, "-other.jsonl", "-"+ids[3]+".jsonl") {
		t.Error("some: not those two alone, as they were asked for")
	}
	res, text = post(form("jsonl", "other"))
	if res.Header.Get("Content-Type") != "application/x-ndjson" || !strings.Contains(text, `{"end":{"items":0}}`) {
		t.Errorf("one: %v %.300s", res.Header, text)
	}
	for _, tc := range []struct {
		name, body string
		headers    []string
		status     int
		want       string
	}{
		{"none", "format=md", nil, 422, "ids"},
		{"one that is gone", form("md", "gone"), nil, 404, "gone"},
		{"all gone", form("md", "gone", "gone too"), nil, 404, "none of these"},
		{"no such format", form("pdf", "other"), nil, 422, "pdf"},
		{"no form", "ids=%zz", nil, 422, "form"},
		{"too many", "ids=" + strings.Repeat("s,", exportMax), nil, 422, "20000 at most"},
		{"too long", "ids=" + strings.Repeat("s", exportBytes), nil, 413, "1048576 bytes"},
		{"JSON", `{"ids":["other"]}`, []string{"Content-Type", "application/json"}, 415, "x-www-form-urlencoded"},
		{"a form of another site", form("md", "other"), []string{"Origin", "https://evil.example"}, 403, "another site"},
		{"a form of another site, by its mark", form("md", "other"), []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}, 403, "another site"},
		{"a form from nowhere", form("md", "other"), []string{"Origin", "null"}, 403, "another site"},
		{"a stranger", form("md", "other"), []string{"Authorization", ""}, 401, "Log in"},
	} {
		if res, text := post(tc.body, tc.headers...); res.StatusCode != tc.status || !strings.Contains(text, tc.want) || res.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d %.300s", tc.name, res.StatusCode, text)
		}
	}
	// It changes nothing.
	held = true
	if res, text := post(form("md", "other")); res.StatusCode != 200 {
		t.Errorf("held: %d %s", res.StatusCode, text)
	}
}

// TestExportOutlivesTheDeadlineOfItsForm: the form has come, and the file takes as
// long as it takes.
func TestExportOutlivesTheDeadlineOfItsForm(t *testing.T) {
	h := newHost(t)
	h.session("s1")
	h.say("s1", "an answer")
	r := httptest.NewRequestWithContext(t.Context(), "POST", "/api/v1/export", strings.NewReader("ids=s1"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
	h.server.api.ServeHTTP(w, r)
	if w.Code != 200 || len(w.read) < 2 || w.read[0].IsZero() || !w.read[len(w.read)-1].IsZero() {
		t.Errorf("%d %s: deadlines %v", w.Code, w.Body, w.read)
	}
}

// deadlines are those that an answer was given for what is read.
type deadlines struct {
	*httptest.ResponseRecorder
	read []time.Time
}

func (d *deadlines) SetReadDeadline(at time.Time) error {
	d.read = append(d.read, at)
	return nil
}

func (d *deadlines) SetWriteDeadline(time.Time) error { return nil }

// holds tells whether an archive has files whose names end like these, and no others.
func holds(t *testing.T, archive string, ends ...string) bool {
	t.Helper()
	z, err := zip.NewReader(strings.NewReader(archive), int64(len(archive)))
	if err != nil {
		t.Error(err)
		return false
	}
	ok := len(z.File) == len(ends)
	for i, f := range z.File {
		ok = ok && strings.HasSuffix(f.Name, ends[i])
	}
	return ok
}

// TestExportIsCutNotShort: a file that cannot be finished must not look whole.
func TestExportIsCutNotShort(t *testing.T) {
	h := newHost(t)
	h.session("s1")
	for range 250 { // more than a page of items
		if err := h.log.Update(store.Relaxed, func(tx *store.Tx) error {
			_, err := tx.Append("s1", "", store.NoticeGiven, store.NoticeBody{Item: store.NewID(), Level: "info", Text: strings.Repeat("x", 1000)})
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	h.log.pages = func(n int) error {
		if n > 1 {
			return io.ErrUnexpectedEOF
		}
		return nil
	}
	req, err := http.NewRequestWithContext(t.Context(), "GET", h.url+"/api/v1/sessions/s1/export?format=jsonl", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+h.token)
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if text, err := io.ReadAll(res.Body); err == nil || len(text) == 0 {
		t.Errorf("%d bytes, %v", len(text), err)
	}
}

// TestExportEndsWithItsReader: nothing goes on reading for somebody who has gone.
func TestExportEndsWithItsReader(t *testing.T) {
	h := newHost(t)
	h.session("s1")
	h.say("s1", strings.Repeat("x", 100_000))
	ended := make(chan error, 1)
	read := make(chan struct{})
	h.log.wait = func(ctx context.Context) error {
		close(read)
		select {
		case <-ctx.Done():
			ended <- nil
		case <-time.After(time.Minute):
			ended <- context.DeadlineExceeded
		}
		return ctx.Err()
	}
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, "GET", h.url+"/api/v1/sessions/s1/export", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+h.token)
	go func() {
		<-read
		cancel()
	}()
	if res, err := http.DefaultTransport.RoundTrip(req); err == nil {
		res.Body.Close()
	}
	if err := <-ended; err != nil {
		t.Error("it read on")
	}
}

func TestImport(t *testing.T) {
	h := newHost(t, func(c *Config) { c.Limits.Import = 1000 })
	for _, tc := range []struct {
		name, body, kind string
		status           int
		want             string
	}{
		{"new", "a title", "application/x-ndjson", 201, `"title":"a title"`},
		{"an archive", "PK", "application/zip", 201, `"id":"new"`},
		{"there already", "again", "application/x-ndjson", 200, `"existing":true`},
		{"bad", "bad", "application/octet-stream", 400, `"code":"bad_import"`},
		{"bad, the line", "bad", "application/x-ndjson", 400, "line 3"},
		{"a form", "x", "multipart/form-data", 415, "application/x-ndjson"},
		{"too large", strings.Repeat("x", 1001), "application/x-ndjson", 413, "body_too_large"},
	} {
		res, text := h.do("POST", "/api/v1/import?client_id=c", tc.body, "Content-Type", tc.kind)
		if res.StatusCode != tc.status || !strings.Contains(text, tc.want) {
			t.Errorf("%s: %d %s", tc.name, res.StatusCode, text)
		}
	}
	if res, text := h.do("POST", "/api/v1/import", "x", "Content-Type", ""); res.StatusCode != 201 {
		t.Errorf("without a type: %d %s", res.StatusCode, text)
	}
	_, text := h.do("GET", "/api/v1/openapi.json", "")
	var doc struct {
		Paths map[string]map[string]struct {
			RequestBody struct{ Content map[string]any }
		}
	}
	if err := json.NewDecoder(bytes.NewReader([]byte(text))).Decode(&doc); err != nil || doc.Paths["/api/v1/import"]["post"].RequestBody.Content["application/zip"] == nil {
		t.Errorf("the document does not tell of the body: %v", err)
	}
}

package httpapi

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func loginCookie(t *testing.T, res *http.Response) *http.Cookie {
	t.Helper()
	cookies := res.Cookies()
	if len(cookies) != 1 {
		t.Fatalf("%d cookies", len(cookies))
	}
	return cookies[0]
}

func TestLinkLogsInOnce(t *testing.T) {
	h := newHost(t)
	secret, expires, err := h.access.CreateLink(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if d := time.Until(expires); d < 9*time.Minute || d > 10*time.Minute {
		t.Errorf("the link lives %v", d)
	}
	body := `{"secret":"` + secret + `"}`
	agent := "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1"
	res, text := h.do("POST", "/api/v1/login/link", body, "Authorization", "", "User-Agent", agent, "Origin", h.url)
	if res.StatusCode != 200 || !strings.Contains(text, "Safari on iPhone") {
		t.Fatalf("%d %s", res.StatusCode, text)
	}
	c := loginCookie(t, res)
	if !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Secure || c.Path != "/" || c.MaxAge <= 0 {
		t.Errorf("cookie: %s", res.Header.Get("Set-Cookie"))
	}
	cookie := c.Name + "=" + c.Value
	if res, text := h.do("GET", "/api/v1/me", "", "Authorization", "", "Cookie", cookie); res.StatusCode != 200 || !strings.Contains(text, `"kind":"cookie"`) {
		t.Fatalf("%d %s", res.StatusCode, text)
	}
	if res, text := h.do("POST", "/api/v1/login/link", body, "Authorization", ""); res.StatusCode != 401 || !strings.Contains(text, "login_denied") {
		t.Errorf("second use: %d %s", res.StatusCode, text)
	}
	if res, _ := h.do("GET", "/api/v1/me", "", "Authorization", "Bearer "+c.Value); res.StatusCode != 401 {
		t.Errorf("a cookie passes for a token: %d", res.StatusCode)
	}
	if res, _ := h.do("GET", "/api/v1/me", "", "Authorization", "", "Cookie", c.Name+"="+h.token); res.StatusCode != 401 {
		t.Errorf("a token passes for a cookie: %d", res.StatusCode)
	}
	// The other host's cookie on the same name does not lock this one's out.
	if res, _ := h.do("GET", "/api/v1/me", "", "Authorization", "", "Cookie", c.Name+"=ffffffffffffffffffffffffffffffff; "+cookie); res.StatusCode != 200 {
		t.Errorf("two cookies: %d", res.StatusCode)
	}

	res, text = h.do("GET", "/api/v1/devices", "", "Authorization", "", "Cookie", cookie)
	var list struct{ Devices []Device }
	if err := json.Unmarshal([]byte(text), &list); err != nil || res.StatusCode != 200 || len(list.Devices) != 2 {
		t.Fatalf("%d %s", res.StatusCode, text)
	}
	if strings.Contains(text, c.Value) || strings.Contains(text, "hash") {
		t.Errorf("the list of devices shows secrets: %s", text)
	}
	if res, _ := h.do("POST", "/api/v1/logout", "", "Authorization", "", "Cookie", cookie); res.StatusCode != 204 || loginCookie(t, res).MaxAge >= 0 {
		t.Errorf("logout: %d %s", res.StatusCode, res.Header.Get("Set-Cookie"))
	}
	if res, _ := h.do("GET", "/api/v1/me", "", "Authorization", "", "Cookie", cookie); res.StatusCode != 401 {
		t.Errorf("after logout: %d", res.StatusCode)
	}
	if res, _ := h.do("POST", "/api/v1/logout", ""); res.StatusCode != 400 {
		t.Errorf("a token logs out: %d", res.StatusCode)
	}
	for _, d := range list.Devices {
		if d.Kind != "token" {
			continue
		}
		if res, _ := h.do("DELETE", "/api/v1/devices/"+d.ID, ""); res.StatusCode != 204 {
			t.Errorf("remove token: %d", res.StatusCode)
		}
		if res, _ := h.do("GET", "/api/v1/me", ""); res.StatusCode != 401 {
			t.Errorf("removed token: %d", res.StatusCode)
		}
	}
}

func TestCookieIsSecureOverHTTPS(t *testing.T) {
	h := newHost(t)
	secret, _, err := h.access.CreateLink(t.Context(), "phone")
	if err != nil {
		t.Fatal(err)
	}
	res, text := h.do("POST", "/api/v1/login/link", `{"secret":"`+secret+`"}`, "Host", "box.example.org", "Origin", "https://box.example.org")
	if res.StatusCode != 200 || !strings.Contains(text, "phone") || !loginCookie(t, res).Secure {
		t.Fatalf("%d %s %s", res.StatusCode, text, res.Header.Get("Set-Cookie"))
	}
}

func TestPasswordLoginIsLimited(t *testing.T) {
	h := newHost(t)
	try := func(password string) (*http.Response, string) {
		return h.do("POST", "/api/v1/login/password", `{"password":"`+password+`"}`, "Authorization", "")
	}
	if res, text := try("whatever it is"); res.StatusCode != 401 || !strings.Contains(text, "holdfast link") {
		t.Errorf("no password set: %d %s", res.StatusCode, text)
	}
	if err := h.access.SetPassword(t.Context(), "correct horse"); err != nil {
		t.Fatal(err)
	}
	res, text := try("correct horse")
	if res.StatusCode != 200 {
		t.Fatalf("%d %s", res.StatusCode, text)
	}
	c := loginCookie(t, res)
	if res, _ := h.do("GET", "/api/v1/sessions", "", "Authorization", "", "Cookie", c.Name+"="+c.Value); res.StatusCode != 200 {
		t.Errorf("with the cookie: %d", res.StatusCode)
	}
	limited := false
	for range 10 {
		res, text := try("wrong horse")
		switch res.StatusCode {
		case 401:
		case 429:
			limited = true
			if res.Header.Get("Retry-After") == "" || !strings.Contains(text, "too_many_logins") {
				t.Errorf("%s %s", res.Header.Get("Retry-After"), text)
			}
		default:
			t.Fatalf("%d %s", res.StatusCode, text)
		}
	}
	if !limited {
		t.Error("guesses are not limited")
	}
	if res, _ := try("correct horse"); res.StatusCode != 429 {
		t.Errorf("the right guess passes the limit: %d", res.StatusCode)
	}
	if res, _ := h.do("GET", "/api/v1/sessions", "", "Authorization", "", "Cookie", c.Name+"="+c.Value); res.StatusCode != 200 {
		t.Errorf("the limit locks out who is logged in: %d", res.StatusCode)
	}
	link, _, err := h.access.CreateLink(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if res, text := h.do("POST", "/api/v1/login/link", `{"secret":"`+link+`"}`, "Authorization", ""); res.StatusCode != 200 {
		t.Errorf("the limit locks out who has a link: %d %s", res.StatusCode, text)
	}
}

func TestFolders(t *testing.T) {
	h := newHost(t)
	home := h.server.cfg.Home
	for _, name := range []string{"b", "A", ".hidden"} {
		if err := os.Mkdir(filepath.Join(home, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(home, "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(home, "b"), filepath.Join(home, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("nowhere", filepath.Join(home, "dangling")); err != nil {
		t.Fatal(err)
	}
	names := func(query string) (list []string) {
		t.Helper()
		res, text := h.do("GET", "/api/v1/folders"+query, "")
		var out struct{ Folders []Folder }
		if err := json.Unmarshal([]byte(text), &out); err != nil || res.StatusCode != 200 {
			t.Fatalf("%d %s", res.StatusCode, text)
		}
		for _, f := range out.Folders {
			list = append(list, f.Name)
		}
		return list
	}
	if diff := cmp.Diff([]string{"A", "b", "link"}, names("")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{".hidden", "A", "b", "link"}, names("?hidden=true&path="+home+"/A/..")); diff != "" {
		t.Error(diff)
	}
	res, text := h.do("POST", "/api/v1/folders", `{"path":"~/new"}`)
	if res.StatusCode != 201 || !strings.Contains(text, filepath.Join(home, "new")) {
		t.Errorf("%d %s", res.StatusCode, text)
	}
	for body, status := range map[string]int{`{"path":"~/new"}`: 409, `{"path":"~/no/such/parent"}`: 404, `{"path":"rel"}`: 422, `{"path":"/nul\u0000"}`: 422, `{"path":"~/file/x"}`: 404} {
		if res, text := h.do("POST", "/api/v1/folders", body); res.StatusCode != status {
			t.Errorf("%s: %d %s", body, res.StatusCode, text)
		}
	}
	if res, text := h.do("GET", "/api/v1/folders?path="+home+"/file", ""); res.StatusCode != 404 || !strings.Contains(text, "not a folder") {
		t.Errorf("%d %s", res.StatusCode, text)
	}
}

func TestFilesOfAFolderWithoutASession(t *testing.T) {
	h := newHost(t)
	dir := filepath.Join(h.server.cfg.Home, "src")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"retry.go", "retry_test.go", "README.md"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		query  string
		status int
		want   string
	}{
		{"path=~/src&q=rty", 200, `"files":[{"path":"retry.go"},{"path":"retry_test.go"}]`},
		{"path=" + dir + "&q=retry&limit=1", 200, `"files":[{"path":"retry.go"}]`},
		{"path=~/src&q=nothing", 200, `"files":[]`},
		{"path=~/none&q=a", 404, "folder_not_found"},
		{"path=~/src/retry.go&q=a", 404, "not a folder"},
		{"path=src&q=a", 422, "absolute"},
		{"q=a", 422, "path"},
	} {
		if res, text := h.do("GET", "/api/v1/folders/files?"+tc.query, ""); res.StatusCode != tc.status || !strings.Contains(text, tc.want) {
			t.Errorf("%s: %d %s", tc.query, res.StatusCode, text)
		}
	}
}

func TestPageIsCachedAndCompressed(t *testing.T) {
	h := newHost(t)
	res, plain := h.do("GET", "/", "", "Accept-Encoding", "identity")
	etag := res.Header.Get("ETag")
	if etag == "" || res.Header.Get("Cache-Control") != "no-cache" || res.Header.Get("Content-Encoding") != "" {
		t.Errorf("%v", res.Header)
	}
	res, zipped := h.do("GET", "/new", "", "Accept-Encoding", "br;q=1, gzip")
	zr, err := gzip.NewReader(bytes.NewReader([]byte(zipped)))
	if err != nil || res.Header.Get("Content-Encoding") != "gzip" || res.Header.Get("Vary") != "Accept-Encoding" || res.Header.Get("ETag") == etag {
		t.Fatalf("%v %v", err, res.Header)
	}
	if got, err := io.ReadAll(zr); err != nil || string(got) != plain {
		t.Errorf("compressed differs: %v", err)
	}
	if res, body := h.do("GET", "/", "", "Accept-Encoding", "gzip;q=0", "If-None-Match", `"x", `+etag); res.StatusCode != 304 || body != "" {
		t.Errorf("%d %q", res.StatusCode, body)
	}
	res, _ = h.do("GET", "/assets/app-1234.js", "")
	if !strings.Contains(res.Header.Get("Cache-Control"), "immutable") || res.Header.Get("Content-Type") != "text/javascript; charset=utf-8" {
		t.Errorf("%v", res.Header)
	}
	if res, body := h.do("HEAD", "/icon.svg", ""); res.StatusCode != 200 || body != "" || res.Header.Get("Content-Type") != "image/svg+xml" {
		t.Errorf("%d %q %v", res.StatusCode, body, res.Header)
	}
	// Who looks at an address that is none is shown the page, which says so; a program is told.
	res, body := h.do("GET", "/nowhere", "", "Authorization", "", "Accept", "text/html,*/*;q=0.8", "Accept-Encoding", "identity", "If-None-Match", etag)
	if res.StatusCode != 404 || body != plain {
		t.Errorf("%d %.80s", res.StatusCode, body)
	}
}

// TestOpenAPIDocument has the document checked by the reference validator.
func TestOpenAPIDocument(t *testing.T) {
	h := newHost(t)
	res, text := h.do("GET", "/api/v1/openapi.json", "", "Authorization", "")
	if res.StatusCode != 200 {
		t.Fatalf("%d %s", res.StatusCode, text)
	}
	var doc struct {
		OpenAPI string                    `json:"openapi"`
		Paths   map[string]map[string]any `json:"paths"`
		Info    struct{ Description string }
	}
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(doc.OpenAPI, "3.1.") {
		t.Errorf("version %s", doc.OpenAPI)
	}
	for code, kind := range problems {
		if kind.Status < 400 || kind.Status > 599 || http.StatusText(kind.Status) == "" || kind.Title == "" || kind.Doc == "" {
			t.Errorf("%s is not documented: %+v", code, kind)
		}
		if !strings.Contains(doc.Info.Description, "`"+code+"`") {
			t.Errorf("the document does not name %s", code)
		}
	}
	for _, path := range []string{
		"/health", "/api/v1/agents", "/api/v1/sessions", "/api/v1/sessions/{id}", "/api/v1/sessions/{id}/messages", "/api/v1/sessions/{id}/cancel",
		"/api/v1/sessions/{id}/queue", "/api/v1/sessions/{id}/agent/end", "/api/v1/sessions/{id}/items", "/api/v1/sessions/{id}/events",
		"/api/v1/approvals", "/api/v1/approvals/{id}", "/api/v1/stream", "/api/v1/folders", "/api/v1/login/link", "/api/v1/login/password", "/api/v1/logout", "/api/v1/me",
	} {
		if doc.Paths[path] == nil {
			t.Errorf("%s is missing", path)
		}
	}
	validator, err := exec.LookPath("openapi-spec-validator")
	if err != nil {
		const how = "openapi-spec-validator is not installed: pip install openapi-spec-validator"
		if os.Getenv("CI") == "true" {
			t.Fatal(how)
		}
		t.Skip(how)
	}
	file := filepath.Join(t.TempDir(), "openapi.json")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), validator, "--schema", "3.1", file).CombinedOutput(); err != nil {
		t.Fatalf("the validator refuses the document: %v\n%.4000s", err, out)
	}
}

package httpapi

import (
	"net/netip"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/holdfast-dev/holdfast/internal/access"
)

// TestBehindAProxy: below a base path everything is found, whether the proxy
// takes the path off or not; the cookie is for that path only; and a trusted
// proxy's word makes it Secure and tells guessers apart.
func TestBehindAProxy(t *testing.T) {
	h := newHost(t, func(c *Config) {
		c.BasePath = "/holdfast"
		c.Proxies = access.Proxies{netip.MustParsePrefix("127.0.0.1/32")}
		c.Files = fstest.MapFS{
			"index.html":       {Data: []byte(`<meta name="holdfast-base" content="" /><script src="./assets/a.js"></script>`)},
			"assets/a.js":      {Data: []byte("1")},
			"page.webmanifest": {Data: []byte("{}")},
		}
	})
	for _, path := range []string{"/holdfast/", "/holdfast/s/abc", "/", "/s/abc"} {
		res, text := h.do("GET", path, "")
		if res.StatusCode != 200 || !strings.Contains(text, `content="/holdfast"`) || !strings.Contains(text, `src="/holdfast/assets/a.js"`) {
			t.Errorf("%s: %d %s", path, res.StatusCode, text)
		}
	}
	if res, _ := h.do("GET", "/holdfast", ""); res.StatusCode != 308 || res.Header.Get("Location") != "/holdfast/" {
		t.Errorf("%d to %q", res.StatusCode, res.Header.Get("Location"))
	}
	for _, path := range []string{"/holdfast/assets/a.js", "/holdfast/api/v1/me", "/holdfast/health", "/health", "/api/v1/me", "/holdfast/page.webmanifest"} {
		if res, text := h.do("GET", path, ""); res.StatusCode != 200 {
			t.Errorf("%s: %d %s", path, res.StatusCode, text)
		}
	}
	for _, path := range []string{"/holdfastx/health", "/holdfast/holdfast/health", "/holdfast/api/v1/nothing"} {
		if res, _ := h.do("GET", path, ""); res.StatusCode != 404 {
			t.Errorf("%s: %d", path, res.StatusCode)
		}
	}

	login := func(headers ...string) string {
		secret, _, err := h.access.CreateLink(t.Context(), "phone")
		if err != nil {
			t.Fatal(err)
		}
		res, text := h.do("POST", "/holdfast/api/v1/login/link", `{"secret":"`+secret+`"}`, append(headers, "Authorization", "")...)
		if res.StatusCode != 200 {
			t.Fatalf("%d %s", res.StatusCode, text)
		}
		return res.Header.Get("Set-Cookie")
	}
	if c := login("X-Forwarded-For", "192.0.2.7", "X-Forwarded-Proto", "https", "X-Forwarded-Host", "box.example.org", "Origin", "https://box.example.org"); !strings.Contains(c, "Path=/holdfast/") || !strings.Contains(c, "Secure") {
		t.Errorf("behind https: %s", c)
	}
	if c := login(); strings.Contains(c, "Secure") {
		t.Errorf("plain http: %s", c)
	}
	if res, _ := h.do("GET", "/health", "", "X-Forwarded-For", "192.0.2.7", "X-Forwarded-Host", "evil.example"); res.StatusCode != 403 && res.StatusCode != 421 {
		t.Errorf("a foreign name behind the proxy: %d", res.StatusCode)
	}

	guess := func(from string) int {
		res, _ := h.do("POST", "/api/v1/login/password", `{"password":"wrong horse"}`, "Authorization", "", "X-Forwarded-For", from)
		return res.StatusCode
	}
	for range 6 {
		guess("2001:db8:1:2::1")
	}
	if got := guess("2001:db8:1:2:ffff::9"); got != 429 {
		t.Errorf("the same network: %d", got)
	}
	if got := guess("2001:db8:1:3::1"); got != 401 {
		t.Errorf("another network: %d", got)
	}
	if got := guess("1.2.3.4, 2001:db8:1:2::1"); got != 429 {
		t.Errorf("an invented hop before the guesser: %d", got)
	}
}

// TestStrangersHeaders: without a trusted proxy nobody's headers are read.
func TestStrangersHeaders(t *testing.T) {
	h := newHost(t)
	limited := false
	for _, from := range []string{"192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5", "192.0.2.6", "192.0.2.7"} {
		res, _ := h.do("POST", "/api/v1/login/password", `{"password":"wrong horse"}`, "Authorization", "", "X-Forwarded-For", from)
		limited = limited || res.StatusCode == 429
	}
	if !limited {
		t.Error("who invents addresses passes the limit")
	}
}

package httpapi

import (
	"strings"
	"testing"

	"github.com/holdfast-dev/holdfast/internal/access"
)

// TestPasskeyRoutes: what package access checks is tested there; here is who may
// ask, and by which name.
func TestPasskeyRoutes(t *testing.T) {
	h := newHost(t, func(c *Config) { c.Passkeys = access.NewPasskeys(c.Store.(*flaky).Store, c.Access) })
	named := []string{"Host", "box.example.org", "Origin", "https://box.example.org"}
	nobody := append([]string{"Authorization", ""}, named...)
	for _, c := range []struct {
		method, path, body string
		headers            []string
		status             int
		want, not          string
	}{
		{"GET", "/api/v1/passkeys", "", nobody, 401, "login_required", ""},
		{"POST", "/api/v1/passkeys/begin", "", nobody, 401, "login_required", ""},
		{"POST", "/api/v1/passkeys", `{}`, nobody, 401, "login_required", ""},
		{"GET", "/api/v1/passkeys", "", named, 200, `"passkeys":[]`, ""},
		{"POST", "/api/v1/passkeys/begin", "", named, 200, `"id":"box.example.org"`, ""},
		{"POST", "/api/v1/passkeys/begin", "", nil, 400, "a passkey is of a name", ""},
		{"POST", "/api/v1/passkeys", `{"name":"x","credential":{"id":"AA"}}`, named, 400, "was not taken", "Details"},
		{"PATCH", "/api/v1/passkeys/none", `{"name":"x"}`, named, 404, "no passkey", ""},
		{"DELETE", "/api/v1/passkeys/none", "", named, 404, "no passkey", ""},
		{"POST", "/api/v1/login/passkey/begin", "", nobody, 200, "", "challenge"},
		{"POST", "/api/v1/login/passkey", `{"credential":{"id":"AA"}}`, nobody, 401, "login_denied", ""},
		{"POST", "/api/v1/login/passkey", `{"credential":{"id":"AA"}}`, []string{"Authorization", ""}, 400, "a passkey is of a name", ""},
		{"POST", "/api/v1/login/passkey/begin", "", []string{"Authorization", "", "Origin", "https://evil.example"}, 403, "foreign_origin", ""},
	} {
		res, text := h.do(c.method, c.path, c.body, c.headers...)
		if res.StatusCode != c.status || !strings.Contains(text, c.want) || c.not != "" && strings.Contains(text, c.not) {
			t.Errorf("%s %s: %d %s", c.method, c.path, res.StatusCode, text)
		}
	}
}

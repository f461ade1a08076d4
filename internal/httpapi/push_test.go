package httpapi

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/holdfast-dev/holdfast/internal/push"
)

// TestPushRoutes: a device subscribes, sets what it is told, answers without a
// login by what it was given, and is told no more when it logs out.
func TestPushRoutes(t *testing.T) {
	far := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusCreated) }))
	t.Cleanup(far.Close)
	var told *push.Service
	h := newHost(t, func(c *Config) {
		var err error
		told, err = push.New(t.Context(), push.Options{Store: c.Store.(*flaky).Store, Log: slog.New(slog.DiscardHandler), Test: strings.TrimPrefix(far.URL, "http://")})
		if err != nil {
			t.Fatal(err)
		}
		c.Push = told
	})
	link, _, err := h.access.CreateLink(t.Context(), "phone")
	if err != nil {
		t.Fatal(err)
	}
	res, text := h.do("POST", "/api/v1/login/link", `{"secret":"`+link+`"}`, "Authorization", "")
	if res.StatusCode != 200 {
		t.Fatalf("%d %s", res.StatusCode, text)
	}
	cookie := loginCookie(t, res)
	as := []string{"Authorization", "", "Cookie", cookie.Name + "=" + cookie.Value}
	// The keys of RFC 8291, appendix A.
	keys := `"keys":{"p256dh":"BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4","auth":"BTBZMqHH6r4Tts7J_aSIgg"}`
	for _, c := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/api/v1/push", "", 200, `"subscribed":false`},
		{"PATCH", "/api/v1/push", `{"level":"needs"}`, 404, "notifications on first"},
		{"PUT", "/api/v1/push", `{"endpoint":"https://127.0.0.1/x",` + keys + `}`, 400, "push service"},
		{"PUT", "/api/v1/push", `{"endpoint":"` + far.URL + `/x","expirationTime":null,` + keys + `}`, 200, `"level":"all"`},
		{"POST", "/api/v1/push/test", "", 202, ""},
		{"PATCH", "/api/v1/push", `{"level":"none","session":"s1"}`, 200, `"sessions":{"s1":"none"}`},
		{"PATCH", "/api/v1/push", `{"level":"default","session":"s1"}`, 200, `"sessions":{}`},
		{"PATCH", "/api/v1/push", `{"level":"default"}`, 400, "a level is"},
		{"POST", "/api/v1/presence", `{"tab":"t","session":"s1","visible":true}`, 204, ""},
	} {
		if res, text := h.do(c.method, c.path, c.body, as...); res.StatusCode != c.status || !strings.Contains(text, c.want) {
			t.Errorf("%s %s %s: %d %s", c.method, c.path, c.body, res.StatusCode, text)
		}
	}
	if _, text := h.do("GET", "/api/v1/push", "", as...); !regexp.MustCompile(`"public_key":"[A-Za-z0-9_-]{87}"`).MatchString(text) {
		t.Errorf("%s", text)
	}
	if res, text := h.do("POST", "/api/v1/push/answer", `{"capability":"YQ.YQ"}`, "Authorization", ""); res.StatusCode != 401 || !strings.Contains(text, "answer there") {
		t.Errorf("an invented capability: %d %s", res.StatusCode, text)
	}
	if res, _ := h.do("PUT", "/api/v1/push", `{}`, "Authorization", ""); res.StatusCode != 401 {
		t.Errorf("without a login: %d", res.StatusCode)
	}
	id, err := h.access.Cookie(t.Context(), cookie.Value)
	if err != nil || !told.Settings(id.ID).Subscribed {
		t.Fatalf("not subscribed: %v", err)
	}
	if res, text := h.do("POST", "/api/v1/logout", "", as...); res.StatusCode != 204 {
		t.Fatalf("%d %s", res.StatusCode, text)
	}
	if told.Settings(id.ID).Subscribed {
		t.Error("a device that logged out is told still")
	}
}

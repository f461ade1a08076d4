package httpapi

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/holdfast-dev/holdfast/internal/probe"
)

type fakeMachine struct {
	level string
	safe  string
}

func (m *fakeMachine) Ends() map[string]int {
	return map[string]int{probe.EndCrash: 2, probe.EndUpgrade: 1}
}

func (m *fakeMachine) Lives() (now probe.Life, ended []probe.Life) {
	return probe.Life{PID: 7}, []probe.Life{{How: probe.EndCrash}, {How: probe.EndAsked}}
}

func (m *fakeMachine) LogLines() []string {
	return []string{"time=1 level=DEBUG msg=a", "time=2 level=INFO msg=b", "time=3 level=WARN msg=c", "time=4 level=ERROR msg=d"}
}
func (m *fakeMachine) LogLevel() string { return m.level }

func (m *fakeMachine) SetLogLevel(level string) error {
	m.level = level
	return nil
}

func (m *fakeMachine) Diagnosis(_ context.Context, w io.Writer) error {
	_, err := io.WriteString(w, "an archive")
	return err
}

func (m *fakeMachine) Resume(context.Context) error {
	if m.safe == "" {
		return &RefusedError{Text: "not now"}
	}
	m.safe = ""
	return nil
}

func TestHostRoutes(t *testing.T) {
	m := &fakeMachine{level: "info", safe: "crashed too often."}
	h := newHost(t, func(c *Config) {
		c.Machine, c.Safe, c.Held = m, func() string { return m.safe }, func() bool { return m.safe != "" }
	})
	ask := func(method, path, body string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, h.url+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+h.token)
		if body != "" {
			req.Header.Set("Content-Type", "application/json")
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		data, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(data)
	}
	for _, tc := range []struct {
		method, path, body string
		status             int
		has, hasNot        string
	}{
		{"GET", "/api/v1/host/lives?limit=1", "", 200, `"how":"crash"`, `"how":"asked"`},
		{"GET", "/api/v1/host/lives", "", 200, "crashed too often", "?"},
		{"GET", "/api/v1/host/log?level=warn", "", 200, "level=WARN", "level=INFO"},
		{"GET", "/api/v1/host/log?limit=1", "", 200, "level=ERROR", "level=WARN"},
		{"GET", "/api/v1/host/log?level=loud", "", 422, "level", "msg=a"},
		{"PUT", "/api/v1/host/log", `{"level":"debug"}`, 200, "debug", "info"},
		{"POST", "/api/v1/host/diagnosis", "", 200, "an archive", "problem"},
		{"GET", "/api/v1/me", "", 200, `"safe_mode":"crashed too often."`, "?"},
		{"POST", "/api/v1/sessions", `{"agent":"x","cwd":"/"}`, 503, "crashed too often", "new version"},
		{"POST", "/api/v1/host/resume", "", 204, "", "problem"},
		{"POST", "/api/v1/host/resume", "", 409, "not now", "?"},
	} {
		status, body := ask(tc.method, tc.path, tc.body)
		if status != tc.status || !strings.Contains(body, tc.has) || strings.Contains(body, tc.hasNot) {
			t.Errorf("%s %s: %d %s", tc.method, tc.path, status, body)
		}
	}
	if m.level != "debug" {
		t.Errorf("the level is %q", m.level)
	}
}

// The host's own probe passes where the gates are full, and nobody else does by
// saying that it is one.
func TestOwnProbe(t *testing.T) {
	h := newHost(t, func(c *Config) { c.ProbeKey = "the key"; c.Limits.Probes = 1 })
	if !h.server.gates[classDeep].enter() {
		t.Fatal("the gate is closed")
	}
	defer h.server.gates[classDeep].leave()
	for key, want := range map[string]int{"": 503, "another": 503, "the key": 200} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, h.url+"/health?deep=read", nil)
		if err != nil {
			t.Fatal(err)
		}
		SignProbe(req, key)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("with the key %q: %d", key, resp.StatusCode)
		}
	}
}

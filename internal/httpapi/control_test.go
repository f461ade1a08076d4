package httpapi

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/internal/doctor"
	"github.com/holdfast-dev/holdfast/internal/handoff"
)

type fakeHost struct {
	mu      sync.Mutex
	stopped []bool
	verify  error
	left    chan error // how examinations that were left ended
}

func (*fakeHost) Status(context.Context) Status {
	return Status{PID: 7, Address: "127.0.0.1:8787", StartedAt: time.Unix(0, 0).UTC(), Sessions: 3, Descriptors: 20, DescriptorsPeak: 30, DescriptorsLimit: 256}
}
func (*fakeHost) PublicURL() string                      { return "" }
func (*fakeHost) URL() string                            { return "http://127.0.0.1:8787" }
func (*fakeHost) Restart(context.Context, Restart) error { return &RefusedError{Text: "not here"} }

func (f *fakeHost) Stop(_ context.Context, all, _ bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stopped = append(f.stopped, all)
	return nil
}

func (f *fakeHost) Examine(ctx context.Context, in doctor.Request, tell func(doctor.Line)) error {
	c := doctor.Okf(doctor.GroupStore, "database", "%s", in.Shell["opencode"])
	tell(doctor.Line{Doing: "the database"})
	tell(doctor.Line{Check: &c})
	if in.Agents {
		<-ctx.Done()
		f.left <- ctx.Err()
	}
	return ctx.Err()
}

func (f *fakeHost) Verify(_ context.Context, progress func(done, total int64)) (VerifyReport, error) {
	progress(1, 2)
	progress(2, 2)
	return VerifyReport{Sessions: 2, Events: 9, Wrong: []string{}}, f.verify
}

func TestControl(t *testing.T) {
	h := newHost(t)
	h.session("s1")
	boss := &fakeHost{left: make(chan error, 1)}
	ln, err := net.Listen("unix", filepath.Join(t.TempDir(), "c"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- h.server.ServeControl(ctx, handoff.NewListener(ln), NewControl(h.server, boss)) }()
	defer func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", ln.Addr().String())
	}}
	client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	do := func(method, path, body string, status int) string {
		t.Helper()
		req, err := http.NewRequest(method, "http://holdfast"+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if body != "" {
			req.Header.Set("Content-Type", "application/json")
		}
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != status {
			t.Fatalf("%s %s: %d, want %d, %v: %s", method, path, res.StatusCode, status, err, text)
		}
		return string(text)
	}

	if text := do("GET", "/api/v1/sessions", "", 200); !strings.Contains(text, `"id":"s1"`) {
		t.Errorf("the API without a login: %s", text)
	}
	if text := do("GET", "/api/v1/me", "", 200); !strings.Contains(text, `"kind":"local"`) {
		t.Errorf("me: %s", text)
	}
	var link ControlLink
	if err := json.Unmarshal([]byte(do("POST", "/control/link", `{"name":"laptop"}`, 200)), &link); err != nil || link.URL != "http://127.0.0.1:8787/#link="+link.Secret {
		t.Fatalf("%+v %v", link, err)
	}
	if res, text := h.do("POST", "/api/v1/login/link", `{"secret":"`+link.Secret+`"}`); res.StatusCode != 200 || !strings.Contains(text, "laptop") {
		t.Errorf("the link does not log in: %d %s", res.StatusCode, text)
	}
	do("POST", "/control/link", "", 200)
	var token struct{ Token string }
	if err := json.Unmarshal([]byte(do("POST", "/control/token", `{"name":"script"}`, 200)), &token); err != nil || !strings.HasPrefix(token.Token, "hf_") {
		t.Fatalf("%+v %v", token, err)
	}
	if res, _ := h.do("GET", "/api/v1/sessions", "", "Authorization", "Bearer "+token.Token); res.StatusCode != 200 {
		t.Errorf("the token does not log in: %d", res.StatusCode)
	}
	do("POST", "/control/token", `{"name":""}`, 422)
	var tokens struct{ Tokens []Device }
	if err := json.Unmarshal([]byte(do("GET", "/control/tokens", "", 200)), &tokens); err != nil {
		t.Fatal(err)
	}
	removed := false
	for _, d := range tokens.Tokens {
		if d.Name == "script" {
			do("DELETE", "/control/tokens/"+d.ID, "", 204)
			removed = true
		}
	}
	if res, _ := h.do("GET", "/api/v1/sessions", "", "Authorization", "Bearer "+token.Token); !removed || res.StatusCode != 401 {
		t.Errorf("a removed token: %d", res.StatusCode)
	}
	do("DELETE", "/control/tokens/none", "", 404)
	do("POST", "/control/password", `{"password":"short"}`, 400)
	old := `{"hash":"` + strings.Repeat("A", 43) + `=","salts":["` + strings.Repeat("A", 43) + `="]}`
	do("POST", "/control/password/import", `{"hash":"AAAA","salts":["AAAA"]}`, 400)
	do("POST", "/control/password/import", old, 204)
	do("POST", "/control/password/import", old, 409)
	do("POST", "/control/password", `{"password":"long enough"}`, 204)
	if has, err := h.access.HasPassword(t.Context()); !has || err != nil {
		t.Errorf("password: %v %v", has, err)
	}
	do("POST", "/control/password", `{"password":""}`, 204)
	if has, err := h.access.HasPassword(t.Context()); has || err != nil {
		t.Errorf("password: %v %v", has, err)
	}

	var status map[string]any
	if err := json.Unmarshal([]byte(do("GET", "/control/status", "", 200)), &status); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"pid", "address", "version", "started_at", "uptime_s", "sessions", "requests", "live_agents", "descriptors", "descriptors_peak", "descriptors_limit", "health"} {
		if _, ok := status[key]; !ok {
			t.Errorf("status has no %s: %v", key, status)
		}
	}
	if n, _ := status["requests"].(float64); n < 5 {
		t.Errorf("requests: %v", status["requests"])
	}

	lines := bufio.NewScanner(strings.NewReader(do("POST", "/control/verify", "", 200)))
	var last VerifyLine
	for lines.Scan() {
		last = VerifyLine{}
		if err := json.Unmarshal(lines.Bytes(), &last); err != nil {
			t.Fatal(err)
		}
	}
	if last.Report == nil || last.Report.Events != 9 || last.Error != "" {
		t.Errorf("%+v", last)
	}
	boss.verify = errors.New("disk gone")
	if text := do("POST", "/control/verify", "", 200); !strings.Contains(text, `"error":"verify log: disk gone"`) {
		t.Error(text)
	}
	if text := do("POST", "/control/doctor", `{"shell":{"opencode":"/x/opencode"}}`, 200); !strings.Contains(text, `"seen":"/x/opencode"`) || !strings.HasSuffix(text, "{\"done\":true}\n") {
		t.Error(text)
	}
	do("POST", "/control/doctor", "{", 400)
	// A client that leaves ends the look; until then it hears something each second.
	leave, gone := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(leave, "POST", "http://holdfast/control/doctor", strings.NewReader(`{"agents":true}`))
	if err != nil {
		t.Fatal(err)
	}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	beats := bufio.NewScanner(res.Body)
	for n := 0; n < 4 && beats.Scan(); n++ { // begun, what it does, a check, a beat
		if n == 3 && beats.Text() != `{"doing":"the database"}` {
			t.Errorf("the beat: %s", beats.Text())
		}
	}
	gone()
	res.Body.Close()
	select {
	case err := <-boss.left:
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the look goes on without its client")
	}
	do("POST", "/control/stop", "", 202)
	do("POST", "/control/stop", `{"all":true}`, 202)
	if len(boss.stopped) != 2 || boss.stopped[0] || !boss.stopped[1] {
		t.Errorf("stops: %v", boss.stopped)
	}
	do("GET", "/control/nope", "", 404)
	do("PUT", "/control/stop", "", 405)
	for _, path := range []string{"/control/status", "/control/stop", "/control/link"} {
		if res, _ := h.do("GET", path, ""); res.StatusCode != 404 {
			t.Errorf("%s is open to the outside: %d", path, res.StatusCode)
		}
	}
}

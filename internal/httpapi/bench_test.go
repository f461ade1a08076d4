package httpapi

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/internal/access"
)

// BenchmarkNew is what the routes cost a start.
func BenchmarkNew(b *testing.B) {
	hosts, err := access.NewHosts("127.0.0.1:8787", nil)
	if err != nil {
		b.Fatal(err)
	}
	log := &flaky{}
	cfg := Config{Sessions: &fakeSessions{}, Store: log, Access: access.New(nil, time.Now), Hosts: hosts, Files: testFiles()}
	for b.Loop() {
		s, err := New(cfg)
		if err != nil {
			b.Fatal(err)
		}
		s.stop()
	}
}

// BenchmarkSessions is the sidebar's request, login and all.
func BenchmarkSessions(b *testing.B) {
	h := newHost(b)
	for range 100 {
		h.session("")
	}
	benchGet(b, h, "/api/v1/sessions")
}

// BenchmarkHealth is a request that touches no store.
func BenchmarkHealth(b *testing.B) { benchGet(b, newHost(b), "/health") }

// BenchmarkBare is what net/http itself costs.
func BenchmarkBare(b *testing.B) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"status":"ok"}`)
	}))
	defer srv.Close()
	benchGet(b, &host{TB: b, url: srv.URL}, "/")
}

func benchGet(b *testing.B, h *host, path string) {
	b.Helper()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	for b.Loop() {
		req, err := http.NewRequest(http.MethodGet, h.url+path, nil)
		if err != nil {
			b.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+h.token)
		res, err := client.Do(req)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != 200 {
			b.Fatalf("%d %v", res.StatusCode, err)
		}
		res.Body.Close()
	}
}

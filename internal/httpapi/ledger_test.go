package httpapi

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/holdfast-dev/holdfast/internal/ledger"
)

func TestRelieve(t *testing.T) {
	var pressure atomic.Pointer[Pressure]
	pressure.Store(&Pressure{})
	h := newHost(t, func(c *Config) { c.Pressure = func() Pressure { return *pressure.Load() } })
	h.session("s1")
	const message = `{"client_id":"m1","text":"hello"}`
	for _, c := range []struct {
		name               string
		pressure           Pressure
		method, path, body string
		status             int
		code               string
	}{
		{"no stream at the limit", Pressure{Descriptors: true}, "GET", "/api/v1/stream", "", 503, "overloaded"},
		{"lists at the limit", Pressure{Descriptors: true}, "GET", "/api/v1/sessions", "", 200, ""},
		{"messages at the limit", Pressure{Descriptors: true}, "POST", "/api/v1/sessions/s1/messages", message, 202, ""},
		{"no message without disk", Pressure{Disk: "make room"}, "POST", "/api/v1/sessions/s1/messages", message, 507, "disk_full"},
		{"no session without disk", Pressure{Disk: "make room"}, "POST", "/api/v1/sessions", `{"agent":"tour","cwd":"/"}`, 507, "disk_full"},
		{"no attachment without disk", Pressure{Disk: "make room"}, "POST", "/api/v1/attachments", "", 507, "disk_full"},
		{"reading without disk", Pressure{Disk: "make room"}, "GET", "/api/v1/sessions/s1/items", "", 200, ""},
		{"deleting without disk", Pressure{Disk: "make room"}, "DELETE", "/api/v1/sessions/s1", "", 204, ""},
		{"health in both", Pressure{Descriptors: true, Disk: "make room"}, "GET", "/health", "", 200, ""},
	} {
		pressure.Store(&c.pressure)
		res, body := h.do(c.method, c.path, c.body)
		if res.StatusCode != c.status || !strings.Contains(body, c.code) {
			t.Errorf("%s: %d %s", c.name, res.StatusCode, body)
		}
		if c.status == http.StatusServiceUnavailable && res.Header.Get("Retry-After") == "" {
			t.Errorf("%s: no Retry-After", c.name)
		}
		if c.code == "disk_full" && !strings.Contains(body, c.pressure.Disk) {
			t.Errorf("%s: it does not say why: %s", c.name, body)
		}
	}
}

func TestLedgerRoute(t *testing.T) {
	h := newHost(t, func(c *Config) {
		c.Ledger = func(context.Context) (HostLedger, error) {
			return HostLedger{Available: true, Now: ledger.Sample{Observed: 17}}, nil
		}
	})
	res, body := h.do("GET", "/api/v1/host/ledger", "")
	if res.StatusCode != http.StatusOK || !strings.Contains(body, `"observed":17`) || !strings.Contains(body, `"class":"stream"`) {
		t.Errorf("%d %s", res.StatusCode, body)
	}
	if res, _ := h.do("GET", "/api/v1/host/ledger", "", "Authorization", ""); res.StatusCode != http.StatusUnauthorized {
		t.Errorf("without a login: %d", res.StatusCode)
	}
}

package httpapi

import (
	"encoding/json"
	"errors"
	"io"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

// browser logs a browser in and returns the header that it sends.
func (h *host) browser(name string) (cookie string) {
	h.Helper()
	link, _, err := h.access.CreateLink(h.Context(), name)
	if err != nil {
		h.Fatal(err)
	}
	secret, err := h.access.Redeem(h.Context(), link, "")
	if err != nil {
		h.Fatal(err)
	}
	return h.server.cfg.CookieName + "=" + secret
}

func (h *host) devices(cookie string) []Device {
	h.Helper()
	res, text := h.do("GET", "/api/v1/devices", "", "Authorization", "", "Cookie", cookie)
	var list struct{ Devices []Device }
	if err := json.Unmarshal([]byte(text), &list); err != nil || res.StatusCode != 200 {
		h.Fatalf("%d %s", res.StatusCode, text)
	}
	return list.Devices
}

func names(devices []Device) string {
	var out []string
	for _, d := range devices {
		name := d.Name
		if d.Current {
			name += "*"
		}
		out = append(out, name)
	}
	return strings.Join(out, " ")
}

func TestDevicesAreNamedAndRevoked(t *testing.T) {
	h := newHost(t)
	laptop := h.browser("laptop")
	h.browser("phone")
	h.browser("tablet")
	list := h.devices(laptop)
	if got := names(list); got != "tablet phone laptop* test" {
		t.Fatalf("devices: %s", got)
	}
	as := []string{"Authorization", "", "Cookie", laptop}
	for _, c := range []struct {
		method, path, body string
		status             int
	}{
		{"PATCH", "/api/v1/devices/" + list[1].ID, `{"name":"  Pixel 9 "}`, 204},
		{"PATCH", "/api/v1/devices/" + list[1].ID, `{"name":"   "}`, 400},
		{"PATCH", "/api/v1/devices/" + list[1].ID, `{"name":"` + strings.Repeat("x", 201) + `"}`, 422},
		{"PATCH", "/api/v1/devices/nobody", `{"name":"x"}`, 404},
		{"DELETE", "/api/v1/devices/" + list[0].ID, "", 204},
		{"DELETE", "/api/v1/devices/" + list[0].ID, "", 404},
	} {
		if res, text := h.do(c.method, c.path, c.body, as...); res.StatusCode != c.status {
			t.Errorf("%s %s %s: %d %s", c.method, c.path, c.body, res.StatusCode, text)
		}
	}
	if got := names(h.devices(laptop)); got != "Pixel 9 laptop* test" {
		t.Errorf("devices: %s", got)
	}
	if res, text := h.do("DELETE", "/api/v1/devices", "", as...); res.StatusCode != 200 || !strings.Contains(text, `"removed":1`) {
		t.Errorf("%d %s", res.StatusCode, text)
	}
	if got := names(h.devices(laptop)); got != "laptop* test" {
		t.Errorf("who asks, and tokens, stay: %s", got)
	}
	// A token is no browser: it logs all of them out, and lives.
	if res, text := h.do("DELETE", "/api/v1/devices", ""); res.StatusCode != 200 || !strings.Contains(text, `"removed":1`) {
		t.Errorf("%d %s", res.StatusCode, text)
	}
	if res, _ := h.do("GET", "/api/v1/me", "", as...); res.StatusCode != 401 {
		t.Errorf("a browser that was logged out: %d", res.StatusCode)
	}
}

// TestStreamsEndWithTheirLogin: long before a heartbeat is due.
func TestStreamsEndWithTheirLogin(t *testing.T) {
	h := newHost(t, func(c *Config) { c.Heartbeat = time.Hour })
	phone, laptop := h.browser("phone"), h.browser("laptop")
	for _, c := range []struct {
		name   string
		end    func() int
		cookie string
	}{
		{"removed by another", func() int {
			res, _ := h.do("DELETE", "/api/v1/devices/"+h.devices(laptop)[1].ID, "")
			return res.StatusCode
		}, phone},
		{"logged out", func() int {
			res, _ := h.do("POST", "/api/v1/logout", "", "Authorization", "", "Cookie", laptop)
			return res.StatusCode
		}, laptop},
	} {
		theirs := h.open(t, "", "Authorization", "", "Cookie", c.cookie)
		other := h.open(t, "")
		theirs.mustNext(t)
		other.mustNext(t)
		if status := c.end(); status != 204 {
			t.Fatalf("%s: %d", c.name, status)
		}
		if _, err := io.ReadAll(theirs.r); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: %v", c.name, err)
		}
		theirs.close()
		if f := other.mustNext(t); f.event != "ping" {
			t.Errorf("%s: the stream of another login: %+v", c.name, f)
		}
		other.close()
	}
}

func TestLinkForAnotherDevice(t *testing.T) {
	for _, c := range []struct {
		name         string
		public, addr string
		host, origin string
		want         string
		elsewhere    bool
	}{
		{name: "the public address wins", public: "https://box.example.org/holdfast", host: "localhost:8787", want: "https://box.example.org/holdfast/#link=", elsewhere: true},
		{name: "as the person came", host: "mini.tail.ts.net", origin: "https://mini.tail.ts.net", want: "https://mini.tail.ts.net/#link=", elsewhere: true},
		{name: "this machine only", addr: "127.0.0.1:8787", host: "localhost:8787", want: "http://localhost:8787/#link="},
		{name: "bound to one address", addr: "192.0.2.7:8787", host: "127.0.0.1:8787", want: "http://192.0.2.7:8787/#link=", elsewhere: true},
	} {
		h := newHost(t, func(cfg *Config) { cfg.Public, cfg.Addr = c.public, c.addr })
		headers := []string{"Host", c.host}
		if c.origin != "" {
			headers = append(headers, "Origin", c.origin)
		}
		res, text := h.do("POST", "/api/v1/links", "", headers...)
		var link NewLink
		if err := json.Unmarshal([]byte(text), &link); err != nil || res.StatusCode != 201 {
			t.Fatalf("%s: %d %s", c.name, res.StatusCode, text)
		}
		base, secret, _ := strings.Cut(link.URL, "#link=")
		if base+"#link=" != c.want || link.Elsewhere != c.elsewhere {
			t.Errorf("%s: %s, elsewhere %v", c.name, link.URL, link.Elsewhere)
		}
		if n := len(link.QR); n < 21 || len(link.QR[0]) != n || strings.Trim(strings.Join(link.QR, ""), "01") != "" || !strings.HasPrefix(link.QR[0], "11111110") {
			t.Errorf("%s: no QR code: %q", c.name, link.QR)
		}
		if d := time.Until(link.ExpiresAt); d <= 0 || d > 10*time.Minute {
			t.Errorf("%s: lives %v", c.name, d)
		}
		if res, text := h.do("POST", "/api/v1/login/link", `{"secret":"`+secret+`"}`, "Authorization", ""); res.StatusCode != 200 {
			t.Errorf("%s: %d %s", c.name, res.StatusCode, text)
		}
	}
	h := newHost(t)
	if res, _ := h.do("POST", "/api/v1/links", "", "Authorization", ""); res.StatusCode != 401 {
		t.Errorf("without a login: %d", res.StatusCode)
	}
}

// TestPageSaysWhichItIs: a page knows by it that its host has another.
func TestPageSaysWhichItIs(t *testing.T) {
	index := func(script string) []byte {
		return []byte(`<meta name="holdfast-base" content="" /><meta name="holdfast-page" content="" /><script src="./assets/` + script + `"></script>`)
	}
	seen := map[string]bool{}
	for _, base := range []string{"", "/holdfast"} {
		for _, script := range []string{"one.js", "two.js"} {
			h := newHost(t, func(c *Config) {
				c.BasePath = base
				c.Files = fstest.MapFS{"index.html": {Data: index(script)}, "manifest.webmanifest": {Data: []byte("{}")}}
			})
			var me Me
			if _, text := h.do("GET", "/api/v1/me", ""); json.Unmarshal([]byte(text), &me) != nil || me.Page == "" {
				t.Fatalf("%s", text)
			}
			seen[me.Page] = true
			if _, text := h.do("GET", "/", ""); !strings.Contains(text, `<meta name="holdfast-page" content="`+me.Page+`" />`) || !strings.Contains(text, `src="`+base+`/assets/`+script) {
				t.Errorf("%s", text)
			}
			if res, _ := h.do("GET", "/manifest.webmanifest", "", "Authorization", ""); res.Header.Get("Content-Type") != "application/manifest+json" {
				t.Errorf("manifest: %v", res.Header)
			}
		}
	}
	if len(seen) != 2 {
		t.Errorf("two pages have these names: %v", seen)
	}
}

func TestNetworkAddressIsOfAnotherMachinesReach(t *testing.T) {
	for host, want := range map[string]bool{"localhost": true, "[::1]": true, "127.8.0.1": true, "x.localhost": true, "": true, "192.168.1.2": false, "box": false} {
		if onlyHere(host) != want {
			t.Errorf("%q: %v", host, !want)
		}
	}
	s := &Server{cfg: Config{Addr: "[::]:80"}}
	r := httptest.NewRequest("POST", "http://localhost/", nil)
	base, elsewhere := s.bestAddress(r)
	if ip := networkAddress(); elsewhere != (ip != "") || elsewhere && base != "http://"+ip+":80" {
		t.Errorf("%s %v", base, elsewhere)
	}
}

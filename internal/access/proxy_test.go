package access

import (
	"crypto/tls"
	"net/http"
	"net/netip"
	"testing"
)

func TestReach(t *testing.T) {
	trusted := Proxies{netip.MustParsePrefix("127.0.0.1/32"), netip.MustParsePrefix("10.0.0.0/24"), netip.MustParsePrefix("fd00::/8")}
	for _, c := range []struct {
		name    string
		proxies Proxies
		peer    string
		tls     bool
		header  map[string][]string
		want    Reach
	}{
		{"direct", trusted, "192.0.2.1:1", false, nil, Reach{"192.0.2.1:1", "box", false}},
		{"direct, TLS", trusted, "192.0.2.1:1", true, nil, Reach{"192.0.2.1:1", "box", true}},
		{
			"a stranger's word", trusted, "192.0.2.1:1", false,
			map[string][]string{"X-Forwarded-For": {"127.0.0.1"}, "X-Forwarded-Proto": {"https"}, "X-Forwarded-Host": {"evil.example"}, "Forwarded": {"for=127.0.0.1;proto=https"}},
			Reach{"192.0.2.1:1", "box", false},
		},
		{
			"nobody is trusted", nil, "127.0.0.1:1", false,
			map[string][]string{"X-Forwarded-For": {"192.0.2.7"}, "X-Forwarded-Proto": {"https"}},
			Reach{"127.0.0.1:1", "box", false},
		},
		{
			"one proxy", trusted, "127.0.0.1:1", false,
			map[string][]string{"X-Forwarded-For": {"192.0.2.7"}, "X-Forwarded-Proto": {"https"}, "X-Forwarded-Host": {"box.example:8443"}},
			Reach{"192.0.2.7:0", "box.example:8443", true},
		},
		{
			"what the client wrote itself", trusted, "127.0.0.1:1", false,
			map[string][]string{"X-Forwarded-For": {"10.0.0.9, 198.51.100.1, 192.0.2.7"}},
			Reach{"192.0.2.7:0", "box", false},
		},
		{
			"two proxies", trusted, "127.0.0.1:1", false,
			map[string][]string{"X-Forwarded-For": {"8.8.8.8, 192.0.2.7", "10.0.0.5"}, "X-Forwarded-Proto": {"https"}},
			Reach{"192.0.2.7:0", "box", true},
		},
		{
			"two proxies with lists", trusted, "127.0.0.1:1", false,
			map[string][]string{"X-Forwarded-For": {"192.0.2.7, 10.0.0.5"}, "X-Forwarded-Proto": {"https, http"}, "X-Forwarded-Host": {"edge.example, inner"}},
			Reach{"192.0.2.7:0", "edge.example", true},
		},
		{
			"all are ours", trusted, "127.0.0.1:1", false,
			map[string][]string{"X-Forwarded-For": {"10.0.0.7, 10.0.0.5"}},
			Reach{"10.0.0.7:0", "box", false},
		},
		{
			"a hop that is no address", trusted, "127.0.0.1:1", false,
			map[string][]string{"X-Forwarded-For": {"192.0.2.7, unknown, 10.0.0.5"}},
			Reach{"10.0.0.5:0", "box", false},
		},
		{
			"IPv6 with a port, mapped", trusted, "[::ffff:127.0.0.1]:1", false,
			map[string][]string{"X-Forwarded-For": {"[2001:db8::1]:443"}},
			Reach{"[2001:db8::1]:443", "box", false},
		},
		{
			"no host", trusted, "127.0.0.1:1", false,
			map[string][]string{"X-Forwarded-For": {"192.0.2.7"}, "X-Forwarded-Host": {"a/b"}},
			Reach{"192.0.2.7:0", "box", false},
		},
		{
			"Forwarded", trusted, "127.0.0.1:1", false,
			map[string][]string{"Forwarded": {`for=8.8.8.8;host=evil, for="[2001:db8::1]:5";proto=https;host="box.example"`, "for=10.0.0.5;proto=http"}},
			Reach{"[2001:db8::1]:5", "box.example", true},
		},
		{
			"both: the one that no client can take away", trusted, "127.0.0.1:1", false,
			map[string][]string{"Forwarded": {"for=127.0.0.1;host=evil"}, "X-Forwarded-For": {"192.0.2.7"}},
			Reach{"192.0.2.7:0", "box", false},
		},
		{
			"a proxy that speaks TLS to us for a plain client", trusted, "127.0.0.1:1", true,
			map[string][]string{"X-Forwarded-For": {"192.0.2.7"}, "X-Forwarded-Proto": {"http"}},
			Reach{"192.0.2.7:0", "box", false},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &http.Request{RemoteAddr: c.peer, Host: "box", Header: http.Header(c.header)}
			if c.tls {
				r.TLS = &tls.ConnectionState{}
			}
			if got := c.proxies.Reach(r); got != c.want {
				t.Errorf("%+v, want %+v", got, c.want)
			}
		})
	}
}

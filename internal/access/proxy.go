package access

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// Proxies are the networks whose word is taken for who sent a request. Nil
// trusts nobody: the headers are then anybody's to write, and are not read.
type Proxies []netip.Prefix

// Reach is how a request reached the host.
type Reach struct {
	Client string // address of who asks, as host:port; port 0 where a proxy did not say
	Host   string // the name that the browser asked for
	Secure bool   // the browser speaks https, to us or to the proxy before us
}

// maxHops bounds the work that a header can ask for.
const maxHops = 32

// Reach says how a request reached the host. X-Forwarded-For is read from the
// right: each trusted proxy vouches for the one before it, and the first
// address that is not a trusted one is who asks. What stands left of that is
// that client's own invention. Forwarded (RFC 7239) is read only where there is
// no X-Forwarded-For, which a proxy that writes it adds to and no client can
// take away.
func (p Proxies) Reach(r *http.Request) Reach {
	direct := Reach{Client: r.RemoteAddr, Host: r.Host, Secure: r.TLS != nil}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !p.trusts(peer.Addr()) {
		return direct
	}
	hops := xForwarded(r.Header)
	if len(hops) == 0 {
		hops = forwarded(r.Header)
	}
	reach := direct
	if len(hops) == 0 {
		return reach
	}
	if len(hops) > maxHops {
		hops = hops[len(hops)-maxHops:]
	}
	at := len(hops) - 1
	for i := len(hops) - 1; i >= 0; i-- {
		a, ok := hopAddr(hops[i].client)
		if !ok {
			break // the proxy that wrote it is the last that can be named
		}
		at = i
		reach.Client = a.String()
		if !p.trusts(a.Addr()) {
			break
		}
	}
	if host := hops[at].host; plainHost(host) {
		reach.Host = host
	}
	switch strings.ToLower(hops[at].proto) {
	case "https", "wss":
		reach.Secure = true
	case "http", "ws":
		reach.Secure = false
	}
	return reach
}

func (p Proxies) trusts(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	for _, n := range p {
		if n.Contains(a) {
			return true
		}
	}
	return false
}

// hop is what one proxy says of who asked it.
type hop struct{ client, host, proto string }

// xForwarded reads X-Forwarded-For, -Host and -Proto. The latter two are lists
// of the same length, or one value that all hops share: then it is the last.
func xForwarded(h http.Header) []hop {
	clients := list(h.Values("X-Forwarded-For"))
	hosts, protos := list(h.Values("X-Forwarded-Host")), list(h.Values("X-Forwarded-Proto"))
	pick := func(values []string, i int) string {
		switch {
		case len(values) == 0:
			return ""
		case len(values) == len(clients):
			return values[i]
		}
		return values[len(values)-1]
	}
	hops := make([]hop, len(clients))
	for i, c := range clients {
		hops[i] = hop{c, pick(hosts, i), pick(protos, i)}
	}
	return hops
}

// forwarded reads the header of RFC 7239.
func forwarded(h http.Header) []hop {
	var hops []hop
	for _, element := range list(h.Values("Forwarded")) {
		var one hop
		for pair := range strings.SplitSeq(element, ";") {
			name, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
			value = strings.Trim(strings.TrimSpace(value), `"`)
			switch strings.ToLower(name) {
			case "for":
				one.client = value
			case "host":
				one.host = value
			case "proto":
				one.proto = value
			}
		}
		hops = append(hops, one)
	}
	return hops
}

func list(values []string) []string {
	var out []string
	for _, v := range values {
		for part := range strings.SplitSeq(v, ",") {
			if part = strings.TrimSpace(part); part != "" {
				out = append(out, part)
			}
		}
	}
	return out
}

// hopAddr reads an address with or without a port.
func hopAddr(text string) (netip.AddrPort, bool) {
	if ap, err := netip.ParseAddrPort(text); err == nil {
		return ap, true
	}
	a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(text, "["), "]"))
	return netip.AddrPortFrom(a.Unmap().WithZone(""), 0), err == nil
}

// plainHost tells whether a header names a host and nothing else.
func plainHost(host string) bool {
	if host == "" || len(host) > 255 {
		return false
	}
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	return name != "" && !strings.ContainsAny(name, " /\\@?#\"'<>,;\t")
}

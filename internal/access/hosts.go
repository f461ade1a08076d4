package access

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// Hosts knows under which names the host may be reached. It stands between the
// browser's other pages and this host: a page elsewhere that makes a name of
// its own point here (DNS rebinding) sends that name in Host.
type Hosts struct {
	bound    string // host part of the listener's address, "" for a wildcard
	allowed  map[string]bool
	suffixes []string // ".ts.net"
}

// NewHosts takes the address that the listener was asked for and the
// allowed_hosts of the configuration: names ("box.example.org"), with or
// without a port, or suffixes ("*.ts.net").
func NewHosts(addr string, allowed []string) (*Hosts, error) {
	h := &Hosts{allowed: map[string]bool{}}
	if host, _, err := net.SplitHostPort(addr); err == nil && !wildcard(host) {
		h.bound = normalHost(host)
	}
	for _, a := range allowed {
		name := normalHost(hostOnly(strings.TrimSpace(a)))
		if rest, ok := strings.CutPrefix(name, "*."); ok {
			if rest == "" || !strings.Contains(rest, ".") || strings.Contains(rest, "*") {
				return nil, fmt.Errorf("read allowed_hosts: %q is too wide: name the domain, like *.example.ts.net", a)
			}
			h.suffixes = append(h.suffixes, "."+rest)
			continue
		}
		if name == "" || strings.ContainsAny(a, "*/ @") {
			return nil, fmt.Errorf("read allowed_hosts: %q is not a host name: write it like box.example.org or *.example.ts.net, without http://", a)
		}
		h.allowed[name] = true
	}
	return h, nil
}

// ErrOrigin is returned for a request that another site's page made.
var ErrOrigin = errors.New("the request comes from a page of another site")

// Allows reports whether a Host header's value names this host. Local is the
// address at which the connection arrived: an IP literal cannot be rebound, so
// the address itself is always a good name where the listener takes all.
func (h *Hosts) Allows(host string, local net.Addr) bool {
	name := normalHost(hostOnly(host))
	switch name {
	case "":
		return false
	case "localhost", "127.0.0.1", "::1":
		return true
	}
	if h.allowsName(name) || (h.bound != "" && name == h.bound) {
		return true
	}
	if tcp, ok := local.(*net.TCPAddr); ok {
		if a, err := netip.ParseAddr(name); err == nil {
			return a.Unmap() == tcp.AddrPort().Addr().Unmap().WithZone("")
		}
	}
	return false
}

func (h *Hosts) allowsName(name string) bool {
	if h.allowed[name] {
		return true
	}
	for _, s := range h.suffixes {
		if strings.HasSuffix(name, s) && len(name) > len(s) {
			return true
		}
	}
	return false
}

// CheckOrigin refuses what a page of another site makes a browser send. What is
// not a browser sends neither header and passes. A link on another page that
// opens ours is the one thing that may come from elsewhere: navigate says that
// the route is a page.
func (h *Hosts) CheckOrigin(r *http.Request, page bool) error {
	if origin := r.Header.Get("Origin"); origin != "" && !h.sameOrigin(origin, r.Host) {
		return fmt.Errorf("%w (Origin %.100q)", ErrOrigin, origin)
	}
	switch site := r.Header.Get("Sec-Fetch-Site"); site {
	case "", "same-origin", "none":
		return nil
	default:
		if page && (r.Method == http.MethodGet || r.Method == http.MethodHead) && r.Header.Get("Sec-Fetch-Mode") == "navigate" &&
			r.Header.Get("Sec-Fetch-Dest") == "document" {
			return nil
		}
		return fmt.Errorf("%w (Sec-Fetch-Site %.40q)", ErrOrigin, site)
	}
}

// sameOrigin reports whether an Origin is the host itself: the same name and
// port as the browser asked for, or an allowed name (behind a proxy that sends
// its own Host).
func (h *Hosts) sameOrigin(origin, host string) bool {
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return false
	}
	if hostPort(u.Host, u.Scheme) == hostPort(host, u.Scheme) {
		return true
	}
	return h.allowsName(normalHost(u.Hostname()))
}

func hostPort(host, scheme string) string {
	name, port := normalHost(hostOnly(host)), ""
	if _, p, err := net.SplitHostPort(host); err == nil {
		port = p
	}
	if port == "" {
		port = "80"
		if scheme == "https" {
			port = "443"
		}
	}
	return net.JoinHostPort(name, port)
}

// hostOnly drops the port and the brackets of an IPv6 literal.
func hostOnly(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		return h
	}
	return strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
}

func normalHost(host string) string {
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

func wildcard(host string) bool {
	if host == "" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsUnspecified()
}

// CheckBind refuses an address that would open the host to others without need:
// anything but loopback needs TLS, or a password and the insecure flag. The
// error's text says what to do; the caller ends with status 78.
func CheckBind(addr string, tls, hasPassword, insecure bool) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("read address %q: write it as host:port, like 127.0.0.1:8787", addr)
	}
	if loopback(host) || tls || (hasPassword && insecure) {
		return nil
	}
	missing := "there is neither a password nor --insecure-bind"
	switch {
	case hasPassword:
		missing = "--insecure-bind was not given"
	case insecure:
		missing = "there is no password"
	}
	return fmt.Errorf(`refuse to listen on %s: whoever can reach it and logs in has a shell as you, and without TLS the login can be read on the way (%s).

Better ways to reach Holdfast from elsewhere, all of which leave it on 127.0.0.1:
  ssh -L 8787:127.0.0.1:8787 you@this-machine
  tailscale serve --bg 8787        (and allowed_hosts = ["*.<your tailnet>.ts.net"] in config.toml)
  a reverse proxy with TLS         (and its name in allowed_hosts)

If the network is yours alone and you accept that: set a password with "holdfast password set", then start with --insecure-bind`, addr, missing)
}

func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback()
}

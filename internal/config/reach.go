package config

import (
	"net/netip"
	"net/url"
	"path"
	"path/filepath"
	"strings"
)

// TLS names the files of a certificate in PEM form. Both or neither are set.
type TLS struct {
	Cert string `toml:"cert"` // with its chain, the host's own first
	Key  string `toml:"key"`
}

// On tells whether the host speaks TLS itself.
func (t TLS) On() bool { return t.Cert != "" }

// HTTP is how the outside reaches the host.
type HTTP struct {
	// TrustedProxies are the networks whose word is taken for who asks, by
	// which name and by which protocol (X-Forwarded-For and its kin).
	TrustedProxies []netip.Prefix
	// BasePath is the path below which the page lies for a browser, without a
	// slash at its end: "" or "/holdfast".
	BasePath string
	// PublicURL is where a browser elsewhere finds the page, BasePath included,
	// without a slash at its end; "" where nobody said.
	PublicURL string
}

// httpFile is [http] as it stands in the file.
type httpFile struct {
	TrustedProxies []string `toml:"trusted_proxies"`
	BasePath       string   `toml:"base_path"`
	PublicURL      string   `toml:"public_url"`
}

// Scheme is what a browser speaks to the listener: http or https.
func (c *Config) Scheme() string {
	if c.TLS.On() {
		return "https"
	}
	return "http"
}

// first returns the first value that is set, and where it stands.
func first(options ...[2]string) (from, value string) {
	for _, o := range options {
		if v := strings.TrimSpace(o[1]); v != "" {
			return o[0], v
		}
	}
	return "", ""
}

func (c *Config) setTLS(src Sources, env map[string]string, path string, inFile TLS) error {
	certFrom, cert := first([2]string{"--tls-cert", src.Flags.TLSCert}, [2]string{"HOLDFAST_TLS_CERT", env["HOLDFAST_TLS_CERT"]}, [2]string{"tls.cert in " + path, inFile.Cert})
	keyFrom, key := first([2]string{"--tls-key", src.Flags.TLSKey}, [2]string{"HOLDFAST_TLS_KEY", env["HOLDFAST_TLS_KEY"]}, [2]string{"tls.key in " + path, inFile.Key})
	if cert == "" && key == "" && env["HERMES_WEBUI_TLS_CERT"] != "" && env["HERMES_WEBUI_TLS_KEY"] != "" {
		cert, key = env["HERMES_WEBUI_TLS_CERT"], env["HERMES_WEBUI_TLS_KEY"]
	}
	switch {
	case cert == "" && key == "":
		return nil
	case key == "":
		return errorf("%s names a certificate, and nothing names its key. Set tls.key in %s as well, or remove the certificate", certFrom, path)
	case cert == "":
		return errorf("%s names a key, and nothing names its certificate. Set tls.cert in %s as well, or remove the key", keyFrom, path)
	}
	// A path in the file is one beside the file: the working folder of a service
	// is nobody's choice.
	for _, p := range []*string{&cert, &key} {
		if rest, ok := strings.CutPrefix(*p, "~/"); ok && src.Home != "" {
			*p = filepath.Join(src.Home, rest)
		}
		if !filepath.IsAbs(*p) {
			*p = filepath.Join(c.Home, *p)
		}
	}
	c.TLS = TLS{Cert: cert, Key: key}
	return nil
}

func (c *Config) setHTTP(flags Flags, env map[string]string, file string, inFile httpFile) error {
	from, proxies := "--trusted-proxies", flags.TrustedProxies
	if len(proxies) == 0 && env["HOLDFAST_TRUSTED_PROXIES"] != "" {
		from, proxies = "HOLDFAST_TRUSTED_PROXIES", strings.Split(env["HOLDFAST_TRUSTED_PROXIES"], ",")
	}
	if len(proxies) == 0 {
		from, proxies = "http.trusted_proxies in "+file, inFile.TrustedProxies
	}
	for _, p := range proxies {
		if p = strings.TrimSpace(p); p == "" {
			continue
		}
		network, err := netip.ParsePrefix(p)
		if err != nil {
			a, aerr := netip.ParseAddr(p)
			if aerr != nil || a.Zone() != "" {
				return errorf("%s holds %q, which is no network. Write an address or a network such as 127.0.0.1 or 10.1.0.0/24", from, p)
			}
			network = netip.PrefixFrom(a, a.BitLen())
		}
		if a := network.Addr(); a.Is4In6() {
			return errorf("%s holds %q; write an IPv4 network as such, for example 10.1.0.0/24", from, p)
		}
		if network.Bits() == 0 {
			return errorf("%s holds %q, which is everybody: then anybody could say who he is. Name the proxy's own address", from, p)
		}
		c.HTTP.TrustedProxies = append(c.HTTP.TrustedProxies, network.Masked())
	}

	from, base := first([2]string{"--base-path", flags.BasePath}, [2]string{"HOLDFAST_BASE_PATH", env["HOLDFAST_BASE_PATH"]}, [2]string{"http.base_path in " + file, inFile.BasePath})
	base = strings.TrimSuffix(base, "/")
	if base != "" && (!plainPath(base) || reserved(base)) {
		return errorf("%s is %q; write a path of letters, digits, - _ . ~ that begins with a slash, such as /holdfast, and none that the page or the API uses itself (/api, /s, /assets, …)", from, base)
	}
	c.HTTP.BasePath = base

	from, public := first([2]string{"--public-url", flags.PublicURL}, [2]string{"HOLDFAST_PUBLIC_URL", env["HOLDFAST_PUBLIC_URL"]}, [2]string{"http.public_url in " + file, inFile.PublicURL})
	if public == "" {
		return nil
	}
	u, err := url.Parse(public)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return errorf("%s is %q; write the address that a browser shows, such as https://mini.tailnet.ts.net", from, public)
	}
	at := strings.TrimSuffix(u.Path, "/")
	switch {
	case base == "" && at != "" && plainPath(at) && !reserved(at):
		c.HTTP.BasePath = at
	case at == "":
		at = base
	case at != base:
		return errorf("%s is %q, and the base path is %q: the two must agree. Remove one of them", from, public, base)
	}
	c.HTTP.PublicURL = strings.ToLower(u.Scheme+"://"+u.Host) + at
	return nil
}

// plainPath tells whether nothing in a path needs escaping, and nothing in it
// would be cleaned away.
func plainPath(p string) bool {
	for _, r := range p {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-_.~/", r) {
			return false
		}
	}
	return strings.HasPrefix(p, "/") && p != "/" && path.Clean(p) == p && len(p) <= 200
}

// reserved tells whether a path begins as one of ours does, which would make
// two things of one address.
func reserved(p string) bool {
	first, _, _ := strings.Cut(strings.TrimPrefix(p, "/"), "/")
	switch first {
	case "api", "control", "health", "metrics", "problems", "assets", "s", "new", "needs-you", "host", "settings", "licenses":
		return true
	}
	return false
}

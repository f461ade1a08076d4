package config

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

func TestReach(t *testing.T) {
	for _, c := range []struct {
		name, file string
		env        []string
		flags      Flags
		want       string // scheme, base path, public URL, proxies
		wrong      string // part of the error
	}{
		{name: "nothing", want: "http '' '' []"},
		{name: "a path with a slash", file: "[http]\nbase_path = \"/holdfast/\"\n", want: "http '/holdfast' '' []"},
		{name: "public URL with a path", file: "[http]\npublic_url = \"https://Box.example.org/hf\"\n", want: "http '/hf' 'https://box.example.org/hf' []"},
		{name: "both", file: "[http]\npublic_url = \"https://box.example.org\"\nbase_path = \"/a/b\"\n", want: "http '/a/b' 'https://box.example.org/a/b' []"},
		{name: "proxies", file: "[http]\ntrusted_proxies = [\"127.0.0.1\", \"10.1.2.3/24\", \"fd00::/8\"]\n", want: "http '' '' [127.0.0.1/32 10.1.2.0/24 fd00::/8]"},
		{name: "environment over file", file: "[http]\nbase_path = \"/a\"\n", env: []string{"HOLDFAST_BASE_PATH=/b", "HOLDFAST_TRUSTED_PROXIES=::1, 10.0.0.0/8"}, want: "http '/b' '' [::1/128 10.0.0.0/8]"},
		{name: "flag over environment", env: []string{"HOLDFAST_BASE_PATH=/b"}, flags: Flags{BasePath: "/c"}, want: "http '/c' '' []"},
		{name: "TLS", file: "[tls]\ncert = \"/c\"\nkey = \"/k\"\n", want: "https '' '' []"},
		{name: "the old web UI's TLS", env: []string{"HERMES_WEBUI_TLS_CERT=/c", "HERMES_WEBUI_TLS_KEY=/k"}, want: "https '' '' []"},
		{name: "half of the old web UI's TLS", env: []string{"HERMES_WEBUI_TLS_CERT=/c"}, want: "http '' '' []"},
		{name: "no key", file: "[tls]\ncert = \"/c\"\n", wrong: "nothing names its key"},
		{name: "no certificate", env: []string{"HOLDFAST_TLS_KEY=/k"}, wrong: "nothing names its certificate"},
		{name: "everybody", file: "[http]\ntrusted_proxies = [\"0.0.0.0/0\"]\n", wrong: "everybody"},
		{name: "no network", file: "[http]\ntrusted_proxies = [\"proxy.local\"]\n", wrong: "no network"},
		{name: "path without slash", file: "[http]\nbase_path = \"holdfast\"\n", wrong: "begins with a slash"},
		{name: "path of ours", file: "[http]\nbase_path = \"/api\"\n", wrong: "uses itself"},
		{name: "path with markup", file: "[http]\nbase_path = '/a\"><b'\n", wrong: "begins with a slash"},
		{name: "path that climbs", file: "[http]\nbase_path = \"/a/../b\"\n", wrong: "begins with a slash"},
		{name: "two paths", file: "[http]\nbase_path = \"/a\"\npublic_url = \"https://x.org/b\"\n", wrong: "must agree"},
		{name: "no URL", file: "[http]\npublic_url = \"box.example.org\"\n", wrong: "that a browser shows"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg, err := Load(Sources{Home: write(t, c.file), Env: c.env, Flags: c.flags})
			if c.wrong != "" {
				if err == nil || !strings.Contains(err.Error(), c.wrong) {
					t.Errorf("%v, want %q", err, c.wrong)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprintf("%s '%s' '%s' %v", cfg.Scheme(), cfg.HTTP.BasePath, cfg.HTTP.PublicURL, cfg.HTTP.TrustedProxies); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

func TestTLSPaths(t *testing.T) {
	home := write(t, "[tls]\ncert = \"tls/cert.pem\"\nkey = \"~/key.pem\"\n")
	cfg, err := Load(Sources{Home: home})
	if err != nil {
		t.Fatal(err)
	}
	if want := (TLS{Cert: filepath.Join(home, ".holdfast", "tls", "cert.pem"), Key: filepath.Join(home, "key.pem")}); cfg.TLS != want {
		t.Errorf("%+v, want %+v", cfg.TLS, want)
	}
}

package config

import (
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// write makes a user's home with a state folder that holds text as config.toml.
func write(t *testing.T, text string) string {
	t.Helper()
	home := t.TempDir()
	if err := os.MkdirAll(filepath.Join(home, ".holdfast"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, ".holdfast", "config.toml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return home
}

func TestOrderOfSources(t *testing.T) {
	home := write(t, "addr = \"127.0.0.1:3\"\n")
	empty := t.TempDir()
	for _, c := range []struct {
		name string
		src  Sources
		want string
	}{
		{"default", Sources{Home: empty}, DefaultAddr},
		{"the old web UI's variables", Sources{Home: empty, Env: []string{"HERMES_WEBUI_HOST=localhost", "HERMES_WEBUI_PORT=4"}}, "localhost:4"},
		{"one of them", Sources{Home: empty, Env: []string{"HERMES_WEBUI_PORT=4"}}, "127.0.0.1:4"},
		{"IPv6 of them", Sources{Home: empty, Env: []string{"HERMES_WEBUI_HOST=::1"}}, "[::1]:8787"},
		{"file over them", Sources{Home: home, Env: []string{"HERMES_WEBUI_PORT=4"}}, "127.0.0.1:3"},
		{"environment over file", Sources{Home: home, Env: []string{"HOLDFAST_ADDR=127.0.0.1:2", "HERMES_WEBUI_PORT=4"}}, "127.0.0.1:2"},
		{"flag over all", Sources{Home: home, Flags: Flags{Addr: "127.0.0.1:1"}, Env: []string{"HOLDFAST_ADDR=127.0.0.1:2"}}, "127.0.0.1:1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg, err := Load(c.src)
			if err != nil {
				t.Fatal(err)
			}
			if cfg.Addr != c.want {
				t.Errorf("addr %q, want %q", cfg.Addr, c.want)
			}
		})
	}
}

func TestHomeFolder(t *testing.T) {
	user := t.TempDir()
	for _, c := range []struct {
		name string
		src  Sources
		want string
	}{
		{"default", Sources{Home: user}, filepath.Join(user, ".holdfast")},
		{"environment", Sources{Home: user, Env: []string{"HOLDFAST_HOME=/srv/h"}}, "/srv/h"},
		{"tilde", Sources{Home: user, Env: []string{"HOLDFAST_HOME=~/h"}}, filepath.Join(user, "h")},
		{"flag", Sources{Home: user, Flags: Flags{Home: "/srv/f"}, Env: []string{"HOLDFAST_HOME=/srv/h"}}, "/srv/f"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg, err := Load(c.src)
			if err != nil {
				t.Fatal(err)
			}
			if cfg.Home != c.want {
				t.Errorf("home %q, want %q", cfg.Home, c.want)
			}
		})
	}
	if _, err := Load(Sources{}); err == nil || !strings.Contains(err.Error(), "--home") {
		t.Errorf("without a home folder: %v", err)
	}
}

func TestWholeFile(t *testing.T) {
	home := write(t, `
addr = "127.0.0.1:9000"
allowed_hosts = ["Mini.tailnet.ts.net", "*.ts.net", "10.0.0.1:8787"]
log_level = "debug"
keep_awake = "always"

[agents.mine]
name = "Mine"
command = ["/bin/mine", "acp"]
env = { KEY = "value" }

[agents.bare]
command = ["bare"]

[limits]
live_agents = 3
spool_bytes = "64MiB"
message_bytes = 2_000_000

[leases]
run = "2d"
idle = "5m"
`)
	cfg, err := Load(Sources{Home: home})
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{
		Addr: "127.0.0.1:9000", Home: filepath.Join(home, ".holdfast"),
		AllowedHosts: []string{"mini.tailnet.ts.net", "*.ts.net", "10.0.0.1:8787"}, LogLevel: "debug", KeepAwake: AwakeAlways,
		Agents: map[string]Agent{
			"mine": {Name: "Mine", Command: []string{"/bin/mine", "acp"}, Env: map[string]string{"KEY": "value"}},
			"bare": {Name: "bare", Command: []string{"bare"}},
		},
		Limits: defaults().Limits, Leases: defaults().Leases,
	}
	want.Limits.LiveAgents, want.Limits.SpoolBytes, want.Limits.MessageBytes = 3, 64<<20, 2_000_000
	want.Leases.Run, want.Leases.Idle = Duration(48*time.Hour), Duration(5*time.Minute)
	if diff := cmp.Diff(want, cfg); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		name, file string
		env        []string
		flags      Flags
		want       []string
	}{
		{"unknown key", "adr = \"x:1\"\n", nil, Flags{}, []string{"config.toml:1:1", `"adr"`, `did you mean "addr"`}},
		{"unknown key in a table", "\n[limits]\n  live_agent = 1\n", nil, Flags{}, []string{"config.toml:3:3", `did you mean "limits.live_agents"`}},
		{"unknown key of an agent", "[agents.x]\ncommand = [\"a\"]\ncomand = 1\n", nil, Flags{}, []string{":3:1", `"agents.x.command"`}},
		{"unknown key, nothing near", "[leases]\nzzzzzzzz = 1\n", nil, Flags{}, []string{"Known here: run, idle, asked"}},
		{"two unknown keys", "adr = 1\nlog_levl = 2\n", nil, Flags{}, []string{":1:1", ":2:1"}},
		{"syntax", "addr = \n", nil, Flags{}, []string{"config.toml:1:", "toml.io"}},
		{"type", "addr = 3\n", nil, Flags{}, []string{"config.toml:1:8", "addr"}},
		{"a text for a list", "[agents.a]\ncommand = \"x\"\n", nil, Flags{}, []string{":2:", "agents.a.command must be a list of texts"}},
		{"a text for a number", "[limits]\nlive_agents = \"8\"\n", nil, Flags{}, []string{":2:", "limits.live_agents must be a whole number"}},
		{"a number for a table", "agents = 3\n", nil, Flags{}, []string{":1:", "agents must be a table"}},
		{"a number too large", "[limits]\nlive_agents = 99999999999999999999\n", nil, Flags{}, []string{":2:"}},
		{"size", "[limits]\nspool_bytes = \"many\"\n", nil, Flags{}, []string{"config.toml:2:", "64MiB"}},
		{"duration", "[leases]\nrun = \"soon\"\n", nil, Flags{}, []string{"config.toml:2:", "7d"}},
		{"number as a duration", "[leases]\nrun = 3\n", nil, Flags{}, []string{"leases.run", "7d"}},
		{"limit too low", "[limits]\nlive_agents = 0\n", nil, Flags{}, []string{"limits.live_agents", "between 1 and"}},
		{"agent without command", "[agents.x]\nname = \"X\"\n", nil, Flags{}, []string{"[agents.x]", "command = ["}},
		{"agent's id", "[agents.\"Big One\"]\ncommand = [\"a\"]\n", nil, Flags{}, []string{"a-z, 0-9 and -"}},
		{"address", "", []string{"HOLDFAST_ADDR=8787"}, Flags{}, []string{"HOLDFAST_ADDR", "HOST:PORT"}},
		{"port", "", nil, Flags{Addr: "127.0.0.1:70000"}, []string{"--addr", "65535"}},
		{"scheme", "", nil, Flags{Addr: "http://127.0.0.1:80"}, []string{"--addr"}},
		{"old port", "", []string{"HERMES_WEBUI_PORT=abc"}, Flags{}, []string{"HERMES_WEBUI_PORT", "65535"}},
		{"host with scheme", "allowed_hosts = [\"https://x\"]\n", nil, Flags{}, []string{"allowed_hosts", "without scheme"}},
		{"level", "log_level = \"loud\"\n", nil, Flags{}, []string{"log_level", "debug, info"}},
		{"keep awake", "keep_awake = \"often\"\n", nil, Flags{}, []string{"keep_awake", `"often"`, `"mains", "always" or "never"`}},
		{"keep awake, not a text", "keep_awake = true\n", nil, Flags{}, []string{":1:", "keep_awake must be a text"}},
		{"boolean", "", []string{"HOLDFAST_INSECURE_BIND=perhaps"}, Flags{}, []string{"true or false"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Load(Sources{Home: write(t, c.file), Env: c.env, Flags: c.flags})
			if _, ok := err.(*Error); !ok {
				t.Fatalf("error %v (%T), want an *Error", err, err)
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error %q does not say %q", err, w)
				}
			}
		})
	}
}

func TestNotes(t *testing.T) {
	cfg, err := Load(Sources{Home: t.TempDir(), Env: []string{"HOLDFAST_ADR=x", "HERMES_WEBUI_PASSWORD=secret", "HOLDFAST_MARK=a"}})
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Join(cfg.Notes, "\n")
	if !strings.Contains(all, "HOLDFAST_ADDR") || !strings.Contains(all, "holdfast password set") || strings.Contains(all, "secret") || len(cfg.Notes) != 2 {
		t.Errorf("notes: %s", all)
	}
}

func TestLoopback(t *testing.T) {
	for addr, want := range map[string]bool{
		"127.0.0.1:1": true, "127.8.8.8:1": true, "[::1]:1": true, "localhost:1": true, "[::ffff:127.0.0.1]:1": true,
		":1": false, "0.0.0.0:1": false, "[::]:1": false, "10.0.0.1:1": false, "example.com:1": false,
	} {
		if got := (&Config{Addr: addr}).Loopback(); got != want {
			t.Errorf("Loopback of %s is %v, want %v", addr, got, want)
		}
	}
}

func TestRedacted(t *testing.T) {
	cfg := &Config{Agents: map[string]Agent{"a": {
		Command: []string{"x", "--api-key", "s3cret", "--token=s3cret", "acp", "monkey"},
		Env:     map[string]string{"KEY": "s3cret"},
	}}}
	got := cfg.Redacted().Agents["a"]
	want := Agent{
		Command: []string{"x", "--api-key", redacted, "--token=" + redacted, "acp", "monkey"},
		Env:     map[string]string{"KEY": redacted},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("redacted (-want +got):\n%s", diff)
	}
	if cfg.Agents["a"].Env["KEY"] != "s3cret" || cfg.Agents["a"].Command[2] != "s3cret" {
		t.Error("the original was changed")
	}
}

func TestEnsureHome(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no modes on Windows")
	}
	dir := filepath.Join(t.TempDir(), "a", "b")
	for _, mode := range []os.FileMode{0, 0o755, 0o500} {
		if mode != 0 {
			if err := os.Chmod(dir, mode); err != nil {
				t.Fatal(err)
			}
		}
		if err := EnsureHome(dir); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(dir)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o700 {
			t.Errorf("mode %o after %o, want 700", info.Mode().Perm(), mode)
		}
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := EnsureHome(file); err == nil || !strings.Contains(err.Error(), "--home") {
		t.Errorf("a file as state folder: %v", err)
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(dir, 12345, -1); err != nil {
			t.Fatal(err)
		}
		if err := EnsureHome(dir); err == nil || !strings.Contains(err.Error(), "12345") {
			t.Errorf("another user's folder: %v", err)
		}
	}
}

func TestSocketPath(t *testing.T) {
	short := "/tmp/h"
	if got := SocketPath(short); got != "/tmp/h/control.sock" {
		t.Errorf("short home: %s", got)
	}
	home := filepath.Join(t.TempDir(), strings.Repeat("long", 30))
	if err := EnsureHome(home); err != nil {
		t.Fatal(err)
	}
	tmp, err := os.MkdirTemp("/tmp", "hf")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(tmp) })
	t.Setenv("TMPDIR", tmp)
	path, err := EnsureSocket(home)
	if err != nil {
		t.Fatal(err)
	}
	if len(path) > maxSocketPath || !strings.HasPrefix(path, tmp) {
		t.Errorf("socket %s", path)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if info, err := os.Stat(filepath.Dir(path)); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("socket's folder: %v %v", info, err)
	}
	t.Setenv("TMPDIR", "/var/tmp")
	if got := SocketPath(home); got != path {
		t.Errorf("a command with another TMPDIR looks at %s, the host listens on %s", got, path)
	}
	if err := os.RemoveAll(tmp); err != nil {
		t.Fatal(err)
	}
	if got, err := EnsureSocket(home); err != nil || strings.HasPrefix(got, tmp) {
		t.Errorf("after the temporary folder is gone: %s, %v", got, err)
	} else {
		t.Cleanup(func() { _ = os.RemoveAll(filepath.Dir(got)) })
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("[limits]\nlive_agents = 3\n"))
	f.Add([]byte("[agents.a]\ncommand=[\"x\"]\nenv={A=\"b\"}\n"))
	f.Add([]byte("addr = 1e999\n[leases]\nrun=\"9999999999d\""))
	f.Fuzz(func(t *testing.T, data []byte) {
		v := defaults()
		if err := decode("config.toml", data, &v); err != nil {
			if err.Error() == "" {
				t.Error("an error without text")
			}
			return
		}
		c := &Config{KeepAwake: v.KeepAwake, Agents: v.Agents, Limits: v.Limits, Leases: v.Leases}
		_ = c.check("config.toml")
	})
}

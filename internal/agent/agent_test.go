package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/holdfast-dev/holdfast/internal/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// machine is a made-up machine: a home, a folder of tools, a root.
type machine struct {
	t                *testing.T
	home, root, bins string
	env              []string
	builtin          []string
	conf             map[string]config.Agent
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("shell scripts")
	}
	m := &machine{t: t, home: t.TempDir(), root: t.TempDir(), bins: t.TempDir()}
	m.env = []string{"HOME=" + m.home, "PATH=" + m.bins + ":/usr/bin:/bin", "SHELL=" + m.script("shells/none", "exit 1")}
	return m
}

// script writes an executable shell script under home and returns its path.
func (m *machine) script(rel, body string) string {
	m.t.Helper()
	return m.scriptAt(filepath.Join(m.home, rel), body)
}

func (m *machine) scriptAt(path, body string) string {
	m.t.Helper()
	m.file(path, "#!/bin/sh\n"+body+"\n")
	if err := os.Chmod(path, 0o755); err != nil {
		m.t.Fatal(err)
	}
	return path
}

func (m *machine) file(path, text string) {
	m.t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) tool(name, body string) string {
	return m.scriptAt(filepath.Join(m.bins, name), body)
}

func (m *machine) catalogue() *Catalogue {
	m.t.Helper()
	c := New(Options{Builtin: m.builtin, Configured: m.conf, Home: m.home, Env: m.env})
	c.root = m.root
	m.t.Cleanup(func() {
		if err := c.Close(); err != nil {
			m.t.Error(err)
		}
	})
	return c
}

func byID(list []Found, id string) Found {
	for _, f := range list {
		if f.ID == id {
			return f
		}
	}
	return Found{}
}

func get(env []string, name string) string {
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			return v
		}
	}
	return ""
}

func TestList(t *testing.T) {
	m := newMachine(t)
	m.tool("opencode", `test "$1" = --version && echo 1.18.33`)
	m.tool("claude", "echo 2.1 '(Claude Code)'")
	m.tool("codex-acp", "echo unknown option >&2; exit 2")
	m.tool("gemini", "echo 'Error: needs node 22' >&2; exit 1")
	m.script(".local/bin/qwen", "echo warming up; echo qwen/0.24.4; exit 0")
	m.tool("goose", "echo 'goose: no such migration' >&2; exit 1")
	mine := m.script("mine/run", "touch "+filepath.Join(m.home, "was-run"))
	m.builtin = []string{m.script("holdfast", ""), "agent"}
	m.conf = map[string]config.Agent{
		"mine":   {Name: "Mine", Command: []string{mine, "acp"}},
		"broken": {Name: "broken", Command: []string{"/nowhere/x"}},
	}
	c := m.catalogue()
	list := c.List(t.Context())

	var ready []string
	for _, f := range list {
		if f.Ready {
			ready = append(ready, f.ID+" "+f.Version)
		}
	}
	want := []string{"mine ", "opencode 1.18.33", "codex ", "qwen 0.24.4", "tour "}
	if diff := cmp.Diff(want, ready); diff != "" {
		t.Errorf("ready (-want +got):\n%s", diff)
	}
	for id, text := range map[string]string{
		"claude":  "npm install -g @agentclientprotocol/claude-agent-acp",
		"gemini":  "needs node 22",
		"goose":   "it is not Goose",
		"kilo":    "npm install -g @kilocode/cli",
		"hermes":  "install.sh",
		"broken":  "[agents.broken]",
		"copilot": "no program copilot",
	} {
		if f := byID(list, id); f.Ready || !strings.Contains(f.Reason, text) {
			t.Errorf("%s: %+v does not say %q", id, f, text)
		}
	}
	if _, err := os.Stat(filepath.Join(m.home, "was-run")); err == nil {
		t.Error("a configured agent was run to look at it")
	}
	if ids := c.ids(); len(ids) != len(list) {
		t.Errorf("%d of %d agents listed", len(list), len(ids))
	}
	if again := c.List(t.Context()); cmp.Diff(list, again) != "" {
		t.Error("the list from memory differs")
	}
}

func TestVersionIsRemembered(t *testing.T) {
	m := newMachine(t)
	count := filepath.Join(m.home, "count")
	path := m.tool("kilo", "echo x >> "+count+"; echo 7.7.7")
	c := m.catalogue()
	for range 3 {
		c.mu.Lock()
		c.list = nil
		c.mu.Unlock()
		if f := byID(c.List(t.Context()), "kilo"); f.Version != "7.7.7" {
			t.Fatalf("found %+v", f)
		}
	}
	if data, _ := os.ReadFile(count); len(data) != 2 {
		t.Errorf("asked %d times, want once", len(data)/2)
	}
	if a, err := c.Get(t.Context(), "kilo"); err != nil || a.Version != "7.7.7" {
		t.Errorf("Get: %+v, %v", a, err)
	}
	m.scriptAt(path, "echo 7.8.0 is the new one")
	c.mu.Lock()
	c.list = nil
	c.mu.Unlock()
	if f := byID(c.List(t.Context()), "kilo"); f.Version != "7.8.0" {
		t.Errorf("after an update: %+v", f)
	}
}

func TestSlowVersion(t *testing.T) {
	m := newMachine(t)
	// The sleep is in a session of its own and holds the pipe.
	m.tool("kilo", "setsid sleep 30 & sleep 30")
	c := m.catalogue()
	env := c.base(t.Context())
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	e, _ := c.entry("kilo")
	f := c.found(ctx, e, env)
	if !f.Ready || f.Version != "" || f.Reason != "" {
		t.Errorf("a slow agent: %+v", f)
	}
}

func TestGet(t *testing.T) {
	m := newMachine(t)
	opencode := m.tool("opencode", "echo 1.18.33")
	m.env = append(
		m.env, "NOTIFY_SOCKET=/run/x", "WATCHDOG_USEC=1", "LISTEN_FDS=1", "SUPERVISOR_ENABLED=1",
		"INVOCATION_ID=1", "JOURNAL_STREAM=1", "HOLDFAST_HOME=/x", "CLAUDECODE=1", "KEEP=me",
	)
	m.conf = map[string]config.Agent{
		"hermes": {Name: "hermes", Command: []string{opencode, "x"}, Env: map[string]string{"A": "b", "HOLDFAST_OWN": "given"}},
	}
	c := m.catalogue()
	a, err := c.Get(t.Context(), "opencode")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{opencode, "acp"}, a.Command); diff != "" {
		t.Errorf("command (-want +got):\n%s", diff)
	}
	if a.Resume != ResumeResume || a.Name != "OpenCode" {
		t.Errorf("agent %+v", a)
	}
	if get(a.Env, "KEEP") != "me" || get(a.Env, "HOME") != m.home {
		t.Errorf("environment %q", a.Env)
	}
	for _, kv := range a.Env {
		for _, bad := range []string{"NOTIFY_", "WATCHDOG_", "LISTEN_", "SUPERVISOR_", "INVOCATION_", "JOURNAL_", "HOLDFAST_"} {
			if strings.HasPrefix(kv, bad) {
				t.Errorf("%s reached the agent", kv)
			}
		}
	}
	h, err := c.Get(t.Context(), "hermes")
	if err != nil {
		t.Fatal(err)
	}
	if h.Command[0] != opencode || !h.LoadNeedsModes || h.PermissionDeadline != time.Minute || get(h.Env, "A") != "b" || get(h.Env, "HOLDFAST_OWN") != "given" {
		t.Errorf("a configured known agent: %+v", h)
	}
	if _, err := c.Get(t.Context(), "nobody"); !errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), "opencode") {
		t.Errorf("unknown agent: %v", err)
	}
	if _, err := c.Get(t.Context(), "qwen"); !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), "npm install") {
		t.Errorf("missing agent: %v", err)
	}
	if _, err := c.Get(t.Context(), TourID); !errors.Is(err, ErrUnknown) {
		t.Errorf("tour without a command: %v", err)
	}
}

func TestHermes(t *testing.T) {
	pip := func(m *machine, bin string) {
		m.scriptAt(filepath.Join(bin, "hermes-acp"), "")
		m.file(filepath.Join(bin, "../lib/python3.12/site-packages/hermes_agent-0.18.1.dist-info/METADATA"), "")
	}
	checkout := func(m *machine, dir, venv string) {
		m.file(filepath.Join(dir, "run_agent.py"), "")
		m.file(filepath.Join(dir, "hermes_cli/__init__.py"), "\"\"\"x\"\"\"\n__version__ = \"0.20.3\"\n")
		m.scriptAt(filepath.Join(dir, venv, "bin/python"), "")
	}
	for _, c := range []struct {
		name  string
		set   func(m *machine)
		want  string // relative to home, or absolute
		args  []string
		versn string
	}{
		{"on PATH from pip", func(m *machine) {
			pip(m, filepath.Join(m.home, "venv/bin"))
			m.env[1] = "PATH=" + filepath.Join(m.home, "venv/bin")
		}, "venv/bin/hermes-acp", nil, "0.18.1"},
		{"linked from ~/.local/bin", func(m *machine) {
			pip(m, filepath.Join(m.home, "tools/hermes/bin"))
			m.file(filepath.Join(m.home, ".local/bin/x"), "")
			_ = os.Symlink(filepath.Join(m.home, "tools/hermes/bin/hermes-acp"), filepath.Join(m.home, ".local/bin/hermes-acp"))
		}, ".local/bin/hermes-acp", nil, "0.18.1"},
		{"checkout of the installer", func(m *machine) {
			checkout(m, filepath.Join(m.home, ".hermes/hermes-agent"), "venv")
			m.script(".hermes/hermes-agent/venv/bin/hermes-acp", "")
		}, ".hermes/hermes-agent/venv/bin/hermes-acp", nil, "0.20.3"},
		{"checkout without the script", func(m *machine) {
			checkout(m, filepath.Join(m.home, "hermes-agent"), ".venv")
		}, "hermes-agent/.venv/bin/python", []string{"-m", "acp_adapter"}, "0.20.3"},
		{"HERMES_WEBUI_AGENT_DIR", func(m *machine) {
			checkout(m, filepath.Join(m.home, "elsewhere"), "venv")
			checkout(m, filepath.Join(m.home, "hermes-agent"), "venv")
			m.env = append(m.env, "HERMES_WEBUI_AGENT_DIR="+filepath.Join(m.home, "elsewhere"))
		}, "elsewhere/venv/bin/python", []string{"-m", "acp_adapter"}, "0.20.3"},
		{"HERMES_WEBUI_PYTHON", func(m *machine) {
			pip(m, filepath.Join(m.home, "py/bin"))
			m.env = append(m.env, "HERMES_WEBUI_PYTHON="+m.script("py/bin/python", ""))
		}, "py/bin/hermes-acp", nil, "0.18.1"},
		{"root's checkout", func(m *machine) {
			checkout(m, filepath.Join(m.root, "usr/local/lib/hermes-agent"), "venv")
		}, "ROOT/usr/local/lib/hermes-agent/venv/bin/python", []string{"-m", "acp_adapter"}, "0.20.3"},
		{"launcher script", func(m *machine) {
			dir := filepath.Join(m.home, "odd place")
			dir = strings.ReplaceAll(dir, " ", "_")
			checkout(m, dir, "venv")
			m.script(".local/bin/hermes", fmt.Sprintf("exec \"%s/venv/bin/hermes\" \"$@\"", dir))
		}, ".local/bin/hermes", []string{"acp"}, "0.20.3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMachine(t)
			m.env[1] = "PATH=/usr/bin:/bin"
			m.env = append(m.env, "PYTHONPATH=/x", "HERMES_SESSION_ID=1", "HERMES_YOLO_MODE=1")
			c.set(m)
			cat := m.catalogue()
			a, err := cat.Get(t.Context(), "hermes")
			if err != nil {
				t.Fatal(err)
			}
			want := filepath.Join(m.home, c.want)
			if rest, ok := strings.CutPrefix(c.want, "ROOT"); ok {
				want = filepath.Join(m.root, rest)
			}
			if diff := cmp.Diff(append([]string{want}, c.args...), a.Command); diff != "" {
				t.Errorf("command (-want +got):\n%s", diff)
			}
			if a.Version != c.versn {
				t.Errorf("version %q, want %q", a.Version, c.versn)
			}
			if get(a.Env, "PYTHONPATH")+get(a.Env, "HERMES_SESSION_ID")+get(a.Env, "HERMES_YOLO_MODE") != "" {
				t.Errorf("environment %q", a.Env)
			}
		})
	}
}

func TestPatientHermes(t *testing.T) {
	for version, patient := range map[string]bool{"0.19.0": true, "0.20.3": false} {
		m := newMachine(t)
		m.script("venv/bin/hermes-acp", "")
		python := m.script("venv/bin/python", "")
		m.file(filepath.Join(m.home, "venv/lib/python3.12/site-packages/hermes_agent-"+version+".dist-info/METADATA"), "")
		m.env[1] = "PATH=" + filepath.Join(m.home, "venv/bin") + ":/usr/bin:/bin"
		a, err := m.catalogue().Get(t.Context(), "hermes")
		if err != nil {
			t.Fatal(err)
		}
		if got := len(a.Command) == 4 && a.Command[0] == python && a.Command[1] == "-P"; got != patient {
			t.Errorf("%s: command %.80q", version, a.Command)
		}
		if got := a.PermissionDeadline > time.Hour; got != patient {
			t.Errorf("%s: deadline %v", version, a.PermissionDeadline)
		}
	}
}

func TestNodeBesideTheCommand(t *testing.T) {
	m := newMachine(t)
	m.tool("node", "echo old")
	for _, v := range []string{"v9.0.0", "v22.1.0"} {
		m.script(".nvm/versions/node/"+v+"/bin/node", "echo "+v)
		m.script(".nvm/versions/node/"+v+"/bin/gemini", "node")
	}
	a, err := m.catalogue().Get(t.Context(), "gemini")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(m.home, ".nvm/versions/node/v22.1.0/bin")
	if a.Command[0] != filepath.Join(dir, "gemini") {
		t.Errorf("command %q", a.Command)
	}
	if first := filepath.SplitList(get(a.Env, "PATH"))[0]; first != dir {
		t.Errorf("PATH begins with %s", first)
	}
}

func TestLoginShell(t *testing.T) {
	const answer = `PATH="$HOME/from-shell:/usr/bin:/bin"; export FROM_SHELL='two
lines' ONLY=shell BOTH=shell; shift $(($# - 1)); `
	for _, c := range []struct {
		name, shell, body string
		works             bool
	}{
		{"plain", "bash", answer + `eval "$1"`, true},
		{"noisy", "zsh", `echo Welcome; echo oops >&2; printf 'A=b\0'; ` + answer + `eval "$1"; echo bye`, true},
		{"a daemon keeps the pipe", "fish", `setsid sleep 20 & ` + answer + `eval "$1"`, true},
		{"lingers", "bash", answer + `eval "$1"; sleep 20`, true},
		{"hangs", "bash", `sleep 20`, false},
		{"hangs and ignores signals", "bash", `trap '' TERM INT HUP; sleep 20 & sleep 20; sleep 20`, false},
		{"fails", "bash", `exit 3`, false},
		{"noisy without end", "bash", `while :; do echo yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy; done`, false},
		{"unknown kind", "nu", answer + `eval "$1"`, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMachine(t)
			m.env[2] = "SHELL=" + m.script("shells/"+c.shell, c.body)
			m.env = append(m.env, "BOTH=service", "HOLDFAST_HOME=/x")
			m.script("from-shell/opencode", "echo 1.0.0")
			cat := m.catalogue()
			cat.login.timeout = 700 * time.Millisecond
			if c.works {
				cat.login.timeout = 10 * time.Second
			}
			began := time.Now()
			env := cat.LoginEnv(t.Context())
			if took := time.Since(began); took > 9*time.Second {
				t.Errorf("took %v", took)
			}
			if get(env, "BOTH") != "service" || !strings.Contains(get(env, "PATH"), m.bins) || get(env, "HOLDFAST_HOME") != "" {
				t.Errorf("environment %q", env)
			}
			_, err := cat.Get(t.Context(), "opencode")
			if c.works {
				if get(env, "FROM_SHELL") != "two\nlines" || get(env, "ONLY") != "shell" || get(env, "PWD") != "" {
					t.Errorf("environment %q", env)
				}
				if path := filepath.SplitList(get(env, "PATH")); path[0] != filepath.Join(m.home, "from-shell") || !slices.Contains(path, m.bins) {
					t.Errorf("PATH %q", path)
				}
				if err != nil {
					t.Error(err)
				}
				return
			}
			if get(env, "ONLY") != "" || !errors.Is(err, ErrMissing) {
				t.Errorf("environment %q, %v", env, err)
			}
		})
	}
}

func TestRealShells(t *testing.T) {
	for _, shell := range []string{"/bin/sh", "/bin/bash", "/usr/bin/zsh", "/usr/bin/fish"} {
		if !executable(shell) {
			t.Logf("%s is not here", shell)
			continue
		}
		t.Run(filepath.Base(shell), func(t *testing.T) {
			m := newMachine(t)
			m.env[2] = "SHELL=" + shell
			for _, f := range []string{".profile", ".bash_profile", ".zprofile"} {
				m.file(filepath.Join(m.home, f), "export SET_BY_PROFILE=yes\n")
			}
			m.file(filepath.Join(m.home, ".config/fish/config.fish"), "set -x SET_BY_PROFILE yes\n")
			if env := m.catalogue().LoginEnv(t.Context()); get(env, "SET_BY_PROFILE") != "yes" {
				t.Errorf("environment %q", env)
			}
		})
	}
}

func TestListKeepsItsDeadline(t *testing.T) {
	m := newMachine(t)
	m.env[2] = "SHELL=" + m.script("shells/bash", "sleep 30")
	m.tool("kilo", "sleep 30")
	m.builtin = []string{m.script("holdfast", ""), "agent"}
	c := m.catalogue()
	c.login.timeout = 200 * time.Millisecond
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if list := c.List(ctx); len(list) != 0 {
		t.Errorf("a caller that gave up got %d agents", len(list))
	}
	began := time.Now()
	list := c.List(t.Context())
	if took := time.Since(began); took > listDeadline+3*time.Second {
		t.Errorf("took %v", took)
	}
	if f := byID(list, "kilo"); !f.Ready {
		t.Errorf("slow agent %+v", f)
	}
}

func TestNaturally(t *testing.T) {
	got := []string{"v9.1", "v22", "v9.10", "v100", "v9.2", "a"}
	slices.SortFunc(got, naturally)
	if diff := cmp.Diff([]string{"a", "v9.1", "v9.2", "v9.10", "v22", "v100"}, got); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}

func TestVersionOf(t *testing.T) {
	for line, want := range map[string]string{
		"1.18.33": "1.18.33", "codex-acp 2.6.0 (x64)": "2.6.0", "GitHub Copilot CLI 1.0.102.": "1.0.102",
		"v0.36.0-rc.1+abc": "0.36.0-rc.1+abc", "no number": "no number", "": "",
	} {
		if got := versionOf(line); got != want {
			t.Errorf("version of %q is %q, want %q", line, got, want)
		}
	}
}

func TestCatalogueIsSound(t *testing.T) {
	seen := map[string]bool{}
	for _, e := range catalogue() {
		if seen[e.ID] || e.ID == TourID || e.Name == "" || len(e.commands) == 0 || e.Install == "" || e.Login == "" {
			t.Errorf("entry %+v", e)
		}
		seen[e.ID] = true
		for _, s := range e.Ask {
			if s.Value == "" || (s.Kind == SettingOption) != (s.ID != "") {
				t.Errorf("%s: setting %+v", e.ID, s)
			}
		}
	}
}

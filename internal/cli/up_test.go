package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-dev/holdfast/internal/config"
	"github.com/holdfast-dev/holdfast/internal/handoff"
	"github.com/holdfast-dev/holdfast/internal/proc"
)

// supervised makes the environment that of a unit's own process.
func supervised() string { return fmt.Sprintf("SYSTEMD_EXEC_PID=%d", os.Getpid()) }

// serves lets a command run a host that is healthy at once and ends.
func (b *bench) serves() *ServeOptions {
	got := &ServeOptions{}
	b.p.Serve = func(_ context.Context, _ *config.Config, o ServeOptions) error {
		*got = o
		if o.Ready != nil {
			o.Ready(Ready{URL: "http://127.0.0.1:9", Link: "http://127.0.0.1:9/#link=x"})
		}
		return nil
	}
	return got
}

func TestUpUnderASupervisor(t *testing.T) {
	for _, c := range []struct {
		name  string
		env   []string
		args  []string
		plain bool
		says  string // of --detach
	}{
		{"nothing", nil, nil, false, ""},
		{"the flag", nil, []string{"--foreground"}, true, "--foreground is given"},
		{"the variable", []string{"HOLDFAST_FOREGROUND=1"}, nil, true, "HOLDFAST_FOREGROUND is given"},
		{"the old variable", []string{"HERMES_WEBUI_FOREGROUND=true"}, nil, true, "HERMES_WEBUI_FOREGROUND is given"},
		{"the variable that says no", []string{"HOLDFAST_FOREGROUND=0", "HERMES_WEBUI_FOREGROUND=off"}, nil, false, ""},
		{"systemd", []string{supervised()}, nil, true, "this is a service of systemd"},
		{"a terminal in a unit", []string{"SYSTEMD_EXEC_PID=1", "INVOCATION_ID=5e0f"}, nil, false, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			b.p.Env = append(b.p.Env, c.env...)
			o := b.serves()
			code, out, problem := b.run(append([]string{"up", "--skip-agent-install"}, c.args...)...)
			// A plain one is serve: where it is goes to standard error, and
			// there is no link at every start.
			if code != 0 || o.Link == c.plain || (out == "") != c.plain || strings.Contains(problem, "listens on") != c.plain {
				t.Errorf("up: %d, %+v\n%q\n%q", code, o, out, problem)
			}
			code, out, _ = b.run(append([]string{"up", "--why"}, c.args...)...)
			want := "takes --detach"
			if c.plain {
				want = "refuses --detach"
			}
			if code != 0 || !strings.Contains(out, want) || !strings.Contains(out, "The parent is") {
				t.Errorf("why: %d %q", code, out)
			}
			if !c.plain {
				return
			}
			code, _, problem = b.run(append([]string{"up", "--detach"}, c.args...)...)
			if code != 78 || !strings.Contains(problem, c.says) || !strings.Contains(problem, "up --why") {
				t.Errorf("detach: %d %q", code, problem)
			}
		})
	}
}

func TestUpWhyStartsNothing(t *testing.T) {
	b := newBench(t)
	b.p.Env = append(b.p.Env, supervised(), "HOLDFAST_FOREGROUND=1")
	code, out, problem := b.run("up", "--why")
	for _, want := range []string{"* SYSTEMD_EXEC_PID is", "* HOLDFAST_FOREGROUND is given", "A supervisor runs this: systemd:"} {
		if code != 0 || problem != "" || !strings.Contains(out, want) {
			t.Errorf("%d %q %q lacks %q", code, out, problem, want)
		}
	}
	if entries, err := os.ReadDir(b.home); err != nil || len(entries) != 0 {
		t.Errorf("it left %v, %v", entries, err)
	}
}

// A program that replaced the one before it in the same process has had its
// beginning.
func TestUpResumed(t *testing.T) {
	b := newBench(t)
	b.p.Env = append(b.p.Env, handoff.Var+"={}", "PATH=/nowhere")
	o := b.serves()
	if code, out, _ := b.run("up", "--yes"); code != 0 || out != "" || o.Link {
		t.Errorf("%d %q %+v", code, out, o)
	}
}

// bare makes a machine with the given programs and no agent.
func (b *bench) bare(programs map[string]string) string {
	b.t.Helper()
	bin := filepath.Join(b.home, "bin")
	if err := os.Mkdir(bin, 0o700); err != nil {
		b.t.Fatal(err)
	}
	for name, script := range programs {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
			b.t.Fatal(err)
		}
	}
	b.p.Env = append(b.p.Env, "PATH="+bin+":/usr/bin:/bin", "SHELL=/bin/sh", "HOME="+b.home)
	b.t.Setenv("PATH", bin+":/usr/bin:/bin")
	return bin
}

func TestUpInstalls(t *testing.T) {
	// Instead of the real installer: what curl gets is a script for bash.
	const curl = `echo "echo installing; printf '#!/bin/sh\n' > \"\$HOME/bin/hermes-acp\"; chmod +x \"\$HOME/bin/hermes-acp\"; echo ran > \"\$HOME/ran\""`
	for _, c := range []struct {
		name  string
		args  []string
		curl  string
		agent bool // one is there
		ran   bool
		out   []string
		err   string
	}{
		{"not a terminal", nil, curl, false, false, nil, ""},
		{"yes", []string{"--yes"}, curl, false, true, []string{"No agent was found", "Claude Code", "block.github.io/goose", "installing\n", "Hermes Agent is installed.", "runs at"}, ""},
		{"yes, and one is there", []string{"--yes"}, curl, true, false, []string{"runs at"}, ""},
		{"never", []string{"--yes", "--skip-agent-install"}, curl, false, false, []string{"runs at"}, ""},
		{"it fails", []string{"--yes"}, `echo "echo no room >&2; exit 3"`, false, false, []string{"runs at"}, "Hermes Agent was not installed: exit status 3. The host starts without it"},
		{"it is not found after", []string{"--yes"}, `echo "echo ran > \"\$HOME/ran\""`, false, true, []string{"runs at"}, "holdfast agents"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			programs := map[string]string{"curl": c.curl}
			if c.agent {
				programs["opencode"] = "echo 1.0.0"
			}
			b.bare(programs)
			b.serves()
			code, out, problem := b.run(append([]string{"up"}, c.args...)...)
			_, err := os.Stat(filepath.Join(b.home, "ran"))
			if code != 0 || (err == nil) != c.ran || !strings.Contains(problem, c.err) {
				t.Errorf("%d, ran: %v\n%s\n%s", code, err == nil, out, problem)
			}
			for _, want := range c.out {
				if !strings.Contains(out, want) {
					t.Errorf("%q lacks %q", out, want)
				}
			}
			if c.args == nil && strings.Contains(out, "No agent") {
				t.Errorf("it asked without a terminal: %q", out)
			}
		})
	}
}

func TestUpCannotInstall(t *testing.T) {
	b := newBench(t)
	b.bare(nil)
	t.Setenv("PATH", filepath.Join(b.home, "bin"))
	b.serves()
	code, out, problem := b.run("up", "--yes")
	if code != 0 || !strings.Contains(problem, "needs curl, which is not here") || !strings.Contains(out, "runs at") {
		t.Errorf("%d %q %q", code, out, problem)
	}
}

// An installation that is broken off leaves nothing of itself running.
func TestUpInstallBrokenOff(t *testing.T) {
	b := newBench(t)
	b.bare(map[string]string{"curl": `echo $$ > "$HOME/pid"; exec sleep 60`})
	b.serves()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var pid int
	go func() {
		defer cancel()
		for ctx.Err() == nil {
			data, err := os.ReadFile(filepath.Join(b.home, "pid"))
			if n, _ := fmt.Sscan(string(data), &pid); err == nil && n == 1 {
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	}()
	code, out, problem := b.runIn(ctx, "up", "--yes")
	if code != 1 || !strings.Contains(problem, "broken off") || strings.Contains(out, "runs at") {
		t.Errorf("%d %q %q", code, out, problem)
	}
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		info, err := proc.Lookup(pid)
		if pid != 0 && (err != nil || info.Zombie) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("pid %d lives on", pid)
		}
	}
}

func TestDetachArgs(t *testing.T) {
	cfg := &config.Config{Home: "/h"}
	for _, c := range []struct {
		flags hostFlags
		want  string
	}{
		{hostFlags{}, "serve --home /h --log file"},
		{
			hostFlags{Addr: "127.0.0.1:9", AllowedHosts: []string{"a", "*.b"}, InsecureBind: true, LogLevel: "debug"},
			"serve --home /h --log file --addr 127.0.0.1:9 --allowed-hosts a --allowed-hosts *.b --insecure-bind --log-level debug",
		},
	} {
		if diff := cmp.Diff(c.want, strings.Join(c.flags.serveArgs(cfg), " ")); diff != "" {
			t.Error(diff)
		}
		// It is read as it was meant.
		b := newBench(t)
		o := b.serves()
		if code, _, problem := b.run(c.flags.serveArgs(cfg)...); code != 0 || !o.LogFileOnly || o.Ready != nil || problem != "" {
			t.Errorf("%d %+v %q", code, o, problem)
		}
	}
}

// hold makes this process the host of the state folder.
func (b *bench) hold(address string) {
	b.t.Helper()
	f, err := proc.Lock(filepath.Join(b.home, "host.lock"))
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { f.Close() })
	if err := json.NewEncoder(f).Encode(map[string]any{"pid": 4711, "address": address, "since": time.Now()}); err != nil {
		b.t.Fatal(err)
	}
}

func TestDetachWhereOneRuns(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"status":"ok"}`) }))
	defer srv.Close()
	b := newBench(t)
	b.hold(strings.TrimPrefix(srv.URL, "http://"))
	code, out, problem := b.run("up", "--detach", "--yes")
	if code != 0 || !strings.Contains(out, srv.URL) || !strings.Contains(out, "pid 4711") || !strings.Contains(out, "runs already") {
		t.Errorf("%d %q %q", code, out, problem)
	}
	srv.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if code, _, problem := b.runIn(ctx, "up", "--detach"); code != 1 || !strings.Contains(problem, "does not answer") || !strings.Contains(problem, "holdfast logs") {
		t.Errorf("%d %q", code, problem)
	}
}

func TestWords(t *testing.T) {
	for _, c := range []struct{ stderr, log, want string }{
		{"", "", " It said nothing."},
		{"holdfast: the port\x1b[2J is taken", "level=INFO", " It said:\n  the port [2J is taken"},
		{"", "one\ntwo", " The end of its log:\n  one\n  two"},
	} {
		if diff := cmp.Diff(c.want, words([]byte(c.stderr), []byte(c.log))); diff != "" {
			t.Error(diff)
		}
	}
	path := filepath.Join(t.TempDir(), "f")
	f, begin, err := openStderr(path)
	if err != nil || begin != 0 {
		t.Fatal(begin, err)
	}
	defer f.Close()
	fmt.Fprintf(f, "%s\n", strings.Repeat("x", stderrKept))
	next, begin, err := openStderr(path)
	if err != nil || begin != 0 || size(path) != 0 {
		t.Errorf("a long file is kept: %d of %d, %v", begin, size(path), err)
	}
	defer next.Close()
	fmt.Fprint(next, "old\n")
	begin = size(path)
	fmt.Fprint(next, "new\n")
	if got := string(since(path, begin)); got != "new" {
		t.Errorf("%q", got)
	}
}

// The go command removes the folder of this test's binary, as it does with that
// of go run: a host in the background would lose its program.
func TestDetachOfAPassingProgram(t *testing.T) {
	exe, err := os.Executable()
	if err != nil || !strings.Contains(exe, "/go-build") {
		t.Skipf("the binary is %s", exe)
	}
	b := newBench(t)
	code, _, problem := b.run("up", "--detach")
	if code != 1 || !strings.Contains(problem, "go run removes it") || !strings.Contains(problem, "make build") {
		t.Errorf("%d %q", code, problem)
	}
	if entries, err := os.ReadDir(b.home); err != nil || len(entries) != 0 {
		t.Errorf("it left %v, %v", entries, err)
	}
}

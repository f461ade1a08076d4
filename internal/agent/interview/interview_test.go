//go:build unix

package interview

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/holdfast-dev/holdfast/internal/acp"
	"github.com/holdfast-dev/holdfast/internal/agent"
	"github.com/holdfast-dev/holdfast/internal/proc"
)

// howVar makes the test binary an agent.
const howVar = "HOLDFAST_TEST_AGENT"

func TestMain(m *testing.M) {
	if how := os.Getenv(howVar); how != "" {
		play(how)
		return
	}
	goleak.VerifyTestMain(m)
}

// play is an agent that does as it is told, and notes which methods it heard.
func play(how string) {
	heard, _ := os.OpenFile(os.Getenv("HEARD"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if strings.Contains(how, "stray") { // out of its group, with nothing open
		cmd := exec.Command("/bin/sleep", "300")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		_ = cmd.Start()
	}
	conn := acp.NewConn(os.Stdin, os.Stdout)
	_ = conn.Serve(context.Background(), func(_ context.Context, m acp.Message) {
		_, _ = heard.WriteString(m.Method + "\n")
		var result any = struct{}{}
		switch m.Method {
		case acp.MethodInitialize:
			if how == "refuses" {
				_ = conn.Refuse(m.ID, errors.New("not today"))
				return
			}
			r := acp.InitializeResult{ProtocolVersion: acp.ProtocolVersion, AgentInfo: &acp.Implementation{Name: "played", Version: "4.5"}}
			if strings.Contains(how, "deletes") {
				r.AgentCapabilities.SessionCapabilities.Delete = &acp.Capability{}
			}
			r.AuthMethods = []acp.AuthMethod{{ID: "setup"}}
			if how == "setup and key" {
				r.AuthMethods = append(r.AuthMethods, acp.AuthMethod{ID: "key"})
			}
			result = r
		case acp.MethodSessionNew:
			if how == "auth" {
				_ = conn.Refuse(m.ID, &acp.Error{Code: acp.CodeAuthRequired, Message: "log in"})
				return
			}
			if how == "no auth, by the way" {
				_ = conn.Notify("_auth/status_update", json.RawMessage(`{"authStatus":{"kind":"none"}}`))
			}
			result = acp.NewSessionResult{SessionID: "s1"}
		}
		_ = conn.Respond(m.ID, result)
	})
}

func TestAsk(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		how     string
		command []string
		setup   string
		login   Login
		err     string
		heard   string
	}{
		{how: "plain", login: LoggedIn, heard: "initialize session/new"},
		{how: "deletes, stray", login: LoggedIn, heard: "initialize session/new session/delete"},
		{how: "auth", login: NeedsLogin, heard: "initialize session/new"},
		{how: "no auth, by the way", login: NeedsLogin, heard: "initialize session/new"},
		{how: "setup", setup: "setup", login: NeedsLogin, heard: "initialize"},
		{how: "setup and key", setup: "setup", login: LoggedIn, heard: "initialize"},
		{how: "refuses", err: "it refused `initialize`", heard: "initialize"},
		{how: "none", command: []string{"/nowhere/at/all"}, err: "it does not start"},
		{how: "quits", command: []string{"/bin/sh", "-c", "echo first; echo last >&2; exit 9"}, err: "it ended (exit status 9) before it answered `initialize`, and said: last"},
		{how: "mute", command: []string{"/bin/sh", "-c", "exec >&-; exec sleep 300"}, err: "it closed its output"},
		{how: "deaf", command: []string{"/bin/sleep", "300"}, err: "it did not answer `initialize` within 1s"},
	} {
		t.Run(c.how, func(t *testing.T) {
			t.Parallel()
			heard := filepath.Join(t.TempDir(), "heard")
			mark := t.TempDir() + ":doctor:" + t.Name()
			a := agent.Agent{Command: []string{exe}, LoginSetup: c.setup, Env: append(os.Environ(), howVar+"="+c.how, "HEARD="+heard)}
			if c.command != nil {
				a.Command = c.command
			}
			deadline := 30 * time.Second
			if c.how == "deaf" {
				deadline = time.Second
			}
			r, err := Ask(t.Context(), a, Options{Mark: mark, Version: "1", Deadline: deadline})
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("error %v, want %q", err, c.err)
			}
			if r.Login != c.login || c.err == "" && r.Version() != "4.5" {
				t.Errorf("%+v", r)
			}
			text, _ := os.ReadFile(heard)
			if got := strings.Join(strings.Fields(string(text)), " "); got != c.heard {
				t.Errorf("it heard %q, want %q", got, c.heard)
			}
			if left, err := proc.ByMark(mark); err != nil && !errors.Is(err, proc.ErrUnsupported) || len(left) > 0 {
				t.Errorf("left: %v %v", left, err)
			}
		})
	}
}

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/holdfast-dev/holdfast/internal/acp"
	"github.com/holdfast-dev/holdfast/test/agent/agenttest"
	"github.com/holdfast-dev/holdfast/test/agent/script"
)

func TestMain(m *testing.M) {
	if os.Getenv("RUN_AS_AGENT") != "" {
		main()
		os.Exit(0)
	}
	// The agent is this test binary run again; its children, too.
	if len(os.Args) > 2 && (os.Args[1] == "sleeper" || os.Args[1] == "orphan") {
		main()
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func start(t *testing.T, env ...string) (*agenttest.Client, *exec.Cmd) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "RUN_AS_AGENT=1")
	for _, e := range env {
		cmd.Env = append(cmd.Env, "SCRIPT_AGENT_"+e)
	}
	return agenttest.Start(t, cmd), cmd
}

func open(t *testing.T, env ...string) (*agenttest.Client, string) {
	t.Helper()
	c, _ := start(t, env...)
	c.Initialize()
	return c, c.NewSession(t.TempDir())
}

func TestTurns(t *testing.T) {
	c, s := open(t)
	tests := []struct {
		name, script, text string
		stop               acp.StopReason
	}{
		{"echo", "Hello there,\n  it's 日本.", "Hello there,\n  it's 日本.", acp.StopEndTurn},
		{"say", "say hello world\nsay \"a\\nb\"", "hello worlda\nb", acp.StopEndTurn},
		{"stream", "stream 200 0s seed=7", script.Text(7, 200), acp.StopEndTurn},
		{"line", "line 3MB", script.Long(3e6), acp.StopEndTurn},
		{"half", "say a\nhalf 50ms\nsay b", "a[half]b", acp.StopEndTurn},
		{"stop", "say a\nstop max_tokens\nsay b", "a", acp.StopMaxTokens},
		{"unknown request", "unknown-request", "", acp.StopEndTurn},
		{"unknown update", "unknown-update\nsay x", "x", acp.StopEndTurn},
		{"leak", "leak-fds 5\nsay ok", "ok", acp.StopEndTurn},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.name == "unknown request" {
				from := c.Count()
				id := c.Prompt(s, tt.script)
				m := c.Wait("request", from, func(m acp.Message) bool { return m.IsRequest() })
				c.Send(acp.ErrorResponse(m.ID, acp.CodeMethodNotFound, "no"), nil)
				c.Stop(id)
				if got := c.Text(from); got != "[unknown-request: -32601]" {
					t.Errorf("text %q", got)
				}
				return
			}
			text, stop := c.Turn(s, tt.script)
			if text != tt.text || stop != tt.stop {
				t.Errorf("got %.200q and %s, want %.200q and %s", text, stop, tt.text, tt.stop)
			}
		})
	}
	if j := c.Junk(); len(j) > 0 {
		t.Errorf("junk %q", j)
	}
}

func TestSteer(t *testing.T) {
	c, s := open(t, "STEER=1")
	from := c.Count()
	turn := c.Prompt(s, "say a\ntool t execute ls\nawait-steer\ntool-done t\nsay b\nawait-steer")
	c.Wait("the call", from, func(m acp.Message) bool { return strings.Contains(string(m.Params), `"tool_call"`) })
	c.Stop(c.Prompt(s, "/steer be brief"))
	// The turn goes on by itself to "b": what comes late must not be said before.
	c.Wait("what follows the call", from, func(m acp.Message) bool { return strings.Contains(string(m.Params), `"text":"b"`) })
	late := strings.Repeat("ü", 81)
	c.Stop(c.Prompt(s, "/steer "+late))
	if stop := c.Stop(turn); stop != acp.StopEndTurn {
		t.Errorf("ended by %s", stop)
	}
	const taken = "⏩ Steer queued for the active turn: "
	if want, got := "a"+taken+"be brief[steered: be brief]b"+taken+strings.Repeat("ü", 80)+"...", c.Text(from); got != want {
		t.Errorf("said %q, want %q", got, want)
	}
	if text, _ := c.Turn(s, "/steer say c\ntool t execute ls\ntool-done t"); text != "c" {
		t.Errorf("without a turn it said %q", text)
	}
}

func TestUpdates(t *testing.T) {
	c, s := open(t)
	from := c.Count()
	c.Turn(s, `think hm
tool t1 read Read the file
tool-output t1 "one\n"
tool-output t1 two
tool-done t1
diff a.txt - new
open-tool
plan +a|*b|c
usage 1000 200000
title A title
notice warning Look out
commands help,go
mode ask
junk oh no
message-id m7
say x`)
	want := []acp.Update{
		acp.ThoughtChunk{Chunk: acp.Text("hm")},
		acp.ToolCall{ID: "t1", Title: "Read the file", Kind: acp.ToolRead, Status: acp.ToolInProgress},
		acp.ToolCallUpdate{ID: "t1", Content: []acp.ToolContent{acp.TextContent("one\n")}},
		acp.ToolCallUpdate{ID: "t1", Content: []acp.ToolContent{acp.TextContent("one\ntwo")}},
		acp.ToolCallUpdate{ID: "t1", Status: new(acp.ToolCompleted)},
		acp.ToolCall{ID: "diff-a.txt", Title: "Edit a.txt", Kind: acp.ToolEdit, Status: acp.ToolCompleted, Content: []acp.ToolContent{acp.DiffContent("a.txt", nil, "new")}},
		acp.ToolCall{ID: "open", Title: "left open", Kind: acp.ToolExecute, Status: acp.ToolInProgress},
		acp.Plan{Entries: []acp.PlanEntry{{Content: "a", Priority: "medium", Status: "completed"}, {Content: "b", Priority: "medium", Status: "in_progress"}, {Content: "c", Priority: "medium", Status: "pending"}}},
		acp.Usage{Used: 1000, Size: 200000},
		acp.SessionInfo{Title: acp.Set("A title")},
		acp.Notice{Severity: "warning", Title: "Look out"},
		acp.Commands{Commands: []acp.Command{{Name: "help", Description: "does help"}, {Name: "go", Description: "does go"}}},
		acp.CurrentMode{ModeID: "ask"},
		acp.AgentChunk{Chunk: acp.Chunk{Content: acp.TextBlock("x"), MessageID: "m7"}},
	}
	if d := cmp.Diff(want, c.Updates(from)); d != "" {
		t.Errorf("updates (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{"oh no"}, c.Junk()); d != "" {
		t.Error(d)
	}
}

func TestPermissions(t *testing.T) {
	c, s := open(t)
	from := c.Count()
	id := c.Prompt(s, "ask p1 \"Run tests\" go test\nask-same-raw-id p2 Again\nask-edit p3 a.txt old new")
	m1, p := c.Permission(from)
	if p.ToolCall.ID != "p1" || *p.ToolCall.Title != "Run tests" || string(p.ToolCall.RawInput) != `{"command":"go test"}` || len(p.Options) != 3 {
		t.Errorf("request %+v", p)
	}
	c.Answer(m1, "allow_once")
	c.WaitText(from, "p1")
	at := c.Count() - 1
	m2, p := c.Permission(at)
	if p.ToolCall.ID != "p2" || string(m1.ID) != string(m2.ID) {
		t.Errorf("request %+v has id %s, the last one %s", p, m2.ID, m1.ID)
	}
	c.Answer(m2, "reject_once")
	c.WaitText(from, "p2")
	m3, p := c.Permission(c.Count() - 1)
	if d := cmp.Diff([]acp.ToolContent{acp.DiffContent("a.txt", new("old"), "new")}, p.ToolCall.Content); d != "" || string(m3.ID) == string(m2.ID) {
		t.Errorf("id %s, content (-want +got):\n%s", m3.ID, d)
	}
	c.Answer(m3, "")
	c.Stop(id)
	if got, want := c.Text(from), "[answer p1: allow_once][answer p2: reject_once][answer p3: cancelled]"; got != want {
		t.Errorf("text %q, want %q", got, want)
	}
}

func TestParallelPermissions(t *testing.T) {
	c, s := open(t)
	from := c.Count()
	id := c.Prompt(s, "ask-async a A\nask-async b B\nsay on")
	c.WaitText(from, "on")
	ids := map[string]acp.Message{}
	for len(ids) < 2 {
		c.Wait("both requests", from, func(m acp.Message) bool {
			if m.IsRequest() {
				ids[string(m.Params)] = m
			}
			return len(ids) == 2
		})
	}
	for _, m := range ids {
		c.Answer(m, "allow_always")
	}
	if stop := c.Stop(id); stop != acp.StopEndTurn {
		t.Error(stop)
	}
	for _, want := range []string{"[answer a: allow_always]", "[answer b: allow_always]"} {
		if !strings.Contains(c.Text(from), want) {
			t.Errorf("text %q lacks %q", c.Text(from), want)
		}
	}
}

func TestExpiry(t *testing.T) {
	c, s := open(t, "EXPIRE=50ms")
	from := c.Count()
	text, _ := c.Turn(s, "ask p1 T\nsay after")
	if text != "[answer p1: expired]after" {
		t.Errorf("text %q", text)
	}
	m, _ := c.Permission(from)
	c.Answer(m, "allow_once") // late: dropped
	if text, _ := c.Turn(s, "say still here"); text != "still here" {
		t.Errorf("text %q", text)
	}
}

func TestCancel(t *testing.T) {
	for _, waitsForAnswer := range []bool{false, true} {
		t.Run(fmt.Sprintf("open permission, waits %v", waitsForAnswer), func(t *testing.T) {
			var env []string
			if waitsForAnswer {
				env = append(env, "NO_CANCEL_UNTIL_ANSWER=1")
			}
			c, s := open(t, env...)
			from := c.Count()
			id := c.Prompt(s, "ask p1 T")
			m, _ := c.Permission(from)
			c.Cancel(s)
			if waitsForAnswer {
				// A later request overtakes the turn, so it is still open.
				_ = c.Call(acp.MethodLogout, nil, nil)
				for _, m := range c.Messages(from) {
					if m.IsResponse() && string(m.ID) == fmt.Sprint(id) {
						t.Fatal("the turn ended before the answer")
					}
				}
				c.Answer(m, "")
			}
			if stop := c.Stop(id); stop != acp.StopCancelled {
				t.Errorf("stop reason %s", stop)
			}
			if text, stop := c.Turn(s, "say next"); text != "next" || stop != acp.StopEndTurn {
				t.Errorf("next turn: %q, %s", text, stop)
			}
		})
	}
	t.Run("streaming", func(t *testing.T) {
		c, s := open(t)
		from := c.Count()
		id := c.Prompt(s, "stream 100000 5ms seed=1")
		c.WaitText(from, script.Text(1, 3))
		c.Cancel(s)
		if stop := c.Stop(id); stop != acp.StopCancelled {
			t.Errorf("stop reason %s", stop)
		}
		if !strings.HasPrefix(script.Text(1, 100000), c.Text(from)) {
			t.Error("the text is no prefix of the stream")
		}
	})
}

func TestErrors(t *testing.T) {
	c, s := open(t)
	m := c.Response(c.Prompt(s, "say x\nerror -32603 it broke"))
	if m.Error == nil || m.Error.Code != -32603 || m.Error.Message != "it broke" {
		t.Errorf("response %+v", m)
	}
	if err := c.Call("session/unheard_of", nil, nil); err == nil || err.Code != acp.CodeMethodNotFound {
		t.Errorf("unknown method: %v", err)
	}
	first := c.Prompt(s, "sleep 10s")
	if m := c.Response(c.Prompt(s, "say x")); m.Error == nil {
		t.Error("a second prompt in a turn was taken")
	}
	c.Cancel(s)
	c.Stop(first)
}

func TestStatesAndLog(t *testing.T) {
	dir, log := t.TempDir(), filepath.Join(t.TempDir(), "log")
	c, cmd := start(t, "STATE="+dir, "LOG="+log, "CAPS=load,resume")
	if r := c.Initialize(); !r.AgentCapabilities.LoadSession || r.AgentCapabilities.SessionCapabilities.Resume == nil {
		t.Errorf("capabilities %+v", r.AgentCapabilities)
	}
	s := c.NewSession(t.TempDir())
	c.Turn(s, "say one")
	c.Turn(s, "say two")
	c.CloseInput()
	<-c.Done()

	for how, want := range map[string]string{"replay": "[say one]one[say two]two", "ok": "", "empty": ""} {
		c, _ := start(t, "STATE="+dir, "LOAD="+how, "MODES=1")
		c.Initialize()
		var r acp.LoadSessionResult
		if err := c.Call(acp.MethodSessionLoad, acp.LoadSessionParams{SessionID: s, CWD: "/"}, &r); err != nil {
			t.Fatal(err)
		}
		var got strings.Builder
		for _, u := range c.Updates(0) {
			switch u := u.(type) {
			case acp.UserChunk:
				fmt.Fprintf(&got, "[%s]", u.Content.Text)
			case acp.AgentChunk:
				got.WriteString(u.Content.Text)
			}
		}
		if got.String() != want || (r.Modes != nil) != (how != "empty") {
			t.Errorf("LOAD=%s replayed %q, modes %+v", how, got.String(), r.Modes)
		}
	}
	for _, env := range []string{"LOAD=fail", "STATE=" + t.TempDir()} {
		c, _ := start(t, env)
		if err := c.Call(acp.MethodSessionLoad, acp.LoadSessionParams{SessionID: s, CWD: "/"}, nil); err == nil || err.Code != acp.CodeResourceNotFound {
			t.Errorf("%s: %v", env, err)
		}
	}

	prompts := 0
	list := agenttest.ReadLog(t, log)
	for _, e := range list {
		if e.PID != cmd.Process.Pid {
			t.Errorf("entry %+v of another process", e)
		}
		if strings.Contains(e.Line, `"session/prompt"`) {
			prompts++
		}
	}
	if prompts != 2 || list[0].Line != "start" || list[len(list)-1].Line != "eof" {
		t.Errorf("log %+v", list)
	}
}

func TestLogin(t *testing.T) {
	file := filepath.Join(t.TempDir(), "login")
	c, _ := start(t, "LOGIN="+file)
	if r := c.Initialize(); len(r.AuthMethods) != 1 {
		t.Errorf("login methods %+v", r.AuthMethods)
	}
	if err := c.Call(acp.MethodSessionNew, acp.NewSessionParams{CWD: "/"}, nil); err == nil || err.Code != acp.CodeAuthRequired {
		t.Fatalf("session/new: %v", err)
	}
	if err := c.Call(acp.MethodAuthenticate, acp.AuthenticateParams{MethodID: "script-login"}, nil); err != nil {
		t.Fatal(err)
	}
	c.NewSession("/")
}

func TestOptionsAndEarlyUpdate(t *testing.T) {
	c, _ := start(t, "MODES=1", "EARLY_UPDATE=1")
	if r := c.Initialize(); r.ProtocolVersion != 1 {
		t.Error(r)
	}
	s := c.NewSession("/")
	if m := c.Messages(0); m[1].Method != acp.MethodSessionUpdate || !m[2].IsResponse() {
		t.Errorf("no update before the response")
	}
	var r acp.SetConfigOptionResult
	if err := c.Call(acp.MethodSetConfigOption, acp.SetConfigOptionParams{SessionID: s, ConfigID: "verbose", Type: acp.OptionBoolean, Value: true}, &r); err != nil || len(r.ConfigOptions) != 3 || !r.ConfigOptions[2].Bool() {
		t.Errorf("options %+v, %v", r, err)
	}
	if err := c.Call(acp.MethodSetMode, acp.SetModeParams{SessionID: s, ModeID: "ask"}, nil); err != nil {
		t.Error(err)
	}
	if text, _ := c.Turn(s, "options"); text != "[mode=ask model=small verbose=true]" {
		t.Error(text)
	}
	bad, _ := start(t, "BAD_INIT=1")
	if r := bad.Initialize(); r.ProtocolVersion != 99 {
		t.Error(r)
	}
}

func TestEnds(t *testing.T) {
	wait := func(t *testing.T, c *agenttest.Client) {
		t.Helper()
		select {
		case <-c.Done():
		case <-time.After(10 * time.Second):
			t.Fatal("the agent did not end")
		}
	}
	for _, text := range []string{"exit 3", "half-exit 3"} {
		t.Run(text, func(t *testing.T) {
			c, cmd := start(t)
			c.Initialize()
			c.Prompt(c.NewSession("/"), "say x\n"+text)
			wait(t, c)
			if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 3 {
				t.Errorf("ended with %v", err)
			}
			if len(c.Junk()) > 0 {
				t.Errorf("junk %q", c.Junk())
			}
		})
	}
	t.Run("end of input in a turn", func(t *testing.T) {
		c, s := open(t)
		from := c.Count()
		c.Prompt(s, "say on\nsleep 1h")
		c.WaitText(from, "on")
		c.CloseInput()
		wait(t, c)
	})
	for _, text := range []string{"hang", "ignore-eof\nsay [hang]\nsleep 1h"} {
		t.Run(text, func(t *testing.T) {
			c, cmd := start(t)
			c.Initialize()
			from, s := c.Count(), c.NewSession("/")
			c.Prompt(s, text)
			c.WaitText(from, "[hang]")
			if text == "hang" {
				c.Cancel(s)
			}
			c.CloseInput()
			select {
			case <-c.Done():
				t.Error("the agent ended")
			case <-time.After(100 * time.Millisecond):
			}
			_ = cmd.Process.Kill()
			wait(t, c)
		})
	}
	t.Run("late update", func(t *testing.T) {
		c, s := open(t)
		from := c.Count()
		c.Stop(c.Prompt(s, "late-update tail\nsay head"))
		c.WaitText(from, "headtail")
		list := c.Messages(from)
		if !list[1].IsResponse() || list[2].Method != acp.MethodSessionUpdate {
			t.Errorf("order %+v", list)
		}
	})
}

func TestSpawnDaemon(t *testing.T) {
	c, s := open(t, "HELPER=1")
	end := func(what string, pid int) {
		t.Helper()
		p, err := os.FindProcess(pid)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Kill(); err != nil {
			t.Errorf("%s, pid %d, was not there: %v", what, pid, err)
		}
	}
	for _, flags := range []string{"", "orphan", "unmarked orphan"} {
		text, _ := c.Turn(s, "spawn-daemon d "+flags)
		var name string
		var pid int
		if _, err := fmt.Sscanf(text, "[daemon %s %d]", &name, &pid); err != nil || name != "d" {
			t.Fatalf("text %q: %v", text, err)
		}
		end("daemon "+flags, pid)
	}
	text, _ := c.Turn(s, "helper-pid")
	pid, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	end("helper", pid)
}

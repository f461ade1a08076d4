package real

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/holdfast-dev/holdfast/internal/acp"
	"github.com/holdfast-dev/holdfast/test/agent/agenttest"
	"github.com/holdfast-dev/holdfast/test/agent/script"
	"github.com/holdfast-dev/holdfast/test/mockmodel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func model(t *testing.T) *mockmodel.Server {
	t.Helper()
	s, err := mockmodel.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func start(t *testing.T, a Agent, dir string) *agenttest.Client {
	t.Helper()
	c := agenttest.Start(t, a.Cmd(dir))
	c.Timeout = 90 * time.Second // a cold start on a busy machine
	return c
}

func TestRealAgents(t *testing.T) {
	t.Parallel() // beside the minutes of TestHermesExpiry
	for name, prepare := range map[string]func(testing.TB, *mockmodel.Server, string) Agent{
		"opencode": OpenCode, "hermes": Hermes, "hermes patient": HermesPatient,
	} {
		t.Run(name, func(t *testing.T) {
			m := model(t)
			testAgent(t, prepare(t, m, t.TempDir()), m)
		})
	}
}

func testAgent(t *testing.T, a Agent, m *mockmodel.Server) {
	dir := t.TempDir()
	// A project may hold modules with the names of the agent's own.
	for _, name := range []string{"json.py", "acp.py", "run_agent.py"} {
		write(t, filepath.Join(dir, name), []byte("raise SystemExit(9)\n"))
	}
	began := time.Now()
	c := start(t, a, dir)
	init := c.Initialize()
	t.Logf("initialize after %v: %+v %+v", time.Since(began).Round(time.Millisecond), init.AgentInfo, init.AgentCapabilities)
	s := c.NewSession(dir)
	t.Logf("session %s after %v", s, time.Since(began).Round(time.Millisecond))

	want := script.Text(7, 200)
	if text, stop := c.Turn(s, "stream 200 2ms seed=7"); text != want || stop != acp.StopEndTurn {
		t.Errorf("%s, text %q, want %q", stop, text, want)
	}

	// A tool with a permission, allowed.
	if err := os.Mkdir(filepath.Join(dir, "gone"), 0o700); err != nil {
		t.Fatal(err)
	}
	call := fmt.Sprintf("say before\ncall %s {\"command\":%q,\"description\":\"remove\"}\nsay after", a.Tool, a.Danger)
	from := c.Count()
	id := c.Prompt(s, call)
	ask, p := c.Permission(from)
	t.Logf("permission: id %s, %+v, options %+v", ask.ID, p.ToolCall, p.Options)
	c.Answer(ask, a.Allow)
	stop := c.Stop(id)
	if text := c.Text(from); stop != acp.StopEndTurn || !strings.Contains(text, "before") || !strings.Contains(text, "after") {
		t.Errorf("%s, text %q", stop, text)
	}
	if _, err := os.Stat(filepath.Join(dir, "gone")); err == nil {
		t.Error("the command did not run")
	}
	for _, tool := range c.Tools(from) {
		t.Logf("tool %+v", tool)
	}

	// Rejected.
	if err := os.Mkdir(filepath.Join(dir, "gone"), 0o700); err != nil {
		t.Fatal(err)
	}
	from = c.Count()
	id = c.Prompt(s, call)
	ask, _ = c.Permission(from)
	c.Answer(ask, a.Reject)
	t.Logf("after a reject: %s, %q", c.Stop(id), c.Text(from))
	if _, err := os.Stat(filepath.Join(dir, "gone")); err != nil {
		t.Error("a rejected command ran")
	}

	// Cancelled with the permission open: both lines go out together.
	from = c.Count()
	id = c.Prompt(s, call)
	ask, _ = c.Permission(from)
	began = time.Now()
	c.Cancel(s)
	c.Answer(ask, "")
	c = afterCancel(t, a, c, s, dir, "a permission", id, began)

	// Cancelled while a command runs.
	from = c.Count()
	id = c.Prompt(s, fmt.Sprintf("call %s {\"command\":%q,\"description\":\"wait\"}\nsay after", a.Tool, a.Danger+"; sleep 30"))
	ask, _ = c.Permission(from)
	c.Answer(ask, a.Allow)
	for deadline := time.Now().Add(c.Timeout); ; time.Sleep(20 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(dir, "gone")); err != nil {
			break // the command has begun
		}
		if time.Now().After(deadline) {
			t.Fatal("the command did not begin")
		}
	}
	began = time.Now()
	c.Cancel(s)
	c = afterCancel(t, a, c, s, dir, "a command", id, began)

	// Cancelled while it streams.
	from = c.Count()
	id = c.Prompt(s, "stream 5000 10ms seed=9")
	c.WaitText(from, script.Text(9, 10))
	began = time.Now()
	c.Cancel(s)
	if stop := c.Stop(id); stop != acp.StopCancelled {
		t.Errorf("stop reason %s after a cancel", stop)
	}
	t.Logf("cancel while streaming after %v", time.Since(began).Round(time.Millisecond))
	if text := c.Text(from); !strings.HasPrefix(script.Text(9, 5000), text) {
		t.Errorf("the text is no prefix of the stream: %q", text)
	}
	if text, stop := c.Turn(s, "say next turn"); strings.TrimSpace(text) != "next turn" || stop != acp.StopEndTurn {
		t.Errorf("next turn: %s, %q", stop, text)
	}
	if j := c.Junk(); len(j) > 0 {
		t.Errorf("junk %q", j)
	}
	began = time.Now()
	c.CloseInput()
	<-c.Done()
	t.Logf("ended %v after the end of its input", time.Since(began).Round(time.Millisecond))

	// Another process takes the session up.
	c = start(t, a, dir)
	c.Initialize()
	if err := c.Call(acp.MethodSessionLoad, acp.LoadSessionParams{SessionID: s, CWD: dir}, nil); err != nil {
		t.Fatalf("session/load: %v", err)
	}
	if text := c.Text(0); !strings.Contains(text, strings.TrimSpace(want)) {
		t.Errorf("replay %q", text)
	}
	if text, _ := c.Turn(s, "say still here"); text != "still here" {
		t.Errorf("after load: %q", text)
	}
	for _, r := range m.Requests() {
		if len(r.Tools) == 0 && strings.HasSuffix(r.Path, "completions") {
			t.Logf("helper request: %.120q", r.Messages[0].Content)
		}
	}
}

// afterCancel waits for the end of a cancelled turn and makes sure that the next
// one works. Hermes Agent as released fails the prompt and then takes itself for
// busy for ever, so the process must be replaced; see agent.HermesPatience.
func afterCancel(t *testing.T, a Agent, c *agenttest.Client, s, dir, what string, prompt uint64, began time.Time) *agenttest.Client {
	t.Helper()
	end := c.Response(prompt)
	t.Logf("cancel with %s: %s %v after %v", what, end.Result, end.Error, time.Since(began).Round(time.Millisecond))
	if a.Name == "hermes" {
		text, stop := c.Turn(s, "say swallowed")
		if end.Error == nil || !strings.Contains(text, "Queued for the next turn") {
			t.Errorf("Hermes Agent is mended: %s, %q", stop, text)
		}
		c.CloseInput()
		<-c.Done()
		c = start(t, a, dir)
		c.Initialize()
		if err := c.Call(acp.MethodSessionLoad, acp.LoadSessionParams{SessionID: s, CWD: dir}, nil); err != nil {
			t.Fatal(err)
		}
	} else if end.Error != nil || !strings.Contains(string(end.Result), "cancelled") {
		t.Errorf("cancelled prompt: %s, %v", end.Result, end.Error)
	}
	if text, stop := c.Turn(s, "say and on"); strings.TrimSpace(text) != "and on" || stop != acp.StopEndTurn {
		t.Errorf("next turn: %s, %q", stop, text)
	}
	return c
}

// TestHermesExpiry proves the minute after which Hermes Agent takes a
// permission for denied, and that agent.HermesPatience removes it.
func TestHermesExpiry(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: takes more than a minute")
	}
	t.Parallel()
	for name, prepare := range map[string]func(testing.TB, *mockmodel.Server, string) Agent{"plain": Hermes, "patient": HermesPatient} {
		for _, tool := range []string{`terminal {"command":"rm -r ./gone"}`, `write_file {"path":"new.txt","content":"new"}`} {
			t.Run(name+" "+strings.Fields(tool)[0], func(t *testing.T) {
				t.Parallel()
				a := prepare(t, model(t), t.TempDir())
				dir := t.TempDir()
				if err := os.Mkdir(filepath.Join(dir, "gone"), 0o700); err != nil {
					t.Fatal(err)
				}
				c := start(t, a, dir)
				c.Initialize()
				s := c.NewSession(dir)
				from := c.Count()
				id := c.Prompt(s, "call "+tool+"\nsay after")
				ask, _ := c.Permission(from)
				asked := time.Now()
				_, err := c.WaitFor(70*time.Second, from, agenttest.IsResponse(id))
				t.Logf("ended by itself: %v, after %v", err == nil, time.Since(asked).Round(time.Second))
				if err != nil {
					c.Answer(ask, "allow_once")
					c.Stop(id)
				}
				_, goneErr := os.Stat(filepath.Join(dir, "gone"))
				_, newErr := os.Stat(filepath.Join(dir, "new.txt"))
				ran := goneErr != nil || newErr == nil
				if ran != (name == "patient") {
					t.Errorf("it ran: %v; text %q", ran, c.Text(from))
				}
			})
		}
	}
}

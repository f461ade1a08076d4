//go:build unix

package builtin

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/holdfast-dev/holdfast/internal/acp"
	"github.com/holdfast-dev/holdfast/test/agent/agenttest"
)

func TestMain(m *testing.M) {
	if os.Getenv("RUN_AS_AGENT") != "" {
		os.Exit(Main(os.Args[1:]))
	}
	goleak.VerifyTestMain(m)
}

// connect serves the agent over pipes.
func connect(t *testing.T, pace time.Duration) *agenttest.Client {
	t.Helper()
	in, toAgent := io.Pipe()
	fromAgent, out := io.Pipe()
	conn := acp.NewConn(in, out)
	s := newServer(conn, Tour{}, pace)
	go func() {
		err := conn.Serve(t.Context(), s.handle)
		_ = out.CloseWithError(err)
	}()
	return agenttest.Connect(t, fromAgent, toAgent)
}

func open(t *testing.T) (c *agenttest.Client, session, dir string) {
	t.Helper()
	c, dir = connect(t, 0), t.TempDir()
	c.Initialize()
	return c, c.NewSession(dir), dir
}

func TestIntroduction(t *testing.T) {
	c := connect(t, 0)
	r := c.Initialize()
	if r.AgentCapabilities.LoadSession || r.AgentCapabilities.SessionCapabilities.Resume == nil || r.AgentInfo.Name != "holdfast-tour" {
		t.Errorf("initialize %+v", r)
	}
	s := c.NewSession(t.TempDir())
	text, stop := c.Turn(s, "Tell me a story\nof two lines")
	if stop != acp.StopEndTurn || !strings.Contains(text, "not a language model") || !strings.HasSuffix(text, guide) {
		t.Errorf("%s, %q", stop, text)
	}
	var title string
	var commands []string
	ids := map[string]bool{}
	for _, u := range c.Updates(0) {
		switch u := u.(type) {
		case acp.SessionInfo:
			title = *u.Title.Value
		case acp.Commands:
			for _, command := range u.Commands {
				commands = append(commands, command.Name)
			}
		case acp.AgentChunk:
			ids[u.MessageID] = true
		}
	}
	if title != "Tell me a story" || len(ids) != 1 {
		t.Errorf("title %q, %d messages", title, len(ids))
	}
	if d := cmp.Diff([]string{"help", "list", "read", "write", "run", "plan"}, commands); d != "" {
		t.Errorf("commands (-want +got):\n%s", d)
	}
	if text, _ := c.Turn(s, "and now?"); !strings.Contains(text, "did not understand") {
		t.Errorf("second text %q", text)
	}
	if text, _ := c.Turn(s, "/HELP"); !strings.Contains(text, "Things to try") {
		t.Errorf("help %q", text)
	}
}

func TestFilesWithoutAsking(t *testing.T) {
	c, s, dir := open(t)
	outside := filepath.Join(t.TempDir(), "secret.txt")
	for path, text := range map[string]string{filepath.Join(dir, "a.txt"): "one\ntwo\n", outside: "secret", filepath.Join(dir, "b.bin"): "\x00\xff", filepath.Join(dir, "with space.txt"): "x"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, prompt string
		status       acp.ToolStatus
		shows        string
	}{
		{"list", "list", acp.ToolCompleted, "a.txt  8 bytes\nb.bin  2 bytes\n"},
		{"list a folder", "list sub", acp.ToolCompleted, "(the folder is empty)\n"},
		{"list outside", "list ..", acp.ToolFailed, "outside the session's folder"},
		{"read", "read a.txt", acp.ToolCompleted, "one\ntwo\n"},
		{"read by absolute path", "read " + filepath.Join(dir, "a.txt"), acp.ToolCompleted, "one\ntwo\n"},
		{"read quoted", `read "with space.txt"`, acp.ToolCompleted, "x"},
		{"read outside", "read " + outside, acp.ToolFailed, "outside the session's folder"},
		{"read by a link to the outside", "read link", acp.ToolFailed, "was not read"},
		{"read nothing", "read none.txt", acp.ToolFailed, "there is no such file"},
		{"read a folder", "read sub", acp.ToolFailed, "it is a folder"},
		{"read binary", "read b.bin", acp.ToolFailed, "not text (2 bytes)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			from := c.Count()
			if _, stop := c.Turn(s, tt.prompt); stop != acp.StopEndTurn {
				t.Errorf("stop reason %s", stop)
			}
			tools := c.Tools(from)
			if len(tools) != 1 || tools[0].Status != tt.status || len(tools[0].Content) != 1 {
				t.Fatalf("tools %+v", tools)
			}
			if shown, _ := tools[0].Content[0].Content.AsText(); !strings.Contains(shown, tt.shows) || strings.Contains(shown, "secret\n") {
				t.Errorf("shows %q, want %q", shown, tt.shows)
			}
			for _, m := range c.Messages(from) {
				if m.IsRequest() {
					t.Errorf("asked %s", m.Params)
				}
			}
		})
	}
}

func TestWrite(t *testing.T) {
	c, s, dir := open(t)
	path := filepath.Join(dir, "notes", "a.txt")
	read := func() string {
		b, err := os.ReadFile(path)
		if err != nil {
			return err.Error()
		}
		return string(b)
	}

	from := c.Count()
	id := c.Prompt(s, "write notes/a.txt Hello there\nand more")
	m, p := c.Permission(from)
	if d := cmp.Diff([]acp.ToolContent{acp.DiffContent(path, nil, "Hello there\nand more\n")}, p.ToolCall.Content); d != "" {
		t.Errorf("request (-want +got):\n%s", d)
	}
	kinds := []acp.OptionKind{p.Options[0].Kind, p.Options[1].Kind, p.Options[2].Kind}
	if d := cmp.Diff([]acp.OptionKind{acp.AllowOnce, acp.AllowAlways, acp.RejectOnce}, kinds); d != "" {
		t.Errorf("options (-want +got):\n%s", d)
	}
	if tools := c.Tools(from); len(tools) != 1 || tools[0].Status != acp.ToolPending || tools[0].ID != p.ToolCall.ID {
		t.Errorf("tools %+v", tools)
	}
	c.Answer(m, optionReject)
	c.Stop(id)
	if tools := c.Tools(from); tools[0].Status != acp.ToolFailed || !strings.Contains(c.Text(from), "did not allow") {
		t.Errorf("after a reject: %+v, %q", tools, c.Text(from))
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("the file was written")
	}

	from = c.Count()
	id = c.Prompt(s, "write notes/a.txt Hello")
	m, _ = c.Permission(from)
	c.Answer(m, optionOnce)
	c.Stop(id)
	if got := read(); got != "Hello\n" {
		t.Errorf("file %q", got)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}

	// The file changes while the person thinks.
	from = c.Count()
	id = c.Prompt(s, "write notes/a.txt Mine")
	m, p = c.Permission(from)
	if old := p.ToolCall.Content[0].Diff.OldText; old == nil || *old != "Hello\n" {
		t.Errorf("old text %v", old)
	}
	if err := os.WriteFile(path, []byte("theirs"), 0o640); err != nil {
		t.Fatal(err)
	}
	c.Answer(m, optionAlways)
	c.Stop(id)
	if got := read(); got != "theirs" || !strings.Contains(c.Text(from), "has changed") {
		t.Errorf("file %q, text %q", got, c.Text(from))
	}

	from = c.Count()
	c.Turn(s, "write notes/a.txt Again") // allowed for the session
	if got := read(); got != "Again\n" {
		t.Errorf("file %q", got)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if tools := c.Tools(from); tools[0].Status != acp.ToolCompleted || tools[0].Content[0].Diff == nil {
		t.Errorf("tools %+v", tools)
	}
	for _, prompt := range []string{"write ../x.txt no", "write notes no"} {
		from = c.Count()
		c.Turn(s, prompt)
		if tools := c.Tools(from); tools[0].Status != acp.ToolFailed {
			t.Errorf("%s: %+v", prompt, tools)
		}
	}
	if list, err := os.ReadDir(filepath.Dir(path)); err != nil || len(list) != 1 {
		t.Errorf("left behind: %v, %v", list, err)
	}
}

func TestRun(t *testing.T) {
	c, s, dir := open(t)
	from := c.Count()
	id := c.Prompt(s, "run pwd; echo err >&2; sleep 0.4; echo done")
	m, p := c.Permission(from)
	if *p.ToolCall.Title != "pwd; echo err >&2; sleep 0.4; echo done" || !strings.Contains(string(p.ToolCall.RawInput), `"command"`) {
		t.Errorf("request %+v", p)
	}
	c.Answer(m, optionAlways)
	c.Stop(id)
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	tools := c.Tools(from)
	if shown, _ := tools[0].Content[0].Content.AsText(); shown != dir+"\nerr\ndone\n" {
		t.Errorf("output %q", shown)
	}
	if tools[0].Status != acp.ToolCompleted || string(tools[0].RawOutput) != `{"exitCode":0}` {
		t.Errorf("tools %+v", tools)
	}
	grew := false
	for _, u := range c.Updates(from) {
		if u, ok := u.(acp.ToolCallUpdate); ok && *u.Status == acp.ToolInProgress && len(u.Content) > 0 {
			grew = true
		}
	}
	if !grew {
		t.Error("the output was not shown while it grew")
	}

	from = c.Count()
	c.Turn(s, "run pwd; echo err >&2; sleep 0.4; echo done")
	for _, m := range c.Messages(from) {
		if m.IsRequest() {
			t.Error("an allowed command was asked again")
		}
	}
	from = c.Count()
	id = c.Prompt(s, "run exit 3")
	m, _ = c.Permission(from)
	c.Answer(m, optionOnce)
	c.Stop(id)
	if tools := c.Tools(from); tools[0].Status != acp.ToolFailed || string(tools[0].RawOutput) != `{"exitCode":3}` || !strings.Contains(c.Text(from), "exit code 3") {
		t.Errorf("tools %+v, text %q", tools, c.Text(from))
	}
}

func TestRunEndsWithItsShell(t *testing.T) {
	c, s, _ := open(t)
	from := c.Count()
	// The process in the background holds the output open.
	id := c.Prompt(s, "run sleep 30 & echo $!")
	m, _ := c.Permission(from)
	c.Answer(m, optionOnce)
	c.Stop(id)
	shown, _ := c.Tools(from)[0].Content[0].Content.AsText()
	pid, err := strconv.Atoi(strings.TrimSpace(shown))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Errorf("the process in the background: %v", err)
	}
}

func TestManyBytes(t *testing.T) {
	c, s, _ := open(t)
	from := c.Count()
	id := c.Prompt(s, "run i=0; while [ $i -lt 30000 ]; do echo row $i; i=$((i+1)); done")
	m, _ := c.Permission(from)
	c.Answer(m, optionOnce)
	c.Stop(id)
	shown, _ := c.Tools(from)[0].Content[0].Content.AsText()
	if !strings.HasPrefix(shown, "… ") || !strings.HasSuffix(shown, "row 29998\nrow 29999\n") || len(shown) > maxOutput+100 {
		t.Errorf("%d bytes: %.60q … %q", len(shown), shown, shown[max(0, len(shown)-40):])
	}
}

func TestCancel(t *testing.T) {
	t.Run("while it streams", func(t *testing.T) {
		c := connect(t, 50*time.Millisecond)
		c.Initialize()
		s := c.NewSession(t.TempDir())
		from := c.Count()
		id := c.Prompt(s, "hello")
		c.WaitText(from, "Hello. I ")
		c.Cancel(s)
		if stop := c.Stop(id); stop != acp.StopCancelled {
			t.Errorf("stop reason %s", stop)
		}
	})
	t.Run("with a permission open", func(t *testing.T) {
		c, s, dir := open(t)
		from := c.Count()
		id := c.Prompt(s, "write a.txt x")
		m, _ := c.Permission(from)
		c.Cancel(s)
		if stop := c.Stop(id); stop != acp.StopCancelled {
			t.Errorf("stop reason %s", stop)
		}
		c.Answer(m, optionOnce) // too late
		if text, _ := c.Turn(s, "list"); text != "That is the folder." {
			t.Errorf("next turn %q", text)
		}
		if _, err := os.Stat(filepath.Join(dir, "a.txt")); err == nil {
			t.Error("the file was written")
		}
	})
	t.Run("with a command that ignores SIGTERM in a child", func(t *testing.T) {
		c, s, _ := open(t)
		from := c.Count()
		id := c.Prompt(s, `run (trap "" TERM; echo pid $$; while :; do sleep 0.1; done)`)
		m, _ := c.Permission(from)
		c.Answer(m, optionOnce)
		c.Wait("output", from, func(acp.Message) bool {
			tools := c.Tools(from)
			return len(tools) > 0 && len(tools[0].Content) > 0
		})
		c.Cancel(s)
		if stop := c.Stop(id); stop != acp.StopCancelled {
			t.Errorf("stop reason %s", stop)
		}
		tool := c.Tools(from)[0]
		shown, _ := tool.Content[0].Content.AsText()
		var pid int
		if _, err := fmt.Sscanf(shown, "pid %d", &pid); err != nil || tool.Status != acp.ToolFailed {
			t.Fatalf("%+v: %v", tool, err)
		}
		if err := waitGone(-pid); err != nil {
			t.Error(err)
		}
	})
}

// waitGone waits until a process, or a group as a negative number, is gone.
func waitGone(pid int) error {
	deadline := time.Now().Add(10 * time.Second)
	for syscall.Kill(pid, 0) == nil {
		if time.Now().After(deadline) {
			return fmt.Errorf("process %d is still there", pid)
		}
		time.Sleep(5 * time.Millisecond)
	}
	return nil
}

func TestPlan(t *testing.T) {
	c, s, dir := open(t)
	if err := os.WriteFile(filepath.Join(dir, "a"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	from := c.Count()
	text, _ := c.Turn(s, "plan")
	if !strings.Contains(text, "1 files and 0 folders") {
		t.Errorf("text %q", text)
	}
	var states []string
	for _, u := range c.Updates(from) {
		if u, ok := u.(acp.Plan); ok {
			var row []string
			for _, e := range u.Entries {
				row = append(row, e.Status[:1])
			}
			states = append(states, strings.Join(row, ""))
		}
	}
	if d := cmp.Diff([]string{"ipp", "cip", "cci", "ccc"}, states); d != "" {
		t.Errorf("plans (-want +got):\n%s", d)
	}
}

func TestSessions(t *testing.T) {
	c, s, dir := open(t)
	for name, err := range map[string]*acp.Error{
		"relative folder":  c.Call(acp.MethodSessionNew, acp.NewSessionParams{CWD: "x"}, nil),
		"missing folder":   c.Call(acp.MethodSessionNew, acp.NewSessionParams{CWD: filepath.Join(dir, "none")}, nil),
		"load":             c.Call(acp.MethodSessionLoad, acp.LoadSessionParams{SessionID: s, CWD: dir}, nil),
		"id of another":    c.Call(acp.MethodSessionResume, acp.LoadSessionParams{SessionID: "sess-1", CWD: dir}, nil),
		"unknown session":  c.Call(acp.MethodSessionPrompt, acp.PromptParams{SessionID: idPrefix + "x"}, nil),
		"malformed params": c.Call(acp.MethodSessionNew, []int{1}, nil),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	other := connect(t, 0)
	other.Initialize()
	if err := other.Call(acp.MethodSessionResume, acp.LoadSessionParams{SessionID: s, CWD: dir}, nil); err != nil {
		t.Fatal(err)
	}
	if text, _ := other.Turn(s, "hello again"); !strings.Contains(text, "did not understand") {
		t.Errorf("a resumed session says %q", text)
	}
	first := c.Prompt(s, "write a.txt x")
	if m := c.Response(c.Prompt(s, "list")); m.Error == nil {
		t.Error("a second prompt in a turn was taken")
	}
	if err := c.Call(acp.MethodSessionClose, acp.SessionParams{SessionID: s}, nil); err != nil {
		t.Fatal(err)
	}
	if stop := c.Stop(first); stop != acp.StopCancelled {
		t.Errorf("stop reason %s", stop)
	}
}

func TestProcess(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	start := func(t *testing.T) (*agenttest.Client, *exec.Cmd) {
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), "RUN_AS_AGENT=1")
		return agenttest.Start(t, cmd), cmd
	}
	// A command is running when the agent is told to go, either way.
	for _, how := range []string{"end of input", "SIGTERM"} {
		t.Run(how, func(t *testing.T) {
			c, cmd := start(t)
			c.Initialize()
			s := c.NewSession(t.TempDir())
			from := c.Count()
			c.Prompt(s, "run echo pid $$; sleep 60")
			m, _ := c.Permission(from)
			c.Answer(m, optionOnce)
			var pid int
			c.Wait("output", from, func(acp.Message) bool {
				tools := c.Tools(from)
				if len(tools) == 0 || len(tools[0].Content) == 0 {
					return false
				}
				shown, _ := tools[0].Content[0].Content.AsText()
				_, err := fmt.Sscanf(shown, "pid %d", &pid)
				return err == nil
			})
			if how == "SIGTERM" {
				if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
					t.Fatal(err)
				}
			} else {
				c.CloseInput()
			}
			select {
			case <-c.Done():
			case <-time.After(15 * time.Second):
				t.Fatal("the agent did not end")
			}
			if err := cmd.Wait(); err != nil {
				t.Errorf("ended with %v", err)
			}
			if err := waitGone(pid); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("arguments", func(t *testing.T) {
		cmd := exec.Command(self, "x")
		cmd.Env = append(os.Environ(), "RUN_AS_AGENT=1")
		if out, err := cmd.CombinedOutput(); cmd.ProcessState.ExitCode() != 2 || !strings.Contains(string(out), "Agent Client Protocol") {
			t.Errorf("%v, %s", err, out)
		}
	})
}

func TestNothingStaysOpen(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("counts descriptors in /proc")
	}
	count := func() int {
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	c, s, _ := open(t)
	turn := func() {
		from := c.Count()
		id := c.Prompt(s, "run true")
		if len(c.Tools(0)) <= 1 {
			m, _ := c.Permission(from)
			c.Answer(m, optionAlways)
		}
		c.Stop(id)
		c.Turn(s, "list")
		c.Turn(s, "read none")
	}
	turn()
	before := count()
	for range 20 {
		turn()
	}
	if after := count(); after > before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

func TestWords(t *testing.T) {
	for _, text := range []string{"", "a", " a  b\n\nc ", "日本 x"} {
		list := words(text)
		if got := strings.Join(list, ""); got != text {
			t.Errorf("words(%q) join to %q", text, got)
		}
	}
	if d := cmp.Diff([]string{"a  ", "b\n\n", "c"}, words("a  b\n\nc")); d != "" {
		t.Error(d)
	}
}

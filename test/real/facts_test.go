package real

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/internal/acp"
	"github.com/holdfast-dev/holdfast/test/agent/agenttest"
	"github.com/holdfast-dev/holdfast/test/agent/script"
	"github.com/holdfast-dev/holdfast/test/mockmodel"
)

// TestFacts asks the real agents what the catalogue believes of them.
func TestFacts(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: takes minutes")
	}
	t.Parallel()
	for name, prepare := range map[string]func(testing.TB, *mockmodel.Server, string) Agent{"opencode": OpenCode, "hermes": Hermes} {
		t.Run(name, func(t *testing.T) {
			a := prepare(t, model(t), t.TempDir())
			dir := t.TempDir()

			t.Run("load of an unknown session", func(t *testing.T) {
				c := start(t, a, dir)
				c.Initialize()
				m := c.Response(c.Request(acp.MethodSessionLoad, acp.LoadSessionParams{SessionID: "ses_0000000000000000000000", CWD: dir}))
				t.Logf("result %s, error %v", m.Result, m.Error)
				if name == "hermes" && (m.Error != nil || strings.Contains(string(m.Result), "modes")) {
					t.Error("want a success without modes")
				}
				if name == "opencode" && m.Error == nil {
					t.Error("want an error")
				}
			})

			t.Run("long line, edit, end of input", func(t *testing.T) {
				c := start(t, a, dir)
				c.Initialize()
				s := c.NewSession(dir)
				if text, stop := c.Turn(s, "say got it\n"+strings.Repeat("x", 200<<10)); strings.TrimSpace(text) != "got it" {
					t.Errorf("%s, %q", stop, text)
				}
				from := c.Count()
				tool, arg := "write_file", "path"
				if name == "opencode" {
					tool, arg = "write", "filePath"
				}
				id := c.Prompt(s, fmt.Sprintf("call %s {%q:%q,\"content\":\"new text\\n\"}\nsay after", tool, arg, filepath.Join(dir, "new.txt")))
				ask, p := c.Permission(from)
				for _, content := range p.ToolCall.Content {
					t.Logf("id %s, call %s, content %s %+v", ask.ID, p.ToolCall.ID, content.Type, content.Diff)
				}
				t.Logf("options %+v, raw input %s", p.Options, p.ToolCall.RawInput)
				c.Answer(ask, a.Allow)
				c.Stop(id)
				if b, err := os.ReadFile(filepath.Join(dir, "new.txt")); err != nil || string(b) != "new text\n" {
					t.Errorf("file %q, %v", b, err)
				}
				for _, u := range c.Updates(from) {
					t.Logf("%T %.400s", u, fmt.Sprintf("%+v", u))
				}
				from = c.Count()
				c.Prompt(s, fmt.Sprintf("call %s {\"command\":%q,\"description\":\"d\"}\nsay after", a.Tool, a.Danger))
				c.Permission(from)
				began := time.Now()
				c.CloseInput()
				<-c.Done()
				t.Logf("ended %v after the end of its input, a permission open", time.Since(began).Round(time.Millisecond))
			})

			t.Run("SIGKILL while it streams, then load", func(t *testing.T) {
				cmd := a.Cmd(dir)
				c := agenttest.Start(t, cmd)
				c.Timeout = 90 * time.Second
				c.Initialize()
				s := c.NewSession(dir)
				c.Turn(s, "say first")
				from := c.Count()
				c.Prompt(s, "stream 300 20ms seed=4")
				c.WaitText(from, script.Text(4, 20))
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
				<-c.Done()
				c = start(t, a, dir)
				c.Initialize()
				if err := c.Call(acp.MethodSessionLoad, acp.LoadSessionParams{SessionID: s, CWD: dir}, nil); err != nil {
					t.Fatal(err)
				}
				for _, u := range c.Updates(0) {
					t.Logf("replayed %T %.160s", u, fmt.Sprintf("%+v", u))
				}
				// Hermes Agent puts the prompt that has no answer in front of
				// the next one, so the old script runs again.
				text, stop := c.Turn(s, "say still here")
				t.Logf("next turn: %s, %.60q … %.40q", stop, text, text[max(0, len(text)-40):])
				if !strings.HasSuffix(strings.TrimSpace(text), "still here") {
					t.Errorf("next turn %q", text)
				}
			})
		})
	}
}

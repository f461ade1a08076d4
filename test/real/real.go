// Package real knows how to run real agents against the mock model: where
// setup.sh puts them, and the configuration that each needs to ask no one
// else. Tests of the whole host use it, too.
package real

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/holdfast-dev/holdfast/internal/agent"
	"github.com/holdfast-dev/holdfast/test/mockmodel"
)

// Agent is a real agent, ready to be started.
type Agent struct {
	Name string
	// Command is the program and its arguments.
	Command []string
	// Env is its whole environment, as name=value.
	Env []string
	// Tool, Danger and Allow are what the tests know of it: the name of its
	// shell tool, a command that it asks about, and the option that allows
	// that once.
	Tool, Danger, Allow, Reject string
}

// Cmd is the command that starts the agent in a folder.
func (a Agent) Cmd(dir string) *exec.Cmd {
	cmd := exec.Command(a.Command[0], a.Command[1:]...)
	cmd.Dir, cmd.Env = dir, a.Env
	return cmd
}

// Cache is the folder that setup.sh fills.
func Cache() string {
	if dir := os.Getenv("HOLDFAST_TEST_CACHE"); dir != "" {
		return dir
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, ".cache", "holdfast-test")
}

// program returns the path of an installed program. Where it lacks, the test
// is skipped with the remedy, and fails under CI=true.
func program(tb testing.TB, path ...string) string {
	tb.Helper()
	p := filepath.Join(append([]string{Cache()}, path...)...)
	if _, err := os.Stat(p); err != nil {
		const text = "the real agent %s is not installed: run test/real/setup.sh"
		if os.Getenv("CI") == "true" {
			tb.Fatalf(text, p)
		}
		tb.Skipf("SKIPPED: "+text, p)
	}
	return p
}

// write writes a file of a test's home.
func write(tb testing.TB, path string, data []byte) {
	tb.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		tb.Fatal(err)
	}
}

// environment is the least that an agent needs; nothing of the developer's own
// configuration or keys gets in.
func environment(home string, more ...string) []string {
	return append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + home, "LANG=C.UTF-8", "TMPDIR=" + filepath.Join(home, "tmp"),
		"XDG_CONFIG_HOME=" + filepath.Join(home, ".config"), "XDG_DATA_HOME=" + filepath.Join(home, ".local", "share"),
		"XDG_CACHE_HOME=" + filepath.Join(home, ".cache"), "XDG_STATE_HOME=" + filepath.Join(home, ".local", "state"),
	}, more...)
}

// OpenCode prepares a home in which OpenCode talks to the model and asks
// before commands and edits.
func OpenCode(tb testing.TB, model *mockmodel.Server, home string) Agent {
	tb.Helper()
	path := program(tb, "opencode", "node_modules", ".bin", "opencode")
	config, err := json.Marshal(map[string]any{
		"model": "mock/m", "small_model": "mock/m", "autoupdate": false, "share": "disabled",
		"permission": map[string]any{"bash": "ask", "edit": "ask"},
		"provider": map[string]any{"mock": map[string]any{
			"npm":     "@ai-sdk/openai-compatible",
			"options": map[string]any{"baseURL": model.URL(), "apiKey": "k"},
			"models":  map[string]any{"m": map[string]any{"tool_call": true, "limit": map[string]any{"context": 128000, "output": 8000}}},
		}},
	})
	if err != nil {
		tb.Fatal(err)
	}
	file := filepath.Join(home, "opencode.json")
	write(tb, file, config)
	write(tb, filepath.Join(home, "tmp", ".keep"), nil)
	return Agent{
		Name: "opencode", Command: []string{path, "acp"},
		Env:  environment(home, "OPENCODE_CONFIG="+file, "OPENCODE_DISABLE_AUTOUPDATE=1", "OPENCODE_DISABLE_MODELS_FETCH=1"),
		Tool: "bash", Danger: "rm -r ./gone", Allow: "once", Reject: "reject",
	}
}

const hermesConfig = `model: {default: mock-model, provider: custom, base_url: %q, api_key: test-key, context_length: 131072}
approvals: {mode: manual}
security: {tirith_enabled: false, allow_lazy_installs: false}
auxiliary: {title_generation: {enabled: false}}
memory: {memory_enabled: false, user_profile_enabled: false, nudge_interval: 0}
skills: {creation_nudge_interval: 0}
model_catalog: {enabled: false}
agent: {api_max_retries: 1}
`

// Hermes prepares a home in which Hermes Agent talks to the model and asks
// before dangerous commands and edits.
func Hermes(tb testing.TB, model *mockmodel.Server, home string) Agent {
	tb.Helper()
	path := program(tb, "hermes", "bin", "hermes-acp")
	write(tb, filepath.Join(home, "hermes", "config.yaml"), fmt.Appendf(nil, hermesConfig, model.URL()))
	write(tb, filepath.Join(home, "tmp", ".keep"), nil)
	return Agent{
		Name: "hermes", Command: []string{path},
		Env:  environment(home, "HERMES_HOME="+filepath.Join(home, "hermes")),
		Tool: "terminal", Danger: "rm -r ./gone", Allow: "allow_once", Reject: "deny",
	}
}

// HermesPatient is Hermes started as Holdfast starts it, with
// agent.HermesPatience.
func HermesPatient(tb testing.TB, model *mockmodel.Server, home string) Agent {
	tb.Helper()
	a := Hermes(tb, model, home)
	a.Name = "hermes, patient"
	a.Command = []string{program(tb, "hermes", "bin", "python"), "-P", "-c", agent.HermesPatience}
	return a
}

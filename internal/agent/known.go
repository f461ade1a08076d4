package agent

import (
	"fmt"
	"strings"
	"time"
)

// TourID is the id of the built-in agent.
const TourID = "tour"

// entry is an agent as the catalogue knows it, before it was found.
type entry struct {
	Agent
	// get is where Agent.Install comes from.
	get Way

	// commands are the names to look for, best first, each with its
	// arguments.
	commands [][]string
	// places are further paths of the first command, under the home folder.
	places []string
	// instead is a command that shows that the person has the product but not
	// what speaks ACP for it; hint says what is missing then.
	instead, hint string
	// find replaces the search along PATH.
	find func(c *Catalogue, env map[string]string) (place, bool)

	// version are the arguments that print the version; nil: it is not asked.
	version []string
	// versionOptional: a failure to tell the version does not mean that it is
	// broken.
	versionOptional bool
	// check are arguments that must succeed for the command to be this agent
	// and not another program of that name.
	check []string

	// unset are variables that the agent must not see; a final * is a prefix.
	unset []string
	// defaults are variables set where nobody has set them.
	defaults map[string]string

	// Of config.toml, or the built-in one:
	command    []string
	set        map[string]string
	configured bool
}

// missing says for a person why the agent cannot be started and what to do.
func (e *entry) missing(err error) string {
	if e.configured {
		return fmt.Sprintf("%v. Correct the command of [agents.%s] in config.toml", err, e.ID)
	}
	return fmt.Sprintf("%v. %s", err, e.Install)
}

func lookUp(id string) (entry, bool) {
	for _, e := range catalogue() {
		if e.ID == id {
			return e, true
		}
	}
	return entry{}, false
}

// Way is the official way to install an agent.
type Way struct {
	ID, Name string
	Command  string // a line for a shell; "" where there is only the page
	Page     string // where its makers, or the registry, tell of it
}

// Ways lists how each known agent is installed, in the order of the catalogue.
func Ways() []Way {
	var ways []Way
	for _, e := range catalogue() {
		w := e.get
		w.ID, w.Name = e.ID, e.Name
		ways = append(ways, w)
	}
	return ways
}

// text tells a person.
func (w Way) text() string {
	if w.Command == "" {
		return "How to install it: " + w.Page
	}
	return "Install it with: " + w.Command
}

func npm(pkg string) Way {
	return Way{Command: "npm install -g " + pkg, Page: "https://www.npmjs.com/package/" + pkg}
}

func tour() entry {
	return entry{Agent: Agent{
		ID: TourID, Name: "Tour", Resume: ResumeAdvertised,
	}}
}

// catalogue is the data. What stands here was seen with the version that the
// comment names, or is the agent's own documentation where it says so.
func catalogue() []entry {
	all := known()
	for i := range all {
		all[i].Install = all[i].get.text()
	}
	return all
}

func known() []entry {
	return []entry{
		{
			// Hermes Agent 0.19.0 and 0.20.3, read in source. session/resume
			// makes a new session of an unknown id without a word; load of an
			// unknown id succeeds with an empty result. Modes are not kept.
			Agent: Agent{
				ID: "hermes", Name: "Hermes Agent",
				Resume: ResumeLoad, LoadNeedsModes: true,
				Ask:                []Setting{{Kind: SettingMode, Value: "default"}},
				AskNote:            "approvals.mode in Hermes' config.yaml decides which commands ask: by default (smart) a model judges first, manual always asks.",
				PermissionDeadline: 60 * time.Second,
				Forks:              true,
				Steering:           hermesSteering(),
				LoginSetup:         "hermes-setup",
				Login:              "Run in a terminal: hermes setup",
			},
			get: Way{
				Command: "curl -fsSL https://raw.githubusercontent.com/NousResearch/hermes-agent/main/scripts/install.sh | bash",
				Page:    "https://github.com/NousResearch/hermes-agent",
			},
			commands: [][]string{{"hermes-acp"}, {"hermes", "acp"}},
			find:     findHermes,
			unset: []string{
				"HERMES_SESSION_*", "HERMES_YOLO_MODE", "HERMES_INTERACTIVE", "TERMINAL_CWD", "PYTHONPATH", "PYTHONHOME",
			},
			defaults: map[string]string{"LANG": "C.UTF-8"},
		},
		{
			// 1.18.33.
			Agent: Agent{
				ID: "opencode", Name: "OpenCode", Resume: ResumeResume, Forks: true, Descriptors: 58,
				AskNote: "permission in opencode.json decides which tools ask.",
				Login:   "Run in a terminal: opencode auth login",
			},
			get:      npm("opencode-ai"),
			commands: [][]string{{"opencode", "acp"}},
			places:   []string{".opencode/bin/opencode"},
			version:  []string{"--version"},
		},
		{
			// claude-agent-acp 0.101.0. Left alone, a classifier decides.
			Agent: Agent{
				ID: "claude", Name: "Claude Code", Resume: ResumeLoad, Forks: true, Descriptors: 41,
				Ask:   []Setting{{Kind: SettingOption, ID: "mode", Value: "default"}},
				Login: "Run in a terminal: claude, then /login",
			},
			get:      npm("@agentclientprotocol/claude-agent-acp"),
			commands: [][]string{{"claude-agent-acp"}},
			instead:  "claude",
			hint:     "Claude Code is here; the adapter that speaks ACP for it is not",
			version:  []string{"--version"},
			// A host that was started from a terminal inside Claude Code must
			// not hand that on: a nested one refuses to start.
			unset: []string{"CLAUDECODE", "CLAUDE_CODE_ENTRYPOINT"},
		},
		{
			// codex-acp 2.6.0. Left alone, a model reviews. An older adapter
			// of the same name has no --version.
			Agent: Agent{
				ID: "codex", Name: "Codex", Resume: ResumeLoad, Forks: true, Descriptors: 89,
				Ask:   []Setting{{Kind: SettingOption, ID: "mode", Value: "workspace-write"}},
				Login: "Run in a terminal: codex login",
			},
			get:             npm("@agentclientprotocol/codex-acp"),
			commands:        [][]string{{"codex-acp"}},
			instead:         "codex",
			hint:            "Codex is here; the adapter that speaks ACP for it is not",
			version:         []string{"--version"},
			versionOptional: true,
		},
		{
			// 0.61.0. session/load in the clock minute of the session's
			// creation fails and overwrites its history.
			Agent: Agent{
				ID: "gemini", Name: "Gemini CLI", Resume: ResumeLoad, LoadAfter: 75 * time.Second, Descriptors: 40,
				Login: "Run in a terminal: gemini, and choose how to log in; or set GEMINI_API_KEY",
			},
			get:      npm("@google/gemini-cli"),
			commands: [][]string{{"gemini", "--acp"}},
			version:  []string{"--version"},
		},
		{
			// 0.24.4. A load falls back to mode auto.
			Agent: Agent{
				ID: "qwen", Name: "Qwen Code", Resume: ResumeLoad, Descriptors: 72,
				Ask:   []Setting{{Kind: SettingOption, ID: "mode", Value: "default"}},
				Login: "Run in a terminal: qwen, and choose how to log in; or set OPENAI_API_KEY",
			},
			get:      npm("@qwen-code/qwen-code"),
			commands: [][]string{{"qwen", "--acp"}},
			version:  []string{"--version"},
		},
		{
			// 1.0.102. It does not report resume.
			Agent: Agent{
				ID: "copilot", Name: "GitHub Copilot", Resume: ResumeLoad, Descriptors: 66,
				Login: "Run in a terminal: copilot, then /login",
			},
			get:      npm("@github/copilot"),
			commands: [][]string{{"copilot", "--acp"}},
			version:  []string{"--version"},
		},
		{
			// 7.7.7, a fork of OpenCode.
			Agent: Agent{
				ID: "kilo", Name: "Kilo Code", Resume: ResumeResume, Forks: true, Descriptors: 60,
				AskNote: "permission in kilo.json decides which tools ask.",
				Login:   "Run in a terminal: kilo auth login",
			},
			get:      npm("@kilocode/cli"),
			commands: [][]string{{"kilo", "acp"}},
			version:  []string{"--version"},
		},
		{
			// From its documentation only. Its default mode never asks. A
			// database migration tool has the same name.
			Agent: Agent{
				ID: "goose", Name: "Goose",
				Login: "Run in a terminal: goose configure",
			},
			get:      Way{Page: "https://block.github.io/goose/docs/getting-started/installation"},
			commands: [][]string{{"goose", "acp"}},
			places:   []string{".local/bin/goose", ".cargo/bin/goose"},
			check:    []string{"acp", "--help"},
			version:  []string{"--version"},
			defaults: map[string]string{"GOOSE_MODE": "approve"},
		},
		{
			// 0.36.0, no turn was seen.
			Agent: Agent{
				ID: "auggie", Name: "Auggie",
				Login: "Run in a terminal: auggie login",
			},
			get:      npm("@augmentcode/auggie"),
			commands: [][]string{{"auggie", "--acp"}},
			version:  []string{"--version"},
		},
		{
			// 3.0.65, no turn was seen.
			Agent: Agent{
				ID: "cline", Name: "Cline",
				Login: "Run in a terminal: cline auth",
			},
			get:      npm("cline"),
			commands: [][]string{{"cline", "--acp"}},
			version:  []string{"--version"},
		},
	}
}

// matches tells whether the variable name is one of the patterns.
func matches(name string, patterns []string) bool {
	for _, p := range patterns {
		if prefix, ok := strings.CutSuffix(p, "*"); ok && strings.HasPrefix(name, prefix) || p == name {
			return true
		}
	}
	return false
}

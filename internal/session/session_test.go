package session

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/holdfast-dev/holdfast/internal/acp"
	"github.com/holdfast-dev/holdfast/internal/agent"
	"github.com/holdfast-dev/holdfast/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTitleOf(t *testing.T) {
	long := strings.Repeat("word ", 40)
	for in, want := range map[string]string{
		"hello":               "hello",
		"  two\nlines ":       "two",
		"many   spaces\there": "many spaces here",
		long:                  strings.TrimSpace(strings.Repeat("word ", 16)) + "…",
	} {
		if got := titleOf(in); got != want {
			t.Errorf("titleOf(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestCutKeepsCharactersWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.String().Draw(t, "s")
		limit := rapid.IntRange(utf8.UTFMax, 20).Draw(t, "limit")
		rest, joined := s, ""
		for rest != "" {
			n := cut(rest, limit)
			if n <= 0 || n > limit {
				t.Fatalf("cut %q at %d of %d", rest, n, limit)
			}
			if utf8.ValidString(s) && !utf8.ValidString(rest[:n]) {
				t.Fatalf("cut %q in a character", rest)
			}
			joined, rest = joined+rest[:n], rest[n:]
		}
		if joined != s {
			t.Fatalf("%q came back as %q", s, joined)
		}
	})
}

func texts(list ...string) []acp.ToolContent {
	var out []acp.ToolContent
	for _, s := range list {
		out = append(out, acp.TextContent(s))
	}
	return out
}

func TestGrowth(t *testing.T) {
	for _, c := range []struct {
		name     string
		old, now []acp.ToolContent
		grown    *store.ToolAppend
		same     bool
	}{
		{"equal", texts("a"), texts("a"), nil, true},
		{"grown", texts("a", "b"), texts("a", "bc"), &store.ToolAppend{Index: 1, Text: "c"}, false},
		{"changed", texts("a"), texts("b"), nil, false},
		{"shrunk", texts("ab"), texts("a"), nil, false},
		{"one more", texts("a"), texts("a", "b"), nil, false},
		{"two grown", texts("a", "b"), texts("aa", "bb"), nil, false},
		{"a diff", texts("a"), []acp.ToolContent{acp.DiffContent("f", nil, "x")}, nil, false},
		{"from nothing", nil, texts("a"), nil, false},
	} {
		grown, same := growth(c.old, c.now)
		if diff := cmp.Diff(c.grown, grown); diff != "" || same != c.same {
			t.Errorf("%s: same %t, want %t; %s", c.name, same, c.same, diff)
		}
	}
}

func TestResumeBy(t *testing.T) {
	can := &acp.Capability{}
	both := acp.AgentCapabilities{LoadSession: true, SessionCapabilities: acp.SessionCapabilities{Resume: can}}
	loads := acp.AgentCapabilities{LoadSession: true}
	for _, c := range []struct {
		name string
		a    agent.Agent
		caps acp.AgentCapabilities
		age  time.Duration
		want agent.Resume
	}{
		{"resumes rightly", agent.Agent{Resume: agent.ResumeResume}, both, 0, agent.ResumeResume},
		{"should resume, cannot", agent.Agent{Resume: agent.ResumeResume}, loads, 0, agent.ResumeNone},
		{"resume is wrong there", agent.Agent{Resume: agent.ResumeLoad}, both, 0, agent.ResumeLoad},
		{"too young to load", agent.Agent{Resume: agent.ResumeLoad, LoadAfter: time.Minute}, both, time.Second, agent.ResumeNone},
		{"nobody knows", agent.Agent{}, both, 0, agent.ResumeResume},
		{"nobody knows, loads", agent.Agent{}, loads, 0, agent.ResumeLoad},
		{"nobody knows, nothing", agent.Agent{}, acp.AgentCapabilities{}, 0, agent.ResumeNone},
		{"neither is right", agent.Agent{Resume: agent.ResumeNone}, both, 0, agent.ResumeNone},
	} {
		if got := resumeBy(c.a, c.caps, c.age); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestSettingIsMadeWhereOffered(t *testing.T) {
	offered := acp.SessionSettings{
		Modes:         &acp.Modes{AvailableModes: []acp.Mode{{ID: "default"}}},
		ConfigOptions: []acp.ConfigOption{{ID: "mode"}},
	}
	for _, c := range []struct {
		set    agent.Setting
		method string
	}{
		{agent.Setting{Kind: agent.SettingMode, Value: "default"}, acp.MethodSetMode},
		{agent.Setting{Kind: agent.SettingMode, Value: "other"}, ""},
		{agent.Setting{Kind: agent.SettingOption, ID: "mode", Value: "default"}, acp.MethodSetConfigOption},
		{agent.Setting{Kind: agent.SettingOption, ID: "no", Value: "default"}, ""},
	} {
		if method, _, ok := settingRequest(c.set, "s", offered); method != c.method || ok != (c.method != "") {
			t.Errorf("%+v: %q %t, want %q", c.set, method, ok, c.method)
		}
	}
}

func TestApprovalOf(t *testing.T) {
	title := "Run it"
	req := acp.PermissionRequest{
		ToolCall: acp.ToolCallUpdate{ID: "c", Title: &title},
		Options:  []acp.PermissionOption{{OptionID: "once", Name: "Once", Kind: acp.AllowOnce}},
	}
	known := &acp.ToolCall{ID: "c", Title: "before", RawInput: json.RawMessage(`{"command":["ls","-l"]}`)}
	got, detail, options := approvalOf(req, known)
	var d struct {
		Command string `json:"command"`
	}
	if err := json.Unmarshal(detail, &d); err != nil {
		t.Fatal(err)
	}
	if got != title || d.Command != "ls -l" {
		t.Errorf("title %q, command %q: what the call said before counts where the question is silent", got, d.Command)
	}
	if diff := cmp.Diff([]store.ApprovalOption{{ID: "once", Name: "Once", Kind: "allow_once"}}, options); diff != "" {
		t.Error(diff)
	}
}

func TestCommandOf(t *testing.T) {
	for in, want := range map[string]string{
		`{"command":"rm -r x"}`:         "rm -r x",
		`{"cmd":"ls"}`:                  "ls",
		`{"command":["sh","-c","a b"]}`: "sh -c a b",
		`{"command":7}`:                 "",
		`{"path":"x"}`:                  "",
		`not json`:                      "",
		``:                              "",
	} {
		if got := commandOf(json.RawMessage(in)); got != want {
			t.Errorf("commandOf(%s) = %q, want %q", in, got, want)
		}
	}
}

// TestHoldsNest: who ends a hold of his own ends nobody else's.
func TestHoldsNest(t *testing.T) {
	m := NewManager(Options{})
	first, second := m.Hold(), m.Hold()
	first()
	first() // which may be said twice
	if !m.Held() {
		t.Fatal("the end of one hold ended the other")
	}
	passed := make(chan bool, 1)
	go func() { passed <- m.pass(t.Context()) }()
	second()
	if ok := <-passed; !ok || m.Held() {
		t.Errorf("passed: %v, held: %v", ok, m.Held())
	}
}

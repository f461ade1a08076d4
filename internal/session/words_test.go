package session

import (
	"encoding/json"
	"errors"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-dev/holdfast/internal/keeper"
	"github.com/holdfast-dev/holdfast/internal/ledger"
)

var update = flag.Bool("update", false, "write the list of sentences anew")

// sentences is the list by which a test of the page holds its catalogues to the
// codes and their values.
const sentences = "../../web/src/i18n/said.json"

// samples says each sentence at least once, and each that has parts with and
// without them.
func samples() []words {
	why := errors.New("no such file")
	over := func(code string, with args) ledger.Finding {
		return ledger.Finding{Code: code, Args: with, Text: map[string]string{
			ledger.CodeAgent:       "Script held 900 descriptors, more than the 800 that it may (890 × file /tmp/x)",
			ledger.CodeAgentMemory: "Script used 2 kB of memory, more than the 1 kB that it may",
		}[code]}
	}
	return []words{
		sayRewound(), sayBegunAnew(), sayHostRestarted(time.Date(2026, 11, 24, 14, 31, 52, 0, time.UTC)), sayCompacted(),
		sayAgentError(), sayPrinted(), sayNoStopReason(), sayRecordUnreadable(), saySpoolUnreadable(why), sayUnknownPast(),
		sayAgentSessionNew(), saySettingRefused(), sayMissing(why), sayNeedsLogin(why, ""), sayNeedsLogin(why, "Run `script login`."),
		saySessionNotBegun(why),
		sayExit("Script", keeper.Exit{Reason: keeper.ReasonStart, Error: "no such file"}),
		sayExit("Script", keeper.Exit{Reason: keeper.ReasonLease}),
		sayExit("Script", keeper.Exit{Reason: keeper.ReasonAsked}),
		sayExit("Script", keeper.Exit{Reason: keeper.ReasonSignal}),
		sayExit("Script", keeper.Exit{Signal: "killed"}),
		sayExit("Script", keeper.Exit{Code: 3}),
		sayKeeperKilled(), sayKeeperNotStarted(why), sayMismatch("line 7 is another one"),
		sayTrouble(keeper.Status{Kind: keeper.StatusSpoolFull}),
		sayTrouble(keeper.Status{Kind: keeper.StatusDiskFull, Text: "begin a segment: no space left on device"}),
		sayTrouble(keeper.Status{Kind: keeper.StatusRecovered}),
		sayReplaced(over(ledger.CodeAgent, args{"name": "Script", "files": 900, "limit": 800, "most": "890 × file /tmp/x"})),
		sayReplaced(over(ledger.CodeAgentMemory, args{"name": "Script", "bytes": 2048, "limit_bytes": 1024})),
		sayEndedForFiles(), sayMadeRoom(), sayPlacesTaken(2, []string{"“One”", "“Two”"}), sayProcessesLeft(2, "make (41), sh (42)"),
		sayTakenOut(), sayStoppedBefore(), saySessionDeleted(),
		sayRunEnded(), sayRunStopped(), sayRunInterrupted(), sayAgentGone(), sayAskedAnew(), sayTakenBack(),
		standing{what: "mode", wanted: "Plan"}.unset(false),
		standing{what: "model", wanted: "Large", now: "Small"}.unset(false),
		standing{what: "option", option: "Depth", wanted: "3", now: "1"}.unset(true),
		standing{what: "mode", wanted: "Plan", now: "Ask"}.unset(true),
	}
}

// TestSentences writes down what the page is held to, and that it is all: no
// code is made elsewhere than by say, in words.go.
func TestSentences(t *testing.T) {
	type sample struct {
		Code string `json:"code"`
		Args args   `json:"args,omitempty"`
		Text string `json:"text"`
	}
	var list []sample
	have := map[string]bool{}
	for _, w := range samples() {
		list = append(list, sample{w.Code, w.Args, w.text})
		have[w.Code] = true
		for name, value := range w.Args {
			switch value.(type) {
			case string, int, int64, time.Time:
			default:
				t.Errorf("%s: %s is neither a text nor a number", w.Code, name)
			}
		}
	}
	said := codesSaid(t)
	if diff := cmp.Diff(slices.Sorted(maps.Keys(have)), said); diff != "" {
		t.Errorf("the codes of the samples above and those that words.go says (-have +said):\n%s", diff)
	}
	got, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	if *update {
		if err := os.WriteFile(sentences, got, 0o644); err != nil { //nolint:gosec // a file of the source
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(sentences)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s is not what the host says; run the test with -update, and give each new code its words in en.ts and de.ts\n%s", sentences, diff)
	}
}

// codesSaid reads the codes out of the calls of say, and fails where words with
// a code are made in another file.
func codesSaid(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var codes []string
	set := token.NewFileSet()
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(set, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if made, ok := n.(*ast.SelectorExpr); ok && made.Sel.Name == "Said" && name != "words.go" {
				if of, ok := made.X.(*ast.Ident); ok && of.Name == "store" {
					t.Errorf("%s: a code is given in words.go only", set.Position(made.Pos()))
				}
			}
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if f, ok := call.Fun.(*ast.Ident); !ok || f.Name != "say" {
				return true
			}
			code, ok := call.Args[0].(*ast.BasicLit)
			if !ok || name != "words.go" {
				t.Errorf("%s: say is called in words.go only, with the code as it stands", set.Position(call.Pos()))
				return true
			}
			text, err := strconv.Unquote(code.Value)
			if err != nil {
				t.Fatal(err)
			}
			codes = append(codes, text)
			return true
		})
	}
	slices.Sort(codes)
	return slices.Compact(codes)
}

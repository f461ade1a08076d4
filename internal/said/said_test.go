package said

import (
	"encoding/json"
	"errors"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the list of sentences anew")

// sentences is the list by which a test of the page holds its catalogues to the
// codes and their values.
const sentences = "../../web/src/i18n/said.json"

// samples says each sentence at least once, and each that has parts with and
// without them.
func samples() []Words {
	why, at := errors.New("no such file"), time.Date(2026, 11, 24, 14, 31, 52, 0, time.UTC)
	return []Words{
		Rewound(), BegunAnew(), HostRestarted(at), Compacted(),
		AgentError(), Printed(), NoStopReason(), RecordUnreadable(), SpoolUnreadable(why), UnknownPast(),
		AgentSessionNew(), SettingRefused(), Missing(why), NeedsLogin(why, ""), NeedsLogin(why, "Run `script login`."),
		SessionNotBegun(why),
		NotStarted("Script", "no such file"), LeftAlone("Script"), EndedOnRequest("Script"), KeeperStopped("Script"),
		Signalled("Script", "killed"), Exited("Script", 3),
		KeeperKilled(), KeeperNotStarted(why), Mismatch("line 7 is another one"),
		SpoolFull(), DiskFull("begin a segment: no space left on device"), Recovered(),
		Replaced("Script", 900, 800, "890 × file /tmp/x"), ReplacedForMemory("Script", 6.5e9, 6e9),
		EndedForFiles(), MadeRoom(), PlacesTaken(2, []string{"“One”", "“Two”"}), ProcessesLeft(2, "make (41), sh (42)"),
		TakenOut(), StoppedBefore(), SessionDeleted(),
		RunEnded(), RunStopped(), RunInterrupted(), AgentGone(), AskedAnew(), TakenBack(),
		Unset{What: "mode", Wanted: "Plan"}.Unavailable(),
		Unset{What: "model", Wanted: "Large", Now: "Small"}.Unavailable(),
		Unset{What: "option", Option: "Depth", Wanted: "3", Now: "1"}.Refused(),
		Unset{What: "mode", Wanted: "Plan", Now: "Ask"}.Refused(),

		SafeMode(3, 10, at, ""), SafeMode(3, 10, at, "out of memory"), NotStored("no such table."),
		Writes{Since: 5 * time.Second, Disk: "/dev/x", Stalled: true}.Stuck(),
		Writes{Since: 5 * time.Second, Disk: "/dev/x", DiskErr: why}.Stuck(),
		Writes{Failed: errors.New("no such table"), Disk: "/dev/x", DiskErr: why}.Stuck(),
		Writes{Since: 5 * time.Second, Disk: "/dev/x"}.Stuck(),
		Writes{Failed: errors.New("no such table"), Disk: "/dev/x"}.Stuck(),
		DiskStalled("/dev/x"), Deaf("no answer in 2s"), ProbeBroke(), ListUnreadable(), DiskSlow(),
		Twice(90, 40, "50 × file /tmp/x"), Growth(12, "12 × file /tmp/x"), OwnerLeak("store", 9, "sqlite", 4),
		NearLimit(700, 1000, 90), AtLimit(910, 1000, 60), Memory(431e6, 400e6), Goroutines(500, 200), WAL(70.4e6),
		DiskLow(1.24e9, 200e6), DiskReadOnly(996_000, 220e6), Agents(300, 100, "Script", "One", 250, "240 × file /tmp/x"),
	}
}

// TestSentences writes down what the page is held to, and that it is all: no
// code is made elsewhere than by say, here.
func TestSentences(t *testing.T) {
	type sample struct {
		Code string `json:"code"`
		Args args   `json:"args,omitempty"`
		Text string `json:"text"`
	}
	var list []sample
	have := map[string]bool{}
	for _, w := range samples() {
		list = append(list, sample{w.Code, w.Args, w.Text})
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

// codesSaid reads the codes out of the calls of say, and fails where another
// package gives a sentence a code.
func codesSaid(t *testing.T) []string {
	t.Helper()
	var codes []string
	set := token.NewFileSet()
	err := filepath.WalkDir("..", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(set, path, nil, 0)
		if err != nil {
			return err
		}
		ours := strings.HasPrefix(path, filepath.Join("..", "said")+string(filepath.Separator))
		ast.Inspect(file, func(n ast.Node) bool {
			if made, ok := n.(*ast.CompositeLit); ok && !ours && len(made.Elts) > 0 && isSaid(made.Type) {
				t.Errorf("%s: a sentence is given its code in package said only", set.Position(made.Pos()))
			}
			call, ok := n.(*ast.CallExpr)
			if !ok || !ours {
				return true
			}
			if f, ok := call.Fun.(*ast.Ident); !ok || f.Name != "say" {
				return true
			}
			code, ok := call.Args[0].(*ast.BasicLit)
			if !ok {
				t.Errorf("%s: say is told the code as it stands", set.Position(call.Pos()))
				return true
			}
			codes = append(codes, strings.Trim(code.Value, `"`))
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(codes)
	return slices.Compact(codes)
}

// isSaid tells whether a type is store.Said.
func isSaid(of ast.Expr) bool {
	made, ok := of.(*ast.SelectorExpr)
	if !ok || made.Sel.Name != "Said" {
		return false
	}
	from, ok := made.X.(*ast.Ident)
	return ok && from.Name == "store"
}

func TestSize(t *testing.T) {
	for n, want := range map[int64]string{0: "0 kB", 740_400: "740 kB", 1e6: "1 MB", 4_249_000: "4.2 MB", 69_300_000: "69 MB", 200e6: "200 MB", 1_240_000_000: "1.2 GB", 2e9: "2 GB", 98_700_000_000: "99 GB"} {
		if got := Size(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

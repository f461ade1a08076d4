// Package layout checks the shape of the code: which package may import which,
// and what only one package may touch.
package layout

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/holdfast-dev/holdfast/"

// rooms lists the packages from the top of the house to its ground
// (docs/architecture.md, section 10). A package imports only what stands below
// it.
var rooms = []string{
	"cmd/holdfast",
	"packaging/release",
	"internal/app",
	"internal/cli",
	"internal/httpapi",
	"internal/access",
	"internal/session",
	"internal/agent",
	"internal/builtin",
	"internal/acp",
	"internal/keeper",
	"internal/ledger",
	"internal/probe",
	"internal/doctor",
	"internal/watch",
	"internal/supervise",
	"internal/release",
	"internal/awake",
	"internal/workspace",
	"internal/schedule",
	"internal/push",
	"internal/imports",
	"internal/transcript",
	"internal/said",
	"internal/store",
	"internal/config",
	"internal/proc",
	"internal/obs",
	"internal/handoff",
	"internal/failpoint",
	"web",
}

// only lists packages that may import nothing of ours but what is named.
var only = map[string][]string{
	// An ACP agent like any other: no private door into the host.
	"internal/builtin": {"internal/acp", "internal/proc"},
	// It changes rarely and must stay small: an old keeper serves a new host.
	"internal/keeper": {"internal/proc", "internal/failpoint"},
	// It talks to a host over a socket, or through what main hands it.
	"internal/cli": {"internal/agent", "internal/config", "internal/doctor", "internal/handoff", "internal/obs", "internal/proc", "internal/release", "internal/said", "internal/store", "internal/supervise", "internal/watch"},
	"internal/acp": {},
}

// never lists foreign packages that may not be imported, directly, by a
// package; the reason is for whoever meets it.
var never = map[string]map[string]string{
	"internal/session": {"net/http": "the heart knows no HTTP", "database/sql": "the heart knows no SQL"},
	"internal/keeper":  {"net/http": "a keeper knows framing only", "encoding/json/v2": "a keeper uses what is stable"},
	"internal/store":   {"net/http": "the store knows no HTTP"},
}

type pkg struct {
	ImportPath string
	Dir        string
	GoFiles    []string
	Imports    []string
}

func list(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Dir,GoFiles,Imports", "./...")
	cmd.Dir = "../.."
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var all []pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := dec.Decode(&p); err != nil {
			if errors.Is(err, io.EOF) {
				return all
			}
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func TestImportsGoDown(t *testing.T) {
	for _, p := range list(t) {
		name := strings.TrimPrefix(p.ImportPath, module)
		if strings.HasPrefix(name, "test/") {
			continue // tests may look at everything
		}
		at := room(name)
		if at < 0 {
			t.Errorf("%s stands in no room; give it its place in the list above and in docs/architecture.md", name)
			continue
		}
		for _, imp := range p.Imports {
			if why, bad := never[name][imp]; bad {
				t.Errorf("%s imports %s: %s", name, imp, why)
			}
			if strings.HasPrefix(imp, "modernc.org/sqlite") && name != "internal/store" {
				t.Errorf("%s imports SQLite; only internal/store opens databases", name)
			}
			below, ours := strings.CutPrefix(imp, module)
			if !ours {
				continue
			}
			if strings.HasPrefix(below, "test/") {
				t.Errorf("%s imports %s, which is for tests", name, below)
				continue
			}
			if to := room(below); to <= at && !within(below, rooms[at]) {
				t.Errorf("%s imports %s, which stands above it", name, below)
			}
			if allowed, limited := only[name]; limited && !slices.Contains(allowed, below) {
				t.Errorf("%s imports %s; it may import %v only", name, below, allowed)
			}
		}
	}
}

// room finds the place of a package; a package below another's folder shares
// its room.
func room(name string) int {
	return slices.IndexFunc(rooms, func(r string) bool { return within(name, r) })
}

func within(name, room string) bool { return name == room || strings.HasPrefix(name, room+"/") }

// Work at the start of a program that nobody asked for hides from its reader
// and costs every keeper its memory.
func TestNoInit(t *testing.T) {
	for _, p := range list(t) {
		for _, f := range p.GoFiles {
			path := filepath.Join(p.Dir, f)
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range file.Decls {
				if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
					t.Errorf("%s has an init function", path)
				}
			}
		}
	}
}

// The list above and the one in the document are one list.
func TestRoomsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	last := 0
	for _, r := range rooms {
		name := r
		if r == "web" {
			name = "web/"
		}
		i := strings.Index(string(text), "\n"+name+" ")
		switch {
		case i < 0:
			t.Errorf("docs/architecture.md does not list %s", r)
		case i < last:
			t.Errorf("docs/architecture.md lists %s at another place", r)
		default:
			last = i
		}
	}
}

// TestPageKnowsItsPath: an address of the page that begins with a bare slash
// works at a name of its own and fails below a path, which nobody sees who does
// not try it.
func TestPageKnowsItsPath(t *testing.T) {
	bare := regexp.MustCompile("\\b(href|src)=[\"{`']*/[^/]|\\bfetch\\(\\s*[\"'`]/")
	err := filepath.WalkDir("../../web/src", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, ".test.ts") || (filepath.Ext(path) != ".ts" && filepath.Ext(path) != ".svelte") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for i, line := range strings.Split(string(text), "\n") {
			if bare.MatchString(line) {
				t.Errorf("%s:%d: write {base}/… of lib/base: %s", path, i+1, strings.TrimSpace(line))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

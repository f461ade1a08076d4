package cli

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-dev/holdfast/internal/store"
)

// library is the part of a host that writes and reads files.
func library(t *testing.T) (http.Handler, *[]string) {
	var got []string
	mux := http.NewServeMux()
	file := func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("id") == "broken" {
			_, _ = io.WriteString(w, "half")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("Content-Disposition", `attachment; filename="../`+r.PathValue("id")+"."+r.URL.Query().Get("format")+`"`)
		_, _ = io.WriteString(w, "what was said\x1b[2J")
	}
	mux.HandleFunc("GET /api/v1/sessions/{id}/export", file)
	mux.HandleFunc("GET /api/v1/export", file)
	mux.HandleFunc("POST /api/v1/import", func(w http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got = append(got, r.Header.Get("Content-Type")+" "+r.URL.Query().Get("client_id")+" "+string(text))
		if string(text) == "bad" {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusBadRequest)
			reply(w, map[string]string{"detail": "line 3: it is bad"})
			return
		}
		reply(w, map[string]any{"sessions": []map[string]any{{"id": "s9", "title": "A title\x1b"}, {"id": "s8", "existing": true}}})
	})
	return mux, &got
}

func TestExportCommand(t *testing.T) {
	b := newBench(t)
	mux, _ := library(t)
	b.listen(mux)
	dir := t.TempDir()
	if code, out, _ := b.run("export", "s1"); code != 0 || out != "what was said\x1b[2J" { // no terminal: as it is
		t.Errorf("%d %q", code, out)
	}
	for _, args := range [][]string{
		{"export", "s1", "-o", filepath.Join(dir, "one.md")},
		{"export", "s1", "s2", "--format", "jsonl", "-o", dir},
		{"export", "--all", "--format", "html", "-o", dir},
	} {
		if code, _, problem := b.run(args...); code != 0 {
			t.Errorf("%v: %d %s", args, code, problem)
		}
	}
	for _, name := range []string{"one.md", "s1.jsonl", "s2.jsonl", ".html"} {
		if data, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !strings.HasPrefix(string(data), "what was said") {
			t.Errorf("%s: %q %v", name, data, err)
		}
	}
	if code, _, problem := b.run("export", "s1", "-o", filepath.Join(dir, "one.md")); code != 1 || !strings.Contains(problem, "exists already") {
		t.Errorf("replaced: %d %s", code, problem)
	}
	if code, _, problem := b.run("export", "broken", "-o", filepath.Join(dir, "two.md")); code != 1 || !strings.Contains(problem, "broke off") {
		t.Errorf("broken: %d %s", code, problem)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) != 4 {
		t.Errorf("left: %v %v", left, err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".holdfast*")); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func TestImportCommand(t *testing.T) {
	b := newBench(t)
	mux, got := library(t)
	b.listen(mux)
	good, zip, bad := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b"), filepath.Join(t.TempDir(), "c")
	for path, text := range map[string]string{good: "{}", zip: "PK archive", bad: "bad"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	code, out, problem := b.run("import", good, zip)
	if code != 0 || !strings.Contains(out, "s9  imported  A title") || !strings.Contains(out, "s8  there already") {
		t.Errorf("%d %q %s", code, out, problem)
	}
	b.run("import", good)
	b.run("import", good, "--again")
	b.in = "from elsewhere"
	b.run("import", "-")
	kinds := *got
	if len(kinds) != 5 || !strings.HasPrefix(kinds[0], "application/x-ndjson file-") || !strings.HasPrefix(kinds[1], "application/zip file-") || !strings.HasSuffix(kinds[1], " PK archive") ||
		kinds[2] != kinds[0] || kinds[3] == kinds[0] || !strings.HasSuffix(kinds[4], " from elsewhere") {
		t.Errorf("%q", kinds)
	}
	if code, out, problem := b.run("import", good, bad, "--json"); code != 1 || !strings.Contains(problem, bad+": line 3") || !strings.Contains(out, `"s9"`) {
		t.Errorf("%d %q %s", code, out, problem)
	}
	if code, _, problem := b.run("import", "nowhere"); code != 1 || !strings.Contains(problem, "nowhere") {
		t.Errorf("%d %s", code, problem)
	}
}

func TestSearchCommand(t *testing.T) {
	b := newBench(t)
	mux := http.NewServeMux()
	next := "n"
	var asked []string
	mux.HandleFunc("GET /api/v1/projects", func(w http.ResponseWriter, r *http.Request) {
		reply(w, map[string]any{"projects": []store.Project{{ID: "p1", Name: "Other"}, {ID: "p2", Name: "Web site"}}})
	})
	mux.HandleFunc("GET /api/v1/search", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		asked = append(asked, q.Encode())
		hit := store.Hit{Session: "s1", Title: "A title", Kind: "assistant", Snippet: []store.Segment{{Text: "the\n"}, {Text: "word", Match: true}, {Text: " \x1b[2J here"}}}
		out := map[string]any{"hits": []store.Hit{hit}, "next": &next, "behind": 3}
		switch {
		case q.Get("q") == "none":
			out = map[string]any{"hits": []store.Hit{}, "next": nil}
		case q.Get("before") == "n":
			hit.Session = "s2"
			out = map[string]any{"hits": []store.Hit{hit, hit}, "next": nil}
		}
		reply(w, out)
	})
	b.listen(mux)
	code, out, problem := b.run("search", "the", "word")
	if code != 0 || strings.Count(out, "[word]") != 3 || strings.Count(out, "A title") != 2 || strings.Contains(out, "\x1b") || !strings.Contains(problem, "3 events") {
		t.Errorf("%d %q %q", code, out, problem)
	}
	if code, out, _ := b.run("search", "word", "--json"); code != 0 || strings.Count(out, `"match": true`) != 3 {
		t.Errorf("%d %q", code, out)
	}
	asked = nil
	b.run("search", "none", "--kind", "run,title", "--project", "web SITE", "--tag", "a b", "--agent", "hermes", "--archived", "no", "--session", "s1")
	b.run("search", "none", "--archived", "only", "--kind", "plan", "--kind", "said", "--project", "p1")
	if diff := cmp.Diff([]string{
		"agent=hermes&archived=false&kind=run%2Ctitle&limit=20&project=p2&q=none&session=s1&tag=a+b",
		"archived=true&kind=plan%2Csaid&limit=20&project=p1&q=none",
	}, asked); diff != "" {
		t.Error(diff)
	}
	if code, _, problem := b.run("search", "none", "--project", "site"); code != 1 || !strings.Contains(problem, "no project site. There are: Other, Web site") {
		t.Errorf("%d %q", code, problem)
	}
	if code, _, problem := b.run("search", "none", "--archived", "perhaps"); code != 2 || !strings.Contains(problem, "archived") {
		t.Errorf("%d %q", code, problem)
	}
	if code, out, problem := b.run("search", "none"); code != 1 || out != "" || !strings.Contains(problem, "Nothing was found.") {
		t.Errorf("%d %q %q", code, out, problem)
	}
}

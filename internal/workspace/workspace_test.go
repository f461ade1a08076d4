package workspace

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// folder makes files with their contents.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestFind(t *testing.T) {
	dir := folder(t, map[string]string{
		"README.md": "", "main.go": "", "internal/store/search.go": "", "internal/store/search_test.go": "",
		"internal/session/session.go": "", "node_modules/x/search.js": "", ".git/search": "", "out/search.bin": "",
		".gitignore": "out/\n*.log\n/secret\n!keep.log\n# no\n", "a.log": "", "keep.log": "", "sub/.gitignore": "local\n",
		"sub/local": "", "sub/secret": "", "secret": "",
	})
	if err := os.Symlink("/etc", filepath.Join(dir, "away")); err != nil {
		t.Fatal(err)
	}
	for query, want := range map[string][]string{
		"search":  {"internal/store/search.go", "internal/store/search_test.go"},
		"srchtst": {"internal/store/search_test.go"},
		"sego":    {"internal/store/search.go", "internal/session/session.go"},
		".log":    {"keep.log"},
		"secret":  {"sub/secret"},
		"local":   nil,
		"passwd":  nil,
	} {
		files, more, err := Find(t.Context(), dir, query, 50)
		if err != nil || more {
			t.Fatalf("%s: more %t, %v", query, more, err)
		}
		var got []string
		for _, f := range files {
			if !f.Dir {
				got = append(got, f.Path)
			}
		}
		if query == "sego" {
			got = got[:min(len(got), 2)]
			if len(got) == 2 && got[0] > got[1] {
				got[0], got[1] = got[1], got[0]
			}
			want = []string{"internal/session/session.go", "internal/store/search.go"}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", query, diff)
		}
	}
	top, _, err := Find(t.Context(), dir, "", 50)
	if err != nil || len(top) == 0 || top[0].Path != "sub" {
		t.Errorf("at the top: %v, %v", top, err)
	}
	if _, _, err := Find(t.Context(), filepath.Join(dir, "main.go"), "x", 5); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("in a file: %v", err)
	}
	if _, _, err := Find(t.Context(), filepath.Join(dir, "none"), "x", 5); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("in nothing: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := Find(ctx, dir, "x", 5); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestRead(t *testing.T) {
	dir := folder(t, map[string]string{"a/b.png": "picture", "large": ""})
	if err := os.Truncate(filepath.Join(dir, "large"), ReadMax+1); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("a/b.png", filepath.Join(dir, "inside")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]error{
		"a/b.png": nil, filepath.Join(dir, "a/b.png"): nil, "inside": nil, "a/../a/b.png": nil,
		"../x": ErrOutside, "/etc/passwd": ErrOutside, "link": ErrOutside, "a": ErrNotAFile, ".": ErrNotAFile,
		"none": fs.ErrNotExist, "large": ErrTooLarge, "a/\x00": ErrOutside,
	} {
		data, err := Read(dir, name)
		if !errors.Is(err, want) || (want == nil) != (string(data) == "picture") {
			t.Errorf("%q: %q, %v, want %v", name, data, err, want)
		}
	}
}

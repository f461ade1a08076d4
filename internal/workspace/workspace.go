// Package workspace reads the folder of a session: it finds files by a part of
// their path and reads one. It goes through os.Root, so nothing outside the
// folder is reached, by no name and no link. It writes nothing, and keeps no
// state between two calls.
package workspace

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	// ReadMax is the longest file that Read returns, in bytes.
	ReadMax = 20 << 20

	findEntries = 20_000
	findTime    = 500 * time.Millisecond
	findDepth   = 20
	ignoreMax   = 64 << 10 // bytes of one .gitignore
)

// What callers branch on.
var (
	ErrOutside  = errors.New("outside the folder")
	ErrNotAFile = errors.New("not a regular file")
	ErrTooLarge = errors.New("too large")
)

// Found is a file or a folder that was found.
type Found struct {
	Path string `json:"path"` // relative, with slashes
	Dir  bool   `json:"dir,omitempty"`
}

// Read returns a file within dir, named by a relative or an absolute path. It
// returns ErrOutside, ErrNotAFile, ErrTooLarge, or an error of the file system.
func Read(dir, name string) ([]byte, error) {
	if filepath.IsAbs(name) {
		rel, err := filepath.Rel(dir, filepath.Clean(name))
		if err != nil {
			return nil, ErrOutside
		}
		name = rel
	}
	name = filepath.Clean(name)
	if strings.ContainsRune(name, 0) || !filepath.IsLocal(name) {
		return nil, ErrOutside
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	// Asked before it is opened: opening a pipe waits for who writes to it.
	info, err := root.Stat(name)
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%w: %w", ErrOutside, err) // a link that leads out
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, ErrNotAFile
	case info.Size() > ReadMax:
		return nil, ErrTooLarge
	}
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, ReadMax+1))
	if err == nil && len(data) > ReadMax {
		err = ErrTooLarge // it grew
	}
	return data, err
}

// skipped are folders that hold no work of a person's.
func skipped(name string) bool {
	switch name {
	case ".git", ".hg", ".svn", ".jj", "node_modules", "__pycache__", ".venv", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".cache", ".gradle", ".terraform":
		return true
	}
	return false
}

// Find returns up to limit files and folders within dir whose path has the
// letters of query in order, best first. more tells that the folder was too
// large to be looked through whole. Links are not followed. The error of what is
// no folder is syscall.ENOTDIR.
func Find(ctx context.Context, dir, query string, limit int) (files []Found, more bool, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		// os.OpenRoot says of a file that it is none with a text alone.
		if info, statErr := os.Stat(dir); statErr == nil && !info.IsDir() {
			err = &os.PathError{Op: "find", Path: dir, Err: syscall.ENOTDIR}
		}
		return nil, false, err
	}
	defer root.Close()
	f := finder{fsys: root.FS(), query: []rune(strings.ToLower(strings.TrimSpace(query))), until: time.Now().Add(findTime)}
	level := []place{{dir: "."}}
	for depth := 0; len(level) > 0 && depth < findDepth && !f.over(ctx); depth++ {
		var next []place
		for _, p := range level {
			next = append(next, f.look(ctx, p)...)
		}
		level = next
		if len(f.query) == 0 && len(f.found) >= limit {
			break // the top is enough
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, false, err
	}
	slices.SortFunc(f.found, func(a, b match) int {
		return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(len(a.file.Path), len(b.file.Path)), cmp.Compare(a.file.Path, b.file.Path))
	})
	for _, m := range f.found[:min(len(f.found), limit)] {
		files = append(files, m.file)
	}
	return files, f.cut, nil
}

// place is a folder to look into, with the rules of .gitignore above it.
type place struct {
	dir   string
	rules []rule
}

type match struct {
	file  Found
	score int
}

type finder struct {
	fsys  fs.FS
	query []rune
	until time.Time
	seen  int
	cut   bool
	found []match
}

func (f *finder) over(ctx context.Context) bool {
	if f.seen >= findEntries || time.Now().After(f.until) {
		f.cut = true
	}
	return f.cut || ctx.Err() != nil
}

// look takes what is in a folder and returns the folders in it. One that
// cannot be read is passed over.
func (f *finder) look(ctx context.Context, p place) (next []place) {
	if f.over(ctx) {
		return nil
	}
	entries, err := f.read(p.dir)
	if err != nil {
		return nil
	}
	rules := p.rules
	if slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == ".gitignore" && e.Type().IsRegular() }) {
		rules = append(slices.Clip(rules), f.ignores(p.dir)...)
	}
	for _, e := range entries {
		f.seen++
		name := path.Join(p.dir, e.Name())
		if !utf8.ValidString(name) || e.IsDir() && skipped(e.Name()) || ignored(rules, name, e.IsDir()) {
			continue
		}
		if !e.IsDir() && !e.Type().IsRegular() {
			continue
		}
		if score, ok := fuzzy(f.query, name); ok {
			f.found = append(f.found, match{Found{Path: name, Dir: e.IsDir()}, score})
		}
		if e.IsDir() {
			next = append(next, place{name, rules})
		}
	}
	return next
}

// read lists a folder, as far as there is room.
func (f *finder) read(dir string) ([]fs.DirEntry, error) {
	d, err := f.fsys.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	folder, ok := d.(fs.ReadDirFile)
	if !ok {
		return nil, ErrNotAFile
	}
	entries, err := folder.ReadDir(findEntries - f.seen)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return entries, err
}

// rule is one line of a .gitignore.
type rule struct {
	base    string // the folder that it counts in
	pattern string
	name    bool // matches a name at any depth, else a path from base on
	dirs    bool // folders only
	not     bool
}

// ignores reads the rules of one .gitignore: names, paths, * and ?, a slash at
// the end, ! and **/ at the beginning. That is what most have; another ** is
// read as *.
func (f *finder) ignores(dir string) (rules []rule) {
	file, err := f.fsys.Open(path.Join(dir, ".gitignore"))
	if err != nil {
		return nil
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, ignoreMax))
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, " \t\r\n")
		if line == "" || line[0] == '#' {
			continue
		}
		r := rule{base: dir}
		line, r.not = strings.CutPrefix(line, "!")
		line, r.dirs = strings.CutSuffix(line, "/")
		line = strings.TrimPrefix(line, "**/")
		r.name = !strings.Contains(line, "/")
		r.pattern = strings.ReplaceAll(strings.TrimPrefix(line, "/"), "**", "*")
		if _, err := path.Match(r.pattern, ""); err != nil || r.pattern == "" {
			continue
		}
		rules = append(rules, r)
	}
	return rules
}

// ignored tells what the last rule that fits says.
func ignored(rules []rule, name string, dir bool) bool {
	for _, r := range slices.Backward(rules) {
		if r.dirs && !dir {
			continue
		}
		target := path.Base(name)
		if !r.name {
			target = name
			if r.base != "." {
				target = strings.TrimPrefix(name, r.base+"/")
			}
		}
		if ok, err := path.Match(r.pattern, target); ok && err == nil {
			return !r.not
		}
	}
	return false
}

// fuzzy tells whether name has the letters of query in order, and how well:
// letters that stand together, at the beginning of a word and in the last
// element count more. The last place for the first letter is tried first, so
// that a name wins over the folders that it is in.
func fuzzy(query []rune, name string) (score int, ok bool) {
	if len(query) == 0 {
		return -strings.Count(name, "/"), true
	}
	text := []rune(name)
	lower := []rune(strings.ToLower(name))
	if len(lower) != len(text) {
		text = lower
	}
	base := 0
	for i, r := range text {
		if r == '/' {
			base = i + 1
		}
	}
	best, found := 0, false
	for _, from := range []int{base, 0} {
		if s, ok := run(query, text, lower, from, base); ok && (!found || s > best) {
			best, found = s, true
		}
	}
	return best - len(text)/8, found
}

func run(query, text, lower []rune, from, base int) (score int, ok bool) {
	last := -2
	i := from
	for _, q := range query {
		for i < len(lower) && lower[i] != q {
			i++
		}
		if i == len(lower) {
			return 0, false
		}
		score++
		if i >= base {
			score += 2
		}
		switch {
		case i == last+1:
			score += 6
		case i == 0 || !unicode.IsLetter(text[i-1]) && !unicode.IsNumber(text[i-1]) || unicode.IsUpper(text[i]) && unicode.IsLower(text[i-1]):
			score += 4
		}
		if i == base {
			score += 4
		}
		last = i
		i++
	}
	return score, true
}

package builtin

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"unicode/utf8"

	"github.com/holdfast-dev/holdfast/internal/acp"
)

const (
	maxShown   = 256 << 10 // bytes of a file that are shown
	maxDiff    = 1 << 20   // bytes of a file whose change can be shown
	maxEntries = 1000      // of a folder
)

// root opens the session's folder, which confines all paths, links included.
// It is opened for each use, so that nothing is held between turns.
func (t *Turn) root() (*os.Root, error) {
	r, err := os.OpenRoot(t.session.cwd)
	if err != nil {
		return nil, fmt.Errorf("the session's folder %s cannot be opened: %w", t.session.cwd, cause(err))
	}
	return r, nil
}

// relative is a path as os.Root wants it.
func (t *Turn) relative(path string) (string, error) {
	if path == "" {
		path = "."
	}
	if filepath.IsAbs(path) {
		rel, err := filepath.Rel(t.session.cwd, path)
		if err != nil {
			rel = ".." // another volume
		}
		path = rel
	}
	path = filepath.Clean(path)
	if !filepath.IsLocal(path) {
		return "", fmt.Errorf("that is outside the session's folder, %s, and this agent stays inside", t.session.cwd)
	}
	return path, nil
}

// cause says what went wrong without the path, which the sentence has.
func cause(err error) error {
	var p *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errors.New("there is no such file or folder")
	case errors.Is(err, fs.ErrPermission):
		return errors.New("the system does not permit it")
	case errors.As(err, &p):
		return p.Err
	default:
		return err
	}
}

func (c *call) list(use Use) (Outcome, error) {
	shown := use.Path
	if shown == "" {
		shown = "."
	}
	err := c.begin(acp.ToolCall{
		Title: "List " + shown, Name: "list", Kind: acp.ToolRead, Status: acp.ToolInProgress,
		Locations: []acp.Location{{Path: c.turn.absolute(shown)}}, RawInput: rawJSON(map[string]string{"path": shown}),
	})
	if err != nil {
		return Outcome{}, err
	}
	text, err := c.turn.listing(use.Path)
	if err != nil {
		return c.fail("%s was not listed: %v.", shown, err)
	}
	return c.done(text, acp.TextContent(text))
}

func (t *Turn) absolute(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(t.session.cwd, path)
}

func (t *Turn) listing(path string) (string, error) {
	rel, err := t.relative(path)
	if err != nil {
		return "", err
	}
	root, err := t.root()
	if err != nil {
		return "", err
	}
	defer func() { _ = root.Close() }()
	dir, err := root.Open(rel)
	if err != nil {
		return "", cause(err)
	}
	defer func() { _ = dir.Close() }()
	entries, err := dir.ReadDir(maxEntries + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", cause(err)
	}
	more := len(entries) > maxEntries
	if more {
		entries = entries[:maxEntries]
	}
	sort.Slice(entries, func(i, j int) bool { return entries[i].Name() < entries[j].Name() })
	var b strings.Builder
	for _, e := range entries {
		switch info, err := e.Info(); {
		case e.IsDir():
			fmt.Fprintf(&b, "%s/\n", e.Name())
		case err != nil:
			fmt.Fprintf(&b, "%s\n", e.Name())
		default:
			fmt.Fprintf(&b, "%s  %d bytes\n", e.Name(), info.Size())
		}
	}
	if more {
		fmt.Fprintf(&b, "… and more than %d others\n", maxEntries)
	}
	if b.Len() == 0 {
		return "(the folder is empty)\n", nil
	}
	return b.String(), nil
}

func (c *call) read(use Use) (Outcome, error) {
	err := c.begin(acp.ToolCall{
		Title: "Read " + use.Path, Name: "read", Kind: acp.ToolRead, Status: acp.ToolInProgress,
		Locations: []acp.Location{{Path: c.turn.absolute(use.Path)}}, RawInput: rawJSON(map[string]string{"path": use.Path}),
	})
	if err != nil {
		return Outcome{}, err
	}
	b, size, err := c.turn.readFile(use.Path, maxShown)
	switch {
	case err != nil:
		return c.fail("%s was not read: %v.", use.Path, err)
	case !isText(b):
		return c.fail("%s is not text (%d bytes).", use.Path, size)
	}
	text := string(b)
	if size > int64(len(b)) {
		text += fmt.Sprintf("\n… the first %d of %d bytes", len(b), size)
	}
	return c.done(text, acp.TextContent(text))
}

// readFile returns at most limit bytes of a regular file, cut between letters,
// and its size.
func (t *Turn) readFile(path string, limit int) ([]byte, int64, error) {
	rel, err := t.relative(path)
	if err != nil {
		return nil, 0, err
	}
	root, err := t.root()
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = root.Close() }()
	// Opening a pipe would wait for its writer.
	info, err := root.Stat(rel)
	switch {
	case err != nil:
		return nil, 0, cause(err)
	case info.IsDir():
		return nil, 0, errors.New("it is a folder")
	case !info.Mode().IsRegular():
		return nil, 0, errors.New("it is no regular file")
	}
	f, err := root.Open(rel)
	if err != nil {
		return nil, 0, cause(err)
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, int64(limit)))
	if err != nil {
		return nil, 0, cause(err)
	}
	if len(b) == limit {
		for range utf8.UTFMax {
			if r, n := utf8.DecodeLastRune(b); r != utf8.RuneError || n != 1 {
				break
			}
			b = b[:len(b)-1]
		}
	}
	return b, info.Size(), nil
}

func isText(b []byte) bool { return utf8.Valid(b) && !bytes.ContainsRune(b, 0) }

func (c *call) write(ctx context.Context, use Use) (Outcome, error) {
	title := "Write " + use.Path
	input := rawJSON(map[string]string{"path": use.Path})
	locations := []acp.Location{{Path: c.turn.absolute(use.Path)}}
	err := c.begin(acp.ToolCall{Title: title, Name: "write", Kind: acp.ToolEdit, Status: acp.ToolPending, Locations: locations, RawInput: input})
	if err != nil {
		return Outcome{}, err
	}
	old, err := c.turn.before(use.Path)
	if err != nil {
		return c.fail("%s was not written: %v.", use.Path, err)
	}
	diff := acp.DiffContent(c.turn.absolute(use.Path), old, use.Text)
	ok, err := c.ask(ctx, "write", "Allow all writes in this session", acp.ToolCallUpdate{
		Title: &title, Kind: new(acp.ToolEdit), Status: new(acp.ToolPending), Locations: locations, RawInput: input,
		Content: []acp.ToolContent{diff},
	})
	if err != nil {
		return Outcome{}, err
	}
	if !ok {
		return c.deny()
	}
	if err := c.progress(acp.ToolInProgress, diff); err != nil {
		return Outcome{}, err
	}
	// The person agreed to this change of this text, and may have taken
	// hours to do so.
	now, err := c.turn.before(use.Path)
	if err == nil && !same(now, old) {
		err = errors.New("the file has changed since you were asked")
	}
	if err == nil {
		err = c.turn.writeFile(use.Path, use.Text)
	}
	if err != nil {
		return c.fail("%s was not written: %v.", use.Path, err)
	}
	return c.done(fmt.Sprintf("Wrote %d bytes to %s.", len(use.Text), use.Path), diff)
}

func same(a, b *string) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

// before is a file's text before a change; nil if there is no file.
func (t *Turn) before(path string) (*string, error) {
	rel, err := t.relative(path)
	if err != nil {
		return nil, err
	}
	root, err := t.root()
	if err != nil {
		return nil, err
	}
	info, err := root.Lstat(rel)
	_ = root.Close()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err == nil && info.Mode()&fs.ModeSymlink != 0:
		// A rename would replace the link instead of what it leads to.
		return nil, errors.New("it is a link; name the file that it leads to")
	}
	b, size, err := t.readFile(path, maxDiff)
	switch {
	case err != nil:
		return nil, err
	case size > int64(len(b)):
		return nil, fmt.Errorf("it has %d bytes now, too many to show the change", size)
	case !isText(b):
		return nil, errors.New("it is there already and is not text")
	}
	return new(string(b)), nil
}

// writeFile replaces a file in one step, so that no reader sees half of it. It
// makes the folders that lack, and keeps the file's mode.
func (t *Turn) writeFile(path, text string) (err error) {
	rel, err := t.relative(path)
	if err != nil {
		return err
	}
	root, err := t.root()
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	if err := root.MkdirAll(filepath.Dir(rel), 0o777); err != nil {
		return cause(err)
	}
	mode := fs.FileMode(0o666)
	info, err := root.Lstat(rel)
	if err == nil {
		mode = info.Mode().Perm()
	}
	tmp := filepath.Join(filepath.Dir(rel), "."+filepath.Base(rel)+"."+strings.ToLower(rand.Text()[:8]))
	f, err := root.OpenFile(tmp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return cause(err)
	}
	defer func() {
		if err != nil {
			_ = root.Remove(tmp)
		}
	}()
	_, err = f.WriteString(text)
	if err == nil && info != nil {
		err = f.Chmod(mode) // the umask has taken from it
	}
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = root.Rename(tmp, rel)
	}
	if err != nil {
		return cause(err)
	}
	return nil
}

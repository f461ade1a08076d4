package cli

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
)

type exportCmd struct {
	IDs    []string `arg:"" optional:"" name:"id" help:"Sessions, as in: holdfast sessions."`
	All    bool     `help:"All sessions as one zip archive, archived ones too."`
	Format string   `enum:"md,jsonl,html" default:"md" help:"md, jsonl or html. Only jsonl can be imported again."`
	Output string   `short:"o" placeholder:"PATH" help:"A file or a folder; - is standard output, where one session goes by default."`
}

// Help is shown after the flags.
func (exportCmd) Help() string {
	return `md is to be read and pasted, html is one file with its pictures, and jsonl is whole: everything that was said, run and printed, with the files. A file that exists already is not replaced; where the export fails nothing is left.

Examples:
  holdfast export s_4k2m
  holdfast export s_4k2m --format html -o talk.html
  holdfast export s_4k2m s_9x1c --format jsonl -o folder
  holdfast export --all --format jsonl -o /mnt/backups`
}

// Run writes sessions into files.
func (c *exportCmd) Run(ctx context.Context, a *app) (err error) {
	if c.All == (len(c.IDs) > 0) {
		return &Error{Code: ExitUsage, Msg: "give the ids of sessions, or --all. See: holdfast export --help"}
	}
	to := c.Output
	if to == "" {
		to = "-"
		if c.All || len(c.IDs) > 1 {
			to = "."
		}
	}
	info, statErr := os.Stat(to)
	folder := statErr == nil && info.IsDir()
	if len(c.IDs) > 1 && !folder {
		return &Error{Code: ExitUsage, Msg: fmt.Sprintf("%s is no folder: several sessions are several files. Give a folder with -o", to)}
	}
	if to == "-" && c.All && isTerminal(a.Out) {
		return &Error{Code: ExitUsage, Msg: "an archive is nothing for a terminal; give a file or a folder with -o"}
	}
	h, _, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	paths := []string{"/api/v1/export"}
	if !c.All {
		paths = nil
		for _, id := range c.IDs {
			paths = append(paths, "/api/v1/sessions/"+url.PathEscape(id)+"/export")
		}
	}
	for _, path := range paths {
		if err := c.one(ctx, a, h, path+"?format="+c.Format, to, folder); err != nil {
			return err
		}
	}
	return nil
}

func (c *exportCmd) one(ctx context.Context, a *app, h *client, path, to string, folder bool) (err error) {
	resp, err := h.open(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	cut := func(err error) error {
		if ctx.Err() != nil {
			return failf("stopped; nothing is left of it")
		}
		return failf("the export broke off: %w. Try again; holdfast logs may say why", err)
	}
	if to == "-" {
		out := a.Out
		if isTerminal(out) {
			out = harmless{out}
		}
		if _, err := io.Copy(out, resp.Body); err != nil {
			return cut(err)
		}
		return nil
	}
	if folder {
		to = filepath.Join(to, nameOf(resp))
	}
	if _, err := os.Lstat(to); err == nil {
		return failf("%s exists already; an export replaces nothing. Remove it, or choose another place with -o", to)
	}
	f, err := os.CreateTemp(filepath.Dir(to), ".holdfast-*.partial") // private, as what is in it
	if err != nil {
		return failf("cannot write to %s: %w. Choose another place with -o", filepath.Dir(to), err)
	}
	_, err = io.Copy(f, resp.Body)
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		// Unlike a rename it never replaces anything.
		if err = os.Link(f.Name(), to); err != nil && !errors.Is(err, fs.ErrExist) {
			err = os.Rename(f.Name(), to)
		}
	}
	if e := os.Remove(f.Name()); e != nil && !errors.Is(e, fs.ErrNotExist) && err == nil {
		err = e
	}
	if err != nil {
		return cut(err)
	}
	a.printf("%s\n", to)
	return nil
}

// nameOf is the name that the host gives to a file.
func nameOf(resp *http.Response) string {
	_, params, err := mime.ParseMediaType(resp.Header.Get("Content-Disposition"))
	name := filepath.Base(params["filename"])
	if err != nil || name == "." || name == string(filepath.Separator) {
		return "holdfast-export"
	}
	return name
}

// harmless keeps what agents said from commanding a terminal.
type harmless struct{ w io.Writer }

func (p harmless) Write(b []byte) (int, error) {
	if _, err := io.WriteString(p.w, printable(string(b))); err != nil {
		return 0, err
	}
	return len(b), nil
}

type importCmd struct {
	Files []string `arg:"" name:"file" help:"Exports with the format jsonl, or archives of them; - reads standard input."`
	Again bool     `help:"Also what was imported before."`
	JSON  bool     `name:"json" help:"Print JSON."`
}

// Help is shown after the flags.
func (importCmd) Help() string {
	return `Of each file all sessions come, or none. They get ids of their own and go on with the next message, which tells the agent what was said. A file that was imported before brings nothing a second time, unless you say --again.

Examples:
  holdfast import talk.jsonl
  holdfast import holdfast-2026-11-28-jsonl.zip
  ssh mini holdfast export s_4k2m --format jsonl | holdfast import -`
}

type importedSession struct {
	ID       string `json:"id"`
	Title    string `json:"title"`
	Existing bool   `json:"existing,omitempty"`
	Deleted  bool   `json:"deleted,omitempty"`
}

// Run reads files.
func (c *importCmd) Run(ctx context.Context, a *app) (err error) {
	h, _, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	list := []importedSession{}
	var failed error
	for _, name := range c.Files {
		got, err := c.one(ctx, a, h, name)
		if err != nil {
			failed = err
			break
		}
		list = append(list, got...)
	}
	if c.JSON {
		data, err := json.Marshal(map[string]any{"sessions": list})
		if err != nil {
			return err
		}
		return errors.Join(failed, a.printJSON(data))
	}
	if len(list) > 0 {
		w := tabwriter.NewWriter(a.Out, 0, 4, 2, ' ', 0)
		row(w, "ID", "", "TITLE")
		for _, s := range list {
			how := "imported"
			switch {
			case s.Deleted:
				how = "in the trash already"
			case s.Existing:
				how = "there already"
			}
			row(w, s.ID, how, s.Title)
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	return failed
}

func (c *importCmd) one(ctx context.Context, a *app, h *client, name string) ([]importedSession, error) {
	var body io.Reader = a.In
	id := randomID()
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, failf("%w", err)
		}
		defer f.Close()
		if !c.Again {
			sum := sha256.New()
			if _, err := io.Copy(sum, f); err != nil {
				return nil, failf("read %s: %w", name, err)
			}
			if _, err := f.Seek(0, io.SeekStart); err != nil {
				return nil, failf("read %s: %w", name, err)
			}
			id = "file-" + hex.EncodeToString(sum.Sum(nil)[:16])
		}
		body = f
	}
	magic := make([]byte, 2)
	n, err := io.ReadFull(body, magic)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, failf("read %s: %w", name, err)
	}
	kind := "application/x-ndjson"
	if string(magic[:n]) == "PK" {
		kind = "application/zip"
	}
	resp, err := h.post(ctx, "/api/v1/import?client_id="+id, kind, io.MultiReader(bytes.NewReader(magic[:n]), body))
	if err != nil {
		var p *problem
		if errors.As(err, &p) && name != "-" {
			return nil, failf("%s: %s", name, strings.TrimSpace(p.Error()))
		}
		return nil, err
	}
	defer resp.Body.Close()
	var out struct {
		Sessions []importedSession `json:"sessions"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		return nil, failf("read the host's answer: %w", err)
	}
	return out.Sessions, nil
}

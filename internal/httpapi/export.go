package httpapi

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/holdfast-dev/holdfast/internal/session"
	"github.com/holdfast-dev/holdfast/internal/store"
	"github.com/holdfast-dev/holdfast/internal/transcript"
)

const importPath = "/api/v1/import"

// importTypes are the types that a file may be sent under; a browser knows none
// for .jsonl.
var importTypes = []string{"application/x-ndjson", "application/zip", "application/jsonl", "application/octet-stream", "application/x-zip-compressed"}

type exportInput struct {
	ID     string `path:"id" maxLength:"100"`
	Format string `query:"format" enum:"md,jsonl,html" default:"md" doc:"Markdown; lines of JSON, which alone can be imported; or one page of HTML"`
}

type exportAllInput struct {
	Format string   `query:"format" enum:"md,jsonl,html" default:"jsonl" doc:"Of the files in the archive"`
	IDs    []string `query:"ids" maxItems:"400" doc:"Only these, with commas between them. What is in the trash, or no more, is left out; 404 where that is all"`
}

// importInput reads its body itself: it may be longer than the memory.
type importInput struct {
	ClientID string `query:"client_id" maxLength:"100" doc:"Made by the client. Repeated, no session of the file is imported twice."`

	r *http.Request
	w http.ResponseWriter
}

// Resolve implements huma.Resolver.
func (in *importInput) Resolve(ctx huma.Context) []error {
	in.r, in.w = humago.Unwrap(ctx)
	return nil
}

// ImportedSession is a session that an imported file holds.
type ImportedSession struct {
	ID       string `json:"id" doc:"Here: imported sessions get ids of their own"`
	Title    string `json:"title"`
	Existing bool   `json:"existing,omitempty" doc:"It was imported before, by a request with this client_id"`
	Deleted  bool   `json:"deleted,omitempty" doc:"And is in the trash now"`
}

type importOutput struct {
	Status int
	Body   struct {
		Sessions []ImportedSession `json:"sessions" nullable:"false" doc:"In the order of the file"`
	}
}

func (s *Server) exportRoutes(api huma.API) {
	content := func(types ...string) map[string]*huma.Response {
		r := &huma.Response{Description: "The file. Where it cannot be finished the connection is cut: half of it must not look whole.", Content: map[string]*huma.MediaType{}}
		for _, t := range types {
			r.Content[t] = &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}
		}
		return map[string]*huma.Response{"200": r}
	}
	one := operation("export-session", http.MethodGet, "/api/v1/sessions/{id}/export", "sessions", "A session as a file")
	one.Description = "md is to be read and pasted, html is one file with its pictures, and jsonl is whole: its first line names the version of the format, its last says that it is complete. What is not finished is in jsonl as if it had been interrupted, and marked in the others; what was taken back is in jsonl alone."
	one.Responses = content("text/markdown", "text/html", "application/x-ndjson")
	register(s, api, one, func(ctx context.Context, in *exportInput) (*huma.StreamResponse, error) {
		row, err := s.session(ctx, in.ID)
		if err != nil {
			return nil, err
		}
		e := s.exporter(ctx, in.Format)
		return s.download(e.FileName(row), e.Format.ContentType(), func(ctx context.Context, w io.Writer) error { return e.Write(ctx, w, row) }), nil
	})
	all := operation("export-sessions", http.MethodGet, "/api/v1/export", "sessions", "All sessions as an archive, or some")
	all.Description = "A zip archive with a file for each session, archived ones too, those in the trash not."
	all.Responses = content("application/zip")
	register(s, api, all, func(ctx context.Context, in *exportAllInput) (*huma.StreamResponse, error) {
		ids, err := s.exportedIDs(ctx, in.IDs)
		if err != nil {
			return nil, err
		}
		e := s.exporter(ctx, in.Format)
		return s.download(e.ArchiveName(time.Now()), "application/zip", func(ctx context.Context, w io.Writer) error { return e.WriteAll(ctx, w, ids) }), nil
	})
	op := operation("import-sessions", http.MethodPost, importPath, "sessions", "Read sessions from a file")
	op.DefaultStatus = http.StatusCreated
	op.Description = "An export with the format jsonl, several of them one after another, or an archive of them. All sessions of it come, or none: 400 bad_import names the line that is wrong. They get ids of their own and are marked (imported). 200 where the client_id has imported all of them already."
	register(s, api, op, s.importFile)
	body := map[string]*huma.MediaType{}
	for _, t := range importTypes[:2] {
		body[t] = &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}
	}
	api.OpenAPI().Paths[importPath].Post.RequestBody = &huma.RequestBody{Required: true, Content: body}
}

// exportedIDs are all sessions, or those of wanted that there are.
func (s *Server) exportedIDs(ctx context.Context, wanted []string) (ids []string, err error) {
	all, err := s.cfg.Store.SessionIDs(ctx)
	if err != nil || len(wanted) == 0 {
		return all, err
	}
	for _, id := range wanted {
		if slices.Contains(all, id) && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return nil, newProblem(session.CodeNotFound, "none of these sessions exists, or they are in the trash")
	}
	return ids, nil
}

func (s *Server) exporter(ctx context.Context, format string) *transcript.Exporter {
	agents := s.cfg.Sessions.Agents(ctx)
	return &transcript.Exporter{Source: s.cfg.Store, Format: transcript.Format(format), AgentName: func(id string) string {
		for _, a := range agents {
			if a.ID == id && a.Name != "" {
				return a.Name
			}
		}
		return id
	}}
}

// download answers with a file of any length. A reader that stands still is
// cut, as on a stream, and so is one whose file cannot be finished.
func (s *Server) download(name, kind string, write func(ctx context.Context, w io.Writer) error) *huma.StreamResponse {
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		hc.SetHeader("Content-Type", kind)
		hc.SetHeader("Content-Security-Policy", "default-src 'none'; sandbox")
		hc.SetHeader("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": name}))
		hc.SetStatus(http.StatusOK)
		if hc.Method() == http.MethodHead {
			return
		}
		r, w := humago.Unwrap(hc)
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer context.AfterFunc(s.life, cancel)()
		err := write(ctx, &patient{w: w, rc: http.NewResponseController(w), timeout: s.cfg.WriteTimeout})
		if err == nil {
			return
		}
		if ctx.Err() == nil && !errors.Is(err, errCut) && !errors.Is(err, store.ErrNotFound) {
			s.log.Error("export", "instance", instanceOf(r.Context()), "err", err)
		}
		panic(http.ErrAbortHandler)
	}}
}

// patient is a writer whose reader may take as long as it likes, if it only
// takes something.
type patient struct {
	w       io.Writer
	rc      *http.ResponseController
	timeout time.Duration
}

func (p *patient) Write(b []byte) (int, error) {
	_ = p.rc.SetWriteDeadline(time.Now().Add(p.timeout))
	n, err := p.w.Write(b)
	if err != nil {
		err = errors.Join(errCut, err)
	}
	return n, err
}

// importTimeout is how long a file may take once it is here.
const importTimeout = time.Hour

func (s *Server) importFile(ctx context.Context, in *importInput) (*importOutput, error) {
	rc := http.NewResponseController(in.w)
	body := &arriving{r: in.r.Body, done: func() {
		// What follows may take long, and nobody is written to meanwhile.
		_ = rc.SetReadDeadline(time.Time{})
		_ = rc.SetWriteDeadline(time.Now().Add(importTimeout))
	}}
	list, err := s.cfg.Sessions.Import(ctx, body, in.ClientID)
	var over *http.MaxBytesError
	var refused *session.Error
	switch {
	case errors.As(err, &over):
		return nil, newProblem(codeBodyTooLarge, "the file is too large to be imported at once. Export fewer sessions into one file.")
	case errors.As(err, &refused):
		return nil, err
	case err != nil && body.err != nil && !errors.Is(body.err, io.EOF):
		return nil, newProblem(codeBodyTimeout, "the file did not come whole. Nothing was imported; send it again.")
	case err != nil:
		return nil, err
	}
	out := &importOutput{Status: http.StatusOK}
	out.Body.Sessions = []ImportedSession{}
	for _, im := range list {
		if !im.Existing {
			out.Status = http.StatusCreated
		}
		out.Body.Sessions = append(out.Body.Sessions, ImportedSession{
			ID: im.Session.ID, Title: strings.TrimSpace(im.Session.Title), Existing: im.Existing, Deleted: im.Session.DeletedAt != nil,
		})
	}
	return out, nil
}

// arriving is a body that tells when it has come whole, or why it did not.
type arriving struct {
	r    io.Reader
	done func()
	err  error
}

func (a *arriving) Read(p []byte) (int, error) {
	n, err := a.r.Read(p)
	if err != nil && a.err == nil {
		a.err = err
		if errors.Is(err, io.EOF) {
			a.done()
		}
	}
	return n, err
}

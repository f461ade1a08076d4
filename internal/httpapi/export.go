package httpapi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/holdfast-dev/holdfast/internal/session"
	"github.com/holdfast-dev/holdfast/internal/store"
	"github.com/holdfast-dev/holdfast/internal/transcript"
)

const (
	exportPath = "/api/v1/export"
	importPath = "/api/v1/import"

	// formType is what a browser sends a form as.
	formType = "application/x-www-form-urlencoded"
)

// So many sessions, and bytes to name them in, are taken into one archive.
const (
	exportMax   = 20_000
	exportBytes = 1 << 20
)

// formats are those that a form may name.
var formats = []any{string(transcript.Markdown), string(transcript.Lines), string(transcript.HTML)}

// importTypes are the types that a file may be sent under; a browser knows none
// for .jsonl.
var importTypes = []string{"application/x-ndjson", "application/zip", "application/jsonl", "application/octet-stream", "application/x-zip-compressed"}

type exportInput struct {
	ID     string `path:"id" maxLength:"100"`
	Format string `query:"format" enum:"md,jsonl,html" default:"md" doc:"Markdown; lines of JSON, which alone can be imported; or one page of HTML"`
}

type exportAllInput struct {
	Format string `query:"format" enum:"md,jsonl,html" default:"jsonl" doc:"Of the files in the archive"`
}

// exportFormInput is a form, which huma does not read.
type exportFormInput struct {
	RawBody []byte `contentType:"application/x-www-form-urlencoded"`
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
		return s.exportOne(ctx, row, in.Format), nil
	})
	all := operation("export-all-sessions", http.MethodGet, exportPath, "sessions", "All sessions as an archive")
	all.Description = "A zip archive with a file for each session, archived ones too, those in the trash not."
	all.Responses = content("application/zip")
	// Who names some of them here must not get all.
	all.RejectUnknownQueryParameters = true
	register(s, api, all, func(ctx context.Context, in *exportAllInput) (*huma.StreamResponse, error) {
		ids, err := s.cfg.Store.SessionIDs(ctx)
		if err != nil {
			return nil, err
		}
		return s.exportMany(ctx, ids, in.Format), nil
	})
	some := operation("export-sessions", http.MethodPost, exportPath, "sessions", "Some sessions as an archive, or one as a file")
	some.Description = fmt.Sprintf("A form, so that a browser saves the file as it comes. It takes %d sessions, in %d kB. One that is asked for alone comes as a file by itself, several in a zip archive with a file for each.", exportMax, exportBytes>>10)
	some.Responses = content("application/zip", "text/markdown", "text/html", "application/x-ndjson")
	register(s, api, some, s.exportForm)
	explode := false
	api.OpenAPI().Paths[exportPath].Post.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{formType: {
		Schema: &huma.Schema{Type: huma.TypeObject, Required: []string{"ids"}, Properties: map[string]*huma.Schema{
			"ids":    {Type: huma.TypeArray, Items: &huma.Schema{Type: huma.TypeString}, Description: "With commas between them. What is in the trash, or no more, is left out; 404 where that is all"},
			"format": {Type: huma.TypeString, Enum: formats, Default: string(transcript.Lines), Description: "Of the files"},
		}},
		Encoding: map[string]*huma.Encoding{"ids": {Style: "form", Explode: &explode}},
	}}}
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

// exportForm answers a form with sessions in it.
func (s *Server) exportForm(ctx context.Context, in *exportFormInput) (*huma.StreamResponse, error) {
	form, err := url.ParseQuery(string(in.RawBody))
	if err != nil {
		return nil, newProblem(codeInvalidRequest, fmt.Sprintf("the form cannot be read: %v", err))
	}
	format := cmp.Or(form.Get("format"), string(transcript.Lines))
	if !slices.Contains(formats, any(format)) {
		return nil, newProblem(codeInvalidRequest, fmt.Sprintf("format: %.40q is none; it is md, jsonl or html", format))
	}
	wanted := strings.Split(form.Get("ids"), ",")
	if form.Get("ids") == "" {
		return nil, newProblem(codeInvalidRequest, "ids: name the sessions, with commas between them; GET gives all of them")
	}
	if len(wanted) > exportMax {
		return nil, newProblem(codeInvalidRequest, fmt.Sprintf("ids: %d sessions are too many at once; ask for %d at most, or for all of them with GET", len(wanted), exportMax))
	}
	if len(wanted) == 1 {
		row, err := s.session(ctx, wanted[0])
		if err != nil {
			return nil, err
		}
		return s.exportOne(ctx, row, format), nil
	}
	all, err := s.cfg.Store.SessionIDs(ctx)
	if err != nil {
		return nil, err
	}
	left := make(map[string]bool, len(all))
	for _, id := range all {
		left[id] = true
	}
	var ids []string
	for _, id := range wanted {
		if left[id] {
			ids = append(ids, id)
			delete(left, id)
		}
	}
	if len(ids) == 0 {
		return nil, newProblem(session.CodeNotFound, "none of these sessions exists, or they are in the trash")
	}
	return s.exportMany(ctx, ids, format), nil
}

func (s *Server) exportOne(ctx context.Context, row store.Session, format string) *huma.StreamResponse {
	e := s.exporter(ctx, format)
	return s.download(e.FileName(row), e.Format.ContentType(), func(ctx context.Context, w io.Writer) error { return e.Write(ctx, w, row) })
}

func (s *Server) exportMany(ctx context.Context, ids []string, format string) *huma.StreamResponse {
	e := s.exporter(ctx, format)
	return s.download(e.ArchiveName(time.Now()), "application/zip", func(ctx context.Context, w io.Writer) error { return e.WriteAll(ctx, w, ids) })
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
		// A form of the page is answered into a frame of it.
		hc.SetHeader("X-Frame-Options", "SAMEORIGIN")
		hc.SetHeader("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": name}))
		hc.SetStatus(http.StatusOK)
		if hc.Method() == http.MethodHead {
			return
		}
		r, w := humago.Unwrap(hc)
		rc := http.NewResponseController(w)
		// What was asked has come whole: its deadline is none of the answer.
		_ = rc.SetReadDeadline(time.Time{})
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer context.AfterFunc(s.life, cancel)()
		err := write(ctx, &patient{w: w, rc: rc, timeout: s.cfg.WriteTimeout})
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

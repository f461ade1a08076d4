package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/holdfast-dev/holdfast/internal/session"
	"github.com/holdfast-dev/holdfast/internal/store"
)

// uploadInput reads its body itself, so that a file is in memory once.
type uploadInput struct {
	r *http.Request
}

// Resolve implements huma.Resolver.
func (in *uploadInput) Resolve(ctx huma.Context) []error {
	in.r, _ = humago.Unwrap(ctx)
	return nil
}

// Uploaded is a stored attachment.
type Uploaded struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Type string `json:"type" doc:"As the content shows, not as the client says"`
	Size int    `json:"size"`
}

type uploadOutput struct {
	Body Uploaded
}

func (s *Server) attachmentRoutes(api huma.API) {
	const where = "/api/v1/attachments"
	op := operation("upload-attachment", http.MethodPost, where, "attachments", "Store a file for a message")
	op.DefaultStatus = http.StatusCreated
	register(s, api, op, s.upload)
	// Described after the registration: described before, it would be read.
	api.OpenAPI().Paths[where].Post.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
		"multipart/form-data": {Schema: &huma.Schema{Type: huma.TypeObject, Required: []string{"file"}, Properties: map[string]*huma.Schema{
			"file": {Type: huma.TypeString, Format: "binary"},
		}}},
	}}
	file := func(id, where, summary string) huma.Operation {
		op := operation(id, http.MethodGet, where, "attachments", summary)
		op.Responses = map[string]*huma.Response{"200": {Description: "The content", Content: map[string]*huma.MediaType{
			"application/octet-stream": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}},
		}}}
		return op
	}
	register(s, api, file("get-attachment", where+"/{id}", "A file that a person gave"), func(ctx context.Context, in *idInput) (*huma.StreamResponse, error) {
		a, err := s.cfg.Store.Attachment(ctx, in.ID)
		if errors.Is(err, store.ErrNotFound) {
			return nil, newProblem(session.CodeNotFound, fmt.Sprintf("there is no attachment %.100q", in.ID))
		}
		if err != nil {
			return nil, err
		}
		return foreign(a.Name, a.MIME, a.Data), nil
	})
	register(s, api, file("get-blob", "/api/v1/blobs/{id}", "A tool's output that is too long for its item"), func(ctx context.Context, in *idInput) (*huma.StreamResponse, error) {
		data, err := s.cfg.Store.Blob(ctx, in.ID)
		if errors.Is(err, store.ErrNotFound) {
			return nil, newProblem(session.CodeNotFound, fmt.Sprintf("there is no output %.100q; its session may have been deleted", in.ID))
		}
		if err != nil {
			return nil, err
		}
		return foreign("output.txt", "text/plain", data), nil
	})
}

// upload stores the first file of a form.
func (s *Server) upload(ctx context.Context, in *uploadInput) (*uploadOutput, error) {
	form, err := in.r.MultipartReader()
	if err != nil {
		return nil, newProblem(codeMediaType, "send the file as multipart/form-data, in the field \"file\"")
	}
	for {
		part, err := form.NextPart()
		if errors.Is(err, io.EOF) {
			return nil, newProblem(codeInvalidRequest, "the form has no file; send it in the field \"file\"")
		}
		if err != nil {
			return nil, s.uploadProblem(err)
		}
		if part.FileName() == "" {
			part.Close()
			continue
		}
		return s.keep(ctx, part)
	}
}

func (s *Server) keep(ctx context.Context, part *multipart.Part) (*uploadOutput, error) {
	defer part.Close()
	limit := s.cfg.Limits.Attachment
	data, err := io.ReadAll(io.LimitReader(part, limit+1))
	if err != nil {
		return nil, s.uploadProblem(err)
	}
	if int64(len(data)) > limit {
		return nil, s.uploadProblem(store.ErrTooLarge)
	}
	name := session.FileName(part.FileName())
	kind := sniff(data)
	id, err := s.cfg.Store.PutAttachment(context.WithoutCancel(ctx), name, kind, data)
	if err != nil {
		return nil, s.uploadProblem(err)
	}
	return &uploadOutput{Body: Uploaded{ID: id, Name: name, Type: kind, Size: len(data)}}, nil
}

func (s *Server) uploadProblem(err error) error {
	var over *http.MaxBytesError
	switch {
	case errors.Is(err, store.ErrTooLarge), errors.As(err, &over):
		return newProblem(codeBodyTooLarge, fmt.Sprintf("an attachment has at most %d bytes. Put larger files into the session's folder.", s.cfg.Limits.Attachment))
	case errors.Is(err, store.ErrCommit), errors.Is(err, store.ErrClosed):
		return err
	default:
		return newProblem(codeInvalidRequest, "the form ended early or is damaged; send it again")
	}
}

// sniff is the type that the content shows.
func sniff(data []byte) string {
	kind, _, err := mime.ParseMediaType(http.DetectContentType(data))
	if err != nil {
		return "application/octet-stream"
	}
	return kind
}

// foreign answers with content that is not ours. It can neither run nor be
// taken for a page: a sandbox without rights, no guessing of types, and only
// pictures are shown in place.
func foreign(name, kind string, data []byte) *huma.StreamResponse {
	return foreignFor(name, kind, data, "private, max-age=86400, immutable")
}

// changing is foreign for what may be another one in a moment.
func changing(name, kind string, data []byte) *huma.StreamResponse {
	return foreignFor(name, kind, data, "private, no-cache")
}

func foreignFor(name, kind string, data []byte, keep string) *huma.StreamResponse {
	how := "attachment"
	switch kind {
	case "image/png", "image/jpeg", "image/gif", "image/webp":
		how = "inline"
	case "text/plain":
		kind = "text/plain; charset=utf-8"
	default:
		kind = "application/octet-stream"
	}
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		ctx.SetHeader("Content-Type", kind)
		ctx.SetHeader("Content-Security-Policy", "default-src 'none'; sandbox")
		ctx.SetHeader("Content-Disposition", mime.FormatMediaType(how, map[string]string{"filename": name}))
		ctx.SetHeader("Cache-Control", keep)
		ctx.SetStatus(http.StatusOK)
		if ctx.Method() != http.MethodHead {
			_, _ = ctx.BodyWriter().Write(data) // a client that has gone reads no error
		}
	}}
}

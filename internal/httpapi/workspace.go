package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path"

	"github.com/danielgtaylor/huma/v2"

	"github.com/holdfast-dev/holdfast/internal/session"
	"github.com/holdfast-dev/holdfast/internal/workspace"
)

// FileQuery is what is asked for in a folder.
type FileQuery struct {
	Q     string `query:"q" maxLength:"200" doc:"Letters of the path, in order; empty lists what lies at the top"`
	Limit int    `query:"limit" minimum:"1" maximum:"200" default:"50"`
}

type filesInput struct {
	ID string `path:"id" maxLength:"100"`
	FileQuery
}

type folderFilesInput struct {
	Path string `query:"path" minLength:"1" maxLength:"4096" required:"true" doc:"An absolute path; ~ is the home folder"`
	FileQuery
}

type filesOutput struct {
	Body struct {
		Files []workspace.Found `json:"files" nullable:"false" doc:"Best first"`
		More  bool              `json:"more" doc:"The folder was too large to be looked through whole"`
	}
}

type rawInput struct {
	ID   string `path:"id" maxLength:"100"`
	Path string `query:"path" minLength:"1" maxLength:"4096" required:"true" doc:"Within the session's folder: relative, or absolute"`
}

func (s *Server) workspaceRoutes(api huma.API) {
	const where = "/api/v1/sessions/{id}/files"
	op := operation("find-files", http.MethodGet, where, "folders", "Files of the session's folder")
	op.Description = "Fuzzy. Leaves out what .gitignore names, and the folders of version control and packages. Looks at no more than 20,000 entries or half a second."
	register(s, api, op, func(ctx context.Context, in *filesInput) (*filesOutput, error) {
		row, err := s.session(ctx, in.ID)
		if err != nil {
			return nil, err
		}
		return findFiles(ctx, row.Cwd, in.FileQuery)
	})
	before := operation("find-folder-files", http.MethodGet, "/api/v1/folders/files", "folders", "Files of a folder in which no session is yet")
	before.Description = op.Description
	register(s, api, before, func(ctx context.Context, in *folderFilesInput) (*filesOutput, error) {
		dir, err := s.folderPath(in.Path)
		if err != nil {
			return nil, err
		}
		return findFiles(ctx, dir, in.FileQuery)
	})
	raw := operation("get-file", http.MethodGet, where+"/raw", "folders", "The content of a file in the session's folder")
	raw.Description = "Pictures are shown in place, everything else is downloaded: nothing of it can run as this page."
	raw.Responses = map[string]*huma.Response{"200": {Description: "The content", Content: map[string]*huma.MediaType{
		"application/octet-stream": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}},
	}}}
	register(s, api, raw, func(ctx context.Context, in *rawInput) (*huma.StreamResponse, error) {
		row, err := s.session(ctx, in.ID)
		if err != nil {
			return nil, err
		}
		data, err := workspace.Read(row.Cwd, in.Path)
		switch {
		case errors.Is(err, workspace.ErrTooLarge):
			return nil, newProblem(codeFileTooLarge, fmt.Sprintf("%.200q has more than %d MB", in.Path, workspace.ReadMax>>20))
		case errors.Is(err, workspace.ErrOutside):
			return nil, newProblem(codeFolderDenied, fmt.Sprintf("%.200q is not within the session's folder", in.Path))
		case errors.Is(err, workspace.ErrNotAFile), errors.Is(err, fs.ErrNotExist):
			return nil, newProblem(session.CodeNotFound, fmt.Sprintf("there is no file %.200q in the session's folder", in.Path))
		case err != nil:
			return nil, folderProblem(in.Path, err)
		}
		return changing(path.Base(in.Path), sniff(data), data), nil
	})
}

func findFiles(ctx context.Context, dir string, in FileQuery) (*filesOutput, error) {
	files, more, err := workspace.Find(ctx, dir, in.Q, in.Limit)
	if err != nil {
		return nil, folderProblem(dir, err)
	}
	out := &filesOutput{}
	out.Body.Files, out.Body.More = orEmpty(files), more
	return out, nil
}

package httpapi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/danielgtaylor/huma/v2"
)

// maxFolders bounds a list of folders, maxEntries what is read for it.
const (
	maxFolders = 1000
	maxEntries = 20_000
)

// Folder is a folder to choose.
type Folder struct {
	Name   string `json:"name"`
	Path   string `json:"path"`
	Hidden bool   `json:"hidden,omitempty"`
}

type foldersInput struct {
	Path   string `query:"path" maxLength:"4096" doc:"An absolute path; ~ is the home folder, which is also the default"`
	Hidden bool   `query:"hidden" doc:"Hidden folders too"`
}

type foldersOutput struct {
	Body struct {
		Path    string   `json:"path"`
		Parent  string   `json:"parent" doc:"Empty at the top"`
		Home    string   `json:"home"`
		Folders []Folder `json:"folders" nullable:"false"`
		More    bool     `json:"more" doc:"There are more than are listed"`
		Recent  []string `json:"recent" nullable:"false" doc:"Folders of the latest sessions"`
	}
}

type makeFolderInput struct {
	Body struct {
		Path string `json:"path" minLength:"1" maxLength:"4096" doc:"An absolute path whose parent exists"`
	}
}

type makeFolderOutput struct {
	Body Folder
}

func (s *Server) folderRoutes(api huma.API) {
	register(s, api, operation("list-folders", http.MethodGet, "/api/v1/folders", "folders", "Folders to choose from"), s.listFolders)
	op := operation("make-folder", http.MethodPost, "/api/v1/folders", "folders", "Make a folder")
	op.DefaultStatus = http.StatusCreated
	register(s, api, op, s.makeFolder)
}

func (s *Server) folderPath(path string) (string, error) {
	if path == "" || path == "~" {
		return filepath.Clean(s.cfg.Home), nil
	}
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		path = filepath.Join(s.cfg.Home, rest)
	}
	if strings.ContainsRune(path, 0) || !filepath.IsAbs(path) {
		return "", newProblem(codeInvalidRequest, fmt.Sprintf("path: %.200q is not an absolute path; begin it with / or ~/", path))
	}
	return filepath.Clean(path), nil
}

func (s *Server) listFolders(ctx context.Context, in *foldersInput) (*foldersOutput, error) {
	path, err := s.folderPath(in.Path)
	if err != nil {
		return nil, err
	}
	folders, more, err := readFolders(path, in.Hidden)
	if err != nil {
		return nil, folderProblem(path, err)
	}
	recent, err := s.cfg.Store.RecentFolders(ctx, 10)
	if err != nil {
		return nil, err
	}
	out := &foldersOutput{}
	out.Body.Path, out.Body.Home, out.Body.Folders, out.Body.More, out.Body.Recent = path, filepath.Clean(s.cfg.Home), folders, more, orEmpty(recent)
	if parent := filepath.Dir(path); parent != path {
		out.Body.Parent = parent
	}
	return out, nil
}

// readFolders lists the folders in path, links to folders too, by name.
func readFolders(path string, hidden bool) (folders []Folder, more bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return nil, false, err
	} else if !info.IsDir() {
		return nil, false, syscall.ENOTDIR
	}
	folders = []Folder{}
	for read := 0; ; {
		entries, err := f.ReadDir(256)
		for _, e := range entries {
			read++
			isHidden := strings.HasPrefix(e.Name(), ".")
			if isHidden && !hidden {
				continue
			}
			full := filepath.Join(path, e.Name())
			if e.Type()&fs.ModeSymlink != 0 {
				if info, err := os.Stat(full); err != nil || !info.IsDir() {
					continue
				}
			} else if !e.IsDir() {
				continue
			}
			folders = append(folders, Folder{Name: e.Name(), Path: full, Hidden: isHidden})
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, false, err
		}
		if read >= maxEntries {
			more = true
			break
		}
	}
	slices.SortFunc(folders, func(a, b Folder) int {
		return cmp.Or(cmp.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)), cmp.Compare(a.Name, b.Name))
	})
	if len(folders) > maxFolders {
		folders, more = folders[:maxFolders], true
	}
	return folders, more, nil
}

func (s *Server) makeFolder(_ context.Context, in *makeFolderInput) (*makeFolderOutput, error) {
	path, err := s.folderPath(in.Body.Path)
	if err != nil {
		return nil, err
	}
	if err := os.Mkdir(path, 0o755); err != nil {
		return nil, folderProblem(path, err)
	}
	return &makeFolderOutput{Body: Folder{Name: filepath.Base(path), Path: path, Hidden: strings.HasPrefix(filepath.Base(path), ".")}}, nil
}

// folderProblem says what is wrong with a folder, and what to do.
func folderProblem(path string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return newProblem(codeNoFolder, fmt.Sprintf("%q does not exist, or the folder that it is in does not. Choose another, or make it first.", path))
	case errors.Is(err, fs.ErrExist):
		return newProblem(codeFolderExists, fmt.Sprintf("%q exists already. Choose it, or another name.", path))
	case errors.Is(err, fs.ErrPermission):
		return newProblem(codeFolderDenied, fmt.Sprintf("the host's user may not use %q. Choose another folder, or change its permissions.", path))
	case errors.Is(err, syscall.ENOTDIR):
		return newProblem(codeNoFolder, fmt.Sprintf("%q is not a folder. Choose a folder.", path))
	case errors.Is(err, syscall.ENOSPC):
		return newProblem("disk_full", "")
	case errors.Is(err, syscall.EROFS), errors.Is(err, syscall.ENAMETOOLONG), errors.Is(err, syscall.ELOOP):
		return newProblem(codeFolderDenied, fmt.Sprintf("%q cannot be used: %v. Choose another folder.", path, errors.Unwrap(err)))
	default:
		return fmt.Errorf("use folder: %w", err)
	}
}

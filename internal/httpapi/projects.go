package httpapi

import (
	"context"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/holdfast-dev/holdfast/internal/session"
	"github.com/holdfast-dev/holdfast/internal/store"
)

type projectsOutput struct {
	Body struct {
		Projects []store.Project `json:"projects" nullable:"false" doc:"By name"`
	}
}

type makeProjectInput struct {
	Body struct {
		Cwd   string `json:"cwd" minLength:"1" maxLength:"4096" doc:"An absolute path of a folder; one project has it"`
		Name  string `json:"name,omitempty" maxLength:"200" doc:"By default the folder's"`
		Agent string `json:"agent,omitempty" maxLength:"100" doc:"An id of GET /api/v1/agents"`
	}
}

type changeProjectInput struct {
	ID      string `path:"id" maxLength:"100"`
	IfMatch string `header:"If-Match" doc:"The project's version"`
	Body    struct {
		Cwd   *string `json:"cwd,omitempty" maxLength:"4096"`
		Name  *string `json:"name,omitempty" maxLength:"200"`
		Agent *string `json:"agent,omitempty" maxLength:"100"`
	}
}

type projectOutput struct {
	ETag string `header:"ETag"`
	Body store.Project
}

func (s *Server) projectRoutes(api huma.API) {
	const where = "/api/v1/projects"
	answer := func(p store.Project, err error) (*projectOutput, error) {
		if err != nil {
			return nil, err
		}
		return &projectOutput{ETag: strconv.Quote(strconv.FormatInt(p.Version, 10)), Body: p}, nil
	}
	register(s, api, operation("list-projects", http.MethodGet, where, "projects", "Folders with a name and an agent"),
		func(ctx context.Context, _ *struct{}) (*projectsOutput, error) {
			list, err := s.cfg.Store.Projects(ctx)
			if err != nil {
				return nil, err
			}
			out := &projectsOutput{}
			out.Body.Projects = orEmpty(list)
			return out, nil
		})
	op := operation("make-project", http.MethodPost, where, "projects", "Make a project")
	op.DefaultStatus = http.StatusCreated
	op.Description = "Sessions that begin in its folder, or below it, belong to it unless they name another."
	register(s, api, op, func(ctx context.Context, in *makeProjectInput) (*projectOutput, error) {
		return answer(s.cfg.Sessions.PutProject(context.WithoutCancel(ctx), "", 0, session.ProjectChange{Name: &in.Body.Name, Cwd: &in.Body.Cwd, Agent: &in.Body.Agent}))
	})
	register(s, api, operation("change-project", http.MethodPatch, where+"/{id}", "projects", "Change a project"),
		func(ctx context.Context, in *changeProjectInput) (*projectOutput, error) {
			version, err := versionOf(in.IfMatch)
			if err != nil {
				return nil, err
			}
			return answer(s.cfg.Sessions.PutProject(context.WithoutCancel(ctx), in.ID, version, session.ProjectChange{Name: in.Body.Name, Cwd: in.Body.Cwd, Agent: in.Body.Agent}))
		})
	remove := operation("delete-project", http.MethodDelete, where+"/{id}", "projects", "Remove a project; its sessions stay")
	remove.DefaultStatus = http.StatusNoContent
	register(s, api, remove, func(ctx context.Context, in *idInput) (*struct{}, error) {
		return nil, s.cfg.Sessions.DeleteProject(context.WithoutCancel(ctx), in.ID)
	})
}

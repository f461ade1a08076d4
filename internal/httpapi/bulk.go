package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/holdfast-dev/holdfast/internal/session"
	"github.com/holdfast-dev/holdfast/internal/store"
)

type bulkInput struct {
	Body struct {
		IDs     []string `json:"ids" minItems:"1" maxItems:"500" nullable:"false"`
		Action  string   `json:"action" enum:"archive,unarchive,pin,unpin,tag,untag,project,delete,restore"`
		Tag     string   `json:"tag,omitempty" maxLength:"50" doc:"Of tag and untag"`
		Project string   `json:"project,omitempty" maxLength:"100" doc:"Of project: its id; empty for none"`
	}
}

// BulkResult says what became of one session.
type BulkResult struct {
	ID     string `json:"id"`
	OK     bool   `json:"ok"`
	Code   string `json:"code,omitempty" doc:"Why not: the code of a problem"`
	Detail string `json:"detail,omitempty"`
}

type bulkOutput struct {
	Body struct {
		Results []BulkResult `json:"results" nullable:"false" doc:"In the order of the ids"`
	}
}

type tagsOutput struct {
	Body struct {
		Tags []store.TagCount `json:"tags" nullable:"false" doc:"The most used first"`
	}
}

func (s *Server) bulkRoutes(api huma.API) {
	op := operation("change-sessions", http.MethodPost, "/api/v1/sessions/bulk", "sessions", "Do one thing to many sessions")
	op.Description = "Each succeeds or fails by itself. A version is not asked for: what it does does not depend on what was seen."
	register(s, api, op, func(ctx context.Context, in *bulkInput) (*bulkOutput, error) {
		if tags := in.Body.Action == session.BulkTag || in.Body.Action == session.BulkUntag; tags != (in.Body.Tag != "") {
			return nil, newProblem(codeInvalidRequest, "body.tag: it belongs to the actions tag and untag, which need it")
		}
		errs := s.cfg.Sessions.Bulk(context.WithoutCancel(ctx), session.Bulk{IDs: in.Body.IDs, Action: in.Body.Action, Tag: in.Body.Tag, Project: in.Body.Project})
		out := &bulkOutput{}
		for i, id := range in.Body.IDs {
			r := BulkResult{ID: id, OK: errs[i] == nil}
			if !r.OK {
				p := s.problemOf(ctx, errs[i])
				r.Code, r.Detail = p.Code, p.Detail
			}
			out.Body.Results = append(out.Body.Results, r)
		}
		return out, nil
	})
	register(s, api, operation("list-tags", http.MethodGet, "/api/v1/tags", "sessions", "The tags in use"),
		func(ctx context.Context, _ *struct{}) (*tagsOutput, error) {
			tags, err := s.cfg.Store.Tags(ctx)
			if err != nil {
				return nil, err
			}
			out := &tagsOutput{}
			out.Body.Tags = orEmpty(tags)
			return out, nil
		})
}

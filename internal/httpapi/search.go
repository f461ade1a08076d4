package httpapi

import (
	"context"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/holdfast-dev/holdfast/internal/session"
	"github.com/holdfast-dev/holdfast/internal/store"
)

type searchInput struct {
	Q       string `query:"q" maxLength:"2000" doc:"Words, \"phrases\"; the last word may be a beginning of two letters or more"`
	Session string `query:"session" maxLength:"100" doc:"Only in this session"`

	Kind     []string `query:"kind" maxItems:"10" enum:"said,run,user,assistant,thought,tool,plan,approval,notice,title" doc:"Only these, with commas between them. said are messages, answers, thoughts, plans and notices, run are tools and approvals"`
	Project  string   `query:"project" maxLength:"100" doc:"Only in sessions of this project: its id"`
	Tag      string   `query:"tag" maxLength:"50" doc:"Only in sessions with this tag"`
	Agent    string   `query:"agent" maxLength:"100" doc:"Only in sessions of this agent: its id"`
	Archived string   `query:"archived" enum:"true,false" doc:"Only in sessions that are archived, or that are not. Without it in both"`

	Before string `query:"before" maxLength:"40" doc:"next of the page before"`
	Limit  int    `query:"limit" minimum:"1" maximum:"100" default:"20"`
}

type searchOutput struct {
	Body struct {
		Hits   []store.Hit `json:"hits" nullable:"false" doc:"Newest first. A snippet is plain text in parts, of which some match"`
		Next   *string     `json:"next" doc:"before for the next page, or null. A page that is not full may have one: what was asked for is rare among what has the words, and the search goes on there"`
		Behind int64       `json:"behind" doc:"Events that the index has not come to yet; 0 but for a moment, and after a start or an import"`
	}
}

func (s *Server) searchRoute(api huma.API) {
	op := operation("search", http.MethodGet, "/api/v1/search", "search", "Everything that was said, run and printed, and titles")
	op.Description = "Finds messages, answers, thoughts, tools (titles, arguments, output: the first 192 KiB and the last 64 KiB), plans, approvals, notices and session titles, without regard to case and accents. What an agent is still writing is found when it is finished."
	register(s, api, op, func(ctx context.Context, in *searchInput) (*searchOutput, error) {
		query := store.Query{
			Text: in.Q, Session: in.Session, Kinds: in.Kind, Project: in.Project, Tag: in.Tag, Agent: in.Agent,
			Before: in.Before, Limit: in.Limit,
		}
		if in.Archived != "" {
			archived := in.Archived == "true"
			query.Archived = &archived
		}
		page, err := s.cfg.Store.Search(ctx, query)
		switch {
		case errors.Is(err, store.ErrNotFound) && in.Before != "":
			return nil, newProblem(codeUnknownCursor, "before is not one that this search gave out, or the session is gone; begin without it")
		case errors.Is(err, store.ErrNotFound):
			return nil, newProblem(session.CodeNotFound, "the session does not exist, or no longer")
		case err != nil:
			return nil, err
		}
		out := &searchOutput{}
		out.Body.Hits, out.Body.Behind = orEmpty(page.Hits), page.Behind
		if page.Next != "" {
			out.Body.Next = &page.Next
		}
		return out, nil
	})
}

package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/holdfast-dev/holdfast/internal/session"
)

type rewindInput struct {
	ID   string `path:"id" maxLength:"100"`
	Body struct {
		Item string `json:"item" minLength:"1" maxLength:"100" doc:"A message of a person: it and all after it are taken back"`
	}
}

type forkInput struct {
	ID   string `path:"id" maxLength:"100"`
	Body struct {
		Item     string `json:"item,omitempty" maxLength:"100" doc:"The last item that the copy has; without it, all"`
		Title    string `json:"title,omitempty" maxLength:"300"`
		ClientID string `json:"client_id,omitempty" maxLength:"200" doc:"Repeated, it is the same session"`
	}
}

func (s *Server) forkRoutes(api huma.API) {
	op := operation("rewind-session", http.MethodPost, "/api/v1/sessions/{id}/rewind", "sessions", "Take back a message and all after it")
	op.Description = "Kept in the log, not shown. The agent begins anew and is told of what is left. 409 session_busy while a run is under way or waits: cancel it first."
	register(s, api, op, func(ctx context.Context, in *rewindInput) (*sessionOutput, error) {
		row, err := s.cfg.Sessions.Rewind(context.WithoutCancel(ctx), in.ID, in.Body.Item)
		if err != nil {
			return nil, err
		}
		return detail(row), nil
	})
	fork := operation("fork-session", http.MethodPost, "/api/v1/sessions/{id}/fork", "sessions", "Begin another session from a place in this one")
	fork.DefaultStatus = http.StatusCreated
	fork.Description = "Copies the transcript up to the item, what is not finished left out; the agent is told of it with the first message. 200 where the client_id has made it already."
	register(s, api, fork, func(ctx context.Context, in *forkInput) (*createOutput, error) {
		made, existing, err := s.cfg.Sessions.Fork(context.WithoutCancel(ctx), in.ID, session.Fork{Item: in.Body.Item, Title: in.Body.Title, ClientID: in.Body.ClientID})
		if err != nil {
			return nil, err
		}
		out := &createOutput{Status: http.StatusCreated, Location: "/api/v1/sessions/" + made.ID, Body: made}
		if existing {
			out.Status = http.StatusOK
		}
		return out, nil
	})
}

package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/holdfast-dev/holdfast/internal/session"
	"github.com/holdfast-dev/holdfast/internal/store"
)

type approvalsInput struct {
	State   string `query:"state" enum:"pending,answered,expired,cancelled" default:"pending"`
	Session string `query:"session" maxLength:"100" doc:"Only those of this session"`
}

type approvalsOutput struct {
	Body struct {
		Approvals []store.Approval `json:"approvals" nullable:"false"`
	}
}

type answerInput struct {
	ID   string `path:"id" maxLength:"100"`
	Body struct {
		Option   string `json:"option" minLength:"1" maxLength:"500" doc:"The id of one of the approval's options"`
		ClientID string `json:"client_id,omitempty" maxLength:"200" doc:"The same client's repeated answer is answered the same"`
	}
}

type approvalOutput struct {
	Body store.Approval
}

func (s *Server) approvalRoutes(api huma.API) {
	register(s, api, operation("list-approvals", http.MethodGet, "/api/v1/approvals", "approvals", "Questions of agents to a person"),
		func(ctx context.Context, in *approvalsInput) (*approvalsOutput, error) {
			list, err := s.cfg.Store.Approvals(ctx, in.State, in.Session)
			if err != nil {
				return nil, err
			}
			out := &approvalsOutput{}
			out.Body.Approvals = orEmpty(list)
			return out, nil
		})
	register(s, api, operation("get-approval", http.MethodGet, "/api/v1/approvals/{id}", "approvals", "One question"),
		func(ctx context.Context, in *idInput) (*approvalOutput, error) {
			a, err := s.cfg.Store.Approval(ctx, in.ID)
			if errors.Is(err, store.ErrNotFound) {
				return nil, newProblem(session.CodeNotFound, fmt.Sprintf("there is no question %.100q; its session may have been deleted", in.ID))
			}
			return &approvalOutput{Body: a}, err
		})
	op := operation("answer-approval", http.MethodPost, "/api/v1/approvals/{id}", "approvals", "Answer a question, once")
	op.Description = "Answered exactly once: a second device gets 409 with the answer that was given."
	register(s, api, op, func(ctx context.Context, in *answerInput) (*approvalOutput, error) {
		a, err := s.cfg.Sessions.Answer(context.WithoutCancel(ctx), in.ID, session.Answer{
			Option: in.Body.Option, ClientID: in.Body.ClientID, By: identityOf(ctx).Name,
		})
		if err != nil {
			return nil, err
		}
		return &approvalOutput{Body: a}, nil
	})
}

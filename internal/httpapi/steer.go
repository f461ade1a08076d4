package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/holdfast-dev/holdfast/internal/session"
)

type steerInput struct {
	ID   string `path:"id" maxLength:"100"`
	Body struct {
		ClientID string `json:"client_id" minLength:"1" maxLength:"200" doc:"Made by the client; per session. Repeated with the same text it is the same message."`
		Run      string `json:"run" minLength:"1" maxLength:"100" doc:"The session's run that is under way"`
		Text     string `json:"text,omitempty" doc:"What is said; or else queued"`
		Queued   string `json:"queued,omitempty" maxLength:"100" doc:"The run of a message that waits: it is said now, and does not wait any more"`
	}
}

type steerOutput struct {
	Body struct {
		Item  string `json:"item" doc:"The message"`
		Run   string `json:"run" doc:"The message's own run, which begins only where it came too late"`
		Seq   int64  `json:"seq"`
		State string `json:"state" enum:"sent,taken,read,late" doc:"sent: on its way. taken: the agent has it, and reads it behind its next tool call. read: it has. late: the run was over, or read nothing more; it is a message like any other, the next one."`
	}
}

func (s *Server) steerRoute(api huma.API) {
	op := operation("steer-run", http.MethodPost, "/api/v1/sessions/{id}/steer", "sessions", "Say something into the run that is under way")
	op.DefaultStatus = http.StatusAccepted
	op.Description = "Where options.steer of the session is true. Answered when the message is on the disk; message.steered tells what becomes of it. What the run does not read follows it as a message, by itself; after a run that was stopped or cut off it waits in the paused queue. " +
		"409 cannot_steer where the agent takes nothing in the middle of a run, 409 run_not_current where run is not under way, waits for its agent or is being stopped, 409 not_queued where queued does not wait."
	register(s, api, op, func(ctx context.Context, in *steerInput) (*steerOutput, error) {
		if err := s.textFits(in.Body.Text); err != nil {
			return nil, err
		}
		got, err := s.cfg.Sessions.Steer(context.WithoutCancel(ctx), in.ID, session.Steer{
			ClientID: in.Body.ClientID, Run: in.Body.Run, Text: in.Body.Text, Queued: in.Body.Queued,
		})
		if err != nil {
			return nil, err
		}
		out := &steerOutput{}
		out.Body.Item, out.Body.Run, out.Body.Seq, out.Body.State = got.Item, got.Run, got.Seq, got.State
		return out, nil
	})
}

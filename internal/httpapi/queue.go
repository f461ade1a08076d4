package httpapi

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/holdfast-dev/holdfast/internal/session"
	"github.com/holdfast-dev/holdfast/internal/store"
)

type queueListOutput struct {
	Body struct {
		Paused bool           `json:"paused"`
		Queue  []store.Queued `json:"queue" nullable:"false" doc:"First to go first"`
	}
}

type queuedInput struct {
	ID  string `path:"id" maxLength:"100"`
	Run string `path:"run" maxLength:"100" doc:"The run of the message that waits"`
}

type editInput struct {
	ID   string `path:"id" maxLength:"100"`
	Run  string `path:"run" maxLength:"100" doc:"The run of the message that waits"`
	Body struct {
		Text string `json:"text"`
	}
}

type orderInput struct {
	ID   string `path:"id" maxLength:"100"`
	Body struct {
		Runs []string `json:"runs" maxItems:"1000" nullable:"false" doc:"Every run that waits, once, first to go first"`
	}
}

// Choice is what a person chooses of what an agent offers.
type Choice struct {
	Mode   string                     `json:"mode,omitempty" maxLength:"500" doc:"The id of one of the agent's modes, or a value of its option of the category mode; at most 500 bytes"`
	Model  string                     `json:"model,omitempty" maxLength:"500" doc:"The id of one of the agent's models, or a value of its option of the category model; at most 500 bytes"`
	Config map[string]json.RawMessage `json:"config,omitempty" doc:"By the id of the agent's option: a string or a boolean; at most 100 are kept"`
}

type optionsInput struct {
	ID   string `path:"id" maxLength:"100"`
	Body Choice
}

type optionsOutput struct {
	Body struct {
		Options json.RawMessage `json:"options" doc:"As in agent.options; the agent's answer comes on the stream"`
	}
}

func (s *Server) queueRoutes(api huma.API) {
	const where = "/api/v1/sessions/{id}/queue"
	list := func(ctx context.Context, id string) (*queueListOutput, error) {
		queue, paused, err := s.cfg.Store.Queue(ctx, id)
		if err != nil {
			return nil, missing(err, id)
		}
		out := &queueListOutput{}
		out.Body.Paused, out.Body.Queue = paused, orEmpty(queue)
		return out, nil
	}
	register(s, api, operation("get-queue", http.MethodGet, where, "sessions", "The messages that wait"),
		func(ctx context.Context, in *idInput) (*queueListOutput, error) { return list(ctx, in.ID) })
	order := operation("order-queue", http.MethodPut, where, "sessions", "Give the messages that wait another order")
	order.Description = "409 queue_changed where runs does not name each that waits once."
	register(s, api, order, func(ctx context.Context, in *orderInput) (*queueListOutput, error) {
		if err := s.cfg.Sessions.Reorder(context.WithoutCancel(ctx), in.ID, in.Body.Runs); err != nil {
			return nil, err
		}
		return list(ctx, in.ID)
	})
	edit := operation("edit-queued", http.MethodPatch, where+"/{run}", "sessions", "Change the text of a message that waits")
	edit.Description = "409 not_queued where it has begun."
	register(s, api, edit, func(ctx context.Context, in *editInput) (*queueListOutput, error) {
		if err := s.textFits(in.Body.Text); err != nil {
			return nil, err
		}
		if err := s.cfg.Sessions.EditQueued(context.WithoutCancel(ctx), in.ID, in.Run, in.Body.Text); err != nil {
			return nil, err
		}
		return list(ctx, in.ID)
	})
	remove := operation("remove-queued", http.MethodDelete, where+"/{run}", "sessions", "Take a message out of the queue")
	remove.DefaultStatus = http.StatusNoContent
	remove.Description = edit.Description
	register(s, api, remove, func(ctx context.Context, in *queuedInput) (*struct{}, error) {
		return nil, s.cfg.Sessions.Unqueue(context.WithoutCancel(ctx), in.ID, in.Run)
	})
	options := operation("set-options", http.MethodPost, "/api/v1/sessions/{id}/options", "sessions", "Choose mode, model and options of the agent")
	options.DefaultStatus = http.StatusAccepted
	options.Description = "Kept for every life of the agent, so it may be chosen while none runs. What the agent refuses is said by a notice and forgotten."
	register(s, api, options, func(ctx context.Context, in *optionsInput) (*optionsOutput, error) {
		got, err := s.cfg.Sessions.Choose(context.WithoutCancel(ctx), in.ID, session.Choice(in.Body))
		if err != nil {
			return nil, err
		}
		out := &optionsOutput{}
		out.Body.Options = got
		return out, nil
	})
}

package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/holdfast-dev/holdfast/internal/session"
	"github.com/holdfast-dev/holdfast/internal/store"
)

// sidebarLimit is how many sessions a list has unless it is asked otherwise;
// the deep probe reads as many.
const sidebarLimit = 100

type idInput struct {
	ID string `path:"id" maxLength:"100"`
}

type agentsOutput struct {
	Body struct {
		Agents []session.AgentInfo `json:"agents" nullable:"false"`
	}
}

type offersOutput struct {
	Body struct {
		Modes    json.RawMessage `json:"modes,omitempty" doc:"As the agent gave it; current is what that session has"`
		Models   json.RawMessage `json:"models,omitempty" doc:"Likewise"`
		Config   json.RawMessage `json:"config,omitempty" doc:"Likewise: its own options"`
		Commands json.RawMessage `json:"commands,omitempty" doc:"Likewise: what a message may begin with, after a slash"`
	}
}

type listInput struct {
	Limit int    `query:"limit" minimum:"1" maximum:"500" default:"100"`
	Page  string `query:"page" maxLength:"40" doc:"next of the page before"`

	Archived bool   `query:"archived" doc:"Those that are archived, instead of those that are not"`
	Deleted  bool   `query:"deleted" doc:"Those in the trash, archived or not"`
	Tag      string `query:"tag" maxLength:"50" doc:"Only those with this tag"`
	Project  string `query:"project" maxLength:"100" doc:"Only those of this project"`
}

type listOutput struct {
	Body struct {
		Sessions []store.Session `json:"sessions" nullable:"false" doc:"Latest activity first. The first page has all pinned ones: those older than it stand at its end. Later pages have none."`
		Next     *string         `json:"next" doc:"page for the next page, or null"`
		Cursor   string          `json:"cursor" doc:"The stream from here misses nothing"`
	}
}

type createInput struct {
	Body struct {
		Agent    string `json:"agent" minLength:"1" maxLength:"100" doc:"An id of GET /api/v1/agents"`
		Cwd      string `json:"cwd" minLength:"1" maxLength:"4096" doc:"An absolute path of a folder"`
		Title    string `json:"title,omitempty" maxLength:"300"`
		Project  string `json:"project,omitempty" maxLength:"100" doc:"A project's id; by default the one whose folder holds cwd"`
		ClientID string `json:"client_id,omitempty" maxLength:"200" doc:"Repeated, it is the same session, with what was chosen the first time"`
		Choice
	}
}

type createOutput struct {
	Status   int
	Location string `header:"Location"`
	Body     store.Session
}

// SessionDetail is one session with what its page needs besides the transcript.
type SessionDetail struct {
	store.Session
	Options json.RawMessage `json:"options,omitempty" doc:"What the agent lets a person choose, as in agent.options; steer: whether a run can be steered"`
}

// MarshalJSON implements json.Marshaler. The row has one of its own, which
// would write the row alone.
func (d SessionDetail) MarshalJSON() ([]byte, error) {
	row, err := json.Marshal(d.Session)
	if err != nil || len(d.Options) == 0 {
		return row, err
	}
	row = append(row[:len(row)-1], `,"options":`...)
	return append(append(row, d.Options...), '}'), nil
}

type sessionOutput struct {
	ETag string `header:"ETag"`
	Body SessionDetail
}

type patchInput struct {
	ID      string `path:"id" maxLength:"100"`
	IfMatch string `header:"If-Match" doc:"The session's version"`
	Body    struct {
		Title    *string   `json:"title,omitempty" maxLength:"300"`
		Pinned   *bool     `json:"pinned,omitempty"`
		Archived *bool     `json:"archived,omitempty"`
		Tags     *[]string `json:"tags,omitempty" nullable:"false" maxItems:"20" doc:"All of them; each has 1 to 50 bytes"`
		Project  *string   `json:"project,omitempty" maxLength:"100" doc:"A project's id; empty for none"`
	}
}

type deleteInput struct {
	ID      string `path:"id" maxLength:"100"`
	Forever bool   `query:"forever" doc:"Remove it now, from the trash too. It cannot be had back."`
}

type messageInput struct {
	ID   string `path:"id" maxLength:"100"`
	Body struct {
		ClientID    string   `json:"client_id" minLength:"1" maxLength:"200" doc:"Made by the client; per session. Repeated with the same text it is the same message."`
		Text        string   `json:"text"`
		Attachments []string `json:"attachments,omitempty" maxItems:"20"`
		Rewind      string   `json:"rewind,omitempty" maxLength:"100" doc:"An earlier message's item: it and all after it are taken back first, in the same step. So a message is edited and run again, and a run tried again."`
	}
}

type messageOutput struct {
	Body session.Accepted
}

type cancelInput struct {
	ID   string `path:"id" maxLength:"100"`
	Body struct {
		Run string `json:"run" minLength:"1" maxLength:"100" doc:"The session's current run or a queued one"`
	}
}

type cancelOutput struct {
	Body struct {
		Run string `json:"run"`
	}
}

type queueInput struct {
	ID   string `path:"id" maxLength:"100"`
	Body struct {
		Paused bool `json:"paused"`
	}
}

type queueOutput struct {
	Body struct {
		Paused bool `json:"paused"`
	}
}

type endInput struct {
	ID   string `path:"id" maxLength:"100"`
	Body *struct {
		Force bool `json:"force,omitempty" doc:"Give up on what is left of its processes"`
	}
}

type printedOutput struct {
	Body session.Printed
}

type itemsInput struct {
	ID     string `path:"id" maxLength:"100"`
	Before int64  `query:"before" minimum:"0" doc:"Only items whose seq is less; 0 begins at the newest"`
	After  int64  `query:"after" minimum:"0" doc:"Only items whose seq is greater, the oldest first"`
	Around string `query:"around" maxLength:"100" doc:"An item: it, and as many before as after it"`
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"50"`
}

type itemsOutput struct {
	Body struct {
		Items  []store.Item `json:"items" nullable:"false" doc:"Ascending; open ones folded to the cursor"`
		Cursor string       `json:"cursor" doc:"The stream from here misses nothing"`
		Last   int64        `json:"last_event" doc:"The log's last event at the cursor: a session whose activity is higher has more"`
		Seq    int64        `json:"seq" doc:"The session's seq at the cursor"`
		More   bool         `json:"more" doc:"There may be older items"`
		Newer  bool         `json:"newer" doc:"There may be newer items"`
		Runs   []RunView    `json:"runs" nullable:"false" doc:"The runs that the items belong to; on the page with the newest item, and on one around an item, also those that have not ended"`

		Plan     *store.Item `json:"plan,omitempty" doc:"The plan of the newest run, where it is not among the items; on a page that does not reach the end only while that run is under way"`
		Messages []Asked     `json:"messages" nullable:"false" doc:"Those of the runs that are not among the items: sent while another run was on, or with an answer longer than a page, or waiting, or said into one of them after having waited"`
	}
}

// Asked is a message beside the page with its answer.
type Asked struct {
	Item   store.Item `json:"item"`
	Before int64      `json:"before" doc:"seq of the first item of its run, where it is read; 0 where there is none yet; of one that was said into a run, where that was"`
}

// RunView is how a run stands, beside the items that belong to it.
type RunView struct {
	ID        string     `json:"id"`
	Item      string     `json:"item" doc:"The message that it answers"`
	State     string     `json:"state" enum:"queued,current,ended"`
	Reason    string     `json:"reason,omitempty" doc:"How it ended: that of run.ended"`
	Detail    string     `json:"detail,omitempty" doc:"Why, in words"`
	StartedAt *time.Time `json:"started_at,omitempty"`
	EndedAt   *time.Time `json:"ended_at,omitempty"`
	store.Said
}

func runViews(runs []store.Run) []RunView {
	out := make([]RunView, 0, len(runs))
	for _, r := range runs {
		v := RunView{ID: r.ID, Item: r.Item, State: r.State, Reason: r.Reason, Detail: r.Detail, Said: r.Said}
		if !r.StartedAt.IsZero() {
			v.StartedAt = &r.StartedAt
		}
		if !r.EndedAt.IsZero() {
			v.EndedAt = &r.EndedAt
		}
		out = append(out, v)
	}
	return out
}

type eventsInput struct {
	ID    string `path:"id" maxLength:"100"`
	After int64  `query:"after" minimum:"0" doc:"Only events whose seq is greater"`
	Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"1000"`
}

type eventsOutput struct {
	Body struct {
		Events []store.Event `json:"events" nullable:"false"`
		Last   int64         `json:"last" doc:"The session's last seq"`
	}
}

func (s *Server) sessionRoutes(api huma.API) {
	register(s, api, operation("list-agents", http.MethodGet, "/api/v1/agents", "agents", "The agents of this machine"),
		func(ctx context.Context, _ *struct{}) (*agentsOutput, error) {
			out := &agentsOutput{}
			out.Body.Agents = orEmpty(s.cfg.Sessions.Agents(ctx))
			return out, nil
		})
	offers := operation("agent-offers", http.MethodGet, "/api/v1/agents/{id}/options", "agents", "What an agent lets a person choose before it is started")
	offers.Description = "As the newest session says that it has opened, in the form of agent.options. An agent that never ran here offers nothing."
	register(s, api, offers, func(ctx context.Context, in *idInput) (*offersOutput, error) {
		got, err := s.cfg.Store.Offers(ctx, in.ID)
		if err != nil {
			return nil, err
		}
		out := &offersOutput{}
		out.Body.Modes, out.Body.Models, out.Body.Config, out.Body.Commands = got.Modes, got.Models, got.Config, got.Commands
		return out, nil
	})
	register(s, api, operation("list-sessions", http.MethodGet, "/api/v1/sessions", "sessions", "The sessions, latest activity first"), s.listSessions)
	create := operation("create-session", http.MethodPost, "/api/v1/sessions", "sessions", "Start a session")
	create.DefaultStatus = http.StatusCreated
	create.Description = "201 for a new one, 200 where the client_id has made it already. mode, model and config are set before the agent gets the first message; what it does not offer then is said by a notice and forgotten, and the message goes to it all the same."
	register(s, api, create, s.createSession)
	register(s, api, operation("get-session", http.MethodGet, "/api/v1/sessions/{id}", "sessions", "One session"), s.getSession)
	register(s, api, operation("change-session", http.MethodPatch, "/api/v1/sessions/{id}", "sessions", "Change what a person set"), s.patchSession)
	remove := operation("delete-session", http.MethodDelete, "/api/v1/sessions/{id}", "sessions", "Delete a session and its transcript")
	remove.DefaultStatus = http.StatusNoContent
	remove.Description = "Its agent is ended, and it is gone from lists and the search at once. For 30 days it lies in the trash, from where restore brings it back."
	register(s, api, remove, func(ctx context.Context, in *deleteInput) (*struct{}, error) {
		return nil, s.cfg.Sessions.Delete(context.WithoutCancel(ctx), in.ID, in.Forever)
	})
	register(s, api, operation("restore-session", http.MethodPost, "/api/v1/sessions/{id}/restore", "sessions", "Take a session out of the trash"),
		func(ctx context.Context, in *idInput) (*sessionOutput, error) {
			row, err := s.cfg.Sessions.Restore(context.WithoutCancel(ctx), in.ID)
			if err != nil {
				return nil, err
			}
			return detail(row), nil
		})
	s.bulkRoutes(api)
	s.forkRoutes(api)
	s.projectRoutes(api)
	send := operation("send-message", http.MethodPost, "/api/v1/sessions/{id}/messages", "sessions", "Send a message")
	send.DefaultStatus = http.StatusAccepted
	send.Description = "Answered when the message is on the disk. It starts at once, or waits its turn."
	register(s, api, send, s.sendMessage)
	cancel := operation("cancel-run", http.MethodPost, "/api/v1/sessions/{id}/cancel", "sessions", "Cancel a run")
	cancel.DefaultStatus = http.StatusAccepted
	register(s, api, cancel, func(ctx context.Context, in *cancelInput) (*cancelOutput, error) {
		if err := s.cfg.Sessions.Cancel(context.WithoutCancel(ctx), in.ID, in.Body.Run); err != nil {
			return nil, err
		}
		out := &cancelOutput{}
		out.Body.Run = in.Body.Run
		return out, nil
	})
	register(s, api, operation("pause-queue", http.MethodPost, "/api/v1/sessions/{id}/queue", "sessions", "Pause or resume the queue"),
		func(ctx context.Context, in *queueInput) (*queueOutput, error) {
			if err := s.cfg.Sessions.SetPaused(context.WithoutCancel(ctx), in.ID, in.Body.Paused); err != nil {
				return nil, err
			}
			out := &queueOutput{}
			out.Body.Paused = in.Body.Paused
			return out, nil
		})
	s.queueRoutes(api)
	s.steerRoute(api)
	s.workspaceRoutes(api)
	end := operation("end-agent", http.MethodPost, "/api/v1/sessions/{id}/agent/end", "sessions", "End a hung agent; its run is interrupted")
	end.DefaultStatus = http.StatusAccepted
	register(s, api, end, func(ctx context.Context, in *endInput) (*struct{}, error) {
		return nil, s.cfg.Sessions.EndAgent(context.WithoutCancel(ctx), in.ID, in.Body != nil && in.Body.Force)
	})
	printed := operation("agent-log", http.MethodGet, "/api/v1/sessions/{id}/agent/log", "sessions", "What the session's agent printed last, on stderr and beside the protocol")
	printed.Description = "Asked of its keeper, and not kept: 409 no_agent where none runs. What an agent printed before it failed or was cut off is in a notice of its run."
	register(s, api, printed, func(ctx context.Context, in *idInput) (*printedOutput, error) {
		if _, err := s.session(ctx, in.ID); err != nil {
			return nil, err
		}
		p, err := s.cfg.Sessions.Printed(ctx, in.ID)
		return &printedOutput{Body: p}, err
	})
	items := operation("list-items", http.MethodGet, "/api/v1/sessions/{id}/items", "sessions", "A page of the transcript")
	items.Description = "The newest one, or by one of before, after and around another. 404 where the session has no item of that id to be around, or it was taken back."
	register(s, api, items, s.listItems)
	register(s, api, operation("list-events", http.MethodGet, "/api/v1/sessions/{id}/events", "sessions", "The session's part of the log"), s.listEvents)
}

func (s *Server) listSessions(ctx context.Context, in *listInput) (*listOutput, error) {
	page, err := s.cfg.Store.Sessions(ctx, store.SessionsFilter{Archived: in.Archived, Deleted: in.Deleted, Tag: in.Tag, Project: in.Project}, in.Page, in.Limit)
	if errors.Is(err, store.ErrNotFound) {
		return nil, newProblem(codeUnknownCursor, "page is not one that this list gave out; begin without it")
	}
	if err != nil {
		return nil, err
	}
	out := &listOutput{}
	out.Body.Sessions = orEmpty(page.Sessions)
	out.Body.Cursor = page.Cursor
	if page.Next != "" {
		out.Body.Next = &page.Next
	}
	return out, nil
}

func (s *Server) createSession(ctx context.Context, in *createInput) (*createOutput, error) {
	made, existing, err := s.cfg.Sessions.Create(context.WithoutCancel(ctx), session.New{
		Agent: in.Body.Agent, Cwd: in.Body.Cwd, Title: in.Body.Title, Project: in.Body.Project, ClientID: in.Body.ClientID,
		Choice: session.Choice(in.Body.Choice),
	})
	if err != nil {
		return nil, err
	}
	out := &createOutput{Status: http.StatusCreated, Location: "/api/v1/sessions/" + made.ID, Body: made}
	if existing {
		out.Status = http.StatusOK
	}
	return out, nil
}

func (s *Server) getSession(ctx context.Context, in *idInput) (*sessionOutput, error) {
	row, err := s.session(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return detail(row), nil
}

func detail(row store.Session) *sessionOutput {
	return &sessionOutput{ETag: strconv.Quote(strconv.FormatInt(row.Version, 10)), Body: SessionDetail{Session: row, Options: row.Options}}
}

// session reads a row, or says which session there is not.
func (s *Server) session(ctx context.Context, id string) (store.Session, error) {
	row, err := s.cfg.Store.Session(ctx, id)
	if err == nil && row.DeletedAt != nil {
		return row, newProblem(session.CodeNotFound, fmt.Sprintf("the session %.100q is in the trash; POST /api/v1/sessions/%.100s/restore brings it back", id, id))
	}
	return row, missing(err, id)
}

// missing says which session there is not.
func missing(err error, id string) error {
	if errors.Is(err, store.ErrNotFound) {
		p := newProblem(session.CodeNotFound, fmt.Sprintf("there is no session %.100q; it may have been deleted", id))
		p.Session = id
		return p
	}
	return err
}

func (s *Server) patchSession(ctx context.Context, in *patchInput) (*sessionOutput, error) {
	version, err := versionOf(in.IfMatch)
	if err != nil {
		return nil, err
	}
	row, err := s.cfg.Sessions.Patch(context.WithoutCancel(ctx), in.ID, version, session.Patch{
		Title: in.Body.Title, Pinned: in.Body.Pinned, Archived: in.Body.Archived, Tags: in.Body.Tags, Project: in.Body.Project,
	})
	if err != nil {
		return nil, err
	}
	return detail(row), nil
}

// versionOf reads If-Match.
func versionOf(header string) (int64, error) {
	if header == "" {
		return 0, newProblem(codeNeedVersion, "")
	}
	version, err := strconv.ParseInt(strings.Trim(strings.TrimPrefix(header, "W/"), `"`), 10, 64)
	if err != nil {
		return 0, newProblem(session.CodeVersionConflict, "If-Match is not a version; it is the number in version")
	}
	return version, nil
}

// textFits refuses a text that no message takes.
func (s *Server) textFits(text string) error {
	if n := len(text); n > s.cfg.Limits.Text {
		return newProblem(codeBodyTooLarge, fmt.Sprintf("the text has %d bytes, a message takes %d. Put it into a file of the session's folder and name the file.", n, s.cfg.Limits.Text))
	}
	return nil
}

func (s *Server) sendMessage(ctx context.Context, in *messageInput) (*messageOutput, error) {
	if err := s.textFits(in.Body.Text); err != nil {
		return nil, err
	}
	if strings.TrimSpace(in.Body.Text) == "" && len(in.Body.Attachments) == 0 {
		return nil, newProblem(codeInvalidRequest, "body.text: the message is empty; write something or attach a file")
	}
	// What has arrived whole is taken, also when the client hangs up now.
	accepted, err := s.cfg.Sessions.Send(context.WithoutCancel(ctx), in.ID, session.Message{
		ClientID: in.Body.ClientID, Text: in.Body.Text, Attachments: in.Body.Attachments, Rewind: in.Body.Rewind,
	})
	if err != nil {
		return nil, err
	}
	return &messageOutput{Body: accepted}, nil
}

func (s *Server) listItems(ctx context.Context, in *itemsInput) (*itemsOutput, error) {
	page, err := s.itemsPage(ctx, in)
	if err != nil {
		return nil, err
	}
	out := &itemsOutput{}
	out.Body.Items = orEmpty(page.Items)
	out.Body.Cursor, out.Body.Last, out.Body.Seq = page.Cursor, page.Last, page.Seq
	out.Body.More, out.Body.Newer = page.More, page.Newer
	out.Body.Runs, out.Body.Plan = runViews(page.Runs), page.Plan
	out.Body.Messages = make([]Asked, 0, len(page.Messages))
	for _, m := range page.Messages {
		out.Body.Messages = append(out.Body.Messages, Asked(m))
	}
	return out, nil
}

// itemsPage reads the page that is asked for by at most one of before, after
// and around.
func (s *Server) itemsPage(ctx context.Context, in *itemsInput) (page store.ItemsPage, err error) {
	switch {
	case in.Before > 0 && in.After > 0, in.Around != "" && (in.Before > 0 || in.After > 0):
		return page, newProblem(session.CodeBadRequest, "only one of before, after and around can be asked for")
	case in.Around != "":
		page, err = s.cfg.Store.ItemsAround(ctx, in.ID, in.Around, in.Limit)
		if errors.Is(err, store.ErrNotFound) {
			if _, err := s.session(ctx, in.ID); err != nil {
				return page, err
			}
			return page, newProblem(session.CodeNotFound, fmt.Sprintf("the session has no item %.100q; it may have been taken back", in.Around))
		}
	case in.After > 0:
		page, err = s.cfg.Store.ItemsFrom(ctx, in.ID, in.After, in.Limit)
	default:
		page, err = s.cfg.Store.Items(ctx, in.ID, in.Before, in.Limit)
	}
	if err != nil {
		return page, missing(err, in.ID)
	}
	return page, nil
}

func (s *Server) listEvents(ctx context.Context, in *eventsInput) (*eventsOutput, error) {
	events, last, err := s.cfg.Store.Events(ctx, in.ID, in.After, in.Limit)
	if err != nil {
		return nil, missing(err, in.ID)
	}
	out := &eventsOutput{}
	out.Body.Events = orEmpty(events)
	out.Body.Last = last
	return out, nil
}

// orEmpty makes [] of nil: a client must not meet null where a list is.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

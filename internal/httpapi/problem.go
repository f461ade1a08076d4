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

// The codes of errors that arise here. Those of the heart are named in package
// session; the table below has them all.
const (
	codeInvalidJSON    = "invalid_json"
	codeInvalidRequest = "invalid_request"
	codeBodyTooLarge   = "body_too_large"
	codeBodyTimeout    = "body_timeout"
	codeMediaType      = "unsupported_media_type"
	codeMethod         = "method_not_allowed"
	codeNoRoute        = "no_such_route"
	codeLoginRequired  = "login_required"
	codeLoginDenied    = "login_denied"
	codeTooManyLogins  = "too_many_logins"
	codeForeignOrigin  = "foreign_origin"
	codeUnknownHost    = "unknown_host"
	codeOverloaded     = "overloaded"
	codeUnknownCursor  = "unknown_cursor"
	codeNoFolder       = "folder_not_found"
	codeFolderDenied   = "folder_denied"
	codeFolderExists   = "folder_exists"
	codeNeedVersion    = "version_required"
	codeTimeout        = "timeout"
	codeInternal       = "internal"
	codeWeakPassword   = "weak_password"
	codeRefused        = "refused"
	codeHeld           = "held"
	codeFileTooLarge   = "file_too_large"
)

// problemKind is what is the same for every occurrence of a code.
type problemKind struct {
	Status int
	Title  string
	Doc    string // what it means and what a client does about it
}

// problems is the one table of error codes. The OpenAPI document and the pages
// at /problems/{code}, which a problem's type names, are made from it.
var problems = map[string]problemKind{
	codeInvalidJSON:               {400, "The body is not valid JSON", "The detail gives line and column. Correct the body and send it again."},
	session.CodeBadRequest:        {400, "The request cannot be carried out as it is", "The detail says which part and why."},
	session.CodeBadCwd:            {400, "The folder cannot be used", "The session's folder must be an absolute path of a folder that exists and can be read. Choose another or make it first."},
	session.CodeAgentUnknown:      {400, "No such agent", "Take an id that GET /api/v1/agents lists, or add the agent to config.toml."},
	session.CodeUnknownOption:     {400, "The question has no such option", "Answer with the id of one of the approval's options; the approval is in the answer."},
	session.CodeBadImport:         {400, "The file cannot be imported", "The detail says which line is wrong, and why. Nothing was imported. Only exports with the format jsonl can be imported."},
	session.CodeNoAttachment:      {400, "No such attachment", "Upload the file with POST /api/v1/attachments and name the id that it returns."},
	codeWeakPassword:              {400, "The password is too short or too long", "Choose one with at least 10 characters."},
	codeUnknownCursor:             {400, "The page token or cursor is not one of ours", "Begin again without it."},
	codeLoginRequired:             {401, "Log in first", "A browser opens a one-time link (`holdfast link` prints one); a script sends `Authorization: Bearer` with a token from `holdfast token create`."},
	codeLoginDenied:               {401, "The login was refused", "The link, token or password is wrong, expired or already used. Make a new link with `holdfast link`."},
	codeForeignOrigin:             {403, "The request comes from another site", "Only Holdfast's own page may call it from a browser. Behind a proxy, put the name that the browser shows into allowed_hosts."},
	codeFolderDenied:              {403, "The folder may not be read or written", "Choose a folder that the host's user may use."},
	session.CodeNotFound:          {404, "Not found", "It does not exist, or no longer."},
	codeNoRoute:                   {404, "No such address", "GET /api/v1/openapi.json lists the addresses that there are."},
	codeNoFolder:                  {404, "No such folder", "Choose a folder that exists."},
	codeMethod:                    {405, "The method is not allowed here", "The Allow header lists those that are."},
	codeBodyTimeout:               {408, "The body took too long", "Send it again over a better connection."},
	session.CodeMessageConflict:   {409, "The client_id was used for another message", "A repeated client_id must carry the same text. Make a new id for a new message."},
	session.CodeSessionConflict:   {409, "The client_id was used for another session", "A repeated client_id must ask for the same session. Make a new id for a new session."},
	session.CodeRunNotCurrent:     {409, "The run is not under way", "It has ended, or is being stopped: there is nothing to cancel or to steer. To be steered it must have begun."},
	session.CodeCannotSteer:       {409, "The agent takes nothing in the middle of a run", "Send a message: it waits until the run is over."},
	session.CodeApprovalAnswered:  {409, "The question has been answered", "Somebody else was first; the approval in the answer says who and how."},
	session.CodeApprovalExpired:   {409, "The agent no longer waits for the answer", "The agent's own time limit ran out, or is about to. Expired is not denied: ask the agent again."},
	session.CodeApprovalCancelled: {409, "The question was withdrawn", "The run ended or was cancelled; the approval's reason says why."},
	session.CodeNoAgent:           {409, "No agent runs for this session", "One starts with the next message."},
	session.CodeSessionBusy:       {409, "The session is busy", "Wait until its run has ended, or cancel it."},
	session.CodeProjectExists:     {409, "Another project has this folder", "Change that one, or choose another folder."},
	session.CodeNotQueued:         {409, "The message does not wait any more", "It has begun, or was removed. Read the queue again."},
	session.CodeQueueChanged:      {409, "The queue has changed", "Read it again and repeat the change."},
	codeRefused:                   {409, "The host does not do that now", "The detail says why and what to do."},
	codeFolderExists:              {409, "Something of that name exists", "Choose another name, or use what is there."},
	session.CodeSessionDeleted:    {410, "The session was deleted", "Its messages are gone. Start another session."},
	session.CodeVersionConflict:   {412, "Somebody else changed it first", "Read it again, then send the change with its version in If-Match."},
	codeBodyTooLarge:              {413, "The body is too large", "The detail gives the limit. Long texts belong into a file of the session's folder or an attachment."},
	codeFileTooLarge:              {413, "The file is too large to be shown", "Open it on the machine itself."},
	codeMediaType:                 {415, "The body's type is not taken here", "Send JSON with `Content-Type: application/json`."},
	codeUnknownHost:               {421, "The host is not known by that name", "Open it by 127.0.0.1 or localhost, or put the name into allowed_hosts in config.toml and restart."},
	codeInvalidRequest:            {422, "A part of the request is wrong", "`errors` lists each part that is wrong and why."},
	codeNeedVersion:               {428, "If-Match is missing", "Send the session's version in If-Match, so that two devices do not overwrite each other."},
	codeTooManyLogins:             {429, "Too many attempts to log in", "Wait as long as Retry-After says."},
	codeInternal:                  {500, "Something broke inside the host", "The host's log has the cause under the instance that the answer names."},
	session.CodeAgentMissing:      {503, "The agent is not installed or cannot start", "The detail says what is missing; `holdfast doctor` checks it."},
	session.CodeQueueFull:         {503, "Too many messages wait", "Wait until some have been answered, or cancel them."},
	session.CodeStopping:          {503, "The host is stopping", "Try again in a few seconds: a supervisor starts it again."},
	codeHeld:                      {503, "The host takes nothing new for a moment", "It is trying a new version of itself, is about to stop, or is in safe mode, which the detail says then. Try again after the seconds in Retry-After."},
	codeOverloaded:                {503, "The host has as many requests as it takes", "Try again after the seconds in Retry-After."},
	codeTimeout:                   {503, "The host did not answer in time", "The disk or the machine is overloaded. Try again; `holdfast doctor` looks for the cause."},
	session.CodeDiskFull:          {507, "The disk is full", "Nothing was lost that was accepted. Make room, then try again."},
}

// Problem is an error as clients get it: RFC 9457 with a stable code.
type Problem struct {
	Type     string          `json:"type" doc:"A URI reference that names the code" example:"/problems/not_found"`
	Title    string          `json:"title" doc:"What the code means, in words"`
	Status   int             `json:"status" doc:"The HTTP status"`
	Detail   string          `json:"detail" doc:"What was wrong this time, and what to do"`
	Code     string          `json:"code" doc:"Stable; programs branch on it"`
	Instance string          `json:"instance,omitempty" doc:"Names this occurrence in the host's log"`
	Errors   []ProblemPart   `json:"errors,omitempty" doc:"Each part of the request that is wrong"`
	Approval *store.Approval `json:"approval,omitempty" doc:"Of the approval codes: how the approval stands"`
	Session  string          `json:"session,omitempty" doc:"Of not_found: the session that there is not, of several asked for"`

	headers http.Header
}

// ProblemPart is one part of a request that is wrong.
type ProblemPart struct {
	Message  string `json:"message"`
	Location string `json:"location,omitempty" example:"body.text"`
}

var (
	_ huma.StatusError       = (*Problem)(nil)
	_ huma.ContentTypeFilter = (*Problem)(nil)
	_ huma.HeadersError      = (*Problem)(nil)
)

// newProblem makes a problem of a code in the table. An empty detail is
// replaced by the code's own words.
func newProblem(code, detail string) *Problem {
	kind, ok := problems[code]
	if !ok {
		code, kind = codeInternal, problems[codeInternal]
	}
	if detail == "" {
		detail = kind.Doc
	}
	p := &Problem{Type: "/problems/" + code, Title: kind.Title, Status: kind.Status, Detail: detail, Code: code}
	if kind.Status == http.StatusServiceUnavailable {
		return p.retryAfter(2 * time.Second)
	}
	return p
}

func (p *Problem) retryAfter(d time.Duration) *Problem {
	return p.with("Retry-After", strconv.Itoa(max(1, int((d+time.Second-1)/time.Second))))
}

func (p *Problem) with(header, value string) *Problem {
	if p.headers == nil {
		p.headers = http.Header{}
	}
	p.headers.Set(header, value)
	return p
}

// Error implements error.
func (p *Problem) Error() string { return p.Code + ": " + p.Detail }

// GetStatus implements huma.StatusError.
func (p *Problem) GetStatus() int { return p.Status }

// GetHeaders implements huma.HeadersError.
func (p *Problem) GetHeaders() http.Header { return p.headers }

// ContentType implements huma.ContentTypeFilter.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// write answers a request that has not been answered yet.
func (p *Problem) write(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	for k, v := range p.headers {
		h[k] = v
	}
	h.Del("Content-Encoding")
	h.Del("Etag")
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	body, err := json.Marshal(p)
	if err != nil { // a broken approval body must not hide the problem
		body = fmt.Appendf(nil, `{"code":%q,"status":%d}`, p.Code, p.Status)
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(p.Status)
	if r.Method != http.MethodHead {
		w.Write(body)
	}
}

// explain answers GET /problems/{code}, in words.
func explain(w http.ResponseWriter, r *http.Request, code string) {
	kind, ok := problems[code]
	if !ok {
		newProblem(codeNoRoute, fmt.Sprintf("there is no problem of the code %.100q", code)).write(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintf(w, "%s (%d): %s.\n\n%s\n", code, kind.Status, kind.Title, kind.Doc)
}

// problemOf turns an error of a part below into what the client gets. What
// has no code of its own is logged with the request's instance and becomes 500.
func (s *Server) problemOf(ctx context.Context, err error) *Problem {
	var p *Problem
	if errors.As(err, &p) {
		return p
	}
	var refused *session.Error
	if errors.As(err, &refused) {
		if _, ok := problems[refused.Code]; ok {
			p = newProblem(refused.Code, refused.Message)
			p.Approval = refused.Approval
			return p
		}
	}
	switch {
	case errors.Is(err, store.ErrDiskFull):
		return newProblem(session.CodeDiskFull, "")
	case errors.Is(err, store.ErrClosed):
		return newProblem(session.CodeStopping, "")
	case errors.Is(err, context.DeadlineExceeded):
		return newProblem(codeTimeout, "")
	}
	instance := instanceOf(ctx)
	if errors.Is(err, context.Canceled) {
		// The client has gone; nobody reads this.
		p = newProblem(codeTimeout, "the client ended the request")
		p.Instance = instance
		return p
	}
	s.log.Error("answer request", "instance", instance, "err", err)
	p = newProblem(codeInternal, "")
	p.Instance = instance
	return p
}

// humaProblem makes the problems of huma's own checks: bodies and parameters.
func humaProblem(status int, msg string, errs ...error) huma.StatusError {
	code := codeInternal
	switch status {
	case http.StatusBadRequest:
		code = codeInvalidJSON
	case http.StatusRequestTimeout:
		code = codeBodyTimeout
	case http.StatusRequestEntityTooLarge:
		code = codeBodyTooLarge
	case http.StatusUnsupportedMediaType:
		code = codeMediaType
	case http.StatusUnprocessableEntity:
		code = codeInvalidRequest
	}
	var parts []ProblemPart
	for _, err := range errs {
		var refused *Problem
		if errors.As(err, &refused) {
			return refused
		}
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return newProblem(codeBodyTooLarge, fmt.Sprintf("the body is longer than %d bytes", tooLarge.Limit))
		}
		part := ProblemPart{Message: errText(err)}
		var d huma.ErrorDetailer
		if errors.As(err, &d) {
			// The value is left out: it may be a secret, or a megabyte.
			part.Message, part.Location = d.ErrorDetail().Message, d.ErrorDetail().Location
		}
		parts = append(parts, part)
	}
	detail := msg
	if len(parts) > 0 {
		texts := make([]string, len(parts))
		for i, p := range parts {
			texts[i] = p.Message
			if p.Location != "" {
				texts[i] = p.Location + ": " + p.Message
			}
		}
		detail = strings.Join(texts, "; ")
	}
	p := newProblem(code, detail)
	p.Errors = parts
	return p
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

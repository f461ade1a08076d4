package httpapi

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/holdfast-dev/holdfast/internal/probe"
)

// Machine is what the host knows of itself and does to itself. Package app
// implements it.
type Machine interface {
	// Lives returns the life that is, and those that have ended, newest first.
	Lives() (now probe.Life, ended []probe.Life)
	// Ends counts all lives before this one by how they ended (probe.Ends).
	Ends() map[string]int
	// LogLines returns the last lines of the log, oldest first.
	LogLines() []string
	// LogLevel is debug, info, warn or error.
	LogLevel() string
	SetLogLevel(level string) error
	// Diagnosis writes a .tar.gz of what helps to find a fault, without secrets.
	Diagnosis(ctx context.Context, w io.Writer) error
	// Resume ends the safe mode. The error is a *RefusedError where there is none.
	Resume(ctx context.Context) error
}

type livesInput struct {
	Limit int `query:"limit" default:"50" minimum:"1" maximum:"200"`
}

type livesOutput struct {
	Body struct {
		Now      probe.Life   `json:"now" doc:"The life that is; how is empty"`
		Lives    []probe.Life `json:"lives" nullable:"false" doc:"Those that have ended, newest first"`
		SafeMode string       `json:"safe_mode,omitempty" doc:"Why no agent is started or resumed"`
	}
}

type logInput struct {
	Level string `query:"level" default:"debug" enum:"debug,info,warn,error" doc:"Leaves out lines below it"`
	Limit int    `query:"limit" default:"200" minimum:"1" maximum:"500"`
}

// LogPage is the end of the log.
type LogPage struct {
	Level string   `json:"level" enum:"debug,info,warn,error" doc:"What is logged now"`
	Lines []string `json:"lines" nullable:"false" doc:"Oldest first"`
}

type logOutput struct{ Body LogPage }

type levelInput struct {
	Body struct {
		Level string `json:"level" enum:"debug,info,warn,error"`
	}
}

type levelOutput struct {
	Body struct {
		Level string `json:"level"`
	}
}

func (s *Server) hostRoutes(api huma.API) {
	m := s.cfg.Machine
	if m == nil {
		m = nobody{}
	}
	lives := operation("host-lives", http.MethodGet, "/api/v1/host/lives", "host", "How the host's lives ended")
	register(s, api, lives, func(_ context.Context, in *livesInput) (*livesOutput, error) {
		out := &livesOutput{}
		out.Body.Now, out.Body.Lives = m.Lives()
		out.Body.Lives = slices.Clip(append([]probe.Life{}, out.Body.Lives...))
		if len(out.Body.Lives) > in.Limit {
			out.Body.Lives = out.Body.Lives[:in.Limit]
		}
		out.Body.SafeMode = s.safe()
		return out, nil
	})
	register(s, api, operation("host-log", http.MethodGet, "/api/v1/host/log", "host", "The last lines of the log"), func(_ context.Context, in *logInput) (*logOutput, error) {
		lines := slices.DeleteFunc(m.LogLines(), func(line string) bool { return levelOf(line) < rank(in.Level) })
		if len(lines) > in.Limit {
			lines = lines[len(lines)-in.Limit:]
		}
		return &logOutput{Body: LogPage{Level: m.LogLevel(), Lines: append([]string{}, lines...)}}, nil
	})
	level := operation("host-log-level", http.MethodPut, "/api/v1/host/log", "host", "Change what is logged, until the host ends")
	register(s, api, level, func(_ context.Context, in *levelInput) (*levelOutput, error) {
		if err := m.SetLogLevel(in.Body.Level); err != nil {
			return nil, err
		}
		s.log.Warn("the level of the log was changed", "level", in.Body.Level)
		out := &levelOutput{}
		out.Body.Level = m.LogLevel()
		return out, nil
	})
	resume := operation("host-resume", http.MethodPost, "/api/v1/host/resume", "host", "End the safe mode")
	resume.DefaultStatus = http.StatusNoContent
	register(s, api, resume, func(ctx context.Context, _ *struct{}) (*struct{}, error) {
		err := m.Resume(context.WithoutCancel(ctx))
		var refusal *RefusedError
		if errors.As(err, &refusal) {
			return nil, newProblem(codeRefused, refusal.Text)
		}
		return nil, err
	})
	diagnosis := operation("host-diagnosis", http.MethodPost, "/api/v1/host/diagnosis", "host", "An archive that helps to find a fault, without secrets")
	diagnosis.Responses = map[string]*huma.Response{"200": {Description: "A tar archive", Content: map[string]*huma.MediaType{
		"application/gzip": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}},
	}}}
	register(s, api, diagnosis, func(ctx context.Context, _ *struct{}) (*huma.StreamResponse, error) {
		var archive bytes.Buffer // whole before it is sent: half an archive must not look like one
		if err := m.Diagnosis(ctx, &archive); err != nil {
			return nil, err
		}
		name := "holdfast-" + time.Now().UTC().Format("20060102-150405") + ".tar.gz"
		return &huma.StreamResponse{Body: func(ctx huma.Context) {
			ctx.SetHeader("Content-Type", "application/gzip")
			ctx.SetHeader("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": name}))
			ctx.SetStatus(http.StatusOK)
			_, _ = ctx.BodyWriter().Write(archive.Bytes()) // a client that has gone reads no error
		}}, nil
	})
}

// safe is why the host is in safe mode; "" where it is not.
func (s *Server) safe() string {
	if s.cfg.Safe == nil {
		return ""
	}
	return s.cfg.Safe()
}

var levels = []string{"debug", "info", "warn", "error"}

func rank(level string) int { return slices.Index(levels, level) }

// levelOf tells the rank of a line as slog writes it. A line without a level is
// shown always.
func levelOf(line string) int {
	_, rest, found := strings.Cut(line, " level=")
	if !found {
		return len(levels)
	}
	word, _, _ := strings.Cut(rest, " ")
	name := strings.ToLower(word)
	if cut := strings.IndexAny(name, "+-"); cut >= 0 {
		name = name[:cut]
	}
	if at := rank(name); at >= 0 {
		return at
	}
	return len(levels)
}

// nobody is the Machine of a server without a host.
type nobody struct{}

func (nobody) Lives() (now probe.Life, ended []probe.Life) { return now, nil }
func (nobody) Ends() map[string]int                        { return nil }
func (nobody) LogLines() []string                          { return nil }
func (nobody) LogLevel() string                            { return "info" }
func (nobody) SetLogLevel(string) error                    { return errNoMachine }
func (nobody) Diagnosis(context.Context, io.Writer) error  { return errNoMachine }
func (nobody) Resume(context.Context) error                { return errNoMachine }

var errNoMachine = errors.New("no host runs")

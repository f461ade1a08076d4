package httpapi

import (
	"context"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/holdfast-dev/holdfast/internal/ledger"
	"github.com/holdfast-dev/holdfast/internal/session"
)

// Pressure is what the host cannot take more of. The zero value is none.
type Pressure struct {
	// Descriptors says that nearly all are open: no stream may begin.
	Descriptors bool
	// Disk says, for a person, why nothing new is stored; "" where it is.
	Disk string
}

// HostLedger is what the host holds, against what it can explain.
type HostLedger struct {
	Available bool                 `json:"available" doc:"false where this system does not list descriptors; the rest is there"`
	Now       ledger.Sample        `json:"now"`
	Gauges    ledger.Gauges        `json:"gauges"`
	Findings  []ledger.Finding     `json:"findings" doc:"What is wrong"`
	Classes   []ClassLoad          `json:"classes" doc:"Requests under way, by class"`
	Agents    []ledger.AgentSample `json:"agents" doc:"Each live agent with its keeper"`
	History   []ledger.Point       `json:"history" doc:"The last 24 hours, at most 500 points, oldest first; time in which no host ran has none"`
}

// ClassLoad is how many requests of a class are under way.
type ClassLoad struct {
	Class string `json:"class"`
	Now   int    `json:"now"`
	Bound int    `json:"bound"`
}

// Load is how many requests of each class are under way through the public
// listener.
func (s *Server) Load() []ClassLoad {
	var list []ClassLoad
	for _, c := range []class{classAPI, classStream, classUpload, classProbe, classDeep, classLogin, classPage} {
		list = append(list, ClassLoad{Class: string(c), Now: len(s.gates[c].slots), Bound: cap(s.gates[c].slots)})
	}
	return list
}

type ledgerOutput struct{ Body HostLedger }

func (s *Server) ledgerRoute(api huma.API) {
	op := operation("host-ledger", http.MethodGet, "/api/v1/host/ledger", "host", "What the host and its agents hold open")
	register(s, api, op, func(ctx context.Context, _ *struct{}) (*ledgerOutput, error) {
		if s.cfg.Ledger == nil {
			return nil, newProblem(codeNoRoute, "this host keeps no ledger.")
		}
		l, err := s.cfg.Ledger(ctx)
		if err != nil {
			return nil, err
		}
		l.Classes = s.Load()
		return &ledgerOutput{Body: l}, nil
	})
}

// relieve refuses what would cost what the host has nearly nothing left of.
// What frees something, or belongs to what has begun, is taken.
func (s *Server) relieve(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.cfg.Pressure == nil {
			next.ServeHTTP(w, r)
			return
		}
		p := s.cfg.Pressure()
		if p.Descriptors && r.URL.Path == "/api/v1/stream" {
			newProblem(codeOverloaded, "the host has nearly as many descriptors open as it may; it takes no new streams until some are closed. `holdfast status` says what holds them.").write(w, r)
			return
		}
		if p.Disk != "" && stores(r) {
			newProblem(session.CodeDiskFull, p.Disk).write(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// stores tells the requests that begin something which needs the disk.
func stores(r *http.Request) bool {
	if r.Method != http.MethodPost {
		return false
	}
	path := r.URL.Path
	return path == "/api/v1/sessions" || path == "/api/v1/attachments" || path == importPath ||
		strings.HasPrefix(path, "/api/v1/sessions/") && (strings.HasSuffix(path, "/messages") || strings.HasSuffix(path, "/fork"))
}

package httpapi

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/holdfast-dev/holdfast/internal/said"
	"github.com/holdfast-dev/holdfast/internal/store"
)

// The states of a host's health.
const (
	HealthOK       = "ok"
	HealthDegraded = "degraded" // works, but something is wrong that a restart does not mend
	HealthFailing  = "failing"  // what a person would feel is broken
)

// Health is how the host is.
type Health struct {
	Status   string   `json:"status" enum:"ok,degraded,failing"`
	Version  string   `json:"version"`
	Problems []string `json:"problems,omitempty" doc:"What is wrong, in words"`

	Said []store.Said `json:"said,omitempty" doc:"Of each problem, in their order, which sentence of the host it is"`
}

// Degraded is the health of a host with problems that a restart does not mend;
// of one without any it is well.
func Degraded(problems ...said.Words) Health {
	h := Health{Status: HealthOK}
	for _, problem := range problems {
		h.Tell(problem)
	}
	return h
}

// Tell adds a problem, by which a host that was well is degraded.
func (h *Health) Tell(problem said.Words) {
	if h.Status == HealthOK {
		h.Status = HealthDegraded
	}
	h.Problems, h.Said = append(h.Problems, problem.Text), append(h.Said, problem.Said)
}

// deepTimeout bounds one deep probe. It is above a store's own deadline for a
// read, so that the store's error is the one that is seen.
const deepTimeout = 5 * time.Second

// deepEvery is how long a deep probe's result is good for everybody.
const deepEvery = time.Second

// deepProbe runs what a person would feel, at most once a second for all
// callers together.
type deepProbe struct {
	mu   sync.Mutex
	at   time.Time
	last Health
	busy chan struct{} // closed when the probe under way is done; nil where none is
}

func (d *deepProbe) get(ctx context.Context, run func(context.Context) Health) (Health, error) {
	for {
		d.mu.Lock()
		if !d.at.IsZero() && time.Since(d.at) < deepEvery {
			defer d.mu.Unlock()
			return d.last, nil
		}
		busy := d.busy
		if busy == nil {
			break
		}
		d.mu.Unlock()
		select {
		case <-busy:
		case <-ctx.Done():
			return Health{}, ctx.Err()
		}
	}
	done := make(chan struct{})
	d.busy = done
	d.mu.Unlock()
	// Its result is for all who wait, so the first one's leaving does not end it.
	probe, cancel := context.WithTimeout(context.WithoutCancel(ctx), deepTimeout)
	defer cancel()
	h := Health{Status: HealthFailing}
	h.Tell(said.ProbeBroke())
	defer func() {
		d.mu.Lock()
		d.last, d.at, d.busy = h, time.Now(), nil
		d.mu.Unlock()
		close(done)
	}()
	h = run(probe)
	return h, nil
}

// health is what the watchdog says.
func (s *Server) health() Health {
	h := Health{Status: HealthOK}
	if s.cfg.Health != nil {
		h = s.cfg.Health()
	}
	h.Version = s.cfg.Version
	return h
}

// readHealth runs the sidebar's query: reads that fail are what a person feels.
func (s *Server) readHealth(ctx context.Context) Health {
	h := s.health()
	if _, err := s.cfg.Store.Sessions(ctx, store.SessionsFilter{}, "", sidebarLimit); err != nil {
		s.log.Warn("read sidebar for probe", "err", err)
		h.Status = HealthFailing
		h.Tell(said.ListUnreadable())
	}
	return h
}

// deepHealth runs the sidebar's query, then writes and reads the canary row. A
// disk that does not take writes is not mended by a restart.
func (s *Server) deepHealth(ctx context.Context) Health {
	h := s.readHealth(ctx)
	if h.Status == HealthFailing {
		return h
	}
	if err := s.cfg.Store.Canary(ctx); err != nil {
		s.log.Warn("write canary", "err", err)
		h.Tell(said.DiskSlow())
	}
	return h
}

type healthInput struct {
	Deep string `query:"deep" doc:"1 also runs the sidebar's query and writes a canary row; read runs the query only"`
}

type healthOutput struct {
	Status int
	Cache  string `header:"Cache-Control"`
	Body   Health
}

func (s *Server) healthRoutes(api huma.API) {
	op := operation("health", http.MethodGet, "/health", "host", "How the host is")
	op.Security = []map[string][]string{}
	op.Description = "Needs no login. 200 for ok and degraded, 503 for failing."
	op.Responses = map[string]*huma.Response{}
	register(s, api, op, func(ctx context.Context, in *healthInput) (*healthOutput, error) {
		h := s.health()
		var err error
		switch in.Deep {
		case "", "0", "false":
		case "read":
			if s.own(requestOf(ctx)) {
				h = s.readHealth(ctx) // never an answer that others were given
			} else {
				h, err = s.read.get(ctx, s.readHealth)
			}
		default:
			h, err = s.deep.get(ctx, s.deepHealth)
		}
		if err != nil {
			return nil, err
		}
		out := &healthOutput{Status: http.StatusOK, Cache: "no-store", Body: h}
		if h.Status == HealthFailing {
			out.Status = http.StatusServiceUnavailable
		}
		return out, nil
	})
}

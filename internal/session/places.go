package session

import (
	"context"
	"slices"
	"time"

	"github.com/holdfast-dev/holdfast/internal/proc"
	"github.com/holdfast-dev/holdfast/internal/said"
	"github.com/holdfast-dev/holdfast/internal/store"
)

// takePlace waits until the session may have an agent: under the cap, or after
// the least recently used idle one has ended. It returns false when the run
// no longer waits or the host stops.
//
// Places are had in the order in which they were asked for. A session that was
// ended to make room, and is written to meanwhile, would be the first to find its
// own place free.
func (w *worker) takePlace(ctx context.Context, s store.Session) bool {
	m := w.m
	m.mu.Lock()
	m.line = append(m.line, w)
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		m.line = slices.DeleteFunc(m.line, func(o *worker) bool { return o == w })
		m.mu.Unlock()
		m.free() // the next in line may find one more
	}()
	told := false
	for {
		m.mu.Lock()
		if len(m.live) < m.Cap && m.line[0] == w {
			m.live[w.session] = w
			m.mu.Unlock()
			return true
		}
		freed := m.freed
		m.mu.Unlock()

		evicted, err := m.evictOne(ctx, w)
		if err != nil {
			w.log.Error("evict an idle agent", "err", err)
		}
		if !evicted && !told {
			told = true
			what := m.holders(ctx)
			if err := m.commit(ctx, store.Durable, func(tx *store.Tx) error {
				return appendAgentState(tx, w.session, s.Run, "starting", what)
			}); err != nil {
				return false
			}
		}
		select {
		case <-freed:
		case <-w.wakeup:
		case <-time.After(2 * time.Second): // a process that kept a session busy may have ended
		case <-ctx.Done():
			return false
		}
		if _, run, err := w.look(); err == nil && run.ID == "" {
			return false
		}
	}
}

// leavePlace gives the session's place back.
func (w *worker) leavePlace() {
	w.m.mu.Lock()
	delete(w.m.live, w.session)
	w.m.mu.Unlock()
	w.m.free()
}

// evictOne marks the least recently used idle epoch as ending. It reports
// whether one is on its way out.
func (m *Manager) evictOne(ctx context.Context, from *worker) (bool, error) {
	m.mu.Lock()
	var idle []*worker
	for _, w := range m.live {
		if w.evict.Load() {
			m.mu.Unlock()
			return true, nil
		}
		if w != from && !w.busy.Load() {
			idle = append(idle, w)
		}
	}
	m.mu.Unlock()
	for len(idle) > 0 {
		oldest := 0
		for i, w := range idle {
			if w.used.Load() < idle[oldest].used.Load() {
				oldest = i
			}
		}
		w := idle[oldest]
		idle = append(idle[:oldest], idle[oldest+1:]...)
		if w.holdsProcesses(ctx) {
			continue
		}
		marked, err := w.endIdle(ctx, said.MadeRoom(), false)
		if err != nil || marked {
			return marked, err
		}
	}
	return false, nil
}

// holdsProcesses tells whether a process that was born in one of the session's
// runs has outlived it: a development server, say. Those that were there
// before its first run are the agent's own.
func (w *worker) holdsProcesses(ctx context.Context) bool {
	conn := w.conn.Load()
	if conn == nil {
		return false
	}
	ctx, stop := context.WithTimeout(ctx, 2*time.Second)
	defer stop()
	procs, err := conn.Processes(ctx)
	if err != nil {
		return true // not known to be idle
	}
	runs, err := w.m.Store.Runs(ctx, w.session)
	if err != nil {
		return true
	}
	for _, p := range procs {
		born, err := proc.StartedAt(p.ID)
		if err != nil || p.ID == conn.Hello.Agent {
			continue
		}
		for _, r := range runs {
			if r.Epoch == conn.Hello.Epoch && !r.StartedAt.IsZero() && born.After(r.StartedAt) && born.Before(r.EndedAt) {
				return true
			}
		}
	}
	return false
}

// holders says who has the places, for the one that waits.
func (m *Manager) holders(ctx context.Context) said.Words {
	m.mu.Lock()
	ids := make([]string, 0, len(m.live))
	for id := range m.live {
		ids = append(ids, id)
	}
	m.mu.Unlock()
	var titles []string
	for _, id := range ids {
		if s, err := m.Store.Session(ctx, id); err == nil {
			titles = append(titles, "“"+s.Title+"”")
		}
	}
	return said.PlacesTaken(m.Cap, titles)
}

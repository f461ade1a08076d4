package session

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast/internal/keeper"
	"github.com/holdfast-dev/holdfast/internal/proc"
	"github.com/holdfast-dev/holdfast/internal/said"
	"github.com/holdfast-dev/holdfast/internal/store"
)

// LiveAgent is an agent whose keeper this host is connected to.
type LiveAgent struct {
	Session string
	Title   string
	Agent   string // an id of the catalogue
	Figure  int    // descriptors that one of its kind holds; 0 is not known
	Keeper  proc.ID
	Busy    bool
}

// LiveAgents lists them by session.
func (m *Manager) LiveAgents(ctx context.Context) []LiveAgent {
	m.mu.Lock()
	live := make([]*worker, 0, len(m.live))
	for _, w := range m.live {
		live = append(live, w)
	}
	m.mu.Unlock()
	list := make([]LiveAgent, 0, len(live))
	for _, w := range live {
		conn := w.conn.Load()
		if conn == nil {
			continue // starting, or ending
		}
		s, err := m.Store.Session(ctx, w.session)
		if err != nil {
			continue // deleted meanwhile, or the host stops
		}
		one := LiveAgent{Session: s.ID, Title: s.Title, Agent: s.Agent, Keeper: conn.Hello.Keeper, Busy: w.busy.Load()}
		if a, err := m.Catalogue.Get(ctx, s.Agent); err == nil {
			one.Figure = a.Descriptors
		}
		list = append(list, one)
	}
	slices.SortFunc(list, func(a, b LiveAgent) int { return strings.Compare(a.Session, b.Session) })
	return list
}

// Replace ends the session's agent if it is idle, and says why; the next
// message resumes the session in a new one. It never does so in a run, nor
// while a process that a run left behind still works.
func (m *Manager) Replace(ctx context.Context, session string, why said.Words) (bool, error) {
	m.mu.Lock()
	w := m.live[session]
	m.mu.Unlock()
	if w == nil || w.evict.Load() || w.busy.Load() || w.holdsProcesses(ctx) {
		return false, nil
	}
	return w.endIdle(ctx, why, true)
}

// EndIdle ends every agent that has nothing to do, as files run short, and
// returns how many.
func (m *Manager) EndIdle(ctx context.Context) (int, error) {
	m.mu.Lock()
	var idle []*worker
	for _, w := range m.live {
		if !w.evict.Load() && !w.busy.Load() {
			idle = append(idle, w)
		}
	}
	m.mu.Unlock()
	ended := 0
	for _, w := range idle {
		if w.holdsProcesses(ctx) {
			continue
		}
		marked, err := w.endIdle(ctx, said.EndedForFiles(), false)
		if err != nil {
			return ended, err
		}
		if marked {
			ended++
		}
	}
	return ended, nil
}

// endIdle marks the session's epoch as ending, unless it has work by now, and
// tells the session why, by a notice too where asked.
func (w *worker) endIdle(ctx context.Context, why said.Words, notice bool) (bool, error) {
	marked := false
	err := w.m.commit(ctx, store.Durable, func(tx *store.Tx) error {
		marked = false
		ep, live, err := tx.LiveEpoch(w.session)
		if err != nil || !live || ep.State != store.EpochReady {
			return err
		}
		if _, current, err := tx.CurrentRun(w.session); err != nil || current {
			return err
		}
		ep.State = store.EpochEnding
		if err := tx.PutEpoch(ep); err != nil {
			return err
		}
		marked = true
		if notice {
			if err := appendNotice(tx, w.session, "", "warning", why, ""); err != nil {
				return err
			}
		}
		return appendAgentState(tx, w.session, "", "ending", why)
	})
	if err != nil || !marked {
		return false, err
	}
	w.evict.Store(true)
	w.m.wake(w.session)
	return true, nil
}

// Examined stands in a mark in the place of the session for an agent that is
// started only to be looked at.
const Examined = "doctor"

// orphanPatience is how long a sweep waits for one mark's processes to go.
const orphanPatience = 5 * time.Second

// SweepOrphans ends what carries a mark of this state folder and belongs to no
// live epoch, nor to a keeper that lives. marks must have been listed before:
// an epoch is in the store before its first process is.
func (m *Manager) SweepOrphans(ctx context.Context, marks map[string][]proc.Info) error {
	if m.Held() {
		return nil // another program may have begun what this one does not know of
	}
	errs := []error{m.endStrangers(ctx)}
	epochs, err := m.Store.Epochs(ctx, true)
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	live := map[string]bool{}
	for _, ep := range epochs {
		live[ep.Name] = true
	}
	for mark, procs := range marks {
		session, epoch, ok := strings.Cut(strings.TrimPrefix(mark, m.Home+":"), ":")
		if !ok || live[epoch] || strings.ContainsAny(epoch, `/\.`) {
			continue
		}
		if slices.ContainsFunc(procs, func(p proc.Info) bool { return p.PID == os.Getpid() || p.PID == os.Getppid() }) {
			continue // started from an agent: its own end would be the first
		}
		if session == Examined && slices.ContainsFunc(procs, func(p proc.Info) bool { return p.Parent == os.Getpid() }) {
			continue // an agent that this host looks at now
		}
		if held, err := keeper.Held(m.dir(epoch)); err != nil || held {
			errs = append(errs, err)
			continue // it ends by its lease
		}
		m.Log.Warn("processes have no keeper and are ended", "session", session, "epoch", epoch, "processes", names(procs))
		one, stop := context.WithTimeout(ctx, orphanPatience)
		left, err := keeper.Sweep(one, mark)
		stop()
		if len(left) > 0 {
			m.Log.Error("processes without a keeper do not go", "epoch", epoch, "left", len(left))
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

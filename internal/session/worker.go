package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/holdfast-dev/holdfast/internal/acp"
	"github.com/holdfast-dev/holdfast/internal/keeper"
	"github.com/holdfast-dev/holdfast/internal/proc"
	"github.com/holdfast-dev/holdfast/internal/said"
	"github.com/holdfast-dev/holdfast/internal/store"
)

// worker looks after one session while it has an agent or wants one. It is the
// only one that starts, holds and settles the session's epochs.
type worker struct {
	m       *Manager
	session string
	log     *slog.Logger
	wakeup  chan struct{}
	force   atomic.Bool   // a person wants the agent gone at once
	settled chan struct{} // closed when what the last life left has been settled or adopted

	requeued int // epochs in a row that ended before they began their prompt

	// for eviction
	busy   atomic.Bool  // a run is under way or waits
	used   atomic.Int64 // when it was last busy, unix nanoseconds
	conn   atomic.Pointer[keeper.Conn]
	evict  atomic.Bool
	isDone bool // settled is closed
}

func newWorker(m *Manager, session string) *worker {
	w := &worker{
		m: m, session: session, log: m.Log.With("session", session),
		wakeup: make(chan struct{}, 1), settled: make(chan struct{}),
	}
	w.used.Store(m.Now().UnixNano())
	return w
}

func (w *worker) markSettled() {
	if !w.isDone {
		w.isDone = true
		close(w.settled)
	}
}

// run is the worker's life: hold the epoch that there is, or start one for the
// run that waits, until there is neither.
func (w *worker) run() {
	defer w.markSettled()
	for {
		if w.m.ctx.Err() != nil {
			w.m.retire(w)
			return
		}
		select {
		case <-w.wakeup:
		default:
		}
		ep, run, err := w.look()
		switch {
		case err != nil:
			w.log.Error("read session", "err", err)
			w.pause(time.Second)
		case ep.Name != "":
			w.hold(ep)
		case run.ID != "":
			w.launch(run)
		default:
			w.markSettled()
			if w.m.retire(w) {
				return
			}
		}
	}
}

// look reads what there is to do: an epoch to hold, or a run that waits for
// an agent.
func (w *worker) look() (ep store.Epoch, run store.Run, err error) {
	if ep, run, err = w.m.Store.Live(w.m.ctx, w.session); err != nil || ep.Name != "" || run.ID != "" {
		return ep, run, err
	}
	err = w.m.Store.Update(store.Relaxed, func(tx *store.Tx) error {
		ep, run = store.Epoch{}, store.Run{}
		if _, err := tx.Session(w.session); errors.Is(err, store.ErrNotFound) {
			return nil
		}
		e, live, err := tx.LiveEpoch(w.session)
		if err != nil {
			return err
		}
		if live {
			ep = e
			return nil
		}
		var fx effects
		if err := w.m.advance(tx, w.session, &fx); err != nil {
			return err
		}
		r, ok, err := tx.CurrentRun(w.session)
		if ok {
			run = r
		}
		return err
	})
	return ep, run, err
}

// pause waits, but not past the host's end.
func (w *worker) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-w.m.ctx.Done():
	}
}

// launch starts an epoch for the run that waits.
func (w *worker) launch(run store.Run) {
	ctx := w.m.ctx
	if !w.m.pass(ctx) {
		return
	}
	if w.m.ending.Load() {
		w.pause(100 * time.Millisecond) // the host stops next, or could not end them all
		return
	}
	s, err := w.m.Store.Session(ctx, w.session)
	if err != nil {
		w.log.Error("read session", "err", err)
		w.pause(time.Second)
		return
	}
	ag, err := w.m.Catalogue.Get(ctx, s.Agent)
	if err != nil {
		w.failStart(run, "missing", said.Missing(err))
		return
	}
	if !w.takePlace(ctx, s) {
		return
	}
	ep := store.Epoch{
		Name: newID("e"), Session: w.session, Agent: s.Agent, BootID: w.m.BootID, State: store.EpochStarting,
	}
	born := false
	err = w.m.commit(ctx, store.Durable, func(tx *store.Tx) error {
		born = false
		r, ok, err := tx.CurrentRun(w.session)
		if err != nil || !ok || !r.StartedAt.IsZero() || w.m.ending.Load() {
			return err
		}
		if _, live, err := tx.LiveEpoch(w.session); err != nil || live {
			return err
		}
		born = true
		ep.StartedAt = tx.Now()
		if err := tx.PutEpoch(ep); err != nil {
			return err
		}
		n, err := tx.NextLine(ep.Name)
		if err != nil {
			return err
		}
		line, err := acp.Request(n, "initialize", acp.InitializeParams{
			ProtocolVersion:    acp.ProtocolVersion,
			ClientCapabilities: acp.HostCapabilities(),
			ClientInfo:         &acp.Implementation{Name: "holdfast", Title: "Holdfast", Version: w.m.Version},
		})
		if err != nil {
			return err
		}
		if _, err := pushLine(tx, store.Line{Epoch: ep.Name, N: n, Kind: store.LineInitialize, Data: line}); err != nil {
			return err
		}
		return appendAgentState(tx, w.session, run.ID, "starting", said.Words{})
	})
	if err != nil || !born {
		if err != nil && ctx.Err() == nil {
			w.log.Error("begin epoch", "err", err)
			w.pause(time.Second)
		}
		w.leavePlace()
		w.pause(10 * time.Millisecond) // the run was stopped meanwhile; look again
		return
	}
	spec := keeper.Spec{
		Session: w.session, Epoch: ep.Name, Mark: w.m.mark(w.session, ep.Name),
		Command: ag.Command, Dir: s.Cwd, Env: ag.Env,
		SpoolCap: w.m.Spool, Leases: w.m.Leases, NoFile: w.m.NoFile,
	}
	if _, err := keeper.Start(w.m.Exe, w.m.dir(ep.Name), spec); err != nil {
		w.log.Error("start keeper", "epoch", ep.Name, "err", err)
		w.settle(ep, ending{startErr: err})
		return
	}
	w.hold(ep)
}

// failStart ends a run that no agent can take.
func (w *worker) failStart(run store.Run, state string, why said.Words) {
	var fx effects
	err := w.m.commit(w.m.ctx, store.Durable, func(tx *store.Tx) error {
		fx = effects{}
		r, err := tx.Run(run.ID)
		if err != nil || r.State != store.RunStateCurrent || !r.StartedAt.IsZero() {
			return err
		}
		if err := appendAgentState(tx, w.session, r.ID, state, why); err != nil {
			return err
		}
		if err := appendNotice(tx, w.session, r.ID, "error", why, ""); err != nil {
			return err
		}
		return w.m.endRun(tx, r, store.Failed, why, true, &fx)
	})
	if err != nil {
		w.log.Error("end run", "err", err)
		w.pause(time.Second)
		return
	}
	w.m.carryOut(&fx)
}

// hold serves the epoch until it is over or the host stops.
func (w *worker) hold(ep store.Epoch) {
	w.m.mu.Lock()
	w.m.live[w.session] = w
	w.m.mu.Unlock()
	dir := w.m.dir(ep.Name)
	held, err := keeper.Held(dir)
	if err != nil {
		w.log.Error("look for keeper", "epoch", ep.Name, "err", err)
	}
	if held {
		over, err := w.attach(ep)
		if err == nil && !over {
			return // the host stops
		}
		if err != nil {
			if w.m.ctx.Err() != nil {
				return
			}
			w.log.Error("attach to keeper", "epoch", ep.Name, "err", err)
			var mismatch *mismatchError
			how := ending{}
			if errors.As(err, &mismatch) {
				how.mismatch = mismatch.why
			}
			if err := keeper.Kill(dir); err != nil {
				w.log.Error("end keeper", "epoch", ep.Name, "err", err)
			}
			w.conclude(ep, how)
			return
		}
	}
	w.conclude(ep, ending{})
}

// mismatchError says that a keeper and the store do not belong to the same
// past.
type mismatchError struct{ why string }

func (e *mismatchError) Error() string { return "keeper and store disagree: " + e.why }

// conclude ends an epoch whose keeper is gone or about to be: what its spool
// still holds is read, what is left of its tree is ended, its run is settled.
func (w *worker) conclude(ep store.Epoch, how ending) {
	dir := w.m.dir(ep.Name)
	if !w.awaitRelease(dir) {
		return
	}
	if how.mismatch == "" {
		// How far the log has come was read before the link served.
		ep, err := w.epoch(ep.Name)
		if err != nil {
			w.log.Error("read epoch", "err", err)
			w.pause(time.Second)
			return
		}
		l := newLink(w, ep)
		if err := l.drain(dir); err != nil {
			if w.m.ctx.Err() != nil {
				return
			}
			w.log.Error("read spool", "epoch", ep.Name, "err", err)
			how.spoolErr = err
		}
		if ep, err = w.epoch(ep.Name); err == nil {
			last := lastWordsOf(ep.Reason)
			how.exit, how.stderr = last.Exit, last.Stderr
		}
	}
	if !w.sweep(ep) {
		return
	}
	if notes, err := keeper.ReadNotes(dir); err == nil {
		how.notes, how.notesKnown = notes, true
	}
	w.settle(ep, how)
}

// epoch reads an epoch as it is now.
func (w *worker) epoch(name string) (ep store.Epoch, err error) {
	err = w.m.commit(w.m.ctx, store.Relaxed, func(tx *store.Tx) error {
		ep, err = tx.Epoch(name)
		return err
	})
	return ep, err
}

// awaitRelease waits until nobody holds the epoch's lock.
func (w *worker) awaitRelease(dir string) bool {
	killed := false
	for start := w.m.Now(); ; {
		held, err := keeper.Held(dir)
		if err == nil && !held {
			return true
		}
		if !killed && w.m.Now().Sub(start) > 12*time.Second {
			killed = true
			if err := keeper.Kill(dir); err != nil {
				w.log.Error("end keeper", "err", err)
			}
		}
		w.pause(20 * time.Millisecond)
		if w.m.ctx.Err() != nil {
			return false
		}
	}
}

// sweep ends what is left of the epoch's tree. No new epoch of the session
// begins until it is proven gone.
func (w *worker) sweep(ep store.Epoch) bool {
	if ep.BootID != w.m.BootID {
		return true // another boot: no process of it can live
	}
	told := false
	for {
		ctx, stop := context.WithTimeout(w.m.ctx, 10*time.Second)
		left, err := keeper.Sweep(ctx, w.m.mark(w.session, ep.Name))
		stop()
		if w.m.ctx.Err() != nil {
			return false
		}
		if len(left) == 0 && (err == nil || errors.Is(err, errors.ErrUnsupported)) {
			return true
		}
		w.log.Error("processes of an ended agent do not go", "epoch", ep.Name, "left", len(left), "err", err)
		if told && w.force.Load() {
			return true // a person has seen what is left, and wants to go on
		}
		if !told {
			told = true
			what := said.ProcessesLeft(len(left), names(left))
			err := w.m.commit(w.m.ctx, store.Durable, func(tx *store.Tx) error {
				return appendAgentState(tx, w.session, "", "ending", what)
			})
			if err != nil {
				return false
			}
		}
		w.pause(time.Second)
	}
}

func names(left []proc.Info) string {
	var out []string
	for i, p := range left {
		if i == 5 {
			out = append(out, "…")
			break
		}
		out = append(out, fmt.Sprintf("%s (%d)", p.Command, p.PID))
	}
	return strings.Join(out, ", ")
}

// ending is what is known of how an epoch ended.
type ending struct {
	exit       *keeper.Exit // nil: the keeper left no exit record
	stderr     string
	notes      keeper.Notes
	notesKnown bool
	startErr   error
	spoolErr   error
	mismatch   string
}

// words says how it ended, for a person.
func (e ending) words(name string) said.Words {
	switch {
	case e.mismatch != "":
		return said.Mismatch(e.mismatch)
	case e.startErr != nil:
		return said.KeeperNotStarted(e.startErr)
	case e.exit != nil:
		return exitWords(name, *e.exit)
	}
	return said.KeeperKilled()
}

// settle ends the epoch in the store and decides what becomes of its run.
func (w *worker) settle(ep store.Epoch, how ending) {
	why := how.words(w.m.Catalogue.Name(ep.Agent))
	var fx effects
	err := w.m.commit(w.m.ctx, store.Durable, func(tx *store.Tx) error {
		fx = effects{}
		cur, err := tx.Epoch(ep.Name)
		if err != nil || cur.State == store.EpochEnded {
			return err
		}
		wasStarting, asked := cur.State == store.EpochStarting, cur.State == store.EpochEnding
		cur.State, cur.EndedAt, cur.Reason = store.EpochEnded, tx.Now(), why.Text
		if err := tx.PutEpoch(cur); err != nil {
			return err
		}
		run, ok, err := tx.CurrentRun(w.session)
		if err != nil {
			return err
		}
		switch {
		case ok && run.Epoch == ep.Name && !run.StartedAt.IsZero():
			if err := w.settleStarted(tx, cur, run, how, why, &fx); err != nil {
				return err
			}
		case ok && run.StartedAt.IsZero() && wasStarting && !asked && how.exit == nil && how.startErr == nil && w.requeued < 3:
			// Killed before the agent was up, or never forked: the prompt was
			// not even written, so the next epoch takes it.
			w.requeued++
		case ok && run.StartedAt.IsZero() && wasStarting && !asked:
			// The agent does not come up: trying again by itself would loop.
			if err := appendNotice(tx, w.session, run.ID, "error", why, how.stderr); err != nil {
				return err
			}
			if err := w.m.endRun(tx, run, store.Failed, why, true, &fx); err != nil {
				return err
			}
		}
		if err := w.settleSteers(tx); err != nil {
			return err
		}
		if err := closeItems(tx, w.session, "", "cancelled"); err != nil {
			return err
		}
		if err := cancelApprovals(tx, w.session, "", said.AgentGone()); err != nil {
			return err
		}
		if how.mismatch != "" {
			if err := appendNotice(tx, w.session, "", "warning", why, ""); err != nil {
				return err
			}
		}
		if how.spoolErr != nil {
			if err := appendNotice(tx, w.session, "", "error", said.SpoolUnreadable(how.spoolErr), ""); err != nil {
				return err
			}
		}
		s, err := tx.Session(w.session)
		if err != nil {
			return err
		}
		if s.AgentState != "needs_login" { // which a person must see until it is done
			if err := appendAgentState(tx, w.session, "", "ended", why); err != nil {
				return err
			}
		}
		return w.m.advance(tx, w.session, &fx)
	})
	if err != nil {
		if w.m.ctx.Err() == nil {
			w.log.Error("settle epoch", "epoch", ep.Name, "err", err)
			w.pause(time.Second)
		}
		return
	}
	w.force.Store(false)
	w.evict.Store(false)
	w.leavePlace()
	fx.free = true
	w.m.carryOut(&fx)
	if err := keeper.Remove(w.m.dir(ep.Name)); err != nil {
		w.log.Warn("remove epoch folder", "epoch", ep.Name, "err", err)
	}
}

// settleSteers has what was said into a run wait behind it that is to begin
// again: the next agent has heard of neither.
func (w *worker) settleSteers(tx *store.Tx) error {
	late, err := settleSteers(tx, w.session, false)
	if err != nil || !late {
		return err
	}
	s, err := tx.Session(w.session)
	if err != nil {
		return err
	}
	return appendQueue(tx, w.session, s.Paused)
}

// settleStarted decides about a run whose prompt had been committed when its
// epoch ended: one that was surely not begun waits for the next epoch, any
// other is interrupted.
func (w *worker) settleStarted(tx *store.Tx, ep store.Epoch, run store.Run, how ending, why said.Words, fx *effects) error {
	unbegun := how.startErr != nil || how.notesKnown && how.notes.Intent < run.Prompt
	sameBoot := ep.BootID == w.m.BootID
	if unbegun && sameBoot && how.mismatch == "" && !run.Cancelling && w.requeued < 3 {
		w.requeued++
		run.Epoch, run.Prompt, run.StartedAt = "", 0, time.Time{}
		if err := tx.PutRun(run); err != nil {
			return err
		}
		_, err := tx.Append(w.session, run.ID, store.RunQueued, store.RunBody{Run: run.ID, Item: run.Item})
		return err
	}
	if run.Cancelling {
		return w.m.endRun(tx, run, store.Cancelled, why, true, fx)
	}
	if err := noticePrinted(tx, w.session, run.ID, how.stderr); err != nil {
		return err
	}
	return w.m.endRun(tx, run, store.Interrupted, why, true, fx)
}

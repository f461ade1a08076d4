// Package session is the heart of the host: sessions, messages, runs,
// approvals and the queue, and the links to the keepers that own the agents.
//
// Every decision is made inside a store.Update, which the store's one writer
// runs one after another, so two requests never decide on the same state. What
// this package keeps in memory (links, the open items of a stream) can always
// be read again from the store: a host that was killed and one that was not
// differ in nothing but warmth.
package session

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-dev/holdfast/internal/agent"
	"github.com/holdfast-dev/holdfast/internal/keeper"
	"github.com/holdfast-dev/holdfast/internal/store"
)

// Agents is the catalogue as this package needs it.
type Agents interface {
	Get(ctx context.Context, id string) (agent.Agent, error)
	List(ctx context.Context) []agent.Found
	Name(id string) string
	Steering(id string) agent.Steering
}

// Options configures a Manager. All fields are required but those with a
// default.
type Options struct {
	Store     *store.Store
	Catalogue Agents
	Home      string // the state folder: part of every mark
	Keepers   string // holds a folder for each epoch
	Exe       string // this binary, run again as a keeper
	Version   string
	BootID    string
	Cap       int // on live agents
	Spool     int64
	NoFile    uint64
	Leases    keeper.Leases
	Quiet     bool // the program was replaced in place: no run is told of it
	Log       *slog.Logger
	Now       func() time.Time
}

// Manager owns the sessions of a host.
type Manager struct {
	Options

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	returns atomic.Bool // the host comes back at once
	ending  atomic.Bool // no agent is started any more
	tally   tallies

	strangers sync.Mutex // held while keepers of an unknown past are ended
	copying   sync.Mutex // one copy of a session is made at a time
	importing sync.Mutex // one file is imported at a time

	mu        sync.Mutex
	workers   map[string]*worker
	closing   bool
	live      map[string]*worker // sessions with an epoch, by session id: the cap counts these
	inherited map[string]bool    // epochs that an earlier life of the host began
	freed     chan struct{}      // closed and replaced when a place may have become free
	line      []*worker          // those that wait for a place, in their order
	holds     int
	held      chan struct{} // closed when the last hold ends; nil where nothing is held
}

// NewManager returns a Manager that does nothing until Start.
func NewManager(o Options) *Manager {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Cap <= 0 {
		o.Cap = 8
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &Manager{
		Options: o, ctx: ctx, cancel: cancel,
		workers: map[string]*worker{}, live: map[string]*worker{}, inherited: map[string]bool{}, freed: make(chan struct{}),
	}
}

// Start settles what the last life left: it expires what ran out, drains the
// spools of keepers that are gone, and goes on with those that live. It
// returns when nothing that a reader could see is still unsettled: the
// listener may open then.
func (m *Manager) Start(ctx context.Context) error {
	if err := m.expire(m.Now()); err != nil {
		return fmt.Errorf("expire approvals: %w", err)
	}
	epochs, err := m.Store.Epochs(ctx, true)
	if err != nil {
		return fmt.Errorf("list epochs: %w", err)
	}
	m.mu.Lock()
	for _, ep := range epochs {
		m.inherited[ep.Name] = !m.Quiet
		m.live[ep.Session] = m.workerLocked(ep.Session)
	}
	m.mu.Unlock()
	if !m.Held() {
		m.wg.Go(func() {
			if err := m.endStrangers(m.ctx); err != nil && m.ctx.Err() == nil {
				m.Log.Error("end keepers of an unknown past", "err", err)
			}
		})
	}
	var settled []<-chan struct{}
	for _, ep := range epochs {
		if w := m.wake(ep.Session); w != nil {
			settled = append(settled, w.settled)
		}
	}
	pending, err := m.Store.Unstarted(ctx)
	if err != nil {
		return fmt.Errorf("list waiting runs: %w", err)
	}
	for _, id := range pending {
		m.wake(id)
	}
	// A keeper that does not answer must not keep the page away.
	deadline := time.After(2 * time.Second)
	for _, c := range settled {
		select {
		case <-c:
		case <-deadline:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Hold keeps agents from being started and from being sent anything, and spools
// from being trimmed, until release: what is stored meanwhile can be read again
// by another program. What agents say goes on being read.
func (m *Manager) Hold() (release func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.holds++; m.holds == 1 {
		m.held = make(chan struct{})
	}
	return sync.OnceFunc(func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.holds--; m.holds == 0 {
			close(m.held)
			m.held = nil
		}
	})
}

// Held tells whether a hold is on.
func (m *Manager) Held() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.held != nil
}

// pass waits until nothing is held; false: ctx ended first.
func (m *Manager) pass(ctx context.Context) bool {
	for {
		m.mu.Lock()
		held := m.held
		m.mu.Unlock()
		if held == nil {
			return true
		}
		select {
		case <-held:
		case <-ctx.Done():
			return false
		}
	}
}

// Returns says that a host comes back right after this one: the keepers wait
// for it as long as after a crash, not as short as after a stop.
func (m *Manager) Returns() { m.returns.Store(true) }

// Close leaves the agents to their keepers and waits for every goroutine.
func (m *Manager) Close() error {
	m.mu.Lock()
	m.closing = true
	m.mu.Unlock()
	m.cancel()
	m.wg.Wait()
	if m.returns.Load() {
		return nil
	}
	return m.leave()
}

// leave tells every keeper that the host has stopped and that no other comes
// right after it, also those that it had not met: they were just born, or left
// by a life that crashed.
func (m *Manager) leave() error {
	ctx, stop := context.WithTimeout(context.Background(), 2*time.Second)
	defer stop()
	epochs, err := m.Store.Epochs(ctx, true)
	if err != nil {
		return fmt.Errorf("leave the agents to their keepers: %w", err)
	}
	var group sync.WaitGroup
	for _, ep := range epochs {
		group.Go(func() {
			conn, err := keeper.Dial(ctx, m.dir(ep.Name), keeper.Events{})
			if errors.Is(err, keeper.ErrNoKeeper) {
				return // it has ended
			}
			if err == nil {
				err = errors.Join(conn.Leave(), conn.Close())
			}
			if err != nil {
				m.Log.Warn("tell keeper that the host stops", "epoch", ep.Name, "err", err)
			}
		})
	}
	group.Wait()
	return nil
}

// EndAll ends every agent, also one that is just being started, and returns when
// their trees are gone. No other is started any more, unless it fails.
func (m *Manager) EndAll(ctx context.Context) (err error) {
	m.ending.Store(true)
	defer func() {
		if err != nil {
			m.ending.Store(false)
		}
	}()
	for {
		// In this order: who starts an agent takes a place first.
		m.mu.Lock()
		left, freed := len(m.live), m.freed
		m.mu.Unlock()
		epochs, err := m.Store.Epochs(ctx, true)
		if err != nil {
			return err
		}
		if left == 0 && len(epochs) == 0 {
			return nil
		}
		for _, ep := range epochs {
			if ep.State == store.EpochEnding {
				continue
			}
			if err := m.EndAgent(ctx, ep.Session, false); err != nil {
				var e *Error
				if !errors.As(err, &e) {
					return err
				}
			}
		}
		select {
		case <-freed:
		case <-time.After(50 * time.Millisecond): // one may have been born meanwhile
		case <-ctx.Done():
			return fmt.Errorf("end agents: %d still running: %w", left, ctx.Err())
		}
	}
}

// Nudge has every session look at its deadlines again, after the clock jumped.
func (m *Manager) Nudge() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, w := range m.workers {
		select {
		case w.wakeup <- struct{}{}:
		default:
		}
	}
}

// Runs is the number of runs that agents are at work on.
func (m *Manager) Runs(ctx context.Context) (int, error) {
	epochs, err := m.Store.Epochs(ctx, true)
	if err != nil {
		return 0, err
	}
	runs := 0
	for _, ep := range epochs {
		_, run, err := m.Store.Live(ctx, ep.Session)
		if err != nil {
			return 0, err
		}
		if run.ID != "" {
			runs++
		}
	}
	return runs, nil
}

// Live is the number of sessions that hold an agent.
func (m *Manager) Live() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.live)
}

// MaxLive is how many sessions may hold an agent.
func (m *Manager) MaxLive() int { return m.Cap }

// Agents is the catalogue, as the API shows it.
func (m *Manager) Agents(ctx context.Context) []AgentInfo {
	found := m.Catalogue.List(ctx)
	out := make([]AgentInfo, 0, len(found))
	for _, f := range found {
		out = append(out, AgentInfo{ID: f.ID, Name: f.Name, Version: f.Version, Path: f.Path, Ready: f.Ready, Reason: f.Reason})
	}
	return out
}

// wake has the session's worker look at the store again, and makes one where
// there is none.
func (m *Manager) wake(session string) *worker {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closing {
		return nil
	}
	w := m.workerLocked(session)
	select {
	case w.wakeup <- struct{}{}:
	default:
	}
	return w
}

func (m *Manager) workerLocked(session string) *worker {
	w := m.workers[session]
	if w == nil {
		w = newWorker(m, session)
		m.workers[session] = w
		m.wg.Go(w.run)
	}
	return w
}

// worker returns the session's worker, or nil where it has none.
func (m *Manager) worker(session string) *worker {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.workers[session]
}

// retire removes an idle worker unless it was woken again.
func (m *Manager) retire(w *worker) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(w.wakeup) > 0 && !m.closing {
		return false
	}
	delete(m.workers, w.session)
	return true
}

// free tells those who wait for a place that one may be free.
func (m *Manager) free() {
	m.mu.Lock()
	close(m.freed)
	m.freed = make(chan struct{})
	m.mu.Unlock()
}

// commit runs fn in the store and, where the disk refuses, tries again until
// it takes it or the host stops: what an agent said is not dropped.
func (m *Manager) commit(ctx context.Context, d store.Durability, fn func(*store.Tx) error) error {
	wait := 100 * time.Millisecond
	for {
		err := m.Store.Update(d, fn)
		if err == nil || !errors.Is(err, store.ErrCommit) {
			return err
		}
		m.Log.Error("commit failed, trying again", "err", err, "in", wait)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
		wait = min(2*wait, 5*time.Second)
	}
}

func (m *Manager) dir(epoch string) string { return filepath.Join(m.Keepers, epoch) }

func (m *Manager) mark(session, epoch string) string {
	return m.Home + ":" + session + ":" + epoch
}

var idEncoding = base32.StdEncoding.WithPadding(base32.NoPadding)

// newID returns a random name of 80 bits behind a letter that tells its kind.
func newID(kind string) string {
	var b [10]byte
	_, _ = rand.Read(b[:]) // never fails since Go 1.24
	return kind + strings.ToLower(idEncoding.EncodeToString(b[:]))
}

package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/holdfast-dev/holdfast/internal/agent"
	"github.com/holdfast-dev/holdfast/internal/failpoint"
	"github.com/holdfast-dev/holdfast/internal/keeper"
	"github.com/holdfast-dev/holdfast/internal/store"
)

const (
	flushEvery  = 30 * time.Millisecond // text is shown about 30 times a second
	deltaBytes  = 32 << 10              // of one text.delta
	batchSize   = 512                   // records of one transaction
	longLine    = 1 << 20               // after one the memory is given back
	trimEvery   = 4 << 20               // bytes of spool that may wait for a trim within a turn
	retryResend = 200 * time.Millisecond
)

// link reads one epoch's records into the log and brings its outbox to the
// keeper.
type link struct {
	w    *worker
	m    *Manager
	ep   store.Epoch
	log  *slog.Logger
	conn *keeper.Conn

	// agent is asked once, and not in a transaction: the first asking of a
	// host's life waits for the login shell.
	agent func() agent.Agent
	// steering is looked at for each piece of text.
	steering agent.Steering

	turn   *turn // what is open in the stream; nil: read it from the store again
	batch  []entry
	bytes  int
	last   time.Time // of the last flush
	offset uint64    // of the last committed record
	spool  int       // bytes committed since the last trim
	stderr string    // the last that the agent printed, until its exit is stored

	printed keeper.Tail // what it had printed when it answered with an error

	takenUp time.Time // when a run that another life of the host began was taken up; zero once that is told

	accepted atomic.Uint64 // last outbox number that the keeper has taken
	push     chan struct{} // wakes the sender

	mu      sync.Mutex
	written map[uint64]time.Time // answers written, to be held against their deadline
	trouble []keeper.Status      // not yet told
}

func newLink(w *worker, ep store.Epoch) *link {
	return &link{
		w: w, m: w.m, ep: ep, agent: sync.OnceValue(func() agent.Agent { return w.m.agentOf(ep) }), steering: w.m.Catalogue.Steering(ep.Agent), offset: ep.Offset, log: w.log.With("epoch", ep.Name),
		push: make(chan struct{}, 1), written: map[uint64]time.Time{},
	}
}

// agentOf is what the catalogue knows of an epoch's agent. One that has been
// removed meanwhile is known by its id alone.
func (m *Manager) agentOf(ep store.Epoch) agent.Agent {
	a, err := m.Catalogue.Get(m.ctx, ep.Agent)
	if err != nil {
		return agent.Agent{ID: ep.Agent, Name: ep.Agent}
	}
	return a
}

// attach connects to the epoch's keeper and serves it. over tells that the
// epoch is at its end; otherwise the host stops.
func (w *worker) attach(ep store.Epoch) (over bool, err error) {
	l := newLink(w, ep)
	ctx := w.m.ctx
	conn, err := keeper.Dial(ctx, w.m.dir(ep.Name), keeper.Events{
		Accepted: func(n uint64) {
			failpoint.Hit("host.accepted")
			l.accepted.Store(n)
		},
		Written: func(n uint64, at time.Time) {
			l.mu.Lock()
			l.written[n] = at
			l.mu.Unlock()
			select {
			case w.wakeup <- struct{}{}:
			default:
			}
		},
		Status: func(st keeper.Status) {
			l.log.Warn("the keeper has trouble", "kind", st.Kind, "text", st.Text)
			l.mu.Lock()
			l.trouble = append(l.trouble, st)
			l.mu.Unlock()
			select {
			case w.wakeup <- struct{}{}:
			default:
			}
		},
	})
	if err != nil {
		if held, herr := keeper.Held(w.m.dir(ep.Name)); herr == nil && !held {
			return true, nil // it ended meanwhile
		}
		return false, err
	}
	defer conn.Close()
	failpoint.Hit("host.attach")
	l.conn = conn
	if err := l.compare(conn.Hello); err != nil {
		var mismatch *mismatchError
		if errors.As(err, &mismatch) {
			_ = conn.End(true)
		}
		return false, err
	}
	l.accepted.Store(conn.Hello.In.N)
	if err := conn.Read(l.offset + 1); err != nil {
		return false, err
	}
	w.m.mu.Lock()
	inherited := w.m.inherited[ep.Name]
	w.m.mu.Unlock()
	if inherited && conn.Hello.Running {
		l.takenUp = w.m.Now()
	}
	w.conn.Store(conn)
	defer w.conn.Store(nil)
	w.markSettled()
	return l.serve(ctx)
}

// compare holds the keeper's account against the store's.
func (l *link) compare(h keeper.Hello) error {
	if h.Epoch != l.ep.Name {
		return &mismatchError{"it serves another epoch"}
	}
	if h.Last < l.offset || h.First > l.offset+1 {
		return &mismatchError{fmt.Sprintf("it holds records %d to %d, the log has %d", h.First, h.Last, l.offset)}
	}
	if h.In.N == 0 {
		return nil
	}
	lines, err := l.m.Store.Lines(l.m.ctx, l.ep.Name, h.In.N-1)
	switch {
	case err != nil:
		return err
	case len(lines) == 0:
		return &mismatchError{fmt.Sprintf("it took line %d, which the store does not have", h.In.N)}
	case lines[0].Sum != h.In.Sum:
		return &mismatchError{fmt.Sprintf("line %d is another one", h.In.N)}
	}
	return nil
}

// serve is the link's main loop.
func (l *link) serve(ctx context.Context) (over bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	records := make(chan entry, 64)
	var group sync.WaitGroup
	group.Go(func() { l.receive(ctx, records) })
	group.Go(func() { l.send(ctx, l.conn.Hello.In.N) })
	if l.ep.State == store.EpochEnding {
		// Whoever marked it so has told a worker of another life, perhaps in vain.
		group.Go(func() {
			if l.m.pass(ctx) {
				l.m.wake(l.w.session)
			}
		})
	}
	defer func() {
		cancel()
		_ = l.conn.Close()
		group.Wait()
	}()

	flush := time.NewTimer(time.Hour)
	defer flush.Stop()
	expiry := time.NewTimer(0)
	defer expiry.Stop()
	ended := false
	for {
		select {
		case e, ok := <-records:
			if !ok {
				return true, l.flush(ctx)
			}
			l.gather(e, records)
			if wait := l.patience(); wait > 0 {
				flush.Reset(wait)
				continue
			}
			asked := slices.ContainsFunc(l.batch, func(e entry) bool { return e.msg.IsRequest() })
			if err := l.flush(ctx); err != nil {
				return false, err
			}
			if asked {
				expiry.Reset(0)
			}
		case <-flush.C:
			if err := l.flush(ctx); err != nil {
				return false, err
			}
		case <-l.w.wakeup:
			l.wakeSender()
			if err := l.tellTrouble(); err != nil {
				l.log.Error("tell of the keeper's trouble", "err", err)
			}
			if err := l.checkWritten(); err != nil {
				l.log.Error("expire late answer", "err", err)
			}
			state, busy, err := l.look(ctx)
			if err != nil {
				l.log.Error("read epoch", "err", err)
				continue
			}
			l.w.setBusy(busy)
			force := l.w.force.Load()
			if state == store.EpochEnding && (!ended || force) {
				ended = true
				// One that ends just now is told of by the end of its records.
				if err := l.conn.End(force); err != nil && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, net.ErrClosed) {
					l.log.Warn("ask keeper to end the agent", "err", err)
				}
			}
			expiry.Reset(0)
		case <-expiry.C:
			next, err := l.expire(ctx)
			if err != nil {
				l.log.Error("expire approvals", "err", err)
				next = time.Second
			}
			if next > 0 {
				expiry.Reset(next)
			}
		case <-ctx.Done():
			// What is lost here is read again from the spool.
			last, stop := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer stop()
			_ = l.flush(last)
			return false, nil
		}
	}
}

func (w *worker) setBusy(busy bool) {
	if busy || w.busy.Load() {
		w.used.Store(w.m.Now().UnixNano())
	}
	w.busy.Store(busy)
}

// look reads the epoch's state and whether its session wants its agent.
func (l *link) look(ctx context.Context) (state string, busy bool, err error) {
	ep, run, err := l.m.Store.Live(ctx, l.w.session)
	return ep.State, run.ID != "" || ep.State == store.EpochStarting, err
}

func (l *link) wakeSender() {
	select {
	case l.push <- struct{}{}:
	default:
	}
}

// receive brings records from the keeper to the main loop.
func (l *link) receive(ctx context.Context, records chan<- entry) {
	defer close(records)
	for {
		rec, err := l.conn.Next()
		if err != nil {
			if !errors.Is(err, io.EOF) && ctx.Err() == nil {
				l.log.Warn("keeper connection ended", "err", err)
			}
			return
		}
		select {
		case records <- decode(rec):
		case <-ctx.Done():
			return
		}
	}
}

// send brings the outbox to the keeper, in order, from the line after the
// last that it took.
func (l *link) send(ctx context.Context, sent uint64) {
	for {
		lines, err := l.m.Store.Lines(ctx, l.ep.Name, sent)
		if err != nil {
			if ctx.Err() != nil {
				return
			}
			l.log.Error("read outbox", "err", err)
			select {
			case <-time.After(retryResend):
			case <-ctx.Done():
				return
			}
			continue
		}
		if len(lines) > 0 && !l.m.pass(ctx) {
			return
		}
		for _, line := range lines {
			failpoint.Hit("host.push." + line.Kind)
			out := keeper.Line{N: line.N, Data: line.Data, Void: line.Void}
			if line.Kind == store.LinePrompt || line.Kind == store.LineSteer {
				out.Ends = fmt.Sprint(line.N)
			}
			if err := l.conn.Send(out); err != nil {
				return // the receiver sees the end of the connection, too
			}
			sent = line.N
			failpoint.Hit("host.pushed." + line.Kind)
		}
		if len(lines) > 0 {
			continue
		}
		select {
		case <-l.push:
		case <-ctx.Done():
			return
		}
	}
}

// gather adds e and what else has arrived to the batch.
func (l *link) gather(e entry, records <-chan entry) {
	l.add(e)
	for len(l.batch) < batchSize && l.bytes < trimEvery {
		select {
		case e, ok := <-records:
			if !ok {
				return // seen again by the main loop
			}
			l.add(e)
		default:
			return
		}
	}
}

func (l *link) add(e entry) {
	l.batch = append(l.batch, e)
	l.bytes += len(e.rec.Data)
}

// patience is how long the batch may still wait: text that follows text is
// shown about 30 times a second, everything else at once.
func (l *link) patience() time.Duration {
	if l.bytes >= deltaBytes || len(l.batch) >= batchSize {
		return 0
	}
	for _, e := range l.batch {
		if !e.isText() {
			return 0
		}
	}
	return flushEvery - l.m.Now().Sub(l.last)
}

// flush commits the batch: its events, its lines for the agent and its offset
// in one transaction.
func (l *link) flush(ctx context.Context) error {
	if len(l.batch) == 0 {
		return nil
	}
	failpoint.Hit("host.read")
	batch, bytes := l.batch, l.bytes
	if err := l.apply(ctx, batch); err != nil {
		return err
	}
	l.batch, l.bytes, l.last = l.batch[:0], 0, l.m.Now()
	clear(batch)
	if bytes > longLine {
		debug.FreeOSMemory()
	}
	return nil
}

// trim lets the keeper drop what a synced commit covers.
func (l *link) trim(through uint64) {
	if l.conn == nil || l.m.Held() {
		return
	}
	failpoint.Hit("host.trim")
	if err := l.conn.Trim(through); err != nil {
		l.log.Debug("trim spool", "err", err)
	}
	l.spool = 0
}

// drain reads what a keeper that is gone left on disk.
func (l *link) drain(dir string) error {
	sp, err := keeper.OpenSpool(dir, l.offset+1)
	if err != nil {
		return err
	}
	defer sp.Close()
	for {
		rec, err := sp.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			_ = l.flush(l.m.ctx)
			return err
		}
		l.add(decode(rec))
		if len(l.batch) >= batchSize || l.bytes >= trimEvery {
			if err := l.flush(l.m.ctx); err != nil {
				return err
			}
		}
	}
	if sp.Torn() {
		l.log.Warn("the last record of the spool was torn and is dropped")
	}
	return l.flush(l.m.ctx)
}

// tellTrouble puts what the keeper suffers into the transcript: an agent that
// stands still should say why.
func (l *link) tellTrouble() error {
	l.mu.Lock()
	trouble := l.trouble
	l.trouble = nil
	l.mu.Unlock()
	for _, st := range trouble {
		level := "warning"
		if st.Kind == keeper.StatusRecovered {
			level = "info"
		}
		err := l.m.Store.Update(store.Relaxed, func(tx *store.Tx) error {
			s, err := tx.Session(l.w.session)
			if err != nil {
				return err
			}
			return appendNotice(tx, s.ID, s.Run, level, troubleWords(st), "")
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// checkWritten holds answers that were just written against the deadline of
// their agent.
func (l *link) checkWritten() error {
	l.mu.Lock()
	written := l.written
	l.written = map[uint64]time.Time{}
	l.mu.Unlock()
	for n, at := range written {
		if err := l.m.lateAnswer(l.ep.Name, n, at); err != nil {
			return err
		}
	}
	return nil
}

// expire closes what ran out and returns the time until the next does.
func (l *link) expire(ctx context.Context) (time.Duration, error) {
	pending, err := l.m.Store.Approvals(ctx, store.ApprovalPending, l.w.session)
	if err != nil {
		return 0, err
	}
	now := l.m.Now()
	var next time.Duration
	due := false
	for _, a := range pending {
		if a.ExpiresAt == nil {
			continue
		}
		left := a.ExpiresAt.Sub(now)
		if left <= 0 {
			due = true
			continue
		}
		if next == 0 || left < next {
			next = left
		}
	}
	if due {
		return next, l.m.expire(now)
	}
	return next, nil
}

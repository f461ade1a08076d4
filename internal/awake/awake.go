// Package awake is about a machine that sleeps: a Guard keeps it from falling
// asleep by itself while work is under way, and WatchClock tells when it slept
// nevertheless, or when its clock was set.
//
// It never keeps a person from closing the lid or from asking for sleep, and
// never shuts anything down. What it asks of the system ends with the process,
// however that ends.
package awake

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

const (
	who = "Holdfast"
	why = "An agent is at work"

	// recheck is how often mains and what holds the machine awake are looked at
	// while a run is live.
	recheck = time.Minute
	// limit bounds one question to the system.
	limit = 5 * time.Second
)

// hold is what keeps the machine awake.
type hold interface {
	// Lost is closed, or receives, when the system no longer keeps to it, or may not.
	Lost() <-chan struct{}
	// Close lets go. It is called once.
	Close() error
}

// Options say when a Guard holds.
type Options struct {
	// OnMainsOnly lets a machine on battery sleep.
	OnMainsOnly bool

	// The rest is for tests; zero means the real thing.
	take    func(context.Context) (hold, error)
	mains   func(context.Context) (bool, error)
	recheck time.Duration
}

// Guard keeps the machine from sleeping by itself while it is told that a run
// is live. A nil Guard does nothing: that is "never".
type Guard struct {
	log  *slog.Logger
	opts Options

	live    atomic.Bool
	changed chan struct{} // never closed; holds one "look again"
	cancel  context.CancelFunc
	done    chan struct{} // closed when the loop has let go

	mu    sync.Mutex
	state string
	err   error // of letting go at the end
}

// New starts a Guard that holds nothing until Set(true). The caller closes it.
func New(log *slog.Logger, opts Options) *Guard {
	if opts.take == nil {
		opts.take = take
	}
	if opts.mains == nil {
		opts.mains = onMains
	}
	if opts.recheck == 0 {
		opts.recheck = recheck
	}
	ctx, cancel := context.WithCancel(context.Background())
	g := &Guard{
		log: log, opts: opts, changed: make(chan struct{}, 1), cancel: cancel, done: make(chan struct{}),
		state: stateIdle,
	}
	go g.run(ctx)
	return g
}

// What State says. An unavailable holder has its reason behind it.
const (
	stateOff     = "off"
	stateIdle    = "not held: no run is live"
	stateBattery = "not held: on battery"
	stateHeld    = "held"
	stateAsking  = "not held: asking the system"
	stateClosed  = "not held: closed"
	unavailable  = "not available: "
)

// Set says whether a run is live. It returns at once.
func (g *Guard) Set(live bool) {
	if g == nil || g.live.Swap(live) == live {
		return
	}
	select {
	case g.changed <- struct{}{}:
	default: // a look is due anyway, and will see this
	}
}

// State is for people: "held", "not held: …", "not available: …", or "off".
func (g *Guard) State() string {
	if g == nil {
		return stateOff
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.state
}

// Close lets the machine sleep again and waits until that is done. It may be
// called twice. Before the process image is replaced it must be called: the
// new image knows nothing of what the old one held.
func (g *Guard) Close() error {
	if g == nil {
		return nil
	}
	g.cancel()
	<-g.done
	g.mu.Lock()
	defer g.mu.Unlock()
	err := g.err
	g.err = nil
	return err
}

func (g *Guard) say(state string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.state = state
}

// run is the owner of the hold.
func (g *Guard) run(ctx context.Context) {
	defer close(g.done)
	var (
		held   hold
		lost   <-chan struct{}
		since  time.Time // of held
		wait   bool      // for the next look: it was lost as soon as it was held
		told   string    // the kind of the last reason that was logged
		ticker = time.NewTicker(g.opts.recheck)
	)
	defer ticker.Stop()
	release := func() {
		if held == nil {
			return
		}
		if err := held.Close(); err != nil {
			g.log.Warn("could not let the machine sleep again in an orderly way", "err", err)
		}
		held, lost = nil, nil
	}
	defer func() {
		if held != nil {
			g.err = held.Close() // read after done
		}
		g.say(stateClosed)
	}()
	// Once, until it is held again: how a bus is absent changes from try to try.
	tell := func(kind, reason string, err error) {
		if kind != told {
			g.log.Info("the machine is not kept awake", "reason", reason, "err", err)
		}
		told = kind
	}
	for {
		switch state, err := g.wanted(ctx); {
		case state != stateHeld:
			release()
			switch {
			case err != nil:
				tell(unavailable, state, err)
			case state != stateIdle:
				tell(state, state, nil)
			}
			g.say(state)
		case held == nil && wait:
			tell(unavailable, unavailable+"the system does not keep to it", nil)
			g.say(unavailable + "the system does not keep to it")
		case held == nil:
			g.say(stateAsking)
			h, err := g.ask(ctx)
			if err != nil {
				if ctx.Err() != nil {
					return
				}
				tell(unavailable, unavailable+err.Error(), err)
				g.say(unavailable + err.Error())
				break
			}
			held, lost, since = h, h.Lost(), time.Now()
			g.say(stateHeld)
		}
		select {
		case <-ctx.Done():
			return
		case <-g.changed:
		case <-lost:
			wait = time.Since(since) < limit
			release()
		case <-ticker.C:
			wait = false
		}
		if held != nil {
			told = ""
		}
	}
}

// wanted is stateHeld where the machine is to be kept awake, else why not.
func (g *Guard) wanted(ctx context.Context) (string, error) {
	if !g.live.Load() {
		return stateIdle, nil
	}
	if !g.opts.OnMainsOnly {
		return stateHeld, nil
	}
	ctx, stop := context.WithTimeout(ctx, limit)
	defer stop()
	switch mains, err := g.opts.mains(ctx); {
	case err != nil:
		// A drained battery is worse than a run that goes on after the sleep.
		return unavailable + "the power supply is not known", err
	case !mains:
		return stateBattery, nil
	}
	return stateHeld, nil
}

func (g *Guard) ask(ctx context.Context) (hold, error) {
	ctx, stop := context.WithTimeout(ctx, limit)
	defer stop()
	h, err := g.opts.take(ctx)
	if err != nil {
		if cause := ctx.Err(); errors.Is(cause, context.DeadlineExceeded) {
			err = fmt.Errorf("no answer within %v: %w", limit, err)
		}
		return nil, err
	}
	return h, nil
}

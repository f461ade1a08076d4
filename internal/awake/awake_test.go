package awake

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

type fakeHold struct {
	lost   chan struct{}
	closed atomic.Int32
	err    error
}

func (h *fakeHold) Lost() <-chan struct{} { return h.lost }
func (h *fakeHold) Close() error          { h.closed.Add(1); return h.err }

// system grants holds, or says why not.
type system struct {
	mu      sync.Mutex
	err     error
	battery bool
	unknown error
	holds   []*fakeHold
	asked   int
}

func (s *system) take(context.Context) (hold, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	if s.err != nil {
		return nil, s.err
	}
	h := &fakeHold{lost: make(chan struct{})}
	s.holds = append(s.holds, h)
	return h, nil
}

func (s *system) mains(context.Context) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.battery, s.unknown
}

func (s *system) change(do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do()
}

func (s *system) count() (holds, asked int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.holds), s.asked
}

func (s *system) last() *fakeHold {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.holds[len(s.holds)-1]
}

// held counts the holds that were not let go, and fails on one let go twice.
func (s *system) held(t *testing.T) int {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, h := range s.holds {
		switch h.closed.Load() {
		case 0:
			n++
		case 1:
		default:
			t.Error("a hold was let go twice")
		}
	}
	return n
}

func TestGuard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &system{}
		var out bytes.Buffer
		g := New(slog.New(slog.NewTextHandler(&out, nil)), Options{OnMainsOnly: true, take: s.take, mains: s.mains})
		expect := func(when, state string, held int) {
			t.Helper()
			synctest.Wait()
			if got := g.State(); !strings.HasPrefix(got, state) {
				t.Errorf("%s: state %q, want %q", when, got, state)
			}
			if n := s.held(t); n != held {
				t.Errorf("%s: %d held, want %d", when, n, held)
			}
		}
		logged := func(text string, want int) {
			t.Helper()
			if n := strings.Count(out.String(), text); n != want {
				t.Errorf("%q stands %d times in the log, want %d:\n%s", text, n, want, out.String())
			}
		}
		time.Sleep(recheck / 2) // so that what follows never meets a look
		expect("at the start", stateIdle, 0)
		g.Set(true)
		expect("a run is live", stateHeld, 1)
		g.Set(true)
		time.Sleep(10 * recheck)
		expect("told again", stateHeld, 1)
		if _, n := s.count(); n != 1 {
			t.Errorf("asked %d times", n)
		}

		s.change(func() { s.battery = true })
		expect("unplugged, not looked yet", stateHeld, 1)
		time.Sleep(recheck)
		expect("unplugged", stateBattery, 0)
		s.change(func() { s.battery = false })
		time.Sleep(recheck)
		expect("plugged in", stateHeld, 1)

		time.Sleep(limit)
		close(s.last().lost)
		expect("the system let go", stateHeld, 1)
		if n, _ := s.count(); n != 3 {
			t.Errorf("%d holds were taken", n)
		}

		g.Set(false)
		expect("no run is live", stateIdle, 0)
		s.change(func() { s.err = errors.New("no such thing here") })
		g.Set(true)
		expect("not there", unavailable+"no such thing here", 0)
		_, before := s.count()
		time.Sleep(5 * recheck)
		if _, now := s.count(); now-before != 5 {
			t.Errorf("asked %d times in five minutes", now-before)
		}
		logged("no such thing here", 2) // reason and err of one line
		logged("on battery", 1)
		s.change(func() { s.err = nil })
		time.Sleep(recheck)
		expect("it came", stateHeld, 1)

		s.change(func() { s.unknown = errors.New("no supply can be read") })
		time.Sleep(recheck)
		expect("the supply is not known", unavailable, 0)
		s.change(func() { s.unknown = nil })
		time.Sleep(recheck)

		for range 99 { // ends as told last
			g.Set(false)
			g.Set(true)
		}
		expect("to and fro", stateHeld, 1)
		s.change(func() { s.holds[len(s.holds)-1].err = errors.New("it will not let go") })
		if err := g.Close(); err == nil {
			t.Error("close hides why it could not let go")
		}
		if err := g.Close(); err != nil {
			t.Errorf("the second close: %v", err)
		}
		expect("closed", stateClosed, 0)
		g.Set(false)
		g.Set(true)
		expect("set after close", stateClosed, 0)
	})
}

func TestAlways(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &system{battery: true}
		g := New(slog.New(slog.DiscardHandler), Options{take: s.take, mains: s.mains})
		g.Set(true)
		synctest.Wait()
		if g.State() != stateHeld {
			t.Error(g.State())
		}
		if err := g.Close(); err != nil || s.held(t) != 0 {
			t.Error(err, s.held(t))
		}
	})
}

// A hold that is lost as soon as it is taken is not asked for in a loop.
func TestLostAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		var out bytes.Buffer
		g := New(slog.New(slog.NewTextHandler(&out, nil)), Options{take: func(context.Context) (hold, error) {
			asked++
			h := &fakeHold{lost: make(chan struct{})}
			close(h.lost)
			return h, nil
		}})
		g.Set(true)
		time.Sleep(10*recheck + 1)
		if s := g.State(); !strings.HasPrefix(s, unavailable) {
			t.Error(s)
		}
		if err := g.Close(); err != nil {
			t.Error(err)
		}
		if asked != 11 || strings.Count(out.String(), "\n") != 1 {
			t.Errorf("asked %d times in ten minutes, said:\n%s", asked, out.String())
		}
	})
}

// A system that gives no answer keeps nobody waiting.
func TestNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(slog.New(slog.DiscardHandler), Options{take: func(ctx context.Context) (hold, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}})
		begun := time.Now()
		g.Set(true)
		g.Set(false)
		g.Set(true)
		if time.Since(begun) != 0 {
			t.Error("Set waited")
		}
		time.Sleep(2*limit + 1) // twice, for it was told twice
		synctest.Wait()
		if !strings.Contains(g.State(), "no answer within 5s") {
			t.Error(g.State())
		}
		time.Sleep(recheck) // asks again, and waits
		begun = time.Now()
		if err := g.Close(); err != nil || time.Since(begun) != 0 {
			t.Errorf("closed after %v, %v", time.Since(begun), err)
		}
	})
}

func TestNever(t *testing.T) {
	var g *Guard
	g.Set(true)
	if g.State() != stateOff || g.Close() != nil {
		t.Error(g.State())
	}
}

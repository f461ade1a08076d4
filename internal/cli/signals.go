package cli

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// Signals are the signals of this process. The first request to end ends the
// command's context; the second finds the default action again, which kills. A
// hangup is a request to end too, unless a host has asked for it. A signal that
// our parent ignores for us (nohup, a shell's background job) stays ignored.
type Signals struct {
	raw    chan os.Signal
	cancel context.CancelFunc
	done   chan struct{}
	once   sync.Once
	sorted sync.WaitGroup

	mu     sync.Mutex
	first  os.Signal // that asked to end
	reload chan<- struct{}
	dump   chan<- struct{}
	tied   bool
}

// tieToTerminal keeps a hangup what it is for everything that a person started
// in a terminal: its end. A host that reloaded instead would live on where
// nobody sees it.
func (s *Signals) tieToTerminal() {
	s.mu.Lock()
	s.tied = true
	s.mu.Unlock()
}

func catchSignals(ctx context.Context) (context.Context, *Signals) {
	s := &Signals{raw: make(chan os.Signal, 8), done: make(chan struct{})}
	var want []os.Signal
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(sig) {
			want = append(want, sig)
		}
	}
	if len(want) > 0 { // none would mean all
		signal.Notify(s.raw, want...)
	}
	ctx, s.cancel = context.WithCancel(ctx)
	s.sorted.Go(s.sort)
	return ctx, s
}

func (s *Signals) sort() {
	for {
		select {
		case sig := <-s.raw:
			s.mu.Lock()
			reload, dump := s.reload, s.dump
			s.mu.Unlock()
			switch {
			case sig == syscall.SIGHUP && reload != nil:
				offer(reload)
			case isDump(sig):
				offer(dump)
			default:
				s.mu.Lock()
				s.first = sig
				s.mu.Unlock()
				signal.Reset(os.Interrupt, syscall.SIGTERM)
				s.cancel()
			}
		case <-s.done:
			return
		}
	}
}

func offer(to chan<- struct{}) {
	select {
	case to <- struct{}{}:
	default: // one waits already, or nobody listens
	}
}

// First is the signal that asked to end, or nil.
func (s *Signals) First() os.Signal {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.first
}

// Host asks for the signals that mean something to a host: reload gets a word
// for each SIGHUP, dump one for each SIGUSR1 where the system has that. Both
// channels need room for one.
func (s *Signals) Host(reload, dump chan<- struct{}) {
	s.mu.Lock()
	if s.tied {
		reload = nil
	}
	s.reload, s.dump = reload, dump
	s.mu.Unlock()
	if reload != nil {
		// It is a host's own from here on, also under nohup.
		signal.Notify(s.raw, syscall.SIGHUP)
	}
	notifyDump(s.raw)
}

// Release gives the signals up right before the program is replaced, and tells
// whether a request to end has come that nobody has seen yet. Without this one
// that comes now would be lost in the channel.
func (s *Signals) Release() (asked bool) {
	// Stop delivers what is on its way, and then restores the default action.
	// Reset would drop it.
	signal.Stop(s.raw)
	s.once.Do(func() { close(s.done) })
	s.sorted.Wait() // it may have one in its hands
	for {
		select {
		case sig := <-s.raw:
			asked = asked || sig == os.Interrupt || sig == syscall.SIGTERM
		default:
			return asked || s.First() != nil
		}
	}
}

func (s *Signals) stop() {
	s.once.Do(func() {
		signal.Stop(s.raw)
		close(s.done)
	})
	s.sorted.Wait()
	s.cancel()
}

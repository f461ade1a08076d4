// Package handoff lets a process replace its own program without losing a
// request: the listener, the lock and the connections that wait between two
// requests go through exec, with the pid.
//
// It knows of HTTP only when a connection is between two requests. It does not
// know what the process does, and it starts no process.
//
// The order of steps, and why http.Server.Shutdown is not among them, is in
// docs/architecture.md, section 6.
package handoff

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// Listener accepts connections that can be carried into the next program.
type Listener struct {
	ln   net.Listener
	idle time.Duration // that a carried connection may wait for its next request

	mu      sync.Mutex
	thawed  *sync.Cond
	carried []net.Conn // not accepted yet
	conns   map[*Conn]struct{}
	accepts int // calls of Accept that may hold a connection which nobody knows of yet
	gated   bool
	open    chan struct{} // closed when the gate opens or the listener closes
	frozen  bool
	sealed  bool
	quiet   chan struct{} // tells a drain to look again
	closed  bool
}

// idleTimeout is the time of a carried connection; it is that of the server.
const idleTimeout = 2 * time.Minute

// NewListener wraps a listener. Connections that were carried are accepted
// first.
func NewListener(ln net.Listener, carried ...net.Conn) *Listener {
	l := &Listener{ln: ln, idle: idleTimeout, carried: carried, conns: map[*Conn]struct{}{}, open: make(chan struct{}), quiet: make(chan struct{}, 1)}
	l.thawed = sync.NewCond(&l.mu)
	return l
}

// deadliner is what the listeners of package net can do.
type deadliner interface{ SetDeadline(time.Time) error }

var past = time.Unix(1, 0)

// Accept waits for a connection. While the gate is shut it waits on, and
// clients wait in the kernel's queue.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		l.mu.Lock()
		if l.closed {
			l.mu.Unlock()
			return nil, net.ErrClosed
		}
		if l.gated {
			open := l.open
			l.mu.Unlock()
			<-open
			continue
		}
		if n := len(l.carried); n > 0 {
			conn := l.carried[n-1]
			l.carried = l.carried[:n-1]
			c := l.trackLocked(conn)
			c.carried = true
			l.mu.Unlock()
			return c, nil
		}
		l.accepts++
		l.mu.Unlock()
		conn, err := l.ln.Accept()
		l.mu.Lock()
		l.accepts--
		l.settled()
		gated := l.gated
		if err == nil {
			c := l.trackLocked(conn)
			l.mu.Unlock()
			return c, nil
		}
		l.mu.Unlock()
		if !gated || !errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, err
		}
	}
}

func (l *Listener) trackLocked(conn net.Conn) *Conn {
	c := &Conn{Conn: conn, l: l, state: http.StateNew}
	l.conns[c] = struct{}{}
	return c
}

// State is to be called from http.Server's ConnState.
func (l *Listener) State(conn net.Conn, state http.ConnState) {
	c, ok := conn.(*Conn)
	if !ok {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	c.state = state
	switch state {
	case http.StateIdle:
		c.begun, c.ahead, c.deadlines = c.ahead, false, 0
	case http.StateHijacked, http.StateClosed:
		delete(l.conns, c)
		l.settled()
	}
}

// Seal says that what is spoken over the connections is sealed (TLS), so that
// one of which a byte has been read cannot be carried: its keys are this
// program's. Where others stand still, such a connection ends instead.
func (l *Listener) Seal() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sealed = true
}

// Gate stops accepting. Clients that come now wait in the kernel's queue.
func (l *Listener) Gate() error {
	d, ok := l.ln.(deadliner)
	if !ok {
		return fmt.Errorf("stop accepting: a %T cannot be told to", l.ln)
	}
	l.mu.Lock()
	l.gated = true
	l.mu.Unlock()
	if err := d.SetDeadline(past); err != nil {
		return fmt.Errorf("stop accepting: %w", err)
	}
	return nil
}

// Freeze has every connection stand still before its next request, or end where
// it is sealed. The gate is to be shut before.
func (l *Listener) Freeze() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.frozen = true
	for c := range l.conns {
		if c.reading && c.clean() {
			c.woken = true
			_ = c.Conn.SetReadDeadline(past)
		}
	}
}

// Drain waits until every connection of a frozen listener stands still or has
// closed. The error names how many were still at work when ctx ended; an exec
// cuts those.
func (l *Listener) Drain(ctx context.Context) error {
	for {
		l.mu.Lock()
		busy := l.busyLocked()
		l.mu.Unlock()
		if busy == 0 {
			return nil
		}
		select {
		case <-l.quiet:
		case <-ctx.Done():
			return fmt.Errorf("%d connections were still at work: %w", busy, ctx.Err())
		}
	}
}

// busyLocked counts the connections that do not stand still. One that the
// kernel has given to an Accept, and the Accept to nobody yet, counts as well.
func (l *Listener) busyLocked() int {
	busy := l.accepts
	for c := range l.conns {
		if !c.parked {
			busy++
		}
	}
	return busy
}

// settled tells a drain that something changed; l.mu is held.
func (l *Listener) settled() {
	select {
	case l.quiet <- struct{}{}:
	default:
	}
}

// Thaw undoes Freeze and Gate.
func (l *Listener) Thaw() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.frozen = false
	l.thawed.Broadcast()
	if !l.gated {
		return nil
	}
	l.gated = false
	close(l.open)
	l.open = make(chan struct{})
	d, ok := l.ln.(deadliner)
	if !ok {
		return nil
	}
	return d.SetDeadline(time.Time{})
}

// Close closes the listener; its connections go on.
func (l *Listener) Close() error {
	l.mu.Lock()
	if !l.closed {
		l.closed = true
		close(l.open)
		for _, conn := range l.carried {
			conn.Close()
		}
		l.carried = nil
	}
	l.mu.Unlock()
	return l.ln.Close()
}

// Addr is where it listens.
func (l *Listener) Addr() net.Addr { return l.ln.Addr() }

package httpapi

import (
	"container/list"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-dev/holdfast/internal/handoff"
)

// conns bounds the open connections of a listener, so that accept never runs
// out of descriptors. Where it is full, the connection that has been open
// longest without sending anything makes room, then the one that has been idle
// longest. What has just come or just been answered is given a moment first,
// and clients wait in the kernel's queue meanwhile. Where all are at work, the
// new one is told 503 and closed; admission takes care that this is rare.
type conns struct {
	*handoff.Listener
	max   int
	total *atomic.Int64
	tls   bool // a refusal in plain text would be none

	mu      sync.Mutex
	open    map[net.Conn]*list.Element
	silent  *list.List    // of seat: nothing received yet, oldest first
	idle    *list.List    // of seat: between requests, longest first
	active  *list.List    // of seat
	changed chan struct{} // tells makeRoom to look again
}

// seat is a connection in one of the lists.
type seat struct {
	conn  net.Conn
	since time.Time // in this list
}

// grace is how long a connection may be silent or idle before it has to make
// room: a request is on its way in that time, unless there is none.
const grace = 100 * time.Millisecond

func newConns(ln *handoff.Listener, max int, total *atomic.Int64) *conns {
	return &conns{
		Listener: ln, max: max, total: total, open: map[net.Conn]*list.Element{}, silent: list.New(), idle: list.New(), active: list.New(),
		changed: make(chan struct{}, 1),
	}
}

// keepAlive finds connections whose other end has gone without a word within
// half a minute. Streams' heartbeats are sent twice within it.
func keepAlive() net.KeepAliveConfig {
	return net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}
}

// refusal is what a connection over the limit gets. It is short enough for any
// socket's buffer, so writing it never waits.
func refusal() []byte {
	body := `{"type":"/problems/overloaded","title":"Too many connections","status":503,"detail":"the host has as many connections as it takes; try again in 2 seconds","code":"overloaded"}`
	return fmt.Appendf(nil, "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nRetry-After: 2\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// Accept waits for a connection that there is room for.
func (c *conns) Accept() (net.Conn, error) {
	for {
		conn, err := c.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if c, ok := conn.(*handoff.Conn); ok {
			// Best effort: a system that has no such option keeps its own times.
			_ = c.SetKeepAliveConfig(keepAlive())
		}
		if !c.makeRoom() {
			if c.tls {
				conn.Close()
			} else {
				refuse(conn)
			}
			continue
		}
		c.mu.Lock()
		c.open[conn] = c.silent.PushBack(seat{conn, time.Now()})
		c.mu.Unlock()
		c.total.Add(1)
		return conn, nil
	}
}

// refuse tells a connection that there is no room for it. Every part of it is
// short: nothing else is accepted meanwhile.
func refuse(conn net.Conn) {
	raw := conn
	if c, ok := conn.(*handoff.Conn); ok {
		raw = c.Conn // which does not stand still while the program is replaced
	}
	_ = raw.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	_, _ = raw.Write(refusal())
	// To close over unread bytes is to reset the connection, and a client that
	// had sent its request already would see that and no answer.
	if half, ok := raw.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	_ = raw.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	_, _ = raw.Read(make([]byte, 4<<10))
	conn.Close()
}

// makeRoom reports whether one more connection fits, after closing one that
// does nothing.
func (c *conns) makeRoom() bool {
	for last := time.Now().Add(grace); ; {
		c.mu.Lock()
		if len(c.open) < c.max {
			c.mu.Unlock()
			return true
		}
		wait := time.Until(last)
		victim, ripe := c.longest()
		if victim != nil && min(wait, ripe) <= 0 {
			c.forget(victim)
			c.mu.Unlock()
			victim.Close()
			return true
		}
		c.mu.Unlock()
		if victim != nil {
			wait = min(wait, ripe)
		} else if wait <= 0 {
			return false
		}
		select {
		case <-c.changed:
		case <-time.After(wait):
		}
	}
}

// longest returns the connection that is to make room first, and how long it
// has left until then; nil where all are at work. c.mu is held.
func (c *conns) longest() (victim net.Conn, ripe time.Duration) {
	for _, from := range []*list.List{c.silent, c.idle} {
		front := from.Front()
		if front == nil {
			continue
		}
		longest := front.Value.(seat)
		left := grace - time.Since(longest.since)
		if left <= 0 {
			return longest.conn, left
		}
		if victim == nil || left < ripe {
			victim, ripe = longest.conn, left
		}
	}
	return victim, ripe
}

// forget drops a connection; c.mu is held.
func (c *conns) forget(conn net.Conn) {
	e, ok := c.open[conn]
	if !ok {
		return
	}
	delete(c.open, conn)
	// Remove does nothing where the element is of another list.
	c.silent.Remove(e)
	c.idle.Remove(e)
	c.active.Remove(e)
	c.total.Add(-1)
	c.look()
}

// look has makeRoom look again.
func (c *conns) look() {
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// state is the server's ConnState hook.
func (c *conns) state(conn net.Conn, state http.ConnState) {
	if sealed, ok := conn.(*tls.Conn); ok {
		conn = sealed.NetConn()
	}
	c.Listener.State(conn, state)
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.open[conn]
	if !ok {
		return
	}
	move := func(to *list.List) {
		c.silent.Remove(e)
		c.idle.Remove(e)
		c.active.Remove(e)
		c.open[conn] = to.PushBack(seat{conn, time.Now()})
	}
	switch state {
	case http.StateActive:
		move(c.active)
	case http.StateIdle:
		move(c.idle)
		c.look()
	case http.StateClosed, http.StateHijacked:
		c.forget(conn)
	}
}

// closeSilent closes the connections that have sent nothing: nobody waits for
// an answer on them, and a graceful stop would wait for them.
func (c *conns) closeSilent() {
	c.mu.Lock()
	var silent []net.Conn
	for e := c.silent.Front(); e != nil; e = e.Next() {
		silent = append(silent, e.Value.(seat).conn)
	}
	c.mu.Unlock()
	for _, conn := range silent {
		conn.Close()
	}
}

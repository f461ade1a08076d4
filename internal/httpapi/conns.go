package httpapi

import (
	"container/list"
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
// longest; where all are at work, the new one is told 503 and closed.
type conns struct {
	*handoff.Listener
	max   int
	total *atomic.Int64

	mu     sync.Mutex
	open   map[net.Conn]*list.Element
	silent *list.List // of net.Conn: nothing received yet, oldest first
	idle   *list.List // of net.Conn: between requests, longest first
	active *list.List
}

func newConns(ln *handoff.Listener, max int, total *atomic.Int64) *conns {
	return &conns{Listener: ln, max: max, total: total, open: map[net.Conn]*list.Element{}, silent: list.New(), idle: list.New(), active: list.New()}
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
			_ = conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
			_, _ = conn.Write(refusal())
			conn.Close()
			continue
		}
		c.mu.Lock()
		c.open[conn] = c.silent.PushBack(conn)
		c.mu.Unlock()
		c.total.Add(1)
		return conn, nil
	}
}

// makeRoom reports whether one more connection fits, after closing one that
// does nothing.
func (c *conns) makeRoom() bool {
	c.mu.Lock()
	if len(c.open) < c.max {
		c.mu.Unlock()
		return true
	}
	victim := c.silent.Front()
	if victim == nil {
		victim = c.idle.Front()
	}
	if victim == nil {
		c.mu.Unlock()
		return false
	}
	conn := victim.Value.(net.Conn)
	c.forget(conn)
	c.mu.Unlock()
	conn.Close()
	return true
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
}

// state is the server's ConnState hook.
func (c *conns) state(conn net.Conn, state http.ConnState) {
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
		c.open[conn] = to.PushBack(conn)
	}
	switch state {
	case http.StateActive:
		move(c.active)
	case http.StateIdle:
		move(c.idle)
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
		silent = append(silent, e.Value.(net.Conn))
	}
	c.mu.Unlock()
	for _, conn := range silent {
		conn.Close()
	}
}

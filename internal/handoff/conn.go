package handoff

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

// Conn is a connection that can stand still between two requests.
//
// net/http does not tell whether it has begun to read a request, so Conn finds
// out by what the server does with it: a Read that brought bytes has begun
// one; so has a second SetReadDeadline after the connection became idle, which
// the server calls when it already holds the request in its buffer; and a Read
// of one byte while a handler runs is the server's look-ahead, whose byte
// belongs to the next request.
type Conn struct {
	net.Conn
	l *Listener

	// All below is under l.mu.
	state     http.ConnState
	begun     bool // bytes of the next request were taken
	used      bool // bytes were taken ever
	shaken    bool // of a sealed connection: its handshake is over
	ahead     bool // a byte was read ahead of the end of this request
	deadlines int  // set since the connection became idle
	reading   bool // a Read is in the kernel
	woken     bool // that Read was woken to stand still
	parked    bool
	closed    bool
	deadline  time.Time // as the server wants it

	// A carried connection is new to this server, which would give it a new
	// connection's short time for its first request, though its client thinks
	// of it as idle.
	carried bool
	header  time.Duration // the time for a request that the server wanted
}

// clean tells whether nothing of a next request was taken yet; l.mu is held.
func (c *Conn) clean() bool {
	return !c.begun && (c.state == http.StateNew || c.state == http.StateIdle)
}

// waitsCarried tells whether this is a carried connection before its first
// request here; l.mu is held.
func (c *Conn) waitsCarried() bool { return c.carried && c.state == http.StateNew && !c.begun }

// Read reads; while the listener is frozen it stands still before the first
// byte of a request.
func (c *Conn) Read(p []byte) (int, error) {
	l := c.l
	for {
		l.mu.Lock()
		for l.frozen && !c.closed && c.clean() {
			if l.sealed && c.used {
				// The server closes it, and TLS says goodbye in order.
				l.mu.Unlock()
				return 0, io.EOF
			}
			c.parked = true
			l.settled()
			l.thawed.Wait()
		}
		c.parked, c.reading = false, true
		l.mu.Unlock()

		n, err := c.Conn.Read(p)

		l.mu.Lock()
		c.reading = false
		woken := c.woken
		c.woken = false
		switch {
		case n > 0 && c.state == http.StateActive && c.l.sealed:
			// Of this request, or a record that says nothing of HTTP.
		case n > 0 && c.state == http.StateActive && len(p) == 1:
			c.ahead = true
		case n > 0:
			if c.waitsCarried() {
				c.deadline = time.Now().Add(c.header)
				_ = c.Conn.SetReadDeadline(c.deadline)
			}
			c.begun = true
		}
		if n > 0 {
			c.used = true
		}
		again := n == 0 && woken && errors.Is(err, os.ErrDeadlineExceeded) && !c.closed && (c.deadline.IsZero() || time.Now().Before(c.deadline))
		if woken && !c.closed {
			_ = c.Conn.SetReadDeadline(c.deadline)
		}
		l.mu.Unlock()
		if !again {
			return n, err
		}
	}
}

// SetReadDeadline sets the deadline of Reads, also of one that stands still.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.l.mu.Lock()
	defer c.l.mu.Unlock()
	c.deadlines++
	if c.state == http.StateIdle && c.deadlines > 1 {
		c.begun = true
	}
	if c.l.sealed && c.state == http.StateNew && t.IsZero() && !c.shaken {
		// The server lifts the handshake's deadline.
		c.shaken, c.begun = true, false // the handshake is over; the request is still to come
	}
	if c.waitsCarried() && !t.IsZero() {
		c.header = time.Until(t)
		t = time.Now().Add(c.l.idle)
	}
	c.deadline = t
	if c.woken {
		return nil // it is set when that Read has come back
	}
	return c.Conn.SetReadDeadline(t)
}

// SetDeadline sets both deadlines.
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// Close closes the connection and lets its Read go.
func (c *Conn) Close() error {
	c.l.mu.Lock()
	if !c.closed {
		c.closed = true
		delete(c.l.conns, c)
		c.l.settled()
		c.l.thawed.Broadcast()
	}
	c.l.mu.Unlock()
	return c.Conn.Close()
}

// CloseWrite lets the client read the last answer before the connection goes,
// which net/http does where it can.
func (c *Conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// ReadFrom lets the kernel copy files where it can.
func (c *Conn) ReadFrom(r io.Reader) (int64, error) {
	if from, ok := c.Conn.(io.ReaderFrom); ok {
		return from.ReadFrom(r)
	}
	return io.Copy(struct{ io.Writer }{c.Conn}, r)
}

// SetKeepAliveConfig sets TCP's own keep-alive, where the connection is TCP.
func (c *Conn) SetKeepAliveConfig(config net.KeepAliveConfig) error {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		return tcp.SetKeepAliveConfig(config)
	}
	return nil
}

//go:build unix

package keeper

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast/internal/proc"
)

// server serves one host at a time on the keeper's socket.
type server struct {
	k    *keeper
	path string

	mu       sync.Mutex
	ln       *net.UnixListener
	cur      *link // the host, or nil
	attached int   // how many hosts there were
	since    time.Duration
	left     bool // the last host left in order
	closed   bool
	troubles map[string]Status // those that last
	wg       sync.WaitGroup
}

func newServer(k *keeper, path string) (*server, error) {
	s := &server{k: k, path: path, since: proc.Monotonic(), troubles: map[string]Status{}}
	ln, err := s.bind()
	if err != nil {
		return nil, err
	}
	s.ln = ln
	return s, nil
}

func (s *server) bind() (*net.UnixListener, error) {
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: s.path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen on the keeper's socket: %w", err)
	}
	ln.SetUnlinkOnClose(false) // the path may be another listener's by then
	if err := os.Chmod(s.path, 0o600); err != nil {
		ln.Close()
		return nil, fmt.Errorf("protect the keeper's socket: %w", err)
	}
	return ln, nil
}

// accept runs until close.
func (s *server) accept() {
	for {
		s.mu.Lock()
		ln, closed := s.ln, s.closed
		s.mu.Unlock()
		if closed {
			return
		}
		nc, err := ln.AcceptUnix()
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				s.k.log.Error("accept a host", "err", err)
				time.Sleep(100 * time.Millisecond) // out of descriptors: it passes, or the host finds no hello
			}
			continue
		}
		s.attach(nc)
	}
}

// rebind makes the socket anew where a cleaner of temporary files took it.
func (s *server) rebind() {
	if _, err := os.Lstat(s.path); !errors.Is(err, os.ErrNotExist) {
		return
	}
	if err := os.MkdirAll(filepath.Dir(s.path), 0o700); err != nil {
		s.k.log.Error("make the socket's folder anew", "err", err)
		return
	}
	ln, err := s.bind()
	if err != nil {
		s.k.log.Error("make the socket anew", "err", err)
		return
	}
	s.mu.Lock()
	old := s.ln
	s.ln = ln
	if s.closed {
		ln.Close()
	}
	s.mu.Unlock()
	old.Close() // accept goes on with the new one
}

// attach puts the host into the place of the one that is there.
func (s *server) attach(nc *net.UnixConn) {
	l := &link{s: s, nc: nc, wake: make(chan struct{}, 1), gone: make(chan struct{})}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		nc.Close()
		return
	}
	old := s.cur
	s.cur = l
	s.attached++
	s.left = false
	// What is reported from here on comes after the hello, or is in it as well.
	l.mu.Lock()
	s.wg.Add(2)
	s.mu.Unlock()
	if old != nil {
		old.nc.Close()
	}
	l.out = append(l.out, jsonFrame(frameHello, s.k.hello()))
	l.mu.Unlock()
	for _, st := range s.lasting() {
		l.send(jsonFrame(frameStatus, st))
	}
	go func() {
		defer s.wg.Done()
		l.writeFrames()
	}()
	go func() {
		defer s.wg.Done()
		s.detach(l, l.readFrames())
	}()
}

// detach ends a link for the reason err, nil where the host closed.
func (s *server) detach(l *link, err error) {
	if err != nil {
		s.k.log.Warn("host was wrong", "err", err)
		l.send(jsonFrame(frameError, msgError{Text: err.Error()}))
	}
	s.mu.Lock()
	if s.cur == l {
		s.cur = nil
		s.left = l.left
		s.since = proc.Monotonic()
	}
	s.mu.Unlock()
	l.end(err != nil)
}

// current returns the host, or nil.
func (s *server) current() *link {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cur
}

// alone returns since when there is no host, and whether the last one left in
// order; false where there is one.
func (s *server) alone() (since time.Duration, left, alone bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.since, s.left, s.cur == nil
}

// tell sends a frame to the host, if there is one.
func (s *server) tell(frame []byte) {
	if l := s.current(); l != nil {
		l.send(frame)
	}
}

// poke says that the spool has grown.
func (s *server) poke() {
	if l := s.current(); l != nil {
		l.poke()
	}
}

// trouble reports, and keeps what lasts for the hosts to come.
func (s *server) trouble(from string, st Status) {
	st.At = time.Now().UTC()
	s.mu.Lock()
	if st.Kind == StatusRecovered {
		delete(s.troubles, from)
	} else {
		s.troubles[from] = st
	}
	s.mu.Unlock()
	s.k.log.Warn("trouble", "kind", st.Kind, "text", st.Text)
	s.tell(jsonFrame(frameStatus, st))
}

func (s *server) lasting() []Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Status
	for _, st := range s.troubles {
		all = append(all, st)
	}
	return all
}

// close ends the listener and the host's connection and waits for both.
func (s *server) close() {
	s.mu.Lock()
	s.closed = true
	ln, l := s.ln, s.cur
	s.mu.Unlock()
	ln.Close()
	if l != nil {
		l.end(true)
	}
	os.Remove(s.path)
	done := make(chan struct{})
	go func() {
		s.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(200 * time.Millisecond): // a host that reads nothing
	}
}

// link is the connection to one host: a goroutine that reads its frames and
// never waits for the host, and one that writes what it is to know.
type link struct {
	s    *server
	nc   net.Conn
	wake chan struct{} // capacity 1
	gone chan struct{} // closed when nothing more is to be written

	left bool // the reading goroutine's

	mu     sync.Mutex
	out    [][]byte // control frames to be written
	from   uint64   // the stream begins there; 0: not asked for
	ending bool     // close when out is written
	ended  bool     // gone is closed
	mute   bool     // the writing goroutine has returned
}

const maxOut = 1 << 16 // frames that a host has not read

func (l *link) send(frame []byte) {
	l.mu.Lock()
	if len(l.out) < maxOut {
		l.out = append(l.out, frame)
	} else {
		l.nc.Close() // it reads nothing: it may come again
	}
	l.mu.Unlock()
	l.poke()
}

func (l *link) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// end stops the writing goroutine and closes the connection: at once, or when
// what waits in out is written.
func (l *link) end(flush bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ending = true
	if l.mute || !flush {
		l.nc.Close()
	}
	if !l.ended && !flush {
		l.ended = true
		close(l.gone)
	}
	if flush {
		l.nc.SetWriteDeadline(time.Now().Add(time.Second))
		l.poke()
	}
}

// writeFrames closes the connection when it is told to end. A failing write
// only ends the writing: what the host sent before it died is still read.
func (l *link) writeFrames() {
	var c *cursor
	defer func() {
		if c != nil {
			c.close()
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.mute = true
		if l.ending {
			l.nc.Close()
		}
	}()
	var head [frameHeader]byte
	for {
		l.mu.Lock()
		out, from, ending := l.out, l.from, l.ending
		l.out = nil
		l.mu.Unlock()
		for _, frame := range out {
			if _, err := l.nc.Write(frame); err != nil {
				return
			}
		}
		if ending {
			return
		}
		if c == nil && from > 0 {
			var err error
			if c, err = l.s.k.spool.newCursor(from); err != nil {
				l.refuse(err)
				c = nil
				l.clearFrom()
				continue
			}
		}
		if c != nil {
			b, err := c.read()
			if err != nil {
				l.refuse(err)
				c.close()
				c = nil
				l.clearFrom()
				continue
			}
			if len(b) > 0 {
				putFrameHead(head[:], frameSpool, len(b))
				bufs := net.Buffers{head[:], b}
				if _, err := bufs.WriteTo(l.nc); err != nil {
					return
				}
				continue
			}
		}
		select {
		case <-l.wake:
		case <-l.gone:
			return
		}
	}
}

func (l *link) clearFrom() {
	l.mu.Lock()
	l.from = 0
	l.mu.Unlock()
}

// refuse says why the stream does not go on.
func (l *link) refuse(err error) {
	if errors.Is(err, ErrGone) {
		first, _ := l.s.k.spool.bounds()
		l.send(jsonFrame(frameGone, msgNumber{N: first}))
		return
	}
	l.s.k.log.Error("stream records", "err", err)
	l.send(jsonFrame(frameError, msgError{Text: err.Error()}))
	l.end(true)
}

// readFrames obeys the host until it closes (nil) or breaks the protocol.
func (l *link) readFrames() error {
	br := bufio.NewReaderSize(l.nc, 4096)
	for {
		t, n, err := readHead(br)
		if errors.Is(err, ErrProtocol) {
			return err
		}
		if err != nil {
			return nil
		}
		payload, err := readPayload(br, n)
		if err != nil {
			return nil
		}
		if l.s.current() != l {
			return nil // replaced
		}
		if err := l.obey(t, payload); err != nil {
			return err
		}
	}
}

func (l *link) obey(t frameType, payload []byte) error {
	k := l.s.k
	parse := func(into any) error {
		if err := json.Unmarshal(payload, into); err != nil {
			return fmt.Errorf("%w: frame of type %d: %w", ErrProtocol, t, err)
		}
		return nil
	}
	switch t {
	case frameRead:
		var m msgNumber
		if err := parse(&m); err != nil {
			return err
		}
		l.mu.Lock()
		again := l.from > 0
		l.from = max(m.N, 1)
		l.mu.Unlock()
		if again {
			return fmt.Errorf("%w: the stream has begun already", ErrProtocol)
		}
		l.poke()
	case frameLine:
		line, err := parseLine(payload)
		if err != nil {
			return err
		}
		if err := k.inbox.accept(line); err != nil {
			return err
		}
		l.send(jsonFrame(frameAccepted, msgNumber{N: line.N}))
	case frameTrim:
		var m msgNumber
		if err := parse(&m); err != nil {
			return err
		}
		return k.spool.trim(m.N)
	case frameEnd:
		var m msgEnd
		if err := parse(&m); err != nil {
			return err
		}
		k.end(ReasonAsked, m.Force)
	case frameLeave:
		l.left = true
	case frameAskFor:
		var m msgAsk
		if err := parse(&m); err != nil {
			return err
		}
		l.send(jsonFrame(frameTree, k.tree(m.ID)))
	case frameAskEnd:
		var m msgAsk
		if err := parse(&m); err != nil {
			return err
		}
		l.send(jsonFrame(frameTail, msgTail{ID: m.ID, Tail: k.print.tail()}))
	}
	return nil
}

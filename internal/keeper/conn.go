package keeper

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/holdfast-dev/holdfast/internal/proc"
)

const (
	helloWithin  = 5 * time.Second
	writeWithin  = 10 * time.Second // a keeper always reads
	queuedBytes  = 1 << 20          // records read ahead of Next
	dialInterval = 10 * time.Millisecond
)

// Conn is a host's connection to a living keeper. Its methods may be called
// from several goroutines; records belong to the one that calls Next.
type Conn struct {
	Hello Hello

	ev Events
	nc net.Conn
	br *bufio.Reader // of nc; the reading goroutine's

	wmu sync.Mutex // one frame at a time

	mu     sync.Mutex
	cond   sync.Cond // the queue, err or closed changed
	queue  []Record
	queued int
	err    error // why the reader ended
	closed bool
	asks   map[uint64]chan any // msgTree, msgTail
	asked  uint64

	done chan struct{} // the reader has ended
}

// Dial connects to the keeper of the folder, takes the place of another host,
// and waits up to 5 s for the keeper's hello. The error wraps ErrNoKeeper where
// none lives, and ErrNoHello where one lives and does not answer: then Kill it.
func Dial(ctx context.Context, dir string, ev Events) (*Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, helloWithin)
	defer cancel()
	for {
		c, err := dialOnce(ctx, dir, ev)
		if err == nil || errors.Is(err, ErrProtocol) {
			return c, err
		}
		// A keeper that is being born has no address yet. One that died leaves
		// a stale one.
		held, heldErr := Held(dir)
		if heldErr != nil {
			return nil, fmt.Errorf("dial keeper: %w", heldErr)
		}
		if !held {
			return nil, fmt.Errorf("dial keeper: %w", ErrNoKeeper)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("dial keeper: %w: %w", ErrNoHello, err)
		case <-time.After(dialInterval):
		}
	}
}

func dialOnce(ctx context.Context, dir string, ev Events) (*Conn, error) {
	info, err := ReadInfo(dir)
	if err != nil {
		return nil, err
	}
	var d net.Dialer
	nc, err := d.DialContext(ctx, "unix", info.Socket)
	if err != nil {
		return nil, fmt.Errorf("connect to keeper: %w", err)
	}
	c := &Conn{ev: ev, nc: nc, br: bufio.NewReaderSize(nc, 32<<10), asks: map[uint64]chan any{}, done: make(chan struct{})}
	c.cond.L = &c.mu
	stop := context.AfterFunc(ctx, func() { nc.SetReadDeadline(time.Unix(1, 0)) })
	err = c.readHello(info.Epoch)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		nc.Close()
		return nil, err
	}
	nc.SetReadDeadline(time.Time{})
	go c.read()
	return c, nil
}

func (c *Conn) readHello(epoch string) error {
	t, n, err := readHead(c.br)
	if err != nil {
		return fmt.Errorf("read hello: %w", err)
	}
	if t != frameHello {
		return fmt.Errorf("read hello: %w: frame of type %d", ErrProtocol, t)
	}
	payload, err := readPayload(c.br, n)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(payload, &c.Hello); err != nil {
		return fmt.Errorf("read hello: %w: %w", ErrProtocol, err)
	}
	if c.Hello.Protocol != Protocol {
		return fmt.Errorf("%w: the keeper speaks version %d, this host %d", ErrProtocol, c.Hello.Protocol, Protocol)
	}
	if c.Hello.Epoch != epoch {
		return fmt.Errorf("%w: the keeper is of epoch %s, the folder of %s", ErrProtocol, c.Hello.Epoch, epoch)
	}
	return nil
}

// read is the reading goroutine; Close waits for it.
func (c *Conn) read() {
	defer close(c.done)
	err := c.frames()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
	}
	for id, ch := range c.asks {
		close(ch)
		delete(c.asks, id)
	}
	c.cond.Broadcast()
}

// frames dispatches frames until the connection ends; io.EOF is an orderly end.
func (c *Conn) frames() error {
	spool := &spoolReader{c: c}
	dec := &decoder{r: spool}
	for {
		t, n, err := spool.nextFrame()
		switch {
		case errors.Is(err, net.ErrClosed):
			return ErrClosed
		case errors.Is(err, syscall.ECONNRESET):
			return io.EOF // a keeper that ended with something of ours unread
		case err != nil:
			return err
		}
		if t == frameSpool {
			// The decoder pulls the rest of this frame and, within a record,
			// those that follow.
			for spool.left > 0 {
				rec, err := dec.read()
				if err != nil {
					return fmt.Errorf("read record: %w", noEOF(err))
				}
				if !c.push(rec) {
					return ErrClosed
				}
			}
			continue
		}
		if err := c.control(t, n); err != nil {
			return err
		}
	}
}

// spoolReader is the stream of the spool's bytes across frames. Control frames
// between two pieces of a record are dispatched on the way.
type spoolReader struct {
	c    *Conn
	left int // bytes of the present spool frame that are not read yet
}

func (s *spoolReader) nextFrame() (frameType, int, error) {
	t, n, err := readHead(s.c.br)
	if err == nil && t == frameSpool {
		s.left = n
	}
	return t, n, err
}

// Read implements io.Reader.
func (s *spoolReader) Read(p []byte) (int, error) {
	for s.left == 0 {
		t, n, err := s.nextFrame()
		if err != nil {
			return 0, err
		}
		if t != frameSpool {
			if err := s.c.control(t, n); err != nil {
				return 0, err
			}
		}
	}
	n, err := s.c.br.Read(p[:min(len(p), s.left)])
	s.left -= n
	return n, err
}

func (c *Conn) control(t frameType, n int) error {
	payload, err := readPayload(c.br, n)
	if err != nil {
		return err
	}
	parse := func(into any) bool {
		if e := json.Unmarshal(payload, into); e != nil {
			err = fmt.Errorf("%w: frame of type %d: %w", ErrProtocol, t, e)
		}
		return err == nil
	}
	switch t {
	case frameAccepted:
		var m msgNumber
		if parse(&m) && c.ev.Accepted != nil {
			c.ev.Accepted(m.N)
		}
	case frameWritten:
		var m msgWritten
		if parse(&m) && c.ev.Written != nil {
			c.ev.Written(m.N, m.At)
		}
	case frameStatus:
		var m Status
		if parse(&m) && c.ev.Status != nil {
			c.ev.Status(m)
		}
	case frameTree:
		var m msgTree
		if parse(&m) {
			c.answer(m.ID, m)
		}
	case frameTail:
		var m msgTail
		if parse(&m) {
			c.answer(m.ID, m)
		}
	case frameGone:
		var m msgNumber
		if parse(&m) {
			err = fmt.Errorf("%w: the first is %d", ErrGone, m.N)
		}
	case frameError:
		var m msgError
		if parse(&m) {
			err = fmt.Errorf("%w: the keeper says: %s", ErrProtocol, m.Text)
		}
	}
	return err
}

// push hands a record to Next, waiting while too much lies there.
func (c *Conn) push(rec Record) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.queue) > 0 && c.queued > queuedBytes && !c.closed {
		c.cond.Wait()
	}
	if c.closed {
		return false
	}
	c.queue = append(c.queue, rec)
	c.queued += len(rec.Data)
	c.cond.Broadcast()
	return true
}

// Read begins the stream of records at the one with that number (0 and 1: the
// first). It is called once. Where the record has been dropped Next returns an
// error that wraps ErrGone.
func (c *Conn) Read(from uint64) error {
	return c.send(jsonFrame(frameRead, msgNumber{N: max(from, 1)}))
}

// Next returns the next record, waiting for it; io.EOF when the keeper has
// closed or died, ErrClosed after Close, and an error that wraps ErrProtocol or
// ErrGone where one side was wrong. After an error the rest is on disk, once no
// keeper lives. Before Read it waits for ever.
func (c *Conn) Next() (Record, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.queue) == 0 && c.err == nil && !c.closed {
		c.cond.Wait()
	}
	switch {
	case c.closed:
		return Record{}, ErrClosed
	case len(c.queue) == 0:
		return Record{}, c.err
	}
	rec := c.queue[0]
	c.queue[0] = Record{}
	c.queue = c.queue[1:]
	c.queued -= len(rec.Data)
	c.cond.Broadcast()
	return rec, nil
}

// Done is closed when the connection has ended, by whichever side.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Send hands a line to the keeper and returns when the socket has it. The
// keeper takes the next number only; one that it has is accepted again where
// the data is the same. Anything else ends the connection, see Next.
func (c *Conn) Send(l Line) error {
	if len(l.Data) > MaxLine || len(l.Ends) > maxEnds {
		return fmt.Errorf("send line %d: longer than %d bytes", l.N, MaxLine)
	}
	for _, b := range l.Data {
		if b == '\n' {
			return fmt.Errorf("send line %d: it holds a newline", l.N)
		}
	}
	buf := make([]byte, 0, frameHeader+lineHeader+len(l.Ends)+len(l.Data))
	buf = appendFrame(buf, frameLine, nil)
	buf = appendLine(buf, l)
	putLength(buf)
	return c.send(buf)
}

// Trim says that the host has durably committed every record up to and with
// this one: the keeper may drop them. Trimming the exit record lets it end.
func (c *Conn) Trim(through uint64) error {
	return c.send(jsonFrame(frameTrim, msgNumber{N: through}))
}

// End asks the keeper to end the agent: its stdin closes after what was
// accepted, 3 s, SIGTERM to its group, 2 s, SIGKILL, and the same to whatever
// it left. With force it is killed at once. End does not wait; the exit record
// tells.
func (c *Conn) End(force bool) error { return c.send(jsonFrame(frameEnd, msgEnd{Force: force})) }

// Leave announces an orderly stop of the host: the lease Stopped begins when
// this connection closes.
func (c *Conn) Leave() error { return c.send(jsonFrame(frameLeave, struct{}{})) }

// Processes lists the agent's process tree: the agent and its descendants,
// those that were orphaned too (on Linux). While records are not taken by Next
// the answer may wait behind them.
func (c *Conn) Processes(ctx context.Context) ([]proc.Info, error) {
	m, err := ask[msgTree](ctx, c, frameAskFor)
	switch {
	case err != nil:
		return nil, fmt.Errorf("list processes: %w", err)
	case m.Error != "":
		return nil, fmt.Errorf("list processes: the keeper says: %s", m.Error)
	}
	return m.Processes, nil
}

// Printed returns the end of what the agent printed beside the protocol. The
// answer may wait as that of Processes does. The error wraps
// errors.ErrUnsupported where the keeper is of a version that cannot tell.
func (c *Conn) Printed(ctx context.Context) (Tail, error) {
	if !c.Hello.Tail {
		return Tail{}, fmt.Errorf("read what the agent printed: %w", errors.ErrUnsupported)
	}
	m, err := ask[msgTail](ctx, c, frameAskEnd)
	if err != nil {
		return Tail{}, fmt.Errorf("read what the agent printed: %w", err)
	}
	return m.Tail, nil
}

// ask sends a question and waits for its answer.
func ask[T any](ctx context.Context, c *Conn, t frameType) (T, error) {
	var none T
	ch := make(chan any, 1)
	c.mu.Lock()
	if c.err != nil || c.closed {
		c.mu.Unlock()
		return none, ErrClosed
	}
	c.asked++
	id := c.asked
	c.asks[id] = ch
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.asks, id)
		c.mu.Unlock()
	}()
	if err := c.send(jsonFrame(t, msgAsk{ID: id})); err != nil {
		return none, err
	}
	select {
	case <-ctx.Done():
		return none, ctx.Err()
	case got, ok := <-ch:
		if !ok {
			return none, ErrClosed
		}
		m, ok := got.(T)
		if !ok {
			return none, fmt.Errorf("%w: the answer is another one", ErrProtocol)
		}
		return m, nil
	}
}

func (c *Conn) answer(id uint64, m any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ch := c.asks[id]; ch != nil {
		ch <- m
		delete(c.asks, id)
	}
}

func (c *Conn) send(frame []byte) error {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	c.nc.SetWriteDeadline(time.Now().Add(writeWithin))
	if _, err := c.nc.Write(frame); err != nil {
		if errors.Is(err, net.ErrClosed) {
			err = ErrClosed
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			c.nc.Close() // a part of the frame may have gone
		}
		return fmt.Errorf("write to keeper: %w", err)
	}
	return nil
}

// Close ends the connection; keeper and agent go on. It may be called twice.
func (c *Conn) Close() error {
	c.mu.Lock()
	c.closed = true
	c.cond.Broadcast()
	c.mu.Unlock()
	err := c.nc.Close()
	<-c.done
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	return err
}

var _ io.Reader = (*spoolReader)(nil)

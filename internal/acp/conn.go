package acp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
)

// ErrClosed is returned to those who wait on a connection whose input ended.
var ErrClosed = errors.New("connection is closed")

// Handler takes what the client sends, in order, on the reading goroutine: it
// must not wait. What takes time goes into Conn.Go. A request gets exactly one
// Conn.Respond or Conn.Refuse.
type Handler func(ctx context.Context, m Message)

// Conn is a connection of a program on the agent's side.
type Conn struct {
	r *LineReader

	wmu sync.Mutex // one line at a time
	w   io.Writer

	mu      sync.Mutex
	nextID  uint64
	pending map[string]chan Message
	closed  bool

	wg sync.WaitGroup
}

// NewConn returns a connection that is idle until Serve.
func NewConn(r io.Reader, w io.Writer) *Conn {
	return &Conn{r: NewLineReader(r, 0), w: w, pending: map[string]chan Message{}}
}

// Serve reads until the input ends and hands on what is no response. Lines
// that are no messages are answered or dropped as JSON-RPC asks. When the
// input ends, the context that handlers have is cancelled, waiting calls fail
// with ErrClosed, and Serve waits for what Go started. The end of the input is
// no error.
//
// Cancelling ctx does not interrupt a read; close the input to do that.
func (c *Conn) Serve(ctx context.Context, h Handler) error {
	ctx, cancel := context.WithCancel(ctx)
	defer c.wg.Wait()
	defer c.close()
	defer cancel()
	for {
		line, err := c.r.Next()
		switch {
		case errors.Is(err, ErrLineTooLong):
			_ = c.WriteLine(ErrorResponse(json.RawMessage("null"), CodeInvalidRequest, "line is too long"))
			continue
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil
		case err != nil:
			return fmt.Errorf("read line: %w", err)
		}
		m, err := Parse(line)
		switch {
		case len(bytes.TrimSpace(line)) == 0:
		case err != nil && json.Valid(line):
			_ = c.WriteLine(ErrorResponse(json.RawMessage("null"), CodeInvalidRequest, "invalid request"))
		case err != nil:
			_ = c.WriteLine(ErrorResponse(json.RawMessage("null"), CodeParseError, "parse error"))
		case m.IsResponse():
			c.deliver(m)
		default:
			h(ctx, m)
		}
	}
}

// Go runs f on a goroutine that Serve waits for. It may be called from a
// handler and from within another Go.
func (c *Conn) Go(f func()) {
	c.wg.Go(f)
}

// Call sends a request with a fresh id and waits for its result. A refusal is
// an *Error. If ctx ends first, the late answer is dropped.
func (c *Conn) Call(ctx context.Context, method string, params, result any) error {
	c.mu.Lock()
	id := idBytes(c.nextID)
	c.nextID++
	c.mu.Unlock()
	return c.CallID(ctx, id, method, params, result)
}

// CallID is Call with an id of the caller's choice, which must not be one that
// waits now.
func (c *Conn) CallID(ctx context.Context, id json.RawMessage, method string, params, result any) error {
	line, err := Request(id, method, params)
	if err != nil {
		return err
	}
	answer := make(chan Message, 1)
	key := IDKey(id)
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return fmt.Errorf("call %s: %w", method, ErrClosed)
	}
	if _, ok := c.pending[key]; ok {
		c.mu.Unlock()
		return fmt.Errorf("call %s: id %s is in use", method, id)
	}
	c.pending[key] = answer
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		if c.pending[key] == answer {
			delete(c.pending, key)
		}
		c.mu.Unlock()
	}()
	if err := c.WriteLine(line); err != nil {
		return fmt.Errorf("call %s: %w", method, err)
	}
	select {
	case m, ok := <-answer:
		switch {
		case !ok:
			return fmt.Errorf("call %s: %w", method, ErrClosed)
		case m.Error != nil:
			return m.Error
		case result == nil:
			return nil
		}
		if err := json.Unmarshal(m.Result, result); err != nil {
			return fmt.Errorf("decode result of %s: %w", method, err)
		}
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// deliver hands a response to its caller; an answer that nobody waits for is
// dropped.
func (c *Conn) deliver(m Message) {
	key := IDKey(m.ID)
	c.mu.Lock()
	answer, ok := c.pending[key]
	delete(c.pending, key)
	c.mu.Unlock()
	if ok {
		answer <- m // has room for one, and gets one
	}
}

func (c *Conn) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for key, answer := range c.pending {
		close(answer)
		delete(c.pending, key)
	}
}

// Notify sends a notification.
func (c *Conn) Notify(method string, params any) error {
	line, err := Notification(method, params)
	if err != nil {
		return err
	}
	return c.WriteLine(line)
}

// Update sends a session update.
func (c *Conn) Update(sessionID string, u Update) error {
	raw, err := EncodeUpdate(u)
	if err != nil {
		return err
	}
	return c.Notify(MethodSessionUpdate, SessionNotification{SessionID: sessionID, Update: raw})
}

// Respond answers the request with that id.
func (c *Conn) Respond(id json.RawMessage, result any) error {
	line, err := Response(id, result)
	if err != nil {
		return err
	}
	return c.WriteLine(line)
}

// Refuse answers the request with that id with an error: err itself where it
// is an *Error, else an internal one with err's text as its details.
func (c *Conn) Refuse(id json.RawMessage, err error) error {
	var e *Error
	if !errors.As(err, &e) {
		data, encErr := encode(map[string]string{"details": err.Error()})
		if encErr != nil {
			return encErr
		}
		e = &Error{Code: CodeInternalError, Message: "Internal error", Data: data}
	}
	line, err := ErrorResponseWith(id, e)
	if err != nil {
		return err
	}
	return c.WriteLine(line)
}

// WriteLine writes one line as it is, with a line feed, in one write.
func (c *Conn) WriteLine(line []byte) error {
	b := make([]byte, 0, len(line)+1)
	b = append(append(b, line...), '\n')
	c.wmu.Lock()
	defer c.wmu.Unlock()
	if _, err := c.w.Write(b); err != nil {
		return fmt.Errorf("write line: %w", err)
	}
	return nil
}

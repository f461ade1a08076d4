package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/holdfast-dev/holdfast/internal/access"
	"github.com/holdfast-dev/holdfast/internal/store"
)

const (
	// frameBytes is about how much is written under one deadline. A reader that
	// takes less than this in WriteTimeout is cut, and resumes from the log.
	frameBytes = 32 << 10
	// retryMillis is how long a browser waits before it comes back.
	retryMillis = 1000
	// soonMillis is how long one waits whose stream ended in order: the host
	// was replaced, or will be started again.
	soonMillis = 50
)

type streamInput struct {
	Session     []string `query:"session,explode" maxItems:"100" doc:"Sessions whose every event is wanted. session.* events of all sessions always come."`
	Cursor      string   `query:"cursor" maxLength:"200" doc:"Where to begin; without it, from now"`
	LastEventID string   `header:"Last-Event-ID" maxLength:"200" doc:"Wins over cursor"`
}

func (s *Server) streamRoute(api huma.API) {
	op := operation("stream", http.MethodGet, "/api/v1/stream", "stream", "Follow the log")
	op.Description = "Server-sent events. `data:` is an event of the log, `id:` the cursor after it. `event: ping` moves the cursor while nothing happens; " +
		"`event: resync` says that the cursor is not of this log: read the snapshots again, the stream goes on from now. " +
		"A reader that stalls is cut and resumes by its cursor."
	op.Responses = map[string]*huma.Response{"200": {
		Description: "The stream",
		Content:     map[string]*huma.MediaType{"text/event-stream": {Schema: &huma.Schema{Type: huma.TypeString}}},
	}}
	register(s, api, op, func(ctx context.Context, in *streamInput) (*huma.StreamResponse, error) {
		wanted := make(map[string]bool, len(in.Session))
		for _, id := range in.Session {
			if _, err := s.session(ctx, id); err != nil {
				return nil, err
			}
			wanted[id] = true
		}
		cursor := in.Cursor
		if in.LastEventID != "" {
			cursor = in.LastEventID
		}
		after, known := int64(0), false
		if cursor != "" {
			after, known = s.cfg.Store.ParseCursor(cursor)
		}
		if !known {
			after = s.cfg.Store.Last()
		}
		return &huma.StreamResponse{Body: func(hc huma.Context) {
			r, w := humago.Unwrap(hc)
			t := &stream{
				server: s, w: w, r: r, rc: http.NewResponseController(w),
				log: s.cfg.Store.FollowFiltered(after, &store.FollowFilter{Sessions: wanted}), nudged: *s.nudged.Load(),
			}
			if t.begin(cursor != "" && !known) {
				w.(*answer).rest = t.run
			}
		}}, nil
	})
}

// stream is one client's view of the log from a place on. It holds a position
// and one frame's bytes, no events.
//
// There may be thousands, so what one takes while it waits counts: it waits
// where the stack is shallow, and what needs a deep one has returned by then, so
// that the collector can halve the stack (8 kB instead of 16).
type stream struct {
	server *Server
	w      http.ResponseWriter
	r      *http.Request
	rc     *http.ResponseController
	log    *store.Follower
	nudged context.Context // read before what is written, so that none is missed
	buf    []byte
	beat   time.Time // when the next heartbeat is due
	check  time.Time // when the login is looked at again
}

// errCut says that the client does not read, or has gone.
var errCut = errors.New("client does not read")

// begin writes what a stream begins with, and reports whether more is wanted.
func (t *stream) begin(resync bool) bool {
	h := t.w.Header()
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("Cache-Control", "no-store, no-transform")
	h.Set("X-Accel-Buffering", "no")
	t.w.WriteHeader(http.StatusOK)
	if t.r.Method == http.MethodHead {
		return false
	}
	t.buf = fmt.Appendf(t.buf, "retry: %d\n", retryMillis)
	if resync {
		t.buf = fmt.Appendf(t.buf, "event: resync\nid: %s\ndata: {}\n\n", t.server.cfg.Store.CursorAt(t.log.At()))
	} else {
		t.ping()
	}
	t.check = time.Now().Add(t.server.cfg.Heartbeat)
	return t.flush() == nil
}

// run follows the log until the client or the host goes, whichever is first.
func (t *stream) run() { t.end(t.follow()) }

// end says goodbye to a client that is still there.
func (t *stream) end(err error) {
	if err == nil {
		t.buf = fmt.Appendf(t.buf[:0], "retry: %d\n: the host goes away for a moment\n\n", soonMillis)
		_ = t.flush()
		return
	}
	if !errors.Is(err, errCut) && t.r.Context().Err() == nil {
		t.server.log.Warn("follow log", "instance", instanceOf(t.r.Context()), "err", err)
	}
}

// follow writes events until the host stops (nil), or the client is cut.
func (t *stream) follow() error {
	gone, stopped := t.r.Context().Done(), t.server.life.Done()
	timer := time.NewTimer(t.server.cfg.Heartbeat)
	defer timer.Stop()
	for {
		more, err := t.catchUp()
		if err != nil || more == nil {
			return err
		}
		timer.Reset(time.Until(t.beat))
		select {
		case <-more:
		case <-timer.C:
		case <-t.nudged.Done():
		case <-gone:
		case <-stopped:
		}
	}
}

// catchUp writes all that there is, and a heartbeat where one is due. It returns
// a channel that is closed when there may be more; nil where the host stops.
func (t *stream) catchUp() (<-chan struct{}, error) {
	s := t.server
	for {
		if s.life.Err() != nil {
			return nil, nil
		}
		now := time.Now()
		if t.nudged.Err() != nil {
			t.nudged = *s.nudged.Load()
			t.beat = time.Time{}  // now: a connection that died in the machine's sleep shows when it is written to
			t.check = time.Time{} // and a login may have ended
		}
		if now.After(t.check) {
			if !t.stillLoggedIn() {
				return nil, errCut
			}
			t.check = now.Add(s.cfg.Heartbeat)
		}
		events, more, err := t.log.Take(t.r.Context())
		switch {
		case t.r.Context().Err() != nil:
			return nil, errCut
		case err != nil && s.life.Err() != nil:
			return nil, nil
		case err != nil:
			return nil, err
		}
		for i := range events {
			t.buf = s.frames.append(t.buf, &events[i], s.cfg.Store.CursorAt)
			if len(t.buf) >= frameBytes {
				if err := t.flush(); err != nil {
					return nil, err
				}
			}
		}
		if len(t.buf) == 0 && len(events) == 0 && !now.Before(t.beat) {
			t.ping()
		}
		if err := t.flush(); err != nil {
			return nil, err
		}
		if more != nil {
			return more, nil
		}
	}
}

// ping moves the client's cursor. It carries data because a browser takes an
// id only together with an event that it dispatches.
func (t *stream) ping() {
	t.buf = fmt.Appendf(t.buf, "event: ping\nid: %s\ndata: {}\n\n", t.server.cfg.Store.CursorAt(t.log.At()))
}

// flush writes what is ready under a deadline of its own. A heartbeat is due when
// nothing has been written for its time.
func (t *stream) flush() error {
	if len(t.buf) == 0 {
		return nil
	}
	t.beat = time.Now().Add(t.server.cfg.Heartbeat)
	// A writer that knows no deadlines is one of a test.
	_ = t.rc.SetWriteDeadline(time.Now().Add(t.server.cfg.WriteTimeout))
	_, err := t.w.Write(t.buf)
	if err == nil {
		err = t.rc.Flush()
	}
	if cap(t.buf) > 4*frameBytes {
		t.buf = nil // one large event must not stay for the life of the stream
	}
	t.buf = t.buf[:0]
	if err != nil {
		return fmt.Errorf("%w: %w", errCut, err)
	}
	return nil
}

// stillLoggedIn ends the streams of a login that was removed. A store that
// cannot be read ends none.
func (t *stream) stillLoggedIn() bool {
	if identityOf(t.r.Context()).Kind == access.KindLocal {
		return true
	}
	_, err := t.server.identify(t.r)
	return !errors.Is(err, access.ErrDenied)
}

// frameCache keeps the last events as frames, so that streams of the same
// events share the work. Its memory is bounded by cachedFrames × cachedBytes.
type frameCache struct {
	slots [cachedFrames]atomic.Pointer[frame]
}

const (
	cachedFrames = 256
	cachedBytes  = 4 << 10
)

type frame struct {
	id   int64
	text []byte
}

// append adds an event's frame to buf.
func (c *frameCache) append(buf []byte, e *store.Event, cursor func(int64) string) []byte {
	slot := &c.slots[uint64(e.ID)%cachedFrames]
	if f := slot.Load(); f != nil && f.id == e.ID {
		return append(buf, f.text...)
	}
	start := len(buf)
	out := bytes.NewBuffer(buf)
	fmt.Fprintf(out, "id: %s\ndata: ", cursor(e.ID))
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	// The encoder compacts the body, so no line break can end the data early,
	// and it ends with the first of the two that end a frame.
	if err := enc.Encode(e); err != nil {
		// A body that is not JSON cannot have come through the store; the
		// client must still see that there was an event.
		broken := *e
		broken.Body = json.RawMessage(`{}`)
		out.Truncate(start)
		fmt.Fprintf(out, "id: %s\ndata: ", cursor(e.ID))
		_ = enc.Encode(broken)
	}
	out.WriteByte('\n')
	buf = out.Bytes()
	if n := len(buf) - start; n <= cachedBytes {
		slot.Store(&frame{id: e.ID, text: bytes.Clone(buf[start:])})
	}
	return buf
}

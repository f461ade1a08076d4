package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast/internal/store"
)

// follower hands on the events of one session, each once and in order, across
// restarts of the host.
type follower struct {
	c       *client
	session string
	seq     int64  // of the last event handed on
	cursor  string // of the stream
	// lost is called when the host goes away, with true, and when it is back.
	lost func(bool)
}

// errDone ends a follower without being a failure.
var errDone = errors.New("nothing more is wanted")

// snapshot is the newest page of a transcript.
type snapshot struct {
	Items  []store.Item `json:"items"`
	Cursor string       `json:"cursor"`
	Seq    int64        `json:"seq"`
}

func (c *client) items(ctx context.Context, session string, limit int) (snapshot, error) {
	var s snapshot
	err := c.persist(ctx, http.MethodGet, fmt.Sprintf("/api/v1/sessions/%s/items?limit=%d", url.PathEscape(session), limit), nil, &s)
	return s, err
}

// begin sets the follower behind everything that has happened so far.
func (f *follower) begin(ctx context.Context, limit int) (snapshot, error) {
	s, err := f.c.items(ctx, f.session, limit)
	f.seq, f.cursor = s.Seq, s.Cursor
	return s, err
}

// run hands on events until handle returns an error, which it returns, but for
// errDone.
func (f *follower) run(ctx context.Context, handle func(*store.Event) error) error {
	away := time.Time{}
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		before := f.cursor
		err := f.stream(ctx, handle)
		switch {
		case errors.Is(err, errDone):
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && !transient(err):
			return err
		}
		if f.cursor != before {
			away, wait = time.Time{}, 50*time.Millisecond
		}
		if away.IsZero() {
			away = time.Now()
			if f.lost != nil {
				f.lost(true)
			}
		}
		if time.Since(away) > patience {
			return failf("the host went away and did not come back within %s; the run may go on. Follow it with: holdfast tail %s", patience, f.session)
		}
		if !pause(ctx, wait) {
			return ctx.Err()
		}
	}
}

// stream reads one connection's events. A connection that ends is a lost one.
func (f *follower) stream(ctx context.Context, handle func(*store.Event) error) error {
	query := url.Values{"session": {f.session}, "cursor": {f.cursor}}
	resp, err := f.c.open(ctx, http.MethodGet, "/api/v1/stream?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if f.lost != nil {
		f.lost(false)
	}
	in := bufio.NewReaderSize(resp.Body, 64<<10)
	for {
		fr, err := readFrame(in)
		if err != nil {
			return &lostError{err}
		}
		switch fr.event {
		case "resync":
			// The cursor is not of this log; the session's own numbers are.
			if err := f.catchUp(ctx, handle); err != nil {
				return err
			}
		case "", "message":
			var e store.Event
			if err := json.Unmarshal([]byte(fr.data), &e); err != nil {
				return failf("the stream holds what is no event: %w", err)
			}
			if err := f.take(&e, handle); err != nil {
				return err
			}
		}
		if fr.id != "" {
			f.cursor = fr.id
		}
	}
}

func (f *follower) take(e *store.Event, handle func(*store.Event) error) error {
	if e.Session != f.session || e.Seq <= f.seq {
		return nil
	}
	f.seq = e.Seq
	return handle(e)
}

// catchUp reads the session's log from the last event on.
func (f *follower) catchUp(ctx context.Context, handle func(*store.Event) error) error {
	for {
		var page struct {
			Events []store.Event `json:"events"`
			Last   int64         `json:"last"`
		}
		path := fmt.Sprintf("/api/v1/sessions/%s/events?after=%d", url.PathEscape(f.session), f.seq)
		if err := f.c.call(ctx, http.MethodGet, path, nil, &page); err != nil {
			return err
		}
		if page.Last < f.seq {
			f.seq = page.Last // an older copy of the log was restored
		}
		for i := range page.Events {
			if err := f.take(&page.Events[i], handle); err != nil {
				return err
			}
		}
		if len(page.Events) == 0 || f.seq >= page.Last {
			return nil
		}
	}
}

// frame is one server-sent event.
type frame struct{ id, event, data string }

// readFrame reads the next frame that says something.
func readFrame(in *bufio.Reader) (frame, error) {
	var f frame
	var data []string
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF // a stream has no end of its own
			}
			return frame{}, err
		}
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			if f != (frame{}) || data != nil {
				f.data = strings.Join(data, "\n")
				return f, nil
			}
			continue
		}
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "id":
			f.id = value
		case "event":
			f.event = value
		case "data":
			data = append(data, value)
		}
	}
}

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// event is what the stream carries.
type event struct {
	Session string
	Seq     int64
	Run     string
	Kind    string
	Body    struct{ Text string }
}

// follower is a client that reads one stream, as a page does: it comes back by
// itself with its last cursor, 2 ms after the stream was cut.
type follower struct {
	w      *world
	query  url.Values
	on     func(event, time.Time)
	cancel context.CancelFunc
	done   chan struct{}

	mu     sync.Mutex
	opened int
	cursor string
	over   map[string]bool // runs that have ended
}

// follow reads the events of the sessions from now on.
func (w *world) follow(sessions ...string) *follower { return w.followWith(nil, sessions...) }

// followWith calls on, which may be nil, with each event and when it came. It
// is called from one goroutine.
func (w *world) followWith(on func(event, time.Time), sessions ...string) *follower {
	ctx, cancel := context.WithCancel(context.Background())
	f := &follower{w: w, query: url.Values{"session": sessions}, on: on, cancel: cancel, done: make(chan struct{}), over: map[string]bool{}}
	go func() {
		defer close(f.done)
		for ctx.Err() == nil {
			f.once(ctx)
			select {
			case <-time.After(2 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	}()
	return f
}

func (f *follower) close() {
	f.cancel()
	<-f.done
}

// once reads the stream until it ends, for whatever reason: the next one takes
// up where it ended.
func (f *follower) once(ctx context.Context) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+f.w.addr+"/api/v1/stream?"+f.query.Encode(), nil)
	if err != nil {
		return
	}
	req.Header.Set("Authorization", "Bearer "+f.w.token)
	f.mu.Lock()
	if f.cursor != "" {
		req.Header.Set("Last-Event-ID", f.cursor)
	}
	f.mu.Unlock()
	resp, err := f.w.http.Do(req)
	if err != nil {
		return
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return
	}
	r := bufio.NewReaderSize(resp.Body, 64<<10)
	var id, data string
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		switch line = strings.TrimSuffix(line, "\n"); {
		case line == "":
			f.frame(id, data)
			id, data = "", ""
		case strings.HasPrefix(line, "id: "):
			id = line[4:]
		case strings.HasPrefix(line, "data: "):
			data = line[6:]
		}
	}
}

func (f *follower) frame(id, data string) {
	now := time.Now()
	var e event
	ok := json.Unmarshal([]byte(data), &e) == nil && e.Kind != ""
	f.mu.Lock()
	if id != "" {
		if f.cursor == "" {
			f.opened++ // the first frame says where the stream begins
		}
		f.cursor = id
	}
	if ok && e.Kind == "run.ended" {
		f.over[e.Run] = true
	}
	f.mu.Unlock()
	if ok && f.on != nil {
		f.on(e, now)
	}
}

// open waits until the stream has begun: what is sent after it is seen.
func (f *follower) open(ctx context.Context) error {
	return until(ctx, "the stream to begin", 20*time.Second, func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.opened > 0
	})
}

// ended waits for the end of runs.
func (f *follower) ended(ctx context.Context, runs ...string) error {
	for _, run := range runs {
		err := until(ctx, "the end of a run", 3*time.Minute, func() bool {
			f.mu.Lock()
			defer f.mu.Unlock()
			return f.over[run]
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// until looks every few milliseconds until cond holds.
func until(ctx context.Context, what string, limit time.Duration, cond func() bool) error {
	for deadline := time.Now().Add(limit); !cond(); {
		if time.Now().After(deadline) {
			return fmt.Errorf("waited %v for %s", limit, what)
		}
		if err := sleep(ctx, 2*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// stamps reads what the scripted agent's clock has said.
func stamps(text string) []time.Time {
	var out []time.Time
	for field := range strings.FieldsSeq(text) {
		if n, err := strconv.ParseInt(field, 10, 64); err == nil {
			out = append(out, time.Unix(0, n))
		}
	}
	return out
}

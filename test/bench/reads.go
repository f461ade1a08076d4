package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/holdfast-dev/holdfast/internal/store"
)

const sixty = "sixty bytes of text, as an agent streams them to its reader. "

// fillSessions adds n sessions with an event or two each.
func (w *world) fillSessions(st *store.Store, n int) error {
	for made := 0; made < n; {
		err := st.Update(store.Relaxed, func(tx *store.Tx) error {
			for range min(500, n-made) {
				made++
				s, err := tx.CreateSession(store.Session{Agent: "script", Cwd: w.work, Title: fmt.Sprintf("Session %d about a thing", made)})
				if err != nil {
					return err
				}
				if _, err := tx.Append(s.ID, "", store.MessageUser, store.MessageBody{Item: store.NewID(), Text: sixty}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("fill sessions: %w", err)
		}
	}
	return nil
}

// fillItems makes a session of n items, as questions and answers, and then, if
// open is not 0, an answer that has come to so many deltas and goes on.
func (w *world) fillItems(st *store.Store, n, open int) (string, error) {
	var s store.Session
	err := st.Update(store.Relaxed, func(tx *store.Tx) (err error) {
		s, err = tx.CreateSession(store.Session{Agent: "script", Cwd: w.work, Title: "A long one"})
		return err
	})
	for made := 0; err == nil && made < n; {
		err = st.Update(store.Relaxed, func(tx *store.Tx) error {
			for range min(250, (n-made+1)/2) {
				made += 2
				answer := store.NewID()
				for _, e := range []struct {
					kind store.Kind
					body any
				}{
					{store.MessageUser, store.MessageBody{Item: store.NewID(), Text: sixty}},
					{store.TextDelta, store.DeltaBody{Item: answer, Text: strings.Repeat(sixty, 30)}},
					{store.ItemClosed, store.ClosedBody{Item: answer}},
				} {
					if _, err := tx.Append(s.ID, "", e.kind, e.body); err != nil {
						return err
					}
				}
			}
			return nil
		})
	}
	if err == nil && open > 0 {
		answer := store.NewID()
		err = st.Update(store.Relaxed, func(tx *store.Tx) error {
			for range open {
				if _, err := tx.Append(s.ID, "", store.TextDelta, store.DeltaBody{Item: answer, Text: sixty}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err != nil {
		return "", fmt.Errorf("fill items: %w", err)
	}
	return s.ID, nil
}

// target is a GET that is measured again and again.
type target struct {
	client *http.Client
	url    string
	token  string
	took   []time.Duration
}

func (t *target) get(ctx context.Context) ([]byte, error) {
	d, data, err := fetch(ctx, t.client, "GET", t.url, t.token, nil)
	t.took = append(t.took, d)
	return data, err
}

// inTurn measures the targets n times, one after the other, so that all see
// the same weather.
func inTurn(ctx context.Context, n int, targets ...*target) error {
	for i := range n + 20 {
		for _, t := range targets {
			if i == 20 {
				t.took = nil // connections, caches and the heap are warm
			}
			if _, err := t.get(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// get makes a target of the world's.
func (w *world) get(path string) *target {
	return &target{client: w.http, url: "http://" + w.addr + path, token: w.token}
}

// mirror runs a bare server that answers with the same bytes as t.
func (b *bench) mirror(ctx context.Context, t *target) (*target, *server, error) {
	data, err := t.get(ctx)
	if err != nil {
		return nil, nil, err
	}
	s, err := b.bare(ctx)
	if err != nil {
		return nil, nil, err
	}
	m := &target{client: &http.Client{Transport: &http.Transport{}}, url: "http://" + s.addr + "/bytes"}
	if _, _, err := fetch(ctx, m.client, "POST", m.url, "", data); err != nil {
		s.kill()
		return nil, nil, err
	}
	return m, s, nil
}

// list measures the sidebar's request among a hundred and among ten thousand
// sessions.
func list(ctx context.Context, b *bench) error {
	const path = "/api/v1/sessions?limit=50"
	var targets []*target
	for _, n := range []int{100, 10_000} {
		w, err := b.newWorld()
		if err != nil {
			return err
		}
		defer w.close()
		if err := w.fill(ctx, func(st *store.Store) error { return w.fillSessions(st, n) }); err != nil {
			return err
		}
		if err := w.start(ctx); err != nil {
			return err
		}
		if n > 100 {
			b.single("start of a host with 10,000 sessions", "ms", 0, float64(w.host.healthy.Microseconds())/1000, "")
		}
		targets = append(targets, w.get(path))
	}
	few, many := targets[0], targets[1]
	bare, s, err := b.mirror(ctx, many)
	if err != nil {
		return err
	}
	defer s.kill()
	if err := inTurn(ctx, b.pick(3000, 300), few, many, bare); err != nil {
		return err
	}
	f, m, y := spreadOf(few.took), spreadOf(many.took), spreadOf(bare.took)
	b.p99("50 of 100 sessions", 2, f, "")
	b.beside("bare, same bytes", y)
	b.p99("50 of 10,000 sessions", 2, m, "")
	b.beside("bare, same bytes", y)
	b.add(figure{Name: "10,000 over 100", Unit: "x", Target: 1.2, Value: m.P50 / f.P50, How: "median"})
	return nil
}

// page measures the first page of a session of ten thousand items: closed
// ones, with an open item that an agent has streamed, and with one that a host
// finds in its log after a restart.
func page(ctx context.Context, b *bench) error {
	w, err := b.newWorld()
	if err != nil {
		return err
	}
	defer w.close()
	const items = 10_000
	deltas := b.pick(3000, 150)
	var closed, live, found string
	err = w.fill(ctx, func(st *store.Store) error {
		for _, s := range []struct {
			id   *string
			open int
		}{{&closed, 0}, {&live, 0}, {&found, deltas}} {
			id, err := w.fillItems(st, items, s.open)
			if err != nil {
				return err
			}
			*s.id = id
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := w.start(ctx); err != nil {
		return err
	}
	if err := w.openItem(ctx, live, deltas); err != nil {
		return err
	}
	first := func(session string) *target { return w.get("/api/v1/sessions/" + session + "/items?limit=50") }
	c, l, f := first(closed), first(live), first(found)
	for _, t := range []*target{l, f} {
		if err := endsOpen(ctx, t); err != nil {
			return err
		}
	}
	bare, s, err := b.mirror(ctx, c)
	if err != nil {
		return err
	}
	defer s.kill()
	if err := inTurn(ctx, b.pick(1500, 150), c, l, f, bare); err != nil {
		return err
	}
	y := spreadOf(bare.took)
	b.p99("first 50 of 10,000 items", 5, spreadOf(c.took), "")
	b.beside("bare, same bytes", y)
	b.p99(fmt.Sprintf("with an open item of %d deltas, streamed", deltas), 10, spreadOf(l.took), "")
	b.beside("bare, bytes of the first", y)
	b.p99(fmt.Sprintf("with an open item of %d deltas, from the log", deltas), 10, spreadOf(f.took), "as after a restart")
	b.beside("bare, bytes of the first", y)
	return nil
}

// openItem has an agent stream an answer of n deltas that does not end.
func (w *world) openItem(ctx context.Context, session string, n int) error {
	var came atomic.Int64
	f := w.followWith(func(e event, _ time.Time) {
		if e.Kind == "text.delta" {
			came.Add(1)
		}
	}, session)
	defer f.close()
	if err := f.open(ctx); err != nil {
		return err
	}
	if _, _, err := w.send(ctx, session, fmt.Sprintf("stream %d 36ms\nsleep 1h", n+n/10)); err != nil {
		return err
	}
	return until(ctx, "an open item", 5*time.Minute, func() bool { return came.Load() >= int64(n) })
}

// endsOpen checks that the page's last item is an open answer.
func endsOpen(ctx context.Context, t *target) error {
	data, err := t.get(ctx)
	if err != nil {
		return err
	}
	var p struct {
		Items []struct {
			Kind string
			Open bool
		}
	}
	if err := json.Unmarshal(data, &p); err != nil {
		return err
	}
	if n := len(p.Items); n == 0 || !p.Items[n-1].Open || p.Items[n-1].Kind != "assistant" {
		return fmt.Errorf("the last item of %s is no open answer", t.url)
	}
	return nil
}

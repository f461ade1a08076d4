package main

import (
	"context"
	"fmt"
	"os/exec"
	"sync"
	"time"
)

const (
	agents   = 8 // the cap of live agents, as it is set by default
	hostDead = 2 * time.Second
)

// resume kills the host while eight agents stream a hundred lines a second
// each, lets them go on without it, and measures from its next exec to text
// that was said after the kill.
func resume(ctx context.Context, b *bench) error {
	w, err := b.startWorld(ctx)
	if err != nil {
		return err
	}
	defer w.close()
	sessions, err := w.crowd(ctx, agents)
	if err != nil {
		return err
	}
	var first, all, live []time.Duration
	for range b.pick(10, 2) {
		r, err := w.killOnce(ctx, sessions)
		if err != nil {
			return err
		}
		first, all, live = append(first, r.first), append(all, r.all), append(live, r.live)
	}
	note := fmt.Sprintf("%d agents × 100 lines/s, host dead for %v", agents, hostDead)
	b.median("exec to the first new delta", 300, spreadOf(first), note)
	b.median("… to one from each agent", 300, spreadOf(all), "")
	b.median("… until each has caught up", 0, spreadOf(live), "text said after the host was healthy")
	return nil
}

// resumed is how long after the exec the first session, each of them, and each
// with text that was said since the host is back, came to the client.
type resumed struct{ first, all, live time.Duration }

func (w *world) killOnce(ctx context.Context, sessions []string) (resumed, error) {
	var mu sync.Mutex
	var killed, back time.Time
	seen, fresh, caught := map[string]bool{}, map[string]time.Time{}, map[string]time.Time{}
	f := w.followWith(func(e event, at time.Time) {
		said := stamps(e.Body.Text)
		if e.Kind != "text.delta" || len(said) == 0 {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		seen[e.Session] = true
		last := said[len(said)-1]
		if _, ok := fresh[e.Session]; !ok && !killed.IsZero() && last.After(killed) {
			fresh[e.Session] = at
		}
		if _, ok := caught[e.Session]; !ok && !back.IsZero() && last.After(back) {
			caught[e.Session] = at
		}
	}, sessions...)
	defer f.close()
	if err := f.open(ctx); err != nil {
		return resumed{}, err
	}
	var runs []string
	for _, id := range sessions {
		run, _, err := w.send(ctx, id, "clock 600 10ms")
		if err != nil {
			return resumed{}, err
		}
		runs = append(runs, run)
	}
	count := func(m map[string]time.Time) func() bool {
		return func() bool {
			mu.Lock()
			defer mu.Unlock()
			return len(m) == len(sessions)
		}
	}
	err := until(ctx, "text of each agent", 20*time.Second, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(seen) == len(sessions)
	})
	if err != nil {
		return resumed{}, err
	}
	if err := sleep(ctx, time.Second); err != nil {
		return resumed{}, err
	}
	w.host.kill()
	mu.Lock()
	killed = time.Now()
	mu.Unlock()
	if err := sleep(ctx, hostDead); err != nil {
		return resumed{}, err
	}
	cmd := exec.Command(w.b.bins.host, "serve", "--addr", w.addr, "--home", w.home)
	cmd.Env = w.environ()
	s, err := launch(cmd, w.addr)
	if err != nil {
		return resumed{}, err
	}
	w.host = s
	if err := s.awaitHealthy(ctx); err != nil {
		return resumed{}, err
	}
	mu.Lock()
	back = time.Now()
	mu.Unlock()
	if err := until(ctx, "new text of each agent", 20*time.Second, count(caught)); err != nil {
		return resumed{}, err
	}
	if err := f.ended(ctx, runs...); err != nil {
		return resumed{}, err
	}
	mu.Lock()
	defer mu.Unlock()
	var r resumed
	for _, id := range sessions {
		d := fresh[id].Sub(s.began)
		r.all = max(r.all, d)
		if r.first == 0 || d < r.first {
			r.first = d
		}
		r.live = max(r.live, caught[id].Sub(s.began))
	}
	return r, nil
}

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-dev/holdfast/internal/store"
)

// post measures a message's 202 in turn with the disk's own fdatasync. Each
// message finds its agent idle.
func post(ctx context.Context, b *bench) error {
	w, err := b.startWorld(ctx)
	if err != nil {
		return err
	}
	defer w.close()
	sessions, err := w.crowd(ctx, 1)
	if err != nil {
		return err
	}
	f := w.follow(sessions...)
	defer f.close()
	if err := f.open(ctx); err != nil {
		return err
	}
	raw, err := os.Create(filepath.Join(filepath.Dir(w.home), "raw"))
	if err != nil {
		return err
	}
	defer raw.Close()
	block := bytes.Repeat([]byte("holdfast"), 512)
	var took, synced []time.Duration
	for range b.pick(1000, 100) {
		run, d, err := w.send(ctx, sessions[0], "say ok")
		if err != nil {
			return err
		}
		took = append(took, d)
		if err := f.ended(ctx, run); err != nil {
			return err
		}
		// The host tidies up after a turn; a person does not write within it.
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return err
		}
		start := time.Now()
		if _, err := raw.Write(block); err != nil {
			return err
		}
		if err := datasync(raw); err != nil {
			return err
		}
		synced = append(synced, time.Since(start))
	}
	y := spreadOf(synced)
	b.p99("POST message to 202", y.P99+3, spreadOf(took), "target: fdatasync p99 + 3 ms")
	b.beside("write 4 KiB and fdatasync", y)
	return nil
}

// line measures from the agent's writing of a line to its event at a client,
// by the time that the line says.
func line(ctx context.Context, b *bench) error {
	w, err := b.startWorld(ctx)
	if err != nil {
		return err
	}
	defer w.close()
	sessions, err := w.crowd(ctx, agents)
	if err != nil {
		return err
	}
	for _, m := range []struct {
		name   string
		target float64
		agents int
		lines  int
		every  time.Duration
		note   string
	}{
		{"agent's line to SSE event, alone", 10, 1, b.pick(600, 60), 50 * time.Millisecond, "a line each 50 ms: each is shown at once"},
		{"the same, 100 lines/s", 0, 1, b.pick(2000, 200), 10 * time.Millisecond, "text is shown at most each 30 ms"},
		{"eight agents, 100 lines/s each", 50, agents, b.pick(2000, 300), 10 * time.Millisecond, "lines of all eight, on one stream"},
	} {
		took, err := w.lines(ctx, sessions[:m.agents], m.lines, m.every)
		if err != nil {
			return err
		}
		b.p99(m.name, m.target, spreadOf(took), m.note)
	}
	return nil
}

func (w *world) lines(ctx context.Context, sessions []string, n int, every time.Duration) ([]time.Duration, error) {
	var mu sync.Mutex
	var took []time.Duration
	f := w.followWith(func(e event, at time.Time) {
		if e.Kind != "text.delta" {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		for _, said := range stamps(e.Body.Text) {
			took = append(took, at.Sub(said))
		}
	}, sessions...)
	defer f.close()
	if err := f.open(ctx); err != nil {
		return nil, err
	}
	var runs []string
	for _, id := range sessions {
		run, _, err := w.send(ctx, id, fmt.Sprintf("clock %d %v", n, every))
		if err != nil {
			return nil, err
		}
		runs = append(runs, run)
	}
	if err := f.ended(ctx, runs...); err != nil {
		return nil, err
	}
	mu.Lock()
	defer mu.Unlock()
	if len(took) != n*len(sessions) {
		return nil, fmt.Errorf("%d lines came of %d", len(took), n*len(sessions))
	}
	return took, nil
}

// bytesWritten measures what the host writes for each delta while eight agents
// stream thirty lines a second each.
func bytesWritten(ctx context.Context, b *bench) error {
	w, err := b.newWorld()
	if err != nil {
		return err
	}
	defer w.close()
	// Sessions that stream must not share the pages of an empty index.
	if err := w.fill(ctx, func(st *store.Store) error { return w.fillSessions(st, b.pick(10_000, 1000)) }); err != nil {
		return err
	}
	if err := w.start(ctx); err != nil {
		return err
	}
	sessions, err := w.crowd(ctx, agents)
	if err != nil {
		return err
	}
	var deltas atomic.Int64
	f := w.followWith(func(e event, _ time.Time) {
		if e.Kind == "text.delta" {
			deltas.Add(1)
		}
	}, sessions...)
	defer f.close()
	if err := f.open(ctx); err != nil {
		return err
	}
	length := b.wait(60*time.Second, 6*time.Second)
	every := time.Second / 30
	for i, id := range sessions {
		n := int((length + 8*time.Second) / every)
		if _, _, err := w.send(ctx, id, fmt.Sprintf("stream %d %v seed=%d", n, every, i)); err != nil {
			return err
		}
	}
	if err := sleep(ctx, 2*time.Second); err != nil {
		return err
	}
	before, err := writtenBy(w.host.pid())
	if err != nil {
		return err
	}
	first := deltas.Load()
	if err := sleep(ctx, length); err != nil {
		return err
	}
	after, err := writtenBy(w.host.pid())
	if err != nil {
		return err
	}
	n := deltas.Load() - first
	if n == 0 {
		return fmt.Errorf("no text came")
	}
	note := fmt.Sprintf("%d deltas in %v", n, length)
	b.single("to the disk, for each delta", "B", 8000, float64(after.disk-before.disk)/float64(n), note)
	b.single("handed to write calls, sockets too", "B", 8000, float64(after.calls-before.calls)/float64(n), "")
	return nil
}

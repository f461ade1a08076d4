package main

import (
	"context"
	"fmt"
	"os/exec"
	"time"
)

// start measures the host's start on a state folder that it knows, in turn
// with the bare server's.
func start(ctx context.Context, b *bench) error {
	w, err := b.startWorld(ctx)
	if err != nil {
		return err
	}
	defer w.close()
	w.host.stop()
	var ours, bare, oursRan, bareRan []time.Duration
	ran := func(s *server, sum *[]time.Duration) {
		if d, err := cpuOf(s.pid()); err == nil {
			*sum = append(*sum, d)
		}
	}
	for range b.pick(20, 5) {
		if err := w.start(ctx); err != nil {
			return err
		}
		ran(w.host, &oursRan)
		ours = append(ours, w.host.healthy)
		w.host.stop()
		s, err := b.bare(ctx)
		if err != nil {
			return err
		}
		ran(s, &bareRan)
		bare = append(bare, s.healthy)
		s.kill()
	}
	o, y := spreadOf(ours), spreadOf(bare)
	b.median("exec to /health 200", 15, o, "a state folder that it knows")
	b.beside("bare server", y)
	b.add(figure{Name: "the same, over the bare server's", Unit: "x", Target: 3, Value: o.P50 / y.P50, How: "median"})
	if len(oursRan) > 0 {
		b.median("… time on CPUs until then", 0, spreadOf(oursRan), "less the machine's doing than the time on the wall")
		b.beside("bare server", spreadOf(bareRan))
	}

	var fresh []time.Duration
	for range b.pick(10, 3) {
		w, err := b.startWorld(ctx)
		if err != nil {
			return err
		}
		fresh = append(fresh, w.host.healthy)
		w.close()
	}
	b.median("the first start of all", 0, spreadOf(fresh), "makes the database")
	return nil
}

// bare runs the yardstick until it is healthy. The caller kills it.
func (b *bench) bare(ctx context.Context) (*server, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	s, err := launch(exec.Command(b.bins.bare, addr), addr)
	if err != nil {
		return nil, err
	}
	if err := s.awaitHealthy(ctx); err != nil {
		s.kill()
		return nil, fmt.Errorf("bare server: %w", err)
	}
	return s, nil
}

package app

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/holdfast-dev/holdfast/internal/awake"
	"github.com/holdfast-dev/holdfast/internal/config"
	"github.com/holdfast-dev/holdfast/internal/httpapi"
)

// lookEvery is how often it is looked whether a run is live, and what the
// clocks say.
const lookEvery = 5 * time.Second

// stayAwake keeps the machine awake while a run is live, and has everything
// that depends on time look again after the machine slept or its clock was set.
func (c *core) stayAwake(ctx context.Context, server *httpapi.Server) error {
	var guard *awake.Guard // nil is never
	if c.cfg.KeepAwake != config.AwakeNever {
		guard = awake.New(c.log, awake.Options{OnMainsOnly: c.cfg.KeepAwake == config.AwakeOnMains})
	}
	c.awake.Store(guard)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		tick := time.NewTicker(lookEvery)
		defer tick.Stop()
		for {
			if runs, err := c.sessions.Runs(ctx); err == nil {
				guard.Set(runs > 0)
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return nil
			}
		}
	})
	group.Go(func() error {
		err := awake.WatchClock(ctx, lookEvery, awake.SystemClocks, func(j awake.Jump) {
			c.log.Warn("the clock jumped", "slept", j.Slept, "set", j.Set)
			if w := c.probe.Load(); w != nil {
				w.Forget()
			}
			c.sessions.Nudge()
			server.Nudge()
		})
		if err != nil {
			// Without it timers are late after a sleep, and nothing worse.
			c.log.Warn("the clocks are not watched", "err", err)
		}
		return nil
	})
	return errors.Join(group.Wait(), guard.Close())
}

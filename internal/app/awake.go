package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/holdfast-dev/holdfast/internal/awake"
	"github.com/holdfast-dev/holdfast/internal/cli"
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

// well is what a version on trial has to pass: an answer of the public
// listener, to which the list of sessions could be read.
func (h *host) well(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.URL()+"/health?deep=1", nil)
	if err != nil {
		return fmt.Errorf("ask for health: %w", err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("ask for health: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("ask for health: %s", resp.Status)
	}
	return nil
}

// hardStop is when a host that was asked to stop ends whatever still holds it.
const hardStop = 8 * time.Second

// endHard ends this process if Serve does not return in time after ctx ended.
// What has been committed stays; agents stay with their keepers.
func (h *host) endHard(ctx context.Context) (returned func()) {
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		select {
		case <-done:
		case <-time.After(hardStop):
			path, err := h.dump("the host did not stop in time")
			h.replace.log.Error("the host did not stop in time and is ended", "after", hardStop, "dump", path, "err", err)
			os.Exit(cli.ExitOK) // as asked
		}
	})
	return func() { stop(); close(done) }
}

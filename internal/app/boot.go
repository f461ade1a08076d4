package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast/internal/config"
	"github.com/holdfast-dev/holdfast/internal/failpoint"
	"github.com/holdfast-dev/holdfast/internal/httpapi"
	"github.com/holdfast-dev/holdfast/internal/probe"
	"github.com/holdfast-dev/holdfast/internal/proc"
	"github.com/holdfast-dev/holdfast/internal/said"
)

// beginLife writes how the last life ended and begins this one. A record that
// cannot be kept keeps no host from starting.
func beginLife(cfg *config.Config, log *slog.Logger, started time.Time, replaced bool) *probe.Recorder {
	bootID, err := proc.BootID()
	if err != nil {
		log.Warn("a restart of the machine cannot be told", "err", err)
	}
	life, err := probe.Begin(probe.Born{
		Home: cfg.Home, Crash: cfg.Crash(), Version: Version, BootID: bootID, Time: started, Replaced: replaced,
	})
	if err != nil {
		log.Error("the record of this host's lives is not whole", "err", err)
	}
	if last := life.Last(); last != nil {
		level := slog.LevelInfo
		switch last.How {
		case probe.EndCrash, probe.EndProbe, probe.EndFailed:
			level = slog.LevelError
		case probe.EndKilled, probe.EndReboot:
			level = slog.LevelWarn
		}
		log.Log(context.Background(), level, "the last life ended", "how", last.How, "reason", last.Reason, "at", last.Ended,
			"lasted", last.Ended.Sub(last.Started).Round(time.Millisecond), "peak_memory", last.PeakMemory, "peak_descriptors", last.PeakDescriptors, "file", last.File)
	}
	return life
}

// endPatience is how long an end waits for its own record: the disk may be what
// is wrong.
const endPatience = time.Second

// ending announces how this life is about to end.
func ending(life *probe.Recorder, log *slog.Logger, how, reason, file string) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := life.Ending(how, reason, file); err != nil {
			log.Error("the end of this life is not recorded", "err", err)
		}
	}()
	select {
	case <-done:
	case <-time.After(endPatience):
	}
}

// beatEvery is how often the record notes that this life goes on.
const beatEvery = 15 * time.Second

// beat keeps the peaks of this life true, and its record.
func (h *host) beat(ctx context.Context) error {
	tick := time.NewTicker(failpoint.Millis("beat_ms", beatEvery))
	defer tick.Stop()
	for {
		failpoint.Hit("host.beat")
		h.count()
		if err := h.life.Mark(time.Now(), int(h.peak.Load())); err != nil {
			h.replace.log.Warn("this life is not recorded", "err", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// safeMode keeps agents from being started and resumed after a loop of crashes:
// what crashes the host may be one of them.
type safeMode struct {
	mu    sync.Mutex
	why   said.Words // without a text where it is off
	leave func(context.Context) error
}

// text is why it is on; "" where it is off.
func (s *safeMode) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.why.Text
}

func (s *safeMode) health() httpapi.Health {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.why.Text == "" {
		return httpapi.Degraded()
	}
	return httpapi.Degraded(s.why)
}

// takeUp has the sessions go on with what the last life left, or, in safe mode,
// leaves it until a person says so.
func (c *core) takeUp(ctx context.Context, trial bool) error {
	why := c.life.Safe()
	if why.Text == "" || trial {
		if err := c.sessions.Start(ctx); err != nil {
			return fmt.Errorf("take up sessions: %w", err)
		}
		return nil
	}
	c.log.Error("the host is in safe mode", "why", why.Text)
	release := c.sessions.Hold()
	c.safe.mu.Lock()
	defer c.safe.mu.Unlock()
	c.safe.why = why
	c.safe.leave = func(ctx context.Context) error {
		release()
		return c.sessions.Start(ctx)
	}
	return nil
}

// Resume implements httpapi.Machine.
func (c *core) Resume(ctx context.Context) error {
	c.safe.mu.Lock()
	defer c.safe.mu.Unlock()
	if c.safe.why.Text == "" {
		return &httpapi.RefusedError{Text: "The host is not in safe mode: there is nothing to end."}
	}
	if err := c.safe.leave(ctx); err != nil {
		return fmt.Errorf("take up sessions: %w", err)
	}
	c.safe.why = said.Words{}
	c.log.Info("a person ended the safe mode")
	return c.life.LeftSafe()
}

// Lives implements httpapi.Machine.
func (c *core) Lives() (now probe.Life, ended []probe.Life) { return c.life.Now(), c.life.Lives() }

// Ends implements httpapi.Machine.
func (c *core) Ends() map[string]int { return c.life.Ends() }

// recordEnd records the end of a Serve that returns err. An asked end has been
// recorded already, and a panic is recorded by what it leaves.
func recordEnd(asked context.Context, life *probe.Recorder, log *slog.Logger, err error) {
	switch {
	case err == nil:
	case asked.Err() != nil && errors.Is(err, context.Canceled):
		ending(life, log, probe.EndAsked, "while it started", "")
	default:
		ending(life, log, probe.EndFailed, err.Error(), "")
	}
	if err := life.Close(); err != nil {
		log.Warn("close the record of this life", "err", err)
	}
}

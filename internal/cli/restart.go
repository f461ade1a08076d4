package cli

import (
	"context"
	"errors"
	"net/http"
	"time"
)

type restartCmd struct {
	Idle bool `help:"Wait until no run is under way."`
}

// Help is shown after the flags.
func (restartCmd) Help() string {
	return `The host replaces its own program, with the same process id and the listening socket kept open: requests that come meanwhile wait, streams go on by their cursor, agents and their runs do not notice. The configuration is read anew; where it cannot be taken, nothing happens and the reason is told. A supervisor sees no exit.

Runs need not be waited for; --idle does so all the same.

Examples:
  holdfast restart
  holdfast restart --idle`
}

// restartPatience is how long a host may take to come back: it lets requests
// under way end first.
const restartPatience = 30 * time.Second

// Run restarts the host in place.
func (c *restartCmd) Run(ctx context.Context, a *app) (err error) {
	h, _, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	before, err := h.status(ctx)
	if err != nil {
		return err
	}
	if c.Idle {
		a.notef("Waiting until no run is under way; Ctrl-C leaves everything as it is.\n")
	}
	if err := h.call(ctx, http.MethodPost, "/control/restart", map[string]any{"idle": c.Idle}, nil); err != nil {
		return err
	}
	after, err := h.awaitRestart(ctx, before)
	if err != nil {
		return err
	}
	a.notef("Restarted in place: process %d, version %s, at http://%s\n", after.PID, after.Version, after.Address)
	return nil
}

// status asks the host how it is.
func (c *client) status(ctx context.Context) (s status, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return s, c.call(ctx, http.MethodGet, "/control/status", nil, &s)
}

// awaitRestart waits until the host has been replaced.
func (c *client) awaitRestart(ctx context.Context, before status) (s status, err error) {
	ctx, cancel := context.WithTimeout(ctx, restartPatience)
	defer cancel()
	for {
		s, err = c.status(ctx)
		if err == nil && (s.Restarts != before.Restarts || s.PID != before.PID) {
			return s, nil
		}
		if !pause(ctx, 20*time.Millisecond) {
			if err == nil {
				return s, failf("the host was asked to restart and still runs as before after %s; its log says why: holdfast logs", restartPatience)
			}
			return s, failf("the host was asked to restart and does not answer: %w. Look at: holdfast logs", err)
		}
	}
}

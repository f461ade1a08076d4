package app

import (
	"context"
	"os"
	"time"

	"github.com/holdfast-dev/holdfast/internal/cli"
	"github.com/holdfast-dev/holdfast/internal/httpapi"
)

// onSignal does what a hangup and a request for a dump ask for.
func (h *host) onSignal(ctx context.Context, reload, dump <-chan struct{}) error {
	for {
		select {
		case <-reload:
			// The configuration's fields do not change while a host lives: a new
			// one comes with a restart in place, which loses nothing.
			if err := h.replace.ask(ctx, httpapi.Restart{}); err != nil {
				h.replace.log.Error("the configuration was not reloaded", "err", err)
			}
		case <-dump:
			path, err := h.dump("SIGUSR1")
			if err != nil {
				h.replace.log.Error("write diagnosis", "err", err)
				continue
			}
			h.replace.log.Info("a diagnosis was written", "path", path)
		case <-ctx.Done():
			return nil
		}
	}
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

package app

import (
	"context"

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

package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"syscall"
	"time"
)

// portPatience is how long a port that is taken is tried again: a predecessor
// may still be closing.
const portPatience = 10 * time.Second

// listen opens the public listener. A port that stays taken is a refusal; an
// address that does not exist yet (a tailnet at boot) is waited for in place.
func listen(ctx context.Context, log *slog.Logger, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	begun := time.Now()
	said := false
	for {
		ln, err := lc.Listen(ctx, "tcp", addr)
		if err == nil {
			return ln, nil
		}
		wait := 250 * time.Millisecond
		switch {
		case errors.Is(err, syscall.EADDRINUSE):
			if time.Since(begun) > portPatience {
				return nil, refuse("%s", taken(ctx, addr))
			}
		case errors.Is(err, syscall.EADDRNOTAVAIL):
			wait = time.Second
		case errors.Is(err, syscall.EACCES):
			return nil, refuse("The address %s is not allowed for this user: ports below 1024 need more rights. Choose another with --addr.", addr)
		default:
			return nil, refuse("The address %s cannot be listened on: %v.", addr, err)
		}
		if !said {
			said = true
			log.Warn("the address cannot be had yet, trying again", "addr", addr, "err", err)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, fmt.Errorf("listen on %s: %w", addr, ctx.Err())
		}
	}
}

package supervise

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Notifier tells the supervisor when the host is ready, what it does, and that
// it is well. Where the supervisor does not want to know, it does nothing.
type Notifier struct {
	socket   string        // systemd's
	watchdog time.Duration // 0: none
	ready    *os.File      // s6's; closed when it was told
}

// NewNotifier returns the notifier of a unit, for the environment that this
// process was started with (sd_notify(3), s6's notification-fd).
func NewNotifier(u Unit, env []string) *Notifier {
	n := &Notifier{}
	get := func(name string) string {
		for _, kv := range env {
			if v, ok := strings.CutPrefix(kv, name+"="); ok {
				return v
			}
		}
		return ""
	}
	switch u.Manager {
	case Systemd:
		n.socket = get("NOTIFY_SOCKET")
		usec, err := strconv.ParseInt(get("WATCHDOG_USEC"), 10, 64)
		if pid := get("WATCHDOG_PID"); err == nil && usec > 0 && (pid == "" || pid == strconv.Itoa(os.Getpid())) {
			n.watchdog = time.Duration(usec) * time.Microsecond
		}
	case S6:
		n.ready = readinessPipe(u.Dir)
	}
	return n
}

// readinessPipe opens the descriptor that s6 waits for. The number is in the
// service folder; what has that number must be a pipe, for a runtime may have
// taken a free number for its own.
func readinessPipe(dir string) *os.File {
	text, err := os.ReadFile(filepath.Join(dir, "notification-fd"))
	if err != nil {
		return nil
	}
	fd, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 16)
	if err != nil || fd < 3 {
		return nil
	}
	return pipeOf(uintptr(fd))
}

// Ready says that the host serves. status is for a person.
func (n *Notifier) Ready(status string) error {
	var errs []error
	if n.ready != nil {
		_, err := n.ready.Write([]byte("\n"))
		errs = append(errs, err, n.ready.Close())
		n.ready = nil
	}
	errs = append(errs, n.send("READY=1", "STATUS="+status))
	return errors.Join(errs...)
}

// Status tells a person what the host does.
func (n *Notifier) Status(status string) error { return n.send("STATUS=" + status) }

// Stopping says that the host ends because it was asked to.
func (n *Notifier) Stopping() error { return n.send("STOPPING=1", "STATUS=Stopping") }

// Reloading says that the host replaces itself in place; Ready follows.
func (n *Notifier) Reloading(monotonic time.Duration) error {
	return n.send("RELOADING=1", "MONOTONIC_USEC="+strconv.FormatInt(monotonic.Microseconds(), 10), "STATUS=Restarting in place")
}

// notYetWell is how soon a host that is not well is asked again.
const notYetWell = 500 * time.Millisecond

// Watch feeds the watchdog for as long as well returns nil, at a third of its
// time, until ctx ends. Where there is no watchdog it returns at once. It fails
// only where it cannot begin: a host that cannot tell later is ended by systemd,
// or finds out by itself what is wrong and writes it down.
func (n *Notifier) Watch(ctx context.Context, well func(context.Context) error) error {
	if n.watchdog == 0 {
		return nil
	}
	conn, err := n.dial() // kept: there may be no descriptor for another one
	if err != nil {
		return err
	}
	defer func() { conn.Close() }()
	for {
		wait := n.watchdog / 3
		probe, cancel := context.WithTimeout(ctx, n.watchdog/3)
		err := well(probe)
		cancel()
		if err == nil {
			if _, err := conn.Write([]byte("WATCHDOG=1")); err != nil {
				if again, err := n.dial(); err == nil {
					conn.Close()
					conn = again
					_, _ = conn.Write([]byte("WATCHDOG=1")) // or the next time
				}
			}
		} else {
			// A host that has just begun has not looked at itself yet. One that is
			// replaced in place again and again would never come to say so.
			wait = min(wait, notYetWell)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil
		}
	}
}

func (n *Notifier) send(lines ...string) error {
	if n.socket == "" {
		return nil
	}
	conn, err := n.dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(strings.Join(lines, "\n"))); err != nil {
		return fmt.Errorf("notify supervisor: %w", err)
	}
	return nil
}

func (n *Notifier) dial() (*net.UnixConn, error) {
	name := n.socket
	if strings.HasPrefix(name, "@") {
		name = "\x00" + name[1:]
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		return nil, fmt.Errorf("notify supervisor: %w", err)
	}
	return conn, nil
}

package awake

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/godbus/dbus/v5"
)

const (
	login1     = "org.freedesktop.login1"
	login1Path = dbus.ObjectPath("/org/freedesktop/login1")
	inhibit    = login1 + ".Manager.Inhibit"

	// what is "idle" alone. It stops what happens when nobody is at the machine
	// (IdleAction=), and leaves lid, power key and `systemctl suspend` to the
	// person. A block on "sleep" would refuse those, and polkit gives it to a
	// person's session only, never to a service.
	what = "idle"
	mode = "block"
)

// inhibitor is one lock of logind. logind lets go when the last copy of its
// descriptor is closed, so it ends with this process at the latest: the
// descriptor came with close-on-exec, and no child gets it.
type inhibitor struct {
	fd    *os.File
	conn  *dbus.Conn
	lost  chan struct{} // closed by watch, or by nobody
	wg    sync.WaitGroup
	close context.CancelFunc
}

// take asks logind for an inhibitor over a connection of its own. The
// connection stays open as long as the inhibitor, to hear that logind went
// away or came anew.
func take(ctx context.Context) (_ hold, err error) {
	own, cancel := context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			cancel()
		}
	}()
	// The handshake knows no deadline; ending the connection's context ends it.
	stop := context.AfterFunc(ctx, cancel)
	defer stop()
	conn, err := dbus.ConnectSystemBus(dbus.WithContext(own))
	if err != nil {
		return nil, fmt.Errorf("connect to the system bus: %w", err)
	}
	h := &inhibitor{conn: conn, lost: make(chan struct{}), close: cancel}
	defer func() {
		if err != nil {
			_ = conn.Close()
		}
	}()
	// Before the question, so that no change of owner falls between.
	owners := make(chan *dbus.Signal, 16)
	conn.Signal(owners)
	err = conn.AddMatchSignalContext(ctx, dbus.WithMatchInterface("org.freedesktop.DBus"),
		dbus.WithMatchMember("NameOwnerChanged"), dbus.WithMatchArg(0, login1))
	if err != nil {
		return nil, fmt.Errorf("watch logind on the bus: %w", err)
	}
	// logind is started by the bus where it is installed and does not run.
	var fd dbus.UnixFD
	err = conn.Object(login1, login1Path).CallWithContext(ctx, inhibit, 0, what, who, why, mode).Store(&fd)
	if err != nil {
		return nil, fmt.Errorf("ask logind: %w", err)
	}
	h.fd = os.NewFile(uintptr(fd), "logind's inhibitor")
	if !stop() { // the time ran out just now, and the connection is gone with it
		_ = h.fd.Close()
		return nil, ctx.Err()
	}
	h.wg.Go(func() { h.watch(own, owners) })
	return h, nil
}

// watch tells when logind has a new process, which may not know of the lock,
// or the bus is gone. While logind has no process the lock stays: it lies in
// the descriptor, and a logind that restarts takes its locks up again.
func (h *inhibitor) watch(ctx context.Context, owners <-chan *dbus.Signal) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.conn.Context().Done():
			if ctx.Err() == nil {
				close(h.lost)
			}
			return
		case s, open := <-owners:
			if !open {
				owners = nil // the connection ends
				continue
			}
			if _, fresh := newOwner(s); fresh {
				close(h.lost)
				return
			}
		}
	}
}

// newOwner reads NameOwnerChanged(name, old, new) of logind.
func newOwner(s *dbus.Signal) (string, bool) {
	var name, before, now string
	if s.Name != "org.freedesktop.DBus.NameOwnerChanged" || dbus.Store(s.Body, &name, &before, &now) != nil {
		return "", false
	}
	return now, name == login1 && now != ""
}

func (h *inhibitor) Lost() <-chan struct{} { return h.lost }

func (h *inhibitor) Close() error {
	err := h.fd.Close()
	h.close()
	if e := h.conn.Close(); e != nil && !errors.Is(e, dbus.ErrClosed) {
		err = errors.Join(err, e)
	}
	h.wg.Wait()
	return err
}

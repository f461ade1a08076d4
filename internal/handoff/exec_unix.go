//go:build unix

package handoff

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// door is a listener with its waiting connections, as descriptors.
type door struct {
	Listener int   `json:"listener"`
	Conns    []int `json:"conns,omitempty"`
}

// parcel is what goes through exec.
type parcel struct {
	PID   int             `json:"pid"` // that of both programs: a child that finds the variable leaves it alone
	Doors map[string]door `json:"doors"`
	Files map[string]int  `json:"files"`
	Note  json.RawMessage `json:"note,omitempty"`
}

// Exec replaces this program by exe, with the same pid. It returns only on an
// error; nothing has changed then, and no copy of a descriptor is left.
//
// Copies without close-on-exec live only under the fork lock: a child that is
// started meanwhile would hold the port after our death.
func Exec(exe string, argv, env []string, out Out) error {
	note, err := json.Marshal(out.Note)
	if err != nil {
		return fmt.Errorf("replace program: encode note: %w", err)
	}
	p := parcel{PID: os.Getpid(), Doors: map[string]door{}, Files: map[string]int{}, Note: note}
	var copies []int
	copyOf := func(c syscall.Conn) (int, error) {
		raw, err := c.SyscallConn()
		if err != nil {
			return 0, err
		}
		fd, failed := -1, error(nil)
		if err := raw.Control(func(old uintptr) {
			fd, failed = unix.FcntlInt(old, unix.F_DUPFD, 3)
		}); err != nil {
			return 0, err
		}
		if failed == nil {
			copies = append(copies, fd)
		}
		return fd, failed
	}

	syscall.ForkLock.Lock()
	defer syscall.ForkLock.Unlock()
	defer func() {
		for _, fd := range copies {
			_ = unix.Close(fd)
		}
	}()
	for name, l := range out.Doors {
		d, err := l.copies(copyOf)
		if err != nil {
			return fmt.Errorf("replace program: copy %s listener: %w", name, err)
		}
		p.Doors[name] = d
	}
	for name, f := range out.Files {
		fd, err := copyOf(f)
		if err != nil {
			return fmt.Errorf("replace program: copy %s: %w", name, err)
		}
		p.Files[name] = fd
	}
	text, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("replace program: encode: %w", err)
	}
	env = append(without(env), Var+"="+string(text))
	//nolint:gosec // to run the caller's program is what this is for
	return fmt.Errorf("replace program by %s: %w", exe, syscall.Exec(exe, argv, env))
}

// copies copies the listener and the connections that stand still.
func (l *Listener) copies(copyOf func(syscall.Conn) (int, error)) (door, error) {
	ln, ok := l.ln.(syscall.Conn)
	if !ok {
		return door{}, fmt.Errorf("a %T has no descriptor", l.ln)
	}
	var d door
	var err error
	if d.Listener, err = copyOf(ln); err != nil {
		return door{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	waiting := slices.Clone(l.carried)
	for c := range l.conns {
		if c.parked {
			waiting = append(waiting, c.Conn)
		}
	}
	for _, conn := range waiting {
		c, ok := conn.(syscall.Conn)
		if !ok {
			continue
		}
		fd, err := copyOf(c)
		if errors.Is(err, net.ErrClosed) {
			continue
		}
		if err != nil {
			return door{}, err
		}
		d.Conns = append(d.Conns, fd)
	}
	return d, nil
}

func without(env []string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(kv string) bool { return strings.HasPrefix(kv, Var+"=") })
}

// Take takes what the program before gave, or nil where this is a first start.
// It removes the variable from the environment, and no child inherits what was
// given. It is to be called before anything else opens or starts anything.
func Take() (*In, error) {
	text, ok := os.LookupEnv(Var)
	if !ok {
		return nil, nil
	}
	os.Unsetenv(Var)
	var p parcel
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		return nil, fmt.Errorf("read %s: %w", Var, err)
	}
	if p.PID != os.Getpid() {
		return nil, nil
	}
	in := &In{Doors: map[string]*Listener{}, Files: map[string]*os.File{}, Note: p.Note}
	for _, d := range p.Doors {
		for _, fd := range append(d.Conns, d.Listener) {
			unix.CloseOnExec(fd)
		}
	}
	for name, fd := range p.Files {
		unix.CloseOnExec(fd)
		in.Files[name] = os.NewFile(uintptr(fd), name) //nolint:gosec // a descriptor
	}
	for name, d := range p.Doors {
		ln, err := takeOver(d.Listener, net.FileListener)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("take over %s listener: %w", name, err), in.Close())
		}
		if unixLn, ok := ln.(*net.UnixListener); ok {
			unixLn.SetUnlinkOnClose(true) // as the one that was made by a path
		}
		var conns []net.Conn
		for _, fd := range d.Conns {
			// A client that has gone meanwhile is no error of ours.
			if conn, err := takeOver(fd, net.FileConn); err == nil {
				conns = append(conns, conn)
			}
		}
		in.Doors[name] = NewListener(ln, conns...)
	}
	return in, nil
}

// takeOver makes what net makes of a descriptor, which is closed.
func takeOver[T any](fd int, make func(*os.File) (T, error)) (T, error) {
	f := os.NewFile(uintptr(fd), "inherited") //nolint:gosec // a descriptor
	defer f.Close()
	return make(f)
}

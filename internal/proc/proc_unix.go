//go:build unix

package proc

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// Self returns the identity of this process.
func Self() (ID, error) { return Of(os.Getpid()) }

// Signal sends a signal to exactly this process: where its pid belongs to
// another one by now the error is ErrGone and nothing is sent.
func Signal(id ID, sig syscall.Signal) error {
	if id.PID <= 0 {
		return ErrGone
	}
	// The handle is opened first: after that the comparison cannot be
	// overtaken by a reuse of the pid.
	p, err := os.FindProcess(id.PID)
	if err != nil {
		return fmt.Errorf("open process %d: %w", id.PID, err)
	}
	defer p.Release()
	if now, err := Of(id.PID); err != nil || now != id {
		return ErrGone
	}
	err = p.Signal(sig)
	if errors.Is(err, os.ErrProcessDone) || errors.Is(err, syscall.ESRCH) {
		return ErrGone
	}
	if err != nil {
		return fmt.Errorf("signal process %d: %w", id.PID, err)
	}
	return nil
}

// Reap collects a child of this process that has ended, waiting at most for
// the given time, so that it does not stay a zombie. It does nothing where the
// process is not our child, or runs on.
func Reap(id ID, wait time.Duration) {
	deadline := time.Now().Add(wait)
	for {
		// The start time is that of our child for as long as nobody else
		// reaps it, and nobody else does.
		if now, err := Of(id.PID); err != nil || now != id {
			return
		}
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(id.PID, &status, syscall.WNOHANG, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil || pid == id.PID || time.Now().After(deadline) {
			return
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// Lock opens the file, making it where it is missing, and takes its lock
// without waiting. The lock is held until every copy of the descriptor is
// closed. The error is ErrLocked where another process holds it.
func Lock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock file: %w", err)
	}
	if err := LockFile(f); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// LockFile takes the lock of an open file without waiting.
func LockFile(f *os.File) error {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EWOULDBLOCK):
			return ErrLocked
		default:
			return fmt.Errorf("lock %s: %w", f.Name(), err)
		}
	}
}

// Unlock releases the lock, also for every copy of the descriptor.
func Unlock(f *os.File) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_UN) }

// Locked tells whether somebody holds the lock of the file. It does not make
// the file: one that is missing is not locked.
func Locked(path string) (bool, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("open lock file: %w", err)
	}
	defer f.Close()
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
		switch {
		case err == nil:
			// Unlocked by name: a child forked just now holds a copy until it execs.
			return false, Unlock(f)
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EWOULDBLOCK):
			return true, nil
		default:
			return false, fmt.Errorf("try lock %s: %w", path, err)
		}
	}
}

// saneNoFile is enough for every connection and agent that the defaults allow,
// and small enough for programs that walk all descriptors when they start one.
const saneNoFile = 16384

// RaiseNoFile sets the soft limit of descriptors to a sane value, or to the
// hard limit where that is less, and returns the soft limit that holds now.
// It always sets: Go has raised our own soft limit to the hard one before main,
// and gives children the one that we were started with, 256 under launchd,
// until the limit is set in so many words.
func RaiseNoFile() (uint64, error) { return SetNoFile(saneNoFile) }

// SetNoFile sets the soft limit of descriptors of this process and of the
// children that it starts, at most to the hard limit, and returns what it set.
func SetNoFile(n uint64) (uint64, error) {
	var lim syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
		return 0, fmt.Errorf("read descriptor limit: %w", err)
	}
	lim.Cur = min(n, lim.Max)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
		return 0, fmt.Errorf("set descriptor limit to %d: %w", lim.Cur, err)
	}
	return uint64(lim.Cur), nil
}

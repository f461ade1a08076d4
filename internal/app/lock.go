package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/holdfast-dev/holdfast/internal/proc"
)

// holder is the text inside the locked file. Only the lock says that a host
// lives; the text says which.
type holder struct {
	PID     int       `json:"pid"`
	Address string    `json:"address"`
	Scheme  string    `json:"scheme,omitempty"`
	Since   time.Time `json:"since"`
	Version string    `json:"version"`
	Unit    string    `json:"unit"` // the supervisor's service; "" where none runs this host
}

// lock is the kernel's lock on the state folder, held for life.
type lock struct{ file *os.File }

// lockPatience is how long a lock may outlive the host that took it: a child
// that it was starting when it was killed holds a copy until it execs.
const lockPatience = 5 * time.Second

// takeLock locks the state folder. Where another process has it, the error is
// a refusal that says which: at once where that one lives, and else when the
// lock stays taken. A refusal is final, supervisors do not start again what
// ended with one.
func takeLock(path string) (*lock, error) {
	for deadline := time.Now().Add(lockPatience); ; time.Sleep(10 * time.Millisecond) {
		f, err := proc.Lock(path)
		if err == nil {
			return &lock{f}, nil
		}
		if !errors.Is(err, proc.ErrLocked) {
			return nil, fmt.Errorf("lock the state folder: %w", err)
		}
		h, known := readHolder(path)
		if !known || !h.gone() || time.Now().After(deadline) {
			return nil, refuse("%s", heldBy(h, known))
		}
	}
}

func readHolder(path string) (h holder, known bool) {
	data, err := os.ReadFile(path)
	return h, err == nil && json.Unmarshal(data, &h) == nil && h.PID != 0
}

// gone tells whether the process has ended. In a container the next host may
// have its pid.
func (h holder) gone() bool {
	info, err := proc.Lookup(h.PID)
	return errors.Is(err, proc.ErrGone) || err == nil && (info.Zombie || h.PID == os.Getpid())
}

func heldBy(h holder, known bool) string {
	const remedy = "Use that one, stop it with `holdfast stop`, or name another folder with --home."
	if !known {
		return "Another process has just taken this state folder. " + remedy
	}
	where := ""
	if h.Address != "" {
		where = " at " + h.Address
	}
	return fmt.Sprintf("Another Holdfast serves this state folder: pid %d%s, since %s. %s", h.PID, where, h.Since.Local().Format("2006-01-02 15:04:05"), remedy)
}

// say writes who holds the lock.
func (l *lock) say(h holder) error {
	data, err := json.Marshal(h)
	if err != nil {
		return err
	}
	if err := l.file.Truncate(0); err != nil {
		return fmt.Errorf("write lock file: %w", err)
	}
	if _, err := l.file.WriteAt(append(data, '\n'), 0); err != nil {
		return fmt.Errorf("write lock file: %w", err)
	}
	return nil
}

func (l *lock) Close() error { return l.file.Close() }

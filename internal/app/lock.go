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
	Since   time.Time `json:"since"`
	Version string    `json:"version"`
	Unit    string    `json:"unit"` // the supervisor's service; "" where none runs this host
}

// lock is the kernel's lock on the state folder, held for life.
type lock struct{ file *os.File }

// takeLock locks the state folder. Where another process has it, the error is
// a refusal that says which.
func takeLock(path string) (*lock, error) {
	f, err := proc.Lock(path)
	if errors.Is(err, proc.ErrLocked) {
		return nil, refuse("%s", heldBy(path))
	}
	if err != nil {
		return nil, fmt.Errorf("lock the state folder: %w", err)
	}
	return &lock{f}, nil
}

func heldBy(path string) string {
	const remedy = "Use that one, stop it with `holdfast stop`, or name another folder with --home."
	data, err := os.ReadFile(path)
	var h holder
	if err != nil || json.Unmarshal(data, &h) != nil || h.PID == 0 {
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

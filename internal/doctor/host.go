// Package doctor looks at a host from outside (the lock that it holds, its
// process, what it answers) and at what it stands on: the machine, the limits
// of a process, the state folder. It says what is wrong and what to do about
// it, and ends a host that is stuck as a whole. Its Check is what everybody
// else who looks at something says, too.
//
// It must need nothing of the host but the kernel and a socket: it is there
// for the time when the host does not answer. It opens no database and starts
// no agent.
package doctor

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/holdfast-dev/holdfast/internal/proc"
)

// Holder is what the host that holds a state folder says of itself in the
// locked file. Only the lock says that it lives.
type Holder struct {
	PID     int       `json:"pid"`
	Address string    `json:"address"`          // "" until it listens
	Scheme  string    `json:"scheme,omitempty"` // "" of an older host: http
	Since   time.Time `json:"since"`
	Version string    `json:"version"`
	Unit    string    `json:"unit"` // of the supervisor that runs it; "" where none does
}

// Look tells whether a host holds the state folder, and which. What a host
// that has just taken the lock says may not be written yet: then the Holder is
// zero.
func Look(home string) (h Holder, held bool, err error) {
	path := filepath.Join(home, "host.lock")
	held, err = proc.Locked(path)
	if err != nil || !held {
		return Holder{}, false, err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return Holder{}, false, nil
		}
		return Holder{}, true, fmt.Errorf("read who holds the lock: %w", err)
	}
	if json.Unmarshal(data, &h) != nil {
		return Holder{}, true, nil // it is being written
	}
	return h, true, nil
}

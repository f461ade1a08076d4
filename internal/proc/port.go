package proc

import "time"

// Holder is a process that listens on a port. Where another user's process
// does, only that user is known.
type Holder struct {
	ID
	Command string   // the short name, as ps shows it
	Args    []string // its name first
	Since   time.Time
	UID     int    // of who owns the socket; -1 where unknown
	Address string // that it listens on, as "127.0.0.1:8787"
}

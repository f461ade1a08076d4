package probe

import "syscall"

// peakMemory is the most memory that this process has had, in bytes; 0 where it
// cannot be told.
func peakMemory() int64 {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return u.Maxrss
}

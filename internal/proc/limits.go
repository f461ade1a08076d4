package proc

import "time"

// Work is how much a process has worked since it began.
type Work struct {
	CPU     time.Duration // of all its threads
	Waited  time.Duration // for a processor, of the threads that live; 0 where unknown
	Blocked int           // threads that wait for a disk now; 0 where unknown
}

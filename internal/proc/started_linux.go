package proc

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// ticksPerSecond is USER_HZ, which is 100 on every architecture that Go
// supports (proc(5), sysconf(_SC_CLK_TCK)).
const ticksPerSecond = 100

// StartedAt is when the process began, by the wall clock of now.
func StartedAt(id ID) (time.Time, error) {
	var boot unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot); err != nil {
		return time.Time{}, fmt.Errorf("read the time since boot: %w", err)
	}
	age := time.Duration(boot.Nano()) - time.Duration(id.Start)*(time.Second/ticksPerSecond)
	return time.Now().Add(-age), nil
}

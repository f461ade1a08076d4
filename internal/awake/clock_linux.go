package awake

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// On Linux CLOCK_MONOTONIC stands still while the machine sleeps, and
// CLOCK_BOOTTIME goes on.
func awakeTime() (time.Duration, error) { return clock(unix.CLOCK_MONOTONIC) }
func bootTime() (time.Duration, error)  { return clock(unix.CLOCK_BOOTTIME) }

func clock(id int32) (time.Duration, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(id, &ts); err != nil {
		return 0, fmt.Errorf("clock %d: %w", id, err)
	}
	return time.Duration(ts.Nano()), nil
}

package awake

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// On macOS CLOCK_UPTIME_RAW stands still while the machine sleeps, and
// CLOCK_MONOTONIC_RAW goes on; CLOCK_MONOTONIC too, but it is made of the wall
// clock.
func awakeTime() (time.Duration, error) { return clock(unix.CLOCK_UPTIME_RAW) }
func bootTime() (time.Duration, error)  { return clock(unix.CLOCK_MONOTONIC_RAW) }

func clock(id int32) (time.Duration, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(id, &ts); err != nil {
		return 0, fmt.Errorf("clock %d: %w", id, err)
	}
	return time.Duration(ts.Nano()), nil
}

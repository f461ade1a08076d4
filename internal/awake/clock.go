package awake

import (
	"context"
	"fmt"
	"time"
)

// threshold is the least difference that counts as a jump: far above the time
// between two readings on a busy machine, far below what any timer here waits.
const threshold = 2 * time.Second

// Reading is what the machine's clocks say at one moment.
type Reading struct {
	Wall  time.Time     // the clock that people set
	Boot  time.Duration // since boot, sleep counted
	Awake time.Duration // since boot, sleep not counted
}

// Clocks reads the clocks, all at the same moment as nearly as it can.
type Clocks func() (Reading, error)

// Jump is what happened to the time between two looks.
type Jump struct {
	Slept time.Duration // how long the machine slept; 0 where it did not
	Set   time.Duration // by how much the clock was set, backwards below 0
	At    time.Time     // when it was noticed, by the clock as it is now
}

// WatchClock looks at the clocks and calls jump when the machine slept or its
// clock was set by two seconds or more since the last look. After a sleep the
// next look comes within every: timers stand still while the machine sleeps.
// It returns nil when ctx ends, and an error where the clocks cannot be read.
func WatchClock(ctx context.Context, every time.Duration, clocks Clocks, jump func(Jump)) error {
	last, err := clocks()
	if err != nil {
		return fmt.Errorf("read the clocks: %w", err)
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		now, err := clocks()
		if err != nil {
			return fmt.Errorf("read the clocks: %w", err)
		}
		if j := between(last, now); j.Slept != 0 || j.Set != 0 {
			jump(j)
		}
		last = now
	}
}

// between compares each clock's way. What is slewed or drifts stays far below
// the threshold between two looks.
func between(last, now Reading) Jump {
	j := Jump{At: now.Wall}
	boot := now.Boot - last.Boot
	if slept := boot - (now.Awake - last.Awake); slept >= threshold {
		j.Slept = slept
	}
	if set := now.Wall.Sub(last.Wall) - boot; set >= threshold || set <= -threshold {
		j.Set = set
	}
	return j
}

// SystemClocks reads this machine's clocks.
func SystemClocks() (Reading, error) {
	const tries = 8
	var r Reading
	for range tries {
		before, err := awakeTime()
		if err != nil {
			return Reading{}, err
		}
		boot, err := bootTime()
		if err != nil {
			return Reading{}, err
		}
		wall := time.Now().Round(0) // without its monotonic part, which hides that it was set
		after, err := awakeTime()
		if err != nil {
			return Reading{}, err
		}
		boot2, err := bootTime()
		if err != nil {
			return Reading{}, err
		}
		r = Reading{Wall: wall, Boot: boot, Awake: before}
		// A pause or a sleep among the readings would look like a jump.
		if after-before < threshold/4 && boot2-boot < threshold/4 {
			return r, nil
		}
	}
	// A machine this busy: at worst a jump is told that was none.
	return r, nil
}

//go:build !linux && !darwin

package proc

import "time"

// StartedAt is when the process began.
func StartedAt(ID) (time.Time, error) { return time.Time{}, ErrUnsupported }

package proc

import "time"

// StartedAt is when the process began, by the wall clock of then.
func StartedAt(id ID) (time.Time, error) { return time.UnixMicro(int64(id.Start)), nil }

//go:build !linux && !darwin

package awake

import "time"

func awakeTime() (time.Duration, error) { return 0, errUnsupported }
func bootTime() (time.Duration, error)  { return 0, errUnsupported }

//go:build !linux && !darwin

package proc

// NoFile is not supported here.
func NoFile(int) (soft, hard uint64, err error) { return 0, 0, ErrUnsupported }

// NProc is not supported here.
func NProc(int) (soft, hard uint64, err error) { return 0, 0, ErrUnsupported }

// Effort is not supported here.
func Effort(int) (Work, error) { return Work{}, ErrUnsupported }

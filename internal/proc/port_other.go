//go:build !linux && !darwin

package proc

// Listeners is not supported here.
func Listeners(int) ([]Holder, error) { return nil, ErrUnsupported }

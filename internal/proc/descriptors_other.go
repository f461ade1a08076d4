//go:build !linux && !darwin

package proc

// Table is not supported here.
func Table(int) ([]Descriptor, error) { return nil, ErrUnsupported }

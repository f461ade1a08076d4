//go:build !linux && !darwin

package proc

// Args is not supported here.
func Args(int) ([]string, error) { return nil, ErrUnsupported }

// Cwd is not supported here.
func Cwd(int) (string, error) { return "", ErrUnsupported }

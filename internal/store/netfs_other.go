//go:build !linux && !darwin

package store

// netFS cannot tell on this system.
func netFS(string) (string, error) { return "", nil }

// Filesystem is not known on this system.
func Filesystem(string) string { return "" }

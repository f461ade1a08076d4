//go:build !linux

package probe

// DiskOf names the disk that a path is on, for a person.
func DiskOf(path string) string { return "of " + path }

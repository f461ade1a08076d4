//go:build !failpoints

package failpoint

// Leak does nothing in a build without the tag.
func Leak(string) {}

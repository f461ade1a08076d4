//go:build !failpoints

package failpoint

import "time"

// Enabled tells whether this binary was built with the tag "failpoints".
const Enabled = false

// Hit does nothing in a build without the tag.
func Hit(string) {}

// Millis returns otherwise in a build without the tag.
func Millis(_ string, otherwise time.Duration) time.Duration { return otherwise }

// Value returns "" in a build without the tag.
func Value(string) string { return "" }

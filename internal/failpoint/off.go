//go:build !failpoints

package failpoint

// Enabled tells whether this binary was built with the tag "failpoints".
const Enabled = false

// Hit does nothing in a build without the tag.
func Hit(string) {}

// Value returns "" in a build without the tag.
func Value(string) string { return "" }

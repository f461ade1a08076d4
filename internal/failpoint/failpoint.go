// Package failpoint lets a test kill a process of ours at a named place.
//
// A place is a call of Hit with a constant name. Without the build tag
// "failpoints" the calls are empty and the compiler removes them, so a release
// binary has none; with the tag, HOLDFAST_FAILPOINT arms them (see armed.go).
package failpoint

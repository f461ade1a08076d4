//go:build !linux

package keeper

import "os"

// datasync makes a file's bytes and its length durable.
func datasync(f *os.File) error { return f.Sync() }

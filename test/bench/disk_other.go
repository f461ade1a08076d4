//go:build !linux

package main

import "os"

// datasync is the full sync here (on darwin F_FULLFSYNC, as in the store).
func datasync(f *os.File) error { return f.Sync() }

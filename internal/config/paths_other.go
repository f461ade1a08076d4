//go:build !unix

package config

import "io/fs"

// Folders under a Windows profile are private by their access lists; there is
// no mode to set.
func tooOpen(fs.FileMode) bool { return false }

func checkOwner(string, fs.FileInfo) error { return nil }

//go:build unix

package store

import (
	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"
)

// freeBytes returns what an ordinary user may still write to the disk of folder.
func freeBytes(folder string) (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(folder, &st); err != nil {
		return 0, err
	}
	return uint64(st.Bavail) * uint64(st.Bsize), nil //nolint:gosec // differs in type per system, never negative
}

// replaceFile writes a small file whole: after a crash it is the old or the new.
func replaceFile(path string, data []byte) error {
	return renameio.WriteFile(path, data, 0o600)
}

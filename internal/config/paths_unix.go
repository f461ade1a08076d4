//go:build unix

package config

import (
	"io/fs"
	"os"
	"syscall"
)

func tooOpen(mode fs.FileMode) bool { return mode.Perm() != 0o700 }

func checkOwner(dir string, info fs.FileInfo) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	if ok && int(st.Uid) != os.Geteuid() {
		return errorf("%s belongs to the user with id %d, and this process runs as %d. Run Holdfast as its owner, change the owner with chown, or choose another place with --home DIR", dir, st.Uid, os.Geteuid())
	}
	return nil
}

//go:build unix

package keeper

import (
	"io/fs"
	"os"
	"syscall"
)

// sessionAttr puts the keeper into a session of its own, away from the host's
// terminal and from signals to its group.
func sessionAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

func ours(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Getuid()
}

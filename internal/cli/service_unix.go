//go:build unix

package cli

import (
	"io/fs"
	"os"
	"syscall"

	"github.com/holdfast-dev/holdfast/internal/proc"
)

func terminate(id proc.ID) error { return proc.Signal(id, syscall.SIGTERM) }

func kill(id proc.ID) error { return proc.Signal(id, syscall.SIGKILL) }

// ownerOf is the uid of a file's owner.
func ownerOf(info fs.FileInfo) int {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(st.Uid)
	}
	return os.Geteuid()
}

// ownSession gives a command a session of its own, without a terminal.
func ownSession() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

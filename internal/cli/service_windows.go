package cli

import (
	"io/fs"
	"os"
	"syscall"

	"github.com/holdfast-dev/holdfast/internal/proc"
)

func terminate(id proc.ID) error { return kill(id) }

func kill(id proc.ID) error {
	p, err := os.FindProcess(id.PID)
	if err != nil {
		return err
	}
	return p.Kill()
}

func ownerOf(fs.FileInfo) int { return os.Geteuid() }

func ownSession() *syscall.SysProcAttr { return nil }

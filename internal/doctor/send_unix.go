//go:build unix

package doctor

import (
	"syscall"

	"github.com/holdfast-dev/holdfast/internal/proc"
)

func send(id proc.ID, sig syscall.Signal) error { return proc.Signal(id, sig) }

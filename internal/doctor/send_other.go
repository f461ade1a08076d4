//go:build !unix

package doctor

import (
	"syscall"

	"github.com/holdfast-dev/holdfast/internal/proc"
)

func send(proc.ID, syscall.Signal) error { return proc.ErrUnsupported }

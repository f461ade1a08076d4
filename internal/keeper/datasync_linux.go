package keeper

import (
	"fmt"
	"os"
	"syscall"
)

// datasync makes a file's bytes and its length durable.
func datasync(f *os.File) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var syncErr error
	if err := raw.Control(func(fd uintptr) { syncErr = syscall.Fdatasync(int(fd)) }); err != nil {
		return err
	}
	if syncErr != nil {
		return fmt.Errorf("sync %s: %w", f.Name(), syncErr)
	}
	return nil
}

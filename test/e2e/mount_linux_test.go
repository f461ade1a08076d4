package e2e

import "syscall"

// detach takes a filesystem away, also where something still holds it.
func detach(dir string) error { return syscall.Unmount(dir, syscall.MNT_DETACH) }

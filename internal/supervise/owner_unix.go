//go:build unix

package supervise

import (
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// owner is whose process it is, or -1.
func owner(pid int) int {
	info, err := os.Stat("/proc/" + strconv.Itoa(pid))
	if err != nil {
		return -1
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return -1
	}
	return int(st.Uid)
}

// writable asks the kernel, which knows of access lists and read-only disks as
// modes do not. A file made to try would be seen by who watches the folder.
func writable(dir string) bool {
	return unix.Faccessat(unix.AT_FDCWD, dir, unix.W_OK|unix.X_OK, unix.AT_EACCESS) == nil
}

package proc

import (
	"bytes"
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Args returns the arguments of the process, its name first. A process may
// have overwritten them.
func Args(pid int) ([]string, error) {
	args, _, err := procArgs(pid)
	return args, err
}

// Cwd returns the working folder of the process. Only its own user and root
// may know it.
func Cwd(pid int) (string, error) {
	// PROC_PIDVNODEPATHINFO: two of a vnode_info of 152 bytes and a path of
	// 1024; the first is the working folder.
	const callPidInfo, vnodePathInfo, pathAt, size = 2, 9, 152, 2 * (152 + 1024)
	buf := make([]byte, size)
	//nolint:gosec,staticcheck // no wrapper without cgo
	n, _, errno := syscall.Syscall6(unix.SYS_PROC_INFO, callPidInfo, uintptr(pid), vnodePathInfo, 0,
		uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)))
	if errno == unix.ESRCH {
		return "", ErrGone
	}
	if errno != 0 {
		return "", fmt.Errorf("read working folder of process %d: %w", pid, errno)
	}
	if n != size {
		return "", fmt.Errorf("read working folder of process %d: the kernel gave %d bytes", pid, n)
	}
	path, _, _ := bytes.Cut(buf[pathAt:pathAt+1024], []byte{0})
	return string(path), nil
}

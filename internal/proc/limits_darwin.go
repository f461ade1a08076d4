package proc

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// NoFile returns the limits of this process; the kernel tells those of no
// other one.
func NoFile(pid int) (soft, hard uint64, err error) { return limit(pid, syscall.RLIMIT_NOFILE) }

// NProc returns the limits of processes of this process's user.
func NProc(pid int) (soft, hard uint64, err error) { return limit(pid, unix.RLIMIT_NPROC) }

func limit(pid, which int) (soft, hard uint64, err error) {
	if pid != os.Getpid() {
		return 0, 0, fmt.Errorf("read the limits of process %d: %w", pid, ErrUnsupported)
	}
	var lim syscall.Rlimit
	if err := syscall.Getrlimit(which, &lim); err != nil {
		return 0, 0, fmt.Errorf("read limit: %w", err)
	}
	return lim.Cur, lim.Max, nil
}

// Effort is how much a process works; of waiting nothing is known here.
func Effort(pid int) (Work, error) {
	// struct proc_taskinfo of <sys/proc_info.h>; times in the machine's ticks.
	const callPidInfo, taskInfo, size, userAt, systemAt = 2, 4, 96, 16, 24
	var buf [size]byte
	//nolint:gosec,staticcheck // no wrapper without cgo
	n, _, errno := syscall.Syscall6(unix.SYS_PROC_INFO, callPidInfo, uintptr(pid), taskInfo, 0,
		uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)))
	if errno == unix.ESRCH {
		return Work{}, ErrGone
	}
	if errno != 0 {
		return Work{}, fmt.Errorf("read times of process %d: %w", pid, errno)
	}
	if n != size {
		return Work{}, fmt.Errorf("read times of process %d: the kernel gave %d bytes", pid, n)
	}
	ticks := binary.NativeEndian.Uint64(buf[userAt:]) + binary.NativeEndian.Uint64(buf[systemAt:])
	perSecond, err := unix.SysctlUint64("hw.tbfrequency")
	if err != nil || perSecond == 0 {
		perSecond = uint64(time.Second)
	}
	high, low := bits.Mul64(ticks, uint64(time.Second))
	ns, _ := bits.Div64(high%perSecond, low, perSecond)
	return Work{CPU: time.Duration(ns)}, nil
}

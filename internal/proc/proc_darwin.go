package proc

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/holdfast-dev/holdfast/internal/failpoint"
)

const zombie = 5 // SZOMB

// Lookup returns what the kernel says about a pid, zombies included. Where
// there is no such process the error is ErrGone.
func Lookup(pid int) (Info, error) {
	if pid <= 0 {
		return Info{}, ErrGone
	}
	k, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if errors.Is(err, unix.EIO) || errors.Is(err, unix.ESRCH) || err == nil && int(k.Proc.P_pid) != pid {
		return Info{}, ErrGone // the kernel answers an unknown pid with no bytes
	}
	if err != nil {
		return Info{}, fmt.Errorf("read process %d: %w", pid, err)
	}
	return fromKinfo(k), nil
}

func fromKinfo(k *unix.KinfoProc) Info {
	name := k.Proc.P_comm[:]
	if i := bytes.IndexByte(name, 0); i >= 0 {
		name = name[:i]
	}
	start := k.Proc.P_starttime
	return Info{
		ID:      ID{PID: int(k.Proc.P_pid), Start: uint64(start.Sec)*1e6 + uint64(start.Usec)},
		Parent:  int(k.Eproc.Ppid),
		Group:   int(k.Eproc.Pgid),
		Command: string(name),
		Zombie:  k.Proc.P_stat == zombie,
	}
}

// All lists every process that can be seen.
func All() ([]Info, error) {
	list, err := unix.SysctlKinfoProcSlice("kern.proc.all")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	all := make([]Info, 0, len(list))
	for i := range list {
		all = append(all, fromKinfo(&list[i]))
	}
	return all, nil
}

// Environ returns the environment with which the process was started. Of
// Apple's restricted programs (/bin/sh, sleep) the kernel hides it, even from
// root: the result is empty.
func Environ(pid int) ([]string, error) {
	_, env, err := procArgs(pid)
	return env, err
}

// procArgs returns the arguments and the environment of the process.
func procArgs(pid int) (args, env []string, err error) {
	raw, err := unix.SysctlRaw("kern.procargs2", pid)
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EINVAL) {
		return nil, nil, ErrGone
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read arguments and environment of process %d: %w", pid, err)
	}
	if len(raw) < 4 {
		return nil, nil, nil
	}
	// The layout: argc, the path, zero padding, argc arguments, the environment.
	argc := int(binary.NativeEndian.Uint32(raw))
	rest := raw[4:]
	i := bytes.IndexByte(rest, 0)
	if i < 0 {
		return nil, nil, nil
	}
	rest = bytes.TrimLeft(rest[i:], "\x00")
	for len(rest) > 0 {
		word, after, _ := bytes.Cut(rest, []byte{0})
		switch {
		case len(args) < argc:
			args = append(args, string(word))
		case len(word) == 0:
			return args, env, nil
		default:
			env = append(env, string(word))
		}
		rest = after
	}
	return args, env, nil
}

// Descriptors lists what the process has open, without targets. Of this
// process itself the descriptor that reads the list is left out.
func Descriptors(pid int) ([]Descriptor, error) {
	if pid != os.Getpid() {
		return listFDs(pid)
	}
	dir, err := os.Open("/dev/fd")
	if err != nil {
		return nil, fmt.Errorf("list descriptors: %w", err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("list descriptors: %w", err)
	}
	var fds []Descriptor
	for _, name := range names {
		if fd, err := strconv.Atoi(name); err == nil && fd != int(dir.Fd()) {
			fds = append(fds, Descriptor{FD: fd})
		}
	}
	return fds, nil
}

// listFDs asks proc_info(2) for PROC_PIDLISTFDS: pairs of descriptor and type,
// four bytes each.
func listFDs(pid int) ([]Descriptor, error) {
	const callPidInfo, listFDs = 2, 1
	buf := make([]byte, 8*10240)
	//nolint:gosec,staticcheck // no wrapper without cgo
	n, _, errno := syscall.Syscall6(unix.SYS_PROC_INFO, callPidInfo, uintptr(pid), listFDs, 0,
		uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)))
	if errno == unix.ESRCH {
		return nil, ErrGone
	}
	if errno != 0 {
		return nil, fmt.Errorf("list descriptors of process %d: %w", pid, errno)
	}
	var fds []Descriptor
	for i := 0; i+8 <= int(n); i += 8 {
		fds = append(fds, Descriptor{FD: int(binary.NativeEndian.Uint32(buf[i:]))})
	}
	return fds, nil
}

// BootID names this boot of the machine. Identities and monotonic times of
// another boot mean nothing in this one.
func BootID() (string, error) {
	if id := failpoint.Value("boot_id"); id != "" {
		return id, nil
	}
	id, err := unix.Sysctl("kern.bootsessionuuid")
	if err != nil {
		return "", fmt.Errorf("read boot id: %w", err)
	}
	return id, nil
}

// Monotonic is the time since boot, in which the machine's sleep counts:
// macOS's CLOCK_MONOTONIC goes on while the machine sleeps.
func Monotonic() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic("proc: no monotonic clock: " + err.Error())
	}
	return time.Duration(ts.Nano())
}

// SetSubreaper is not possible here: orphans go to launchd, and are found by
// their parent while it lives, by the group, and by the mark.
func SetSubreaper() error { return ErrUnsupported }

// CloseOnExecFrom marks every open descriptor from fd on, so that no program
// started from here inherits it. It closes nothing.
func CloseOnExecFrom(fd int) error {
	fds, err := Descriptors(os.Getpid())
	if err != nil {
		return err
	}
	for _, d := range fds {
		if d.FD >= fd {
			syscall.CloseOnExec(d.FD)
		}
	}
	return nil
}

// StartAttr returns the attributes for a child in a process group of its own.
func StartAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// FreeDisk returns the bytes that this user may still write to the file system
// of the folder.
func FreeDisk(dir string) (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("look at the disk of %s: %w", dir, err)
	}
	return st.Bavail * uint64(st.Bsize), nil
}

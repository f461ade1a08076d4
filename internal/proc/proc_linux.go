package proc

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-dev/holdfast/internal/failpoint"
)

// Lookup returns what the kernel says about a pid, zombies included. Where
// there is no such process the error is ErrGone.
func Lookup(pid int) (Info, error) {
	if pid <= 0 {
		return Info{}, ErrGone
	}
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return Info{}, ErrGone
	}
	if err != nil {
		return Info{}, fmt.Errorf("read process %d: %w", pid, err)
	}
	return parseStat(stat)
}

// userHZ is in what Linux counts processor time for programs, on every machine.
const userHZ = 100

// parseStat reads a line of /proc/PID/stat. The command stands in parentheses
// and may hold any byte, a ")" too: fields count from the last one.
func parseStat(stat []byte) (Info, error) {
	open, end := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
	if open < 0 || end < open {
		return Info{}, fmt.Errorf("parse process state %.60q", stat)
	}
	fields := strings.Fields(string(stat[end+1:]))
	if len(fields) < 22 {
		return Info{}, fmt.Errorf("parse process state %.60q", stat)
	}
	var failed error
	number := func(i int) int64 {
		n, err := strconv.ParseInt(fields[i], 10, 64)
		failed = errors.Join(failed, err)
		return n
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(stat[:open])))
	info := Info{
		ID:      ID{PID: pid, Start: uint64(number(19))},
		Parent:  int(number(1)),
		Group:   int(number(2)),
		Session: int(number(3)),
		Command: string(stat[open+1 : end]),
		RSS:     number(21) * int64(os.Getpagesize()),
		CPU:     time.Duration(number(11)+number(12)) * (time.Second / userHZ),
		Zombie:  fields[0] == "Z" || fields[0] == "X" || fields[0] == "x",
	}
	if err = errors.Join(err, failed); err != nil {
		return Info{}, fmt.Errorf("parse process state: %w", err)
	}
	return info, nil
}

// All lists every process that can be seen. One that ends meanwhile is left out.
func All() ([]Info, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	all := make([]Info, 0, len(names))
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if info, err := Lookup(pid); err == nil {
			all = append(all, info)
		}
	}
	return all, nil
}

// Environ returns the environment with which the process was started.
func Environ(pid int) ([]string, error) {
	env, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return nil, ErrGone
	}
	if err != nil {
		return nil, fmt.Errorf("read environment of process %d: %w", pid, err)
	}
	return strings.FieldsFunc(string(env), func(r rune) bool { return r == 0 }), nil
}

// Descriptors lists what the process has open. Of this process itself the
// descriptor that reads the list is left out.
func Descriptors(pid int) ([]Descriptor, error) {
	path := "/proc/" + strconv.Itoa(pid) + "/fd"
	dir, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, ErrGone
	}
	if err != nil {
		return nil, fmt.Errorf("list descriptors of process %d: %w", pid, err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ESRCH) {
		return nil, ErrGone
	}
	if err != nil {
		return nil, fmt.Errorf("list descriptors of process %d: %w", pid, err)
	}
	var fds []Descriptor
	for _, name := range names {
		fd, err := strconv.Atoi(name)
		if err != nil || pid == os.Getpid() && fd == int(dir.Fd()) {
			continue
		}
		target, err := os.Readlink(path + "/" + name)
		if err != nil {
			continue
		}
		fds = append(fds, Descriptor{FD: fd, Target: target})
	}
	return fds, nil
}

// BootID names this boot of the machine. Identities and monotonic times of
// another boot mean nothing in this one.
func BootID() (string, error) {
	if id := failpoint.Value("boot_id"); id != "" {
		return id, nil
	}
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("read boot id: %w", err)
	}
	return strings.TrimSpace(string(id)), nil
}

// Monotonic is the time since boot, in which the machine's sleep counts.
func Monotonic() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic("proc: no boot time clock: " + err.Error())
	}
	return time.Duration(ts.Nano())
}

// SetSubreaper makes orphaned descendants children of this process.
func SetSubreaper() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become subreaper: %w", err)
	}
	return nil
}

// CloseOnExecFrom marks every open descriptor from fd on, so that no program
// started from here inherits it. It closes nothing.
func CloseOnExecFrom(fd int) error {
	err := unix.CloseRange(uint(fd), math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC)
	if err == nil {
		return nil
	}
	// Kernels before 5.11.
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

// StartAttr returns the attributes for a child in a process group of its own
// that gets SIGTERM when the thread that started it ends: start it from a
// goroutine that is locked to its thread for ever.
func StartAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}

// FreeDisk returns the bytes that this user may still write to the file system
// of the folder.
func FreeDisk(dir string) (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("look at the disk of %s: %w", dir, err)
	}
	return st.Bavail * uint64(st.Bsize), nil
}

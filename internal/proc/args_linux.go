package proc

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// Args returns the arguments of the process, its name first. A process may
// have overwritten them; of a kernel thread or a zombie there are none.
func Args(pid int) ([]string, error) {
	line, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return nil, ErrGone
	}
	if err != nil {
		return nil, fmt.Errorf("read arguments of process %d: %w", pid, err)
	}
	text := strings.TrimRight(string(line), "\x00")
	if text == "" {
		return nil, nil
	}
	return strings.Split(text, "\x00"), nil
}

// Cwd returns the working folder of the process. Only its own user and root
// may know it.
func Cwd(pid int) (string, error) {
	dir, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/cwd")
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return "", ErrGone
	}
	if err != nil {
		return "", fmt.Errorf("read working folder of process %d: %w", pid, err)
	}
	return dir, nil
}

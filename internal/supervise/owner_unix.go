//go:build unix

package supervise

import (
	"os"
	"strconv"
	"syscall"
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

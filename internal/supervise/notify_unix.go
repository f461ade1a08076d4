//go:build unix

package supervise

import (
	"os"

	"golang.org/x/sys/unix"
)

func pipeOf(fd uintptr) *os.File {
	var st unix.Stat_t
	if err := unix.Fstat(int(fd), &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFIFO {
		return nil
	}
	flags, err := unix.FcntlInt(fd, unix.F_GETFL, 0)
	if err != nil || flags&unix.O_ACCMODE == unix.O_RDONLY {
		return nil
	}
	unix.CloseOnExec(int(fd))
	return os.NewFile(fd, "notification-fd")
}

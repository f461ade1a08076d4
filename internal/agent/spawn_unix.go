//go:build unix

package agent

import (
	"os"
	"os/exec"
	"syscall"
)

var suffixes = []string{""}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// ownSession gives the command a session, and so a process group, of its own:
// it has no terminal to stop on, and its end takes its children with it.
func ownSession(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}

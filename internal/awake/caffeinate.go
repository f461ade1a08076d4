//go:build !windows

package awake

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// caffeinated holds a Mac awake by a child, `caffeinate -i cat`: caffeinate's
// assertion against idle sleep lasts as long as cat, and cat lasts as long as
// the pipe that this process keeps open. So it ends with this process, by kill
// -9 and by a replaced process image too. `caffeinate -w PID` would outlive the
// latter; IOKit itself would need cgo.
type caffeinated struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	once  sync.Once
	ended chan struct{} // closed when the child was waited for
	limit time.Duration // of its orderly end
}

// caffeinate starts the child. name is the program, for tests.
func caffeinate(_ context.Context, name string) (hold, error) {
	cmd := exec.Command(name, "-i", "cat")   //nolint:gosec // its path is fixed, but for tests
	cmd.Env = []string{"PATH=/usr/bin:/bin"} // nothing of ours is its business
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is ours to handle
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("make a pipe for caffeinate: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start caffeinate: %w", errors.Join(err, stdin.Close()))
	}
	c := &caffeinated{cmd: cmd, stdin: stdin, ended: make(chan struct{}), limit: limit}
	go func() {
		defer close(c.ended)
		_ = cmd.Wait() // how it ended does not matter: it no longer holds
	}()
	return c, nil
}

func (c *caffeinated) Lost() <-chan struct{} { return c.ended }

func (c *caffeinated) Close() error {
	c.once.Do(func() { _ = c.stdin.Close() }) // closed already where the child was waited for
	select {
	case <-c.ended:
		return nil
	case <-time.After(c.limit):
	}
	err := syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL) // the group: cat as well
	<-c.ended
	return errors.Join(errors.New("caffeinate did not end when asked"), err)
}

// mainsFromPmset reads the first line of `pmset -g batt`.
func mainsFromPmset(out []byte) (bool, error) {
	line, _, _ := bytes.Cut(out, []byte("\n"))
	switch text := string(line); {
	case strings.Contains(text, "'AC Power'"):
		return true, nil
	case strings.Contains(text, "'Battery Power'"), strings.Contains(text, "'UPS Power'"):
		return false, nil
	}
	return false, fmt.Errorf("pmset says %q", line)
}

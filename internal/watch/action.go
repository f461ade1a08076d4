package watch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/holdfast-dev/holdfast/internal/proc"
	"github.com/holdfast-dev/holdfast/internal/supervise"
)

// Action is what is done about trouble; the zero Action is nothing.
type Action struct {
	Exec    string // for sh -c
	Signal  syscall.Signal
	Restart supervise.Unit
}

// actLimit is how long a command or a supervisor may take.
const actLimit = 5 * time.Minute

// None tells whether nothing is to be done.
func (a Action) None() bool { return a.Exec == "" && a.Signal == 0 && a.Restart.Zero() }

func (a Action) String() string {
	switch {
	case a.Exec != "":
		return "exec " + a.Exec
	case a.Signal != 0:
		return "signal " + signalName(a.Signal)
	case !a.Restart.Zero():
		return "restart " + a.Restart.String()
	}
	return ""
}

// signals that make sense here, by the numbers that all systems of ours share.
var signals = map[string]syscall.Signal{"HUP": 1, "INT": 2, "QUIT": 3, "ABRT": 6, "KILL": 9, "TERM": 15}

// ParseSignal reads TERM, SIGTERM, term or 15.
func ParseSignal(text string) (syscall.Signal, error) {
	name := strings.TrimPrefix(strings.ToUpper(text), "SIG")
	if s, ok := signals[name]; ok {
		return s, nil
	}
	if n, err := strconv.Atoi(text); err == nil && n > 0 && n < 65 {
		return syscall.Signal(n), nil
	}
	return 0, fmt.Errorf("%q is no signal; write for example TERM, INT, HUP, KILL or a number", text)
}

func signalName(s syscall.Signal) string {
	for name, known := range signals {
		if known == s {
			return name
		}
	}
	return strconv.Itoa(int(s))
}

func (a Action) do(ctx context.Context, f *Finding, targets []proc.ID) error {
	ctx, cancel := context.WithTimeout(ctx, actLimit)
	defer cancel()
	switch {
	case a.Exec != "":
		return a.exec(ctx, f, targets)
	case a.Signal != 0:
		if len(targets) == 0 {
			return errors.New("there is no process to signal")
		}
		for _, id := range targets {
			if err := proc.Signal(id, a.Signal); err != nil {
				return err
			}
		}
		return nil
	}
	return a.Restart.Restart(ctx)
}

func (a Action) exec(ctx context.Context, f *Finding, targets []proc.ID) error {
	if runtime.GOOS == "windows" {
		return proc.ErrUnsupported
	}
	pid := ""
	if len(targets) > 0 {
		pid = strconv.Itoa(targets[0].PID)
	}
	cmd := exec.CommandContext(ctx, "sh", "-c", a.Exec)
	cmd.Env = append(os.Environ(), "WATCH_PID="+pid, "WATCH_TEXT="+f.Text, "WATCH_DESCRIPTORS="+strconv.Itoa(f.Count))
	// What it says goes where our own complaints go; standard output is for JSON.
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	// A command may leave something running that keeps its output open.
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		return fmt.Errorf("run %q: %w", a.Exec, err)
	}
	return nil
}

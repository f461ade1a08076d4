package supervise

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// toolDeadline bounds one command of a supervisor. The longest of them wait
// themselves for a host that stops.
const toolDeadline = 40 * time.Second

// runner runs a supervisor's tool with a text on its stdin, and returns what it
// printed, also beside an error.
type runner interface {
	run(ctx context.Context, stdin, tool string, args ...string) (string, error)
}

// toolError says which command failed, with its words.
type toolError struct {
	command string
	out     string
	err     error
}

func (e *toolError) Error() string {
	if e.out == "" {
		return fmt.Sprintf("%s: %v", e.command, e.err)
	}
	hint := ""
	if text := strings.ToLower(e.out); strings.Contains(text, "denied") || strings.Contains(text, "not permitted") {
		hint = ". The service belongs to another user: use sudo"
	}
	return fmt.Sprintf("%s: %v: %s%s", e.command, e.err, e.out, hint)
}

func (e *toolError) Unwrap() error { return e.err }

// code is the exit code of the tool that failed, or -1.
func code(err error) int {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	return -1
}

// tools runs the real ones.
type tools struct{}

func (tools) run(ctx context.Context, stdin, tool string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, toolDeadline)
	defer cancel()
	cmd := exec.CommandContext(ctx, tool, args...)
	if stdin != "" {
		cmd.Stdin = strings.NewReader(stdin)
	}
	// A tool that leaves a child with our pipe must not hold us.
	cmd.WaitDelay = time.Second
	out := &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = out, out
	err := cmd.Run()
	text := strings.TrimRight(out.String(), "\n")
	if err == nil {
		return text, nil
	}
	if errors.Is(err, exec.ErrNotFound) {
		err = fmt.Errorf("the program %s is not installed, or not on this PATH: %w", tool, err)
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = fmt.Errorf("no answer within %s: %w", toolDeadline, ctx.Err())
	}
	return text, &toolError{command: strings.Join(append([]string{tool}, args...), " "), out: text, err: err}
}

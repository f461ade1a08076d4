package builtin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast/internal/acp"
)

const (
	// showEvery is how often a command's growing output is shown; each time
	// is all of it, because the protocol's lists replace.
	showEvery = 150 * time.Millisecond
	// maxOutput is how much of a command's output is kept: its end.
	maxOutput = 64 << 10
	// endGrace is how long a cancelled command has after SIGTERM.
	endGrace = 2 * time.Second
	// pipeGrace is how long the output is read after the command has ended:
	// a process that it left in the background may hold it open for ever.
	pipeGrace = 300 * time.Millisecond
)

func (c *call) run(ctx context.Context, use Use) (Outcome, error) {
	input := rawJSON(map[string]string{"command": use.Command, "cwd": c.turn.session.cwd})
	err := c.begin(acp.ToolCall{Title: use.Command, Name: "run", Kind: acp.ToolExecute, Status: acp.ToolPending, RawInput: input})
	if err != nil {
		return Outcome{}, err
	}
	ok, err := c.ask(ctx, "run "+use.Command, "Allow this command in this session", acp.ToolCallUpdate{
		Title: &use.Command, Kind: new(acp.ToolExecute), Status: new(acp.ToolPending), RawInput: input,
	})
	if err != nil {
		return Outcome{}, err
	}
	if !ok {
		return c.deny()
	}
	if err := c.progress(acp.ToolInProgress); err != nil {
		return Outcome{}, err
	}
	out := &output{}
	exit, err := c.execute(ctx, use.Command, out)
	text := out.String()
	content := []acp.ToolContent{}
	if text != "" {
		content = append(content, acp.TextContent(text))
	}
	switch {
	case ctx.Err() != nil:
		status := acp.ToolFailed
		_ = c.turn.update(acp.ToolCallUpdate{ID: c.id, Status: &status, Content: append(content, acp.TextContent("Cancelled; the command was ended."))})
		return Outcome{}, ctx.Err()
	case err != nil:
		return c.fail("The command was not run: %v.", err)
	}
	status := acp.ToolCompleted
	if exit.code != 0 || exit.signal != "" {
		status = acp.ToolFailed
	}
	err = c.turn.update(acp.ToolCallUpdate{ID: c.id, Status: &status, Content: content, RawOutput: exit.raw()})
	return Outcome{OK: status == acp.ToolCompleted, Text: exit.String()}, err
}

// exitState is how a command ended.
type exitState struct {
	code   int
	signal string
}

func (e exitState) String() string {
	if e.signal != "" {
		return "ended by " + e.signal
	}
	return fmt.Sprintf("exit code %d", e.code)
}

func (e exitState) raw() []byte {
	if e.signal != "" {
		return rawJSON(map[string]string{"signal": e.signal})
	}
	return rawJSON(map[string]int{"exitCode": e.code})
}

// execute runs a command in the session's folder and shows its output while it
// grows. When ctx ends, the command's process group ends.
func (c *call) execute(ctx context.Context, command string, out *output) (exitState, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return exitState{}, err
	}
	defer func() { _ = r.Close() }()
	cmd := shell(command)
	cmd.Dir = c.turn.session.cwd
	cmd.Env = append(os.Environ(), "TERM=dumb")
	cmd.Stdout, cmd.Stderr = w, w
	err = cmd.Start()
	_ = w.Close()
	if err != nil {
		return exitState{}, cause(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = out.ReadFrom(r)
	}()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()

	tick := time.NewTicker(showEvery)
	defer tick.Stop()
	shown := 0
	for {
		select {
		case <-tick.C:
			n := out.Total()
			if n == shown {
				continue
			}
			shown = n
			if err := c.progress(acp.ToolInProgress, acp.TextContent(out.String())); err != nil {
				// Nobody sees it any more; ctx ends in a moment, too.
				endGroup(cmd.Process, ended)
				return exitState{}, err
			}
		case err := <-ended:
			timer := time.AfterFunc(pipeGrace, func() { _ = r.SetReadDeadline(time.Now()) })
			<-read
			timer.Stop()
			return stateOf(cmd, err)
		case <-ctx.Done():
			endGroup(cmd.Process, ended)
			_ = r.SetReadDeadline(time.Now())
			<-read
			return exitState{}, ctx.Err()
		}
	}
}

// endGroup asks a group to end, then makes it, and waits for its leader.
func endGroup(p *os.Process, ended <-chan error) {
	terminate(p)
	timer := time.NewTimer(endGrace)
	defer timer.Stop()
	select {
	case <-ended:
		kill(p) // the leader may have gone before the others
	case <-timer.C:
		kill(p)
		<-ended
	}
}

func stateOf(cmd *exec.Cmd, err error) (exitState, error) {
	var e *exec.ExitError
	if err != nil && !errors.As(err, &e) {
		return exitState{}, err
	}
	return exitState{code: cmd.ProcessState.ExitCode(), signal: signalOf(cmd.ProcessState)}, nil
}

// output keeps the end of what a command says.
type output struct {
	mu    sync.Mutex
	b     []byte
	total int
}

// ReadFrom reads until the end of r or its deadline.
func (o *output) ReadFrom(r *os.File) (int64, error) {
	buf := make([]byte, 32<<10)
	var total int64
	for {
		n, err := r.Read(buf)
		o.mu.Lock()
		o.b = append(o.b, buf[:n]...)
		o.total += n
		if len(o.b) > 2*maxOutput {
			o.b = append(o.b[:0], o.b[len(o.b)-maxOutput:]...)
		}
		o.mu.Unlock()
		total += int64(n)
		if err != nil {
			return total, err
		}
	}
}

// Total is how many bytes came.
func (o *output) Total() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.total
}

// String is the output's end as text; what is no text is replaced.
func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	b := o.b
	if len(b) > maxOutput {
		b = b[len(b)-maxOutput:]
	}
	text := strings.ToValidUTF8(string(b), "\uFFFD")
	if o.total > len(b) {
		text = fmt.Sprintf("… %d bytes before this were dropped\n", o.total-len(b)) + text
	}
	return text
}

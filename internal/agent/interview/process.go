package interview

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast/internal/agent"
	"github.com/holdfast-dev/holdfast/internal/proc"
)

// process is a running agent, in a process group of its own.
type process struct {
	cmd           *exec.Cmd
	mark          string
	stdin, stdout *os.File // our ends
	stderr        *os.File
	gone          chan struct{} // closed when it has been reaped
	quiet         chan struct{} // closed when its standard error has been read to the end

	mu   sync.Mutex
	last []byte // of its standard error
}

func start(a agent.Agent, mark, work, tmp string) (_ *process, err error) {
	p := &process{mark: mark, gone: make(chan struct{}), quiet: make(chan struct{})}
	var files []*os.File
	pipe := func() (r, w *os.File) {
		if err == nil {
			r, w, err = os.Pipe()
			files = append(files, r, w)
		}
		return r, w
	}
	theirIn, in := pipe()
	out, theirOut := pipe()
	errOut, theirErr := pipe()
	if err == nil {
		p.stdin, p.stdout, p.stderr = in, out, errOut
		p.cmd = exec.Command(a.Command[0], a.Command[1:]...)
		p.cmd.Dir = work
		p.cmd.Env = append(slices.DeleteFunc(slices.Clone(a.Env), func(kv string) bool {
			name, _, _ := strings.Cut(kv, "=")
			return name == proc.MarkVar || name == "TMPDIR"
		}), "TMPDIR="+tmp, proc.MarkVar+"="+mark)
		p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = theirIn, theirOut, theirErr
		ownGroup(p.cmd)
		err = p.cmd.Start()
	}
	if err != nil {
		for _, f := range files {
			if f != nil {
				_ = f.Close()
			}
		}
		return nil, err
	}
	_, _, _ = theirIn.Close(), theirOut.Close(), theirErr.Close()
	go func() {
		defer close(p.gone)
		_ = p.cmd.Wait() // its state says how
	}()
	go p.listen()
	return p, nil
}

// listen keeps the last words of standard error.
func (p *process) listen() {
	defer close(p.quiet)
	buf := make([]byte, 4<<10)
	for {
		n, err := p.stderr.Read(buf)
		p.mu.Lock()
		p.last = append(p.last, buf[:n]...)
		p.last = p.last[max(0, len(p.last)-keptWords):]
		p.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// words are its last line on standard error, for the end of a sentence.
func (p *process) words() string {
	p.mu.Lock()
	text := strings.TrimSpace(strings.ToValidUTF8(string(p.last), ""))
	p.mu.Unlock()
	text = text[strings.LastIndexByte(text, '\n')+1:]
	if r := []rune(text); len(r) > 200 {
		text = string(r[:200]) + "…"
	}
	if text == "" {
		return ""
	}
	return ", and said: " + text
}

// status is how it ended; it has.
func (p *process) status() string { return p.cmd.ProcessState.String() }

func (p *process) wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-p.gone:
		return true
	case <-t.C:
	case <-ctx.Done():
	}
	return false
}

// end ends the agent as a keeper does, and then whatever carries its mark. When
// ctx has ended it asks for nothing first.
func (p *process) end(ctx context.Context) error {
	_ = p.stdin.Close()
	if !p.wait(ctx, grace) {
		signalGroup(p.cmd.Process.Pid, terminate)
		if !p.wait(ctx, grace) {
			signalGroup(p.cmd.Process.Pid, kill)
		}
	}
	err := p.sweep()
	// A process that the kernel holds keeps neither us nor the pipes.
	if !p.wait(context.Background(), sweepTime) {
		err = errors.Join(err, fmt.Errorf("it was killed and is still there (pid %d): the kernel holds it", p.cmd.Process.Pid))
	}
	_, _ = p.stdout.Close(), p.stderr.Close()
	<-p.quiet
	return err
}

// sweep kills what carries the mark until nothing does.
func (p *process) sweep() error {
	for deadline := time.Now().Add(sweepTime); ; time.Sleep(10 * time.Millisecond) {
		left, err := proc.ByMark(p.mark)
		if errors.Is(err, proc.ErrUnsupported) || err == nil && len(left) == 0 {
			return nil
		}
		if err != nil {
			return fmt.Errorf("look for what it has left running: %w", err)
		}
		for _, one := range left {
			_ = proc.Signal(one.ID, kill)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("it left process %d (%s), which was killed and is still there", left[0].PID, left[0].Command)
		}
	}
}

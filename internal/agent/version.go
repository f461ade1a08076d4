package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"time"
)

const (
	versionDeadline = 5 * time.Second
	maxProbeOutput  = 64 << 10
)

// versions asks programs for their version and remembers the answer for as
// long as the file stays the same.
type versions struct {
	ctx    context.Context
	cancel context.CancelFunc

	mu    sync.Mutex
	cache map[stamp]answer
}

// stamp is a program's file, and what it was asked.
type stamp struct {
	path, args string
	mtime      time.Time
	size       int64
}

type answer struct {
	text string
	err  error // of this time; never remembered
}

func newVersions() *versions {
	ctx, cancel := context.WithCancel(context.Background())
	return &versions{ctx: ctx, cancel: cancel, cache: map[stamp]answer{}}
}

// known returns the version of the program if it has been asked before.
func (v *versions) known(path string) string {
	s, err := stampOf(path, []string{"--version"})
	if err != nil {
		return ""
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.cache[s].text
}

// ask returns the version that the program prints. A program that is merely
// slow has none and no error.
func (v *versions) ask(ctx context.Context, path string, args []string, env map[string]string) (string, error) {
	a := v.run(ctx, path, args, env)
	return versionOf(a.text), a.err
}

// check runs the program and tells whether it succeeds.
func (v *versions) check(ctx context.Context, path string, args []string, env map[string]string) error {
	return v.run(ctx, path, args, env).err
}

func stampOf(path string, args []string) (stamp, error) {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}, err
	}
	return stamp{path: path, args: strings.Join(args, "\x00"), mtime: info.ModTime(), size: info.Size()}, nil
}

func (v *versions) run(ctx context.Context, path string, args []string, env map[string]string) answer {
	s, err := stampOf(path, args)
	if err != nil {
		return answer{err: err}
	}
	v.mu.Lock()
	a, ok := v.cache[s]
	v.mu.Unlock()
	if ok {
		return a
	}
	ctx, cancel := context.WithTimeout(ctx, versionDeadline)
	defer cancel()
	defer context.AfterFunc(v.ctx, cancel)()
	out, err := probe(ctx, path, args, env)
	if ctx.Err() != nil {
		return answer{} // slow, or we were told to end: nothing is known
	}
	a = answer{text: lastLine(out)}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		a.err = fmt.Errorf("%s", exit.ProcessState)
		if a.text != "" {
			a.err = fmt.Errorf("%s: %s", exit.ProcessState, a.text)
		}
		a.text = ""
	} else if err != nil {
		a.err = err
	}
	if a.err != nil {
		return a // what it lacks may come without a change of its file
	}
	v.mu.Lock()
	v.cache[s] = a
	v.mu.Unlock()
	return a
}

// probe runs a program in a session of its own, without input, and returns
// the beginning of what it prints. All of it is killed when ctx ends.
func probe(ctx context.Context, path string, args []string, env map[string]string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "holdfast-probe-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	cmd := exec.CommandContext(ctx, path, args...)
	// Some unpack libraries into TMPDIR and leave them there.
	env = maps.Clone(env)
	env["TMPDIR"] = dir
	cmd.Env = flatten(env)
	cmd.Dir = dir
	out := &limited{max: maxProbeOutput}
	cmd.Stdout, cmd.Stderr = out, out
	// A helper that it leaves behind may hold the pipe.
	cmd.WaitDelay = 200 * time.Millisecond
	ownSession(cmd)
	err = cmd.Run()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil
	}
	return out.bytes(), err
}

// limited keeps the first max bytes written to it.
type limited struct {
	mu  sync.Mutex
	buf bytes.Buffer
	max int
}

var _ io.Writer = (*limited)(nil)

func (l *limited) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf.Write(p[:min(len(p), l.max-l.buf.Len())])
	return len(p), nil
}

func (l *limited) bytes() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Clone(l.buf.Bytes())
}

func lastLine(out []byte) string {
	text := strings.TrimSpace(string(out))
	if i := strings.LastIndexByte(text, '\n'); i >= 0 {
		text = text[i+1:]
	}
	text = strings.TrimSpace(text)
	if len(text) > 200 {
		text = text[:200]
	}
	return strings.ToValidUTF8(text, "")
}

var versionNumber = regexp.MustCompile(`\d+\.\d+(\.\d+)?[0-9A-Za-z.+-]*`)

// versionOf picks the number out of a line such as "codex-acp 2.6.0 (x64)".
func versionOf(line string) string {
	if m := versionNumber.FindString(line); m != "" {
		return strings.TrimRight(m, ".")
	}
	return line
}

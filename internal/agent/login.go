package agent

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	loginDeadline = 5 * time.Second
	// A shell that failed is asked again after this: the machine may have
	// been busy starting up.
	loginRetry   = 5 * time.Minute
	maxLoginText = 4 << 20
	lingering    = 500 * time.Millisecond
)

// login asks the login shell for its environment, once.
type login struct {
	service map[string]string
	home    string
	log     *slog.Logger
	timeout time.Duration

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex
	shell   map[string]string // nil: not known
	failed  time.Time         // of the last failure
	why     error             // it failed
	pending chan struct{}
}

func newLogin(o Options) *login {
	ctx, cancel := context.WithCancel(context.Background())
	l := &login{service: map[string]string{}, home: o.Home, log: o.Log, timeout: loginDeadline, ctx: ctx, cancel: cancel}
	for _, kv := range o.Env {
		// Windows has variables that begin with "=".
		if k, v, ok := strings.Cut(kv, "="); ok && k != "" {
			l.service[k] = v
		}
	}
	scrub(l.service)
	return l
}

// env returns a fresh map of the service's variables over the shell's, with
// one PATH of both.
func (l *login) env(ctx context.Context) map[string]string {
	shell := l.ask(ctx)
	out := make(map[string]string, len(shell)+len(l.service))
	for k, v := range shell {
		out[k] = v
	}
	for k, v := range l.service {
		out[k] = v
	}
	out["PATH"] = joinPath(shell["PATH"], filepath.SplitList(l.service["PATH"]))
	if out["HOME"] == "" && l.home != "" {
		out["HOME"] = l.home
	}
	return out
}

// ask returns the shell's environment, or nil if it cannot be had.
func (l *login) ask(ctx context.Context) map[string]string {
	l.mu.Lock()
	if l.shell != nil || l.ctx.Err() != nil || !l.failed.IsZero() && time.Since(l.failed) < loginRetry {
		defer l.mu.Unlock()
		return l.shell
	}
	if l.pending == nil {
		pending := make(chan struct{})
		l.pending = pending
		l.wg.Go(func() { l.fetch(pending) })
	}
	pending := l.pending
	l.mu.Unlock()
	select {
	case <-pending:
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.shell
}

func (l *login) fetch(done chan struct{}) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(l.ctx, l.timeout)
	defer cancel()
	shell := loginShell(l.service)
	env, err := askShell(ctx, shell, l.service)
	if err == nil {
		scrub(env)
		l.log.Debug("login shell asked", "shell", shell, "variables", len(env), "took", time.Since(began))
	} else if l.ctx.Err() == nil {
		l.log.Warn("the login shell did not tell its environment; agents get the service's own", "shell", shell, "err", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pending = nil
	if err != nil {
		l.failed, l.why = time.Now(), err
	} else {
		l.shell = env
	}
	close(done)
}

// loginShell returns the user's shell.
func loginShell(env map[string]string) string {
	if s := env["SHELL"]; filepath.IsAbs(s) {
		return s
	}
	if f, err := os.Open("/etc/passwd"); err == nil {
		defer f.Close()
		uid := strconv.Itoa(os.Getuid())
		for lines := bufio.NewScanner(f); lines.Scan(); {
			if parts := strings.Split(lines.Text(), ":"); len(parts) == 7 && parts[2] == uid && filepath.IsAbs(parts[6]) {
				return parts[6]
			}
		}
	}
	if runtime.GOOS == "darwin" {
		return "/bin/zsh"
	}
	return "/bin/sh"
}

// shellArgs are the arguments with which a shell reads what it reads at a
// login, and runs a script. Tools put their PATH lines into files that only
// an interactive shell reads, so it is interactive where that works without a
// terminal.
func shellArgs(shell, script string) ([]string, error) {
	switch filepath.Base(shell) {
	case "bash", "zsh", "fish", "ksh", "mksh", "yash":
		return []string{"-l", "-i", "-c", script}, nil
	case "sh", "dash", "ash":
		return []string{"-l", "-c", script}, nil
	}
	return nil, fmt.Errorf("%s is no shell that we know how to ask", shell)
}

// askShell runs the shell in a session of its own without input, and reads
// what its env prints between two marks: profiles print all kinds of things.
func askShell(ctx context.Context, shell string, service map[string]string) (map[string]string, error) {
	if runtime.GOOS == "windows" {
		return nil, errors.ErrUnsupported
	}
	var random [12]byte
	_, _ = rand.Read(random[:])
	mark := "hf" + hex.EncodeToString(random[:])
	// An old env has no -0; then values of several lines are lost.
	args, err := shellArgs(shell, "printf %s "+mark+"; env -0 2>/dev/null || env; printf %s "+mark)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, shell, args...)
	cmd.Env = flatten(service)
	if home := service["HOME"]; filepath.IsAbs(home) {
		if info, err := os.Stat(home); err == nil && info.IsDir() {
			cmd.Dir = home
		}
	}
	// A daemon that the profile starts inherits the pipe and may keep it for
	// ever, so we read up to the second mark and not to the end.
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	cmd.Stdout = w
	ownSession(cmd)
	if err := cmd.Start(); err != nil {
		_ = w.Close()
		return nil, err
	}
	_ = w.Close()
	defer func() { _ = cmd.Wait() }()
	stop := context.AfterFunc(ctx, func() { _ = r.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	text, err := between(io.LimitReader(r, maxLoginText), []byte(mark))
	if err != nil {
		cancel() // kills the shell's whole group
		if cause := context.Cause(ctx); ctx.Err() != nil && errors.Is(err, os.ErrDeadlineExceeded) {
			err = fmt.Errorf("no answer in time: %w", cause)
		}
		return nil, err
	}
	// What comes after the second mark is the shell's own business, for a
	// moment.
	time.AfterFunc(lingering, cancel)
	return parseEnv(text), nil
}

// between reads up to the second mark and returns what lies between the two.
func between(r io.Reader, mark []byte) ([]byte, error) {
	var buf []byte
	chunk := make([]byte, 32<<10)
	for {
		n, err := r.Read(chunk)
		buf = append(buf, chunk[:n]...)
		if _, rest, ok := bytes.Cut(buf, mark); ok {
			if text, _, ok := bytes.Cut(rest, mark); ok {
				return text, nil
			}
		}
		if errors.Is(err, io.EOF) {
			return nil, errors.New("its profile ended the shell, or prints without end")
		}
		if err != nil {
			return nil, err
		}
	}
}

var assignment = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*=`)

// parseEnv reads what env prints, with NULs or with lines.
func parseEnv(text []byte) map[string]string {
	sep := byte('\n')
	if bytes.IndexByte(text, 0) >= 0 {
		sep = 0
	}
	env := map[string]string{}
	for part := range bytes.SplitSeq(text, []byte{sep}) {
		if !assignment.Match(part) {
			continue
		}
		k, v, _ := strings.Cut(string(part), "=")
		env[k] = v
	}
	for _, k := range []string{"_", "PWD", "OLDPWD", "SHLVL"} {
		delete(env, k)
	}
	return env
}

// scrub removes what belongs to a supervisor or to the host: a child that
// inherits it would speak in our name.
func scrub(env map[string]string) {
	for k := range env {
		if matches(k, []string{
			"NOTIFY_SOCKET", "WATCHDOG_*", "LISTEN_*", "SUPERVISOR_*", "INVOCATION_ID", "JOURNAL_STREAM",
			"MANAGERPID", "SYSTEMD_EXEC_PID", "HOLDFAST_*",
		}) {
			delete(env, k)
		}
	}
}

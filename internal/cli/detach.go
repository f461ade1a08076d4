package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast/internal/config"
	"github.com/holdfast-dev/holdfast/internal/doctor"
	"github.com/holdfast-dev/holdfast/internal/proc"
)

const (
	// stderrKept is how much of the file for standard error a new start finds
	// and keeps.
	stderrKept = 1 << 20
	// detachPatience is how long a detached host may take to become healthy.
	detachPatience = 30 * time.Second
)

// detach starts `serve` in a session of its own and waits until it is healthy.
// This is the one way in which a command leaves a host behind.
func (a *app) detach(ctx context.Context, cfg *config.Config, f hostFlags) error {
	if runtime.GOOS == "windows" {
		return failf("--detach is not there on Windows yet. Keep `holdfast up` running in a terminal, or have the Task Scheduler start `holdfast serve` at logon")
	}
	if h, held, err := doctor.Look(cfg.Home); err == nil && held {
		return a.already(ctx, cfg, h)
	}
	exe, err := ownExe()
	if err != nil {
		return err
	}
	if err := config.EnsureHome(cfg.Home); err != nil {
		return &Error{Code: ExitNoRestart, Msg: err.Error(), Err: err}
	}
	out, begin, err := openStderr(stderrPath(cfg))
	if err != nil {
		return failf("open the file for the host's standard error: %w", err)
	}
	defer out.Close()
	// What our own parent left open (a terminal, a pipe) must not live on in
	// the host.
	if err := proc.CloseOnExecFrom(3); err != nil {
		return failf("keep descriptors from the host: %w", err)
	}
	cmd := exec.Command(exe, f.serveArgs(cfg)...)
	cmd.Env, cmd.Dir, cmd.SysProcAttr = a.Env, "/", ownSession()
	cmd.Stdout, cmd.Stderr = out, out
	logEnd := size(cfg.LogFile())
	if err := cmd.Start(); err != nil {
		return failf("start the host: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	h, err := a.awaitDetached(ctx, cfg, cmd.Process.Pid, ended)
	var died *exec.ExitError
	switch {
	case err == nil:
		return a.detached(ctx, cfg, h)
	case errors.As(err, &died):
		return &Error{Code: max(died.ExitCode(), ExitFailure), Msg: fmt.Sprintf("the host ended before it was healthy (%s).%s",
			died, words(since(stderrPath(cfg), begin), since(cfg.LogFile(), logEnd)))}
	case ctx.Err() != nil:
		// Nobody has been told of it yet.
		_ = cmd.Process.Signal(os.Interrupt)
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			return failf("broken off; the host (pid %d) still ends", cmd.Process.Pid)
		}
		return failf("broken off; the host that was starting was ended")
	}
	return err
}

// serveArgs are the arguments of the host that is to be like this command.
func (f hostFlags) serveArgs(cfg *config.Config) []string {
	args := []string{"serve", "--home", cfg.Home, "--log", "file"}
	if f.Addr != "" {
		args = append(args, "--addr", f.Addr)
	}
	for _, h := range f.AllowedHosts {
		args = append(args, "--allowed-hosts", h)
	}
	if f.InsecureBind {
		args = append(args, "--insecure-bind")
	}
	for _, p := range f.TrustedProxies {
		args = append(args, "--trusted-proxies", p)
	}
	for _, v := range [][2]string{{"--log-level", f.LogLevel}, {"--tls-cert", f.TLSCert}, {"--tls-key", f.TLSKey}, {"--base-path", f.BasePath}, {"--public-url", f.PublicURL}} {
		if v[1] != "" {
			args = append(args, v[0], v[1])
		}
	}
	return args
}

// openStderr opens the file and tells where this start's part of it begins.
func openStderr(path string) (*os.File, int64, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, 0, err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return nil, 0, err
	}
	n := size(path)
	if n > stderrKept {
		if err := f.Truncate(0); err != nil {
			f.Close()
			return nil, 0, err
		}
		n = 0
	}
	return f, n, nil
}

func size(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// since returns what was written to a file after the first n bytes, the last
// part of it where it is long.
func since(path string, n int64) []byte {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	end := size(path)
	if end < n {
		n = 0 // it was rotated meanwhile
	}
	text, _ := io.ReadAll(io.NewSectionReader(f, max(n, end-16<<10), end))
	return bytes.TrimSpace(text)
}

// words are the last lines of what a host printed, or of its log where it
// printed nothing.
func words(stderr, log []byte) string {
	text, from := stderr, "It said:"
	if len(text) == 0 {
		text, from = log, "The end of its log:"
	}
	if len(text) == 0 {
		return " It said nothing."
	}
	lines := strings.Split(string(text), "\n")
	var b strings.Builder
	b.WriteString(" " + from)
	for _, line := range lines[max(0, len(lines)-12):] {
		b.WriteString("\n  " + oneLine(strings.TrimPrefix(line, "holdfast: ")))
	}
	return b.String()
}

// awaitDetached waits until the host with the pid is healthy.
func (a *app) awaitDetached(ctx context.Context, cfg *config.Config, pid int, ended <-chan error) (doctor.Holder, error) {
	wait := a.progress("Starting")
	defer wait.stop()
	limit := time.NewTimer(detachPatience)
	defer limit.Stop()
	for {
		h, held, err := doctor.Look(cfg.Home)
		if err == nil && held && h.PID == pid && h.Address != "" && answers(ctx, h) {
			return h, nil
		}
		select {
		case err := <-ended:
			if err == nil {
				err = failf("the host was asked to stop before it was healthy")
			}
			return h, err
		case <-ctx.Done():
			return h, ctx.Err()
		case <-limit.C:
			return h, failf("the host (pid %d) was not healthy within %s and goes on trying. See what it does: holdfast logs -f. Stop it: holdfast stop", pid, detachPatience)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// detached tells a person about the host in the background.
func (a *app) detached(ctx context.Context, cfg *config.Config, h doctor.Holder) error {
	a.printf("Holdfast runs in the background at %s (pid %d).\n", h.URL(), h.PID)
	link, err := a.firstLink(ctx, cfg)
	switch {
	case err != nil:
		a.notef("No login link could be made (%v). Make one with: holdfast link\n", err)
	case link != "":
		a.printf("\nNobody has logged in yet. This link logs a browser in, once:\n\n  %s\n\n", link)
	}
	a.printf("Log   %s (holdfast logs -f)\nStop  holdfast stop\n", cfg.LogFile())
	return nil
}

// firstLink makes a login link where nobody has a login yet. A password counts
// as none here: a host does not tell whether it has one.
func (a *app) firstLink(ctx context.Context, cfg *config.Config) (_ string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	c, err := dial(ctx, cfg)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	var known struct {
		Tokens []login `json:"tokens"`
	}
	if err := c.call(ctx, http.MethodGet, "/control/tokens", nil, &known); err != nil || len(known.Tokens) > 0 {
		return "", err
	}
	var link struct {
		URL string `json:"url"`
	}
	err = c.call(ctx, http.MethodPost, "/control/link", map[string]string{"name": "first link"}, &link)
	return link.URL, err
}

// already tells of the host that holds the state folder.
func (a *app) already(ctx context.Context, cfg *config.Config, h doctor.Holder) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		if h.Address != "" && answers(ctx, h) {
			a.printf("A Holdfast runs already for the state folder %s: %s, pid %d, since %s.\n", cfg.Home, h.URL(), h.PID, when(h.Since))
			return nil
		}
		// It may be starting.
		if !pause(ctx, 200*time.Millisecond) {
			break
		}
		next, held, err := doctor.Look(cfg.Home)
		if err == nil && !held {
			return failf("the host that held the state folder (pid %d) has just ended. Try again", h.PID)
		}
		if err == nil {
			h = next
		}
	}
	return failf("a host holds the state folder %s (pid %d) and does not answer. See what it does: holdfast logs. End it: holdfast stop", cfg.Home, h.PID)
}

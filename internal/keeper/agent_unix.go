//go:build unix

package keeper

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/holdfast-dev/holdfast/internal/proc"
)

// agent is the agent's process and its descendants, which are all children of
// the keeper in the end: nothing else in the keeper starts a process.
type agent struct {
	mark string
	id   proc.ID

	stdin          *os.File // the keeper's ends of its pipes
	stdout, stderr *os.File

	// mu is held over start and register, over wait and deliver, and over the
	// signals of a sweep: a child that is not reaped keeps its pid.
	mu     sync.Mutex
	reaped bool
	status syscall.WaitStatus
	gone   chan struct{} // closed when the agent itself has been reaped
}

// startAgent starts the agent in a process group of its own. The error's
// errno is that of the failing call.
func startAgent(l *life) (*agent, error) {
	a := &agent{mark: l.Mark, gone: make(chan struct{})}
	env := agentEnv(l)
	// The fork would name the program where it means the folder.
	if info, err := os.Stat(l.Dir); err != nil {
		return nil, fmt.Errorf("enter the agent's folder: %w", err)
	} else if !info.IsDir() {
		return nil, fmt.Errorf("enter the agent's folder: %w", &os.PathError{Op: "chdir", Path: l.Dir, Err: syscall.ENOTDIR})
	}
	path, err := lookPath(l.Command[0], env, l.Dir)
	if err != nil {
		return nil, err
	}
	var theirs [3]*os.File
	var pipeErr error
	pipe := func() (r, w *os.File) {
		if pipeErr == nil {
			r, w, pipeErr = os.Pipe()
		}
		return r, w
	}
	theirs[0], a.stdin = pipe()
	a.stdout, theirs[1] = pipe()
	a.stderr, theirs[2] = pipe()
	if pipeErr != nil {
		return nil, fmt.Errorf("make pipes for the agent: %w", pipeErr)
	}
	started := make(chan error)
	go func() {
		// Never unlocked, never returning: the agent is told to end when the
		// thread that started it does.
		runtime.LockOSThread()
		started <- a.start(path, l, env, theirs[:])
		select {}
	}()
	err = <-started
	for _, f := range theirs {
		f.Close()
	}
	if err != nil {
		for _, f := range []*os.File{a.stdin, a.stdout, a.stderr} {
			f.Close()
		}
		return nil, err
	}
	return a, nil
}

func (a *agent) start(path string, l *life, env []string, files []*os.File) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	p, err := os.StartProcess(path, l.Command, &os.ProcAttr{Dir: l.Dir, Env: env, Files: files, Sys: proc.StartAttr()})
	if err != nil {
		return err
	}
	a.id, err = proc.Of(p.Pid)
	if err != nil {
		a.id = proc.ID{PID: p.Pid}
	}
	return p.Release()
}

func agentEnv(l *life) []string {
	env := slices.DeleteFunc(slices.Clone(l.Env), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return name == proc.MarkVar || name == "TMPDIR" || name == "HOLDFAST_FAILPOINT"
	})
	return append(env, proc.MarkVar+"="+l.Mark, "TMPDIR="+l.Tmp)
}

// lookPath finds the program as a shell would, in the agent's own PATH.
func lookPath(name string, env []string, dir string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	path := ""
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, "PATH="); ok {
			path = v
		}
	}
	found := syscall.ENOENT
	for _, folder := range filepath.SplitList(path) {
		if !filepath.IsAbs(folder) {
			folder = filepath.Join(dir, folder)
		}
		file := filepath.Join(folder, name)
		info, err := os.Stat(file)
		if err != nil || info.IsDir() {
			continue
		}
		if info.Mode()&0o111 != 0 {
			return file, nil
		}
		found = syscall.EACCES
	}
	return "", &os.PathError{Op: "find in PATH", Path: name, Err: found}
}

// reapAll collects the children that have ended; none is left when it returns
// false.
func (a *agent) reapAll() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return false // ECHILD
		case pid == 0:
			return true
		case pid == a.id.PID && !a.reaped:
			a.reaped, a.status = true, status
			close(a.gone)
		}
	}
}

// reap runs until stop is closed, on each SIGCHLD.
func (a *agent) reap(child <-chan os.Signal, stop <-chan struct{}) {
	// A signal may be lost while its channel is full; then one is in it.
	a.reapAll()
	for {
		select {
		case <-stop:
			return
		case <-child:
			a.reapAll()
		}
	}
}

// signalGroup signals what is in the agent's process group.
func (a *agent) signalGroup(sig syscall.Signal) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.reaped {
		syscall.Kill(-a.id.PID, sig) // ESRCH: nobody is there
		return
	}
	// The number may belong to a stranger's group by now.
	members, err := a.members()
	if err != nil {
		return
	}
	for _, p := range members {
		if p.Group == a.id.PID {
			proc.Signal(p.ID, sig)
		}
	}
}

// members lists the agent's tree: the keeper's descendants, and where there is
// no subreaper what carries the mark.
func (a *agent) members() ([]proc.Info, error) {
	self := os.Getpid()
	all, err := proc.All()
	if err != nil {
		return nil, err
	}
	tree := proc.Descendants(all, self)
	if runtime.GOOS != "linux" {
		var roots []int
		for _, p := range all {
			if p.PID != self && proc.HasMark(p.PID, a.mark) {
				roots = append(roots, p.PID)
			}
		}
		known := map[int]bool{self: true}
		for _, p := range tree {
			known[p.PID] = true
		}
		for _, p := range append(proc.Descendants(all, roots...), pick(all, roots)...) {
			if !known[p.PID] {
				known[p.PID] = true
				tree = append(tree, p)
			}
		}
	}
	return slices.DeleteFunc(tree, func(p proc.Info) bool { return p.Zombie }), nil
}

func pick(all []proc.Info, pids []int) []proc.Info {
	return slices.DeleteFunc(slices.Clone(all), func(p proc.Info) bool { return !slices.Contains(pids, p.PID) })
}

const sweepWithin = 10 * time.Second

// sweep kills the whole tree and returns what could not be killed in time.
func (a *agent) sweep() []proc.Info {
	deadline := time.Now().Add(sweepWithin)
	if runtime.GOOS != "linux" {
		return a.sweepMarked(deadline)
	}
	// Only children are killed: their pids are theirs until they are reaped.
	// What they leave behind becomes a child, until there is none.
	for a.reapAll() {
		if time.Now().After(deadline) {
			left, _ := a.members()
			return left
		}
		a.killChildren()
		time.Sleep(time.Millisecond)
	}
	return nil
}

func (a *agent) killChildren() {
	a.mu.Lock()
	defer a.mu.Unlock()
	all, err := proc.All()
	if err != nil {
		return
	}
	for _, p := range all {
		if p.Parent == os.Getpid() && !p.Zombie {
			syscall.Kill(p.PID, syscall.SIGKILL)
		}
	}
}

// sweepMarked is for systems without a subreaper: best effort.
func (a *agent) sweepMarked(deadline time.Time) []proc.Info {
	s := sweeper{mark: a.mark, known: map[proc.ID]bool{}, spare: os.Getpid()}
	if tree, err := a.members(); err == nil {
		for _, p := range tree {
			s.known[p.ID] = true
		}
	}
	for empty := 0; empty < 2; {
		left, err := s.round()
		if err != nil || time.Now().After(deadline) {
			return left
		}
		a.reapAll()
		if empty++; len(left) > 0 {
			empty = 0
		}
		time.Sleep(5 * time.Millisecond)
	}
	return nil
}

// exit says how the agent ended.
func (a *agent) exit() Exit {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case !a.reaped:
		return Exit{Code: -1, Error: "the agent could not be ended"}
	case a.status.Signaled():
		return Exit{Code: 128 + int(a.status.Signal()), Signal: a.status.Signal().String()}
	}
	return Exit{Code: a.status.ExitStatus()}
}

// startFailure is the exit of an agent that could not be started.
func startFailure(err error) Exit {
	e := Exit{Code: 127, Reason: ReasonStart, Error: err.Error()}
	if errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.ENOEXEC) {
		e.Code = 126
	}
	return e
}

package keeper

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/holdfast-dev/holdfast/internal/failpoint"
	"github.com/holdfast-dev/holdfast/internal/proc"
)

const (
	maxSocketPath = 100 // bytes; macOS takes 104 with the final zero
	maxTmpPath    = 48  // agents put sockets into their TMPDIR, too
	runPrefix     = "holdfast-"
)

// Start makes the epoch's folder, takes its lock, and forks `exe keeper dir`,
// to which it hands the lock: from the fork on a keeper lives, whatever becomes
// of this process. It returns the keeper's identity without waiting for the
// keeper; Dial does. The error is ErrLocked where a keeper lives in the folder,
// and ErrUsed where one has lived.
//
// The keeper is a child of this process: Remove reaps it.
func Start(exe, dir string, spec Spec) (proc.ID, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return proc.ID{}, fmt.Errorf("start keeper: %w", err)
	}
	if exe, err = filepath.Abs(exe); err != nil {
		return proc.ID{}, fmt.Errorf("start keeper: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return proc.ID{}, fmt.Errorf("start keeper: make its folder: %w", err)
	}
	lock, err := proc.Lock(filepath.Join(dir, fileLock))
	if err != nil {
		return proc.ID{}, fmt.Errorf("start keeper: %w", err)
	}
	// The close leaves the lock to the keeper, which has a copy.
	defer lock.Close()
	id, err := fork(exe, dir, lock, spec)
	if err != nil {
		return proc.ID{}, errors.Join(fmt.Errorf("start keeper: %w", err), proc.Unlock(lock))
	}
	failpoint.Hit("host.fork")
	if err := writeJSON(filepath.Join(dir, fileBorn), id); err != nil {
		// It lives; Kill finds it by its mark.
		return id, fmt.Errorf("note keeper's identity: %w", err)
	}
	return id, nil
}

func fork(exe, dir string, lock *os.File, spec Spec) (proc.ID, error) {
	for _, name := range []string{fileSpec, fileBorn, fileInfo, fileNotes, dirSpool} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			return proc.ID{}, fmt.Errorf("%w: it has %s", ErrUsed, name)
		}
	}
	if len(spec.Command) == 0 {
		return proc.ID{}, errors.New("no command for the agent")
	}
	l := life{Spec: spec}
	l.setDefaults()
	if l.SpoolCap <= 0 {
		l.SpoolCap = spoolCap(dir)
	}
	var err error
	if l.Boot, err = proc.BootID(); err != nil {
		return proc.ID{}, err
	}
	if err := l.place(dir); err != nil {
		return proc.ID{}, err
	}
	if err := writeJSON(filepath.Join(dir, fileSpec), &l); err != nil {
		return proc.ID{}, err
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return proc.ID{}, fmt.Errorf("open null device: %w", err)
	}
	defer null.Close()
	log, err := os.OpenFile(filepath.Join(dir, fileLog), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return proc.ID{}, fmt.Errorf("open keeper's log: %w", err)
	}
	defer log.Close()
	// What somebody opened without the mark must not live on in a keeper. The
	// lock is for an exec of this process, which copies descriptors under it.
	syscall.ForkLock.RLock()
	err = proc.CloseOnExecFrom(3)
	syscall.ForkLock.RUnlock()
	if err != nil {
		return proc.ID{}, err
	}
	p, err := os.StartProcess(exe, []string{exe, "keeper", dir}, &os.ProcAttr{ //nolint:gosec // our own binary
		Dir:   "/",
		Env:   keeperEnv(os.Environ(), spec.Mark),
		Files: []*os.File{null, log, log, lock},
		Sys:   sessionAttr(),
	})
	if err != nil {
		return proc.ID{}, err
	}
	defer p.Release()
	id, err := proc.Of(p.Pid)
	if err != nil {
		return proc.ID{}, fmt.Errorf("identify keeper: %w", err)
	}
	return id, nil
}

func spoolCap(dir string) int64 {
	free, err := proc.FreeDisk(dir)
	if err != nil {
		return defaultSpoolCap
	}
	return int64(max(min(free/20, defaultSpoolCap), smallestSpoolCap))
}

// keeperEnv is the environment of a keeper: the host's, without what tells a
// program that a supervisor watches it, and with a frugal runtime, whose
// figures are in the notes on memory: set from inside it would cost more.
func keeperEnv(host []string, mark string) []string {
	env := slices.DeleteFunc(slices.Clone(host), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		switch name {
		case "NOTIFY_SOCKET", "GOGC", "GOMAXPROCS", "GOMEMLIMIT", proc.MarkVar:
			return true
		}
		for _, prefix := range []string{"WATCHDOG_", "LISTEN_", "SUPERVISOR_"} {
			if strings.HasPrefix(name, prefix) {
				return true
			}
		}
		return false
	})
	return append(env, proc.MarkVar+"="+mark, "GOGC=20", "GOMAXPROCS=1")
}

// place chooses where socket and TMPDIR lie: in the epoch's folder, or where
// its path is too long for sockets in a private one outside.
func (l *life) place(dir string) error {
	l.Socket = filepath.Join(dir, fileSock)
	l.Tmp = filepath.Join(dir, dirTmp)
	if len(l.Socket) < maxSocketPath && len(l.Tmp) <= maxTmpPath {
		return nil
	}
	run, err := makeRun(dir)
	if err != nil {
		return err
	}
	l.Run = run
	l.Tmp = filepath.Join(run, dirTmp)
	if len(l.Socket) >= maxSocketPath {
		l.Socket = filepath.Join(run, fileSock)
	}
	return nil
}

// makeRun makes the private folder. Others may write to its parent, so one
// that is there already must be a folder of ours that nobody else can enter.
func makeRun(dir string) (string, error) {
	sum := sha256.Sum256([]byte(dir))
	parent := os.TempDir()
	if len(parent) > 64 {
		parent = "/tmp"
	}
	name := runPrefix + strconv.Itoa(os.Getuid()) + "-" + hex.EncodeToString(sum[:6])
	run := filepath.Join(parent, name)
	err := os.Mkdir(run, 0o700)
	if errors.Is(err, fs.ErrExist) {
		var info fs.FileInfo
		if info, err = os.Lstat(run); err == nil && (!info.IsDir() || info.Mode().Perm() != 0o700 || !ours(info)) {
			// Somebody else's, on purpose or not: a name that cannot be guessed.
			run, err = os.MkdirTemp(parent, name+"-")
		}
	}
	if err != nil {
		return "", fmt.Errorf("make folder for sockets: %w", err)
	}
	return run, nil
}

// Sweep ends every process that carries the mark, and their descendants, after
// their keeper has died: by pid and start time, until none is left or ctx ends.
// It returns what is left. It would end a living keeper as well.
func Sweep(ctx context.Context, mark string) (left []proc.Info, err error) {
	if mark == "" {
		return nil, errors.New("sweep: no mark")
	}
	s := sweeper{mark: mark, known: map[proc.ID]bool{}}
	// A process is without an environment for a moment while it execs, so one
	// empty listing proves nothing.
	for empty := 0; empty < 2; {
		if left, err = s.round(); err != nil {
			return nil, fmt.Errorf("sweep: %w", err)
		}
		pause := 2 * time.Millisecond
		if len(left) > 0 {
			empty = 0
		} else {
			empty++
			pause = 10 * time.Millisecond
		}
		select {
		case <-ctx.Done():
			return left, nil
		case <-time.After(pause):
		}
	}
	return nil, nil
}

// sweeper remembers the processes that it has seen: one whose environment
// shows no mark is known by a parent that has ended since.
type sweeper struct {
	mark  string
	known map[proc.ID]bool
	spare int // a pid that is left alone with the mark; its children are not
}

// round kills what it finds once, and returns what it found.
func (s *sweeper) round() ([]proc.Info, error) {
	all, err := proc.All()
	if err != nil {
		return nil, err
	}
	self := os.Getpid()
	byPID := make(map[int]proc.Info, len(all))
	var roots []int
	for _, p := range all {
		byPID[p.PID] = p
		if p.PID == self || p.PID == s.spare {
			continue
		}
		if s.known[p.ID] || !p.Zombie && proc.HasMark(p.PID, s.mark) {
			roots = append(roots, p.PID)
		}
	}
	found := proc.Descendants(all, roots...)
	for _, pid := range roots {
		found = append(found, byPID[pid])
	}
	left := found[:0]
	for _, p := range found {
		if p.PID == self || p.PID == s.spare {
			continue
		}
		s.known[p.ID] = true
		if p.Zombie {
			proc.Reap(p.ID, 0)
			continue
		}
		if err := proc.Signal(p.ID, syscall.SIGKILL); errors.Is(err, proc.ErrGone) {
			continue
		}
		left = append(left, p)
	}
	return left, nil
}

// End has the keeper of the folder end its agent and itself, and waits until its
// lock is free. One that has not ended when ctx ends is killed, and what it kept
// is left to Sweep.
func End(ctx context.Context, dir string) error {
	info, err := ReadInfo(dir)
	if err != nil {
		return fmt.Errorf("end keeper: %w", err)
	}
	if held, err := Held(dir); err != nil || !held {
		return err
	}
	if err := proc.Signal(info.Keeper, syscall.SIGTERM); err != nil && !errors.Is(err, proc.ErrGone) {
		return fmt.Errorf("end keeper: %w", err)
	}
	for {
		held, err := Held(dir)
		if err != nil {
			return fmt.Errorf("end keeper: %w", err)
		}
		if !held {
			proc.Reap(info.Keeper, time.Second)
			return nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return Kill(dir)
		}
	}
}

// Kill ends the keeper of the folder, which gives no hello, with SIGKILL, and
// waits until its lock is free. What it kept is left to Sweep. It is found by
// pid and start time, from its own file or from what Start noted; where neither
// was written, by its mark.
func Kill(dir string) error {
	held, err := Held(dir)
	if err != nil {
		return fmt.Errorf("kill keeper: %w", err)
	}
	ids, err := keepersOf(dir)
	if err != nil {
		return fmt.Errorf("kill keeper: %w", err)
	}
	for _, id := range ids {
		if !held {
			break
		}
		if err := proc.Signal(id, syscall.SIGKILL); err != nil && !errors.Is(err, proc.ErrGone) {
			return fmt.Errorf("kill keeper: %w", err)
		}
	}
	for deadline := time.Now().Add(helloWithin); ; time.Sleep(5 * time.Millisecond) {
		held, err := Held(dir)
		if err != nil {
			return fmt.Errorf("kill keeper: %w", err)
		}
		if !held {
			break
		}
		if time.Now().After(deadline) {
			return errors.New("kill keeper: its lock is still held")
		}
	}
	for _, id := range ids {
		proc.Reap(id, time.Second)
	}
	return nil
}

// keepersOf returns the identities under which the folder's keeper may live. A
// lock that is held proves that they are of this boot.
func keepersOf(dir string) ([]proc.ID, error) {
	var l life
	if err := readJSON(filepath.Join(dir, fileSpec), &l); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return nil, err
	}
	var ids []proc.ID
	if info, err := ReadInfo(dir); err == nil {
		ids = append(ids, info.Keeper)
	}
	var born proc.ID
	if err := readJSON(filepath.Join(dir, fileBorn), &born); err == nil && !slices.Contains(ids, born) {
		ids = append(ids, born)
	}
	if len(ids) > 0 || l.Mark == "" {
		return ids, nil
	}
	marked, err := proc.ByMark(l.Mark)
	for _, p := range marked {
		ids = append(ids, p.ID)
	}
	return ids, err
}

// Remove deletes the folder of an ended epoch, its socket and the agent's
// TMPDIR, and reaps the keeper where it was a child of this process. The error
// wraps ErrLocked while a keeper lives. A folder that is not there is no error.
func Remove(dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("remove epoch: %w", err)
	}
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	lock, err := proc.Lock(filepath.Join(dir, fileLock))
	if err != nil {
		return fmt.Errorf("remove epoch: %w", err)
	}
	defer lock.Close()
	ids, err := keepersOf(dir)
	if err != nil {
		return fmt.Errorf("remove epoch: %w", err)
	}
	for _, id := range ids {
		proc.Reap(id, time.Second)
	}
	var l life
	if err := readJSON(filepath.Join(dir, fileSpec), &l); err == nil && l.Run != "" &&
		strings.HasPrefix(filepath.Base(l.Run), runPrefix) {
		if err := removeTree(l.Run); err != nil {
			return fmt.Errorf("remove epoch: %w", err)
		}
	}
	if err := removeTree(dir); err != nil {
		return fmt.Errorf("remove epoch: %w", err)
	}
	return nil
}

// removeTree deletes a folder, also where something in it was made read-only,
// as caches are.
func removeTree(dir string) error {
	if os.RemoveAll(dir) == nil {
		return nil
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("remove %s: %w", dir, err)
	}
	defer root.Close()
	// What cannot be opened up shows when it is removed.
	_ = fs.WalkDir(root.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			_ = root.Chmod(path, 0o700)
		}
		return nil
	})
	return os.RemoveAll(dir)
}

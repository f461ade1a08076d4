//go:build unix

package keeper

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/holdfast-dev/holdfast/internal/failpoint"
	"github.com/holdfast-dev/holdfast/internal/proc"
)

const lockFD = 3

// How long an agent has after its stdin has closed, after SIGTERM, and with
// its stdout held open by what it left.
const (
	afterEOF  = 3 * time.Second
	afterTERM = 2 * time.Second
	afterExit = 2 * time.Second
	afterLast = 10 * time.Second // for the host to commit the exit record
)

// Main is the keeper process: `holdfast keeper DIR`, with the epoch's lock as
// descriptor 3. It returns the exit code when the agent has ended and its exit
// record is on disk and, with a host there, committed by it.
func Main(args []string) int {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	// Before anything can start a program: what the host left open goes no
	// further, and the lock is ours alone.
	if err := proc.CloseOnExecFrom(lockFD); err != nil {
		log.Error("mark descriptors", "err", err)
		return 1
	}
	if len(args) != 1 {
		log.Error("holdfast keeper is started by the host, with a folder")
		return 2
	}
	lock, err := heldLock(args[0])
	if err != nil {
		log.Error("holdfast keeper is started by the host, with the lock of its folder", "err", err)
		return 2
	}
	defer lock.Close()
	failpoint.Hit("keeper.born")
	k, err := newKeeper(args[0], log)
	if err != nil {
		log.Error("begin", "err", err)
		return 1
	}
	if err := k.run(); err != nil {
		log.Error("keep", "err", err)
		return 1
	}
	return 0
}

// heldLock returns descriptor 3, which must be the folder's lock file, locked.
func heldLock(dir string) (*os.File, error) {
	f := os.NewFile(lockFD, filepath.Join(dir, fileLock))
	if f == nil {
		return nil, errors.New("no descriptor 3")
	}
	have, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("look at descriptor 3: %w", err)
	}
	want, err := os.Stat(f.Name())
	if err != nil {
		return nil, fmt.Errorf("look at the lock: %w", err)
	}
	if !os.SameFile(have, want) {
		return nil, errors.New("descriptor 3 is not the lock")
	}
	return f, proc.LockFile(f)
}

type keeper struct {
	life
	dir  string
	log  *slog.Logger
	self proc.ID

	spool  *spoolWriter
	notes  *os.File
	server *server
	inbox  *inbox
	agent  *agent // nil where it could not be started
	print  ring   // what the agent prints beside the protocol
	info   Info

	signals chan os.Signal
	child   chan os.Signal

	mu     sync.Mutex
	reason string        // why the agent is to end; "" while it is not
	asked  chan struct{} // closed with reason
	forced chan struct{}
	force  bool
	ended  bool
}

func newKeeper(dir string, log *slog.Logger) (*keeper, error) {
	k := &keeper{
		dir: dir, log: log,
		signals: make(chan os.Signal, 4), child: make(chan os.Signal, 1),
		asked: make(chan struct{}), forced: make(chan struct{}),
	}
	// Taken, not ignored: an ignored signal would be ignored by the agent too.
	signal.Notify(k.signals, syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM)
	signal.Notify(k.child, syscall.SIGCHLD)
	if err := readJSON(filepath.Join(dir, fileSpec), &k.life); err != nil {
		return nil, err
	}
	k.setDefaults()
	if err := proc.SetSubreaper(); err != nil && !errors.Is(err, proc.ErrUnsupported) {
		return nil, err
	}
	if _, err := proc.SetNoFile(k.NoFile); err != nil {
		return nil, err
	}
	var err error
	if k.self, err = proc.Self(); err != nil {
		return nil, err
	}
	binary, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find own binary: %w", err)
	}
	k.info = Info{
		Protocol: Protocol, Keeper: k.self, Socket: k.Socket, Binary: binary, Boot: k.Boot,
		Epoch: k.Epoch, Session: k.Session, StartedAt: time.Now().UTC(),
	}
	if _, err := os.Lstat(filepath.Join(dir, fileInfo)); err == nil {
		return nil, ErrUsed
	}
	if k.server, err = newServer(k, k.Socket); err != nil {
		return nil, err
	}
	// Before the agent: from here on the keeper can be found.
	if err := writeJSON(filepath.Join(dir, fileInfo), k.info); err != nil {
		return nil, err
	}
	k.spool, err = newSpoolWriter(filepath.Join(dir, dirSpool), k.SpoolCap, k.SegmentSize,
		k.server.poke, func(st Status) { k.server.trouble("spool", st) })
	if err != nil {
		return nil, err
	}
	k.notes, err = os.OpenFile(filepath.Join(dir, fileNotes), os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("create notes: %w", err)
	}
	if err := os.MkdirAll(k.Tmp, 0o700); err != nil {
		return nil, fmt.Errorf("make the agent's folder for temporary files: %w", err)
	}
	return k, nil
}

// run keeps the agent until its end.
func (k *keeper) run() error {
	stop := make(chan struct{})
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(stop)

	a, startErr := startAgent(&k.life)
	var stdin io.WriteCloser = discard{}
	if startErr == nil {
		k.agent = a
		k.info.Agent = a.id
		stdin = a.stdin
		wg.Go(func() { a.reap(k.child, stop) })
	} else {
		k.log.Error("start the agent", "err", startErr)
	}
	if err := writeJSON(filepath.Join(k.dir, fileInfo), k.info); err != nil {
		k.log.Error("note the agent's identity", "err", err) // the hello tells it as well
	}
	notes := &noteWriter{f: k.notes, insist: func(what string, do func() error) {
		insist(what, do, func(st Status) { k.server.trouble("notes", st) })
	}}
	k.inbox = newInbox(stdin, notes, func(n uint64, at time.Time) {
		k.server.tell(jsonFrame(frameWritten, msgWritten{N: n, At: at}))
	})
	wg.Go(func() {
		k.spool.syncEverySecond(stop, func(err error) { k.log.Error("sync the spool", "err", err) })
	})
	wg.Go(func() { k.obeySignals(stop) })
	wg.Go(func() { k.watchLeases(stop) })
	// Last, when everything that a host can ask for is there.
	k.server.wg.Go(k.server.accept)
	defer func() {
		k.server.close()
		if k.Run != "" {
			os.Remove(k.Run) // empty, where nothing went wrong
		}
	}()

	var exit Exit
	if startErr != nil {
		exit = startFailure(startErr)
	} else {
		exit = k.supervise()
	}
	k.finish(exit)
	return nil
}

// discard stands for the stdin of an agent that was not started.
type discard struct{}

func (discard) Write([]byte) (int, error) { return 0, os.ErrClosed }
func (discard) Close() error              { return nil }

// supervise serves the agent's pipes until it and all that it left have ended.
func (k *keeper) supervise() Exit {
	a := k.agent
	outDone, errDone, inDone := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(inDone)
		k.inbox.run(func(err error) { k.log.Warn("agent takes no more lines", "err", err) })
	}()
	go func() {
		defer close(outDone)
		out := &outlet{spool: k.spool, look: k.runUnderWay, seen: k.seen, beside: k.print.line}
		if err := out.copy(&drain{f: a.stdout}); err != nil {
			k.log.Error("read the agent's stdout", "err", err)
		}
	}()
	go func() {
		defer close(errDone)
		if _, err := io.Copy(&k.print, a.stderr); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			k.log.Error("read the agent's stderr", "err", err)
		}
	}()

	select {
	case <-outDone:
	case <-a.gone:
	case <-k.asked:
	}
	left := k.endAgent(outDone)
	// All that held the pipes is gone, or cannot be ended: what is in them is
	// read, and no more waited for.
	k.spool.lift()
	soon := time.Now().Add(time.Second)
	a.stdout.SetReadDeadline(soon) // drain reads on what is there
	a.stderr.SetReadDeadline(soon)
	<-outDone
	<-errDone
	k.inbox.abort()
	<-inDone
	a.stdout.Close()
	a.stderr.Close()

	exit := a.exit()
	exit.Reason, exit.Left = k.endReason(), left
	return exit
}

// drain reads a pipe whose deadline means: take what is there, and wait for
// no more.
type drain struct {
	f    *os.File
	last bool
}

// Read implements io.Reader.
func (d *drain) Read(p []byte) (int, error) {
	if !d.last {
		n, err := d.f.Read(p)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		d.last = true
		d.f.SetReadDeadline(time.Time{})
	}
	raw, err := d.f.SyscallConn()
	if err != nil {
		return 0, err
	}
	n := 0
	var readErr error
	err = raw.Read(func(fd uintptr) bool {
		n, readErr = syscall.Read(int(fd), p)
		return true
	})
	switch {
	case err != nil:
		return 0, err
	case errors.Is(readErr, syscall.EINTR):
		return 0, nil
	case n <= 0:
		return 0, io.EOF // empty, or held by nobody
	}
	return n, nil
}

// endAgent ends what still runs of the agent, in order, and sweeps.
func (k *keeper) endAgent(outDone <-chan struct{}) (left []proc.Info) {
	a := k.agent
	k.inbox.finish()
	over := func(within time.Duration) bool {
		t := time.NewTimer(within)
		defer t.Stop()
		out, gone := outDone, a.gone
		for out != nil || gone != nil {
			select {
			case <-out:
				out = nil
			case <-gone:
				gone = nil
			case <-t.C:
				return false
			case <-k.forced:
				return false
			}
		}
		return true
	}
	exited := false
	select {
	case <-a.gone:
		exited = true
	default:
	}
	switch {
	case exited && k.endReason() == ReasonSelf:
		// Something of its own holds its stdout.
		over(afterExit)
	case over(afterEOF):
	default:
		k.inbox.abort()
		if !k.isForced() {
			a.signalGroup(syscall.SIGTERM)
			over(afterTERM)
		}
		a.signalGroup(syscall.SIGKILL)
	}
	return a.sweep()
}

// end asks for the agent's end. The first reason stands; force may come later.
func (k *keeper) end(reason string, force bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.reason == "" {
		k.reason = reason
		close(k.asked)
	}
	if force && !k.force {
		k.force = true
		close(k.forced)
	}
}

func (k *keeper) isForced() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.force
}

func (k *keeper) endReason() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.reason == "" {
		return ReasonSelf
	}
	return k.reason
}

func (k *keeper) runUnderWay() bool {
	running, _ := k.inbox.running()
	return running
}

// seen looks whether a line of the agent's ends the run.
func (k *keeper) seen(line []byte) {
	id := responseID(line)
	if id == "" || !k.inbox.responded(id, proc.Monotonic()) {
		return
	}
	if err := k.spool.sync(); err != nil {
		k.log.Error("sync the spool", "err", err)
	}
}

// finish records how the agent ended, tidies up, and gives a host the time to
// commit it.
func (k *keeper) finish(exit Exit) {
	exit.At = time.Now().UTC()
	if text := k.print.tail().Text; len(text) > 0 {
		k.spool.append(KindStderr, text)
	}
	data, err := json.Marshal(exit)
	if err != nil {
		panic("keeper: encode exit: " + err.Error()) // our own plain struct
	}
	k.mu.Lock()
	k.ended = true
	k.mu.Unlock()
	last := k.spool.append(KindExit, data)
	if err := k.spool.sync(); err != nil {
		k.log.Error("sync the spool", "err", err)
	}
	k.log.Info("agent ended", "code", exit.Code, "reason", exit.Reason, "error", exit.Error, "left", len(exit.Left))
	if err := removeTree(k.Tmp); err != nil {
		k.log.Error("remove the agent's temporary files", "err", err)
	}
	for deadline := time.Now().Add(afterLast); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if _, _, alone := k.server.alone(); alone || k.spool.trimmedThrough() >= last {
			return
		}
	}
	k.log.Warn("the host did not commit the exit record; it is on disk")
}

func (k *keeper) hello() Hello {
	h := Hello{Protocol: Protocol, Epoch: k.Epoch, Keeper: k.self, Agent: k.info.Agent, Tail: true}
	h.In, h.Intent, h.Written, h.Running = k.inbox.state()
	h.First, h.Last = k.spool.bounds()
	k.mu.Lock()
	h.Ended = k.ended
	k.mu.Unlock()
	h.Running = h.Running && !h.Ended
	return h
}

func (k *keeper) tree(id uint64) msgTree {
	m := msgTree{ID: id}
	if k.agent == nil {
		return m
	}
	var err error
	if m.Processes, err = k.agent.members(); err != nil {
		m.Error = err.Error()
	}
	return m
}

func (k *keeper) obeySignals(stop <-chan struct{}) {
	told := false
	for {
		select {
		case <-stop:
			return
		case sig := <-k.signals:
			if sig == syscall.SIGTERM {
				k.end(ReasonSignal, told) // told twice: at once
				told = true
			}
		}
	}
}

// watchLeases ends the agent when there has been no host for too long. It
// looks again and again, because timers stand still while the machine sleeps.
func (k *keeper) watchLeases(stop <-chan struct{}) {
	shortest := min(k.Leases.Running, k.Leases.Idle, k.Leases.Stopped)
	every := time.NewTicker(min(max(shortest/10, 10*time.Millisecond), 30*time.Second))
	defer every.Stop()
	for {
		select {
		case <-stop:
			return
		case <-every.C:
		}
		k.server.rebind()
		since, left, alone := k.server.alone()
		if !alone {
			continue
		}
		running, idleSince := k.inbox.running()
		lease := k.Leases.Idle
		switch {
		case left:
			lease = k.Leases.Stopped
		case running:
			lease = k.Leases.Running
		default:
			since = max(since, idleSince)
		}
		if proc.Monotonic()-since >= lease {
			k.log.Info("no host for too long", "lease", lease, "running", running)
			k.end(ReasonLease, false)
			return
		}
	}
}

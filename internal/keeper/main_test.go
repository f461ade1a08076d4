//go:build unix

package keeper

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/holdfast-dev/holdfast/internal/proc"
)

// TestMain is also the keeper and the scripted agent.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "keeper":
			os.Exit(Main(os.Args[2:]))
		case "agent":
			os.Exit(agentMain(os.Args[2:]))
		case "start": // a host that the test kills
			dir := os.Args[2]
			if _, err := Start(os.Args[0], dir, testSpec(os.Args[0], dir)); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
			os.Exit(0)
		case "sleep":
			time.Sleep(5 * time.Minute)
			os.Exit(0)
		}
	}
	// The race detector lets each process wait a second before it exits.
	os.Setenv("GORACE", "atexit_sleep_ms=0")
	goleak.VerifyTestMain(m)
}

// agentMain obeys its lines. Flags: stubborn (ignores EOF and SIGTERM), deaf
// (reads nothing), helper (starts a process in a session of its own first),
// hidden (the same, without our mark in its environment),
// leave (starts a child that holds stdout, and exits).
func agentMain(flags []string) int {
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	self, _ := os.Executable()
	spawn := func(attr *syscall.SysProcAttr, stdout io.Writer, env ...string) {
		cmd := exec.Command(self, "sleep")
		cmd.Env = env
		cmd.SysProcAttr = attr
		cmd.Stdout = stdout
		if err := cmd.Start(); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		fmt.Fprintf(out, "helper %d\n", cmd.Process.Pid)
		out.Flush()
	}
	if slices.Contains(flags, "stubborn") {
		signal.Ignore(syscall.SIGTERM)
	}
	if slices.Contains(flags, "helper") {
		spawn(&syscall.SysProcAttr{Setsid: true}, nil)
	}
	if slices.Contains(flags, "hidden") {
		spawn(&syscall.SysProcAttr{Setsid: true}, nil, "NOTHING=1")
	}
	if slices.Contains(flags, "leave") {
		spawn(&syscall.SysProcAttr{Setsid: true}, os.Stdout)
		return 7
	}
	if slices.Contains(flags, "deaf") {
		fmt.Fprintln(out, "deaf")
		out.Flush()
		time.Sleep(time.Minute)
	}
	in := bufio.NewReader(os.Stdin)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			break
		}
		verb, arg, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		n, _ := strconv.Atoi(arg)
		switch verb {
		case "say":
			fmt.Fprintln(out, arg)
		case "raw":
			text, _ := strconv.Unquote(arg)
			out.WriteString(text)
		case "big":
			for range n {
				out.WriteByte('x')
			}
			out.WriteByte('\n')
		case "flood":
			for i := range n {
				fmt.Fprintf(out, "line %d\n", i+1)
			}
		case "size":
			fmt.Fprintln(out, len(line)-1)
		case "stderr":
			fmt.Fprintln(os.Stderr, arg)
		case "env":
			b, _ := json.Marshal(os.Environ())
			fmt.Fprintln(out, string(b))
		case "fds":
			fds, _ := proc.Descriptors(os.Getpid())
			b, _ := json.Marshal(fds)
			fmt.Fprintln(out, string(b))
		case "limit":
			// Go raises its own, and gives children what it was given.
			b, _ := exec.Command("/bin/sh", "-c", "ulimit -n").Output()
			out.Write(b)
		case "ids":
			sid, _, _ := syscall.Syscall(syscall.SYS_GETSID, 0, 0, 0)
			fmt.Fprintln(out, os.Getpid(), syscall.Getpgrp(), sid)
		case "file":
			os.MkdirAll(filepath.Join(os.Getenv("TMPDIR"), "d"), 0o755)
			os.WriteFile(filepath.Join(os.Getenv("TMPDIR"), "d", arg), nil, 0o400)
			os.Chmod(filepath.Join(os.Getenv("TMPDIR"), "d"), 0o500)
			fmt.Fprintln(out, os.Getenv("TMPDIR"))
		case "helper":
			spawn(&syscall.SysProcAttr{Setsid: true}, nil)
		case "exit":
			out.Flush()
			return n
		}
		out.Flush()
	}
	if slices.Contains(flags, "stubborn") {
		time.Sleep(time.Minute)
	}
	return 0
}

// life1 is one keeper under test.
type life1 struct {
	t    testing.TB
	dir  string
	spec Spec
	id   proc.ID
}

func begin(t testing.TB, change func(*Spec), flags ...string) *life1 {
	t.Helper()
	return beginIn(t, filepath.Join(t.TempDir(), "e"), change, flags...)
}

func beginIn(t testing.TB, dir string, change func(*Spec), flags ...string) *life1 {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	spec := testSpec(exe, dir, flags...)
	spec.Dir = t.TempDir()
	if change != nil {
		change(&spec)
	}
	// The benchmarks of memory want the binary that people run.
	id, err := Start(cmp.Or(os.Getenv("HOLDFAST_BIN"), exe), dir, spec)
	if err != nil {
		t.Fatal(err)
	}
	l := &life1{t: t, dir: dir, spec: spec, id: id}
	t.Cleanup(l.remove)
	return l
}

// remove leaves nothing of the life, and reports what cannot be removed.
func (l *life1) remove() {
	t := l.t
	if err := Kill(l.dir); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if left, err := Sweep(ctx, l.spec.Mark); err != nil || len(left) > 0 {
		t.Errorf("sweep: left %v, err %v", left, err)
	}
	if t.Failed() {
		log, _ := os.ReadFile(filepath.Join(l.dir, fileLog))
		t.Logf("keeper's log:\n%s", log)
	}
	if err := Remove(l.dir); err != nil {
		t.Error(err)
	}
}

func testSpec(exe, dir string, flags ...string) Spec {
	return Spec{
		Session: "s1", Epoch: "e1", Mark: "test:" + dir,
		Command: append([]string{exe, "agent"}, flags...), Dir: "/",
		Env: []string{"PATH=" + os.Getenv("PATH"), "GIVEN=1", "GORACE=" + os.Getenv("GORACE"), "HOLDFAST_FAILPOINT=x=kill"},
	}
}

// host is one attached host.
type host struct {
	*Conn
	t        testing.TB
	accepted chan uint64
	written  chan uint64
	status   chan Status
}

func (l *life1) attach(from uint64) *host {
	l.t.Helper()
	h := &host{t: l.t, accepted: make(chan uint64, 10000), written: make(chan uint64, 10000), status: make(chan Status, 100)}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := Dial(ctx, l.dir, Events{
		Accepted: func(n uint64) { h.accepted <- n },
		Written:  func(n uint64, _ time.Time) { h.written <- n },
		Status:   func(s Status) { h.status <- s },
	})
	if err != nil {
		l.t.Fatal(err)
	}
	h.Conn = c
	l.t.Cleanup(func() { c.Close() })
	if from > 0 {
		if err := c.Read(from); err != nil {
			l.t.Fatal(err)
		}
	}
	return h
}

func (h *host) send(n uint64, text string) {
	h.t.Helper()
	if err := h.Send(Line{N: n, Data: []byte(text)}); err != nil {
		h.t.Fatal(err)
	}
}

// next returns the next record within 20 s.
func (h *host) next() Record {
	h.t.Helper()
	rec, err := h.tryNext()
	if err != nil {
		h.t.Fatalf("next record: %v", err)
	}
	return rec
}

func (h *host) tryNext() (Record, error) {
	t := time.AfterFunc(20*time.Second, func() { h.nc.Close() })
	defer t.Stop()
	return h.Next()
}

func (h *host) want(n uint64, data string) {
	h.t.Helper()
	rec := h.next()
	if rec.N != n || rec.Kind != KindLine || string(rec.Data) != data || rec.Truncated || rec.Unended {
		h.t.Fatalf("record %d %v %.80q, want line %d %.80q", rec.N, rec.Kind, rec.Data, n, data)
	}
}

// exit reads up to the exit record.
func (h *host) exit() (Exit, Record) {
	h.t.Helper()
	for {
		rec := h.next()
		if rec.Kind != KindExit {
			continue
		}
		e, err := ParseExit(rec.Data)
		if err != nil {
			h.t.Fatal(err)
		}
		return e, rec
	}
}

func wait[T any](t testing.TB, ch <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(20 * time.Second):
		t.Fatalf("no %s in 20 s", what)
		panic("unreachable")
	}
}

// until waits at most 20 s for what must become true.
func until(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in 20 s: %s", what)
		}
	}
}

func (l *life1) waitGone() {
	l.t.Helper()
	until(l.t, "keeper's end", func() bool {
		held, err := Held(l.dir)
		return err == nil && !held
	})
}

// disk reads the whole spool.
func (l *life1) disk(from uint64) (recs []Record, torn bool) {
	l.t.Helper()
	s, err := OpenSpool(l.dir, from)
	if err != nil {
		l.t.Fatal(err)
	}
	defer s.Close()
	for {
		rec, err := s.Next()
		if errors.Is(err, io.EOF) {
			return recs, s.Torn()
		}
		if err != nil {
			l.t.Fatal(err)
		}
		recs = append(recs, rec)
	}
}

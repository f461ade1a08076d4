//go:build unix

package keeper

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/internal/proc"
)

func TestLinesThroughTheDeathOfTheHost(t *testing.T) {
	l := begin(t, nil)
	h := l.attach(1)
	if h.Hello.Epoch != "e1" || h.Hello.Agent.Zero() || h.Hello.Keeper != l.id || h.Hello.In.N != 0 || h.Hello.First != 1 || h.Hello.Last != 0 {
		t.Errorf("hello %+v", h.Hello)
	}
	h.send(1, "say one")
	h.want(1, "one")
	if n := wait(t, h.accepted, "acceptance"); n != 1 {
		t.Errorf("accepted %d", n)
	}
	if n := wait(t, h.written, "written"); n != 1 {
		t.Errorf("written %d", n)
	}
	h.send(2, "flood 1000")
	h.want(2, "line 1")
	h.Close()

	h2 := l.attach(2)
	if h2.Hello.Agent != h.Hello.Agent || h2.Hello.In != (LineRef{2, Checksum([]byte("flood 1000"))}) || h2.Hello.Written != 2 {
		t.Errorf("hello %+v", h2.Hello)
	}
	h2.want(2, "line 1")
	for range 999 {
		h2.next()
	}
	h2.send(3, "say last")
	h2.want(1002, "last")
	if err := h2.End(false); err != nil {
		t.Fatal(err)
	}
	e, rec := h2.exit()
	if e.Code != 0 || e.Reason != ReasonAsked || rec.N != 1004 { // before it the tail of what was no message
		t.Errorf("exit %+v in record %d", e, rec.N)
	}
	if err := h2.Trim(rec.N); err != nil {
		t.Fatal(err)
	}
	if _, err := h2.tryNext(); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %v", err)
	}
	l.waitGone()
	recs, torn := l.disk(1)
	if len(recs) != 1004 || torn {
		t.Errorf("%d records on disk, torn %v", len(recs), torn)
	}
	if _, err := Dial(context.Background(), l.dir, Events{}); !errors.Is(err, ErrNoKeeper) {
		t.Errorf("dial: %v", err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Start(exe, l.dir, l.spec); !errors.Is(err, ErrUsed) {
		t.Errorf("a second life in the folder: %v", err)
	}
	if err := Remove(l.dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(l.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("folder: %v", err)
	}
	if _, err := proc.Of(l.id.PID); !errors.Is(err, proc.ErrGone) {
		t.Errorf("the keeper is a zombie: %v", err)
	}
}

func TestOnlyTheNextLine(t *testing.T) {
	l := begin(t, nil)
	h := l.attach(1)
	h.send(1, "say one")
	h.send(2, "say two")
	h.send(1, "say one") // again: accepted, not written
	h.send(3, "say three")
	h.want(1, "one")
	h.want(2, "two")
	h.want(3, "three")
	for _, want := range []uint64{1, 2, 1, 3} {
		if n := wait(t, h.accepted, "acceptance"); n != want {
			t.Errorf("accepted %d, want %d", n, want)
		}
	}
	refused := func(name string, line Line) {
		t.Helper()
		h := l.attach(4)
		if err := h.Conn.Send(line); err != nil {
			t.Fatal(err)
		}
		if rec, err := h.tryNext(); !errors.Is(err, ErrProtocol) {
			t.Errorf("%s: record %d, %v", name, rec.N, err)
		}
	}
	refused("another text", Line{N: 2, Data: []byte("say zwei")})
	refused("a gap", Line{N: 5, Data: []byte("say five")})
	refused("zero", Line{N: 0, Data: []byte("say zero")})

	h = l.attach(4)
	if h.Hello.In.N != 3 || h.Hello.Intent != 3 || h.Hello.Written != 3 {
		t.Errorf("hello %+v", h.Hello)
	}
	if err := h.Send(Line{N: 4, Data: []byte("say four"), Void: true}); err != nil {
		t.Fatal(err)
	}
	h.send(5, "say five")
	h.want(4, "five")
	if err := h.Send(Line{N: 6, Data: []byte("a\nb")}); err == nil {
		t.Error("a line with a newline was sent")
	}
	notes, err := ReadNotes(l.dir)
	if err != nil || notes.Intent != 5 || notes.Written != 5 && notes.Written != 4 {
		t.Errorf("notes %+v, %v", notes, err)
	}
}

// What the agent prints is told while it lives, to each host that comes.
func TestPrinted(t *testing.T) {
	l := begin(t, nil)
	h := l.attach(1)
	h.send(1, "stderr reading the model")
	h.send(2, `raw "a banner\n{\"id\":1}\n [{\"id\":2}]\n\n[warn] old\n"`)
	for range 5 {
		h.next()
	}
	var told Tail
	until(t, "all is told", func() bool {
		var err error
		if told, err = h.Printed(t.Context()); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSuffix(string(told.Text), "\n"), "\n")
		slices.Sort(lines) // the two pipes have no order between them
		return slices.Equal(lines, []string{"[warn] old", "a banner", "reading the model"})
	})
	if told.Size != uint64(len(told.Text)) || told.At.IsZero() {
		t.Errorf("%d bytes of %d, at %v", len(told.Text), told.Size, told.At)
	}
	h.Close()
	h = l.attach(6)
	again, err := h.Printed(t.Context())
	if err != nil || string(again.Text) != string(told.Text) {
		t.Errorf("to the next host: %q, %v", again.Text, err)
	}
	h.Conn.Hello.Tail = false // a keeper of before
	if _, err := h.Printed(t.Context()); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a keeper that cannot tell: %v", err)
	}
}

func TestStuckStdin(t *testing.T) {
	l := begin(t, nil, "deaf")
	h := l.attach(1)
	h.want(1, "deaf")
	h.send(1, strings.Repeat("x", 1<<20)) // more than a pipe holds
	h.send(2, "say never")
	h.send(3, "say neither")
	for range 3 {
		wait(t, h.accepted, "acceptance")
	}
	until(t, "intent noted", func() bool {
		n, err := ReadNotes(l.dir)
		return err == nil && n == Notes{Intent: 1}
	})
	// What is not begun can be made void.
	if err := h.Send(Line{N: 2, Data: []byte("say never"), Void: true, Ends: ""}); err != nil {
		t.Fatal(err)
	}
	wait(t, h.accepted, "acceptance of the void")
	start := time.Now()
	if err := h.End(true); err != nil {
		t.Fatal(err)
	}
	e, _ := h.exit()
	if e.Signal != "killed" || e.Code != 137 || time.Since(start) > 2*time.Second {
		t.Errorf("exit %+v after %v", e, time.Since(start))
	}
}

func TestTwoHosts(t *testing.T) {
	l := begin(t, nil)
	first := l.attach(1)
	first.send(1, "say one")
	first.want(1, "one")
	second := l.attach(1)
	if _, err := first.tryNext(); !errors.Is(err, io.EOF) {
		t.Errorf("the first host's stream: %v", err)
	}
	second.want(1, "one")
	second.send(2, "say two")
	second.want(2, "two")
}

func TestLongLinesAndJunk(t *testing.T) {
	l := begin(t, func(s *Spec) { s.SegmentSize = 1 << 20 })
	h := l.attach(1)
	h.send(1, `raw "\x00\xffjunk\n\n{\"half\":"`)
	h.send(2, `raw " done}\n"`)
	h.want(1, "\x00\xffjunk")
	h.want(2, "")
	h.want(3, `{"half": done}`)
	h.send(3, fmt.Sprintf("big %d", 10<<20))
	if rec := h.next(); len(rec.Data) != 10<<20 || rec.Truncated {
		t.Errorf("%d bytes, truncated %v", len(rec.Data), rec.Truncated)
	}
	anon := anonymous(t, l.id.PID)
	t.Logf("keeper after a 10 MB line: %d kB anonymous", anon)
	if anon > 12<<10 && !raceEnabled {
		t.Errorf("keeper holds %d kB after a long line", anon)
	}
	h.send(4, fmt.Sprintf("big %d", 70<<20))
	if rec := h.next(); len(rec.Data) != MaxLine || !rec.Truncated {
		t.Errorf("%d bytes, truncated %v", len(rec.Data), rec.Truncated)
	}
	if peak := status(t, l.id.PID, "VmHWM"); peak > 48<<10 && !raceEnabled {
		t.Errorf("keeper's peak is %d kB: it held the line", peak)
	}
	h.send(5, "size "+strings.Repeat("y", 5<<20))
	h.want(6, strconv.Itoa(5<<20+5))
	if err := h.Trim(6); err != nil {
		t.Fatal(err)
	}
	h.send(6, "exit 3")
	if e, _ := h.exit(); e.Code != 3 || e.Reason != ReasonSelf {
		t.Errorf("exit %+v", e)
	}
}

// anonymous returns the anonymous memory of a process in kB, 0 where unknown.
func anonymous(t testing.TB, pid int) int { return status(t, pid, "RssAnon") }

func status(t testing.TB, pid int, key string) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if errors.Is(err, os.ErrNotExist) {
		return 0
	}
	_, after, _ := strings.Cut(string(b), key+":")
	n, err := strconv.Atoi(strings.Fields(after)[0])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestAgentThatEndsByItself(t *testing.T) {
	l := begin(t, nil)
	h := l.attach(1)
	h.send(1, "stderr something went wrong")
	h.send(2, `raw "{whole}\n{half"`)
	h.send(3, "exit 5")
	h.want(1, "{whole}")
	if rec := h.next(); string(rec.Data) != "{half" || !rec.Unended {
		t.Errorf("the rest: %+v", rec)
	}
	if rec := h.next(); rec.Kind != KindStderr || string(rec.Data) != "something went wrong\n" {
		t.Errorf("stderr: %v %q", rec.Kind, rec.Data)
	}
	e, rec := h.exit()
	if e.Code != 5 || e.Reason != ReasonSelf || e.Signal != "" || e.At.IsZero() || len(e.Left) > 0 {
		t.Errorf("exit %+v", e)
	}
	start := time.Now()
	if err := h.Trim(rec.N); err != nil {
		t.Fatal(err)
	}
	l.waitGone()
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("the keeper took %v to end", took)
	}
}

func TestEndWithoutAHost(t *testing.T) {
	l := begin(t, nil)
	h := l.attach(1)
	h.send(1, "exit 0")
	h.Close()
	l.waitGone()
	recs, _ := l.disk(1)
	if len(recs) != 1 || recs[0].Kind != KindExit {
		t.Errorf("records %+v", recs)
	}
}

func TestChildHoldsStdout(t *testing.T) {
	l := begin(t, nil, "leave")
	h := l.attach(1)
	child := helper(t, h.next())
	start := time.Now()
	e, _ := h.exit()
	if e.Code != 7 || e.Reason != ReasonSelf || time.Since(start) > 10*time.Second {
		t.Errorf("exit %+v after %v", e, time.Since(start))
	}
	if proc.Alive(child) {
		t.Error("the child lives on")
	}
}

// helper identifies the process that the agent says it has started.
func helper(t *testing.T, rec Record) proc.ID {
	t.Helper()
	text, ok := strings.CutPrefix(string(rec.Data), "helper ")
	pid, err := strconv.Atoi(text)
	if !ok || err != nil {
		t.Fatalf("line %q", rec.Data)
	}
	id, err := proc.Of(pid)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestStubbornAgentIsEnded(t *testing.T) {
	l := begin(t, nil, "stubborn", "helper")
	h := l.attach(1)
	child := helper(t, h.next())
	tree, err := h.Processes(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	find := func(id proc.ID) bool {
		return slices.ContainsFunc(tree, func(p proc.Info) bool { return p.ID == id })
	}
	if len(tree) != 2 || !find(child) || !find(h.Hello.Agent) {
		t.Errorf("tree %+v", tree)
	}
	start := time.Now()
	if err := h.End(false); err != nil {
		t.Fatal(err)
	}
	e, _ := h.exit()
	if took := time.Since(start); e.Signal != "killed" || e.Reason != ReasonAsked || took < afterEOF+afterTERM {
		t.Errorf("exit %+v after %v", e, took)
	}
	if proc.Alive(child) || proc.Alive(h.Hello.Agent) {
		t.Error("something lives on")
	}
}

func TestKeeperIsToldToEnd(t *testing.T) {
	l := begin(t, nil, "helper")
	h := l.attach(1)
	child := helper(t, h.next())
	for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT} {
		if err := proc.Signal(l.id, sig); err != nil {
			t.Fatal(err)
		}
	}
	h.send(1, "say still here")
	h.want(2, "still here")
	if err := proc.Signal(l.id, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	e, _ := h.exit()
	if e.Reason != ReasonSignal || e.Code != 0 || proc.Alive(child) {
		t.Errorf("exit %+v, child lives: %v", e, proc.Alive(child))
	}
}

func TestAgentThatCannotStart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "not-executable")
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		change func(*Spec)
		code   int
		text   string
	}{
		"no such path":    {func(s *Spec) { s.Command = []string{"/nowhere/agent"} }, 127, "/nowhere/agent"},
		"not in the PATH": {func(s *Spec) { s.Command = []string{"surely-no-agent"} }, 127, "surely-no-agent"},
		"not executable":  {func(s *Spec) { s.Command = []string{file} }, 126, "permission denied"},
		"no such folder":  {func(s *Spec) { s.Dir = "/nowhere/project" }, 127, "/nowhere/project"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			l := begin(t, tt.change)
			l.waitGone()
			recs, _ := l.disk(1)
			if len(recs) != 1 || recs[0].Kind != KindExit {
				t.Fatalf("records %+v", recs)
			}
			e, err := ParseExit(recs[0].Data)
			if err != nil || e.Code != tt.code || e.Reason != ReasonStart || !strings.Contains(e.Error, tt.text) {
				t.Errorf("exit %+v, %v", e, err)
			}
		})
	}
}

func TestKeeperKilled(t *testing.T) {
	l := begin(t, nil, "stubborn", "helper", "hidden")
	h := l.attach(1)
	child, hidden := helper(t, h.next()), helper(t, h.next())
	h.send(1, "say partial")
	h.want(3, "partial")
	if _, err := proc.Lock(filepath.Join(l.dir, fileLock)); !errors.Is(err, ErrLocked) {
		t.Errorf("the lock of a living keeper: %v", err)
	}
	if err := Remove(l.dir); !errors.Is(err, ErrLocked) {
		t.Errorf("remove under a living keeper: %v", err)
	}
	if err := proc.Signal(l.id, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if _, err := h.tryNext(); !errors.Is(err, io.EOF) {
		t.Errorf("stream of a dead keeper: %v", err)
	}
	l.waitGone()
	if !proc.Alive(child) || !proc.Alive(h.Hello.Agent) {
		t.Error("agent or helper died by themselves: nothing is tested here")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if left, err := Sweep(ctx, l.spec.Mark); err != nil || len(left) > 0 {
		t.Errorf("left %v, err %v", left, err)
	}
	if proc.Alive(child) || proc.Alive(hidden) || proc.Alive(h.Hello.Agent) {
		t.Error("something lives on")
	}
	recs, torn := l.disk(1)
	if len(recs) != 3 || torn {
		t.Errorf("%d records, torn %v", len(recs), torn)
	}
	if n, err := ReadNotes(l.dir); err != nil || n.Intent != 1 || n.Written != 1 || n.WrittenAt.IsZero() {
		t.Errorf("notes %+v, %v", n, err)
	}
}

// Killed at any moment of a stream of long and short lines, a keeper leaves a
// spool whose records are what the agent said, without a gap.
func TestKeeperKilledAtAnyMoment(t *testing.T) {
	cut := 0
	for i := range 15 {
		l := begin(t, func(s *Spec) { s.SegmentSize = 300_000 })
		h := l.attach(0)
		for n := uint64(1); n <= 40; n++ {
			text := fmt.Sprintf("big %d", 150_000+n)
			if n%2 == 0 {
				text = "flood 50"
			}
			h.send(n, text)
		}
		time.Sleep(time.Duration(i) * 3 * time.Millisecond)
		if err := proc.Signal(l.id, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		l.waitGone()
		recs, torn := l.disk(1)
		if torn {
			cut++
		}
		for i, rec := range recs {
			if rec.N != uint64(i+1) {
				t.Fatalf("record %d in place %d", rec.N, i+1)
			}
			round, in := i/51, i%51
			if in == 0 && len(rec.Data) != 150_000+2*round+1 || in > 0 && string(rec.Data) != fmt.Sprintf("line %d", in) {
				t.Fatalf("record %d: %d bytes, %.20q", rec.N, len(rec.Data), rec.Data)
			}
		}
		n, err := ReadNotes(l.dir)
		if err != nil || n.Written > n.Intent || n.Intent > n.Written+1 {
			t.Errorf("notes %+v, %v", n, err)
		}
		l.remove()
	}
	t.Logf("torn: %d of 15", cut)
}

func TestKeeperThatGivesNoHello(t *testing.T) {
	l := begin(t, nil)
	l.attach(1).Close()
	if err := proc.Signal(l.id, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	// It stops when its threads have been scheduled, and not before.
	until(t, "the keeper stands still", func() bool {
		out, err := exec.Command("ps", "-o", "state=", "-p", strconv.Itoa(l.id.PID)).Output()
		return err == nil && bytes.HasPrefix(out, []byte("T"))
	})
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	if _, err := Dial(ctx, l.dir, Events{}); !errors.Is(err, ErrNoHello) {
		t.Errorf("dial: %v", err)
	}
	// Found by its mark as well, where nothing was noted.
	for _, name := range []string{fileInfo, fileBorn} {
		if err := os.Remove(filepath.Join(l.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := Kill(l.dir); err != nil {
		t.Fatal(err)
	}
	if held, err := Held(l.dir); err != nil || held {
		t.Errorf("held %v, %v", held, err)
	}
}

func TestLeases(t *testing.T) {
	short, long := 300*time.Millisecond, time.Hour
	leases := func(running, idle, stopped time.Duration) func(*Spec) {
		return func(s *Spec) { s.Leases = Leases{Running: running, Idle: idle, Stopped: stopped} }
	}
	prompt := Line{N: 1, Data: []byte("say begun"), Ends: "1"}
	tests := map[string]struct {
		change func(*Spec)
		do     func(*host)
	}{
		"never a host": {leases(long, short, long), nil},
		"idle":         {leases(long, short, long), func(h *host) { h.send(1, "say x"); h.next() }},
		"running":      {leases(short, long, long), func(h *host) { h.Send(prompt); h.next() }},
		"left in order": {leases(long, long, short), func(h *host) {
			h.Send(prompt)
			h.next()
			h.Leave()
		}},
		"run over": {leases(long, short, long), func(h *host) {
			h.Send(prompt)
			h.next()
			h.send(2, `raw "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n"`)
			h.next()
		}},
		"run over meanwhile": {leases(long, short, long), func(h *host) {
			h.Send(prompt)
			h.next()
			h.send(2, `raw "{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{}}\n"`)
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := begin(t, tt.change)
			if tt.do != nil {
				h := l.attach(1)
				time.Sleep(2 * short) // no lease runs while there is a host
				tt.do(h)
				if h.Close() != nil {
					t.Error("close")
				}
			}
			l.waitGone()
			recs, _ := l.disk(1)
			e, err := ParseExit(recs[len(recs)-1].Data)
			if err != nil || e.Reason != ReasonLease {
				t.Errorf("exit %+v, %v", e, err)
			}
		})
	}
	t.Run("a run holds the agent", func(t *testing.T) {
		t.Parallel()
		l := begin(t, leases(long, short, long))
		h := l.attach(1)
		h.Send(prompt)
		h.next()
		h.Close()
		time.Sleep(3 * short)
		if h := l.attach(1); !h.Hello.Running {
			t.Errorf("hello %+v", h.Hello)
		}
	})
}

func TestFullSpoolStopsTheAgent(t *testing.T) {
	l := begin(t, func(s *Spec) { s.SpoolCap, s.SegmentSize = 64<<10, 16<<10 })
	h := l.attach(0)
	h.send(1, "flood 20000")
	if st := wait(t, h.status, "status"); st.Kind != StatusSpoolFull {
		t.Errorf("status %+v", st)
	}
	// It is told to the next host as well.
	h = l.attach(1)
	if st := wait(t, h.status, "status"); st.Kind != StatusSpoolFull {
		t.Errorf("status %+v", st)
	}
	for i := uint64(1); i <= 20000; i++ {
		h.want(i, fmt.Sprintf("line %d", i))
		if i%100 == 0 {
			if err := h.Trim(i); err != nil {
				t.Fatal(err)
			}
		}
	}
	h.send(2, "say after")
	h.want(20001, "after")
	if h := l.attach(0); h.Hello.First < 10000 || h.Hello.Last != 20001 {
		t.Errorf("hello %+v", h.Hello)
	}
	h = l.attach(5)
	if _, err := h.tryNext(); !errors.Is(err, ErrGone) {
		t.Errorf("a dropped record: %v", err)
	}
}

func TestFullSpoolIsNoObstacleToTheEnd(t *testing.T) {
	l := begin(t, func(s *Spec) { s.SpoolCap, s.SegmentSize = 8<<10, 4<<10 })
	h := l.attach(0)
	h.send(1, "flood 200000")
	wait(t, h.status, "status")
	if err := h.End(true); err != nil {
		t.Fatal(err)
	}
	h.Close()
	l.waitGone()
	recs, torn := l.disk(1)
	if e := recs[len(recs)-1]; e.Kind != KindExit || torn {
		t.Errorf("last record %v, torn %v", e.Kind, torn)
	}
}

func TestFullDiskUnderAKeeper(t *testing.T) {
	disk := smallDisk(t, 512<<10)
	l := beginIn(t, filepath.Join(disk, "e"), nil)
	h := l.attach(1)
	h.send(1, "say ready")
	h.want(1, "ready")
	filler := filepath.Join(disk, "filler")
	fill, err := os.Create(filler)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = fill.Write(make([]byte, 4096))
	}
	fill.Close()
	h.send(2, "flood 3000")
	if st := wait(t, h.status, "status"); st.Kind != StatusDiskFull {
		t.Errorf("status %+v", st)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	for i := range 3000 {
		h.want(uint64(i+2), fmt.Sprintf("line %d", i+1))
	}
	if st := wait(t, h.status, "recovery"); st.Kind != StatusRecovered {
		t.Errorf("status %+v", st)
	}
}

func TestWhatTheAgentIsGiven(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "/nowhere")
	t.Setenv("WATCHDOG_USEC", "1")
	t.Setenv("HOST_ONLY", "1")
	// Descriptors that the host forgot to mark.
	leak, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer leak.Close()
	if _, _, errno := syscall.Syscall(syscall.SYS_FCNTL, leak.Fd(), syscall.F_SETFD, 0); errno != 0 {
		t.Fatal(errno)
	}
	l := begin(t, func(s *Spec) { s.NoFile = 300 })
	h := l.attach(1)
	h.send(1, "env")
	var env []string
	if err := json.Unmarshal(h.next().Data, &env); err != nil {
		t.Fatal(err)
	}
	info, err := ReadInfo(l.dir)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(env)
	var tmp string
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, "TMPDIR="); ok {
			tmp = v
		}
	}
	want := []string{"GIVEN=1", "GORACE=" + os.Getenv("GORACE"), "HOLDFAST_MARK=" + l.spec.Mark, "PATH=" + os.Getenv("PATH"), "TMPDIR=" + tmp}
	if !slices.Equal(env, want) || tmp == "" || len(tmp) > maxTmpPath+40 {
		t.Errorf("environment %q", env)
	}
	h.send(2, "file x")
	if rec := h.next(); string(rec.Data) != tmp {
		t.Errorf("TMPDIR %q", rec.Data)
	}
	h.send(3, "limit")
	h.want(3, "300")
	h.send(4, "ids")
	var pid, group, session int
	fmt.Sscan(string(h.next().Data), &pid, &group, &session)
	if pid != h.Hello.Agent.PID || group != pid || session != l.id.PID {
		t.Errorf("pid %d, group %d, session %d", pid, group, session)
	}
	h.send(5, "fds")
	var fds []proc.Descriptor
	if err := json.Unmarshal(h.next().Data, &fds); err != nil {
		t.Fatal(err)
	}
	// Of the Go runtime in an agent that is written in Go.
	runtimes := func(d proc.Descriptor) bool {
		return d.FD <= 2 || strings.HasPrefix(d.Target, "anon_inode:") || strings.HasPrefix(d.Target, "/sys/fs/cgroup/")
	}
	for _, d := range fds {
		if !runtimes(d) {
			t.Errorf("the agent has %+v", d)
		}
	}
	ours, err := proc.Descriptors(l.id.PID)
	if err != nil {
		t.Fatal(err)
	}
	// The lock, the listener and the host, three pipes, the segment twice, the notes.
	ours = slices.DeleteFunc(ours, runtimes)
	if len(ours) > 9 {
		t.Errorf("the keeper has %d descriptors: %+v", len(ours), ours)
	}
	for _, d := range ours {
		if d.Target == os.DevNull {
			t.Errorf("the keeper inherited %+v", d)
		}
	}
	kenv, err := proc.Environ(l.id.PID)
	if err != nil {
		t.Fatal(err)
	}
	if text := strings.Join(kenv, " "); strings.Contains(text, "NOTIFY_SOCKET") || strings.Contains(text, "WATCHDOG_") || !strings.Contains(text, "HOST_ONLY=1") {
		t.Errorf("the keeper's environment: %q", text)
	}
	if info.Agent != h.Hello.Agent || info.Keeper != l.id || info.Protocol != Protocol || info.Boot == "" || info.Binary == "" {
		t.Errorf("info %+v", info)
	}
	if st, err := os.Stat(filepath.Join(l.dir, fileSpec)); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("spec: %v, %v", st.Mode(), err)
	}
	if err := h.End(false); err != nil {
		t.Fatal(err)
	}
	h.exit()
	until(t, "end of TMPDIR", func() bool {
		_, err := os.Stat(tmp)
		return errors.Is(err, os.ErrNotExist)
	})
}

func TestLongPath(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("long/", 30), "e")
	l := beginIn(t, dir, nil)
	h := l.attach(1)
	h.send(1, "say hello")
	h.want(1, "hello")
	info, err := ReadInfo(dir)
	if err != nil || len(info.Socket) >= maxSocketPath {
		t.Fatalf("socket %q, %v", info.Socket, err)
	}
	run := filepath.Dir(info.Socket)
	if st, err := os.Stat(run); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("folder of the socket: %v, %v", st, err)
	}
	if err := h.End(false); err != nil {
		t.Fatal(err)
	}
	h.exit()
	h.Close()
	l.waitGone()
	if _, err := os.Stat(run); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("folder of the socket is left: %v", err)
	}
}

func TestSocketThatACleanerTook(t *testing.T) {
	l := begin(t, func(s *Spec) { s.Leases = Leases{Running: time.Second, Idle: time.Hour, Stopped: time.Hour} })
	l.attach(1).Close()
	info, err := ReadInfo(l.dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(info.Socket); err != nil {
		t.Fatal(err)
	}
	h := l.attach(1)
	h.send(1, "say found")
	h.want(1, "found")
}

func TestMainRefusesToBeStartedByHand(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"keeper"}, {"keeper", t.TempDir()}} {
		out, err := exec.Command(exe, args...).CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 2 || !bytes.Contains(out, []byte("started by the host")) {
			t.Errorf("%v: %v, %s", args, err, out)
		}
	}
}

func TestNothingIsLeftOpen(t *testing.T) {
	before, err := proc.CountDescriptors(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		dir := filepath.Join(t.TempDir(), "e")
		l := beginIn(t, dir, nil)
		h := l.attach(1)
		h.send(1, "exit 0")
		_, rec := h.exit()
		h.Trim(rec.N)
		h.Close()
		h.Close()
		l.waitGone()
		l.disk(1)
		if err := Remove(dir); err != nil {
			t.Fatal(err)
		}
	}
	if after, err := proc.CountDescriptors(os.Getpid()); err != nil || after > before+1 {
		t.Errorf("%d descriptors before, %d after, %v", before, after, err)
	}
}

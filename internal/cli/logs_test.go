package cli

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/internal/obs"
)

func (b *bench) writeLog(name, text string) {
	b.t.Helper()
	dir := filepath.Join(b.home, "logs")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

func numbered(from, to int) string {
	var b strings.Builder
	for i := from; i <= to; i++ {
		fmt.Fprintf(&b, "line %d\n", i)
	}
	return b.String()
}

func TestLogs(t *testing.T) {
	b := newBench(t)
	if code, _, problem := b.run("logs"); code != 1 || !strings.Contains(problem, "there is no log at") || !strings.Contains(problem, "--home") {
		t.Errorf("no log: %d %q", code, problem)
	}
	b.writeLog("holdfast.log.2", numbered(1, 9))
	b.writeLog("holdfast.log.1", numbered(10, 19))
	b.writeLog("holdfast.log", numbered(20, 22)+"half")
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"logs", "-n", "2"}, "line 22\nhalf\n"},
		{[]string{"logs", "-n", "4"}, numbered(20, 22) + "half\n"},
		{[]string{"logs", "-n", "6"}, numbered(18, 22) + "half\n"},
		{[]string{"logs", "--lines", "20"}, numbered(4, 22) + "half\n"},
		{[]string{"logs"}, numbered(1, 22) + "half\n"},
		{[]string{"logs", "-n", "0"}, ""},
	} {
		if code, out, problem := b.run(c.args...); code != 0 || out != c.want {
			t.Errorf("%v: %d %q, want %q; %s", c.args, code, out, c.want, problem)
		}
	}
	if code, _, problem := b.run("logs", "--lines=-1"); code != 2 || !strings.Contains(problem, "below 0") {
		t.Errorf("-n -1: %d %q", code, problem)
	}
	// Longer than what is read at once.
	b.writeLog("holdfast.log", numbered(1, 30000))
	if code, out, _ := b.run("logs", "-n", "20000"); code != 0 || out != numbered(10001, 30000) {
		t.Errorf("many lines: %d, %d bytes", code, len(out))
	}
}

// watched is where a command prints that a test looks at meanwhile.
type watched struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(p)
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String()
}

func (w *watched) await(t *testing.T, what string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !strings.Contains(w.String(), what); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%q did not come; there was %.2000q", what, w.String())
		}
	}
}

// Followed through rotations that are quicker than the command looks, and
// through the removal of the whole folder.
func TestLogsFollow(t *testing.T) {
	b := newBench(t)
	var out, problem watched
	p := b.p
	p.Out, p.Err = &out, &problem
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	code := make(chan int, 1)
	go func() { code <- Main(ctx, []string{"logs", "-f"}, p) }()
	problem.await(t, "waiting for it")

	path := filepath.Join(b.home, "logs", "holdfast.log")
	f, err := obs.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	say := func(from, to int) {
		for i := from; i <= to; i++ {
			if _, err := fmt.Fprintf(f, "line %d\n", i); err != nil {
				t.Fatal(err)
			}
		}
	}
	say(1, 100)
	out.await(t, "line 100\n")
	long := strings.Repeat("x", 5<<20)
	for range 5 { // more rotations in one go than files are kept
		if _, err := fmt.Fprintln(f, long); err != nil {
			t.Fatal(err)
		}
	}
	say(101, 200)
	out.await(t, "line 200\n")
	if err := os.RemoveAll(filepath.Dir(path)); err != nil {
		t.Fatal(err)
	}
	say(201, 300)
	out.await(t, "line 300\n")
	cancel()
	if c := <-code; c != 0 {
		t.Errorf("code %d: %s", c, problem.String())
	}
	if got := strings.ReplaceAll(out.String(), long+"\n", "|"); got != numbered(1, 100)+"|||||"+numbered(101, 300) {
		t.Errorf("%d bytes: %.300q", len(got), got)
	}
}

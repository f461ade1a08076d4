package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// sitter sits before a real terminal.
type sitter struct {
	t    *testing.T
	keys *os.File
	tty  *os.File
	seen watched
	over chan struct{}
}

func newSitter(t *testing.T) *sitter {
	t.Helper()
	keys, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("there are no terminals here: %v", err)
	}
	n, err := unix.IoctlGetInt(int(keys.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(keys.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	p := &sitter{t: t, keys: keys, tty: tty, over: make(chan struct{})}
	go func() {
		defer close(p.over)
		_, _ = io.Copy(&p.seen, keys) // ends with an error when the terminal is closed
	}()
	t.Cleanup(p.leave)
	return p
}

func (p *sitter) leave() {
	p.tty.Close()
	<-p.over
	p.keys.Close()
}

func (p *sitter) types(text string) {
	p.t.Helper()
	if _, err := io.WriteString(p.keys, text); err != nil {
		p.t.Fatal(err)
	}
}

// TestUpAsks has a person decide at a terminal.
func TestUpAsks(t *testing.T) {
	const npm = `echo "$@" > "$HOME/npm"; printf '#!/bin/sh\necho 1.0.0\n' > "$HOME/bin/opencode"; chmod +x "$HOME/bin/opencode"; echo "npm works"`
	for _, c := range []struct {
		name string
		keys []string // after each question
		args string   // of npm; "" where it must not run
		says string
	}{
		{"none", []string{"\n"}, "", "runs at"},
		{"no", []string{"no\n"}, "", "runs at"},
		{"nonsense, then one, then no yes", []string{"99\n", "opencode\n", "2\n", "\n"}, "", "from 1 to"},
		{"one, and yes", []string{"2\n", "yes\n"}, "install -g opencode-ai", "OpenCode is installed."},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			b.bare(map[string]string{"npm": npm})
			o := b.serves()
			p := newSitter(t)
			programs := b.p
			programs.In, programs.Out, programs.Err = p.tty, p.tty, p.tty
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			code := make(chan int, 1)
			go func() { code <- Main(ctx, []string{"up", "--no-browser"}, programs) }()
			asked := 0
			for _, keys := range c.keys {
				for deadline := time.Now().Add(15 * time.Second); strings.Count(p.seen.String(), "one now?")+strings.Count(p.seen.String(), "Type yes:") <= asked; time.Sleep(5 * time.Millisecond) {
					if time.Now().After(deadline) {
						t.Fatalf("no question %d: %q", asked+1, p.seen.String())
					}
				}
				asked++
				p.types(keys)
			}
			if got := <-code; got != 0 {
				t.Errorf("code %d: %s", got, p.seen.String())
			}
			p.seen.await(t, "Ctrl-C stops the host.")
			if !strings.Contains(p.seen.String(), c.says) {
				t.Errorf("%q lacks %q", p.seen.String(), c.says)
			}
			ran, _ := os.ReadFile(filepath.Join(b.home, "npm"))
			if strings.TrimSpace(string(ran)) != c.args {
				t.Errorf("npm ran with %q, want %q", ran, c.args)
			}
			if !o.LogFileOnly || !o.Link {
				t.Errorf("in a terminal: %+v", o)
			}
		})
	}
}

// A person waits in sight.
func TestProgress(t *testing.T) {
	b := newBench(t)
	p := newSitter(t)
	a := &app{Programs: b.p}
	a.Err = p.tty
	wait := a.progress("Starting")
	p.seen.await(t, "Starting … ")
	wait.stop()
	wait.stop()
	p.seen.await(t, "\r\x1b[K")
}

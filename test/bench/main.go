// Command bench measures the figures of docs/performance.md: it builds the
// release binary, runs hosts on temporary state folders, and prints one table.
//
// A figure is printed beside its target and, where that means something,
// beside a yardstick that is measured in the same window: a bare net/http
// server, or the disk's own fdatasync. Nothing is asserted; a figure over its
// target exits 0.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// part measures some figures on hosts of its own.
type part struct {
	name string
	what string
	run  func(context.Context, *bench) error
}

func parts() []part {
	return []part{
		{"start", "start to healthy", start},
		{"resume", "kill -9 to the next resumed delta", resume},
		{"memory", "memory of the host and of a keeper", memory},
		{"post", "POST message to 202", post},
		{"line", "agent's line to SSE event", line},
		{"bytes", "bytes written per delta", bytesWritten},
		{"list", "list of sessions", list},
		{"page", "first page of a long session", page},
	}
}

// bench is one run of the program.
type bench struct {
	quick bool
	dir   string // for binaries and state folders
	bins  struct{ host, agent, bare string }

	part    string
	figures []figure
	noise   []noise
}

// pick returns how often to repeat: full, or quick under -quick.
func (b *bench) pick(full, quick int) int {
	if b.quick {
		return quick
	}
	return full
}

func (b *bench) wait(full, quick time.Duration) time.Duration {
	if b.quick {
		return quick
	}
	return full
}

func (b *bench) notef(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	b := &bench{}
	var only, jsonFile, under string
	names := make([]string, 0, len(parts()))
	for _, p := range parts() {
		names = append(names, p.name)
	}
	flag.BoolVar(&b.quick, "quick", false, "fewer repetitions and shorter waits: to see that it works, not to quote")
	flag.StringVar(&only, "only", "", "measure these parts only, separated by commas: "+strings.Join(names, ", "))
	flag.StringVar(&jsonFile, "json", "", "write the figures to this `file`, too")
	flag.StringVar(&under, "dir", "", "make the state folders under this `folder`, which chooses the disk; by default the system's temporary one")
	flag.Parse()
	if flag.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flag.Arg(0))
	}
	wanted := names
	if only != "" {
		wanted = strings.Split(only, ",")
	}
	for _, name := range wanted {
		if !slices.Contains(names, name) {
			return fmt.Errorf("no part %q; there are %s", name, strings.Join(names, ", "))
		}
	}

	dir, err := os.MkdirTemp(under, "hfbench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b.dir = dir
	if err := b.build(ctx); err != nil {
		return err
	}
	began := time.Now()
	var failed []error
	for _, p := range parts() {
		if !slices.Contains(wanted, p.name) || ctx.Err() != nil {
			continue
		}
		b.notef("%s: %s …", p.name, p.what)
		b.part = p.name
		n := noise{Part: p.name, Before: spin()}
		if err := p.run(ctx, b); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", p.name, err))
			b.notef("%s: %v", p.name, err)
		}
		n.After = spin()
		b.noise = append(b.noise, n)
	}
	r := report{
		At: began.UTC().Truncate(time.Second), Took: time.Since(began).Round(time.Second).String(), Quick: b.quick,
		Machine: fmt.Sprintf("%s/%s, %d CPUs, %s", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version()),
		Figures: b.figures, Noise: b.noise,
	}
	r.print(os.Stdout)
	if jsonFile != "" {
		data, err := json.MarshalIndent(r, "", "  ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(jsonFile, append(data, '\n'), 0o644); err != nil {
			return err
		}
	}
	return errors.Join(append(failed, ctx.Err())...)
}

// build makes the programs: the host as it is released, the scripted agent and
// the yardstick.
func (b *bench) build(ctx context.Context) error {
	const module = "github.com/holdfast-dev/holdfast/"
	for _, p := range []struct {
		out  *string
		name string
		pkg  string
	}{
		{&b.bins.host, "holdfast", "cmd/holdfast"},
		{&b.bins.agent, "agent", "test/agent"},
		{&b.bins.bare, "bare", "test/bench/bare"},
	} {
		*p.out = filepath.Join(b.dir, p.name)
		if runtime.GOOS == "windows" {
			*p.out += ".exe"
		}
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", *p.out, module+p.pkg)
		cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("build %s: %w", p.pkg, err)
		}
	}
	return nil
}

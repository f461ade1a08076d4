package app

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast/internal/httpapi"
	"github.com/holdfast-dev/holdfast/internal/proc"
)

var _ httpapi.Machine = (*core)(nil)

// LogLines implements httpapi.Machine.
func (c *core) LogLines() []string {
	if c.logs == nil {
		return nil
	}
	return c.logs.Ring.Lines()
}

// LogLevel implements httpapi.Machine.
func (c *core) LogLevel() string {
	if c.logs == nil {
		return "info"
	}
	return strings.ToLower(c.logs.Level.Level().String())
}

// SetLogLevel implements httpapi.Machine.
func (c *core) SetLogLevel(level string) error {
	if c.logs == nil {
		return errors.New("no host runs")
	}
	return c.logs.Level.UnmarshalText([]byte(level))
}

// What a diagnosis takes of the crash folder.
const (
	diagnosedDumps = 5
	diagnosedBytes = 4 << 20 // of each
)

// Diagnosis implements httpapi.Machine. It holds neither the log of sessions nor
// a login, nor what agents' environments hold; paths and names of this machine
// it holds.
func (c *core) Diagnosis(ctx context.Context, w io.Writer) error {
	zw := gzip.NewWriter(w)
	archive := tar.NewWriter(zw)
	now := time.Now()
	add := func(name string, write func(io.Writer) error) error {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			fmt.Fprintf(&b, "\ncould not be told: %v\n", err)
		}
		if err := archive.WriteHeader(&tar.Header{Name: "holdfast/" + name, Mode: 0o600, Size: int64(b.Len()), ModTime: now}); err != nil {
			return err
		}
		_, err := archive.Write(b.Bytes())
		return err
	}
	asJSON := func(v any) func(io.Writer) error {
		return func(w io.Writer) error {
			enc := json.NewEncoder(w)
			enc.SetIndent("", "  ")
			return enc.Encode(v)
		}
	}
	life, lives := c.Lives()
	errs := []error{
		add("host.json", asJSON(map[string]any{
			"version": Version, "go": runtime.Version(), "system": runtime.GOOS + "/" + runtime.GOARCH, "cpus": runtime.NumCPU(), "time": now,
			"goroutines": runtime.NumGoroutine(), "descriptor_limit": c.limit, "health": worst(c.watchers...), "safe_mode": c.safe.text(),
			"life": life, "store": c.store.Stats(ctx), "live_agents": c.sessions.Live(),
		})),
		add("config.json", asJSON(c.cfg.Redacted())),
		add("lives.json", asJSON(lives)),
		add("agents.json", asJSON(c.catalogue.List(ctx))),
		add("log.txt", func(w io.Writer) error {
			_, err := io.WriteString(w, strings.Join(c.LogLines(), "\n")+"\n")
			return err
		}),
		add("descriptors.txt", writeDescriptors),
		add("goroutines.txt", func(w io.Writer) error { return pprof.Lookup("goroutine").WriteTo(w, 1) }),
		add("memory.json", func(w io.Writer) error {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			m.PauseNs, m.PauseEnd = [256]uint64{}, [256]uint64{}
			return asJSON(m)(w)
		}),
	}
	for _, name := range newestDumps(c.cfg.Crash()) {
		errs = append(errs, add("crash/"+name, func(w io.Writer) error {
			f, err := os.Open(filepath.Join(c.cfg.Crash(), name))
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = io.CopyN(w, f, diagnosedBytes)
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}))
	}
	errs = append(errs, archive.Close(), zw.Close())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("make diagnosis: %w", err)
	}
	return nil
}

func newestDumps(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var names []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".txt") && e.Type().IsRegular() {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names[max(0, len(names)-diagnosedDumps):]
}

// writeDescriptors writes the table of our descriptors.
func writeDescriptors(w io.Writer) error {
	fds, err := proc.Descriptors(os.Getpid())
	for _, fd := range fds {
		fmt.Fprintf(w, "%5d %s\n", fd.FD, fd.Target)
	}
	return err
}

//go:build soak

package e2e

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// counts is what a host holds at one moment.
type counts struct {
	Descriptors int // without the database's own
	Database    int // at most 11: shared/measured, one writer and four readers
	Goroutines  int
	Children    int // of the host: keepers, helpers
	Keepers     int // folders of live epochs
	Marked      int // processes with the state folder's mark: keepers, agents, what they began
}

// count looks from outside, but for the goroutines, which nobody else knows.
func (w *world) count() (c counts) {
	w.t.Helper()
	for _, name := range w.openFiles() {
		if strings.HasPrefix(name, filepath.Join(w.home, "holdfast.db")) {
			c.Database++
		} else {
			c.Descriptors++
		}
	}
	c.Children = len(w.children())
	folders, _ := os.ReadDir(filepath.Join(w.home, "keepers"))
	c.Keepers, c.Marked = len(folders), len(w.marked())
	c.Goroutines = int(w.metrics()["go_goroutines"])
	return c
}

// openFiles is what the host's descriptors are of.
func (w *world) openFiles() (names []string) {
	w.t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", w.host.Process.Pid)
	fds, err := os.ReadDir(dir)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, fd := range fds {
		if name, err := os.Readlink(filepath.Join(dir, fd.Name())); err == nil { // else it was closed meanwhile
			names = append(names, name)
		}
	}
	return names
}

// children lists the host's.
func (w *world) children() (pids []string) {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", w.host.Process.Pid))
	for _, file := range files {
		text, _ := os.ReadFile(file)
		pids = append(pids, strings.Fields(string(text))...)
	}
	return pids
}

// metrics is a scrape: the plain names without labels.
func (w *world) metrics() map[string]float64 {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), "GET", w.base+"/metrics", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+w.token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatalf("scrape: %v", err)
	}
	defer resp.Body.Close()
	values := map[string]float64{}
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		name, text, _ := strings.Cut(lines.Text(), " ")
		if v, err := strconv.ParseFloat(text, 64); err == nil && !strings.Contains(name, "{") {
			values[name] = v
		}
	}
	return values
}

// memory is a line of the host's /proc/PID/status, in bytes.
func (w *world) memory(name string) int64 {
	w.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", w.host.Process.Pid))
	if err != nil {
		w.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			kB, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			if err != nil {
				w.t.Fatal(err)
			}
			return kB << 10
		}
	}
	w.t.Fatalf("no %s in the status of %d", name, w.host.Process.Pid)
	return 0
}

// slack is how far a count may lie from what it was: a probe's own connection, a
// sample that is being taken.
const slack = 2

// atRest is the least that the host holds, when that has not become less for a
// second: a young one still looks for agents, and ends what it began with.
func (w *world) atRest() counts {
	w.t.Helper()
	least, since := w.count(), time.Now()
	w.until("the host's rest", time.Minute, func() bool {
		http.DefaultClient.CloseIdleConnections()
		if now := w.count(); now.Goroutines+now.Descriptors < least.Goroutines+least.Descriptors {
			least, since = now, time.Now()
		}
		return time.Since(since) > time.Second
	})
	return least
}

// settled waits until the host holds what it held before, and says what is too
// much where it does not come to that.
func (w *world) settled(before counts, limit time.Duration) counts {
	w.t.Helper()
	http.DefaultClient.CloseIdleConnections()
	off := func(a, b int) bool { return max(a-b, b-a) > slack }
	var now counts
	for deadline := time.Now().Add(limit); ; time.Sleep(100 * time.Millisecond) {
		now = w.count()
		http.DefaultClient.CloseIdleConnections()
		if !off(now.Descriptors, before.Descriptors) && !off(now.Goroutines, before.Goroutines) && !off(now.Children, before.Children) &&
			!off(now.Keepers, before.Keepers) && !off(now.Marked, before.Marked) && now.Database <= databaseMost {
			return now
		}
		if time.Now().After(deadline) {
			break
		}
	}
	w.t.Errorf("the host holds %+v, and held %+v", now, before)
	tally := map[string]int{}
	for _, name := range w.openFiles() {
		kind, _, _ := strings.Cut(name, "[")
		tally[kind]++
	}
	for _, name := range slices.Sorted(maps.Keys(tally)) {
		w.t.Logf("%4d × %s", tally[name], name)
	}
	w.t.Logf("goroutines:\n%s", w.goroutines())
	return now
}

// goroutines is the host's own table of them, those alike together.
func (w *world) goroutines() string {
	req, err := http.NewRequestWithContext(w.t.Context(), "POST", w.base+"/api/v1/host/diagnosis", nil)
	if err != nil {
		return err.Error()
	}
	req.Header.Set("Authorization", "Bearer "+w.token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	zr, err := gzip.NewReader(resp.Body)
	if err != nil {
		return err.Error()
	}
	for archive := tar.NewReader(zr); ; {
		head, err := archive.Next()
		if err != nil {
			return err.Error()
		}
		if strings.HasSuffix(head.Name, "goroutines.txt") {
			text, err := io.ReadAll(archive)
			return fmt.Sprintf("%.12000s\n%v", text, err)
		}
	}
}

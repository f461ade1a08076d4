package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/holdfast-dev/holdfast/internal/proc"
)

const (
	// dumpTime is how long a runtime has for its goroutines' stacks.
	dumpTime = 3 * time.Second
	// killTime is how long the kernel has to end a killed process.
	killTime = 10 * time.Second
	// keptReports bounds the folder, for a host that is stuck each hour.
	keptReports = 20
	maxLog      = 1 << 20
)

// ErrNoSupervisor says that nothing would start the host again.
var ErrNoSupervisor = errors.New("no supervisor runs this host, so nothing would start it again")

// End notes what was seen, and ends the wedged host of a report: first with
// SIGQUIT, at which its runtime prints every goroutine's stack where the
// service's standard error goes and exits, then with SIGKILL. It returns where
// the note lies.
func End(ctx context.Context, o Options, r *Report, force bool) (note string, err error) {
	if !r.Wedged || r.ID.Zero() {
		return "", errors.New("the host is not wedged")
	}
	if r.Host.Unit == "" && !force {
		return "", ErrNoSupervisor
	}
	note, noteErr := r.note(o.Home)
	// A note that cannot be written (a full disk) is no reason to leave a person
	// without a host.
	logErr := Log(o.Home, "the host (pid %d, %s) did not answer %d requests; it is ended: %s", r.ID.PID, r.Host.Unit, len(r.Asked), strings.Join(r.Asked, "; "))
	if err := r.end(ctx, o); err != nil {
		return note, errors.Join(err, noteErr, logErr)
	}
	return note, nil
}

func (r *Report) end(ctx context.Context, o Options) error {
	// It may have ended by itself, and another one begun.
	if h, held, err := Look(o.Home); err != nil || !held || h.PID != r.ID.PID {
		return errors.New("the host has changed meanwhile, so it was left alone")
	}
	if err := send(r.ID, syscall.SIGQUIT); err != nil && !errors.Is(err, proc.ErrGone) {
		return err
	}
	if gone(ctx, r.ID, dumpTime) {
		return nil
	}
	if err := send(r.ID, syscall.SIGKILL); err != nil && !errors.Is(err, proc.ErrGone) {
		return err
	}
	if !gone(ctx, r.ID, killTime) {
		return fmt.Errorf("process %d was killed and is still there after %s: the kernel holds it, on a disk that hangs for example", r.ID.PID, killTime)
	}
	return nil
}

func gone(ctx context.Context, id proc.ID, limit time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for proc.Alive(id) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return !proc.Alive(id)
		}
	}
	return true
}

// note writes down what was asked and seen, and what the kernel says.
func (r *Report) note(home string) (string, error) {
	var text strings.Builder
	now := time.Now().UTC()
	fmt.Fprintf(&text, "A host that does not answer, seen from outside at %s.\n\n", now.Format(time.RFC3339))
	for _, c := range r.Checks {
		fmt.Fprintf(&text, "%s: %s\n", c.Name, c.Seen)
	}
	text.WriteString("\nRequests:\n")
	for _, a := range r.Asked {
		text.WriteString("  " + a + "\n")
	}
	if runtime.GOOS == "linux" {
		for _, name := range []string{"status", "wchan", "stack"} {
			if data, err := os.ReadFile("/proc/" + strconv.Itoa(r.ID.PID) + "/" + name); err == nil && len(data) > 0 {
				fmt.Fprintf(&text, "\n/proc/%d/%s:\n%s\n", r.ID.PID, name, data)
			}
		}
	}
	fds, err := proc.Descriptors(r.ID.PID)
	fmt.Fprintf(&text, "\nDescriptors: %d", len(fds))
	if err != nil {
		fmt.Fprintf(&text, " (%v)", err)
	}
	text.WriteString("\n")
	for _, d := range fds {
		fmt.Fprintf(&text, "  %d %s\n", d.FD, d.Target)
	}
	dir := filepath.Join(home, "crash")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make folder for reports: %w", err)
	}
	prune(dir)
	path := filepath.Join(dir, "wedged-"+now.Format("20060102T150405.000Z")+".txt")
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		return "", fmt.Errorf("write report: %w", err)
	}
	return path, nil
}

// prune removes our oldest reports.
func prune(dir string) {
	old, err := filepath.Glob(filepath.Join(dir, "wedged-*.txt"))
	if err != nil || len(old) < keptReports {
		return
	}
	slices.Sort(old) // by time
	for _, path := range old[:len(old)-keptReports+1] {
		os.Remove(path)
	}
}

// Log adds a line to <home>/logs/doctor.log.
func Log(home, format string, args ...any) error {
	dir := filepath.Join(home, "logs")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make folder for logs: %w", err)
	}
	path := filepath.Join(dir, "doctor.log")
	if info, err := os.Stat(path); err == nil && info.Size() > maxLog {
		if err := os.Rename(path, path+".1"); err != nil {
			return fmt.Errorf("turn the log over: %w", err)
		}
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	_, err = fmt.Fprintf(f, "%s %s\n", time.Now().UTC().Format(time.RFC3339), fmt.Sprintf(format, args...))
	return errors.Join(err, f.Close())
}

package supervise

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// runit, s6 and daemontools descend from one another: a folder holds a service
// and another one the folders of all services.

// Drop is the program that takes the rights of a user.
func (s Spec) Drop() string {
	switch s.Unit.Manager {
	case Runit:
		return "chpst -u"
	case S6:
		return "s6-setuidgid"
	default:
		return "setuidgid"
	}
}

func renderFolder(s Spec) ([]File, error) {
	if !filepath.IsAbs(s.Unit.Dir) {
		return nil, fmt.Errorf("the service folder needs an absolute path, not %q", s.Unit.Dir)
	}
	var files []File
	add := func(name string, mode fs.FileMode, text string) {
		files = append(files, File{Path: filepath.Join(s.Unit.Dir, name), Mode: mode, Text: text})
	}
	run, err := fill("shell.tmpl", s)
	if err != nil {
		return nil, err
	}
	add("run", 0o755, run)
	if s.Unit.Manager != Daemontools {
		finish, err := fill(string(s.Unit.Manager)+".finish.tmpl", s)
		if err != nil {
			return nil, err
		}
		add("finish", 0o755, finish)
	}
	if s.Unit.Manager == S6 {
		// These files are read as numbers; there is no place for our mark.
		add("notification-fd", 0o644, "3\n")
		add("timeout-kill", 0o644, strconv.Itoa(stopSeconds*1000)+"\n")
		add("timeout-finish", 0o644, "5000\n")
	}
	if s.Down {
		add("down", 0o644, "# "+Mark+" --no-start\n")
	}
	return files, nil
}

// appears is how long a supervisor may take to see a new folder: runsvdir and
// svscan look every five seconds.
const appears = 15 * time.Second

// folder controls a service that is a folder.
type folder struct {
	Unit
	run runner
}

// watched tells whether a supervisor holds the folder. Where that cannot be
// told (no rights, no tools) it is taken to be so, and what comes next says why.
func (f folder) watched(ctx context.Context) bool {
	switch f.Manager {
	case S6:
		_, err := f.run.run(ctx, "", "s6-svok", f.Dir)
		return code(err) != 1
	case Daemontools:
		_, err := f.run.run(ctx, "", "svok", f.Dir)
		return code(err) != 100
	}
	out, err := f.run.run(ctx, "", "sv", "status", f.Dir)
	if err == nil || strings.Contains(out, "denied") {
		return true
	}
	for _, none := range []string{"supervise/ok", "runsv not running", "unable to change to service"} {
		if strings.Contains(out, none) {
			return false
		}
	}
	return true
}

// load has the supervisor see the folder.
func (f folder) load(ctx context.Context, _ []string) error {
	if f.watched(ctx) {
		return nil
	}
	if f.Manager == S6 {
		if _, err := f.run.run(ctx, "", "s6-svscanctl", "-a", filepath.Dir(f.Dir)); err != nil {
			return fmt.Errorf("tell s6-svscan of %s: %w. Is one running for the folder %s", f.Dir, err, filepath.Dir(f.Dir))
		}
	}
	if !until(ctx, appears, func() bool { return f.watched(ctx) }) {
		return fmt.Errorf("%s did not take up %s within %s. Check that it runs for the folder %s: ps ax | grep %s",
			scanner[f.Manager], f.Dir, appears, filepath.Dir(f.Dir), scanner[f.Manager])
	}
	return nil
}

func (f folder) start(ctx context.Context) error {
	if err := os.Remove(filepath.Join(f.Dir, "down")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("let the service start with the machine: %w", err)
	}
	if err := f.load(ctx, nil); err != nil {
		return err
	}
	var err error
	switch f.Manager {
	case S6:
		_, err = f.run.run(ctx, "", "s6-svc", "-u", f.Dir)
	case Daemontools:
		err = f.svc(ctx, "-u", f.Dir)
	default:
		_, err = f.run.run(ctx, "", "sv", "-w", seconds(stopSeconds), "up", f.Dir)
	}
	return err
}

func (f folder) stop(ctx context.Context) error {
	if !f.watched(ctx) {
		return nil // no supervisor, so nothing that it runs
	}
	var err error
	switch f.Manager {
	case S6:
		_, err = f.run.run(ctx, "", "s6-svc", "-wD", "-T", strconv.Itoa((stopSeconds+5)*1000), "-d", f.Dir)
	case Daemontools:
		err = f.svc(ctx, "-d", f.Dir)
	default:
		_, err = f.run.run(ctx, "", "sv", "-w", seconds(stopSeconds+5), "down", f.Dir)
	}
	if err != nil {
		return err
	}
	return f.wait(ctx, "stop", func(s State) bool { return s.Phase == Stopped || s.Phase == Failed })
}

// svc runs daemontools' tool, which warns where it fails and says that it did
// not.
func (f folder) svc(ctx context.Context, args ...string) error {
	out, err := f.run.run(ctx, "", "svc", args...)
	if err == nil && strings.Contains(out, "unable to") {
		err = &toolError{command: "svc " + strings.Join(args, " "), out: out, err: errors.New("it failed")}
	}
	return err
}

// restart ends the host and lets the supervisor start it again.
func (f folder) restart(ctx context.Context) error {
	before, err := f.status(ctx)
	if err != nil {
		return err
	}
	if before.PID == 0 {
		return f.start(ctx)
	}
	switch f.Manager {
	case S6:
		_, err = f.run.run(ctx, "", "s6-svc", "-r", f.Dir)
	case Daemontools:
		err = f.svc(ctx, "-t", f.Dir)
	default:
		_, err = f.run.run(ctx, "", "sv", "-w", seconds(stopSeconds+5), "restart", f.Dir)
	}
	if err != nil {
		return err
	}
	return f.wait(ctx, "restart", func(s State) bool { return s.PID != 0 && s.PID != before.PID })
}

// unload hides the folder, so that nothing starts it again, ends what
// supervises it, and removes it. What a person has put into it stays, hidden.
func (f folder) unload(ctx context.Context) error {
	hidden := folder{f.Unit, f.run}
	hidden.Dir = filepath.Join(filepath.Dir(f.Dir), "."+filepath.Base(f.Dir)+".removed")
	err := os.Rename(f.Dir, hidden.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("hide the service folder: %w", err)
	}
	// Where an earlier attempt got no further, the hidden folder is there.
	if hidden.watched(ctx) {
		if err := hidden.exit(ctx); err != nil {
			return err
		}
	}
	for _, name := range []string{
		"run", "finish", "down", "last-exit", "last-exit.new", "notification-fd", "timeout-kill", "timeout-finish", "supervise", "event",
	} {
		if err := os.RemoveAll(filepath.Join(hidden.Dir, name)); err != nil {
			return fmt.Errorf("remove the service folder: %w", err)
		}
	}
	if err := os.Remove(hidden.Dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the service folder: %w. What in it is not Holdfast's was left there", err)
	}
	return nil
}

func (f folder) unloaded(context.Context) error { return nil }

// exit ends the supervisor of a folder that nothing starts again.
func (f folder) exit(ctx context.Context) error {
	var err error
	switch f.Manager {
	case S6:
		if _, err = f.run.run(ctx, "", "s6-svc", "-xd", f.Dir); err == nil {
			_, err = f.run.run(ctx, "", "s6-svscanctl", "-an", filepath.Dir(f.Dir))
		}
	case Daemontools:
		err = f.svc(ctx, "-dx", f.Dir)
	default:
		_, err = f.run.run(ctx, "", "sv", "-w", seconds(stopSeconds+5), "exit", f.Dir)
	}
	if err != nil {
		return err
	}
	if !until(ctx, appears, func() bool { return !f.watched(ctx) }) {
		return fmt.Errorf("the supervisor of %s was told to leave it and still holds it after %s", f.Dir, appears)
	}
	return nil
}

func (f folder) wait(ctx context.Context, what string, good func(State) bool) error {
	limit := (stopSeconds + 5) * time.Second
	var last State
	if until(ctx, limit, func() bool {
		s, err := f.status(ctx)
		last = s
		return err == nil && good(s)
	}) {
		return nil
	}
	return fmt.Errorf("%s was asked to %s %s, and after %s it says: %s", f.Manager, what, f.Dir, limit, last.Raw)
}

var (
	runitLine  = regexp.MustCompile(`^(run|down|finish): .*?: (?:\(pid (\d+)\) )?(\d+)s`)
	svstatLine = regexp.MustCompile(`: (up|down)(?: \(pid (\d+)\))? (\d+) seconds`)
)

func (f folder) status(ctx context.Context) (State, error) {
	s := State{Restarts: -1}
	if _, err := os.Stat(f.Dir); err != nil {
		return State{Phase: Absent, Restarts: -1, Raw: "there is no " + f.Dir}, nil
	}
	if !f.watched(ctx) {
		return State{Phase: Stopped, Restarts: -1, Raw: "no " + string(f.Manager) + " supervises " + f.Dir}, nil
	}
	tool, args, line := "sv", []string{"status", f.Dir}, runitLine
	switch f.Manager {
	case S6:
		tool, args = "s6-svstat", []string{"-o", "up,pid,updownfor,exitcode,signum,wantedup", f.Dir}
	case Daemontools:
		tool, args, line = "svstat", []string{f.Dir}, svstatLine
	}
	out, err := f.run.run(ctx, "", tool, args...)
	s.Raw = strings.TrimSpace(out)
	if f.Manager == S6 {
		if err != nil {
			return s, err
		}
		return f.readS6(s)
	}
	m := line.FindStringSubmatch(s.Raw)
	if m == nil {
		if err == nil {
			err = fmt.Errorf("%s says what we cannot read: %s", tool, s.Raw)
		}
		return s, err
	}
	// sv reports a service that is down by its exit code as well.
	s.PID, _ = strconv.Atoi(m[2])
	age, _ := strconv.Atoi(m[3])
	s.Since = time.Now().Add(-time.Duration(age) * time.Second).Truncate(time.Second)
	switch {
	case (m[1] == "run" || m[1] == "up") && s.PID != 0:
		s.Phase = Running
	case m[1] == "finish":
		s.Phase, s.PID = Starting, 0
	default:
		s.Phase, s.PID = f.down(), 0
	}
	return s, nil
}

// down tells a stop from a host that asked to stay down.
func (f folder) down() Phase {
	if text, err := os.ReadFile(filepath.Join(f.Dir, "last-exit")); err == nil {
		if code, _, _ := strings.Cut(strings.TrimSpace(string(text)), " "); code == "78" {
			return Failed
		}
	}
	return Stopped
}

func (f folder) readS6(s State) (State, error) {
	words := strings.Fields(s.Raw)
	if len(words) != 6 {
		return s, fmt.Errorf("s6-svstat says what we cannot read: %s", s.Raw)
	}
	age, _ := strconv.Atoi(words[2])
	s.Since = time.Now().Add(-time.Duration(age) * time.Second).Truncate(time.Second)
	switch {
	case words[0] == "true":
		s.Phase = Running
		s.PID, _ = strconv.Atoi(words[1])
		s.Raw = fmt.Sprintf("up (pid %s) %s seconds", words[1], words[2])
	case words[5] == "true":
		s.Phase, s.Raw = Starting, "down, wanted up, "+words[2]+" seconds"
	default:
		s.Phase, s.Raw = f.down(), fmt.Sprintf("down (exit code %s) %s seconds", words[3], words[2])
	}
	return s, nil
}

func seconds(n int) string { return strconv.Itoa(n) }

// until asks every moment, for as long as limit, and tells whether the answer
// was yes at last.
func until(ctx context.Context, limit time.Duration, good func() bool) bool {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for wait := 20 * time.Millisecond; ; wait = min(2*wait, 500*time.Millisecond) {
		if good() {
			return true
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return false
		}
	}
}

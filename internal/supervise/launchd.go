package supervise

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"howett.net/plist"
)

// job is a launchd job. The keys and their types are launchd.plist(5)'s.
type job struct {
	Label                string
	ProgramArguments     []string
	UserName             string `plist:",omitempty"`
	WorkingDirectory     string
	EnvironmentVariables map[string]string
	RunAtLoad            bool            `plist:",omitempty"`
	KeepAlive            map[string]bool `plist:",omitempty"`
	StartInterval        int             `plist:",omitempty"`
	ThrottleInterval     int             `plist:",omitempty"`
	ExitTimeOut          int             `plist:",omitempty"`
	AbandonProcessGroup  bool            `plist:",omitempty"`
	ProcessType          string
	SoftResourceLimits   map[string]int `plist:",omitempty"`
	HardResourceLimits   map[string]int `plist:",omitempty"`
	StandardOutPath      string
	StandardErrorPath    string
}

func renderLaunchd(s Spec) ([]File, error) {
	dir := s.Dir
	if dir == "" {
		dir = launchdDir(s.Unit.System, s.UserHome)
	}
	if !filepath.IsAbs(dir) {
		return nil, fmt.Errorf("the folder of the jobs needs an absolute path, not %q", dir)
	}
	env := map[string]string{}
	for _, kv := range s.Env {
		k, v, _ := strings.Cut(kv, "=")
		env[k] = v
	}
	limits := map[string]int{"NumberOfFiles": int(s.NoFile)}
	host := job{
		Label: s.Unit.Name, ProgramArguments: s.Args(), UserName: s.User, WorkingDirectory: s.WorkDir, EnvironmentVariables: env,
		RunAtLoad: true,
		// Any exit but 0 starts it again. launchd tells codes no further apart, so
		// the host turns its 78 into a logged 0 here.
		KeepAlive:        map[string]bool{"SuccessfulExit": false},
		ThrottleInterval: throttleSeconds, ExitTimeOut: stopSeconds,
		// Without it launchd kills what is left of the host's process group. Keepers
		// have groups of their own; this is the second bolt on that door.
		AbandonProcessGroup: true,
		// Interactive: no throttling of processor and disk, as befits what a person
		// waits for.
		ProcessType:        "Interactive",
		SoftResourceLimits: limits, HardResourceLimits: limits,
		StandardOutPath: s.Stderr(), StandardErrorPath: s.Stderr(),
	}
	jobs := []job{host}
	if s.Timer {
		jobs = append(jobs, job{
			Label: doctorLabel(s.Unit.Name), ProgramArguments: s.Doctor(), UserName: s.User, WorkingDirectory: s.WorkDir, EnvironmentVariables: env,
			StartInterval: doctorSeconds, ExitTimeOut: stopSeconds, ProcessType: "Background",
			StandardOutPath: "/dev/null", StandardErrorPath: "/dev/null", // it keeps a log of its own
		})
	}
	var files []File
	for _, j := range jobs {
		text, err := encodeJob(j, s.Remove())
		if err != nil {
			return nil, err
		}
		files = append(files, File{Path: filepath.Join(dir, j.Label+".plist"), Mode: 0o644, Text: text})
	}
	return files, nil
}

func encodeJob(j job, remove string) (string, error) {
	data, err := plist.MarshalIndent(j, plist.XMLFormat, "\t")
	if err != nil {
		return "", fmt.Errorf("encode the job %s: %w", j.Label, err)
	}
	// A comment may not hold two hyphens, and goes after the document's type.
	note := fmt.Sprintf("<!-- Holdfast under launchd; %s.\n     Remove it with: holdfast service uninstall -->\n", Mark)
	if strings.HasPrefix(remove, "sudo ") {
		note = strings.Replace(note, "with: ", "with: sudo ", 1)
	}
	head, body, ok := bytes.Cut(data, []byte("<plist "))
	if !ok {
		return "", fmt.Errorf("encode the job %s: no plist came out", j.Label)
	}
	return string(head) + note + "<plist " + strings.TrimSuffix(string(body), "\n") + "\n", nil
}

func doctorLabel(label string) string { return label + ".doctor" }

func launchdDir(system bool, home string) string {
	if system {
		return "/Library/LaunchDaemons"
	}
	return filepath.Join(home, "Library", "LaunchAgents")
}

// launchd controls by launchctl. None of it has been run on a Mac.
type launchd struct {
	Unit
	run  runner
	uid  int           // 0: of this process
	dir  string        // of the files; "" is the usual one
	poll time.Duration // how long bootout may take; 0 is the usual time
}

func (d launchd) domain() string {
	if d.System {
		return "system"
	}
	uid := d.uid
	if uid == 0 {
		uid = os.Getuid()
	}
	return "gui/" + strconv.Itoa(uid)
}

func (d launchd) file(label string) string {
	dir := d.dir
	if dir == "" {
		home, _ := os.UserHomeDir()
		dir = launchdDir(d.System, home)
	}
	return filepath.Join(dir, label+".plist")
}

func (d launchd) ctl(ctx context.Context, args ...string) (string, error) {
	return d.run.run(ctx, "", "launchctl", args...)
}

func (d launchd) loaded(ctx context.Context, label string) bool {
	_, err := d.ctl(ctx, "print", d.domain()+"/"+label)
	return err == nil
}

// bootstrap loads a job. One that is loaded is booted out first, since
// launchd reads its file no second time.
func (d launchd) bootstrap(ctx context.Context, label string) error {
	if err := d.bootout(ctx, label); err != nil {
		return err
	}
	// A job that was disabled by hand once is refused with error 5 otherwise.
	if _, err := d.ctl(ctx, "enable", d.domain()+"/"+label); err != nil {
		return err
	}
	_, err := d.ctl(ctx, "bootstrap", d.domain(), d.file(label))
	if err != nil {
		return fmt.Errorf("%w. %s", err, d.hint(err))
	}
	return nil
}

func (d launchd) hint(err error) string {
	switch {
	case code(err) == 125 || strings.Contains(err.Error(), "Domain does not support"):
		return "An agent of a user needs a person who is logged in at the Mac's own screen. For a Mac without one: sudo holdfast service install --system"
	case code(err) == 5:
		return "launchd says that when the job is still ending, or when its file is not owned by whom it is for. Look with: launchctl print " + d.domain() + "/" + d.Name
	default:
		return "Look with: launchctl print " + d.domain() + "/" + d.Name
	}
}

// bootout unloads a job, which ends it, and waits until launchd has forgotten
// it: the command returns earlier.
func (d launchd) bootout(ctx context.Context, label string) error {
	if !d.loaded(ctx, label) {
		return nil
	}
	// 36 (in progress) and 3 (gone meanwhile) are what waiting is for.
	if _, err := d.ctl(ctx, "bootout", d.domain()+"/"+label); err != nil && code(err) != 36 && code(err) != 3 {
		return err
	}
	limit := d.poll
	if limit == 0 {
		limit = (stopSeconds + 5) * time.Second
	}
	if !until(ctx, limit, func() bool { return !d.loaded(ctx, label) }) {
		return fmt.Errorf("launchd was told to leave %s and still has it after %s", label, limit)
	}
	return nil
}

// load loads both jobs; RunAtLoad starts the host. A job that is loaded and
// whose file has not changed is left alone.
func (d launchd) load(ctx context.Context, changed []string) error {
	for _, label := range []string{d.Name, doctorLabel(d.Name)} {
		if _, err := os.Stat(d.file(label)); err != nil {
			if label == d.Name {
				return fmt.Errorf("the file of the job is missing: %w", err)
			}
			continue // without the second line
		}
		if !slices.Contains(changed, d.file(label)) && d.loaded(ctx, label) {
			continue
		}
		if err := d.bootstrap(ctx, label); err != nil {
			return err
		}
	}
	return nil
}

func (d launchd) unload(ctx context.Context) error {
	return errors.Join(d.bootout(ctx, doctorLabel(d.Name)), d.bootout(ctx, d.Name))
}

func (d launchd) unloaded(context.Context) error { return nil }

func (d launchd) start(ctx context.Context) error {
	if !d.loaded(ctx, d.Name) {
		return d.load(ctx, nil)
	}
	// Without -k: one that runs is left alone.
	_, err := d.ctl(ctx, "kickstart", d.domain()+"/"+d.Name)
	return err
}

// stop unloads the job. `launchctl kill` only sends a signal: launchd would
// start a host that does not answer it, and is killed in the end, again.
func (d launchd) stop(ctx context.Context) error { return d.bootout(ctx, d.Name) }

func (d launchd) restart(ctx context.Context) error {
	if !d.loaded(ctx, d.Name) {
		return d.load(ctx, nil)
	}
	// -k ends the process (SIGTERM, SIGKILL after ExitTimeOut) and starts
	// another at once.
	_, err := d.ctl(ctx, "kickstart", "-k", d.domain()+"/"+d.Name)
	return err
}

var (
	printState = regexp.MustCompile(`(?m)^\tstate = (.+)$`)
	printPID   = regexp.MustCompile(`(?m)^\tpid = (\d+)$`)
	printRuns  = regexp.MustCompile(`(?m)^\truns = (\d+)$`)
	printExit  = regexp.MustCompile(`(?m)^\tlast exit code = (.+)$`)
)

func (d launchd) status(ctx context.Context) (State, error) {
	s := State{Restarts: -1}
	out, err := d.ctl(ctx, "print", d.domain()+"/"+d.Name)
	if err != nil {
		if code(err) == 113 || strings.Contains(out, "Could not find service") {
			if _, err := os.Stat(d.file(d.Name)); err == nil {
				return State{Phase: Stopped, Restarts: -1, Raw: "not loaded; its file is there"}, nil
			}
			return State{Phase: Absent, Restarts: -1, Raw: "launchd knows no " + d.Name}, nil
		}
		return s, err
	}
	field := func(re *regexp.Regexp) string {
		if m := re.FindStringSubmatch(out); m != nil {
			return m[1]
		}
		return ""
	}
	s.PID, _ = strconv.Atoi(field(printPID))
	if runs, err := strconv.Atoi(field(printRuns)); err == nil {
		s.Restarts = max(0, runs-1)
	}
	state, exit := field(printState), field(printExit)
	s.Raw = "state " + state
	if exit != "" {
		s.Raw += ", last exit code " + exit
	}
	switch {
	case s.PID != 0:
		s.Phase = Running
	case strings.HasPrefix(state, "spawn"): // "spawn scheduled": the throttle
		s.Phase = Starting
	case exit == "" || exit == "0" || strings.HasPrefix(exit, "(never"):
		s.Phase = Stopped
	default:
		s.Phase = Failed
	}
	return s, nil
}

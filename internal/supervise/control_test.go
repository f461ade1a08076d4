package supervise

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// script answers the commands of a supervisor. Each command takes its next
// answer; the last one stays.
type script struct {
	t       *testing.T
	answers map[string][]answer
	calls   []string
	stdin   string // of the last command that had one
}

type answer struct {
	out  string
	code int
}

func (s *script) run(_ context.Context, stdin, tool string, args ...string) (string, error) {
	call := strings.Join(append([]string{tool}, args...), " ")
	s.calls = append(s.calls, call)
	if stdin != "" {
		s.stdin = stdin
	}
	list, known := s.answers[call]
	if !known {
		return "", nil
	}
	a := list[0]
	if len(list) > 1 {
		s.answers[call] = list[1:]
	}
	if a.code == 0 {
		return a.out, nil
	}
	err := exec.Command("sh", "-c", fmt.Sprintf("exit %d", a.code)).Run()
	if code(err) != a.code {
		s.t.Fatal(err)
	}
	return a.out, &toolError{command: call, out: a.out, err: err}
}

const missing = "Bad request.\nCould not find service \"dev.holdfast\" in domain for user gui: 501"

var loadedJob = answer{out: "gui/501/dev.holdfast = {\n\tactive count = 1\n\tpath = /x\n\tstate = running\n\n\truns = 3\n\tpid = 4711\n\tlast exit code = 75\n}"}

// No Mac was at hand: the commands are what launchctl(1) documents, its answers
// are what was read about.
func TestLaunchdCommands(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no launchd")
	}
	gone := answer{out: missing, code: 113}
	const job, doctor = "gui/501/dev.holdfast", "gui/501/dev.holdfast.doctor"
	for name, c := range map[string]struct {
		do      func(launchd) error
		system  bool
		answers map[string][]answer
		want    []string // $F is the folder of the files
		fails   string   // in the error; "" for none
	}{
		"load": {
			do:      func(d launchd) error { return d.load(t.Context(), []string{d.file("dev.holdfast")}) },
			answers: map[string][]answer{"launchctl print " + job: {gone}, "launchctl print " + doctor: {gone}},
			want: []string{
				"launchctl print " + job, "launchctl enable " + job, "launchctl bootstrap gui/501 $F/dev.holdfast.plist",
				"launchctl print " + doctor, "launchctl print " + doctor, "launchctl enable " + doctor, "launchctl bootstrap gui/501 $F/dev.holdfast.doctor.plist",
			},
		},
		"load what has changed: out first, waiting until it is gone": {
			do: func(d launchd) error { return d.load(t.Context(), []string{d.file("dev.holdfast")}) },
			answers: map[string][]answer{
				"launchctl print " + job: {loadedJob, loadedJob, loadedJob, gone}, "launchctl bootout " + job: {{code: 36, out: "Operation now in progress"}},
			},
			want: []string{
				"launchctl print " + job, "launchctl bootout " + job, "launchctl print " + job, "launchctl print " + job, "launchctl print " + job,
				"launchctl enable " + job, "launchctl bootstrap gui/501 $F/dev.holdfast.plist", "launchctl print " + doctor,
			},
		},
		"load what has not changed": {
			do:   func(d launchd) error { return d.load(t.Context(), nil) },
			want: []string{"launchctl print " + job, "launchctl print " + doctor},
		},
		"a domain that nobody is logged in to": {
			do: func(d launchd) error { return d.bootstrap(t.Context(), d.Name) },
			answers: map[string][]answer{
				"launchctl print " + job: {gone}, "launchctl bootstrap gui/501 $F/dev.holdfast.plist": {{code: 125, out: "Bootstrap failed: 125: Domain does not support specified action"}},
			},
			want:  []string{"launchctl print " + job, "launchctl enable " + job, "launchctl bootstrap gui/501 $F/dev.holdfast.plist"},
			fails: "--system",
		},
		"start": {
			do:   func(d launchd) error { return d.start(t.Context()) },
			want: []string{"launchctl print " + job, "launchctl kickstart " + job},
		},
		"restart": {
			do:   func(d launchd) error { return d.restart(t.Context()) },
			want: []string{"launchctl print " + job, "launchctl kickstart -k " + job},
		},
		"restart of the system's": {
			system: true,
			do:     func(d launchd) error { return d.restart(t.Context()) },
			want:   []string{"launchctl print system/dev.holdfast", "launchctl kickstart -k system/dev.holdfast"},
		},
		"stop": {
			do:      func(d launchd) error { return d.stop(t.Context()) },
			answers: map[string][]answer{"launchctl print " + job: {loadedJob, gone}},
			want:    []string{"launchctl print " + job, "launchctl bootout " + job, "launchctl print " + job},
		},
		"stop of what does not run": {
			do:      func(d launchd) error { return d.stop(t.Context()) },
			answers: map[string][]answer{"launchctl print " + job: {gone}},
			want:    []string{"launchctl print " + job},
		},
		"stop of what launchd does not let go": {
			do:    func(d launchd) error { d.poll = time.Millisecond; return d.stop(t.Context()) },
			want:  []string{"launchctl print " + job, "launchctl bootout " + job, "launchctl print " + job},
			fails: "still has it",
		},
		"unload": {
			do:      func(d launchd) error { return d.unload(t.Context()) },
			answers: map[string][]answer{"launchctl print " + job: {loadedJob, gone}, "launchctl print " + doctor: {loadedJob, gone}},
			want: []string{
				"launchctl print " + doctor, "launchctl bootout " + doctor, "launchctl print " + doctor,
				"launchctl print " + job, "launchctl bootout " + job, "launchctl print " + job,
			},
		},
	} {
		dir := t.TempDir()
		for _, label := range []string{"dev.holdfast", "dev.holdfast.doctor"} {
			if err := os.WriteFile(filepath.Join(dir, label+".plist"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		s := &script{t: t, answers: map[string][]answer{}}
		for call, answers := range c.answers {
			s.answers[strings.ReplaceAll(call, "$F", dir)] = answers
		}
		d := launchd{Unit: Unit{Manager: Launchd, System: c.system, Name: "dev.holdfast"}, run: s, uid: 501, dir: dir}
		err := c.do(d)
		if c.fails == "" && err != nil || c.fails != "" && (err == nil || !strings.Contains(err.Error(), c.fails)) {
			t.Errorf("%s: error %v, want %q", name, err, c.fails)
		}
		for i, call := range s.calls {
			s.calls[i] = strings.ReplaceAll(call, dir, "$F")
		}
		if diff := cmp.Diff(c.want, s.calls); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
}

// What the supervisors say, as they were heard to say it; launchd's is from
// reading.
func TestStatus(t *testing.T) {
	dir := t.TempDir()
	failed := t.TempDir()
	if err := os.WriteFile(filepath.Join(failed, "last-exit"), []byte("78 0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	show := "systemctl --user show --timestamp=unix --property=LoadState,ActiveState,SubState,Result,MainPID,NRestarts,StateChangeTimestamp,ExecMainStatus holdfast.service"
	s6 := func(dir string) string { return "s6-svstat -o up,pid,updownfor,exitcode,signum,wantedup " + dir }
	type said map[string][]answer
	for name, c := range map[string]struct {
		unit Unit
		said said
		want State
	}{
		"runit up":      {Unit{Manager: Runit, Dir: dir}, said{"sv status " + dir: {{out: "run: " + dir + ": (pid 12) 3s"}}}, State{Phase: Running, PID: 12, Restarts: -1}},
		"runit down":    {Unit{Manager: Runit, Dir: dir}, said{"sv status " + dir: {{out: "down: " + dir + ": 1s, normally up"}}}, State{Phase: Stopped, Restarts: -1}},
		"runit 78":      {Unit{Manager: Runit, Dir: failed}, said{"sv status " + failed: {{out: "down: " + failed + ": 1s, normally up"}}}, State{Phase: Failed, Restarts: -1}},
		"runit finish":  {Unit{Manager: Runit, Dir: dir}, said{"sv status " + dir: {{out: "finish: " + dir + ": (pid 9) 0s"}}}, State{Phase: Starting, Restarts: -1}},
		"runit absent":  {Unit{Manager: Runit, Dir: dir + "/none"}, nil, State{Phase: Absent, Restarts: -1}},
		"runit alone":   {Unit{Manager: Runit, Dir: dir}, said{"sv status " + dir: {{out: "fail: " + dir + ": unable to open supervise/ok: file does not exist", code: 1}}}, State{Phase: Stopped, Restarts: -1}},
		"daemontools":   {Unit{Manager: Daemontools, Dir: dir}, said{"svstat " + dir: {{out: dir + ": up (pid 22) 5 seconds"}}}, State{Phase: Running, PID: 22, Restarts: -1}},
		"daemontools 0": {Unit{Manager: Daemontools, Dir: dir}, said{"svstat " + dir: {{out: dir + ": down 0 seconds, normally up"}}}, State{Phase: Stopped, Restarts: -1}},
		"s6 up":         {Unit{Manager: S6, Dir: dir}, said{s6(dir): {{out: "true 33 4 -1 -1 true"}}}, State{Phase: Running, PID: 33, Restarts: -1}},
		"s6 78":         {Unit{Manager: S6, Dir: failed}, said{s6(failed): {{out: "false -1 4 78 -1 false"}}}, State{Phase: Failed, Restarts: -1}},
		"s6 between":    {Unit{Manager: S6, Dir: dir}, said{s6(dir): {{out: "false -1 0 75 -1 true"}}}, State{Phase: Starting, Restarts: -1}},
		"supervisord": {Unit{Manager: Supervisord, Name: "holdfast", Server: "/s.conf"}, said{"supervisorctl -c /s.conf status holdfast": {{
			out: "holdfast                         RUNNING   pid 23466, uptime 2 days, 1:00:02",
		}}}, State{Phase: Running, PID: 23466, Restarts: -1}},
		"supervisord down": {Unit{Manager: Supervisord, Name: "holdfast", Server: "unix:///s"}, said{"supervisorctl -s unix:///s status holdfast": {{
			out: "holdfast                         STOPPED   Nov 24 02:52 PM", code: 3,
		}}}, State{Phase: Stopped, Restarts: -1}},
		"supervisord exited": {Unit{Manager: Supervisord, Name: "holdfast"}, said{"supervisorctl status holdfast": {{
			out: "holdfast                         EXITED    Nov 24 02:52 PM", code: 3,
		}}}, State{Phase: Failed, Restarts: -1}},
		"supervisord absent": {Unit{Manager: Supervisord, Name: "holdfast"}, said{"supervisorctl status holdfast": {{
			out: "holdfast: ERROR (no such process)", code: 4,
		}}}, State{Phase: Absent, Restarts: -1}},
		"systemd": {Unit{Manager: Systemd, Name: "holdfast.service"}, said{show: {{
			out: "MainPID=81\nNRestarts=2\nExecMainStatus=0\nResult=success\nLoadState=loaded\nActiveState=active\nSubState=running\nStateChangeTimestamp=@1764000000",
		}}}, State{Phase: Running, PID: 81, Restarts: 2, Since: time.Unix(1764000000, 0)}},
		"systemd failed": {Unit{Manager: Systemd, Name: "holdfast.service"}, said{show: {{
			out: "MainPID=0\nNRestarts=0\nExecMainStatus=78\nResult=exit-code\nLoadState=loaded\nActiveState=failed\nSubState=failed\nStateChangeTimestamp=",
		}}}, State{Phase: Failed, Restarts: 0}},
		"systemd absent": {Unit{Manager: Systemd, Name: "holdfast.service"}, said{show: {{out: "LoadState=not-found\nActiveState=inactive"}}}, State{Phase: Absent, Restarts: -1}},
		"launchd":        {Unit{Manager: Launchd, System: true, Name: "dev.holdfast"}, said{"launchctl print system/dev.holdfast": {loadedJob}}, State{Phase: Running, PID: 4711, Restarts: 2}},
		"launchd absent": {Unit{Manager: Launchd, System: true, Name: "dev.holdfast.none"}, said{"launchctl print system/dev.holdfast.none": {{out: missing, code: 113}}}, State{Phase: Absent, Restarts: -1}},
		"launchd throttled": {Unit{Manager: Launchd, System: true, Name: "dev.holdfast"}, said{"launchctl print system/dev.holdfast": {{
			out: "x = {\n\tstate = spawn scheduled\n\truns = 2\n\tlast exit code = 1\n}",
		}}}, State{Phase: Starting, Restarts: 1}},
	} {
		d, err := c.unit.driver(&script{t: t, answers: c.said})
		if err != nil {
			t.Fatal(err)
		}
		got, err := d.status(t.Context())
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		ignore := []string{"Raw"}
		if c.want.Since.IsZero() {
			ignore = append(ignore, "Since")
		}
		if diff := cmp.Diff(c.want, got, cmpopts.IgnoreFields(State{}, ignore...)); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
		if got.Raw == "" {
			t.Errorf("%s: the supervisor's words are lost", name)
		}
	}
}

// An error says which command failed, and with what words.
func TestToolErrors(t *testing.T) {
	_, err := tools{}.run(t.Context(), "", "sh", "-c", "echo why; exit 3")
	if err == nil || code(err) != 3 || !strings.Contains(err.Error(), "sh -c") || !strings.Contains(err.Error(), "why") {
		t.Errorf("%v", err)
	}
	if _, err := (tools{}).run(t.Context(), "", "holdfast-no-such-tool"); err == nil || !strings.Contains(err.Error(), "not installed") {
		t.Errorf("%v", err)
	}
}

func TestCron(t *testing.T) {
	s := specs["runit"]
	line := s.CronLine()
	other := specOf(s.Unit, func(o *Spec) { o.Home = "/home/ada/.holdfast2" }).CronLine()
	mine := "# a comment\n\n5 * * * * echo '# " + Mark + "'\n" + other
	table := &script{t: t, answers: map[string][]answer{"crontab -l": {{out: mine}}}}
	tab := Cron{run: table}
	if err := tab.Add(t.Context(), line); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(mine+"\n"+line+"\n", table.stdin); diff != "" {
		t.Errorf("adding changed more than one line:\n%s", diff)
	}
	// A new program moves the line; it is found by its end.
	older := strings.ReplaceAll(line, "/home/ada/.local/bin/", "/old/")
	table.answers["crontab -l"] = []answer{{out: older + "\n" + mine}}
	if err := tab.Add(t.Context(), line); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(mine+"\n"+line+"\n", table.stdin); diff != "" {
		t.Errorf("replacing:\n%s", diff)
	}
	table.answers["crontab -l"] = []answer{{out: mine + "\n" + line}}
	if !tab.Has(t.Context(), line) {
		t.Error("a line that is there is not found")
	}
	if err := tab.Remove(t.Context(), line); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(mine+"\n", table.stdin); diff != "" {
		t.Errorf("removing:\n%s", diff)
	}
	table.answers["crontab -l"] = []answer{{out: line}}
	if err := tab.Remove(t.Context(), line); err != nil || table.calls[len(table.calls)-1] != "crontab -r" {
		t.Errorf("the last line was removed by %s (%v)", table.calls[len(table.calls)-1], err)
	}
	table.answers["crontab -l"] = []answer{{out: "no crontab for ada", code: 1}}
	if err := tab.Add(t.Context(), line); err != nil || table.stdin != line+"\n" {
		t.Errorf("the first line: %q (%v)", table.stdin, err)
	}
	odd := specOf(s.Unit, odd).CronLine()
	if strings.Count(odd, "%") != strings.Count(odd, `\%`) {
		t.Errorf("cron would end the command at a percent sign: %s", odd)
	}
}

func TestRecognise(t *testing.T) {
	for line, want := range map[string]Seen{
		"runsvdir -P /etc/service log: ...":                  {Manager: Runit, Services: "/etc/service"},
		"/usr/bin/runsvdir /srv/sv":                          {Manager: Runit, Services: "/srv/sv"},
		"s6-svscan -d 4 -t5000 -- /run/service":              {Manager: S6, Services: "/run/service"},
		"s6-svscan -c 500 /run/service":                      {Manager: S6, Services: "/run/service"},
		"s6-svscan":                                          {Manager: S6, Services: "."},
		"/usr/bin/svscan /etc/service":                       {Manager: Daemontools, Services: "/etc/service"},
		"/usr/bin/python3 /usr/bin/supervisord -n -c /a.ini": {Manager: Supervisord, Server: "/a.ini"},
		"supervisord --configuration=etc/s.conf":             {Manager: Supervisord, Server: "etc/s.conf"},
	} {
		got, ok := recognise(strings.Fields(line))
		if diff := cmp.Diff(want, got); !ok || diff != "" {
			t.Errorf("%s: %t\n%s", line, ok, diff)
		}
	}
	for _, line := range []string{"sh -c runsvdir", "grep -r x supervisord", "supervisorctl", "runsv web"} {
		if got, ok := recognise(strings.Fields(line)); ok {
			t.Errorf("%s was taken for %v", line, got)
		}
	}
}

func TestIncluded(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s.conf")
	for text, want := range map[string][2]string{
		"[include]\nfiles = /etc/supervisor/conf.d/*.conf\n":           {"/etc/supervisor/conf.d", ".conf"},
		"[include]\nfiles = supervisord.d/*.ini ; parts\n":             {filepath.Join(dir, "supervisord.d"), ".ini"},
		"[include]\nfiles = %(here)s/x.conf %(here)s/d/*.conf\n":       {filepath.Join(dir, "d"), ".conf"},
		"[program:x]\nfiles = /a/*.conf\n[include]\nfiles=/b/*.conf\n": {"/b", ".conf"},
		"[supervisord]\n": {},
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, ext, err := Included(path)
		if got != want[0] || ext != want[1] || (err == nil) != (want[0] != "") {
			t.Errorf("%q: %s %s %v", text, got, ext, err)
		}
	}
}

// A folder appears whole, and what a person made is never overwritten or
// removed.
func TestFiles(t *testing.T) {
	parent := t.TempDir()
	s := specs["runit"]
	s.Unit.Dir = filepath.Join(parent, "holdfast")
	s.Down = true
	files, err := Render(s)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Unit.write(files, nil); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(parent)
	if err != nil || len(entries) != 1 {
		t.Fatalf("left beside the folder: %v (%v)", entries, err)
	}
	info, err := os.Stat(filepath.Join(s.Unit.Dir, "run"))
	if err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("run: %v (%v)", info, err)
	}
	changes, err := Compare(files)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range changes {
		if !c.Same() || c.Foreign {
			t.Errorf("%s was written and is said to differ", c.Path)
		}
	}
	// Without --no-start "down" goes.
	s.Down = false
	if files, err = Render(s); err != nil {
		t.Fatal(err)
	}
	if err := s.Unit.write(files, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(s.Unit.Dir, "down")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("down is still there: %v", err)
	}
	run := filepath.Join(s.Unit.Dir, "run")
	if err := os.WriteFile(run, []byte("#!/bin/sh\nexec mine\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if changes, err = Compare(files); err != nil || !changes[0].Foreign {
		t.Errorf("a person's own file is not seen as foreign: %v", err)
	}
	if err := s.Unit.uninstall(t.Context(), &script{t: t}, nil); err == nil {
		t.Error("a person's own service was removed")
	}
	if _, err := os.Stat(run); err != nil {
		t.Error(err)
	}
	if err := removeOurs(run); err == nil {
		t.Error("a person's own file was removed")
	}
}

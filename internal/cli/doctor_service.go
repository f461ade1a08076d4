package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast/internal/doctor"
	"github.com/holdfast-dev/holdfast/internal/supervise"
)

// supervisorTime bounds a question to a supervisor.
const supervisorTime = 10 * time.Second

// service looks at who starts the host, and tells whether that may happen at
// any moment while none runs.
func (e *examination) service(ctx context.Context) (starting bool) {
	if runtime.GOOS == "windows" {
		e.put(doctor.Okf(doctor.GroupService, "supervisor", "services are not there on Windows yet"))
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, 2*supervisorTime)
	defer cancel()
	s, err := e.a.service()
	if err != nil {
		e.put(doctor.Failf(doctor.GroupService, "supervisor", "Install it again: holdfast service install", "%v", err))
		return false
	}
	if s.unit.Zero() {
		e.put(e.unsupervised(ctx))
		return false
	}
	one, cancel := context.WithTimeout(ctx, supervisorTime)
	defer cancel()
	st, err := s.unit.Status(one)
	if err != nil {
		e.put(doctor.Warnf(doctor.GroupService, "supervisor", "Run this as the user whose service it is.", "%s does not tell: %v", s.unit, err))
	} else {
		e.put(e.phase(s, st)...)
		starting = !e.host.Held && (st.Phase == supervise.Running || st.Phase == supervise.Starting)
	}
	if s.record == nil {
		e.put(doctor.Okf(doctor.GroupService, "unit", "%s was made by hand: its files are not ours to judge", s.unit))
		return starting
	}
	e.put(e.unit(ctx, s), e.boot(s))
	return starting
}

// unsupervised is a host that nothing starts again.
func (e *examination) unsupervised(ctx context.Context) doctor.Check {
	var names []string
	if seen, err := supervise.Find(ctx); err == nil {
		for _, s := range seen {
			if s.Usable == "" {
				names = append(names, string(s.Manager))
			}
		}
	}
	what := "no service is installed: nothing starts the host again after a crash, or when the machine starts"
	if len(names) == 0 {
		return doctor.Warnf(doctor.GroupService, "supervisor", "Run a supervisor (docs/service.md has six), then: holdfast service install", "%s; no supervisor that could was seen", what)
	}
	return doctor.Warnf(doctor.GroupService, "supervisor", "holdfast service install", "%s; seen here: %s", what, strings.Join(names, ", "))
}

// phase is what the supervisor says, against what the kernel knows.
func (e *examination) phase(s *service, st supervise.State) []doctor.Check {
	r := &report{Healthy: true}
	if e.host.Held {
		r.Host = &e.host.Host
	}
	r.judge(st, s.unit)
	var checks []doctor.Check
	for _, text := range r.Problems {
		const remedy = "The whole tree: holdfast service status"
		if st.Phase == supervise.Failed || st.Phase == supervise.Absent {
			checks = append(checks, doctor.Failf(doctor.GroupService, "supervisor", remedy, "%s", text))
		} else {
			checks = append(checks, doctor.Warnf(doctor.GroupService, "supervisor", remedy, "%s", text))
		}
	}
	if len(checks) > 0 {
		return checks
	}
	if st.Phase == supervise.Stopped {
		return []doctor.Check{doctor.Warnf(doctor.GroupService, "supervisor", "holdfast service start", "%s is stopped", s.unit)}
	}
	text := fmt.Sprintf("%s, %s", s.unit, st.Phase)
	if st.Restarts > 0 {
		text += fmt.Sprintf(", started again %d times", st.Restarts)
	}
	return []doctor.Check{doctor.Okf(doctor.GroupService, "supervisor", "%s", text)}
}

// unit compares the service's files with what an installation would write now.
func (e *examination) unit(ctx context.Context, s *service) doctor.Check {
	in := e.again(s)
	if err := in.plan(ctx); err != nil {
		return doctor.Warnf(doctor.GroupService, "unit", "See what would be written: holdfast service install --print", "%s: its files could not be compared: %v", s.unit, err)
	}
	for _, f := range in.files {
		const renew = "See what would be written: `holdfast service install --print`; write it: `holdfast service install`"
		switch {
		case !f.Exists:
			return doctor.Failf(doctor.GroupService, "unit", renew, "%s is missing", f.Path)
		case f.Same():
			continue
		}
		if n, first := differs(f.Old, f.Text); n > 0 {
			return doctor.Warnf(doctor.GroupService, "unit", renew, "%s is not what this version writes; %d lines differ, the first: %s", f.Path, n, first)
		}
	}
	return doctor.Okf(doctor.GroupService, "unit", "%d files, as this version writes them", len(in.files))
}

var addrFlag = regexp.MustCompile(`--addr'?"?(?:</string>\s*<string>|\s+)'?"?([^\s<'"]+)`)

// again is the installation that made the service, as far as its files and its
// record tell with which flags.
func (e *examination) again(s *service) *installation {
	c := &serviceInstallCmd{
		Manager: string(s.unit.Manager), System: s.unit.System, Name: s.unit.Name, Bin: s.record.Exe, Print: true,
		NoTimer: s.record.Cron == "",
	}
	if os.Geteuid() == 0 {
		c.User = s.record.User
	}
	switch s.unit.Manager {
	case supervise.Launchd:
		c.Name = strings.TrimPrefix(strings.TrimPrefix(c.Name, "dev.holdfast"), ".")
		if c.Name == "" {
			c.Name = "holdfast"
		}
	case supervise.Systemd:
		c.Name = strings.TrimSuffix(c.Name, ".service")
	case supervise.Supervisord:
		c.SupervisorctlConfig = s.unit.Server
	default:
		c.ServicesDir = filepath.Dir(s.unit.Dir)
	}
	for _, path := range s.record.Files {
		if strings.Contains(filepath.Base(path), "doctor") {
			c.NoTimer = false
		}
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		if m := addrFlag.FindSubmatch(text); m != nil {
			c.Addr = string(m[1])
		}
		if s.unit.Manager == supervise.Supervisord {
			c.ServicesDir = filepath.Dir(path)
		}
	}
	return &installation{serviceInstallCmd: c, a: e.a}
}

// passingLine holds what the shell of whoever installs decides: it is no
// difference that another shell would write another PATH.
var passingLine = regexp.MustCompile(`\b(PATH|SHELL|USER|LOGNAME|HOME)=|<string>[^<]*:/|/bin/[a-z]+</string>`)

// differs counts the lines that two texts do not share, and shows the first.
func differs(old, now string) (n int, first string) {
	lines := func(text string) (list []string, set map[string]bool) {
		set = map[string]bool{}
		for line := range strings.Lines(text) {
			line = strings.TrimSpace(line)
			if line != "" && !passingLine.MatchString(line) {
				list, set[line] = append(list, line), true
			}
		}
		return list, set
	}
	was, wasSet := lines(old)
	is, isSet := lines(now)
	for _, l := range was {
		if !isSet[l] {
			if n++; first == "" {
				first = "it has " + l
			}
		}
	}
	for _, l := range is {
		if !wasSet[l] {
			if n++; first == "" {
				first = "it lacks " + l
			}
		}
	}
	return n, first
}

// boot tells whether the service starts with the machine.
func (e *examination) boot(s *service) doctor.Check {
	ok := func(format string, args ...any) doctor.Check {
		return doctor.Okf(doctor.GroupService, "boot", format, args...)
	}
	switch s.unit.Manager {
	case supervise.Launchd:
		if s.unit.System {
			return ok("it starts with the machine")
		}
		return ok("it starts when you log in to the machine; `sudo holdfast service install --system` makes one that does not wait for that")
	case supervise.Systemd:
		scope, target := "--user ", "default.target.wants"
		if s.unit.System {
			scope, target = "", "multi-user.target.wants"
		}
		for _, path := range s.record.Files {
			if filepath.Base(path) != s.unit.Name {
				continue
			}
			if _, err := os.Lstat(filepath.Join(filepath.Dir(path), target, s.unit.Name)); err != nil {
				return doctor.Warnf(doctor.GroupService, "boot", "systemctl "+scope+"enable "+s.unit.Name, "it is not enabled: nothing starts it with the machine")
			}
		}
		if s.unit.System {
			return ok("it starts with the machine")
		}
		name := e.a.env("USER")
		if u, err := os.UserHomeDir(); name == "" && err == nil {
			name = filepath.Base(u)
		}
		if _, err := os.Stat("/var/lib/systemd/linger/" + name); err != nil {
			return doctor.Warnf(doctor.GroupService, "boot", "sudo loginctl enable-linger "+name, "systemd starts it when you log in and ends it, agents too, when you log out")
		}
		return ok("it starts with the machine (lingering is on)")
	case supervise.Supervisord:
		return ok("it starts with supervisord")
	}
	if _, err := os.Stat(filepath.Join(s.unit.Dir, "down")); err == nil {
		return doctor.Warnf(doctor.GroupService, "boot", "rm "+filepath.Join(s.unit.Dir, "down"), "it has a file `down`: it waits for a start by hand")
	}
	return ok("it starts with %s", s.unit.Manager)
}

package supervise

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/holdfast-dev/holdfast/internal/proc"
)

// OpenRC is a supervisor that is found and not managed: its supervise-daemon
// starts a service again whatever it returns. ParseUnit does not know it.
const OpenRC Manager = "openrc"

// Self is what detection looks at.
type Self struct {
	PID, PPID int
	Env       []string
	Parent    Parent
	// Outputs are what standard output and standard error are, as JOURNAL_STREAM
	// names a stream: "device:inode", decimal.
	Outputs []string
	// CGroup is the text of /proc/self/cgroup.
	CGroup string
	// SystemJob tells of a launchd job whether it is one of the system's.
	SystemJob bool
}

// Parent is the process that started this one, or took it over from who did.
type Parent struct {
	Name string   // the short name, as ps shows it; the kernel cuts it
	Args []string // its name first
	Dir  string   // its working folder; "" where that cannot be told
}

// Finding is one thing that was looked at, as a sentence, and whether it
// decided that this process is supervised.
type Finding struct {
	What   string
	Counts bool
}

// Verdict is who starts this process again when it ends.
type Verdict struct {
	// Unit is the service that this process is; zero where nobody supervises
	// it. Its Name is empty where the supervisor told none.
	Unit     Unit
	Findings []Finding
}

// Supervised tells whether somebody starts this process again.
func (v Verdict) Supervised() bool { return !v.Unit.Zero() }

// Current looks at this process. What cannot be read is left empty.
func Current() Self {
	s := Self{PID: os.Getpid(), PPID: os.Getppid(), Env: os.Environ(), Outputs: outputs()}
	s.look()
	return s
}

// LookAt looks at another process. Of one that belongs to another user little
// can be read.
func LookAt(pid int) (Self, error) {
	info, err := proc.Lookup(pid)
	if err != nil {
		return Self{}, err
	}
	s := Self{PID: pid, PPID: info.Parent}
	s.Env, _ = proc.Environ(pid)
	s.look()
	return s, nil
}

func (s *Self) look() {
	if info, err := proc.Lookup(s.PPID); err == nil {
		s.Parent.Name = info.Command
	}
	s.Parent.Args, _ = proc.Args(s.PPID)
	s.Parent.Dir = serviceDir(s.PPID, s.Parent.Args)
	s.lookHere()
}

// serviceDirs are where a service's folder may lie whose supervisor tells only
// its name.
var serviceDirs = []string{"/etc/service", "/service", "/var/service", "/run/service", "/etc/runit/runsvdir/default"}

// serviceDir returns the folder in which the parent sits, which is the
// service's if it is a runsv or its like. A supervisor of another user (root's
// runsv, whose run script gave its rights away) does not show its folder: then
// its argument names the service, and the folder is the one that has a
// supervise folder inside.
func serviceDir(ppid int, args []string) string {
	if dir, err := proc.Cwd(ppid); err == nil {
		return dir
	}
	if len(args) < 2 {
		return ""
	}
	var tried []string
	if filepath.IsAbs(args[1]) {
		tried = append(tried, filepath.Clean(args[1]))
	}
	if dir, err := os.Getwd(); err == nil && filepath.Base(dir) == filepath.Base(args[1]) {
		tried = append(tried, dir)
	}
	for _, dir := range serviceDirs {
		tried = append(tried, filepath.Join(dir, filepath.Base(args[1])))
	}
	for _, dir := range tried {
		if info, err := os.Stat(filepath.Join(dir, "supervise")); err == nil && info.IsDir() {
			return dir
		}
	}
	return ""
}

// Detect tells who supervises s. It goes by what is true of this process and
// its parent alone: variables are inherited by everything that a service
// starts, a terminal in a desktop session too, and by what a keeper starts.
//
// A run script that does not exec is missed: then the host is the script's
// child, and no signal of the supervisor reaches it either.
func Detect(s Self) Verdict {
	d := &detection{Self: s}
	d.findParent()
	d.findSystemd()
	d.findSupervisord()
	d.findLaunchd()
	return d.Verdict
}

// detection is a verdict in the making.
type detection struct {
	Self
	Verdict
}

// count notes what makes u the verdict. The first one stands: a process has
// one parent.
func (d *detection) count(u Unit, format string, args ...any) {
	d.Findings = append(d.Findings, Finding{fmt.Sprintf(format, args...), !d.Supervised()})
	if !d.Supervised() {
		d.Unit = u
	}
}

func (d *detection) dismiss(format string, args ...any) {
	d.Findings = append(d.Findings, Finding{What: fmt.Sprintf(format, args...)})
}

func (d *detection) env(name string) (string, bool) {
	for _, kv := range slices.Backward(d.Env) {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			return v, true
		}
	}
	return "", false
}

// parentName names the parent for a person.
func (d *detection) parentName() string {
	name := d.Parent.Name
	if name == "" && len(d.Parent.Args) > 0 {
		name = filepath.Base(d.Parent.Args[0])
	}
	if name == "" {
		return fmt.Sprintf("process %d", d.PPID)
	}
	return fmt.Sprintf("%s (process %d)", name, d.PPID)
}

// maxName is how much of a process's short name Linux keeps.
const maxName = 15

// findParent knows the supervisors that set no variable, by their names.
func (d *detection) findParent() {
	for _, m := range []struct {
		name    string
		manager Manager
	}{
		{"runsv", Runit},
		{"s6-supervise", S6},
		{"supervise", Daemontools},
		{"supervise-daemon", OpenRC},
	} {
		if d.Parent.Name != m.name && d.Parent.Name != m.name[:min(len(m.name), maxName)] {
			continue
		}
		u := Unit{Manager: m.manager, Dir: d.Parent.Dir}
		switch {
		case m.manager == OpenRC:
			u.Dir = ""
			if len(d.Parent.Args) > 1 {
				u.Name = d.Parent.Args[1]
			}
		case u.Dir != "":
			u.Name = filepath.Base(u.Dir)
		}
		d.count(u, "The parent is %s: a supervisor.", d.parentName())
		return
	}
	switch {
	case d.PPID == 0:
		d.dismiss("This is the first process of a container, or its parent lies outside of it: who restarts it cannot be told.")
	case d.PPID == 1 && !isSystemd(d.Parent.Name) && !d.underLaunchd():
		d.dismiss("The parent is %s: who started this has ended.", d.parentName())
	default:
		d.dismiss("The parent is %s.", d.parentName())
	}
}

func isSystemd(name string) bool { return name == "systemd" }

// underLaunchd tells whether the parent is launchd, as far as that is known.
func (d *detection) underLaunchd() bool {
	return d.PPID == 1 && (d.Parent.Name == "launchd" || d.Parent.Name == "")
}

// findSystemd believes SYSTEMD_EXEC_PID, which names the process that systemd
// itself made. Before version 248 there is none: there our output is the
// journal's stream, or a notification socket is set, and systemd is the parent.
// An orphan of such an old unit cannot be told from the unit.
func (d *detection) findSystemd() {
	const inherited = "everything that a unit starts inherits it"
	if pid, ok := d.env("SYSTEMD_EXEC_PID"); ok {
		if pid == strconv.Itoa(d.PID) {
			d.count(d.systemdUnit(), "SYSTEMD_EXEC_PID is %s, which is this process: systemd started it.", pid)
		} else {
			d.dismiss("SYSTEMD_EXEC_PID is %s, which is another process: %s.", pid, inherited)
		}
		// It decides: the others are older and weaker.
		for _, name := range []string{"NOTIFY_SOCKET", "INVOCATION_ID", "JOURNAL_STREAM"} {
			if _, ok := d.env(name); ok {
				d.dismiss("%s is set: SYSTEMD_EXEC_PID decides.", name)
			}
		}
		return
	}
	if stream, ok := d.env("JOURNAL_STREAM"); ok {
		switch {
		case !slices.Contains(d.Outputs, stream):
			d.dismiss("JOURNAL_STREAM is %s, which is not the output of this process: %s.", stream, inherited)
		case !isSystemd(d.Parent.Name):
			d.dismiss("JOURNAL_STREAM is the output of this process, and the parent is not systemd: %s.", inherited)
		default:
			d.count(d.systemdUnit(), "JOURNAL_STREAM is the output of this process, and the parent is systemd.")
		}
	}
	if _, ok := d.env("NOTIFY_SOCKET"); ok {
		if isSystemd(d.Parent.Name) {
			d.count(d.systemdUnit(), "NOTIFY_SOCKET is set, and the parent is systemd.")
		} else {
			d.dismiss("NOTIFY_SOCKET is set, and the parent is not systemd: %s.", inherited)
		}
	}
	if _, ok := d.env("INVOCATION_ID"); ok {
		d.dismiss("INVOCATION_ID is set: %s.", inherited)
	}
}

// systemdUnit reads the unit off the control group: the first service that is
// no user's manager. What lies below it is the service's own affair.
func (d *detection) systemdUnit() Unit {
	u := Unit{Manager: Systemd, System: true}
	if slices.Contains(d.Parent.Args, "--user") {
		u.System = false
	}
	for part := range strings.SplitSeq(systemdGroup(d.CGroup), "/") {
		switch {
		case !strings.HasSuffix(part, ".service"):
		case strings.HasPrefix(part, "user@"):
			u.System = false
		case u.Name == "":
			u.Name = unescapeGroup(part)
		}
	}
	return u
}

// systemdGroup returns the path of systemd's own hierarchy, or of the only one.
func systemdGroup(text string) string {
	group := ""
	for line := range strings.Lines(text) {
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		switch {
		case len(fields) < 3:
		case fields[1] == "name=systemd":
			return fields[2]
		case fields[0] == "0":
			group = fields[2]
		}
	}
	return group
}

// unescapeGroup takes away the "_" that systemd puts before a name that the
// kernel could take for a file of its own.
func unescapeGroup(name string) string { return strings.TrimPrefix(name, "_") }

// findSupervisord wants the parent to be supervisord: what supervisord starts
// hands its variables on. Its program is a Python script, so the name stands
// behind the interpreter. Behind anything else (an init that runs supervisord
// in a container and takes over orphans) it is not the parent's own name.
func (d *detection) findSupervisord() {
	if _, ok := d.env("SUPERVISOR_ENABLED"); !ok {
		return
	}
	if !isSupervisord(d.Parent) {
		d.dismiss("SUPERVISOR_ENABLED is set, and the parent is not supervisord: everything that a program of supervisord starts inherits it.")
		return
	}
	group, _ := d.env("SUPERVISOR_GROUP_NAME")
	u := Unit{Manager: Supervisord}
	u.Name, _ = d.env("SUPERVISOR_PROCESS_NAME")
	u.Server, _ = d.env("SUPERVISOR_SERVER_URL")
	if group != "" && group != u.Name {
		u.Name = group + ":" + u.Name
	}
	d.count(u, "SUPERVISOR_ENABLED is set, and the parent is supervisord.")
}

func isSupervisord(p Parent) bool {
	arg := func(i int) string {
		if i >= len(p.Args) {
			return ""
		}
		return filepath.Base(p.Args[i])
	}
	python := strings.HasPrefix(arg(0), "python") || strings.HasPrefix(arg(0), "pypy")
	return p.Name == "supervisord" || arg(0) == "supervisord" ||
		python && (arg(1) == "supervisord" || arg(1) == "-m" && arg(2) == "supervisor.supervisord")
}

// findLaunchd wants launchd as the parent, a job's label, and none of those
// that macOS gives to applications and terminals. The child of a job whose
// parent has ended looks the same.
func (d *detection) findLaunchd() {
	label, hasLabel := d.env("XPC_SERVICE_NAME")
	_, hasSocket := d.env("LAUNCHD_SOCKET")
	u := Unit{Manager: Launchd, System: d.SystemJob}
	switch {
	case hasLabel && (label == "" || label == "0" || strings.HasPrefix(label, "application.")):
		d.dismiss("XPC_SERVICE_NAME is %q: macOS sets that in every terminal.", label)
	case hasLabel && !d.underLaunchd():
		d.dismiss("XPC_SERVICE_NAME is %q, and the parent is not launchd: everything that a job starts inherits it.", label)
	case hasLabel:
		u.Name = label
		d.count(u, "XPC_SERVICE_NAME is %q, and the parent is launchd.", label)
	case hasSocket && d.underLaunchd():
		d.count(u, "LAUNCHD_SOCKET is set, and the parent is launchd.")
	case hasSocket:
		d.dismiss("LAUNCHD_SOCKET is set, and the parent is not launchd: everything that a job starts inherits it.")
	}
}

//go:build supervisors

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/internal/proc"
)

// manager is a kind of supervisor and how a test plays with it.
type manager struct {
	name  string // as --manager has it
	tools []string
	able  func() error // tells why this machine cannot run it; nil: it can
	chain []string     // the parents of what it starts, nearest first, as far as the supervisor
	shell bool         // a shell stands between it and an installed host

	argv  func(*site) []string                // starts it
	flags func(*site) []string                // of service install
	began func(*site)                         // waits until it listens to commands
	write func(*site, program)                // a service by hand, known to it and up
	ready func(s *site, name string) []string // waits for readiness; nil: it knows none

	up, down, restart func(s *site, name string) []string
	// exit is the exit code of a service that is down; "" where it tells none.
	exit func(s *site, name string) string
	// died is how it says that a service ended that it has started again since; nil:
	// it does not say.
	died func(s *site, name string) string
	// isDown is what it says of a service that is down and stays so.
	isDown *regexp.Regexp
	status func(s *site, name string) []string
	// calm tells what it counted that a restart in place must not show it; nil:
	// it counts nothing.
	calm func(s *site, name string) string
	// watchdog sets the time after which a silent host is ended.
	watchdog func(s *site, name string, after time.Duration)
}

// parents is the chain of parents of an installed host.
func (m manager) parents() []string {
	if m.shell {
		return append([]string{"run"}, m.chain...)
	}
	return m.chain
}

var managers = []manager{runit, s6, supervisord, daemontools, systemd}

// need skips the test where the supervisor is absent.
func (m manager) need(t *testing.T) {
	t.Helper()
	for _, tool := range m.tools {
		if _, err := exec.LookPath(tool); err != nil {
			text := fmt.Sprintf("%s is not installed: %v", m.name, err)
			if os.Getenv("CI") == "true" {
				t.Fatal(text)
			}
			t.Skip("SKIPPED: " + text)
		}
	}
	if m.able == nil {
		return
	}
	// Also under CI=true: whether a machine lets a test run its own systemd
	// depends on the container that the machine is.
	if err := m.able(); err != nil {
		t.Skipf("SKIPPED: %s cannot run here: %v", m.name, err)
	}
}

// inFolder leaves out the timer, which would be a line in the crontab of who
// runs the tests.
func inFolder(s *site) []string { return []string{"--services-dir", s.services, "--no-timer"} }

func (s *site) folder(name string) string { return filepath.Join(s.services, name) }

func (s *site) put(path, text string, mode os.FileMode) {
	s.t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		s.t.Fatal(err)
	}
}

// putFolder writes a service folder aside and moves it to where the supervisor
// looks: it must not see half of one.
func (s *site) putFolder(name string, scripts map[string]string) {
	s.t.Helper()
	aside := filepath.Join(s.dir, "aside-"+name)
	for file, text := range scripts {
		mode := os.FileMode(0o600)
		if strings.HasPrefix(text, "#!") {
			mode = 0o700
		}
		s.put(filepath.Join(aside, file), text, mode)
	}
	if err := os.Rename(aside, s.folder(name)); err != nil {
		s.t.Fatal(err)
	}
}

// script is a run script that becomes the program.
func (p program) script(output string) string {
	return fmt.Sprintf("#!/bin/sh\nexec >>'%s' 2>&1 </dev/null\ncd / || exit\nexec env %s %s\n", output, strings.Join(p.env, " "), strings.Join(p.argv, " "))
}

func (s *site) output(name string) string { return filepath.Join(s.dir, name+".out") }

// lastExit is what the script of a service folder wrote when the service ended.
func lastExit(s *site, name string) string {
	data, err := os.ReadFile(filepath.Join(s.folder(name), "last-exit"))
	if err != nil {
		s.t.Fatal(err)
	}
	code, _, _ := strings.Cut(strings.TrimSpace(string(data)), " ")
	return code
}

var runit = manager{
	name: "runit", tools: []string{"runsvdir", "runsv", "sv"}, chain: []string{"runsv", "runsvdir"},
	argv:  func(s *site) []string { return []string{"runsvdir", s.services} },
	flags: inFolder,
	write: func(s *site, p program) {
		files := map[string]string{"run": p.script(s.output(p.name))}
		if p.mapped {
			files["finish"] = "#!/bin/sh\ncase $1 in 78) exec sv -w 0 down . ;; esac\n"
		}
		s.putFolder(p.name, files)
	},
	up:      func(s *site, name string) []string { return []string{"sv", "-w", "10", "up", s.folder(name)} },
	down:    func(s *site, name string) []string { return []string{"sv", "-w", "20", "down", s.folder(name)} },
	restart: func(s *site, name string) []string { return []string{"sv", "-w", "20", "restart", s.folder(name)} },
	status:  func(s *site, name string) []string { return []string{"sv", "status", s.folder(name)} },
	isDown:  regexp.MustCompile(`^down: `),
	died:    lastExit,
}

var s6 = manager{
	name: "s6", tools: []string{"s6-svscan", "s6-supervise", "s6-svc", "s6-svstat", "s6-svwait"}, chain: []string{"s6-supervise", "s6-svscan"},
	argv:  func(s *site) []string { return []string{"s6-svscan", s.services} },
	flags: inFolder,
	began: func(s *site) {
		s.until("s6-svscan", 10*time.Second, func() bool {
			_, err := s.run("s6-svscanctl", "-a", s.services)
			return err == nil
		})
	},
	write: func(s *site, p program) {
		files := map[string]string{"run": p.script(s.output(p.name))}
		if p.mapped {
			files["finish"] = "#!/bin/sh\ncase $1 in 78) exit 125 ;; esac\nexit 0\n"
		}
		s.putFolder(p.name, files)
		s.mustRun("s6-svscanctl", "-a", s.services)
	},
	ready: func(s *site, name string) []string { return []string{"s6-svwait", "-U", "-t", "300", s.folder(name)} },
	up: func(s *site, name string) []string {
		return []string{"s6-svc", "-wu", "-T", "10000", "-u", s.folder(name)}
	},
	down: func(s *site, name string) []string {
		return []string{"s6-svc", "-wD", "-T", "20000", "-d", s.folder(name)}
	},
	restart: func(s *site, name string) []string {
		return []string{"s6-svc", "-wr", "-T", "20000", "-r", s.folder(name)}
	},
	status: func(s *site, name string) []string { return []string{"s6-svstat", "-o", "up,wantedup", s.folder(name)} },
	isDown: regexp.MustCompile(`^false false`),
	died:   lastExit,
	calm:   func(s *site, name string) string { return strings.TrimSpace(s.mustRun("s6-svdt", s.folder(name))) },
	exit: func(s *site, name string) string {
		return strings.TrimSpace(s.mustRun("s6-svstat", "-o", "exitcode", s.folder(name)))
	},
}

var daemontools = manager{
	name: "daemontools", tools: []string{"svscan", "supervise", "svc", "svstat"}, chain: []string{"supervise", "svscan"},
	shell: true, // only a run script that stays can map an exit code
	argv:  func(s *site) []string { return []string{"svscan", s.services} },
	flags: inFolder,
	write: func(s *site, p program) {
		run := p.script(s.output(p.name))
		s.putFolder(p.name, map[string]string{"run": run})
	},
	up:      func(s *site, name string) []string { return []string{"svc", "-u", s.folder(name)} },
	down:    func(s *site, name string) []string { return []string{"svc", "-d", s.folder(name)} },
	restart: func(s *site, name string) []string { return []string{"svc", "-t", s.folder(name)} },
	status:  func(s *site, name string) []string { return []string{"svstat", s.folder(name)} },
	isDown:  regexp.MustCompile(`: down `),
	died:    lastExit,
}

var supervisord = manager{
	name: "supervisord", tools: []string{"supervisord", "supervisorctl"}, chain: []string{"supervisord"},
	flags: func(s *site) []string { return []string{"--supervisorctl-config", s.supervisordConf(), "--no-timer"} },
	argv: func(s *site) []string {
		text := strings.ReplaceAll(`[supervisord]
nodaemon=true
logfile=DIR/supervisord.log
pidfile=DIR/supervisord.pid
childlogdir=DIR
[unix_http_server]
file=DIR/s.sock
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://DIR/s.sock
[include]
files = DIR/sv/*.conf
`, "DIR", s.dir)
		s.put(s.supervisordConf(), text, 0o600)
		return []string{"supervisord", "-c", s.supervisordConf()}
	},
	began: func(s *site) {
		s.until("supervisord", 20*time.Second, func() bool {
			_, err := s.run("supervisorctl", "-c", s.supervisordConf(), "pid")
			return err == nil
		})
	},
	write: func(s *site, p program) {
		text := fmt.Sprintf("[program:%s]\ncommand=%s\ndirectory=/\nstartsecs=0\nautorestart=unexpected\nstopwaitsecs=15\nstopsignal=TERM\nredirect_stderr=true\nstdout_logfile=%s\n",
			p.name, strings.Join(p.argv, " "), s.output(p.name))
		if p.mapped {
			text += "exitcodes=0,78\n"
		} else {
			text += "exitcodes=0\n"
		}
		if len(p.env) > 0 {
			text += "environment=" + strings.Join(p.env, ",") + "\n"
		}
		s.put(filepath.Join(s.services, p.name+".conf"), text, 0o600)
		s.mustRun("supervisorctl", "-c", s.supervisordConf(), "update")
	},
	up:      func(s *site, name string) []string { return s.supervisorctl("start", name) },
	down:    func(s *site, name string) []string { return s.supervisorctl("stop", name) },
	restart: func(s *site, name string) []string { return s.supervisorctl("restart", name) },
	status:  func(s *site, name string) []string { return s.supervisorctl("status", name) },
	isDown:  regexp.MustCompile(`EXITED|STOPPED`),
	calm: func(s *site, _ string) string {
		log, err := os.ReadFile(filepath.Join(s.dir, "supervisord.log"))
		if err != nil {
			s.t.Fatal(err)
		}
		return string(regexp.MustCompile(`(?m)^.*\b(exited|stopped): .*$`).Find(log))
	},
	exit: supervisordSaid, died: supervisordSaid,
}

// supervisordSaid is how it says that the service ended the last time.
func supervisordSaid(s *site, name string) string {
	log, err := os.ReadFile(filepath.Join(s.dir, "supervisord.log"))
	if err != nil {
		s.t.Fatal(err)
	}
	all := regexp.MustCompile(regexp.QuoteMeta(name)+` \((?:exit status (\d+)|terminated by (\w+))`).FindAllStringSubmatch(string(log), -1)
	if len(all) == 0 {
		return "none"
	}
	return all[len(all)-1][1] + all[len(all)-1][2]
}

func (s *site) supervisordConf() string { return filepath.Join(s.dir, "s.conf") }

func (s *site) supervisorctl(args ...string) []string {
	return append([]string{"supervisorctl", "-c", s.supervisordConf()}, args...)
}

// systemd is a user's manager in namespaces of its own: it needs nothing of the
// machine but a cgroup that it may write to.
var systemd = manager{
	name: "systemd", tools: []string{"systemctl", "unshare", "nsenter", "tini"}, able: systemdAble, chain: []string{"systemd"},
	flags: func(*site) []string { return nil },
	argv: func(s *site) []string {
		var join strings.Builder
		for _, root := range cgroupRoots() {
			fmt.Fprintf(&join, "echo $$ >'%s/cgroup.procs' || exit\n", cgroupOf(root, s.dir))
			if err := os.Mkdir(cgroupOf(root, s.dir), 0o755); err != nil {
				s.t.Fatal(err)
			}
		}
		s.after = func() {
			for _, root := range cgroupRoots() {
				removeCgroup(cgroupOf(root, s.dir))
			}
		}
		outer, inner := filepath.Join(s.dir, "outer.sh"), filepath.Join(s.dir, "inner.sh")
		s.put(outer, join.String()+fmt.Sprintf("exec unshare --pid --mount --cgroup --fork --kill-child --mount-proc sh '%s'\n", inner), 0o600)
		// systemd by itself ends at once as the first process of a namespace.
		s.put(inner, fmt.Sprintf(`mount --make-rprivate / && mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/system || exit
%s
exec env -i PATH="$PATH" HOME="$HOME" SHELL=/bin/sh XDG_RUNTIME_DIR="$XDG_RUNTIME_DIR" %s='%s' \
	tini -s -- /lib/systemd/systemd --user --unit=basic.target
`, mountCgroups(), siteVar, s.dir), 0o600)
		return []string{"sh", outer}
	},
	began: func(s *site) {
		s.until("systemd", 20*time.Second, func() bool {
			tree, err := proc.Tree(s.root)
			if err != nil {
				s.t.Fatal(err)
			}
			for _, p := range tree {
				if p.Command == "systemd" && p.Parent != s.root {
					s.root = p.PID
				}
			}
			select {
			case <-s.supEnd:
				s.t.Fatal("systemd ended at once")
			default:
			}
			_, err = os.Stat(filepath.Join(s.dir, "r", "systemd", "private"))
			return err == nil && s.root != s.sup.Process.Pid
		})
		s.within = func(argv []string) []string {
			return append([]string{"nsenter", "-t", fmt.Sprint(s.root), "-m", "-p", "-C", "--"}, argv...)
		}
		s.services = filepath.Join(s.user, ".config", "systemd", "user")
		s.until("basic.target", 20*time.Second, func() bool {
			_, err := s.run("systemctl", "--user", "is-active", "basic.target")
			return err == nil
		})
	},
	write: func(s *site, p program) {
		text := fmt.Sprintf("[Service]\nExecStart=%s\nRestart=on-failure\nRestartSec=200ms\nStandardOutput=append:%s\nStandardError=append:%s\nKillMode=process\n",
			strings.Join(p.argv, " "), s.output(p.name), s.output(p.name))
		if p.mapped {
			text += "RestartForceExitStatus=75\nRestartPreventExitStatus=78\n"
		}
		for _, kv := range p.env {
			text += "Environment=" + kv + "\n"
		}
		s.put(filepath.Join(s.services, p.name+".service"), text, 0o600)
		s.mustRun("systemctl", "--user", "daemon-reload")
		s.mustRun("systemctl", "--user", "start", p.name+".service")
	},
	ready:   func(_ *site, name string) []string { return []string{"systemctl", "--user", "is-active", name} },
	up:      func(_ *site, name string) []string { return []string{"systemctl", "--user", "start", name} },
	down:    func(_ *site, name string) []string { return []string{"systemctl", "--user", "stop", name} },
	restart: func(_ *site, name string) []string { return []string{"systemctl", "--user", "restart", name} },
	status:  func(_ *site, name string) []string { return []string{"systemctl", "--user", "is-active", name} },
	isDown:  regexp.MustCompile(`^(inactive|failed)`),
	calm: func(s *site, name string) string {
		out := strings.TrimSpace(s.mustRun("systemctl", "--user", "show", "-P", "NRestarts", name))
		if out == "0" {
			return ""
		}
		return out + " restarts"
	},
	watchdog: func(s *site, name string, after time.Duration) {
		s.put(filepath.Join(s.services, name+".service.d", "watchdog.conf"), fmt.Sprintf("[Service]\nWatchdogSec=%dms\n", after.Milliseconds()), 0o600)
		s.mustRun("systemctl", "--user", "daemon-reload")
	},
	exit: func(s *site, name string) string {
		return strings.TrimSpace(s.mustRun("systemctl", "--user", "show", "-P", "ExecMainStatus", name))
	},
}

// cgroupRoots are the hierarchies that systemd keeps its units in: one, or two
// where the machine has the old and the new side by side.
func cgroupRoots() []string {
	var found []string
	for _, root := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"} {
		if _, err := os.Stat(filepath.Join(root, "cgroup.procs")); err == nil {
			found = append(found, root)
		}
	}
	return found
}

// mountCgroups has a namespace see its own part of the hierarchies: with the
// machine's in view systemd makes its groups at their top.
func mountCgroups() string {
	roots := cgroupRoots()
	if slices.Equal(roots, []string{"/sys/fs/cgroup"}) {
		return "umount -l /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup || exit"
	}
	script := "mount -t tmpfs tmpfs /sys/fs/cgroup || exit"
	for _, root := range roots {
		kind := "-t cgroup2 cgroup2"
		if filepath.Base(root) == "systemd" {
			kind = "-t cgroup -o none,name=systemd cgroup"
		}
		script += fmt.Sprintf("\nmkdir %s && mount %s %s || exit", root, kind, root)
	}
	return script
}

func cgroupOf(root, dir string) string { return filepath.Join(root, filepath.Base(dir)) }

// removeCgroup removes a cgroup with those inside, which hold no process any
// more.
func removeCgroup(dir string) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if e.IsDir() {
			removeCgroup(filepath.Join(dir, e.Name()))
		}
	}
	for range 100 { // the kernel may still be at it
		if err := os.Remove(dir); err == nil || os.IsNotExist(err) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func systemdAble() error {
	if os.Getuid() != 0 {
		return fmt.Errorf("it needs root for its namespaces")
	}
	roots := cgroupRoots()
	if len(roots) == 0 {
		return fmt.Errorf("no cgroup hierarchy is mounted")
	}
	for _, root := range roots {
		dir, err := os.MkdirTemp(root, "hf")
		if err != nil {
			return err
		}
		removeCgroup(dir)
	}
	if out, err := exec.Command("unshare", "--pid", "--mount", "--cgroup", "--fork", "--mount-proc", "true").CombinedOutput(); err != nil {
		return fmt.Errorf("unshare: %w: %s", err, out)
	}
	if _, err := os.Stat("/lib/systemd/systemd"); err != nil {
		return err
	}
	return nil
}

package supervise

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-dev/holdfast/internal/proc"
)

// What a started copy of the test program is told stands in its arguments:
// sudo, cron and ssh give it an environment of their own.
var (
	reportTo = flag.String("detect-report", "", "write what Detect says to this `file`")
	again    = flag.Bool("detect-again", false, "then do so a second time, as another image of the same process, to file.2")
)

// report is what the copy writes.
type report struct {
	Verdict
	PID, PPID int
	Parent    Parent
}

// TestReport is the copy's program, and no test.
func TestReport(t *testing.T) {
	if *reportTo == "" {
		t.Skip("this is what the other tests start")
	}
	s := Current()
	data, err := json.Marshal(report{Detect(s), s.PID, s.PPID, s.Parent})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(*reportTo+".new", data, 0o600), os.Rename(*reportTo+".new", *reportTo)); err != nil {
		t.Fatal(err)
	}
	if !*again {
		return
	}
	args := slices.DeleteFunc(slices.Clone(os.Args), func(a string) bool { return a == "-detect-again" })
	for i, a := range args {
		if a == *reportTo {
			args[i] += ".2"
		}
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Fatal(syscall.Exec(exe, args, os.Environ()))
}

// scene is a folder with a copy of this program, readable for everybody.
type scene struct {
	t   *testing.T
	dir string
	bin string
	out string // where the report goes
}

func newScene(t *testing.T) *scene {
	t.Helper()
	dir, err := os.MkdirTemp("", "hf")
	if err != nil {
		t.Fatal(err)
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &scene{t: t, dir: dir, bin: filepath.Join(dir, "report"), out: filepath.Join(dir, "out", "report.json")}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if os.Link(exe, s.bin) != nil {
		data, err := os.ReadFile(exe)
		if err != nil {
			t.Fatal(err)
		}
		s.write("report", string(data), 0o755)
	}
	if err := errors.Join(os.Chmod(dir, 0o755), os.Mkdir(filepath.Dir(s.out), 0o700), os.Chmod(filepath.Dir(s.out), 0o777|os.ModeSticky)); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *scene) write(name, text string, mode os.FileMode) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), mode), os.Chmod(path, mode)); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// argv is the command of the copy.
func (s *scene) argv(more ...string) []string {
	return append([]string{s.bin, "-test.run=^TestReport$", "-detect-report", s.out}, more...)
}

// line is that command for a shell.
func (s *scene) line(more ...string) string {
	return "'" + strings.Join(s.argv(more...), "' '") + "'"
}

// inherited are the variables that everything gets which a service starts.
var inherited = []string{
	"INVOCATION_ID=5e0f", "MANAGERPID=1", "JOURNAL_STREAM=8:4711", "SYSTEMD_EXEC_PID=1", "NOTIFY_SOCKET=/run/systemd/notify",
	"SUPERVISOR_ENABLED=1", "SUPERVISOR_PROCESS_NAME=x", "SUPERVISOR_GROUP_NAME=x", "XPC_SERVICE_NAME=my.terminal", "LAUNCHD_SOCKET=/tmp/l",
}

// start runs a program until the test ends.
func (s *scene) start(env []string, argv ...string) {
	s.t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Dir = s.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	s.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-done:
		case <-time.After(5 * time.Second):
		}
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-done
		if s.t.Failed() {
			text, _ := os.ReadFile(filepath.Join(s.dir, "log"))
			s.t.Logf("%s said:\n%s", argv[0], text)
		}
	})
}

// await returns the report of that file.
func (s *scene) await(path string) report {
	s.t.Helper()
	for deadline := time.Now().Add(40 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		data, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		var r report
		if err := json.Unmarshal(data, &r); err != nil {
			s.t.Fatal(err)
		}
		return r
	}
	s.t.Fatalf("no report at %s in time", path)
	return report{}
}

// want checks the report, and that of another image of the same process.
func (s *scene) want(u Unit) {
	s.t.Helper()
	first := s.await(s.out)
	second := s.await(s.out + ".2")
	if diff := cmp.Diff(u, first.Unit); diff != "" {
		s.t.Errorf("%s\n%+v", diff, first)
	}
	if diff := cmp.Diff(first, second); diff != "" {
		s.t.Errorf("after a restart in place: %s", diff)
	}
}

// wantNone checks that nobody is said to supervise the copy, and that it was
// started as the test meant.
func (s *scene) wantNone(parents ...string) {
	s.t.Helper()
	r := s.await(s.out)
	if r.Supervised() {
		s.t.Errorf("%+v", r)
	}
	if !slices.Contains(parents, r.Parent.Name) {
		s.t.Errorf("the parent was %q, the test wants one of %q", r.Parent.Name, parents)
	}
}

// need skips where a program is absent, and fails in CI.
func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			lack(t, "%s is not installed", p)
		}
	}
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		lack(t, "this needs root")
	}
}

func lack(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

func TestDetectFolderSupervisors(t *testing.T) {
	for _, c := range []struct {
		program string
		manager Manager
	}{
		{"runsv", Runit},
		{"s6-supervise", S6},
		{"supervise", Daemontools},
	} {
		t.Run(c.program, func(t *testing.T) {
			need(t, c.program)
			s := newScene(t)
			s.write("svc/holdfast/run", "#!/bin/sh\nexec "+s.line("-detect-again")+"\n", 0o755)
			s.start(nil, c.program, "svc/holdfast")
			s.want(Unit{Manager: c.manager, Name: "holdfast", Dir: filepath.Join(s.dir, "svc/holdfast")})
		})
		t.Run(c.program+" of another user", func(t *testing.T) {
			need(t, c.program, "setpriv")
			needRoot(t)
			s := newScene(t)
			s.write("svc/holdfast/run", "#!/bin/sh\nexec setpriv --reuid=65534 --regid=65534 --clear-groups "+s.line("-detect-again")+"\n", 0o755)
			s.start(nil, c.program, "svc/holdfast")
			s.want(Unit{Manager: c.manager, Name: "holdfast", Dir: filepath.Join(s.dir, "svc/holdfast")})
		})
		t.Run(c.program+" and a script without exec", func(t *testing.T) {
			need(t, c.program)
			s := newScene(t)
			s.write("svc/holdfast/run", "#!/bin/sh\n"+s.line()+"\nsleep 1\n", 0o755)
			s.start(nil, c.program, "svc/holdfast")
			s.wantNone("run", "sh")
		})
	}
}

// supervisord runs one program under the real one.
func (s *scene) supervisord(command string) (server string) {
	need(s.t, "supervisord")
	sock := filepath.Join(s.dir, "s.sock")
	conf := s.write("s.conf", fmt.Sprintf(`[supervisord]
nodaemon=true
logfile=/dev/null
logfile_maxbytes=0
pidfile=%[1]s/s.pid
[unix_http_server]
file=%[2]s
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://%[2]s
[program:holdfast]
command=%[3]s
autorestart=false
startsecs=0
stopasgroup=true
killasgroup=true
`, s.dir, sock, command), 0o644)
	s.start(nil, "supervisord", "-c", conf)
	return "unix://" + sock
}

func TestDetectSupervisord(t *testing.T) {
	t.Run("direct", func(t *testing.T) {
		s := newScene(t)
		server := s.supervisord(s.line("-detect-again"))
		s.want(Unit{Manager: Supervisord, Name: "holdfast", Server: server})
	})
	t.Run("sh in a supervised sh", func(t *testing.T) {
		s := newScene(t)
		script := s.write("start.sh", "sh -c \""+s.line()+"; true\"\nsleep 1\n", 0o644)
		s.supervisord("sh " + script)
		s.wantNone("sh")
	})
	t.Run("an orphan of a supervised sh", func(t *testing.T) {
		need(t, "setsid")
		s := newScene(t)
		script := s.write("start.sh", "setsid -f "+s.line()+"\nsleep 2\n", 0o644)
		s.supervisord("sh " + script)
		s.wantNone(reapers(t)...)
	})
}

// reapers names the processes that may take over our orphans.
func reapers(t *testing.T) []string {
	t.Helper()
	var names []string
	for pid := os.Getppid(); pid > 0; {
		info, err := proc.Lookup(pid)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, info.Command)
		pid = info.Parent
	}
	return names
}

// TestDetectSystemd runs a user's systemd in namespaces of its own.
func TestDetectSystemd(t *testing.T) {
	need(t, "unshare", "tini", "setsid")
	needRoot(t)
	const program = "/lib/systemd/systemd"
	if _, err := os.Stat(program); err != nil {
		lack(t, "systemd is not installed")
	}
	s := newScene(t)
	var join strings.Builder
	for _, root := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"} {
		if _, err := os.Stat(filepath.Join(root, "cgroup.procs")); err != nil {
			continue
		}
		group := filepath.Join(root, filepath.Base(s.dir))
		if err := os.Mkdir(group, 0o755); err != nil {
			// Also in CI: it depends on the container that the machine is.
			t.Skipf("no control group can be made here: %v", err)
		}
		t.Cleanup(func() { removeGroup(group) })
		fmt.Fprintf(&join, "echo $$ > %s/cgroup.procs\n", group)
	}
	if join.Len() == 0 {
		t.Skip("there are no control groups here")
	}
	for name, command := range map[string]string{
		"holdfast": strings.Join(s.argv("-detect-again"), " "),
		"shell":    s.line() + "; true",
		"orphan":   "setsid -f " + s.line() + "; sleep 30",
	} {
		unit := "[Unit]\nDefaultDependencies=no\n[Service]\n"
		if name != "holdfast" {
			command = "/bin/sh " + s.write(name+".sh", strings.ReplaceAll(command, s.out, s.out+"."+name)+"\n", 0o644)
		}
		s.write("units/"+name+".service", unit+"ExecStart="+strings.ReplaceAll(command, "$", "$$")+"\n", 0o644)
	}
	s.write("units/basic.target", "[Unit]\nWants=holdfast.service shell.service orphan.service\n", 0o644)
	s.write("r/.made", "", 0o600)
	inner := s.write("inner.sh", fmt.Sprintf(`set -e
mount --make-rprivate /
mount -t tmpfs none /run
mkdir -p /run/systemd/system
exec env -i PATH="$PATH" HOME=%[1]s XDG_RUNTIME_DIR=%[1]s/r SYSTEMD_UNIT_PATH=%[1]s/units tini -s -- %[2]s --user --unit=basic.target
`, s.dir, program), 0o644)
	outer := s.write("outer.sh", "set -e\n"+join.String()+"exec unshare --pid --mount --cgroup --fork --kill-child --mount-proc sh "+inner+"\n", 0o644)
	s.start(nil, "sh", outer)
	s.want(Unit{Manager: Systemd, Name: "holdfast.service"})
	for name, parent := range map[string]string{"shell": "sh", "orphan": "systemd"} {
		if r := s.await(s.out + "." + name); r.Supervised() || r.Parent.Name != parent {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// removeGroup removes a control group whose processes have been killed.
func removeGroup(dir string) {
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				for p := path; strings.HasPrefix(p, dir); p = filepath.Dir(p) {
					_ = syscall.Rmdir(p)
				}
			}
			return nil
		})
		if _, err := os.Stat(dir); err != nil {
			return
		}
	}
}

func TestDetectFalseFriends(t *testing.T) {
	t.Run("tmux", func(t *testing.T) {
		need(t, "tmux")
		s := newScene(t)
		sock := filepath.Join(s.dir, "tmux")
		s.start(inherited, "tmux", "-S", sock, "-f", "/dev/null", "new-session", "-d", s.line()+"; sleep 5")
		t.Cleanup(func() { _ = exec.Command("tmux", "-S", sock, "kill-server").Run() })
		s.wantNone("tmux: server", "sh", "bash")
	})
	t.Run("script", func(t *testing.T) {
		need(t, "script")
		s := newScene(t)
		s.start(inherited, "script", "-qec", s.line(), "/dev/null")
		s.wantNone("script", "sh", "bash", "dash")
	})
	t.Run("sudo", func(t *testing.T) {
		need(t, "sudo")
		needRoot(t)
		s := newScene(t)
		s.start(inherited, append([]string{"sudo", "-n", "-E"}, s.argv()...)...)
		s.wantNone("sudo")
	})
	t.Run("setsid", func(t *testing.T) {
		need(t, "setsid")
		s := newScene(t)
		s.start(inherited, append([]string{"setsid", "-f"}, s.argv()...)...)
		s.wantNone(reapers(t)...)
	})
	t.Run("a container", func(t *testing.T) {
		need(t, "unshare")
		needRoot(t)
		s := newScene(t)
		s.start(append([]string{"container=podman"}, inherited[:3]...), append([]string{"unshare", "--pid", "--fork", "--kill-child", "--mount-proc"}, s.argv()...)...)
		s.wantNone("")
	})
	t.Run("a container with an init", func(t *testing.T) {
		need(t, "unshare", "tini")
		needRoot(t)
		s := newScene(t)
		s.start(append([]string{"container=docker"}, inherited...), append([]string{"unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "tini", "--"}, s.argv()...)...)
		s.wantNone("tini")
	})
	t.Run("cron", func(t *testing.T) {
		need(t, "cron", "unshare")
		needRoot(t)
		s := newScene(t)
		tab := s.write("crontab", "SUPERVISOR_ENABLED=1\nSYSTEMD_EXEC_PID=1\n@reboot root "+s.line()+"\n", 0o644)
		s.write("empty/none", "", 0o644)
		// Its own /run: cron starts what stands under @reboot once per /run.
		boot := s.write("boot.sh", fmt.Sprintf(`set -e
mount --make-rprivate /
mount -t tmpfs none /run
mount --bind %[1]s /etc/crontab
mount --bind %[2]s/empty /etc/cron.d
mount --bind %[2]s/empty /var/spool/cron/crontabs
exec cron -f
`, tab, s.dir), 0o644)
		s.start(nil, "unshare", "--mount", "sh", boot)
		s.wantNone("sh", "cron")
	})
	t.Run("go run", func(t *testing.T) {
		need(t, "go")
		s := newScene(t)
		program := s.write("main.go", "package main\n\nfunc main() {}\n", 0o644)
		// With -exec the program's parent is the same go command.
		s.start(inherited, "go", "run", "-exec", strings.Join(s.argv(), " "), program)
		s.wantNone("go")
	})
	for _, tty := range []string{"-T", "-tt"} {
		t.Run("ssh "+tty, func(t *testing.T) {
			need(t, "/usr/sbin/sshd", "ssh", "ssh-keygen", "unshare")
			needRoot(t)
			s := newScene(t)
			s.ssh(tty)
			s.wantNone("sshd", "sshd-session", "sh", "bash")
		})
	}
}

// ssh runs the copy over a real sshd of its own, with keys that are thrown
// away. The home folder of root, with its keys, is not touched.
func (s *scene) ssh(tty string) {
	t := s.t
	t.Helper()
	for _, name := range []string{"host", "user"} {
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(s.dir, name)).CombinedOutput(); err != nil {
			t.Fatalf("ssh-keygen: %v\n%s", err, out)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	// A shell that is not the first one leaves root's .bashrc alone: what stands
	// there may take long, and is no affair of ours.
	conf := s.write("sshd_config", fmt.Sprintf(`ListenAddress 127.0.0.1:%d
HostKey %[2]s/host
AuthorizedKeysFile %[2]s/user.pub
PidFile none
StrictModes no
UsePAM no
PermitRootLogin yes
PasswordAuthentication no
SetEnv SHLVL=5
`, port, s.dir), 0o600)
	// sshd wants its folder for privilege separation.
	boot := s.write("boot.sh", "set -e\nmount --make-rprivate /\nmount -t tmpfs none /run\nmkdir -m 755 /run/sshd\nexec /usr/sbin/sshd -D -e -f "+conf+"\n", 0o644)
	s.start(nil, "unshare", "--mount", "sh", boot)
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			_, err = io.ReadFull(conn, make([]byte, 4))
			conn.Close()
		}
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("sshd does not listen: %v", err)
		}
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	s.start(
		inherited, "ssh", tty, "-F", "/dev/null", "-i", filepath.Join(s.dir, "user"), "-p", fmt.Sprint(port),
		"-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes", me.Username+"@127.0.0.1", s.line(),
	)
}

package supervise

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestDetect is what was seen of each way to start a program, and of macOS what
// is known of it.
func TestDetect(t *testing.T) {
	const (
		userGroup   = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/holdfast.service\n"
		systemGroup = "12:pids:/system.slice/holdfast.service\n1:name=systemd:/system.slice/holdfast.service\n0::/elsewhere\n"
		desktop     = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/gnome-terminal-server.service\n"
	)
	supervisord := []string{"SUPERVISOR_ENABLED=1", "SUPERVISOR_GROUP_NAME=holdfast", "SUPERVISOR_PROCESS_NAME=holdfast", "SUPERVISOR_SERVER_URL=unix:///run/supervisor.sock"}
	inUnit := []string{"INVOCATION_ID=5e0f", "MANAGERPID=800", "JOURNAL_STREAM=8:4711", "SYSTEMD_EXEC_PID=900"}
	parent := func(name string, args ...string) Parent { return Parent{Name: name, Args: args} }

	for _, c := range []struct {
		name string
		self Self
		want string // Unit.String; "" where nobody supervises it
		says string // part of a finding that decided, or that did not
	}{
		// Supervisors that set nothing: the direct parent.
		{"runsv", Self{PPID: 900, Parent: Parent{Name: "runsv", Args: []string{"runsv", "holdfast"}, Dir: "/etc/service/holdfast"}}, "runit:/etc/service/holdfast", "runsv (process 900): a supervisor"},
		{"s6-supervise", Self{PPID: 900, Parent: Parent{Name: "s6-supervise", Dir: "/run/service/holdfast"}}, "s6:/run/service/holdfast", "s6-supervise"},
		{"supervise", Self{PPID: 900, Parent: Parent{Name: "supervise", Dir: "/service/holdfast"}}, "daemontools:/service/holdfast", "supervise"},
		{"supervise-daemon, cut at 15", Self{PPID: 900, Parent: parent("supervise-daemo", "supervise-daemon", "holdfast", "--start")}, "openrc:holdfast", "supervise-daemo"},
		{"supervise-daemon, whole", Self{PPID: 900, Parent: parent("supervise-daemon", "supervise-daemon", "holdfast")}, "openrc:holdfast", "supervise-daemon"},
		{"a run script without exec", Self{PPID: 901, Parent: parent("run", "/bin/sh", "./run")}, "", "The parent is run"},
		{"a program that is called like one", Self{PPID: 901, Parent: parent("supervisely", "supervisely")}, "", "supervisely"},
		{"runsvdir itself", Self{PPID: 901, Parent: parent("runsvdir", "runsvdir", "/etc/service")}, "", "runsvdir"},

		// systemd, 248 and newer.
		{
			"a user's unit",
			Self{PID: 900, PPID: 800, Env: inUnit, Parent: parent("systemd", "/lib/systemd/systemd", "--user"), CGroup: userGroup},
			"systemd:user:holdfast.service", "SYSTEMD_EXEC_PID is 900, which is this process",
		},
		{
			"a unit of the system, hybrid groups",
			Self{PID: 900, PPID: 1, Env: append([]string{"NOTIFY_SOCKET=/run/systemd/notify"}, inUnit...), Parent: parent("systemd", "/sbin/init"), CGroup: systemGroup},
			"systemd:system:holdfast.service", "SYSTEMD_EXEC_PID",
		},
		{
			"an instance below its own group",
			Self{PID: 900, PPID: 1, Env: inUnit, Parent: parent("systemd"), CGroup: "0::/system.slice/system-holdfast.slice/holdfast@ada.service/host\n"},
			"systemd:system:holdfast@ada.service", "SYSTEMD_EXEC_PID",
		},
		{
			"a user's unit where the group's root is hidden",
			Self{PID: 900, PPID: 3, Env: inUnit, Parent: parent("systemd", "systemd", "--user"), CGroup: "0::/holdfast.service\n"},
			"systemd:user:holdfast.service", "SYSTEMD_EXEC_PID",
		},
		{
			"sh in a unit",
			Self{PID: 901, PPID: 900, Env: inUnit, Parent: parent("sh", "sh", "-c", "holdfast up; true"), Outputs: []string{"8:4711", "8:4711"}, CGroup: userGroup},
			"", "another process: everything that a unit starts inherits it",
		},
		{
			"a terminal in a desktop session",
			Self{PID: 1200, PPID: 1100, Env: append([]string{"DISPLAY=:0", "TERM=xterm-256color"}, inUnit...), Parent: parent("bash", "bash"), Outputs: []string{"27:5"}, CGroup: desktop},
			"", "INVOCATION_ID is set: SYSTEMD_EXEC_PID decides",
		},
		{
			"tmux in a unit",
			Self{PID: 1200, PPID: 1100, Env: append([]string{"TMUX=/tmp/tmux-0/default,1,0"}, inUnit...), Parent: parent("tmux: server", "tmux")},
			"", "tmux: server",
		},
		{
			"an orphan in a unit",
			Self{PID: 950, PPID: 800, Env: inUnit, Parent: parent("systemd", "systemd", "--user"), Outputs: []string{"8:4711"}, CGroup: userGroup},
			"", "SYSTEMD_EXEC_PID is 900",
		},
		{
			"an orphan in a unit that notifies",
			Self{PID: 950, PPID: 800, Env: append([]string{"NOTIFY_SOCKET=/run/user/1000/systemd/notify"}, inUnit...), Parent: parent("systemd", "systemd", "--user")},
			"", "NOTIFY_SOCKET is set: SYSTEMD_EXEC_PID decides",
		},
		{
			"a keeper's child that kept the variables",
			Self{PID: 960, PPID: 959, Env: append([]string{"NOTIFY_SOCKET=/run/systemd/notify"}, inUnit...), Parent: parent("holdfast", "holdfast", "keeper")},
			"", "another process",
		},

		// systemd before 248.
		{
			"the journal is our output, systemd the parent",
			Self{PID: 900, PPID: 1, Env: []string{"INVOCATION_ID=5e0f", "JOURNAL_STREAM=8:4711"}, Parent: parent("systemd"), Outputs: []string{"0:6", "8:4711"}, CGroup: systemGroup},
			"systemd:system:holdfast.service", "JOURNAL_STREAM is the output",
		},
		{
			"the journal is our output, a shell the parent",
			Self{PID: 901, PPID: 900, Env: []string{"JOURNAL_STREAM=8:4711"}, Parent: parent("sh"), Outputs: []string{"8:4711"}},
			"", "the parent is not systemd",
		},
		{
			"the journal is not our output",
			Self{PID: 901, PPID: 800, Env: []string{"JOURNAL_STREAM=8:4711"}, Parent: parent("systemd", "systemd", "--user"), Outputs: []string{"27:5"}},
			"", "not the output of this process",
		},
		{
			"it notifies, systemd the parent",
			Self{PID: 900, PPID: 1, Env: []string{"NOTIFY_SOCKET=/run/systemd/notify"}, Parent: parent("systemd"), CGroup: systemGroup},
			"systemd:system:holdfast.service", "NOTIFY_SOCKET is set, and the parent is systemd",
		},
		{
			"it would notify, a shell the parent",
			Self{PID: 901, PPID: 900, Env: []string{"NOTIFY_SOCKET=/run/systemd/notify"}, Parent: parent("bash")},
			"", "NOTIFY_SOCKET is set, and the parent is not systemd",
		},
		{"INVOCATION_ID alone", Self{PID: 900, PPID: 1, Env: []string{"INVOCATION_ID=5e0f"}, Parent: parent("systemd"), CGroup: systemGroup}, "", "INVOCATION_ID is set"},

		// supervisord.
		{
			"supervisord of Debian",
			Self{PPID: 900, Env: supervisord, Parent: parent("supervisord", "/usr/bin/python3", "/usr/bin/supervisord", "-c", "s.conf")},
			"supervisord:holdfast?server=unix%3A%2F%2F%2Frun%2Fsupervisor.sock", "the parent is supervisord",
		},
		{
			"supervisord in a group, known by its arguments",
			Self{PPID: 900, Env: append([]string{"SUPERVISOR_GROUP_NAME=agents"}, "SUPERVISOR_ENABLED=1", "SUPERVISOR_PROCESS_NAME=holdfast"), Parent: parent("python3", "/opt/v/bin/python3.12", "/opt/v/bin/supervisord")},
			"supervisord:agents:holdfast", "the parent is supervisord",
		},
		{"supervisord as a module", Self{PPID: 900, Env: supervisord[:3], Parent: parent("python3", "python3", "-m", "supervisor.supervisord", "-n")}, "supervisord:holdfast", "the parent is supervisord"},
		{"supervisord that is one program", Self{PPID: 900, Env: supervisord[:3], Parent: parent("x", "/usr/local/bin/supervisord", "-c", "s.conf")}, "supervisord:holdfast", "the parent is supervisord"},
		{"sh under supervisord", Self{PPID: 900, Env: supervisord, Parent: parent("sh", "/bin/sh", "-c", "cd /etc/supervisord; holdfast up")}, "", "the parent is not supervisord"},
		{"an editor of supervisord's file", Self{PPID: 900, Env: supervisord, Parent: parent("vi", "vi", "/etc/supervisor/supervisord.conf")}, "", "the parent is not supervisord"},
		{"an orphan under an init that runs supervisord", Self{PPID: 1, Env: supervisord, Parent: parent("dumb-init", "/usr/bin/dumb-init", "/usr/bin/supervisord")}, "", "the parent is not supervisord"},

		// macOS.
		{"a job of the user", Self{PPID: 1, Env: []string{"XPC_SERVICE_NAME=dev.holdfast"}, Parent: parent("launchd", "/sbin/launchd")}, "launchd:user:dev.holdfast", "the parent is launchd"},
		{"a job of the system", Self{PPID: 1, Env: []string{"XPC_SERVICE_NAME=dev.holdfast"}, Parent: parent("launchd"), SystemJob: true}, "launchd:system:dev.holdfast", "the parent is launchd"},
		{"a job whose parent cannot be seen", Self{PPID: 1, Env: []string{"XPC_SERVICE_NAME=dev.holdfast"}}, "launchd:user:dev.holdfast", "the parent is launchd"},
		{"a terminal on macOS", Self{PPID: 700, Env: []string{"XPC_SERVICE_NAME=0", "TERM_PROGRAM=Apple_Terminal"}, Parent: parent("zsh", "-zsh")}, "", "every terminal"},
		{"an editor's terminal on macOS", Self{PPID: 700, Env: []string{"XPC_SERVICE_NAME=application.com.microsoft.VSCode.1.2"}, Parent: parent("zsh")}, "", "every terminal"},
		{"an orphan of a terminal on macOS", Self{PPID: 1, Env: []string{"XPC_SERVICE_NAME=0", "LAUNCHD_SOCKET=/tmp/l/sock"}, Parent: parent("launchd")}, "", "every terminal"},
		{"an orphan of an application on macOS", Self{PPID: 1, Env: []string{"XPC_SERVICE_NAME=application.com.googlecode.iterm2.1.2"}, Parent: parent("launchd")}, "", "every terminal"},
		{"a script's child in a job", Self{PPID: 700, Env: []string{"XPC_SERVICE_NAME=dev.holdfast"}, Parent: parent("sh", "/bin/sh", "start.sh")}, "", "the parent is not launchd"},
		{"tmux that a job started", Self{PPID: 700, Env: []string{"XPC_SERVICE_NAME=my.tmux"}, Parent: parent("tmux", "tmux")}, "", "the parent is not launchd"},
		{"a job with a socket alone", Self{PPID: 1, Env: []string{"LAUNCHD_SOCKET=/tmp/l/sock"}, Parent: parent("launchd")}, "launchd:user:", "LAUNCHD_SOCKET"},
		{"a session with a socket", Self{PPID: 700, Env: []string{"LAUNCHD_SOCKET=/tmp/l/sock"}, Parent: parent("bash")}, "", "LAUNCHD_SOCKET"},
		{"launchd's variables elsewhere", Self{PPID: 1, Env: []string{"XPC_SERVICE_NAME=dev.holdfast"}, Parent: parent("systemd")}, "", "the parent is not launchd"},

		// Nobody.
		{"a shell", Self{PPID: 700, Parent: parent("bash", "-bash")}, "", "The parent is bash (process 700)"},
		{"go run", Self{PPID: 700, Parent: parent("go", "go", "run", "./cmd/holdfast")}, "", "The parent is go"},
		{"sudo", Self{PPID: 700, Parent: parent("sudo", "sudo", "holdfast", "up")}, "", "The parent is sudo"},
		{"ssh", Self{PPID: 700, Env: []string{"SSH_CONNECTION=127.0.0.1 1 127.0.0.1 22"}, Parent: parent("sshd", "sshd: ada@pts/0")}, "", "The parent is sshd"},
		{"cron", Self{PPID: 700, Parent: parent("sh", "/bin/sh", "-c", "holdfast up")}, "", "The parent is sh"},
		{"an orphan", Self{PPID: 1, Parent: parent("tini", "tini", "--", "bash")}, "", "who started this has ended"},
		{"a container", Self{PID: 1, PPID: 0, Env: []string{"container=podman", "NOTIFY_SOCKET=/run/notify"}}, "", "first process of a container"},
		{"nothing known", Self{PPID: 700}, "", "process 700"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := Detect(c.self)
			if got := v.Unit.String(); got != c.want || v.Supervised() != (c.want != "") {
				t.Errorf("%q, want %q\n%+v", got, c.want, v.Findings)
			}
			counted := 0
			said := false
			for _, f := range v.Findings {
				if f.Counts {
					counted++
				}
				if !strings.HasSuffix(f.What, ".") {
					t.Errorf("%q is no sentence", f.What)
				}
				said = said || strings.Contains(f.What, c.says) && f.Counts == (c.want != "")
			}
			if want := min(len(c.want), 1); counted != want || !said {
				t.Errorf("%d findings count, want %d; %q is to be said\n%+v", counted, want, c.says, v.Findings)
			}
			// A restart in place keeps pid, parent and environment.
			if diff := cmp.Diff(v, Detect(c.self)); diff != "" {
				t.Errorf("a second look differs: %s", diff)
			}
		})
	}
}

func TestCurrent(t *testing.T) {
	s := Current()
	if s.PID == 0 || s.PPID == 0 || s.Parent.Name == "" || len(s.Parent.Args) == 0 || len(s.Outputs) != 2 || len(s.Env) == 0 {
		t.Errorf("%+v", s)
	}
	// go test is no supervisor, and neither is what started it.
	if v := Detect(s); v.Supervised() {
		t.Errorf("%+v", v)
	}
	if !slices.ContainsFunc(Detect(s).Findings, func(f Finding) bool { return strings.Contains(f.What, s.Parent.Name) }) {
		t.Errorf("the parent %q is not named: %+v", s.Parent.Name, Detect(s).Findings)
	}
}

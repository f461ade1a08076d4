//go:build supervisors

package e2e

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/internal/proc"
)

// site is a world whose host is started by a real supervisor, which the test
// runs privately: its own folder of services, its own home folder.
type site struct {
	*world
	m        manager
	dir      string // holds all of it; short, sockets lie in it
	user     string // the home folder of the person who installs
	services string // the supervisor's folder
	starts   string // a line for each time that the supervisor started a host
	addr     string
	armed    int // starts so far

	sup    *exec.Cmd     // the supervisor
	root   int           // its pid, as seen from here
	out    *syncBuffer   // what it and its services print
	supEnd chan struct{} // closed when it has ended
}

// service is the name under which the host is installed.
const service = "holdfast"

// newSite starts a supervisor that has nothing to do yet.
func newSite(t *testing.T, m manager) *site {
	t.Helper()
	addr := freeAddr(t)
	// A supervisor's client may take seconds to say that the host is down; only then are the agents looked at.
	w := newWorld(t, nil, fmt.Sprintf("addr = %q\n[leases]\nasked = \"15s\"\n", addr))
	dir := filepath.Dir(w.home)
	s := &site{
		world: w, m: m, dir: dir, addr: addr, user: filepath.Join(dir, "u"), services: filepath.Join(dir, "sv"),
		starts: filepath.Join(dir, "starts"), out: w.out,
	}
	for _, d := range []string{s.user, s.services, filepath.Join(dir, "r")} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	w.base = "http://" + addr
	w.env = append(
		w.env, "HOME="+s.user, "XDG_RUNTIME_DIR="+filepath.Join(dir, "r"), "XDG_CONFIG_HOME=", "XDG_DATA_HOME=", "XDG_STATE_HOME=",
		"DBUS_SESSION_BUS_ADDRESS=", siteVar+"="+dir,
	)
	s.sweepAtEnd()
	s.begin()
	return s
}

// sweepAtEnd ends whatever the test started, also where the test dies without
// its cleanup: then a process that waits for that does it.
func (s *site) sweepAtEnd() {
	s.t.Helper()
	exe, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	sweeper := exec.Command(exe)
	sweeper.Env = append(os.Environ(), sweepVar+"="+s.dir)
	sweeper.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	lifeline, err := sweeper.StdinPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := sweeper.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if s.t.Failed() {
			s.dump()
			s.t.Logf("starts:\n%s", s.started())
			if log, err := os.ReadFile(filepath.Join(s.home, "logs", "holdfast.log")); err == nil {
				s.t.Logf("the host's log:\n%s", tail(string(log), 8000))
			}
		}
		if s.sup != nil {
			_ = s.sup.Process.Kill() // first, or it starts again what is ended next
			<-s.supEnd
		}
		sweep(s.dir)
		_ = lifeline.Close()
		_ = sweeper.Wait()
	})
}

// begin starts the supervisor.
func (s *site) begin() {
	s.t.Helper()
	argv := s.m.argv(s)
	cmd := exec.Command(argv[0], argv[1:]...)
	for _, kv := range s.environ() {
		if !strings.HasPrefix(kv, "HOLDFAST_") || strings.HasPrefix(kv, siteVar) {
			cmd.Env = append(cmd.Env, kv) // what a service needs stands in its files
		}
	}
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = s.out, s.out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	s.sup, s.root, s.supEnd = cmd, cmd.Process.Pid, ended
	if s.m.began != nil {
		s.m.began(s)
	}
}

// ports are handed out below those that the kernel gives to clients: a client's
// own port can be no host's.
var ports atomic.Int32

func freeAddr(t *testing.T) string {
	t.Helper()
	h := fnv.New32()
	_, _ = fmt.Fprint(h, os.Getpid())
	for range 2000 {
		addr := fmt.Sprintf("127.0.0.1:%d", 12000+(h.Sum32()+uint32(ports.Add(1)))%16000)
		if l, err := net.Listen("tcp", addr); err == nil {
			_ = l.Close()
			return addr
		}
	}
	t.Fatal("no port is free")
	return ""
}

// program is a service that is written by hand.
type program struct {
	name   string
	argv   []string
	env    []string // KEY=value
	mapped bool     // exit code 78 means: stay down
}

// run runs a command where the supervisor lives, and returns what it printed.
func (s *site) run(argv ...string) (string, error) {
	if s.within != nil {
		argv = s.within(argv)
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = s.environ()
	cmd.WaitDelay = time.Second
	timer := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// mustRun is run that has to succeed.
func (s *site) mustRun(argv ...string) string {
	s.t.Helper()
	out, err := s.run(argv...)
	if err != nil {
		s.t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
	return out
}

// holdfast runs the built binary as the person who installs does, and returns
// its exit code and all that it printed.
func (s *site) holdfast(args ...string) (int, string) {
	s.t.Helper()
	cmd := s.command(append([]string{"--home", s.home}, args...)...)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		s.t.Fatalf("holdfast %s: %v", strings.Join(args, " "), err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

func (s *site) mustHoldfast(args ...string) string {
	s.t.Helper()
	code, out := s.holdfast(args...)
	if code != 0 {
		s.t.Fatalf("holdfast %s: exit code %d\n%s", strings.Join(args, " "), code, out)
	}
	return out
}

// counted puts a script in the place of a program that writes a line for each
// start and then becomes the program. A restart in place is no start: it runs
// the program that it is.
func (s *site) counted(path string) {
	s.t.Helper()
	if err := os.Rename(path, path+".real"); err != nil {
		s.t.Fatal(err)
	}
	text := fmt.Sprintf(`#!/bin/sh
case " $* " in *" serve "*|*" up "*)
	echo "$$ $*" >>'%s'
	for faults in '%s'.*; do
		[ ! -f "$faults" ] || { . "$faults"; /bin/rm "$faults"; }
		break
	done ;;
esac
exec '%s.real' "$@"
`, s.starts, s.faults(), path)
	if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
		s.t.Fatal(err)
	}
}

// faults is where a counted program finds what to be broken by.
func (s *site) faults() string { return filepath.Join(s.dir, "faults") }

// arm has one start of a counted program, the next that is not armed yet, come
// up with faults and, where that is not 0, with a limit of descriptors. Those
// that follow are well.
func (s *site) arm(nofile int, faults ...string) {
	s.t.Helper()
	text := fmt.Sprintf("export HOLDFAST_FAILPOINT='%s'\n", strings.Join(faults, ","))
	if nofile > 0 {
		text += fmt.Sprintf("ulimit -n %d\n", nofile)
	}
	s.armed++
	s.put(fmt.Sprintf("%s.%02d", s.faults(), s.armed), text, 0o600)
}

// started is what counted wrote: a line for each start.
func (s *site) started() string {
	data, _ := os.ReadFile(s.starts)
	return string(data)
}

// wantStarts checks how often the supervisor has started the host so far.
func (s *site) wantStarts(want int) {
	s.t.Helper()
	if got := strings.Count(s.started(), "\n"); got != want {
		s.t.Errorf("the supervisor started the host %d times, want %d:\n%s", got, want, s.started())
	}
}

// settle waits longer than any of the supervisors does before it starts a
// program again.
func settle() { time.Sleep(4 * time.Second) }

// listeners are the processes that hold a socket which listens at the host's
// address.
func (s *site) listeners() []int {
	s.t.Helper()
	_, port, _ := net.SplitHostPort(s.addr)
	n, _ := strconv.Atoi(port)
	sockets := map[string]bool{}
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		s.t.Fatal(err)
	}
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line)
		if len(f) > 9 && f[3] == "0A" && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", n)) {
			sockets["socket:["+f[9]+"]"] = true
		}
	}
	var pids []int
	if len(sockets) == 0 {
		return nil
	}
	all, err := proc.All()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, p := range all {
		if p.Zombie {
			continue
		}
		fds, err := proc.Descriptors(p.PID)
		if err != nil {
			continue // has ended
		}
		if slices.ContainsFunc(fds, func(d proc.Descriptor) bool { return sockets[d.Target] }) && p.PID != os.Getpid() {
			pids = append(pids, p.PID)
		}
	}
	return pids
}

// healthy waits until one process listens, another one than old, and says that
// it is well. It returns its pid.
func (s *site) healthy(old int) int {
	s.t.Helper()
	var pids []int
	s.until("one healthy host", time.Minute, func() bool {
		resp, err := http.Get(s.base + "/health")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return false
		}
		pids = s.listeners()
		return len(pids) == 1 && pids[0] != old
	})
	if s.token == "" {
		s.token = strings.TrimSpace(s.cli("token", "create", "--name", "test"))
	}
	return pids[0]
}

// supervised checks who started the process.
func (s *site) supervised(pid int, chain []string) {
	s.t.Helper()
	var got []string
	for pid != s.root && len(got) < 8 {
		info, err := proc.Lookup(pid)
		if err != nil {
			s.t.Fatalf("process %d: %v", pid, err)
		}
		pid = info.Parent
		parent, err := proc.Lookup(pid)
		if err != nil {
			break // pid 0
		}
		got = append(got, parent.Command)
	}
	if !slices.Equal(got, chain) {
		s.t.Errorf("the host's parents are %q, want %q", got, chain)
	}
}

// gone waits until nobody listens any more.
func (s *site) gone(limit time.Duration) {
	s.t.Helper()
	s.until("a free port", limit, func() bool { return len(s.listeners()) == 0 })
	l, err := net.Listen("tcp", s.addr)
	if err != nil {
		s.t.Fatalf("the port is not free: %v", err)
	}
	_ = l.Close()
}

// hosts are the processes that are a host of this state folder, or try to be
// one.
func (s *site) hosts() []int {
	s.t.Helper()
	all, err := proc.All()
	if err != nil {
		s.t.Fatal(err)
	}
	var pids []int
	for _, p := range all {
		if p.Zombie {
			continue
		}
		args, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.PID))
		argv := strings.Split(string(args), "\x00")
		env, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.PID))
		if (slices.Contains(argv, "serve") || slices.Contains(argv, "up")) &&
			(bytes.Contains(args, []byte(s.home)) || bytes.Contains(env, []byte("HOLDFAST_HOME="+s.home))) {
			pids = append(pids, p.PID)
		}
	}
	return pids
}

// children are the processes below the supervisor.
func (s *site) children() []int {
	s.t.Helper()
	tree, err := proc.Tree(s.root)
	if err != nil {
		s.t.Fatal(err)
	}
	var pids []int
	for _, p := range tree {
		if !p.Zombie {
			pids = append(pids, p.PID)
		}
	}
	return pids
}

// staysDown checks that the service is down, by what can be seen of it and by
// what its supervisor says.
func (s *site) staysDown() {
	s.t.Helper()
	s.gone(time.Second)
	if pids := s.hosts(); len(pids) > 0 {
		s.t.Errorf("processes %v are hosts", pids)
	}
	s.saysDown(service)
}

func (s *site) saysDown(name string) {
	s.t.Helper()
	// Some tell by their exit code as well that it does not run.
	if out, _ := s.run(s.m.status(s, name)...); !s.m.isDown.MatchString(out) {
		s.t.Errorf("%s says of the service: %s", s.m.name, out)
	}
}

// breakConfig makes a configuration that no host starts with, and returns how
// to mend it.
func (s *site) breakConfig() (mend func()) {
	s.t.Helper()
	path := filepath.Join(s.home, "config.toml")
	good, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	write := func(data []byte) {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
	write(append([]byte("adr = 1\n"), good...))
	return func() { write(good) }
}

// files lists what lies in the folders, sockets and all; not the folders.
func files(t *testing.T, dirs ...string) []string {
	t.Helper()
	var found []string
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				found = append(found, path)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return found
}

// turn is an answer under way.
type turn struct {
	s         *site
	session   sessionRow
	f         *follower
	run, want string
	text      string // of the message
}

var seeds atomic.Uint64

// turn sends a message whose answer takes some seconds, and returns when a part
// of it was seen.
func (s *site) turn(session sessionRow, chunks int) *turn {
	s.t.Helper()
	if session.ID == "" {
		session = s.newSession()
	}
	// From here on: a stream that is opened without a cursor may be late.
	var page struct{ Cursor string }
	s.must("GET", "/api/v1/sessions/"+session.ID+"/items", nil, &page)
	tu := &turn{s: s, session: session, f: s.follow(session.ID, page.Cursor)}
	tu.text, tu.want = stream(chunks, "10ms", 900+seeds.Add(1))
	tu.run = s.send(session.ID, tu.text).Run
	s.until("some text", time.Minute, func() bool { return len(tu.f.text(tu.run)) > 100 })
	return tu
}

// over tells whether the answer has come to its end already, as the client saw
// it.
func (tu *turn) over() bool {
	return slices.ContainsFunc(tu.f.seen(), func(e event) bool { return e.Kind == "run.ended" && e.Run == tu.run })
}

// whole waits for the end and checks that not a character is lost or doubled,
// in the log and before the client's eyes.
func (tu *turn) whole() {
	s := tu.s
	s.t.Helper()
	if reason := s.ended(tu.session.ID, tu.run); reason != "end_turn" {
		s.t.Errorf("the run ended by %q", reason)
	}
	if got := s.said(tu.session.ID, tu.run); got != tu.want {
		s.t.Errorf("said\n%q, want\n%q", got, tu.want)
	}
	s.until("the whole stream", 30*time.Second, func() bool { return tu.over() })
	if got := tu.f.text(tu.run); got != tu.want {
		s.t.Errorf("the client saw\n%q, want\n%q", got, tu.want)
	}
	tu.f.gapless(s.t)
	if tu.f.resyncs > 0 {
		s.t.Errorf("the client had to read everything again")
	}
	if n := len(s.heard(tu.text + `"`)); n != 1 {
		s.t.Errorf("the agent got the prompt %d times", n)
	}
	s.world.whole(tu.session.ID)
}

// unit is what the host says of who supervises it.
func (s *site) unit() string {
	s.t.Helper()
	unit, _ := s.status()["unit"].(string)
	return unit
}

package watch

import (
	"bufio"
	"context"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/holdfast-dev/holdfast/internal/proc"
	"github.com/holdfast-dev/holdfast/internal/supervise"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// need returns a program's path.
func need(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is needed: %v", name, err)
	}
	t.Skipf("%s is needed: %v", name, err)
	return ""
}

// server is the Python server of testdata.
type server struct {
	t    *testing.T
	url  string
	port int
	id   proc.ID
	dir  string
	cmd  *exec.Cmd
}

func start(t *testing.T, fault string, env ...string) *server {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command(need(t, "python3"), "testdata/server.py", fault, dir)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	port, err2 := strconv.Atoi(strings.TrimSpace(line))
	if err = errors.Join(err, err2); err != nil {
		t.Fatalf("the server said %q: %v", line, err)
	}
	all, err := Selector{Port: port}.Find()
	if err != nil || len(all) != 1 {
		t.Fatalf("who listens: %v %v", all, err)
	}
	return &server{t, "http://127.0.0.1:" + strconv.Itoa(port), port, all[0], dir, cmd}
}

func (s *server) get(path string) {
	s.t.Helper()
	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport, Timeout: 20 * time.Second}).Get(s.url + path)
	if err != nil {
		s.t.Fatal(err)
	}
	resp.Body.Close()
}

func (s *server) options() Options {
	return Options{
		Selector: Selector{Port: s.port}, MaxFDs: Threshold{Share: 0.8}, Timeout: 1500 * time.Millisecond, Patience: 3,
		Busy: time.Hour, Confirm: time.Millisecond, Save: func(Memory) error { return nil },
	}
}

func look(t *testing.T, o Options, m *Memory) *Finding {
	t.Helper()
	f, err := Look(t.Context(), o, m)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestLeak is the bug report: each request leaves a connection to state.db
// with its -wal, until the limit is reached.
func TestLeak(t *testing.T) {
	t.Parallel()
	s := start(t, "leak")
	before, err := Take(s.id)
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		s.get("/")
	}
	now, err := Take(s.id)
	if err != nil {
		t.Fatal(err)
	}
	db := filepath.Join(s.dir, "state.db")
	want := map[Tally]bool{
		{Kind: proc.KindSQLite, Name: db, Count: 20}:             true,
		{Kind: proc.KindSQLiteWAL, Name: db + "-wal", Count: 20}: true,
	}
	for _, grown := range Since(before, now).Names {
		delete(want, grown)
	}
	if len(want) > 0 || now.Count < before.Count+40 {
		t.Errorf("not seen: %v; %d, then %d: %+v", want, before.Count, now.Count, now.Names)
	}
	if now.Soft == 0 || now.Command != "python3" && !strings.HasPrefix(now.Command, "python") || now.Since.IsZero() || len(now.Args) < 3 {
		t.Errorf("%+v", now)
	}

	o, m := s.options(), Memory{}
	o.MaxFDs = Threshold{Count: now.Count + 5}
	if f := look(t, o, &m); f.State != Well || f.Count < 40 || f.Soft != now.Soft {
		t.Errorf("under the threshold: %+v", f)
	}
	o.MaxFDs = Threshold{Share: float64(now.Count-5) / float64(now.Soft)}
	f := look(t, o, &m)
	if f.State != Trouble || f.Acted || f.Action != "" || !strings.Contains(f.Text, "20 of them are "+db) || len(f.Top) == 0 {
		t.Errorf("over it: %+v", f)
	}
	if !proc.Alive(s.id) {
		t.Fatal("it was only to tell")
	}
	o.Action = Action{Signal: syscall.SIGTERM}
	if f = look(t, o, &m); f.State != Trouble || !f.Acted || f.Failed != "" {
		t.Errorf("with an action: %+v", f)
	}
	_ = s.cmd.Wait()
	if proc.Alive(s.id) {
		t.Error("it was not ended")
	}
	// Its port is nobody's; what comes next is followed.
	if f = look(t, o, &m); f.State != Missed || f.Misses != 1 {
		t.Errorf("of nobody: %+v", f)
	}
	next := start(t, "well", "PORT="+strconv.Itoa(s.port))
	if f = look(t, o, &m); f.State != Well || len(f.PIDs) != 1 || f.PIDs[0] != next.id.PID || m.First != next.id || m.Misses != 0 {
		t.Errorf("of the next one: %+v %+v", f, m)
	}
}

// TestDeaf: it accepts and never answers, and does nothing.
func TestDeaf(t *testing.T) {
	t.Parallel()
	s := start(t, "deaf")
	o, m := s.options(), Memory{}
	o.URL = s.url + "/error"
	o.Action = Action{Signal: syscall.SIGKILL}
	if f := look(t, o, &m); f.State != Well || !strings.Contains(f.Text, "500") {
		t.Errorf("an error is an answer: %+v", f)
	}
	s.get("/deaf")
	o.Young = time.Hour
	if f := look(t, o, &m); f.State != Starting || m.Misses != 0 {
		t.Errorf("of a young one: %+v", f)
	}
	o.Young = 0
	for i, busy := 1, 0; i <= 3; {
		f := look(t, o, &m)
		// A machine that is full lets it wait for its turn to do nothing.
		if f.State == Busy && !f.Acted && busy < 20 {
			busy++
			continue
		}
		if want := map[bool]State{false: Missed, true: Trouble}[i == 3]; f.State != want || f.Misses != i || f.Acted != (i == 3) {
			t.Fatalf("look %d: %+v", i, f)
		}
		i++
	}
	_ = s.cmd.Wait()
}

// TestBusy: the same silence, at work. Only what is given up after Busy is
// acted upon.
func TestBusy(t *testing.T) {
	t.Parallel()
	s := start(t, "busy")
	o, m := s.options(), Memory{}
	o.URL = s.url
	o.Action = Action{Signal: syscall.SIGKILL}
	s.get("/busy")
	for range 4 {
		if f := look(t, o, &m); f.State != Busy || f.Acted || m.Misses != 0 {
			t.Fatalf("%+v", f)
		}
	}
	o.Busy = time.Millisecond
	for range 2 {
		if f := look(t, o, &m); f.State != Missed {
			t.Fatalf("%+v", f)
		}
	}
	if f := look(t, o, &m); f.State != Trouble || !f.Acted {
		t.Fatalf("%+v", f)
	}
	_ = s.cmd.Wait()
}

// TestSelect: by name, without who looks, and by pid.
func TestSelect(t *testing.T) {
	t.Parallel()
	s := start(t, "well")
	// Who looks for it has its name in the command line, and so has the shell
	// that started it.
	looker := filepath.Join(t.TempDir(), "holdfast")
	if err := os.Symlink("/bin/sh", looker); err != nil {
		t.Fatal(err)
	}
	sh := exec.Command("sh", "-c", looker+" -c 'sleep 60; true' watch --name "+s.dir+"; true")
	sh.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := sh.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		syscall.Kill(-sh.Process.Pid, syscall.SIGKILL)
		_ = sh.Wait()
	}()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		tree, err := proc.Tree(sh.Process.Pid)
		if err == nil && len(tree) == 2 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the looker does not come: %v %v", tree, err)
		}
	}
	sel := Selector{Name: regexp.MustCompile(regexp.QuoteMeta(s.dir))}
	ids, err := sel.Find()
	if err != nil || len(ids) != 1 || ids[0] != s.id {
		t.Errorf("%v %v, want %v", ids, err, s.id)
	}
	if ids, err = (Selector{PID: s.id.PID}).Find(); err != nil || len(ids) != 1 || ids[0] != s.id {
		t.Errorf("%v %v, want %v", ids, err, s.id)
	}
	o, m := s.options(), Memory{}
	o.Selector, o.Pinned = Selector{PID: s.id.PID}, proc.ID{PID: s.id.PID, Start: s.id.Start + 1}
	if f := look(t, o, &m); f.State != Trouble || !f.Ended {
		t.Errorf("another process has the pid: %+v", f)
	}
	if _, err := (Selector{PID: 1 << 30}).Find(); !errors.Is(err, proc.ErrGone) {
		t.Errorf("of nobody: %v", err)
	}
}

func TestLooks(t *testing.T) {
	for line, want := range map[string]bool{
		"/usr/bin/holdfast watch --name x":      true,
		"holdfast --home /h fds --name x":       true,
		"holdfast serve":                        false,
		"python3 holdfast watch":                false,
		"holdfast":                              false,
		"/opt/holdfast/venv/bin/python watch x": false,
	} {
		if got := looks(strings.Fields(line)); got != want {
			t.Errorf("%s: %v", line, got)
		}
	}
}

// TestAnotherUsers: nobody's eyes see nothing of root's.
func TestAnotherUsers(t *testing.T) {
	if os.Getuid() == 0 {
		// Root sees everything: the test needs somebody else.
		exe, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(exe)
		if err != nil {
			t.Fatal(err)
		}
		dir, err := os.MkdirTemp("", "hf")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		copied := filepath.Join(dir, "test")
		if err := errors.Join(os.Chmod(dir, 0o755), os.WriteFile(copied, data, 0o755)); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), copied, "-test.run=^TestAnotherUsers$", "-test.v")
		cmd.Dir = dir
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS") {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	id, err := proc.Of(1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Take(id); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("%v", err)
	}
	o, m := Options{Selector: Selector{PID: 1}, MaxFDs: Threshold{Share: 0.8}}, Memory{}
	if f, err := Look(t.Context(), o, &m); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("%+v %v", f, err)
	}
	o.Lenient = true
	if f, err := Look(t.Context(), o, &m); err != nil || f.State != Well || !strings.Contains(f.Text, "another user") {
		t.Errorf("%+v %v", f, err)
	}
}

// TestRestart has runit restart a server that leaked.
func TestRestart(t *testing.T) {
	t.Parallel()
	need(t, "sv")
	runsv := need(t, "runsv")
	python := need(t, "python3")
	dir, err := os.MkdirTemp("", "hf") // short: sockets lie in it
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	script, err := filepath.Abs("testdata/server.py")
	if err != nil {
		t.Fatal(err)
	}
	run := "#!/bin/sh\nexec '" + python + "' '" + script + "' leak '" + dir + "' >'" + dir + "/port'\n"
	if err := os.WriteFile(filepath.Join(dir, "run"), []byte(run), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(runsv, dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // runsv ends its service, then itself
		_ = cmd.Wait()
	}()
	var sel Selector
	find := func() proc.ID {
		for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
			data, _ := os.ReadFile(filepath.Join(dir, "port"))
			port, err := strconv.Atoi(strings.TrimSpace(string(data)))
			if err != nil {
				continue
			}
			sel = Selector{Port: port}
			if ids, err := sel.Find(); err == nil && len(ids) == 1 {
				return ids[0]
			}
		}
		t.Fatal("the server does not come")
		return proc.ID{}
	}
	first := find()
	s := &server{t: t, url: "http://127.0.0.1:" + strconv.Itoa(sel.Port), port: sel.Port, id: first}
	for range 20 {
		s.get("/")
	}
	unit, err := supervise.ParseUnit("runit:" + dir)
	if err != nil {
		t.Fatal(err)
	}
	o, m := s.options(), Memory{}
	o.MaxFDs, o.Action, o.Cooldown = Threshold{Count: 40}, Action{Restart: unit}, time.Hour
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	f, err := Look(ctx, o, &m)
	if err != nil || f.State != Trouble || !f.Acted {
		t.Fatalf("%+v %v", f, err)
	}
	for deadline := time.Now().Add(20 * time.Second); proc.Alive(first); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the old one lives")
		}
	}
	second := find()
	if second == first {
		t.Error("it is the same process")
	}
	o.Selector = sel
	if f := look(t, o, &m); f.State != Well || m.First != second {
		t.Errorf("%+v", f)
	}
}

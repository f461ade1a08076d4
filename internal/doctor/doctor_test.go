package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/holdfast-dev/holdfast/internal/proc"
)

// hostVar makes the test binary a host: it holds the lock of the folder and
// behaves as the second word says.
const hostVar = "HOLDFAST_TEST_HOST"

func TestMain(m *testing.M) {
	if how := os.Getenv(hostVar); how != "" {
		host(how)
		return
	}
	goleak.VerifyTestMain(m)
}

// host is a host as doctor sees one.
func host(spec string) {
	var how, home, unit string
	fmt.Sscan(spec, &how, &home, &unit)
	lock, err := proc.Lock(filepath.Join(home, "host.lock"))
	if err != nil {
		panic(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	h := Holder{PID: os.Getpid(), Address: ln.Addr().String(), Since: time.Now().Add(-time.Hour), Version: "test", Unit: unit}
	switch how {
	case "ok":
		go http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"status":"ok"}`) }))
	case "failing":
		go http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }))
	case "starting":
		h.Address = ""
	case "young":
		h.Since = time.Now()
	case "resets": // accepts and hangs up
		go func() {
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				_ = c.(*net.TCPConn).SetLinger(0)
				c.Close()
			}
		}()
	case "silent": // accepts and never answers
		go func() {
			for {
				if _, err := ln.Accept(); err != nil {
					return
				}
			}
		}()
	case "deaf": // does not even accept
	}
	data, _ := json.Marshal(h)
	if _, err := lock.WriteAt(data, 0); err != nil {
		panic(err)
	}
	fmt.Println("ready")
	time.Sleep(time.Minute)
}

type fake struct {
	home string
	cmd  *exec.Cmd
	err  strings.Builder // its stderr, when it has ended
	done chan struct{}
}

func start(t *testing.T, how, unit string) *fake {
	t.Helper()
	home := t.TempDir()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{home: home, cmd: exec.Command(exe), done: make(chan struct{})}
	f.cmd.Env = append(os.Environ(), hostVar+"="+how+" "+home+" "+unit)
	f.cmd.Stderr = &f.err
	out, err := f.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := f.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 16)
	if _, err := out.Read(buf); err != nil {
		t.Fatal(err)
	}
	go func() { _ = f.cmd.Wait(); close(f.done) }()
	t.Cleanup(func() { _ = f.cmd.Process.Kill(); <-f.done })
	return f
}

func (f *fake) alive() bool {
	select {
	case <-f.done:
		return false
	default:
		return true
	}
}

func (f *fake) options() Options {
	return Options{Home: f.home, Tries: 3, Pause: 10 * time.Millisecond, Deadline: 200 * time.Millisecond, Young: 0}
}

func TestWedged(t *testing.T) {
	for _, how := range []string{"silent", "deaf", "resets"} {
		f := start(t, how, "runit:/etc/service/holdfast")
		r := Examine(t.Context(), f.options())
		if !r.Wedged || len(r.Asked) != 3 {
			t.Errorf("%s: not seen as wedged: %+v", how, r)
			continue
		}
		note, err := End(t.Context(), f.options(), r, false)
		if err != nil {
			t.Errorf("%s: %v", how, err)
			continue
		}
		select {
		case <-f.done:
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: it lives on", how)
		}
		// SIGQUIT first: the stacks are where the runtime writes them.
		if got := f.err.String(); !strings.Contains(got, "SIGQUIT") || !strings.Contains(got, "goroutine 1") {
			t.Errorf("%s: no stacks were printed: %.200q", how, got)
		}
		text, err := os.ReadFile(note)
		if err != nil || !strings.Contains(string(text), "host.lock") || !strings.Contains(string(text), "Requests:") {
			t.Errorf("%s: the note lacks what was seen (%v):\n%s", how, err, text)
		}
		log, err := os.ReadFile(filepath.Join(f.home, "logs", "doctor.log"))
		if err != nil || !strings.Contains(string(log), fmt.Sprint(f.cmd.Process.Pid)) {
			t.Errorf("%s: the log says %q (%v)", how, log, err)
		}
	}
}

// A stopped process cannot act on SIGQUIT.
func TestStoppedProcess(t *testing.T) {
	f := start(t, "ok", "runit:/etc/service/holdfast")
	if err := f.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	// The signal takes a moment.
	h, _, err := Look(f.home)
	if err != nil {
		t.Fatal(err)
	}
	for began := time.Now(); ; {
		if _, err := ask(t.Context(), "http://"+h.Address, 100*time.Millisecond); err != nil {
			break
		}
		if time.Since(began) > 5*time.Second {
			t.Fatal("a stopped process answers")
		}
	}
	r := Examine(t.Context(), f.options())
	if !r.Wedged {
		t.Fatalf("not seen as wedged: %+v", r)
	}
	if _, err := End(t.Context(), f.options(), r, false); err != nil {
		t.Fatal(err)
	}
	select {
	case <-f.done:
	case <-time.After(10 * time.Second):
		t.Fatal("it lives on")
	}
}

func TestLeftAlone(t *testing.T) {
	for name, c := range map[string]struct {
		how  string
		bad  bool
		more func(*Options)
	}{
		"a healthy host":         {how: "ok"},
		"one that answers 503":   {how: "failing", bad: true},
		"one that is starting":   {how: "starting"},
		"a young one":            {how: "young", bad: true, more: func(o *Options) { o.Young = time.Minute }},
		"a young process":        {how: "deaf", bad: true, more: func(o *Options) { o.Young = time.Minute }},
		"one while we are ended": {how: "silent", bad: true},
	} {
		f := start(t, c.how, "runit:/etc/service/holdfast")
		o := f.options()
		if c.more != nil {
			c.more(&o)
		}
		ctx, cancel := context.WithCancel(t.Context())
		if name == "one while we are ended" {
			time.AfterFunc(50*time.Millisecond, cancel)
		}
		r := Examine(ctx, o)
		cancel()
		if r.Wedged || r.Bad() != c.bad {
			t.Errorf("%s: wedged %t, bad %t: %+v", name, r.Wedged, r.Bad(), r.Checks)
		}
		if _, err := End(t.Context(), o, r, true); err == nil {
			t.Errorf("%s was ended", name)
		}
		if !f.alive() {
			t.Errorf("%s is dead", name)
		}
	}
}

func TestNoSupervisor(t *testing.T) {
	f := start(t, "silent", "")
	r := Examine(t.Context(), f.options())
	if _, err := End(t.Context(), f.options(), r, false); !errors.Is(err, ErrNoSupervisor) || !f.alive() {
		t.Fatalf("a host that nothing starts again was ended: %v", err)
	}
	if _, err := End(t.Context(), f.options(), r, true); err != nil {
		t.Fatal(err)
	}
}

func TestNoHost(t *testing.T) {
	home := t.TempDir()
	for range 2 {
		if r := Examine(t.Context(), Defaults(home)); r.Bad() || r.Held || r.Wedged {
			t.Errorf("%+v", r)
		}
		// The next round: a lock file that a dead host left.
		if err := os.WriteFile(filepath.Join(home, "host.lock"), []byte(`{"pid":1,"address":"127.0.0.1:1"}`), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if r := Examine(t.Context(), Defaults(filepath.Join(home, "none"))); r.Bad() {
		t.Errorf("%+v", r)
	}
}

// The text in the file may name a stranger: it does not hold the lock.
func TestStranger(t *testing.T) {
	f := start(t, "silent", "runit:/etc/service/holdfast")
	stranger := exec.Command("sleep", "60")
	if err := stranger.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stranger.Process.Kill(); _ = stranger.Wait() })
	h, _, err := Look(f.home)
	if err != nil {
		t.Fatal(err)
	}
	h.PID = stranger.Process.Pid
	data, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(f.home, "host.lock"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	r := Examine(t.Context(), f.options())
	if r.Wedged || !r.Bad() {
		t.Errorf("a stranger was taken for the host: %+v", r.Checks)
	}
}

func TestReportsAreBounded(t *testing.T) {
	dir := t.TempDir()
	for i := range keptReports + 5 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("wedged-%03d.txt", i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	prune(dir)
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(left) != keptReports-1 || filepath.Base(left[0]) != "wedged-006.txt" {
		t.Errorf("left: %v (%v)", left, err)
	}
}

func TestURL(t *testing.T) {
	for _, c := range []struct {
		h    Holder
		want string
	}{
		{Holder{Address: "127.0.0.1:8787"}, "http://127.0.0.1:8787"},
		{Holder{Address: "0.0.0.0:80", Scheme: "https"}, "https://127.0.0.1:80"},
		{Holder{Address: "[::]:80"}, "http://[::1]:80"},
	} {
		if got := c.h.URL(); got != c.want {
			t.Errorf("%+v: %s, want %s", c.h, got, c.want)
		}
	}
}

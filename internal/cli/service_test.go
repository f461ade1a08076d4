package cli

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-dev/holdfast/internal/config"
	"github.com/holdfast-dev/holdfast/internal/supervise"
)

func TestChooseSupervisor(t *testing.T) {
	var (
		user    = supervise.Seen{Manager: supervise.Systemd}
		deaf    = supervise.Seen{Manager: supervise.Systemd, Usable: "it does not answer"}
		machine = supervise.Seen{Manager: supervise.Systemd, System: true}
		mac     = supervise.Seen{Manager: supervise.Launchd, PID: 1}
		runit   = supervise.Seen{Manager: supervise.Runit, Services: t.TempDir()}
		other   = supervise.Seen{Manager: supervise.Runit, Services: t.TempDir()}
		locked  = supervise.Seen{Manager: supervise.Runit, Services: t.TempDir(), Usable: "no rights"}
		parts   = supervise.Seen{Manager: supervise.Supervisord, Services: t.TempDir(), Ext: ".ini", Server: "/etc/s.conf"}
		more    = supervise.Seen{Manager: supervise.Supervisord, Services: t.TempDir(), Ext: ".conf", Server: "/srv/s.conf"}
	)
	folder := func(s supervise.Seen) string { return "runit:" + filepath.Join(s.Services, "holdfast") }
	type seen = []supervise.Seen
	for name, c := range map[string]struct {
		cmd   serviceInstallCmd
		seen  seen
		want  string
		fails string
	}{
		"a Mac":                          {seen: seen{mac, runit}, want: "launchd:user:dev.holdfast"},
		"a Mac's daemon":                 {cmd: serviceInstallCmd{System: true}, seen: seen{mac}, want: "launchd:system:dev.holdfast"},
		"a second host on a Mac":         {cmd: serviceInstallCmd{Name: "two"}, seen: seen{mac}, want: "launchd:user:dev.holdfast.two"},
		"systemd before what runs in it": {seen: seen{user, machine, runit}, want: "systemd:user:holdfast.service"},
		"systemd of the machine":         {cmd: serviceInstallCmd{System: true}, seen: seen{user, machine, runit}, want: "systemd:system:holdfast.service"},
		"no answer from systemd":         {seen: seen{deaf, runit}, want: folder(runit)},
		"nothing usable":                 {seen: seen{deaf, locked}, fails: "no rights"},
		"nothing at all":                 {fails: "holdfast up"},
		"the machine's is not the user's": {
			seen: seen{deaf, machine}, fails: "it does not answer",
		},
		"one":               {seen: seen{runit}, want: folder(runit)},
		"two":               {seen: seen{runit, other}, fails: other.Services},
		"two, one of which": {cmd: serviceInstallCmd{ServicesDir: other.Services}, seen: seen{runit, other, parts}, want: folder(other)},
		"one that is named": {cmd: serviceInstallCmd{Manager: "supervisord"}, seen: seen{user, runit, parts}, want: "supervisord:holdfast?server=%2Fetc%2Fs.conf"},
		"named, of two":     {cmd: serviceInstallCmd{Manager: "supervisord", ServicesDir: more.Services}, seen: seen{parts, more}, want: "supervisord:holdfast?server=%2Fsrv%2Fs.conf"},
		"named, not yet running": {
			cmd: serviceInstallCmd{Manager: "runit", ServicesDir: other.Services}, seen: seen{runit}, want: folder(other),
		},
		"systemd that cannot be": {cmd: serviceInstallCmd{Manager: "systemd"}, seen: seen{deaf, runit}, fails: "it does not answer"},
		"--system where there is none": {
			cmd: serviceInstallCmd{System: true}, seen: seen{runit}, fails: "no supervisor",
		},
		"--system for runit": {
			cmd: serviceInstallCmd{System: true, Manager: "runit", ServicesDir: other.Services}, seen: seen{runit}, fails: "--system is for launchd and systemd",
		},
	} {
		if c.cmd.Manager == "" {
			c.cmd.Manager = none
		}
		if c.cmd.Name == "" {
			c.cmd.Name = "holdfast"
		}
		in := &installation{serviceInstallCmd: &c.cmd}
		err := in.choose(c.seen)
		switch {
		case c.fails != "":
			if err == nil || !strings.Contains(err.Error(), c.fails) {
				t.Errorf("%s: %v, %s", name, err, in.unit)
			}
		case err != nil || in.unit.String() != c.want:
			t.Errorf("%s: %s (%v), want %s", name, in.unit, err, c.want)
		}
	}
}

// The test binary lies where go test puts it, which does not last.
func TestPlace(t *testing.T) {
	home := t.TempDir()
	a := &app{Programs: Programs{UserHome: home}}
	in := func(bin string) *installation {
		return &installation{serviceInstallCmd: &serviceInstallCmd{Bin: bin}, unit: supervise.Unit{Manager: supervise.Runit}}
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	stays := filepath.Join(home, ".local", "bin", "holdfast")
	p, err := a.place(in(""))
	if err != nil || p.path != stays || p.from != exe || !p.fresh {
		t.Fatalf("%+v (%v)", p, err)
	}
	if err := p.put(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(stays); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("%v (%v)", info, err)
	}
	if same, err := sameContent(stays, exe); err != nil || !same {
		t.Errorf("the copy differs (%v)", err)
	}
	// A second time there is nothing to do.
	if p, err := a.place(in("")); err != nil || p.from != "" || p.path != stays {
		t.Errorf("%+v (%v)", p, err)
	}
	// An older one is replaced, and was not put there by this installation.
	if err := os.WriteFile(stays, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if p, err := a.place(in("")); err != nil || p.from != exe || p.fresh {
		t.Errorf("%+v (%v)", p, err)
	}
	// A package manager's link to this file is used, not the file.
	if err := os.Remove(stays); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(exe, stays); err != nil {
		t.Fatal(err)
	}
	if p, err := a.place(in("")); err != nil || p.from != "" || p.path != stays {
		t.Errorf("%+v (%v)", p, err)
	}
	for _, bin := range []string{"/opt/homebrew/Cellar/holdfast/1.0/bin/holdfast", "/tmp/go-build1/b001/exe/holdfast", "/nix/store/x/bin/holdfast"} {
		if p, err := a.place(in(bin)); err == nil {
			t.Errorf("%s was taken: %+v", bin, p)
		}
	}
	// A folder that cannot be made: the error says what to do.
	if err := os.WriteFile(filepath.Join(home, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p, err = a.place(in(filepath.Join(home, "file", "holdfast")))
	if err == nil {
		err = p.put()
	}
	if err == nil {
		t.Error("a copy into a file succeeded")
	}
}

func TestServiceConfig(t *testing.T) {
	home := t.TempDir()
	file := filepath.Join(home, config.DefaultHome, "config.toml")
	if err := os.Mkdir(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("addr = \"127.0.0.1:9001\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		flag string
		env  []string
		want string // in the service's file; "" leaves it to config.toml
	}{
		"what the file says stays there":    {},
		"a flag":                            {flag: "127.0.0.1:9002", want: "127.0.0.1:9002"},
		"a variable of this shell":          {env: []string{"HOLDFAST_ADDR=127.0.0.1:9003"}, want: "127.0.0.1:9003"},
		"a variable that says the same":     {env: []string{"HOLDFAST_ADDR=127.0.0.1:9001"}},
		"the file wins over the old web UI": {env: []string{"HERMES_WEBUI_PORT=9004"}},
	} {
		in := &installation{serviceInstallCmd: &serviceInstallCmd{Addr: c.flag}, a: &app{Programs: Programs{Env: c.env, UserHome: home}}, person: person{home: home}}
		if err := in.config(); err != nil || in.spec.Addr != c.want {
			t.Errorf("%s: %q (%v), want %q", name, in.spec.Addr, err, c.want)
		}
	}
}

// A host with a broken configuration can still be stopped.
func TestServiceWithBrokenConfig(t *testing.T) {
	home := t.TempDir()
	if err := os.WriteFile(filepath.Join(home, "config.toml"), []byte("adr = 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := &record{Unit: "runit:" + filepath.Join(home, "none"), Files: []string{"/x"}}
	if err := r.write(home); err != nil {
		t.Fatal(err)
	}
	a := &app{}
	a.grammar.Home = home
	s, err := a.service()
	if err != nil || s.broken == nil || s.unit.Manager != supervise.Runit {
		t.Fatalf("%+v (%v)", s, err)
	}
	if diff := cmp.Diff(r, s.record); diff != "" {
		t.Error(diff)
	}
	// One that would not come up is not started, and a living one not ended.
	var start serviceStartCmd
	if err := start.Run(t.Context(), a); codeOf(err) != ExitNoRestart {
		t.Errorf("start: %v", err)
	}
	var restart serviceRestartCmd
	if err := restart.Run(t.Context(), a); codeOf(err) != ExitNoRestart {
		t.Errorf("restart: %v", err)
	}
}

func TestNoService(t *testing.T) {
	a := &app{}
	a.grammar.Home = t.TempDir()
	var stop serviceStopCmd
	if err := stop.Run(t.Context(), a); err == nil || !strings.Contains(err.Error(), "service install") {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(recordPath(a.grammar.Home)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

func TestAbsolutePath(t *testing.T) {
	if got, want := absolute("/a:.:bin:/b:/a::~/x:/c"), "/a:/b:/c"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

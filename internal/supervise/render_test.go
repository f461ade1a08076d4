package supervise

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"howett.net/plist"
)

var update = flag.Bool("update", false, "write the golden files anew")

// awkward is a path that every quoting has to carry.
const awkward = `/srv/a b/50% "q" 'it' $HOME\x`

func specOf(u Unit, change func(*Spec)) Spec {
	s := Spec{
		Unit: u, Exe: "/home/ada/.local/bin/holdfast", Home: "/home/ada/.holdfast", WorkDir: "/home/ada", UserHome: "/home/ada", NoFile: 16384, Timer: true,
		Env: []string{"PATH=/home/ada/.local/bin:/usr/local/bin:/usr/bin:/bin", "HOME=/home/ada", "USER=ada", "LOGNAME=ada", "SHELL=/bin/bash"},
	}
	if change != nil {
		change(&s)
	}
	return s
}

// odd is a service for another user with all that needs quotes.
func odd(s *Spec) {
	s.User, s.Exe, s.Home, s.WorkDir, s.Addr = "ada", awkward+"/holdfast", awkward+"/state", awkward, "[::1]:9000"
	s.Env = append(s.Env, "ODD="+awkward)
}

var specs = map[string]Spec{
	"runit":            specOf(Unit{Manager: Runit, Name: "holdfast", Dir: "/etc/service/holdfast"}, nil),
	"runit-odd":        specOf(Unit{Manager: Runit, Name: "holdfast", Dir: "/srv/my services/holdfast"}, odd),
	"s6":               specOf(Unit{Manager: S6, Name: "holdfast", Dir: "/run/service/holdfast"}, nil),
	"s6-odd":           specOf(Unit{Manager: S6, Name: "holdfast", Dir: "/run/service/holdfast"}, odd),
	"daemontools":      specOf(Unit{Manager: Daemontools, Name: "holdfast", Dir: "/service/holdfast"}, nil),
	"daemontools-odd":  specOf(Unit{Manager: Daemontools, Name: "holdfast", Dir: "/service/holdfast"}, odd),
	"supervisord":      specOf(Unit{Manager: Supervisord, Name: "holdfast", Server: "/etc/supervisor/supervisord.conf"}, nil),
	"supervisord-odd":  specOf(Unit{Manager: Supervisord, Name: "holdfast"}, odd),
	"systemd":          specOf(Unit{Manager: Systemd, Name: "holdfast.service"}, nil),
	"systemd-odd":      specOf(Unit{Manager: Systemd, System: true, Name: "holdfast.service"}, odd),
	"systemd-no-timer": specOf(Unit{Manager: Systemd, Name: "second.service"}, func(s *Spec) { s.Timer = false }),
	"launchd": specOf(Unit{Manager: Launchd, Name: "dev.holdfast"}, func(s *Spec) {
		s.Exe, s.Home, s.WorkDir, s.UserHome = "/opt/homebrew/bin/holdfast", "/Users/ada/.holdfast", "/Users/ada", "/Users/ada"
		s.Env = []string{"PATH=/opt/homebrew/bin:/usr/bin:/bin:/usr/sbin:/sbin", "HOME=/Users/ada"}
	}),
	"launchd-odd": specOf(Unit{Manager: Launchd, System: true, Name: "dev.holdfast"}, odd),
}

func TestGolden(t *testing.T) {
	for name, s := range specs {
		files, err := Render(s)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var got bytes.Buffer
		for _, f := range files {
			fmt.Fprintf(&got, "-- %s %04o --\n%s", f.Path, f.Mode, f.Text)
			if !strings.HasSuffix(f.Text, "\n") {
				t.Errorf("%s: %s ends without a line break", name, f.Path)
			}
		}
		if !strings.Contains(files[0].Text, Mark) {
			t.Errorf("%s: %s does not say who wrote it", name, files[0].Path)
		}
		path := filepath.Join("testdata", name+".golden")
		if *update {
			if err := os.WriteFile(path, got.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got.String()); diff != "" {
			t.Errorf("%s differs from its golden file; if that is meant, run the test with -update\n%s", name, diff)
		}
	}
}

func TestRenderRefuses(t *testing.T) {
	for name, change := range map[string]func(*Spec){
		"a relative program": func(s *Spec) { s.Exe = "holdfast" },
		"a relative home":    func(s *Spec) { s.Home = "~/.holdfast" },
		"a line break":       func(s *Spec) { s.Home = "/srv/a\nUser=root" },
		"no limit":           func(s *Spec) { s.NoFile = 0 },
		"no such manager":    func(s *Spec) { s.Unit.Manager = "upstart" },
	} {
		s := specs["systemd"]
		change(&s)
		if files, err := Render(s); err == nil {
			t.Errorf("%s was rendered: %v", name, files)
		}
	}
	s := specs["supervisord"]
	s.Home = "/srv/a ; b"
	if _, err := Render(s); err == nil {
		t.Error("what supervisord takes for a comment was rendered")
	}
}

// toolPath finds a tool, or skips; where everything must be there it fails.
func toolPath(t *testing.T, tool string) string {
	t.Helper()
	path, err := exec.LookPath(tool)
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	return path
}

// The scripts run a program that prints what it got.
func TestScriptsRun(t *testing.T) {
	sh := toolPath(t, "sh")
	for _, name := range []string{"runit", "s6", "daemontools"} {
		dir := t.TempDir()
		home := filepath.Join(dir, `a b $x 'q' "w" 5%`)
		if err := os.MkdirAll(filepath.Join(home, "logs"), 0o700); err != nil {
			t.Fatal(err)
		}
		exe := filepath.Join(home, "holdfast")
		script := "#!/bin/sh\nfor a; do printf '<%s>' \"$a\"; done\nprintf ' %s %s\\n' \"$ODD\" \"$PWD\"\nexit 3\n"
		if err := os.WriteFile(exe, []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
		s := specs[name]
		s.Exe, s.Home, s.WorkDir, s.Unit.Dir = exe, home, home, filepath.Join(dir, "sv")
		s.Env = append(slices.Clone(s.Env), "ODD="+awkward)
		s.Env[0] = "PATH=" + os.Getenv("PATH")
		files, err := Render(s)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Unit.write(files, nil); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		out, err := exec.CommandContext(ctx, sh, files[0].Path).CombinedOutput()
		if code(err) != 3 {
			t.Errorf("%s: the code of the program is lost: %v %s", name, err, out)
		}
		log, err := os.ReadFile(s.Stderr())
		if err != nil {
			t.Fatal(err)
		}
		want := ""
		for _, a := range s.Args()[1:] {
			want += "<" + a + ">"
		}
		want += " " + awkward + " " + home + "\n"
		if diff := cmp.Diff(want, string(log)); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
}

// systemd's own checker reads the units.
func TestUnitsVerify(t *testing.T) {
	tool := toolPath(t, "systemd-analyze")
	for _, name := range []string{"systemd", "systemd-odd"} {
		dir := t.TempDir()
		home := filepath.Join(dir, `a b 5%`)
		s := specs[name]
		s.Unit.System, s.User = false, ""
		s.Exe, s.Home, s.WorkDir, s.Dir = filepath.Join(home, "holdfast"), home, home, filepath.Join(dir, "units")
		for _, d := range []string{home, s.Dir} {
			if err := os.Mkdir(d, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(s.Exe, []byte("#!/bin/sh\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		files, err := Render(s)
		if err != nil {
			t.Fatal(err)
		}
		var paths, changed []string
		for _, f := range files {
			paths, changed = append(paths, f.Path), append(changed, f.Path)
		}
		if err := s.Unit.write(files, changed); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		cmd := exec.CommandContext(ctx, tool, append([]string{"--user", "--man=no", "verify"}, paths...)...)
		cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+dir, "SYSTEMD_UNIT_PATH="+s.Dir+":/usr/lib/systemd/user")
		out, err := cmd.CombinedOutput()
		for line := range strings.Lines(string(out)) {
			if strings.Contains(line, "holdfast") {
				t.Errorf("%s: systemd-analyze (%v) says: %s", name, err, line)
			}
		}
	}
}

// launchdKeys are the keys of launchd.plist(5) that we use, with their types
// as that page has them. No Mac was at hand: that launchd takes the files has
// not been seen.
var launchdKeys = map[string]reflect.Kind{
	"Label": reflect.String, "ProgramArguments": reflect.Slice, "UserName": reflect.String, "WorkingDirectory": reflect.String,
	"EnvironmentVariables": reflect.Map, "RunAtLoad": reflect.Bool, "KeepAlive": reflect.Map, "StartInterval": reflect.Uint64,
	"ThrottleInterval": reflect.Uint64, "ExitTimeOut": reflect.Uint64, "AbandonProcessGroup": reflect.Bool, "ProcessType": reflect.String,
	"SoftResourceLimits": reflect.Map, "HardResourceLimits": reflect.Map,
	"StandardOutPath": reflect.String, "StandardErrorPath": reflect.String,
}

// launchdInner are those of its dictionaries.
var launchdInner = map[string]map[string]reflect.Kind{
	"KeepAlive":          {"SuccessfulExit": reflect.Bool},
	"SoftResourceLimits": {"NumberOfFiles": reflect.Uint64},
	"HardResourceLimits": {"NumberOfFiles": reflect.Uint64},
}

func TestLaunchdKeys(t *testing.T) {
	for _, name := range []string{"launchd", "launchd-odd"} {
		s := specs[name]
		files, err := Render(s)
		if err != nil {
			t.Fatal(err)
		}
		if len(files) != 2 {
			t.Fatalf("%s: %d files", name, len(files))
		}
		for _, f := range files {
			var dict map[string]any
			if _, err := plist.Unmarshal([]byte(f.Text), &dict); err != nil {
				t.Fatalf("%s: %v", f.Path, err)
			}
			for key, v := range dict {
				want, known := launchdKeys[key]
				if !known || reflect.TypeOf(v).Kind() != want {
					t.Errorf("%s: %s is a %T; launchd.plist(5) has %v (known: %t)", f.Path, key, v, want, known)
				}
				inner, ok := v.(map[string]any)
				if !ok {
					continue
				}
				for k, v := range inner {
					if key == "EnvironmentVariables" {
						if _, ok := v.(string); !ok {
							t.Errorf("%s: the variable %s is a %T", f.Path, k, v)
						}
						continue
					}
					if reflect.TypeOf(v).Kind() != launchdInner[key][k] {
						t.Errorf("%s: %s of %s is a %T", f.Path, k, key, v)
					}
				}
			}
			if dict["ProcessType"] != "Interactive" && dict["ProcessType"] != "Background" {
				t.Errorf("%s: no such ProcessType: %v", f.Path, dict["ProcessType"])
			}
			// launchd expands nothing.
			args := dict["ProgramArguments"].([]any)
			for _, path := range []any{args[0], dict["WorkingDirectory"], dict["StandardOutPath"], dict["StandardErrorPath"]} {
				if !filepath.IsAbs(path.(string)) {
					t.Errorf("%s: %v is not absolute", f.Path, path)
				}
			}
			if filepath.Base(f.Path) != fmt.Sprint(dict["Label"])+".plist" {
				t.Errorf("%s is not named after its label %v", f.Path, dict["Label"])
			}
		}
		var host map[string]any
		_, _ = plist.Unmarshal([]byte(files[0].Text), &host)
		var got []string
		for _, a := range host["ProgramArguments"].([]any) {
			got = append(got, a.(string))
		}
		if diff := cmp.Diff(s.Args(), got); diff != "" {
			t.Errorf("%s: what was read is not what was meant:\n%s", name, diff)
		}
		if keep := host["KeepAlive"].(map[string]any); keep["SuccessfulExit"] != false || len(keep) != 1 {
			t.Errorf("%s: KeepAlive is %v", name, keep)
		}
		if host["AbandonProcessGroup"] != true || host["RunAtLoad"] != true {
			t.Errorf("%s: the job would not live as it must: %v", name, host)
		}
	}
}

// Another parser reads the same: Apple's own is not at hand.
func TestPlistlib(t *testing.T) {
	python := toolPath(t, "python3")
	for _, name := range []string{"launchd", "launchd-odd"} {
		files, err := Render(specs[name])
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			cmd := exec.CommandContext(t.Context(), python, "-c", "import plistlib,sys; d=plistlib.loads(sys.stdin.buffer.read()); sys.stdout.write('\\n'.join(d['ProgramArguments']))")
			cmd.Stdin = strings.NewReader(f.Text)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%s: %v\n%s", f.Path, err, out)
			}
			want := specs[name].Args()
			if strings.Contains(f.Path, "doctor") {
				want = specs[name].Doctor()
			}
			if diff := cmp.Diff(strings.Join(want, "\n"), string(out)); diff != "" {
				t.Errorf("%s:\n%s", f.Path, diff)
			}
		}
	}
}

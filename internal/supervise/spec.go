package supervise

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"text/template"
)

// Spec is everything that the files of one service are made from.
type Spec struct {
	Unit Unit
	// Exe is the program, by a path that stays.
	Exe string
	// Home is the host's state folder.
	Home string
	// Addr is where it listens; "" leaves that to its configuration.
	Addr string
	// WorkDir is the folder in which it starts: the user's home.
	WorkDir string
	// Env are the variables that it gets, as KEY=value, PATH among them.
	Env []string
	// User is whose rights it gets; "" is those of the supervisor.
	User string
	// NoFile is its limit of descriptors.
	NoFile uint64
	// Down has it wait for a start by hand.
	Down bool
	// Timer wants the second line, where it is one of the supervisor's own
	// files: `doctor --restart-if-wedged` once a minute.
	Timer bool
	// Dir is where launchd and systemd look for files, and supervisord for a
	// part of its configuration; "" is the usual place.
	Dir string
	// Ext is how a part of supervisord's configuration ends, such as ".conf".
	Ext string
	// UserHome is the home folder of whom the service is for.
	UserHome string
}

// File is one file of a service.
type File struct {
	Path string
	Mode fs.FileMode
	Text string
}

// Mark stands in every file that an installation writes, and in none that it
// did not.
const Mark = "written by `holdfast service install`"

// The figures that every supervisor gets. The host ends itself 8 s after it
// was asked to, at the latest.
const (
	stopSeconds     = 20 // until the supervisor kills the host
	restartSeconds  = 2  // from an end to the next start
	throttleSeconds = 10 // launchd's own least time between two starts
	watchdogSeconds = 60 // systemd: without a sign of life
	doctorSeconds   = 60 // between two looks from outside
)

//go:embed templates
var templates embed.FS

// Render makes the files of a service. It looks at nothing but the Spec.
func Render(s Spec) ([]File, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	switch s.Unit.Manager {
	case Launchd:
		return renderLaunchd(s)
	case Systemd:
		return renderSystemd(s)
	case Runit, S6, Daemontools:
		return renderFolder(s)
	case Supervisord:
		return renderSupervisord(s)
	}
	return nil, fmt.Errorf("no supervisor is called %q; there are %s", s.Unit.Manager, managerNames())
}

// check refuses what would read differently in a file than it was meant, or
// would depend on where a supervisor stands.
func (s Spec) check() error {
	for what, path := range map[string]string{"the program": s.Exe, "the state folder": s.Home, "the working folder": s.WorkDir} {
		if !filepath.IsAbs(path) {
			return fmt.Errorf("%s needs an absolute path, not %q", what, path)
		}
	}
	for _, text := range append([]string{s.Exe, s.Home, s.Addr, s.WorkDir, s.User, s.Unit.String(), s.Dir}, s.Env...) {
		if strings.ContainsAny(text, "\n\r\x00") {
			return fmt.Errorf("%q holds a line break, which no supervisor's file can", text)
		}
	}
	if s.NoFile == 0 {
		return errors.New("the limit of descriptors is missing")
	}
	return nil
}

// Args are the program and its arguments. A child does not inherit them, as it
// would a variable, so --managed-by is exact.
func (s Spec) Args() []string {
	args := []string{s.Exe, "serve", "--home", s.Home}
	if s.Addr != "" {
		args = append(args, "--addr", s.Addr)
	}
	args = append(args, "--managed-by", s.Unit.String())
	if s.Unit.Manager != Systemd { // whose journal takes the log itself
		args = append(args, "--log", "file")
	}
	return args
}

// Doctor is the command of the second line.
func (s Spec) Doctor() []string {
	return []string{s.Exe, "doctor", "--restart-if-wedged", "--home", s.Home}
}

// Stderr is the file for what the runtime itself prints, where the supervisor
// keeps no log. The host's own log stands beside it.
func (s Spec) Stderr() string { return filepath.Join(s.Home, "logs", "stderr.log") }

// Remove is the command that undoes the installation.
func (s Spec) Remove() string {
	sudo := ""
	if s.Unit.System {
		sudo = "sudo "
	}
	return sudo + "holdfast service uninstall --home " + shQuote(s.Home)
}

func managerNames() string {
	names := make([]string, len(Managers))
	for i, m := range Managers {
		names[i] = string(m)
	}
	return strings.Join(names, ", ")
}

// fill runs a template of ours.
func fill(name string, s Spec) (string, error) {
	quoted := func(quote func(string) string) func([]string) string {
		return func(words []string) string {
			out := make([]string, len(words))
			for i, w := range words {
				out[i] = quote(w)
			}
			return strings.Join(out, " ")
		}
	}
	text, err := templates.ReadFile("templates/" + name)
	if err != nil {
		return "", err
	}
	t, err := template.New(name).Funcs(template.FuncMap{
		"sh": shQuote, "shWords": quoted(shQuote),
		"unit": unitQuote, "unitWords": quoted(unitQuote), "unitCommand": quoted(unitCommandQuote), "percent": percent,
		"iniWords": quoted(iniQuote), "iniEnv": iniEnv,
		"mark": func() string { return Mark },
		"stop": func() int { return stopSeconds }, "pause": func() int { return restartSeconds },
		"watchdog": func() int { return watchdogSeconds }, "every": func() int { return doctorSeconds },
	}).Parse(string(text))
	if err != nil {
		return "", fmt.Errorf("read template %s: %w", name, err)
	}
	var out strings.Builder
	if err := t.Execute(&out, s); err != nil {
		return "", fmt.Errorf("fill template %s: %w", name, err)
	}
	return out.String(), nil
}

// shQuote quotes a word for a shell, where it needs that.
func shQuote(s string) string {
	plain := s != ""
	for _, r := range s {
		if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+=:,@%", r) {
			plain = false
		}
	}
	if plain {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

func percent(s string) string { return strings.ReplaceAll(s, "%", "%%") }

// unitQuote quotes a value of systemd's.
func unitQuote(s string) string {
	if s != "" && !strings.ContainsAny(s, " \t\"'\\;") {
		return percent(s)
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(percent(s)) + `"`
}

// unitCommandQuote quotes a word of ExecStart, in which a dollar begins a
// variable.
func unitCommandQuote(s string) string { return strings.ReplaceAll(unitQuote(s), "$", "$$") }

// iniQuote quotes a word of a supervisord command, which is split as a shell
// does and in which a percent sign begins an expansion.
func iniQuote(s string) string { return percent(shQuote(s)) }

// iniEnv is supervisord's form of variables.
func iniEnv(env []string) string {
	parts := make([]string, len(env))
	for i, kv := range env {
		k, v, _ := strings.Cut(kv, "=")
		parts[i] = k + `="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(percent(v)) + `"`
	}
	return strings.Join(parts, ",")
}

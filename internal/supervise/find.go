package supervise

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast/internal/proc"
)

// scanner is the program that starts services from folders.
var scanner = map[Manager]string{Runit: "runsvdir", S6: "s6-svscan", Daemontools: "svscan"}

// Seen is one supervisor that runs on this machine.
type Seen struct {
	Manager Manager
	System  bool
	PID     int
	Owner   int // uid; -1 where unknown
	// Services is the folder of its services, or of the parts of its
	// configuration; "" where it has none or it is not known.
	Services string
	Ext      string // supervisord: how a part of the configuration ends
	Server   string // supervisord: its configuration file
	// Usable is "", or why this user cannot install a service there.
	Usable string
}

func (s Seen) String() string {
	text := string(s.Manager)
	if s.Manager.scoped() {
		text += map[bool]string{true: " (system)", false: " (user)"}[s.System]
	}
	if s.PID != 0 {
		text += fmt.Sprintf(" (pid %d)", s.PID)
	}
	if s.Services != "" {
		text += " for " + s.Services
	}
	if s.Usable != "" {
		text += ", which cannot be used: " + s.Usable
	}
	return text
}

// Find lists the supervisors that run here. It starts none.
func Find(ctx context.Context) ([]Seen, error) { return find(ctx, tools{}) }

func find(ctx context.Context, r runner) ([]Seen, error) {
	if runtime.GOOS == "darwin" {
		seen := []Seen{{Manager: Launchd, System: os.Getuid() == 0, PID: 1, Owner: 0}}
		more, err := scanners()
		return append(seen, more...), err
	}
	var seen []Seen
	if info, err := os.Stat("/run/systemd/system"); err == nil && info.IsDir() {
		seen = append(seen, systemdSeen(ctx, r, false), systemdSeen(ctx, r, true))
	}
	more, err := scanners()
	return append(seen, more...), err
}

func systemdSeen(ctx context.Context, r runner, system bool) Seen {
	s := Seen{Manager: Systemd, System: system, PID: 1, Owner: 0}
	if !system {
		s.PID, s.Owner = 0, os.Getuid()
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := (systemd{Unit{Manager: Systemd, System: system}, r}).ctl(ctx, "show", "--property=Version")
	switch {
	case err != nil && !system:
		s.Usable = "the manager of this user does not answer (" + firstLine(out, err) + "). Log in by ssh or at the screen as this user, not by su or sudo, or use --system"
	case err != nil:
		s.Usable = "it does not answer (" + firstLine(out, err) + ")"
	case system && os.Geteuid() != 0:
		s.Usable = "that needs root: sudo holdfast service install --system"
	}
	return s
}

func firstLine(out string, err error) string {
	if line, _, _ := strings.Cut(strings.TrimSpace(out), "\n"); line != "" {
		return line
	}
	return err.Error()
}

// process is what is known of a process by its arguments.
type process struct {
	pid  int
	argv []string
}

// scanners finds the supervisors that are known by their processes.
func scanners() ([]Seen, error) {
	all, err := processes()
	if err != nil {
		return nil, err
	}
	var seen []Seen
	for _, p := range all {
		if !ours(p.pid) {
			continue // of a container
		}
		s, ok := recognise(p.argv)
		if !ok {
			continue
		}
		s.PID, s.Owner = p.pid, owner(p.pid)
		dir, _ := proc.Cwd(p.pid) // "" where it may not be known
		if s.Manager == Supervisord {
			s.Server = supervisordConfig(s.Server, dir)
			if s.Services, s.Ext, err = Included(s.Server); err != nil {
				s.Usable = err.Error()
			}
		} else {
			if !filepath.IsAbs(s.Services) && dir != "" {
				s.Services = filepath.Join(dir, s.Services)
			}
			s.Services = filepath.Clean(s.Services)
		}
		if s.Usable == "" && !writable(s.Services) {
			s.Usable = "this user may not write to that folder: use sudo, or a supervisor of your own"
		}
		same := func(o Seen) bool { return o.Manager == s.Manager && o.Services == s.Services && o.Server == s.Server }
		if !slices.ContainsFunc(seen, same) {
			seen = append(seen, s)
		}
	}
	return seen, nil
}

// recognise reads a supervisor's own arguments.
func recognise(argv []string) (Seen, bool) {
	if len(argv) == 0 {
		return Seen{}, false
	}
	// rest returns the arguments after the flags, of which those in valued take
	// a word.
	rest := func(args []string, valued string) []string {
		for len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' {
			if args[0] == "--" {
				return args[1:]
			}
			last := args[0][len(args[0])-1:]
			args = args[1:]
			if strings.Contains(valued, last) && len(args) > 0 {
				args = args[1:]
			}
		}
		return args
	}
	first := func(args []string) string {
		if len(args) == 0 {
			return "."
		}
		return args[0]
	}
	switch filepath.Base(argv[0]) {
	case "runsvdir":
		return Seen{Manager: Runit, Services: first(rest(argv[1:], ""))}, true
	case "s6-svscan":
		return Seen{Manager: S6, Services: first(rest(argv[1:], "dcCtXL"))}, true
	case "svscan":
		return Seen{Manager: Daemontools, Services: first(rest(argv[1:], ""))}, true
	}
	// supervisord is a script: its interpreter comes first.
	for i, word := range argv[:min(2, len(argv))] {
		if filepath.Base(word) != "supervisord" {
			continue
		}
		s := Seen{Manager: Supervisord}
		for j := i + 1; j < len(argv); j++ {
			switch {
			case (argv[j] == "-c" || argv[j] == "--configuration") && j+1 < len(argv):
				s.Server = argv[j+1]
			case strings.HasPrefix(argv[j], "--configuration="):
				s.Server = strings.TrimPrefix(argv[j], "--configuration=")
			}
		}
		return s, true
	}
	return Seen{}, false
}

// supervisordConfig is the configuration file of a supervisord that stands in
// the folder dir, or of none that runs.
func supervisordConfig(named, dir string) string {
	if named != "" {
		if !filepath.IsAbs(named) {
			named = filepath.Join(dir, named)
		}
		return named
	}
	places := []string{"/etc/supervisor/supervisord.conf", "/etc/supervisord.conf", "/opt/homebrew/etc/supervisord.conf", "/usr/local/etc/supervisord.conf"}
	if dir != "" {
		places = append([]string{filepath.Join(dir, "supervisord.conf"), filepath.Join(dir, "etc", "supervisord.conf")}, places...)
	}
	for _, p := range places {
		if _, err := os.Stat(p); err == nil {
			return p
		}
	}
	return places[0]
}

// Included reads where supervisord's configuration file includes parts from,
// and how they end.
func Included(config string) (dir, ext string, err error) {
	text, err := os.ReadFile(config)
	if err != nil {
		return "", "", fmt.Errorf("its configuration cannot be read: %w", err)
	}
	section := ""
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(strings.TrimSpace(line), " ;")
		if strings.HasPrefix(line, "[") {
			section = strings.TrimSpace(line)
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if section != "[include]" || !ok || strings.TrimSpace(key) != "files" {
			continue
		}
		for _, pattern := range strings.Fields(value) {
			pattern = strings.ReplaceAll(pattern, "%(here)s", filepath.Dir(config))
			if !filepath.IsAbs(pattern) {
				pattern = filepath.Join(filepath.Dir(config), pattern)
			}
			if base := filepath.Base(pattern); strings.HasPrefix(base, "*") && !strings.ContainsAny(base[1:], "*?[") && !strings.ContainsAny(filepath.Dir(pattern), "*?[%") {
				return filepath.Dir(pattern), base[1:], nil
			}
		}
	}
	return "", "", fmt.Errorf("%s includes no folder of parts. Add to it:  [include]  files = conf.d/*.conf  and restart supervisord, or name the folder with --services-dir", config)
}

func processes() ([]process, error) {
	infos, err := proc.All()
	if err != nil {
		return nil, err
	}
	var all []process
	for _, p := range infos {
		if argv, err := proc.Args(p.PID); err == nil && len(argv) > 0 && !p.Zombie {
			all = append(all, process{p.PID, argv})
		}
	}
	return all, nil
}

// ours tells whether the process sees the same files as this one.
func ours(pid int) bool {
	a, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		return true
	}
	b, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/ns/mnt")
	if errors.Is(err, os.ErrPermission) {
		return true // of another user: its folder tells
	}
	return err != nil || a == b
}

//go:build supervisors

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/holdfast-dev/holdfast/internal/proc"
)

// install installs the host as a service and starts it, with its starts
// counted.
func (s *site) install() {
	s.t.Helper()
	s.installed("--no-start")
	s.counted(s.installedProgram())
	s.mustHoldfast("service", "start")
}

// installed runs our own command.
func (s *site) installed(flags ...string) string {
	s.t.Helper()
	args := append([]string{"service", "install", "--manager", s.m.name, "--yes"}, flags...)
	return s.mustHoldfast(append(args, s.m.flags(s)...)...)
}

// installedProgram is the copy that an installation made.
func (s *site) installedProgram() string {
	s.t.Helper()
	var found []string
	for _, path := range files(s.t, s.user) {
		info, err := os.Lstat(path)
		if err == nil && info.Mode().IsRegular() && info.Mode()&0o100 != 0 && info.Size() > 1<<20 {
			found = append(found, path)
		}
	}
	if len(found) != 1 {
		s.t.Fatalf("the installation put the program at %q, want one place", found)
	}
	return found[0]
}

// program puts the host into a folder, with its starts counted.
func (s *site) program(dir string) string {
	s.t.Helper()
	exe := filepath.Join(s.user, dir, "holdfast")
	if err := os.MkdirAll(filepath.Dir(exe), 0o700); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Link(bins.host, exe); err != nil {
		s.t.Fatal(err)
	}
	s.counted(exe)
	return exe
}

// stop stops the host by a command of ours.
func (s *site) stop(command ...string) {
	s.t.Helper()
	s.mustHoldfast(command...)
}

// up is the program for a person as a supervised one, with no flag at all.
func (s *site) up(mapped bool) program {
	s.t.Helper()
	return program{name: "up", argv: []string{s.program("bin"), "up"}, env: []string{"HOLDFAST_HOME=" + s.home, "HOME=" + s.user}, mapped: mapped}
}

func (s *site) write(p program) {
	s.t.Helper()
	s.m.write(s, p)
}

// printed is all that a service has printed and logged.
func (s *site) printed(name string) string {
	var all strings.Builder
	for _, path := range []string{s.output(name), filepath.Join(s.home, "logs", "holdfast.log"), filepath.Join(s.home, "logs", "stderr.log")} {
		data, _ := os.ReadFile(path)
		all.Write(data)
	}
	return all.String()
}

// stopSignal freezes a process: its port takes connections and nobody answers.
const stopSignal = syscall.SIGSTOP

// signalHost sends a signal to the host, and to nothing else.
func (s *site) signalHost(pid int, sig syscall.Signal) {
	s.t.Helper()
	id, err := proc.Of(pid)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := proc.Signal(id, sig); err != nil {
		s.t.Fatal(err)
	}
}

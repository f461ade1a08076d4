//go:build supervisors

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/holdfast-dev/holdfast/internal/proc"
)

// install installs the host as a service and starts it.
func (s *site) install() {
	s.t.Helper()
	exe := filepath.Join(s.user, ".local", "bin", "holdfast")
	s.put(filepath.Join(filepath.Dir(exe), "x"), "", 0o600)
	if err := os.Link(bins.host, exe); err != nil {
		s.t.Fatal(err)
	}
	s.counted(exe)
	s.m.write(s, program{name: service, argv: []string{exe, "serve", "--home", s.home}, mapped: true})
}

func (s *site) stop(...string) { s.mustRun(s.m.down(s, service)...) }

func (s *site) stopAll() {
	s.t.Helper()
	s.cli("stop", "--all")
	s.mustRun(s.m.down(s, service)...)
}

func (s *site) uninstall() string {
	_, out := s.holdfast("service", "uninstall", "--yes")
	return out
}

func (s *site) needsNotify() { s.t.Skip("not yet") }

// up is the program for a person as a supervised one, with no flag at all.
func (s *site) up(mapped bool) program {
	s.t.Helper()
	exe := filepath.Join(s.user, "bin", "holdfast")
	if err := os.MkdirAll(filepath.Dir(exe), 0o700); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Link(bins.host, exe); err != nil {
		s.t.Fatal(err)
	}
	s.counted(exe)
	return program{name: "up", argv: []string{exe, "up"}, env: []string{"HOLDFAST_HOME=" + s.home, "HOME=" + s.user}, mapped: mapped}
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

// killHost sends a signal to the host, and to nothing else.
func (s *site) killHost(pid int, sig syscall.Signal) {
	s.t.Helper()
	id, err := proc.Of(pid)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := proc.Signal(id, sig); err != nil {
		s.t.Fatal(err)
	}
}

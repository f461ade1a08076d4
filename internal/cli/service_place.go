package cli

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// placement is where the program of a service lies.
type placement struct {
	path  string
	from  string // it is copied from there; "" where it is in its place
	fresh bool   // nothing lay at path before
	note  string // for a person
}

// stableDirs are where programs stay: an upgrade puts a new one into the place
// of the old one, and nothing cleans them.
func stableDirs(home string) (system, own []string) {
	system = []string{
		"/usr/bin", "/usr/local/bin", "/usr/sbin", "/usr/local/sbin", "/opt/homebrew/bin", "/home/linuxbrew/.linuxbrew/bin", "/opt/local/bin",
		"/opt/holdfast/bin", "/run/current-system/sw/bin",
	}
	if home != "" {
		own = []string{filepath.Join(home, ".local", "bin"), filepath.Join(home, "bin"), filepath.Join(home, "go", "bin"), filepath.Join(home, ".nix-profile", "bin")}
	}
	return system, own
}

// passing tells why a path does not last, or "".
func passing(exe string) string {
	for part, why := range map[string]string{
		"/Cellar/": "Homebrew removes it with the next upgrade", "/nix/store/": "Nix removes it with the next collection",
		"/go-build": "go run removes it when it ends", "/DerivedData/": "it is a build's own folder",
	} {
		if strings.Contains(exe, part) {
			return why
		}
	}
	return ""
}

// place decides where the program of a service lies.
func (a *app) place(in *installation) (placement, error) {
	exe, err := os.Executable()
	if err != nil {
		return placement{}, failf("find this program: %w", err)
	}
	// A service that root or its supervisor starts takes no program that a user
	// can replace by another one.
	machine := os.Geteuid() == 0 && (in.unit.System || in.person.other)
	system, own := stableDirs(a.UserHome)
	dirs := append(own, system...)
	if machine {
		dirs = system
	}
	var to string
	switch {
	case in.Bin != "":
		if to, err = filepath.Abs(in.Bin); err != nil {
			return placement{}, failf("%w", err)
		}
		if why := passing(to); why != "" {
			return placement{}, failf("--bin %s does not last: %s. Name another place", to, why)
		}
	case slices.Contains(dirs, filepath.Dir(exe)):
		return placement{path: exe}, nil
	default:
		// A package manager's link to this very file outlives it.
		for _, dir := range dirs {
			if link := filepath.Join(dir, "holdfast"); sameFile(link, exe) {
				return placement{path: link}, nil
			}
		}
		to = filepath.Join(a.UserHome, ".local", "bin", "holdfast")
		if machine {
			to = "/usr/local/bin/holdfast"
		}
	}
	if sameFile(to, exe) {
		return placement{path: to}, nil
	}
	same, err := sameContent(to, exe)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return placement{}, failf("compare the program with %s: %w", to, err)
	}
	if same {
		return placement{path: to}, nil
	}
	p := placement{path: to, from: exe, fresh: errors.Is(err, fs.ErrNotExist)}
	why := passing(exe)
	if why == "" {
		why = "it lies in no place where programs stay"
	}
	verb := "a copy of"
	if !p.fresh {
		verb = "replaced by a copy of"
	}
	p.note = fmt.Sprintf(" (%s %s: %s)", verb, exe, why)
	return p, nil
}

func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

func sameContent(a, b string) (bool, error) {
	x, err := sum(a)
	if err != nil {
		return false, err
	}
	y, err := sum(b)
	return err == nil && bytes.Equal(x, y), err
}

func sum(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return nil, err
	}
	return h.Sum(nil), nil
}

// put copies the program, whole or not at all; one that runs from there goes
// on with the old file.
func (p placement) put() error {
	if p.from == "" {
		return nil
	}
	hint := func(err error) error {
		return fmt.Errorf("copy the program to %s: %w. Name another place with --bin FILE, or copy it to one yourself and run it from there", p.path, err)
	}
	src, err := os.Open(p.from)
	if err != nil {
		return hint(err)
	}
	defer src.Close()
	if err := os.MkdirAll(filepath.Dir(p.path), 0o755); err != nil {
		return hint(err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(p.path), ".holdfast.*")
	if err != nil {
		return hint(err)
	}
	defer os.Remove(tmp.Name())
	_, err = io.Copy(tmp, src)
	if err = errors.Join(err, tmp.Chmod(0o755), tmp.Sync(), tmp.Close()); err != nil {
		return hint(err)
	}
	if err := os.Rename(tmp.Name(), p.path); err != nil {
		return hint(err)
	}
	return nil
}

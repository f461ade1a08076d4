package main

import (
	"bytes"
	"context"
	"debug/elf"
	"debug/macho"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// build returns the program for a target. What a builder's environment may say
// about targets is overruled.
func (j *job) build(ctx context.Context, t target, work string) ([]byte, error) {
	path := filepath.Join(work, t.os+"-"+t.arch)
	// Without -buildvcs=false a clone and an archive of the source give
	// different programs, without -buildid= two versions of the tool chain's
	// cache do.
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-o", path,
		"-ldflags", "-s -w -buildid= -X github.com/holdfast-dev/holdfast/internal/app.Version="+j.version, "./cmd/holdfast")
	cmd.Dir = j.root
	cmd.Env = append(os.Environ(), "GOOS="+t.os, "GOARCH="+t.arch, "GOAMD64=v1", "GOARM64=v8.0", "CGO_ENABLED=0", "GOEXPERIMENT=", "GOFIPS140=off", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go build: %w\n%s", err, out)
	}
	program, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read what was built: %w", err)
	}
	return program, selfContained(t, program)
}

// selfContained refuses a program that needs a library that a user may lack.
func selfContained(t target, program []byte) error {
	switch t.os {
	case "linux":
		f, err := elf.NewFile(bytes.NewReader(program))
		if err != nil {
			return fmt.Errorf("look into the program: %w", err)
		}
		for _, p := range f.Progs {
			if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
				return errors.New("the program is not static")
			}
		}
	case "darwin":
		f, err := macho.NewFile(bytes.NewReader(program))
		if err != nil {
			return fmt.Errorf("look into the program: %w", err)
		}
		libraries, err := f.ImportedLibraries()
		if err != nil {
			return fmt.Errorf("list the program's libraries: %w", err)
		}
		for _, l := range libraries {
			if !strings.HasPrefix(l, "/usr/lib/") && !strings.HasPrefix(l, "/System/") {
				return fmt.Errorf("the program needs %s, which is not a part of macOS", l)
			}
		}
	default:
		return fmt.Errorf("no release is made for %s", t.os)
	}
	return nil
}

// notices are the licences of all that the programs contain, which have to
// come with them.
func notices(ctx context.Context, root string, targets []target) ([]byte, error) {
	modules := map[string]string{} // "path version" to folder
	for _, t := range targets {
		cmd := exec.CommandContext(ctx, "go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}}\t{{.Dir}}{{end}}{{end}}", "./cmd/holdfast")
		cmd.Dir = root
		cmd.Env = append(os.Environ(), "GOOS="+t.os, "GOARCH="+t.arch, "CGO_ENABLED=0", "GOWORK=off")
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("list the modules of %s: %w\n%s", t, err, stderr.String())
		}
		for line := range strings.Lines(string(out)) {
			if name, dir, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok {
				modules[name] = dir
			}
		}
	}
	goroot, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return nil, fmt.Errorf("ask for Go's folder: %w", err)
	}
	modules["Go's standard library and runtime"] = strings.TrimSpace(string(goroot))

	names := make([]string, 0, len(modules))
	for name := range modules {
		names = append(names, name)
	}
	slices.Sort(names)
	b := []byte("The programs of Holdfast contain the following modules under these licences.\n")
	for _, name := range names {
		text, err := licences(modules[name])
		if err != nil {
			return nil, fmt.Errorf("licence of %s: %w", name, err)
		}
		b = fmt.Appendf(b, "\n%s\n%s\n\n%s", strings.Repeat("=", 80), name, text)
	}
	return b, nil
}

func licences(dir string) ([]byte, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list a module: %w", err)
	}
	var text []byte
	for _, e := range entries {
		upper := strings.ToUpper(e.Name())
		if e.IsDir() || !slices.ContainsFunc([]string{"LICENSE", "LICENCE", "COPYING", "NOTICE"}, func(p string) bool { return strings.HasPrefix(upper, p) }) {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, fmt.Errorf("read a licence: %w", err)
		}
		text = append(append(text, bytes.TrimSpace(b)...), "\n\n"...)
	}
	if len(text) == 0 {
		return nil, fmt.Errorf("none in %s: %w", dir, fs.ErrNotExist)
	}
	return text, nil
}

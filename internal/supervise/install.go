package supervise

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Change is a file of a service, and how it differs from what lies there now.
type Change struct {
	File
	Old     string
	Exists  bool
	Foreign bool // something lies there that no installation wrote
}

// Same tells whether the file need not be written.
func (c Change) Same() bool { return c.Exists && c.Old == c.Text }

// Compare tells what writing the files would change.
func Compare(files []File) ([]Change, error) {
	changes := make([]Change, len(files))
	for i, f := range files {
		changes[i].File = f
		old, err := os.ReadFile(f.Path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("look at what is there: %w", err)
		}
		changes[i].Exists, changes[i].Old = true, string(old)
		// Small files that hold a number stand beside one with our mark.
		if strings.Contains(f.Text, Mark) {
			changes[i].Foreign = !strings.Contains(string(old), Mark)
		}
	}
	return changes, nil
}

// Install writes the files that differ and makes the supervisor know them.
// With start it may start the service at once; without, it does not.
func (u Unit) Install(ctx context.Context, files []Change, start bool) error {
	return u.install(ctx, tools{}, files, start)
}

func (u Unit) install(ctx context.Context, r runner, files []Change, start bool) error {
	d, err := u.driver(r)
	if err != nil {
		return err
	}
	var changed []string
	var all []File
	for _, f := range files {
		all = append(all, f.File)
		if !f.Same() {
			changed = append(changed, f.Path)
		}
	}
	if err := u.write(all, changed); err != nil {
		return err
	}
	if !start && (u.Manager == Launchd || u.Manager == Supervisord) {
		return nil // to know a service is to start it
	}
	if err := d.load(ctx, changed); err != nil {
		return fmt.Errorf("make the service %s known: %w", u, err)
	}
	return nil
}

// Drop removes files of an earlier installation that this one has no more.
func (u Unit) Drop(ctx context.Context, paths []string) error { return u.drop(ctx, tools{}, paths) }

func (u Unit) drop(ctx context.Context, r runner, paths []string) error {
	d, err := u.driver(r)
	if err != nil {
		return err
	}
	for _, path := range paths {
		var err error
		switch d := d.(type) {
		case systemd:
			if strings.HasSuffix(path, ".timer") {
				_, err = d.ctl(ctx, "disable", "--now", filepath.Base(path))
			}
		case launchd:
			err = d.bootout(ctx, strings.TrimSuffix(filepath.Base(path), ".plist"))
		}
		if err == nil {
			err = removeOurs(path)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// write puts the files in their places. A folder of a service is made aside
// and appears as a whole: its supervisor may look at any moment, and passes
// over names that begin with a dot.
func (u Unit) write(files []File, changed []string) error {
	if !u.Manager.folders() {
		for _, f := range files {
			if !slices.Contains(changed, f.Path) {
				continue
			}
			if err := os.MkdirAll(filepath.Dir(f.Path), 0o755); err != nil {
				return fmt.Errorf("make folder: %w", err)
			}
			if err := replace(f); err != nil {
				return err
			}
		}
		return nil
	}
	if _, err := os.Stat(u.Dir); err == nil {
		// A "down" of an earlier installation, where this one has none.
		if !slices.ContainsFunc(files, func(f File) bool { return filepath.Base(f.Path) == "down" }) {
			if err := os.Remove(filepath.Join(u.Dir, "down")); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		for _, f := range files {
			if !slices.Contains(changed, f.Path) {
				continue
			}
			if err := replace(f); err != nil {
				return err
			}
		}
		return nil
	}
	aside := filepath.Join(filepath.Dir(u.Dir), "."+filepath.Base(u.Dir)+".new")
	if err := os.RemoveAll(aside); err != nil {
		return fmt.Errorf("remove what an earlier installation left: %w", err)
	}
	if err := os.Mkdir(aside, 0o755); err != nil {
		return fmt.Errorf("make service folder: %w", err)
	}
	for _, f := range files {
		f.Path = filepath.Join(aside, filepath.Base(f.Path))
		if err := replace(f); err != nil {
			return errors.Join(err, os.RemoveAll(aside))
		}
	}
	if err := os.Rename(aside, u.Dir); err != nil {
		return errors.Join(fmt.Errorf("put service folder in place: %w", err), os.RemoveAll(aside))
	}
	return nil
}

// replace writes a file beside its place and renames it: a supervisor never
// reads half of it, and a shell that runs the old one goes on with that.
func replace(f File) error {
	dir, base := filepath.Split(f.Path)
	tmp, err := os.CreateTemp(dir, "."+base+".*")
	if err != nil {
		return fmt.Errorf("write %s: %w", f.Path, err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.WriteString(f.Text)
	err = errors.Join(err, tmp.Chmod(f.Mode), tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), f.Path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", f.Path, err)
	}
	return nil
}

// Uninstall makes the supervisor forget the service, which is stopped, and
// removes its files: those alone that carry our mark.
func (u Unit) Uninstall(ctx context.Context, files []string) error {
	return u.uninstall(ctx, tools{}, files)
}

func (u Unit) uninstall(ctx context.Context, r runner, files []string) error {
	d, err := u.driver(r)
	if err != nil {
		return err
	}
	if err := u.ours(); err != nil {
		return err
	}
	if err := d.unload(ctx); err != nil {
		return fmt.Errorf("have the service %s forgotten: %w", u, err)
	}
	if !u.Manager.folders() {
		for _, path := range files {
			if err := removeOurs(path); err != nil {
				return err
			}
		}
	}
	if err := d.unloaded(ctx); err != nil {
		return fmt.Errorf("have the service %s forgotten: %w", u, err)
	}
	return nil
}

// ours refuses a folder that no installation made.
func (u Unit) ours() error {
	if !u.Manager.folders() {
		return nil
	}
	text, err := os.ReadFile(filepath.Join(u.Dir, "run"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("look at the service folder: %w", err)
	case !strings.Contains(string(text), Mark):
		return fmt.Errorf("%s was not made by `holdfast service install`, so it is left as it is. Remove it by hand", u.Dir)
	}
	return nil
}

func removeOurs(path string) error {
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("look at %s: %w", path, err)
	case !strings.Contains(string(text), Mark):
		return fmt.Errorf("%s was not written by `holdfast service install`, so it is left as it is. Remove it by hand", path)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("remove %s: %w", path, err)
	}
	return nil
}

package agent

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// place is where an agent was found.
type place struct {
	command []string
	version string // if it could be read without running anything

	start    []string      // instead of command, where a better start is known
	deadline time.Duration // of permissions, with that start
}

// resolve finds the agent's command.
func (c *Catalogue) resolve(e entry, env map[string]string) (place, error) {
	if len(e.command) > 0 { // configured, or built in
		path, ok := lookPath(e.command[0], env["PATH"])
		if !ok {
			return place{}, fmt.Errorf("there is no program %s", e.command[0])
		}
		return place{command: append([]string{path}, e.command[1:]...)}, nil
	}
	if e.find != nil {
		if p, ok := e.find(c, env); ok {
			return p, nil
		}
	}
	for _, cmd := range e.commands {
		if path, ok := lookPath(cmd[0], env["PATH"]); ok {
			return place{command: append([]string{path}, cmd[1:]...)}, nil
		}
	}
	for _, p := range e.places {
		if path := filepath.Join(c.opts.Home, p); executable(path) {
			return place{command: append([]string{path}, e.commands[0][1:]...)}, nil
		}
	}
	if e.instead != "" {
		if _, ok := lookPath(e.instead, env["PATH"]); ok {
			return place{}, fmt.Errorf("%s", e.hint)
		}
	}
	return place{}, fmt.Errorf("no program %s was found", e.commands[0][0])
}

// lookPath finds name along path, as a shell does. Unlike exec.LookPath it
// takes the PATH that the child will have, and only absolute folders: a
// relative one means another place in each session.
func lookPath(name, path string) (string, bool) {
	if strings.ContainsRune(name, filepath.Separator) {
		return name, filepath.IsAbs(name) && executable(name)
	}
	for _, dir := range filepath.SplitList(path) {
		if !filepath.IsAbs(dir) {
			continue
		}
		for _, suffix := range suffixes {
			if p := filepath.Join(dir, name+suffix); executable(p) {
				return p, true
			}
		}
	}
	return "", false
}

// Paths says along what agents are looked for.
type Paths struct {
	Service []string // the folders of the service's own PATH
	Shell   []string // those of the login shell's
	Name    string   // of that shell
	Err     error    // why it did not tell
}

// Paths asks for the PATHs that the search goes along.
func (c *Catalogue) Paths(ctx context.Context) Paths {
	shell := c.login.ask(ctx)
	p := Paths{
		Service: filepath.SplitList(c.login.service["PATH"]), Shell: filepath.SplitList(shell["PATH"]),
		Name: loginShell(c.login.service),
	}
	c.login.mu.Lock()
	defer c.login.mu.Unlock()
	if shell == nil {
		p.Err = c.login.why
	}
	return p
}

// Whence says for a person on which of them a program lies.
func (p Paths) Whence(path string) string {
	dir := filepath.Dir(path)
	switch {
	case slices.Contains(p.Service, dir):
		return "on the PATH"
	case slices.Contains(p.Shell, dir):
		return "on the login shell's PATH"
	}
	return "in one of the usual places"
}

// Along finds agents as a shell with the environment of the Options does, and
// returns where, by id: it asks no login shell and adds no folders.
func Along(o Options) map[string]string {
	c := &Catalogue{opts: o, login: newLogin(o), root: "/"}
	defer c.login.cancel()
	found := map[string]string{}
	for _, id := range c.ids() {
		e, _ := c.entry(id)
		if p, err := c.resolve(e, c.login.service); err == nil {
			found[id] = p.command[0]
		}
	}
	return found
}

// environment is the child's whole environment, of which env is the base.
func (e *entry) environment(env map[string]string, p place) map[string]string {
	out := maps.Clone(env)
	for k := range out {
		if matches(k, e.unset) {
			delete(out, k)
		}
	}
	for k, v := range e.defaults {
		if out[k] == "" {
			out[k] = v
		}
	}
	out["PATH"] = withCommand(out["PATH"], p.command[0])
	maps.Copy(out, e.set)
	return out
}

// withCommand puts the folder of an installed script on the PATH: a Node
// script needs the node that lies beside it, before any other.
func withCommand(path, command string) string {
	dir := filepath.Dir(command)
	beside := filepath.Join(dir, "node")
	if executable(beside) {
		if other, ok := lookPath("node", path); !ok || other != beside {
			return joinPath(dir, filepath.SplitList(path))
		}
	}
	return joinPath(path, []string{dir})
}

// joinPath appends the folders that first lacks, in order.
func joinPath(first string, more []string) string {
	var out []string
	for _, d := range append(filepath.SplitList(first), more...) {
		if d != "" && !slices.Contains(out, d) {
			out = append(out, d)
		}
	}
	return strings.Join(out, string(filepath.ListSeparator))
}

// flatten turns an environment into what exec takes, sorted.
func flatten(env map[string]string) []string {
	out := make([]string, 0, len(env))
	for _, k := range slices.Sorted(maps.Keys(env)) {
		out = append(out, k+"="+env[k])
	}
	return out
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// naturally compares texts with numbers in them by the numbers' values, so
// that v9 comes before v10.
func naturally(a, b string) int {
	for a != "" && b != "" {
		na, nb := digits(a), digits(b)
		if na != "" && nb != "" {
			ta, tb := strings.TrimLeft(na, "0"), strings.TrimLeft(nb, "0")
			if d := cmp.Or(cmp.Compare(len(ta), len(tb)), cmp.Compare(ta, tb)); d != 0 {
				return d
			}
			a, b = a[len(na):], b[len(nb):]
			continue
		}
		if a[0] != b[0] {
			return cmp.Compare(a[0], b[0])
		}
		a, b = a[1:], b[1:]
	}
	return cmp.Compare(len(a), len(b))
}

func digits(s string) string {
	i := 0
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		i++
	}
	return s[:i]
}

package agent

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// findHermes looks where Hermes Agent is installed, in the order in which its
// old web UI looks, and reads its version from its files: `hermes --version`
// is slow, and `hermes version` may use the network.
func findHermes(c *Catalogue, env map[string]string) (place, bool) {
	if python := env["HERMES_WEBUI_PYTHON"]; filepath.IsAbs(python) && executable(python) {
		if p, ok := hermesIn(filepath.Dir(python), ""); ok {
			return p, true
		}
	}
	var checkouts []string
	if dir := env["HERMES_WEBUI_AGENT_DIR"]; dir != "" {
		checkouts = append(checkouts, dir)
	}
	home := c.opts.Home
	for _, parent := range []string{
		env["HERMES_HOME"], filepath.Join(home, ".hermes"), home, env["XDG_DATA_HOME"],
		filepath.Join(c.root, "opt"), filepath.Join(c.root, "usr/local"),
		filepath.Join(c.root, "usr/local/share"), filepath.Join(c.root, "usr/local/lib"),
	} {
		if filepath.IsAbs(parent) {
			checkouts = append(checkouts, filepath.Join(parent, "hermes-agent"))
		}
	}
	for _, dir := range checkouts {
		if p, ok := hermesCheckout(dir); ok {
			return p, true
		}
	}
	for _, cmd := range [][]string{{"hermes-acp"}, {"hermes", "acp"}} {
		path, ok := lookPath(cmd[0], env["PATH"])
		if !ok {
			continue
		}
		version := ""
		if root := launcherRoot(path); root != "" {
			version = hermesVersion(root)
		} else if real, err := filepath.EvalSymlinks(path); err == nil {
			version = siteVersion(filepath.Dir(filepath.Dir(real)))
		}
		return place{command: append([]string{path}, cmd[1:]...), version: version}, true
	}
	return place{}, false
}

// hermesCheckout looks into a source checkout with its virtual environment.
func hermesCheckout(dir string) (place, bool) {
	if !filepath.IsAbs(dir) || !isFile(filepath.Join(dir, "run_agent.py")) {
		return place{}, false
	}
	for _, venv := range []string{"venv", ".venv"} {
		if p, ok := hermesIn(filepath.Join(dir, venv, "bin"), dir); ok {
			return p, true
		}
	}
	return place{}, false
}

// hermesIn looks into the bin folder of a virtual environment; checkout is
// the source that it serves, or "".
func hermesIn(bin, checkout string) (place, bool) {
	version := ""
	if checkout != "" {
		version = hermesVersion(checkout)
	}
	if version == "" {
		version = siteVersion(filepath.Dir(bin))
	}
	if acp := filepath.Join(bin, "hermes-acp"); executable(acp) {
		return place{command: []string{acp}, version: version}, true
	}
	python := filepath.Join(bin, "python")
	if executable(python) && (version != "" || checkout != "") {
		return place{command: []string{python, "-m", "acp_adapter"}, version: version}, true
	}
	return place{}, false
}

var versionLine = regexp.MustCompile(`(?m)^__version__\s*=\s*["']([^"'\n]+)["']`)

// hermesVersion reads the version of the sources under root.
func hermesVersion(root string) string {
	data, err := os.ReadFile(filepath.Join(root, "hermes_cli", "__init__.py"))
	if err != nil {
		return ""
	}
	if m := versionLine.FindSubmatch(data); m != nil {
		return string(m[1])
	}
	return ""
}

// siteVersion reads the version of a package installed under prefix.
func siteVersion(prefix string) string {
	sites, _ := filepath.Glob(filepath.Join(prefix, "lib", "python3*", "site-packages"))
	for _, site := range sites {
		infos, _ := filepath.Glob(filepath.Join(site, "hermes_agent-*.dist-info"))
		for _, info := range infos {
			name := strings.TrimSuffix(filepath.Base(info), ".dist-info")
			return strings.TrimPrefix(name, "hermes_agent-")
		}
		if v := hermesVersion(site); v != "" {
			return v
		}
	}
	return ""
}

var launcherPath = regexp.MustCompile(`(/[^"'\s]+)/\.?venv/bin/`)

// launcherRoot returns the checkout that a launcher script names: the
// official installer puts one into ~/.local/bin or /usr/local/bin.
func launcherRoot(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	head, _ := io.ReadAll(io.LimitReader(bufio.NewReader(f), 8<<10))
	if !bytes.HasPrefix(head, []byte("#!")) {
		return ""
	}
	m := launcherPath.FindSubmatch(head)
	if m == nil || !isFile(filepath.Join(string(m[1]), "run_agent.py")) {
		return ""
	}
	return string(m[1])
}

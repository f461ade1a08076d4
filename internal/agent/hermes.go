package agent

import (
	"bufio"
	"bytes"
	_ "embed" // hermes_patience.py
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// HermesPatience is Python that starts Hermes Agent 0.19.0 with two things
// mended. It changes nothing where the code is not the code that it knows.
//
//   - A permission waits a day instead of a minute, after which the agent
//     would go on as if it had been refused.
//   - A turn that is cancelled before it has said anything ends. As released,
//     its prompt fails on a missing text, and the session takes itself for
//     busy ever after: it answers each prompt at once and does nothing.
//
// Run it with python -P: the working folder is a person's project, and must
// not be searched for modules.
//
//go:embed hermes_patience.py
var HermesPatience string

const (
	// patientVersion is the version that HermesPatience was tried with.
	patientVersion  = "0.19.0"
	patientDeadline = 24 * time.Hour
)

// patient gives the place the start that mends, where it is known to.
func patient(p place, bin string) place {
	python := filepath.Join(bin, "python")
	if p.version == patientVersion && executable(python) {
		p.start, p.deadline = []string{python, "-P", "-c", HermesPatience}, patientDeadline
	}
	return p
}

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
		p := place{command: append([]string{path}, cmd[1:]...)}
		if root := launcherRoot(path); root != "" {
			p.version = hermesVersion(root)
		} else if real, err := filepath.EvalSymlinks(path); err == nil {
			bin := filepath.Dir(real)
			p.version = siteVersion(filepath.Dir(bin))
			if len(cmd) == 1 { // `hermes acp` obeys profiles, which the other start does not
				p = patient(p, bin)
			}
		}
		return p, true
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
		return patient(place{command: []string{acp}, version: version}, bin), true
	}
	python := filepath.Join(bin, "python")
	if executable(python) && (version != "" || checkout != "") {
		return patient(place{command: []string{python, "-m", "acp_adapter"}, version: version}, bin), true
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

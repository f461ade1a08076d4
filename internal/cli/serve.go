package cli

import (
	"context"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"golang.org/x/term"
)

// hostFlags are the flags of the commands that run a host.
type hostFlags struct {
	Addr         string   `placeholder:"HOST:PORT" help:"Where to listen. Also HOLDFAST_ADDR; by default 127.0.0.1:8787."`
	AllowedHosts []string `placeholder:"NAME" help:"Names, beside its own address, under which browsers reach the host. Also HOLDFAST_ALLOWED_HOSTS."`
	InsecureBind bool     `help:"Listen on other addresses than loopback without TLS. A password must be set."`
	LogLevel     string   `placeholder:"LEVEL" help:"debug, info, warn or error. Also HOLDFAST_LOG_LEVEL; by default info."`
}

type serveCmd struct {
	hostFlags
}

// Help is shown after the flags.
func (serveCmd) Help() string {
	return `It stays in the foreground and never forks; a supervisor (launchd, systemd, runit) or a terminal holds it. Exit codes: 0 asked to stop, 75 please start me again, 78 do not start me again before a person has acted, anything else a crash.

Stopping or killing it leaves the agents to their keepers; the next start goes on with them.

Examples:
  holdfast serve
  holdfast serve --addr 127.0.0.1:9000 --home /srv/holdfast`
}

// Run runs a host.
func (c *serveCmd) Run(ctx context.Context, a *app) error {
	cfg, err := a.load(c.hostFlags)
	if err != nil {
		return err
	}
	return a.Serve(ctx, cfg, ServeOptions{Ready: func(r Ready) {
		// Standard error, with the log: a supervisor keeps them together.
		a.notef("Holdfast listens on %s\n", r.URL)
		if r.Link != "" {
			a.notef("Nobody has logged in yet. This link logs a browser in, once:\n  %s\n", r.Link)
		}
	}})
}

type upCmd struct {
	hostFlags
	NoBrowser bool `help:"Do not open a browser."`
}

// Help is shown after the flags.
func (upCmd) Help() string {
	return `The same as serve, with a beginning for a person: it prints a link that logs a browser in and opens it where there is one. The host runs in this process until Ctrl-C; nothing is left in the background but the agents' keepers.

Examples:
  holdfast up
  holdfast up --no-browser --addr 127.0.0.1:9000`
}

// Run runs a host with an interactive beginning.
func (c *upCmd) Run(ctx context.Context, a *app) error {
	cfg, err := a.load(c.hostFlags)
	if err != nil {
		return err
	}
	return a.Serve(ctx, cfg, ServeOptions{Link: true, Ready: func(r Ready) {
		a.printf("Holdfast %s runs at %s\n", a.Version, r.URL)
		if r.Link != "" {
			a.printf("\nThis link logs a browser in, once:\n\n  %s\n\nAnother one: holdfast link\n", r.Link)
		}
		a.printf("Ctrl-C stops the host.\n")
		if !c.NoBrowser && a.interactive() && r.Link != "" {
			if err := a.browse(ctx, r.Link); err != nil {
				a.notef("No browser could be opened (%v); open the link yourself.\n", err)
			}
		}
	}})
}

// interactive tells whether a person sits before the terminal.
func (a *app) interactive() bool { return isTerminal(a.Out) }

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

func (a *app) env(name string) string {
	for _, kv := range a.Env {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			return v
		}
	}
	return ""
}

// browse opens url in the person's browser. Over ssh, or without a display,
// there is none, which is no error.
func (a *app) browse(ctx context.Context, url string) error {
	var argv []string
	switch {
	case a.env("SSH_CONNECTION") != "":
		return nil
	case runtime.GOOS == "darwin":
		argv = []string{"open", url}
	case runtime.GOOS == "windows":
		argv = []string{"rundll32", "url.dll,FileProtocolHandler", url}
	case a.env("DISPLAY") != "" || a.env("WAYLAND_DISPLAY") != "":
		argv = []string{"xdg-open", url}
	default:
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return exec.CommandContext(ctx, argv[0], argv[1:]...).Run()
}

package cli

import (
	"context"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/holdfast-dev/holdfast/internal/config"
	"github.com/holdfast-dev/holdfast/internal/supervise"
)

// hostFlags are the flags of the commands that run a host.
type hostFlags struct {
	Addr         string   `placeholder:"HOST:PORT" help:"Where to listen. Also HOLDFAST_ADDR; by default 127.0.0.1:8787."`
	AllowedHosts []string `placeholder:"NAME" help:"Names, beside its own address, under which browsers reach the host. Also HOLDFAST_ALLOWED_HOSTS."`
	InsecureBind bool     `help:"Listen on other addresses than loopback without TLS. A password must be set."`
	LogLevel     string   `placeholder:"LEVEL" help:"debug, info, warn or error. Also HOLDFAST_LOG_LEVEL; by default info."`

	TLSCert        string   `name:"tls-cert" placeholder:"FILE" help:"Certificate with its chain, for HTTPS. Also HOLDFAST_TLS_CERT."`
	TLSKey         string   `name:"tls-key" placeholder:"FILE" help:"Its key. Also HOLDFAST_TLS_KEY."`
	TrustedProxies []string `placeholder:"NET" help:"Addresses or networks of proxies that may say who asks. Also HOLDFAST_TRUSTED_PROXIES."`
	BasePath       string   `placeholder:"PATH" help:"Path below which a proxy shows the page, like /holdfast. Also HOLDFAST_BASE_PATH."`
	PublicURL      string   `name:"public-url" placeholder:"URL" help:"Where a browser elsewhere finds the page. Also HOLDFAST_PUBLIC_URL."`
}

type serveCmd struct {
	hostFlags
	serviceFlags
}

// serviceFlags are what the files that `holdfast service install` writes tell
// a host. A flag is not inherited by what the host starts, as a variable is.
type serviceFlags struct {
	ManagedBy string `hidden:"" placeholder:"UNIT" help:"The service that runs this host."`
	Log       string `hidden:"" enum:"both,file" default:"both" help:"Where the log goes: to its file, or to standard error as well."`
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
	o, err := c.options(a, c.hostFlags)
	if err != nil {
		return err
	}
	cfg, err := a.load(c.hostFlags)
	if err != nil {
		return err
	}
	o.Ready = a.announce
	if o.LogFileOnly {
		o.Ready = nil // nobody looks there, and a link is a secret
	}
	return a.Serve(ctx, cfg, o)
}

// announce tells of a healthy host where the log goes.
func (a *app) announce(r Ready) {
	if r.Resumed {
		return
	}
	// Standard error, with the log: a supervisor keeps them together.
	a.notef("Holdfast listens on %s\n", r.URL)
	if r.Link != "" {
		a.notef("Nobody has logged in yet. This link logs a browser in, once:\n  %s\n", r.Link)
	}
}

// options makes what every command that runs a host hands to it.
func (f *serviceFlags) options(a *app, flags hostFlags) (ServeOptions, error) {
	o := ServeOptions{LogFileOnly: f.Log == "file", Signals: a.signals, Load: func() (*config.Config, error) { return a.load(flags) }}
	if f.ManagedBy != "" {
		unit, err := supervise.ParseUnit(f.ManagedBy)
		if err != nil {
			return o, &Error{Code: ExitNoRestart, Msg: "--managed-by: " + err.Error(), Err: err}
		}
		o.Unit = unit
	} else {
		self := supervise.Current()
		self.Env = a.Env
		o.Unit = supervise.Detect(self).Unit
	}
	a.unit = o.Unit
	return o, nil
}

// interactive tells whether a person sits before the terminal.
func (a *app) interactive() bool { return isTerminal(a.Out) }

// isTerminal tells it of a reader or a writer.
func isTerminal(rw any) bool {
	f, ok := rw.(*os.File)
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

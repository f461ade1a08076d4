// Package cli is the command line: it reads arguments, talks to a running
// host over its control socket, and prints.
//
// It knows neither the host's parts nor its API's implementation; what has to
// run in this process is handed in as Programs. Only main exits.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/holdfast-dev/holdfast/internal/config"
	"github.com/holdfast-dev/holdfast/internal/doctor"
	"github.com/holdfast-dev/holdfast/internal/supervise"
)

// The exit codes that a supervisor acts on; anything else is a failure.
const (
	ExitOK        = 0
	ExitFailure   = 1
	ExitUsage     = 2
	ExitRestart   = 75 // please start me again
	ExitNoRestart = 78 // not before a person has acted
)

// Error is a failure with the exit code that it means. An error of another
// type means 1, unless it has a method ExitCode.
type Error struct {
	Code int
	Msg  string // for a person: what, why, and what to do
	Err  error
}

func (e *Error) Error() string { return e.Msg }
func (e *Error) Unwrap() error { return e.Err }

// ExitCode returns the code.
func (e *Error) ExitCode() int { return e.Code }

func failf(format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: ExitFailure, Msg: err.Error(), Err: errors.Unwrap(err)}
}

// Ready is what a host that has become healthy says of itself.
type Ready struct {
	URL     string // of the page
	Link    string // a one-time link that logs a browser in, or ""
	Resumed bool   // it was replaced in place: the person who started it has been told already
}

// ServeOptions is how a command wants its host.
type ServeOptions struct {
	// Link asks for a one-time link at every start; without it the host makes
	// one only while nobody has a login yet.
	Link bool
	// Ready is called once, when the host is healthy.
	Ready func(Ready)
	// Unit is the service that runs this host; zero where none does.
	Unit supervise.Unit
	// LogFileOnly keeps the log from standard error.
	LogFileOnly bool
	// Load makes the configuration anew, as this command made it.
	Load func() (*config.Config, error)
	// Signals are those of this process that mean more than an end.
	Signals *Signals
}

// Programs are what runs in this process but does not belong to this package.
type Programs struct {
	Version string
	// Serve runs a host until ctx ends or it fails.
	Serve func(ctx context.Context, cfg *config.Config, opts ServeOptions) error
	// Keeper and Agent run with the arguments after their names and return
	// the exit code.
	Keeper func(args []string) int
	Agent  func(args []string) int
	// Offline takes the lock of a state folder that no host holds, opens its
	// store, and returns the handler of the control socket. The caller calls
	// done, which gives the lock back.
	Offline func(ctx context.Context, cfg *config.Config) (h http.Handler, done func() error, err error)
	// Examine looks where no host answers, in this process. It tells as a host
	// does, and returns when ctx ends.
	Examine func(ctx context.Context, cfg *config.Config, in doctor.Request, o Here, tell func(doctor.Line)) error

	// Of the process; nil means the real ones.
	In       io.Reader
	Out, Err io.Writer
	Env      []string
	UserHome string
}

// Here says what Examine looks at beside agents, and with whose eyes.
type Here struct {
	Limits   bool // of this process
	Database bool // whose folder no host has locked
	Env      []string
	UserHome string
}

// grammar is the command line.
type grammar struct {
	Home string `placeholder:"DIR" help:"State folder. Also HOLDFAST_HOME; by default ~/.holdfast."`

	Up       upCmd       `cmd:"" group:"host" help:"Start the host in this terminal and open its page."`
	Serve    serveCmd    `cmd:"" group:"host" help:"Run the host in the foreground, for a supervisor."`
	Status   statusCmd   `cmd:"" group:"host" help:"Tell how the running host is."`
	Stop     stopCmd     `cmd:"" group:"host" help:"Stop the running host."`
	Restart  restartCmd  `cmd:"" group:"host" help:"Restart the running host in place, without a gap."`
	Upgrade  upgradeCmd  `cmd:"" group:"host" help:"Put a new binary in the place of the running one."`
	Logs     logsCmd     `cmd:"" group:"host" help:"Show the host's log."`
	Service  serviceCmd  `cmd:"" group:"host" help:"Install the host as a service, and look after it."`
	Doctor   doctorCmd   `cmd:"" group:"host" help:"Tell what is wrong with the host."`
	Fds      fdsCmd      `cmd:"" group:"host" help:"Count the descriptors of the host, or of any process."`
	Watch    watchCmd    `cmd:"" group:"host" help:"Guard another server: tell, or act, when it leaks or is deaf."`
	Verify   verifyCmd   `cmd:"" group:"host" help:"Check that what pages show equals the log."`
	Backup   backupCmd   `cmd:"" group:"host" help:"Make a backup, also while the host runs."`
	Restore  restoreCmd  `cmd:"" group:"host" help:"Put a backup in the place of the state."`
	Link     linkCmd     `cmd:"" group:"logins" help:"Print a one-time link that logs a browser in."`
	Token    tokenCmd    `cmd:"" group:"logins" help:"Make, list and revoke tokens for scripts."`
	Password passwordCmd `cmd:"" group:"logins" help:"Set or remove the password."`
	Agents   agentsCmd   `cmd:"" group:"talk" help:"List the agents of this machine."`
	Sessions sessionsCmd `cmd:"" group:"talk" help:"List the sessions."`
	Send     sendCmd     `cmd:"" group:"talk" help:"Send a message and print the answer as it comes."`
	Tail     tailCmd     `cmd:"" group:"talk" help:"Follow a session."`
	Search   searchCmd   `cmd:"" group:"talk" help:"Search everything that was said, run and printed."`
	Export   exportCmd   `cmd:"" group:"talk" help:"Write sessions into files."`
	Import   importCmd   `cmd:"" group:"talk" help:"Read sessions from such files."`
	Agent    agentCmd    `cmd:"" group:"other" help:"The built-in agent: speaks ACP on stdin and stdout."`
	Version  versionCmd  `cmd:"" group:"other" help:"Print the version."`

	Keeper struct {
		Args []string `arg:"" optional:"" passthrough:""`
	} `cmd:"" hidden:""`
}

// agentCmd exists for the help; Main runs it before any parsing.
type agentCmd struct {
	Args []string `arg:"" optional:"" passthrough:""`
}

const description = `Holdfast keeps AI agents running behind a web page. The host may be stopped, killed and upgraded while they work.

  holdfast up              start it here and open its page
  holdfast link            log another browser in
  holdfast send --new opencode --cwd ~/project "What does this do?"`

// app is one run of the command line.
type app struct {
	Programs
	grammar grammar
	signals *Signals
	unit    supervise.Unit // that runs this host; zero in other commands
}

// Main runs the command that args (without the program's name) name, and
// returns the exit code.
func Main(ctx context.Context, args []string, p Programs) int {
	// A keeper lives as long as its agent: it does without the parser's memory.
	if len(args) > 0 && args[0] == "keeper" {
		return p.Keeper(args[1:])
	}
	if len(args) > 0 && args[0] == "agent" && !wantsHelp(args[1:]) {
		return p.Agent(args[1:])
	}
	ctx, sigs := catchSignals(ctx)
	defer sigs.stop()
	a := &app{Programs: p.filled(), signals: sigs}
	err := a.run(ctx, args)
	if err == nil {
		return ExitOK
	}
	if text := err.Error(); text != "" {
		fmt.Fprintf(a.Err, "holdfast: %s\n", text)
	}
	code := codeOf(err)
	if code == ExitNoRestart && a.unit.Manager == supervise.Launchd {
		// It cannot tell codes apart and would start this again and again.
		fmt.Fprintln(a.Err, "holdfast: launchd is not to start this again before that is put right, so it exits with 0 instead of 78. Then: holdfast service start")
		return ExitOK
	}
	return code
}

func wantsHelp(args []string) bool {
	return len(args) > 0 && (args[0] == "--help" || args[0] == "-h")
}

func codeOf(err error) int {
	var coded interface{ ExitCode() int }
	if errors.As(err, &coded) {
		return coded.ExitCode()
	}
	return ExitFailure
}

func (p Programs) filled() Programs {
	if p.In == nil {
		p.In = os.Stdin
	}
	if p.Out == nil {
		p.Out = os.Stdout
	}
	if p.Err == nil {
		p.Err = os.Stderr
	}
	if p.Env == nil {
		p.Env = os.Environ()
	}
	if p.UserHome == "" {
		p.UserHome, _ = os.UserHomeDir()
	}
	return p
}

// errHelp ends a run after the help was printed.
var errHelp = errors.New("help was printed")

func (a *app) run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		args = []string{"--help"}
	}
	parser, err := kong.New(
		&a.grammar,
		kong.Name("holdfast"),
		kong.Description(description),
		kong.Writers(a.Out, a.Err),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true, WrapUpperBound: 90}),
		kong.ExplicitGroups([]kong.Group{
			{Key: "host", Title: "The host"},
			{Key: "logins", Title: "Logins"},
			{Key: "talk", Title: "Talking to agents"},
			{Key: "other", Title: "Other"},
		}),
		// Kong exits by itself after a help; the panic carries us out of it.
		kong.Exit(func(int) { panic(errHelp) }),
	)
	if err != nil {
		return fmt.Errorf("make command line: %w", err)
	}
	kctx, err := parse(parser, args)
	if errors.Is(err, errHelp) {
		return nil
	}
	if err != nil {
		text := err.Error()
		if !strings.HasSuffix(text, "?") {
			text += "."
		}
		return &Error{Code: ExitUsage, Msg: text + " See: holdfast" + commandOf(err) + " --help", Err: err}
	}
	kctx.BindTo(ctx, (*context.Context)(nil))
	return kctx.Run(a)
}

func parse(parser *kong.Kong, args []string) (kctx *kong.Context, err error) {
	defer func() {
		if r := recover(); r != nil {
			if e, ok := r.(error); !ok || !errors.Is(e, errHelp) {
				panic(r)
			}
			err = errHelp
		}
	}()
	return parser.Parse(args)
}

// commandOf names the command in which parsing failed, for the hint.
func commandOf(err error) string {
	var perr *kong.ParseError
	if !errors.As(err, &perr) || perr.Context == nil {
		return ""
	}
	var name strings.Builder
	for _, p := range perr.Context.Path {
		if p.Command != nil {
			name.WriteString(" " + p.Command.Name)
		}
	}
	return name.String()
}

// load makes the configuration. What is wrong with it is for a person to put
// right: 78.
func (a *app) load(f hostFlags) (*config.Config, error) {
	cfg, err := config.Load(config.Sources{
		Flags: config.Flags{
			Home: a.grammar.Home, Addr: f.Addr, AllowedHosts: f.AllowedHosts, InsecureBind: f.InsecureBind, LogLevel: f.LogLevel,
			TLSCert: f.TLSCert, TLSKey: f.TLSKey, TrustedProxies: f.TrustedProxies, BasePath: f.BasePath, PublicURL: f.PublicURL,
		},
		Env: a.Env, Home: a.UserHome,
	})
	if err != nil {
		return nil, &Error{Code: ExitNoRestart, Msg: err.Error(), Err: err}
	}
	return cfg, nil
}

func (a *app) printf(format string, args ...any) { fmt.Fprintf(a.Out, format, args...) }

// notef tells a person something that is not the command's result.
func (a *app) notef(format string, args ...any) { fmt.Fprintf(a.Err, format, args...) }

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast/internal/config"
	"github.com/holdfast-dev/holdfast/internal/doctor"
	"github.com/holdfast-dev/holdfast/internal/proc"
	"github.com/holdfast-dev/holdfast/internal/supervise"
)

type serviceCmd struct {
	Install   serviceInstallCmd   `cmd:"" help:"Install the host as a service, and start it."`
	Uninstall serviceUninstallCmd `cmd:"" help:"Stop the service and remove it; the data stays."`
	Start     serviceStartCmd     `cmd:"" help:"Have the supervisor start the host."`
	Stop      serviceStopCmd      `cmd:"" help:"Have the supervisor stop the host."`
	Restart   serviceRestartCmd   `cmd:"" help:"Have the supervisor start a new process."`
	Status    serviceStatusCmd    `cmd:"" help:"Tell what the supervisor and the host say, and show the processes."`
	Logs      serviceLogsCmd      `cmd:"" help:"Show the host's log, and where else to look."`
}

// AfterApply refuses what this system has not.
func (serviceCmd) AfterApply() error {
	if runtime.GOOS == "windows" {
		return failf("services are not there on Windows yet. Keep `holdfast serve` running in a terminal, or have the Task Scheduler start it at logon")
	}
	return nil
}

// record is what one installation wrote: <home>/service.json. It is the only
// such record.
type record struct {
	Unit    string    `json:"unit"`
	Files   []string  `json:"files"`
	Exe     string    `json:"exe"`
	Copied  bool      `json:"copied"` // the installation put the program there
	User    string    `json:"user,omitempty"`
	Made    bool      `json:"made,omitempty"` // the installation made that user
	Cron    string    `json:"cron,omitempty"` // the line in a crontab
	Version string    `json:"version"`
	At      time.Time `json:"at"`
}

func recordPath(home string) string { return filepath.Join(home, "service.json") }

// readRecord returns nil where nothing was installed.
func readRecord(home string) (*record, error) {
	data, err := os.ReadFile(recordPath(home))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, failf("read what was installed: %w", err)
	}
	// What root does by it must not be what a user wrote.
	if info, err := os.Lstat(recordPath(home)); err != nil || os.Geteuid() == 0 && ownerOf(info) != 0 {
		return nil, failf("%s was written by another user. Run this as that user, without sudo", recordPath(home))
	}
	r := &record{}
	if err := json.Unmarshal(data, r); err != nil {
		return nil, failf("%s, which tells what was installed, cannot be read: %w. Remove it and install again", recordPath(home), err)
	}
	return r, nil
}

func (r *record) write(home string) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := writeFile(recordPath(home), append(data, '\n'), 0o644); err != nil {
		return failf("note what was installed: %w", err)
	}
	return nil
}

// writeFile writes a file beside its place and renames it.
func writeFile(path string, data []byte, mode fs.FileMode) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(data)
	err = errors.Join(err, tmp.Chmod(mode), tmp.Sync(), tmp.Close())
	if err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}

// service is one state folder with the service that runs its host.
type service struct {
	cfg    *config.Config
	record *record // nil where no installation of ours is there
	unit   supervise.Unit
	broken error // what is wrong with the configuration
}

// folders is load for commands that need to know only where things lie: one
// must be able to stop a host whose configuration is broken.
func (a *app) folders() (*config.Config, error) {
	cfg, err := a.load(hostFlags{})
	if err == nil {
		return cfg, nil
	}
	home := a.grammar.Home
	if home == "" {
		home = a.env("HOLDFAST_HOME")
	}
	if rest, ok := strings.CutPrefix(home, "~/"); ok {
		home = filepath.Join(a.UserHome, rest)
	}
	if home == "" {
		home = filepath.Join(a.UserHome, config.DefaultHome)
	}
	if abs, err := filepath.Abs(home); err == nil {
		home = abs
	}
	return &config.Config{Home: home, Addr: config.DefaultAddr}, err
}

// holdfastHome is the home folder of the user that an installation makes.
const holdfastHome = "/var/lib/holdfast"

// service finds the service of a state folder. A root that was not told which
// one looks where an installation by sudo puts it, too.
func (a *app) service() (_ *service, err error) {
	s := &service{}
	s.cfg, s.broken = a.folders()
	if s.record, err = readRecord(s.cfg.Home); err != nil {
		return nil, err
	}
	if s.record == nil && os.Geteuid() == 0 && a.grammar.Home == "" && a.env("HOLDFAST_HOME") == "" {
		for _, home := range a.otherHomes() {
			r, err := readRecord(home)
			if err != nil || r == nil {
				continue
			}
			a.grammar.Home = home
			s.cfg, s.broken = a.folders()
			s.record = r
			break
		}
	}
	if s.record != nil {
		if s.unit, err = supervise.ParseUnit(s.record.Unit); err != nil {
			return nil, failf("%s: %w", recordPath(s.cfg.Home), err)
		}
		return s, nil
	}
	// A service that a person made by hand.
	if h, held, err := doctor.Look(s.cfg.Home); err == nil && held && h.Unit != "" {
		if s.unit, err = supervise.ParseUnit(h.Unit); err != nil {
			return nil, failf("the host says that an unknown supervisor runs it: %w", err)
		}
		return s, nil
	}
	return s, nil
}

func (a *app) otherHomes() []string {
	var homes []string
	if name := a.env("SUDO_USER"); name != "" {
		if u, err := user.Lookup(name); err == nil {
			homes = append(homes, filepath.Join(u.HomeDir, config.DefaultHome))
		}
	}
	return append(homes, filepath.Join(holdfastHome, config.DefaultHome))
}

// installed is service for commands that need one.
func (a *app) installed() (*service, error) {
	s, err := a.service()
	if err != nil {
		return nil, err
	}
	if s.unit.Zero() {
		return nil, failf("no service is installed for the state folder %s. Install one with: holdfast service install. Another folder is named with --home", s.cfg.Home)
	}
	return s, nil
}

type serviceStartCmd struct{}

// Run has the supervisor start the host.
func (c *serviceStartCmd) Run(ctx context.Context, a *app) error {
	s, err := a.installed()
	if err != nil {
		return err
	}
	if s.broken != nil { // the host would say so, and stay down
		return s.broken
	}
	if h, held, err := doctor.Look(s.cfg.Home); err == nil && held {
		if st, err := s.unit.Status(ctx); err == nil && !s.runs(st, h.PID) {
			return failf("a host that the supervisor did not start holds the state folder already (pid %d). Stop it first: holdfast stop", h.PID)
		}
	}
	if err := s.unit.Start(ctx); err != nil {
		return failf("%w", err)
	}
	h, err := a.awaitHealthy(ctx, s, 0)
	if err != nil {
		return err
	}
	a.printf("Holdfast runs at %s (pid %d).\n", h.URL(), h.PID)
	return nil
}

type serviceStopCmd struct {
	All bool `help:"End the agents as well."`
}

// Help is shown after the flags.
func (serviceStopCmd) Help() string {
	return `The supervisor stops the host and does not start it again before the machine, or you, do. Without --all the agents are left to their keepers for ten minutes.

Examples:
  holdfast service stop
  holdfast service stop --all`
}

// Run has the supervisor stop the host.
func (c *serviceStopCmd) Run(ctx context.Context, a *app) error {
	s, err := a.installed()
	if err != nil {
		return err
	}
	if err := a.stopService(ctx, s, c.All); err != nil {
		return err
	}
	a.notef("Stopped. Start it again with: holdfast service start\n")
	return nil
}

// stopService stops the host by its supervisor. With all its agents end first,
// while the host is there to end them in order.
func (a *app) stopService(ctx context.Context, s *service, all bool) error {
	if all {
		// Without the right to stop the service, no agent is to end either.
		if _, err := s.unit.Status(ctx); err != nil {
			return failf("%w", err)
		}
		if err := a.endAgents(ctx, s.cfg); err != nil {
			a.notef("The host could not end its agents (%v); that is done without it.\n", err)
		}
	}
	if err := s.unit.Stop(ctx); err != nil {
		return failf("%w", err)
	}
	if h, held, err := doctor.Look(s.cfg.Home); err == nil && held {
		return failf("the supervisor says that the service is down, and a host still holds the state folder (pid %d): it was started by hand. Stop it with: holdfast stop", h.PID)
	}
	if all {
		return a.endLeft(ctx, s.cfg.Home)
	}
	return nil
}

// endAgents has the host end its agents and take no new ones; the host stays,
// so that its supervisor sees no end that was not its own.
func (a *app) endAgents(ctx context.Context, cfg *config.Config) (err error) {
	h, err := dial(ctx, cfg)
	if errors.Is(err, errNoHost) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	return h.call(ctx, http.MethodPost, "/control/stop", map[string]bool{"all": true, "stay": true}, nil)
}

// marked lists the living processes of keepers and agents of a state folder.
func marked(home string) ([]proc.Info, error) {
	all, err := proc.All()
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(p proc.Info) bool {
		if p.Zombie || p.PID == os.Getpid() {
			return true
		}
		env, err := proc.Environ(p.PID)
		return err != nil || !slices.ContainsFunc(env, func(kv string) bool { return strings.HasPrefix(kv, proc.MarkVar+"="+home+":") })
	}), nil
}

// endLeft ends the keepers that no host ended, and what stays of their agents.
func (a *app) endLeft(ctx context.Context, home string) error {
	left, err := marked(home)
	if err != nil || len(left) == 0 {
		return err
	}
	a.notef("Ending %d processes of agents.\n", len(left))
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	// A keeper that gets SIGTERM ends its agent in order, and then itself.
	for _, p := range left {
		_ = terminate(p.ID)
	}
	for began := time.Now(); ; {
		if left, err = marked(home); err != nil || len(left) == 0 {
			return err
		}
		if time.Since(began) > 12*time.Second {
			for _, p := range left {
				_ = kill(p.ID)
			}
		}
		if !pause(ctx, 100*time.Millisecond) {
			return failf("%d processes of agents are still there, the first is %d (%s). End them by hand", len(left), left[0].PID, oneLine(left[0].Command))
		}
	}
}

type serviceRestartCmd struct{}

// Help is shown after the flags.
func (serviceRestartCmd) Help() string {
	return `The supervisor ends the process and starts another one; agents go on with their keepers. Without a gap, in the same process: holdfast restart`
}

// Run is the supervisor's own restart.
func (c *serviceRestartCmd) Run(ctx context.Context, a *app) error {
	s, err := a.installed()
	if err != nil {
		return err
	}
	if s.broken != nil { // the host that runs is better than none
		return s.broken
	}
	old, _, _ := doctor.Look(s.cfg.Home)
	if err := s.unit.Restart(ctx); err != nil {
		return failf("%w", err)
	}
	h, err := a.awaitHealthy(ctx, s, old.PID)
	if err != nil {
		return err
	}
	a.printf("Holdfast runs at %s (pid %d).\n", h.URL(), h.PID)
	return nil
}

type serviceUninstallCmd struct {
	Yes bool `short:"y" help:"Ask nothing."`
}

// Help is shown after the flags.
func (serviceUninstallCmd) Help() string {
	return `It ends the agents, stops the host, and removes every file that the installation wrote, the copy of the program too. The state folder stays: sessions, settings, logs.

Example:
  holdfast service uninstall`
}

// Run removes what Install wrote.
func (c *serviceUninstallCmd) Run(ctx context.Context, a *app) error {
	s, err := a.installed()
	if err != nil {
		return err
	}
	if s.record == nil {
		return failf("the service %s was not made by `holdfast service install`. Stop it with `holdfast service stop`, and remove its files by hand", s.unit)
	}
	if s.unit.System && os.Geteuid() != 0 {
		return failf("this is a service of the system. Run: sudo holdfast service uninstall --home %s", s.cfg.Home)
	}
	a.printf("This ends the agents, stops the service %s and removes:\n", s.unit)
	for _, f := range s.record.Files {
		a.printf("  %s\n", f)
	}
	if s.record.Cron != "" {
		a.printf("  a line in the crontab: %s\n", s.record.Cron)
	}
	if s.record.Copied {
		a.printf("  %s\n", s.record.Exe)
	}
	a.printf("Your data stays in %s.\n", s.cfg.Home)
	if !c.Yes && !a.agree("Go on?") {
		return failf("nothing was changed")
	}
	if err := a.stopService(ctx, s, true); err != nil {
		return err
	}
	if s.record.Cron != "" {
		if err := (supervise.Cron{User: s.record.User}).Remove(ctx, s.record.Cron); err != nil {
			a.notef("The line in the crontab could not be removed (%v). Remove it by hand: %s\n", err, s.record.Cron)
		}
	}
	if err := s.unit.Uninstall(ctx, s.record.Files); err != nil {
		return failf("%w", err)
	}
	if s.record.Copied {
		if err := os.Remove(s.record.Exe); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return failf("remove the copy of the program: %w", err)
		}
	}
	if err := os.Remove(recordPath(s.cfg.Home)); err != nil {
		return failf("remove the note of the installation: %w", err)
	}
	a.printf("The service is removed. Your data is in %s; remove that folder when you want it no more.\n", s.cfg.Home)
	if s.record.Made {
		a.printf("The user %s stays, for the data is its own. Both go with: userdel -r %s\n", s.record.User, s.record.User)
	}
	return nil
}

type serviceLogsCmd struct {
	Lines  int  `short:"n" default:"100" placeholder:"N" help:"How many of the last lines to print; 100 unless told."`
	Follow bool `short:"f" help:"Go on as lines come, until Ctrl-C."`
}

// Run shows the log, and where else to look.
func (c *serviceLogsCmd) Run(ctx context.Context, a *app) error {
	s, err := a.service()
	if err != nil {
		return err
	}
	switch s.unit.Manager {
	case supervise.Systemd:
		scope := "--user -u "
		if s.unit.System {
			scope = "-u "
		}
		a.notef("What systemd says of it: journalctl %s%s\n", scope, s.unit.Name)
	case "":
	default:
		a.notef("What the runtime printed when it broke: %s\n", filepath.Join(s.cfg.Logs(), "stderr.log"))
	}
	args := []string{"logs", "--home", s.cfg.Home, "-n", strconv.Itoa(c.Lines)}
	if c.Follow {
		args = append(args, "--follow")
	}
	return a.run(ctx, args)
}

// agree asks a person; where none sits before the terminal the answer is yes.
func (a *app) agree(question string) bool {
	if !a.interactive() {
		return true
	}
	a.printf("%s [Y/n] ", question)
	var answer string
	_, _ = fmt.Fscanln(a.In, &answer)
	return answer == "" || strings.HasPrefix(strings.ToLower(answer), "y")
}

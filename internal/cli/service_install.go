package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast/internal/agent"
	"github.com/holdfast-dev/holdfast/internal/config"
	"github.com/holdfast-dev/holdfast/internal/doctor"
	"github.com/holdfast-dev/holdfast/internal/proc"
	"github.com/holdfast-dev/holdfast/internal/supervise"
)

type serviceInstallCmd struct {
	Manager             string `placeholder:"NAME" enum:"auto,launchd,systemd,runit,s6,supervisord,daemontools" default:"auto" help:"launchd, systemd, runit, s6, supervisord or daemontools; by default the one that runs here."`
	System              bool   `help:"launchd and systemd: a service of the machine, which needs nobody to be logged in. Needs root."`
	User                string `placeholder:"NAME" help:"Whose rights the host gets, where root installs."`
	Name                string `default:"holdfast" help:"Name of the service, for a second host with a state folder of its own."`
	ServicesDir         string `placeholder:"DIR" help:"Folder of the supervisor's services, where it is not the usual one."`
	SupervisorctlConfig string `name:"supervisorctl-config" placeholder:"FILE" help:"supervisord's configuration, where it is not the usual one."`
	Addr                string `placeholder:"HOST:PORT" help:"Where to listen; by default what config.toml says, or 127.0.0.1:8787."`
	Bin                 string `placeholder:"FILE" help:"Where the program goes, where it does not lie in a place that stays."`
	Print               bool   `help:"Show the files and change nothing."`
	NoStart             bool   `help:"Do not start it yet."`
	NoTimer             bool   `help:"Leave out the look from outside, once a minute, that ends a host which is stuck as a whole."`
	Yes                 bool   `short:"y" help:"Ask nothing."`
}

// Help is shown after the flags.
func (serviceInstallCmd) Help() string {
	return `It writes the supervisor's files, copies the program to a place that no upgrade deletes where it lies elsewhere, starts the host, and waits until it is healthy. Run again, it updates what has changed. docs/service.md explains each supervisor.

Examples:
  holdfast service install --print
  holdfast service install
  sudo holdfast service install --system
  holdfast service install --manager runit --services-dir ~/service`
}

// installation is one run of the command.
type installation struct {
	*serviceInstallCmd
	a      *app
	cfg    *config.Config
	old    *record
	person person
	unit   supervise.Unit
	spec   supervise.Spec
	place  placement
	files  []supervise.Change
	cron   string // the line for a crontab; "" for none
	notes  []string
}

// Run installs.
func (c *serviceInstallCmd) Run(ctx context.Context, a *app) error {
	in := &installation{serviceInstallCmd: c, a: a}
	if err := in.plan(ctx); err != nil {
		return err
	}
	if c.Print {
		return in.print()
	}
	in.show()
	if !c.Yes && !in.unchanged() && !a.agree("Go on?") {
		return failf("nothing was changed")
	}
	return in.perform(ctx)
}

var serviceName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`)

// plan decides everything and changes nothing.
func (in *installation) plan(ctx context.Context) (err error) {
	if !serviceName.MatchString(in.Name) {
		return &Error{Code: ExitUsage, Msg: fmt.Sprintf("%q is no name for a service. Use letters, digits, hyphens and dots", in.Name)}
	}
	seen, err := supervise.Find(ctx)
	if err != nil {
		return failf("look for supervisors: %w", err)
	}
	if err := in.choose(seen); err != nil {
		return err
	}
	if in.person, err = in.whose(); err != nil {
		return err
	}
	if err := in.config(); err != nil {
		return err
	}
	if in.old, err = readRecord(in.cfg.Home); err != nil {
		return err
	}
	if in.old != nil && in.old.Unit != in.unit.String() {
		if in.Manager != none || in.ServicesDir != "" || in.System || in.Name != "holdfast" {
			return failf("the state folder %s has the service %s already. Remove that one first: holdfast service uninstall", in.cfg.Home, in.old.Unit)
		}
		if in.unit, err = supervise.ParseUnit(in.old.Unit); err != nil {
			return failf("%s: %w", recordPath(in.cfg.Home), err)
		}
	}
	if err := in.alone(ctx); err != nil {
		return err
	}
	if in.place, err = in.a.place(in); err != nil {
		return err
	}
	return in.render(ctx)
}

// none is the value of a flag that was not given.
const none = "auto"

// choose finds the supervisor.
func (in *installation) choose(seen []supervise.Seen) error {
	want := supervise.Manager(in.Manager)
	if in.Manager == none {
		want = ""
	}
	if in.SupervisorctlConfig != "" && want == "" {
		want = supervise.Supervisord
	}
	if want == supervise.Supervisord && in.SupervisorctlConfig != "" {
		path, err := filepath.Abs(in.SupervisorctlConfig)
		if err != nil {
			return failf("%w", err)
		}
		dir, ext, err := supervise.Included(path)
		if err != nil && in.ServicesDir == "" {
			return failf("%w", err)
		}
		return in.take(supervise.Seen{Manager: want, Services: dir, Ext: ext, Server: path})
	}
	folder := ""
	if in.ServicesDir != "" {
		var err error
		if folder, err = filepath.Abs(in.ServicesDir); err != nil {
			return failf("%w", err)
		}
	}
	var fit []supervise.Seen
	for _, s := range seen {
		scoped := s.Manager == supervise.Launchd || s.Manager == supervise.Systemd
		switch {
		case want != "" && s.Manager != want:
		case in.System && !scoped || scoped && s.System != in.System && s.Manager == supervise.Systemd:
		case folder != "" && want == "" && !sameFolder(s.Services, folder):
		case folder != "" && !scoped && s.Manager != supervise.Supervisord && !sameFolder(s.Services, folder):
		case s.Usable != "":
		default:
			if s.Manager == supervise.Launchd {
				s.System = in.System
			}
			fit = append(fit, s)
		}
	}
	// A supervisord may include several folders, of which we know one: the
	// folder decides only where it is known.
	if folder != "" && len(fit) > 1 {
		if i := slices.IndexFunc(fit, func(s supervise.Seen) bool { return sameFolder(s.Services, folder) }); i >= 0 {
			fit = fit[i : i+1]
		}
	}
	// What the machine itself was started by comes before what somebody runs.
	if len(fit) > 0 && (fit[0].Manager == supervise.Launchd || fit[0].Manager == supervise.Systemd) {
		return in.take(fit[0])
	}
	switch {
	case len(fit) == 1:
		return in.take(fit[0])
	case len(fit) == 0 && want != "" && want != supervise.Systemd:
		// It was named: it may be about to run.
		if folder == "" {
			folder = usualFolder(want)
		}
		if folder != "" || want == supervise.Launchd {
			return in.take(supervise.Seen{Manager: want, System: in.System, Services: folder})
		}
	}
	return failf("%s", in.noChoice(want, seen, len(fit)))
}

func (in *installation) noChoice(want supervise.Manager, seen []supervise.Seen, fit int) string {
	var text strings.Builder
	switch {
	case fit > 1:
		text.WriteString("several supervisors run here. Name one with --manager, and its folder with --services-dir")
	case want != "":
		fmt.Fprintf(&text, "no %s was found that can take the service. Name its folder with --services-dir", want)
		if want == supervise.Systemd {
			text.Reset()
			text.WriteString("systemd cannot take the service")
		}
	default:
		text.WriteString("no supervisor was found that can take the service. Run one, name one with --manager, or start the host by hand: holdfast up")
	}
	if len(seen) == 0 {
		return text.String()
	}
	text.WriteString(". Seen:")
	for _, s := range seen {
		text.WriteString("\n  " + s.String())
	}
	return text.String()
}

func sameFolder(a, b string) bool {
	if a == b {
		return true
	}
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

// usualFolder is where a supervisor that does not run yet would look.
func usualFolder(m supervise.Manager) string {
	places := map[supervise.Manager][]string{
		supervise.Runit: {"/etc/service", "/var/service", "/service"}, supervise.S6: {"/run/service", "/etc/s6/service"},
		supervise.Daemontools: {"/service", "/etc/service"}, supervise.Supervisord: {"/etc/supervisor/conf.d", "/etc/supervisord.d"},
	}
	for _, p := range places[m] {
		if info, err := os.Stat(p); err == nil && info.IsDir() {
			return p
		}
	}
	return ""
}

// take makes the unit for a supervisor.
func (in *installation) take(s supervise.Seen) error {
	scoped := s.Manager == supervise.Launchd || s.Manager == supervise.Systemd
	if in.System && !scoped {
		return &Error{Code: ExitUsage, Msg: fmt.Sprintf("--system is for launchd and systemd; %s has one kind of service only. Leave it out", s.Manager)}
	}
	if in.ServicesDir != "" {
		dir, err := filepath.Abs(in.ServicesDir)
		if err != nil {
			return failf("%w", err)
		}
		s.Services = dir
	}
	in.spec.Dir, in.spec.Ext = s.Services, s.Ext
	u := supervise.Unit{Manager: s.Manager, System: s.System && scoped, Name: in.Name}
	switch s.Manager {
	case supervise.Launchd:
		u.Name = "dev.holdfast"
		if in.Name != "holdfast" {
			u.Name += "." + in.Name
		}
	case supervise.Systemd:
		u.Name += ".service"
	case supervise.Supervisord:
		u.Server = s.Server
	default:
		u.Dir = filepath.Join(s.Services, in.Name)
		in.spec.Dir = ""
	}
	in.unit = u
	return nil
}

// person is who the host runs for.
type person struct {
	name     string
	home     string
	uid, gid int
	other    bool // not who runs this command
	make     bool // does not exist yet
}

// whose decides whose rights the host gets.
func (in *installation) whose() (person, error) {
	self := person{home: in.a.UserHome, uid: os.Geteuid(), gid: os.Getegid()}
	if u, err := user.Current(); err == nil {
		self.name = u.Username
	}
	sudo := in.a.env("SUDO_USER")
	scoped := in.unit.Manager == supervise.Launchd || in.unit.Manager == supervise.Systemd
	switch {
	case os.Geteuid() != 0:
		if in.User != "" && in.User != self.name {
			return person{}, failf("only root can install a service for another user. Run it with sudo, or as %s", in.User)
		}
		if in.unit.System {
			return person{}, failf("a service of the machine needs root. Run: sudo holdfast service install --system")
		}
		return self, nil
	case scoped && !in.unit.System:
		if sudo != "" && sudo != "root" {
			return person{}, failf("with sudo this would install a service for root. Run it without sudo as %s, or install one for the machine: sudo holdfast service install --system", sudo)
		}
		if in.User != "" && in.User != self.name {
			return person{}, failf("a user's own service is installed by that user. Run it as %s, or use --system --user %s", in.User, in.User)
		}
		return self, nil
	}
	name := in.User
	if name == "" && sudo != "root" {
		name = sudo
	}
	if name == "" && in.unit.System {
		if runtime.GOOS != "linux" {
			return person{}, failf("say with --user NAME whose agents the host runs")
		}
		name = "holdfast"
	}
	if name == "" || name == self.name {
		in.notes = append(in.notes, "The host and its agents will run as root. Name another user with --user NAME.")
		return self, nil
	}
	u, err := user.Lookup(name)
	var unknown user.UnknownUserError
	if errors.As(err, &unknown) && name == "holdfast" && in.unit.System && runtime.GOOS == "linux" {
		return person{name: name, home: holdfastHome, uid: -1, gid: -1, other: true, make: true}, nil
	}
	if err != nil {
		return person{}, failf("find the user %s: %w", name, err)
	}
	p := person{name: u.Username, home: u.HomeDir, other: true}
	if p.uid, err = strconv.Atoi(u.Uid); err == nil {
		p.gid, err = strconv.Atoi(u.Gid)
	}
	if err != nil {
		return person{}, failf("find the user %s: %w", name, err)
	}
	return p, nil
}

// config loads the configuration as the service will, and keeps what only this
// shell's variables say.
func (in *installation) config() error {
	load := func(env []string, addr string) (*config.Config, error) {
		cfg, err := config.Load(config.Sources{Flags: config.Flags{Home: in.a.grammar.Home, Addr: addr}, Env: env, Home: in.person.home})
		if err != nil {
			return nil, &Error{Code: ExitNoRestart, Msg: err.Error(), Err: err}
		}
		return cfg, nil
	}
	env := in.a.Env
	if in.person.other {
		env = nil // the variables of root say nothing of another user
	}
	cfg, err := load(env, in.Addr)
	if err != nil {
		return err
	}
	in.cfg = cfg
	var bare []string
	for _, kv := range env {
		switch name, _, _ := strings.Cut(kv, "="); {
		case name == "HOLDFAST_HOME": // becomes a flag
			bare = append(bare, kv)
		case name == "HOLDFAST_ADDR", strings.HasPrefix(name, "HERMES_WEBUI_"): // so does what they say
		case name == "HOLDFAST_ALLOWED_HOSTS", name == "HOLDFAST_INSECURE_BIND", name == "HOLDFAST_LOG_LEVEL":
			in.notes = append(in.notes, fmt.Sprintf("%s is set in this shell and not in the service: put it into %s.", name, cfg.File()))
		}
	}
	without, err := load(bare, "")
	if err != nil {
		return err
	}
	if in.Addr != "" || without.Addr != cfg.Addr {
		in.spec.Addr = cfg.Addr
	}
	return nil
}

// alone refuses where a host runs that the supervisor did not start.
func (in *installation) alone(ctx context.Context) error {
	h, held, err := doctor.Look(in.cfg.Home)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !held {
		return nil
	}
	if err != nil {
		return failf("look for a host that runs: %w", err)
	}
	if h.Unit != "" && h.Unit == in.unit.String() {
		return nil
	}
	if st, err := in.unit.Status(ctx); err == nil && runsUnder(st, h.PID) {
		return nil
	}
	if in.Print {
		in.notes = append(in.notes, fmt.Sprintf("A host runs for this state folder already (pid %d); stop it before you install.", h.PID))
		return nil
	}
	how := "without a supervisor"
	if h.Unit != "" {
		how = "as the service " + h.Unit
	}
	return failf("a host runs for %s already, %s (pid %d). Stop it first: holdfast stop. Its agents go on, and the service takes them up", in.cfg.Home, how, h.PID)
}

// runsUnder tells whether the supervisor's process is the host, or the shell
// that daemontools needs above it.
func runsUnder(st supervise.State, host int) bool {
	if st.PID == 0 || host == 0 {
		return false
	}
	if st.PID == host {
		return true
	}
	info, err := proc.Lookup(host)
	return err == nil && info.Parent == st.PID
}

func (s *service) runs(st supervise.State, host int) bool { return runsUnder(st, host) }

// render makes the files and compares them with what is there.
func (in *installation) render(ctx context.Context) error {
	path := in.a.loginPath(ctx, in.person)
	// Its folder may not exist before, and is looked at only where it does.
	if dir := filepath.Dir(in.place.path); !slices.Contains(filepath.SplitList(path), dir) {
		path += string(filepath.ListSeparator) + dir
	}
	shell := in.a.env("SHELL")
	if in.person.other || shell == "" {
		shell = "/bin/sh"
	}
	in.spec.Unit, in.spec.Exe, in.spec.Home, in.spec.WorkDir, in.spec.UserHome = in.unit, in.place.path, in.cfg.Home, in.person.home, in.person.home
	in.spec.Env = []string{"PATH=" + path, "HOME=" + in.person.home, "USER=" + in.person.name, "LOGNAME=" + in.person.name, "SHELL=" + shell}
	in.spec.NoFile, in.spec.Down, in.spec.Timer = noFile, in.NoStart, !in.NoTimer
	if in.person.other {
		in.spec.User = in.person.name
	}
	files, err := supervise.Render(in.spec)
	if err != nil {
		return failf("%w", err)
	}
	if in.files, err = supervise.Compare(files); err != nil {
		return failf("%w", err)
	}
	for _, f := range in.files {
		switch {
		case f.Foreign:
			return failf("%s is there already and was not written by `holdfast service install`. Move it away, or choose another --name", f.Path)
		case f.Exists && strings.Contains(f.Text, supervise.Mark) && strings.Contains(f.Text, in.cfg.Home) && !strings.Contains(f.Old, in.cfg.Home):
			return failf("%s is the service of another state folder. Choose another name with --name", f.Path)
		}
	}
	if !in.NoTimer && in.unit.Manager != supervise.Launchd && in.unit.Manager != supervise.Systemd {
		in.cron = in.spec.CronLine()
	}
	return nil
}

// noFile is the limit of descriptors that a service gets.
const noFile = 16384

// show tells what is going to happen.
func (in *installation) show() {
	a := in.a
	a.printf("Holdfast as a service of %s", in.unit.Manager)
	if in.unit.System {
		a.printf(", of the machine")
	}
	a.printf(": %s\n", in.unit)
	for _, f := range in.files {
		state := "new"
		if f.Exists {
			state = "changed"
		}
		if f.Same() {
			state = "as it is"
		}
		a.printf("  %-9s %s\n", state, f.Path)
	}
	if in.cron != "" {
		a.printf("  crontab   %s\n", in.cron)
	}
	if in.person.make {
		a.printf("User        %s is made, with the home folder %s\n", in.person.name, in.person.home)
	} else {
		a.printf("User        %s\n", in.person.name)
	}
	a.printf("Program     %s%s\n", in.place.path, in.place.note)
	for _, kv := range in.spec.Env {
		if path, ok := strings.CutPrefix(kv, "PATH="); ok {
			a.printf("PATH        %s\n", path)
		}
	}
	a.printf("Data        %s\n", in.cfg.Home)
	for _, n := range in.notes {
		a.printf("Note        %s\n", n)
	}
}

// print shows the files whole.
func (in *installation) print() error {
	for i, f := range in.files {
		if i > 0 {
			in.a.printf("\n")
		}
		in.a.printf("# ---- %s (mode %04o)\n%s", f.Path, f.Mode, f.Text)
	}
	if in.cron != "" {
		in.a.printf("\n# ---- a line in the crontab of %s\n%s\n", in.person.name, in.cron)
	}
	in.a.notef("Program: %s%s\n", in.place.path, in.place.note)
	for _, n := range in.notes {
		in.a.notef("%s\n", n)
	}
	in.a.notef("Nothing was changed.\n")
	return nil
}

func (in *installation) unchanged() bool {
	return in.old != nil && in.place.from == "" && !slices.ContainsFunc(in.files, func(f supervise.Change) bool { return !f.Same() })
}

// perform does it.
func (in *installation) perform(ctx context.Context) error {
	a := in.a
	if err := in.prepare(ctx); err != nil {
		return err
	}
	same := in.unchanged()
	r := &record{Unit: in.unit.String(), Exe: in.place.path, User: in.spec.User, Cron: in.cron, Version: a.Version, At: time.Now().UTC()}
	r.Copied = in.place.from != "" && in.place.fresh || in.old != nil && in.old.Copied && in.old.Exe == in.place.path
	r.Made = in.person.make || in.old != nil && in.old.Made
	for _, f := range in.files {
		r.Files = append(r.Files, f.Path)
	}
	var dropped []string
	if in.old != nil {
		for _, path := range in.old.Files {
			if !slices.Contains(r.Files, path) && filepath.Base(path) != "down" {
				dropped = append(dropped, path)
			}
		}
	}
	// The note comes first: what a broken installation leaves can be removed.
	if err := r.write(in.cfg.Home); err != nil {
		return err
	}
	if err := in.place.put(); err != nil {
		return failf("%w", err)
	}
	s := &service{cfg: in.cfg, record: r, unit: in.unit}
	before, _, _ := doctor.Look(in.cfg.Home)
	if err := in.unit.Drop(ctx, dropped); err != nil {
		return failf("%w", err)
	}
	if err := in.unit.Install(ctx, in.files, !in.NoStart); err != nil {
		return failf("%w. What was written is removed by: holdfast service uninstall", err)
	}
	if !in.crontab(ctx) {
		r.Cron = ""
		if err := r.write(in.cfg.Home); err != nil {
			return err
		}
	}
	in.linger(ctx)
	if in.NoStart {
		a.printf("Installed, and not started. Start it with: holdfast service start\n")
		return nil
	}
	old := 0
	if st, err := in.unit.Status(ctx); err == nil && runsUnder(st, before.PID) && !same {
		old = before.PID
		a.printf("Something changed, so the host is started again.\n")
		if err := in.unit.Restart(ctx); err != nil {
			return failf("%w", err)
		}
	} else if err := in.unit.Start(ctx); err != nil {
		return failf("%w", err)
	}
	h, err := a.awaitHealthy(ctx, s, old)
	if err != nil {
		return err
	}
	a.printf("\nHoldfast runs at %s (pid %d).\n", h.URL(), h.PID)
	a.printf("Its log: %s\n", in.cfg.LogFile())
	a.printf("Log a browser in with: %s%s link%s\n", in.asPerson(), in.command(), in.homeFlag())
	return nil
}

// command is how the program is called from a shell.
func (in *installation) command() string {
	if found, err := exec.LookPath("holdfast"); err == nil && sameFile(found, in.place.path) {
		return "holdfast"
	}
	return in.place.path
}

func (in *installation) asPerson() string {
	if in.person.other {
		return "sudo -u " + in.person.name + " "
	}
	return ""
}

func (in *installation) homeFlag() string {
	if in.cfg.Home == filepath.Join(in.person.home, config.DefaultHome) {
		return ""
	}
	return " --home " + in.cfg.Home
}

// prepare makes the user, the state folder and the folder of the logs: a
// supervisor opens files there before the host does.
func (in *installation) prepare(ctx context.Context) error {
	if in.person.make {
		ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		out, err := exec.CommandContext(ctx, "useradd", "--system", "--create-home", "--home-dir", in.person.home, "--shell", "/bin/sh", in.person.name).CombinedOutput()
		if err != nil {
			return failf("make the user %s: %w: %s. Make it by hand, or name another with --user", in.person.name, err, strings.TrimSpace(string(out)))
		}
		u, err := user.Lookup(in.person.name)
		if err != nil {
			return failf("find the user that was made: %w", err)
		}
		in.person.uid, _ = strconv.Atoi(u.Uid)
		in.person.gid, _ = strconv.Atoi(u.Gid)
	}
	if !in.person.other {
		if err := config.EnsureHome(in.cfg.Home); err != nil {
			return failf("%w", err)
		}
	}
	for _, dir := range []string{in.cfg.Home, in.cfg.Logs()} {
		err := os.Mkdir(dir, 0o700)
		switch {
		case err == nil && in.person.other:
			err = os.Lchown(dir, in.person.uid, in.person.gid)
		case errors.Is(err, fs.ErrExist):
			err = nil
			if info, serr := os.Lstat(dir); serr != nil || !info.IsDir() || in.person.other && ownerOf(info) != in.person.uid {
				err = fmt.Errorf("it is no folder of the user %s", in.person.name)
			}
		}
		if err != nil {
			return failf("make the folder %s: %w", dir, err)
		}
	}
	return nil
}

// crontab puts the second line in where the supervisor has no timer, and tells
// whether it stands there now.
func (in *installation) crontab(ctx context.Context) bool {
	tab := supervise.Cron{User: in.spec.User}
	if in.cron == "" {
		if in.old != nil && in.old.Cron != "" {
			if err := tab.Remove(ctx, in.old.Cron); err != nil {
				in.a.notef("The line of an earlier installation could not be removed from the crontab: %v\n", err)
			}
		}
		return false
	}
	if _, err := exec.LookPath("crontab"); err != nil {
		in.a.notef("There is no crontab here. Have something run this once a minute, and a host that is stuck as a whole is ended and started again:\n  %s\n", in.cron)
		return false
	}
	if !tab.Has(ctx, in.cron) {
		if err := tab.Add(ctx, in.cron); err != nil {
			in.a.notef("The line could not be put into the crontab (%v). Put it in by hand: crontab -e\n  %s\n", err, in.cron)
			return false
		}
	}
	if runtime.GOOS == "linux" && !cronRuns() {
		in.a.notef("The look from outside is in the crontab, and no cron seems to run here: start it, or a host that is stuck as a whole stays so.\n")
	}
	return true
}

// cronRuns tells whether something reads crontabs.
func cronRuns() bool {
	all, err := proc.All()
	if err != nil {
		return true // not known
	}
	return slices.ContainsFunc(all, func(p proc.Info) bool {
		return slices.Contains([]string{"cron", "crond", "fcron", "dcron", "systemd-cron"}, p.Command)
	})
}

// linger has a user's own systemd run without a login.
func (in *installation) linger(ctx context.Context) {
	if in.unit.Manager != supervise.Systemd || in.unit.System {
		return
	}
	if _, err := os.Stat("/var/lib/systemd/linger/" + in.person.name); err == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if out, err := exec.CommandContext(ctx, "loginctl", "enable-linger", in.person.name).CombinedOutput(); err != nil {
		in.a.notef("systemd ends your services, agents too, when you log out, and starts them when you log in: lingering could not be enabled (%s). Run: sudo loginctl enable-linger %s\n",
			oneLine(strings.TrimSpace(string(out)+" "+err.Error())), in.person.name)
		return
	}
	in.a.printf("The service runs without a login from now on (loginctl enable-linger).\n")
}

// loginPath is PATH as the login shell of the person has it.
func (a *app) loginPath(ctx context.Context, p person) string {
	usual := "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
	if p.home != "" {
		usual = filepath.Join(p.home, ".local", "bin") + ":" + usual
	}
	if p.make {
		return usual
	}
	if p.other {
		// Its profile must not run with our rights.
		const mark = "holdfast-path:"
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		cmd := exec.CommandContext(ctx, "su", "-", p.name, "-c", `printf '\n`+mark+`%s\n' "$PATH"`)
		cmd.SysProcAttr = ownSession()
		cmd.WaitDelay = time.Second
		out, _ := cmd.Output()
		for line := range strings.Lines(string(out)) {
			if path, ok := strings.CutPrefix(strings.TrimSpace(line), mark); ok && path != "" {
				return path
			}
		}
		return usual
	}
	cat := agent.New(agent.Options{Home: a.UserHome, Env: a.Env})
	defer func() { _ = cat.Close() }() // its shell has answered, or will not
	for _, kv := range cat.LoginEnv(ctx) {
		if path, ok := strings.CutPrefix(kv, "PATH="); ok && path != "" {
			return absolute(path)
		}
	}
	return usual
}

// absolute leaves out what means another folder for a service.
func absolute(path string) string {
	var kept []string
	for _, dir := range filepath.SplitList(path) {
		if filepath.IsAbs(dir) && !slices.Contains(kept, dir) {
			kept = append(kept, dir)
		}
	}
	return strings.Join(kept, string(filepath.ListSeparator))
}

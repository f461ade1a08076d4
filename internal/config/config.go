// Package config turns flags, the environment and <home>/config.toml into one
// validated Config, and says where everything in the state folder lies.
//
// It reads and checks, and makes the state folder itself; it opens no
// database, listener or agent. Every error it returns names the thing that is
// wrong, where it stands, and what to do.
package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The defaults.
const (
	DefaultAddr = "127.0.0.1:8787"
	// DefaultHome lies in the user's home folder.
	DefaultHome = ".holdfast"
)

// Config is the whole configuration of one host. Its fields do not change
// after Load.
type Config struct {
	// Addr is where the host listens, as host:port; port 0 takes a free one.
	Addr string
	// Home is the state folder, absolute.
	Home string
	// AllowedHosts are the names under which browsers may reach the host beside
	// its own address; "*.example.net" stands for every name below.
	AllowedHosts []string
	// InsecureBind permits an address other than loopback without TLS. A
	// password is needed as well, which only the store knows about.
	InsecureBind bool
	// LogLevel is debug, info, warn or error.
	LogLevel string
	// KeepAwake says when the machine is kept from sleeping by itself while a
	// run is live.
	KeepAwake KeepAwake
	// Agents are the configured agents by id ([a-z0-9-]+).
	Agents map[string]Agent
	Limits Limits
	Leases Leases
	TLS    TLS
	HTTP   HTTP
	// Notes are things worth telling a person once at start: settings that
	// were seen and not used. They are no errors.
	Notes []string
}

// KeepAwake is one of the values below.
type KeepAwake string

// When the machine is kept awake.
const (
	AwakeOnMains KeepAwake = "mains" // the default: a battery is left alone
	AwakeAlways  KeepAwake = "always"
	AwakeNever   KeepAwake = "never"
)

// Agent is one configured agent. It is run for a session only; to look at it,
// only where a person asks for that (`holdfast doctor`).
type Agent struct {
	Name    string            `toml:"name"`
	Command []string          `toml:"command"`
	Env     map[string]string `toml:"env"`
	// PermissionDeadline is the agent's own limit on an answer to its
	// questions; 0 where it waits for ever.
	PermissionDeadline Duration `toml:"permission_deadline"`
}

// Limits bound what one host takes on.
type Limits struct {
	LiveAgents      int  `toml:"live_agents"`      // agents that run at the same time
	SpoolBytes      Size `toml:"spool_bytes"`      // unread output of one agent on disk
	MessageBytes    Size `toml:"message_bytes"`    // text of one message
	AttachmentBytes Size `toml:"attachment_bytes"` // one uploaded file
	Connections     int  `toml:"connections"`      // open HTTP connections
	Requests        int  `toml:"requests"`         // API requests at the same time
	Streams         int  `toml:"streams"`          // event streams at the same time
}

// Leases say how long agents live without a host.
type Leases struct {
	Run   Duration `toml:"run"`   // after a crash, while a run is under way
	Idle  Duration `toml:"idle"`  // after a crash, without a run
	Asked Duration `toml:"asked"` // after an orderly stop
}

// Flags are the values of the command line; a zero value means "not given".
type Flags struct {
	Addr         string
	Home         string
	AllowedHosts []string
	InsecureBind bool
	LogLevel     string

	TLSCert, TLSKey     string
	TrustedProxies      []string
	BasePath, PublicURL string
}

// Sources are where a configuration comes from, strongest first.
type Sources struct {
	Flags Flags
	// Env is an environment as os.Environ gives it.
	Env []string
	// Home is the user's home folder, for the default and for a leading "~/".
	Home string
}

// Error is a configuration that a person has to change. Text is for people.
type Error struct {
	Text string
	Err  error
}

func (e *Error) Error() string { return e.Text }
func (e *Error) Unwrap() error { return e.Err }

func errorf(format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	return &Error{Text: err.Error(), Err: errors.Unwrap(err)}
}

// file is config.toml as it is written.
type file struct {
	Addr         string           `toml:"addr"`
	AllowedHosts []string         `toml:"allowed_hosts"`
	InsecureBind bool             `toml:"insecure_bind"`
	LogLevel     string           `toml:"log_level"`
	KeepAwake    KeepAwake        `toml:"keep_awake"`
	Agents       map[string]Agent `toml:"agents"`
	Limits       Limits           `toml:"limits"`
	Leases       Leases           `toml:"leases"`
	TLS          TLS              `toml:"tls"`
	HTTP         httpFile         `toml:"http"`
}

func defaults() file {
	return file{
		LogLevel:  "info",
		KeepAwake: AwakeOnMains,
		Limits: Limits{
			LiveAgents:      8,
			SpoolBytes:      1 << 30,
			MessageBytes:    1 << 20,
			AttachmentBytes: 20 << 20,
			Connections:     400,
			Requests:        64,
			Streams:         256,
		},
		Leases: Leases{
			Run:   Duration(7 * 24 * time.Hour),
			Idle:  Duration(time.Hour),
			Asked: Duration(10 * time.Minute),
		},
	}
}

// Load makes the configuration: flags, then HOLDFAST_*, then config.toml, then
// HERMES_WEBUI_HOST and _PORT, then the defaults. It reads config.toml of the
// state folder if there is one and touches nothing. Its errors are *Error.
func Load(src Sources) (*Config, error) {
	env := environment(src.Env)
	home, err := homeOf(src, env)
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(home); err == nil && !info.IsDir() {
		return nil, errorf("the state folder %s is a file. Choose a folder with --home DIR", home)
	}
	path := filepath.Join(home, "config.toml")
	f := defaults()
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, errorf("cannot read %s: %w. Make it readable for this user, or remove it", path, err)
	default:
		if err := decode(path, data, &f); err != nil {
			return nil, err
		}
	}

	cfg := &Config{
		Home: home, KeepAwake: f.KeepAwake, Agents: f.Agents, Limits: f.Limits, Leases: f.Leases,
	}
	if err := cfg.setAddr(src.Flags.Addr, env, path, f.Addr); err != nil {
		return nil, err
	}
	if err := cfg.setHosts(src.Flags.AllowedHosts, env, path, f.AllowedHosts); err != nil {
		return nil, err
	}
	if err := cfg.setInsecureBind(src.Flags.InsecureBind, env, f.InsecureBind); err != nil {
		return nil, err
	}
	if err := cfg.setLogLevel(src.Flags.LogLevel, env, path, f.LogLevel); err != nil {
		return nil, err
	}
	if err := cfg.setTLS(src, env, path, f.TLS); err != nil {
		return nil, err
	}
	if err := cfg.setHTTP(src.Flags, env, path, f.HTTP); err != nil {
		return nil, err
	}
	if err := cfg.check(path); err != nil {
		return nil, err
	}
	cfg.Notes = notes(env)
	return cfg, nil
}

// Home finds the state folder alone: a host that runs can be asked and stopped
// also while its config.toml cannot be read.
func Home(src Sources) (string, error) { return homeOf(src, environment(src.Env)) }

// homeOf finds the state folder.
func homeOf(src Sources, env map[string]string) (string, error) {
	from, home := "--home", src.Flags.Home
	if home == "" {
		from, home = "HOLDFAST_HOME", env["HOLDFAST_HOME"]
	}
	if home == "" {
		if src.Home == "" {
			return "", errorf("the user's home folder is not known, so there is no place for the state. Set HOME, or give --home DIR")
		}
		home = filepath.Join(src.Home, DefaultHome)
	}
	if rest, ok := strings.CutPrefix(home, "~/"); ok && src.Home != "" {
		home = filepath.Join(src.Home, rest)
	}
	abs, err := filepath.Abs(home)
	if err != nil {
		return "", errorf("cannot make %s=%s absolute: %w. Give an absolute path", from, home, err)
	}
	return abs, nil
}

func (c *Config) setAddr(flag string, env map[string]string, path, inFile string) error {
	from, addr := "--addr", flag
	if addr == "" {
		from, addr = "HOLDFAST_ADDR", env["HOLDFAST_ADDR"]
	}
	if addr == "" {
		from, addr = "addr in "+path, inFile
	}
	if addr == "" {
		host, port := env["HERMES_WEBUI_HOST"], env["HERMES_WEBUI_PORT"]
		from, addr = "HERMES_WEBUI_HOST and HERMES_WEBUI_PORT", DefaultAddr
		if host != "" || port != "" {
			defHost, defPort, _ := net.SplitHostPort(DefaultAddr)
			if host == "" {
				host = defHost
			}
			if port == "" {
				port = defPort
			}
			addr = net.JoinHostPort(strings.Trim(host, "[]"), port)
		}
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return errorf("%s is %q, which is no address (%w). Write HOST:PORT, for example %s", from, addr, err, DefaultAddr)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return errorf("%s is %q: the port must be a number from 0 (any free port) to 65535", from, addr)
	}
	if strings.ContainsAny(host, "/ \t@") {
		return errorf("%s is %q: %q is no host. Write a name or an IP address without scheme or path, for example %s", from, addr, host, DefaultAddr)
	}
	c.Addr = addr
	return nil
}

// Loopback tells whether Addr can be reached from this machine only.
func (c *Config) Loopback() bool {
	host, _, err := net.SplitHostPort(c.Addr)
	if err != nil {
		return false
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

func (c *Config) setHosts(flag []string, env map[string]string, path string, inFile []string) error {
	from, hosts := "--allowed-hosts", flag
	if len(hosts) == 0 && env["HOLDFAST_ALLOWED_HOSTS"] != "" {
		from, hosts = "HOLDFAST_ALLOWED_HOSTS", strings.Split(env["HOLDFAST_ALLOWED_HOSTS"], ",")
	}
	if len(hosts) == 0 {
		from, hosts = "allowed_hosts in "+path, inFile
	}
	for _, h := range hosts {
		h = strings.ToLower(strings.TrimSpace(h))
		if h == "" {
			continue
		}
		if strings.ContainsAny(strings.TrimPrefix(h, "*."), "/@*? ") {
			return errorf("%s holds %q, which is no host name. Write the name alone, without scheme and path, for example mini.tailnet.ts.net or *.tailnet.ts.net", from, h)
		}
		c.AllowedHosts = append(c.AllowedHosts, h)
	}
	return nil
}

func (c *Config) setInsecureBind(flag bool, env map[string]string, inFile bool) error {
	c.InsecureBind = flag || inFile
	v, ok := env["HOLDFAST_INSECURE_BIND"]
	if flag || !ok || v == "" {
		return nil
	}
	b, err := strconv.ParseBool(v)
	if err != nil {
		return errorf("HOLDFAST_INSECURE_BIND is %q; write true or false", v)
	}
	c.InsecureBind = b
	return nil
}

var logLevels = []string{"debug", "info", "warn", "error"}

func (c *Config) setLogLevel(flag string, env map[string]string, path, inFile string) error {
	from, level := "--log-level", flag
	if level == "" {
		from, level = "HOLDFAST_LOG_LEVEL", env["HOLDFAST_LOG_LEVEL"]
	}
	if level == "" {
		from, level = "log_level in "+path, inFile
	}
	level = strings.ToLower(level)
	if !slices.Contains(logLevels, level) {
		return errorf("%s is %q; write one of %s", from, level, strings.Join(logLevels, ", "))
	}
	c.LogLevel = level
	return nil
}

func environment(environ []string) map[string]string {
	env := map[string]string{}
	for _, kv := range environ {
		if k, v, ok := strings.Cut(kv, "="); ok && k != "" {
			env[k] = v
		}
	}
	return env
}

// ours are the variables that Holdfast reads or sets for its own children.
var ours = []string{
	"HOLDFAST_HOME", "HOLDFAST_ADDR", "HOLDFAST_ALLOWED_HOSTS", "HOLDFAST_INSECURE_BIND",
	"HOLDFAST_LOG_LEVEL", "HOLDFAST_TLS_CERT", "HOLDFAST_TLS_KEY", "HOLDFAST_TRUSTED_PROXIES", "HOLDFAST_BASE_PATH", "HOLDFAST_PUBLIC_URL",
	"HOLDFAST_FAILPOINT", "HOLDFAST_MARK", "HOLDFAST_FOREGROUND", "HOLDFAST_HANDOFF",
}

// notes tells of variables that look as if they were meant for us and are not
// used.
func notes(env map[string]string) []string {
	var out []string
	for _, k := range sortedKeys(env) {
		switch {
		case strings.HasPrefix(k, "HOLDFAST_") && !slices.Contains(ours, k):
			if near := nearest(k, ours); near != "" {
				out = append(out, fmt.Sprintf("the environment sets %s, which Holdfast does not know; did you mean %s?", k, near))
			}
		case k == "HERMES_WEBUI_PASSWORD":
			out = append(out, "HERMES_WEBUI_PASSWORD is set but not used; set a password with: holdfast password set; one that the old page had in its settings is taken over by: holdfast password import")
		case k == "HERMES_WEBUI_ALLOWED_ORIGINS":
			out = append(out, "HERMES_WEBUI_ALLOWED_ORIGINS is set but not used; name the hosts in allowed_hosts of config.toml")
		}
	}
	return out
}

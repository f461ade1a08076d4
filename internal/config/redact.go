package config

import (
	"log/slog"
	"regexp"
	"slices"
)

const redacted = "[redacted]"

var secretArg = regexp.MustCompile(`(?i)^(-{0,2}[a-z0-9_-]*(?:key|token|secret|password|passwd)[a-z0-9_-]*)(=.*)?$`)

// Redacted returns a copy that may be printed: the values of agents'
// environments, and arguments that look like secrets, are replaced.
func (c *Config) Redacted() *Config {
	out := *c
	out.Agents = make(map[string]Agent, len(c.Agents))
	for id, a := range c.Agents {
		a.Command = redactArgs(a.Command)
		env := make(map[string]string, len(a.Env))
		for k := range a.Env {
			env[k] = redacted
		}
		a.Env = env
		out.Agents[id] = a
	}
	return &out
}

func redactArgs(args []string) []string {
	out := slices.Clone(args)
	for i := 1; i < len(out); i++ {
		m := secretArg.FindStringSubmatch(out[i])
		switch {
		case m == nil:
		case m[2] != "":
			out[i] = m[1] + "=" + redacted
		case i+1 < len(out) && out[i][0] == '-':
			out[i+1] = redacted
			i++
		}
	}
	return out
}

// LogValue logs the configuration without its secrets.
func (c *Config) LogValue() slog.Value {
	r := c.Redacted()
	return slog.GroupValue(
		slog.String("addr", r.Addr),
		slog.String("home", r.Home),
		slog.Any("allowed_hosts", r.AllowedHosts),
		slog.Bool("insecure_bind", r.InsecureBind),
		slog.String("log_level", r.LogLevel),
		slog.Any("agents", sortedKeys(r.Agents)),
		slog.Int("live_agents", r.Limits.LiveAgents),
	)
}

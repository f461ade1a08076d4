// Package supervise knows the programs that start a host again when it ends:
// launchd, systemd, runit, s6, supervisord and daemontools. It tells which one
// started this process, writes the files that make it start one, and asks it
// to start and stop.
//
// It must not know what the host does: the host's exit codes are its whole
// contract with a supervisor (docs/service.md).
package supervise

import (
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
)

// Manager is a kind of supervisor.
type Manager string

// The supervisors that Holdfast knows.
const (
	Launchd     Manager = "launchd"
	Systemd     Manager = "systemd"
	Runit       Manager = "runit"
	S6          Manager = "s6"
	Supervisord Manager = "supervisord"
	Daemontools Manager = "daemontools"
)

// Managers lists them, those first that more people have.
var Managers = []Manager{Launchd, Systemd, Runit, S6, Supervisord, Daemontools}

// folders tells whether the manager knows a service by a folder.
func (m Manager) folders() bool { return m == Runit || m == S6 || m == Daemontools }

// scoped tells whether the manager exists once for the system and once for
// each user.
func (m Manager) scoped() bool { return m == Launchd || m == Systemd }

// Unit is one service of one supervisor.
type Unit struct {
	Manager Manager
	System  bool   // launchd and systemd: the system's, not the user's
	Name    string // label (launchd), unit (systemd), [group:]process (supervisord), base name of Dir
	Dir     string // runit, s6, daemontools: the service folder, absolute
	Server  string // supervisord: where supervisorctl finds it, such as unix:///run/supervisor.sock
}

// Zero tells whether the Unit names no service.
func (u Unit) Zero() bool { return u.Manager == "" }

// String returns the form that ParseUnit reads: systemd:user:holdfast.service,
// launchd:system:dev.holdfast, runit:/etc/service/holdfast,
// supervisord:holdfast?server=unix:///run/supervisor.sock.
func (u Unit) String() string {
	switch {
	case u.Zero():
		return ""
	case u.Manager.folders():
		return string(u.Manager) + ":" + u.Dir
	case u.Manager.scoped():
		scope := "user"
		if u.System {
			scope = "system"
		}
		return string(u.Manager) + ":" + scope + ":" + u.Name
	case u.Server != "":
		return string(u.Manager) + ":" + u.Name + "?server=" + url.QueryEscape(u.Server)
	default:
		return string(u.Manager) + ":" + u.Name
	}
}

// ParseUnit reads what String wrote.
func ParseUnit(text string) (Unit, error) {
	kind, rest, ok := strings.Cut(text, ":")
	u := Unit{Manager: Manager(kind)}
	bad := fmt.Errorf("%q names no service; write for example systemd:user:holdfast.service or runit:/etc/service/holdfast", text)
	if !ok || rest == "" {
		return Unit{}, bad
	}
	switch {
	case u.Manager.folders():
		if !filepath.IsAbs(rest) {
			return Unit{}, bad
		}
		u.Dir, u.Name = filepath.Clean(rest), filepath.Base(rest)
	case u.Manager.scoped():
		scope, name, ok := strings.Cut(rest, ":")
		if !ok || name == "" || scope != "user" && scope != "system" {
			return Unit{}, bad
		}
		u.System, u.Name = scope == "system", name
	case u.Manager == Supervisord:
		name, query, _ := strings.Cut(rest, "?server=")
		server, err := url.QueryUnescape(query)
		if err != nil || name == "" {
			return Unit{}, bad
		}
		u.Name, u.Server = name, server
	default:
		return Unit{}, bad
	}
	return u, nil
}

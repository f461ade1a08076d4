package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast/internal/doctor"
	"github.com/holdfast-dev/holdfast/internal/proc"
	"github.com/holdfast-dev/holdfast/internal/supervise"
)

// taken says for a person who holds the address, and what to do about it.
func taken(ctx context.Context, addr string) string {
	const other = "choose another address with --addr."
	t, known := whoHas(addr)
	switch {
	case !known:
		return fmt.Sprintf("The address %s is taken by another program. End that program, or %s", addr, other)
	case t.PID == 0:
		return fmt.Sprintf("The address %s is taken by a program of another user (%s). Have that user, or root, end it, or %s", addr, userName(t.UID), other)
	}
	what := fmt.Sprintf("The address %s is taken by process %d (%s)", addr, t.PID, commandLine(t.Holder))
	if !t.Since.IsZero() {
		what += ", since " + t.Since.Local().Format("2006-01-02 15:04:05")
	}
	kind, remedy := t.judge(ctx)
	return fmt.Sprintf("%s%s. %s, or %s", what, kind, remedy, other)
}

// tenant is who has an address.
type tenant struct{ proc.Holder }

// whoHas finds the oldest process that listens where addr would: the same
// address, or one of the two stands for all.
func whoHas(addr string) (tenant, bool) {
	host, portText, err := net.SplitHostPort(addr)
	if err != nil {
		return tenant{}, false
	}
	port, err := strconv.Atoi(portText)
	if err != nil {
		return tenant{}, false
	}
	holders, err := proc.Listeners(port)
	if err != nil {
		return tenant{}, false
	}
	holders = slices.DeleteFunc(holders, func(h proc.Holder) bool { return !conflict(host, h.Address) })
	if len(holders) == 0 {
		return tenant{}, false
	}
	// Children may have the socket as well; who opened it is older. One that is
	// not ours to see comes last.
	slices.SortStableFunc(holders, func(a, b proc.Holder) int {
		if (a.PID == 0) != (b.PID == 0) {
			return b.PID - a.PID
		}
		return a.Since.Compare(b.Since)
	})
	return tenant{holders[0]}, true
}

func conflict(host, held string) bool {
	at, err := netip.ParseAddrPort(held)
	if err != nil {
		return true
	}
	want, err := netip.ParseAddr(host)
	if err != nil {
		return true // a name: it cannot be told
	}
	return at.Addr().IsUnspecified() || want.IsUnspecified() || at.Addr().Unmap() == want.Unmap()
}

// judge tells what kind of program it is, and the remedy for that kind.
func (t tenant) judge(ctx context.Context) (kind, remedy string) {
	end := fmt.Sprintf("End it (kill %d)", t.PID)
	var unit supervise.Unit
	if self, err := supervise.LookAt(t.PID); err == nil {
		unit = supervise.Detect(self).Unit
	}
	if stop := stopCommand(unit); stop != "" {
		end = fmt.Sprintf("It is a service of %s, which would start it again: stop it there first (%s)", unit.Manager, stop)
	}
	health, version := t.health(ctx)
	answers := "it does not answer"
	if health != "" {
		answers = "it says that it is " + health
	}
	switch {
	case t.isHoldfast():
		home := t.stateFolder()
		kind, end = fmt.Sprintf(": another Holdfast; %s", answers), "Use that one, stop it (holdfast stop"
		if version != "" {
			kind = fmt.Sprintf(": another Holdfast, version %s; %s", version, answers)
		}
		if home != "" {
			end += " --home " + home
		}
		return kind, end + ")"
	case t.isHermes():
		return fmt.Sprintf(": a Hermes WebUI; %s", answers), end + hermesJob(unit)
	case health != "":
		return fmt.Sprintf("; it answers /health as a Hermes WebUI does (%s)", health), end
	}
	return "", end
}

// hermesJob names the job that Hermes WebUI's own documentation makes on macOS,
// where the process does not show its job.
func hermesJob(unit supervise.Unit) string {
	if runtime.GOOS != "darwin" || !unit.Zero() {
		return ""
	}
	return fmt.Sprintf(". If launchd starts it again, unload its job first: launchctl bootout gui/%d/com.parantoux.hermes-webui", os.Getuid())
}

// stopCommand is how a person stops a service of another program.
func stopCommand(u supervise.Unit) string {
	if u.Name == "" && u.Dir == "" {
		return ""
	}
	switch u.Manager {
	case supervise.Systemd:
		if u.System {
			return "sudo systemctl stop " + u.Name
		}
		return "systemctl --user stop " + u.Name
	case supervise.Launchd:
		if u.System {
			return "sudo launchctl bootout system/" + u.Name
		}
		return fmt.Sprintf("launchctl bootout gui/%d/%s", os.Getuid(), u.Name)
	case supervise.Runit:
		return "sv down " + u.Dir
	case supervise.S6:
		return "s6-svc -d " + u.Dir
	case supervise.Daemontools:
		return "svc -d " + u.Dir
	case supervise.Supervisord:
		return "supervisorctl stop " + u.Name
	}
	return ""
}

// health asks the program as both kinds of host answer: its status, and its
// version where it tells one. Only words of ours are handed on.
func (t tenant) health(ctx context.Context) (status, version string) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	host, port, err := net.SplitHostPort(t.Address)
	if err != nil {
		return "", ""
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsUnspecified() {
		host = "127.0.0.1"
		if ip.Is6() {
			host = "::1"
		}
	}
	var said struct{ Status, Version string }
	resp, err := askHealth(ctx, "http://"+net.JoinHostPort(host, port))
	if err == nil && resp.StatusCode == http.StatusBadRequest { // as one that speaks TLS answers
		resp.Body.Close()
		resp, err = askHealth(ctx, "https://"+net.JoinHostPort(host, port))
	}
	if err != nil {
		return "", ""
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&said); err != nil {
		return "", ""
	}
	if !slices.Contains([]string{"ok", "degraded", "failing"}, said.Status) {
		return "", ""
	}
	return said.Status, clean(said.Version, 40)
}

func askHealth(ctx context.Context, base string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/health", nil)
	if err != nil {
		return nil, err
	}
	return doctor.Client().Do(req)
}

// isHoldfast goes by the command line: both kinds answer alike.
func (t tenant) isHoldfast() bool {
	return len(t.Args) > 0 && strings.HasPrefix(filepath.Base(t.Args[0]), "holdfast") || t.Command == "holdfast"
}

// isHermes tells Hermes WebUI by its checkout, which is its working folder or
// part of its command line.
func (t tenant) isHermes() bool {
	cwd, _ := proc.Cwd(t.PID)
	for _, text := range append([]string{cwd}, t.Args...) {
		text = strings.ToLower(text)
		if strings.Contains(text, "hermes-webui") || strings.Contains(text, "hermes_webui") {
			return true
		}
	}
	env, err := proc.Environ(t.PID)
	return err == nil && slices.ContainsFunc(env, func(kv string) bool { return strings.HasPrefix(kv, "HERMES_WEBUI_") }) &&
		slices.ContainsFunc(t.Args, func(a string) bool { return filepath.Base(a) == "server.py" })
}

// stateFolder is the folder of another Holdfast, where it is not the usual one.
func (t tenant) stateFolder() string {
	for i, a := range t.Args {
		if v, ok := strings.CutPrefix(a, "--home="); ok {
			return clean(v, 200)
		}
		if a == "--home" && i+1 < len(t.Args) {
			return clean(t.Args[i+1], 200)
		}
	}
	env, err := proc.Environ(t.PID)
	if err != nil && !errors.Is(err, proc.ErrGone) {
		return ""
	}
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, "HOLDFAST_HOME="); ok {
			return clean(v, 200)
		}
	}
	return ""
}

func commandLine(h proc.Holder) string {
	if len(h.Args) == 0 {
		return clean(h.Command, 80)
	}
	return clean(strings.Join(h.Args, " "), 120)
}

// clean makes foreign text fit for one line of a terminal.
func clean(s string, most int) string {
	s = strings.ToValidUTF8(strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, s), "?")
	if runes := []rune(s); len(runes) > most {
		s = string(runes[:most]) + "…"
	}
	return s
}

func userName(uid int) string {
	if uid < 0 {
		return "unknown"
	}
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return u.Username
	}
	return "uid " + strconv.Itoa(uid)
}

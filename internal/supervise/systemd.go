package supervise

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

func renderSystemd(s Spec) ([]File, error) {
	if s.Dir == "" {
		s.Dir = systemdDir(s.Unit.System, s.UserHome)
	}
	if !filepath.IsAbs(s.Dir) {
		return nil, fmt.Errorf("the folder of the units needs an absolute path, not %q", s.Dir)
	}
	names := map[string]string{s.Unit.Name: "systemd.service.tmpl"}
	order := []string{s.Unit.Name}
	if s.Timer {
		doctor := systemdBase(s.Unit.Name) + "-doctor"
		names[doctor+".service"], names[doctor+".timer"] = "systemd.doctor.service.tmpl", "systemd.doctor.timer.tmpl"
		order = append(order, doctor+".service", doctor+".timer")
	}
	var files []File
	for _, name := range order {
		text, err := fill(names[name], s)
		if err != nil {
			return nil, err
		}
		files = append(files, File{Path: filepath.Join(s.Dir, name), Mode: 0o644, Text: text})
	}
	return files, nil
}

func systemdDir(system bool, home string) string {
	if system {
		return "/etc/systemd/system"
	}
	return filepath.Join(home, ".config", "systemd", "user")
}

func systemdBase(unit string) string { return strings.TrimSuffix(unit, ".service") }

// systemd controls by systemctl.
type systemd struct {
	Unit
	run runner
}

func (d systemd) ctl(ctx context.Context, args ...string) (string, error) {
	if !d.System {
		args = append([]string{"--user"}, args...)
	}
	return d.run.run(ctx, "", "systemctl", args...)
}

func (d systemd) timer() string { return systemdBase(d.Name) + "-doctor.timer" }

// load enables the service, and the timer where there is one.
func (d systemd) load(ctx context.Context, _ []string) error {
	if _, err := d.ctl(ctx, "daemon-reload"); err != nil {
		return err
	}
	if _, err := d.ctl(ctx, "enable", d.Name); err != nil {
		return err
	}
	if d.has(ctx, d.timer()) {
		if _, err := d.ctl(ctx, "enable", "--now", d.timer()); err != nil {
			return err
		}
	}
	return nil
}

func (d systemd) has(ctx context.Context, unit string) bool {
	out, err := d.ctl(ctx, "show", "--property=LoadState", unit)
	return err == nil && strings.Contains(out, "=loaded")
}

func (d systemd) unload(ctx context.Context) error {
	for _, unit := range []string{d.timer(), d.Name} {
		if !d.has(ctx, unit) {
			continue
		}
		if _, err := d.ctl(ctx, "disable", "--now", unit); err != nil {
			return err
		}
	}
	return nil
}

func (d systemd) unloaded(ctx context.Context) error {
	_, err := d.ctl(ctx, "daemon-reload")
	// A failed unit is remembered by its name otherwise; most are not.
	_, _ = d.ctl(ctx, "reset-failed", d.Name)
	return err
}

func (d systemd) start(ctx context.Context) error {
	// One that ran into its start limit stays down otherwise.
	_, _ = d.ctl(ctx, "reset-failed", d.Name)
	// A host that is slow to become ready, or ends at once, is the caller's to
	// watch: systemctl would say neither why nor how far it is.
	_, err := d.ctl(ctx, "start", "--no-block", d.Name)
	return err
}

func (d systemd) stop(ctx context.Context) error {
	if !d.has(ctx, d.Name) {
		return nil
	}
	_, err := d.ctl(ctx, "stop", d.Name)
	return err
}

func (d systemd) restart(ctx context.Context) error {
	_, err := d.ctl(ctx, "restart", "--no-block", d.Name)
	return err
}

func (d systemd) status(ctx context.Context) (State, error) {
	out, err := d.ctl(ctx, "show", "--timestamp=unix", "--property=LoadState,ActiveState,SubState,Result,MainPID,NRestarts,StateChangeTimestamp,ExecMainStatus", d.Name)
	if err != nil {
		return State{Restarts: -1, Raw: out}, err
	}
	v := map[string]string{}
	for line := range strings.Lines(out) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		v[key] = value
	}
	s := State{Raw: fmt.Sprintf("%s (%s), result %s, last exit code %s", v["ActiveState"], v["SubState"], v["Result"], v["ExecMainStatus"])}
	s.PID, _ = strconv.Atoi(v["MainPID"])
	if s.Restarts, err = strconv.Atoi(v["NRestarts"]); err != nil {
		s.Restarts = -1
	}
	if at, err := strconv.ParseInt(strings.TrimPrefix(v["StateChangeTimestamp"], "@"), 10, 64); err == nil && at > 0 {
		s.Since = time.Unix(at, 0)
	}
	switch {
	case v["LoadState"] == "not-found":
		s = State{Phase: Absent, Restarts: -1, Raw: "systemd knows no " + d.Name}
	case v["ActiveState"] == "active" || v["ActiveState"] == "reloading" || v["ActiveState"] == "deactivating":
		s.Phase = Running
	case v["ActiveState"] == "activating":
		s.Phase = Starting
	case v["ActiveState"] == "failed":
		s.Phase = Failed
	default:
		s.Phase = Stopped
	}
	return s, nil
}

package supervise

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

func renderSupervisord(s Spec) ([]File, error) {
	if s.Dir == "" {
		s.Dir = "/etc/supervisor/conf.d"
	}
	if s.Ext == "" {
		s.Ext = ".conf"
	}
	// In supervisord's files " ;" begins a comment, in quotes too.
	for _, text := range append([]string{s.Exe, s.Home, s.WorkDir}, s.Env...) {
		if strings.Contains(text, " ;") || strings.Contains(text, "\t;") {
			return nil, fmt.Errorf("%q holds a blank with a semicolon, which supervisord takes for a comment", text)
		}
	}
	text, err := fill("supervisord.tmpl", s)
	if err != nil {
		return nil, err
	}
	return []File{{Path: filepath.Join(s.Dir, s.Unit.Name+s.Ext), Mode: 0o644, Text: text}}, nil
}

// Command is supervisord's command: the file for what the runtime prints is
// opened with the rights of the user, not with the supervisor's.
func (s Spec) Command() []string {
	if s.User == "" {
		return s.Args()
	}
	return append([]string{"/bin/sh", "-c", `exec >>"$0" 2>&1; exec "$@"`, s.Stderr()}, s.Args()...)
}

// supervisord controls by supervisorctl.
type supervisord struct {
	Unit
	run runner
}

// ctl runs supervisorctl. A Server that is a path is a configuration file,
// which may hold a password as well.
func (d supervisord) ctl(ctx context.Context, args ...string) (string, error) {
	var where []string
	switch {
	case filepath.IsAbs(d.Server):
		where = []string{"-c", d.Server}
	case d.Server != "":
		where = []string{"-s", d.Server}
	}
	out, err := d.run.run(ctx, "", "supervisorctl", append(where, args...)...)
	if err == nil && strings.Contains(out, "ERROR") {
		err = &toolError{command: "supervisorctl " + strings.Join(args, " "), out: out, err: fmt.Errorf("it failed")}
	}
	return out, err
}

func (d supervisord) load(ctx context.Context, _ []string) error {
	if _, err := d.ctl(ctx, "reread"); err != nil {
		return err
	}
	_, err := d.ctl(ctx, "update", d.group())
	return err
}

func (d supervisord) unload(context.Context) error { return nil }

// unloaded has supervisord see that the file is gone.
func (d supervisord) unloaded(ctx context.Context) error { return d.load(ctx, nil) }

func (d supervisord) group() string {
	group, _, _ := strings.Cut(d.Name, ":")
	return group
}

func (d supervisord) start(ctx context.Context) error {
	s, err := d.status(ctx)
	if err != nil {
		return err
	}
	if s.Phase == Absent {
		if err := d.load(ctx, nil); err != nil {
			return err
		}
		if s, err = d.status(ctx); err != nil {
			return err
		}
	}
	if s.Phase == Running || s.Phase == Starting {
		return nil
	}
	_, err = d.ctl(ctx, "start", d.Name)
	if code(err) == 7 { // it runs, or ended at once; the status says more
		err = nil
	}
	return err
}

func (d supervisord) stop(ctx context.Context) error {
	s, err := d.status(ctx)
	if err != nil {
		return err
	}
	if s.Phase == Absent || s.Phase == Stopped || s.Phase == Failed {
		return nil
	}
	if _, err = d.ctl(ctx, "stop", d.Name); err != nil {
		return err
	}
	if !until(ctx, (stopSeconds+5)*time.Second, func() bool { s, err = d.status(ctx); return err == nil && s.PID == 0 && s.Phase != Starting }) {
		return fmt.Errorf("supervisord was asked to stop %s and says: %s", d.Name, s.Raw)
	}
	return nil
}

func (d supervisord) restart(ctx context.Context) error {
	_, err := d.ctl(ctx, "restart", d.Name)
	return err
}

var ctlLine = regexp.MustCompile(`(?m)^(\S+)\s+([A-Z]+)\s*(?:pid (\d+), uptime (?:(\d+) days?, )?(\d+):(\d+):(\d+))?`)

func (d supervisord) status(ctx context.Context) (State, error) {
	s := State{Restarts: -1}
	// It fails (3) for a program that does not run, and (4) for one that it
	// does not know.
	out, err := d.ctl(ctx, "status", d.Name)
	s.Raw = strings.TrimSpace(out)
	if strings.Contains(out, "no such process") || strings.Contains(out, "no such group") {
		s.Phase = Absent
		return s, nil
	}
	m := ctlLine.FindStringSubmatch(s.Raw)
	if m == nil {
		if err == nil {
			err = fmt.Errorf("supervisorctl says what we cannot read: %s", s.Raw)
		}
		return s, err
	}
	switch m[2] {
	case "RUNNING", "STOPPING":
		s.Phase = Running
	case "STARTING", "BACKOFF":
		s.Phase = Starting
	case "FATAL":
		s.Phase = Failed
	case "EXITED", "STOPPED":
		// EXITED ended by itself: 0 or 78. The file tells them not apart; the
		// host's log does.
		s.Phase = Stopped
		if m[2] == "EXITED" {
			s.Phase = Failed
		}
	default:
		return s, fmt.Errorf("supervisorctl says what we cannot read: %s", s.Raw)
	}
	if m[3] != "" {
		var parts [4]int
		for i := range parts {
			parts[i], _ = strconv.Atoi(m[4+i])
		}
		s.PID, _ = strconv.Atoi(m[3])
		up := time.Duration(parts[0])*24*time.Hour + time.Duration(parts[1])*time.Hour + time.Duration(parts[2])*time.Minute + time.Duration(parts[3])*time.Second
		s.Since = time.Now().Add(-up).Truncate(time.Second)
	}
	return s, nil
}

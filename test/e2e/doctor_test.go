package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

type check struct {
	Group, Name, State, Seen, Remedy string
}

// doctor runs the command and returns its exit code and what it saw.
func (w *world) doctor(env []string, args ...string) (code int, checks []check) {
	w.t.Helper()
	cmd := w.command(append([]string{"doctor", "--json", "--home", w.home}, args...)...)
	cmd.Env = append(cmd.Env, env...)
	var out, problem bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problem
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		code = exit.ExitCode()
	} else if err != nil {
		w.t.Fatal(err)
	}
	var all struct {
		Checks []json.RawMessage `json:"checks"`
		Wedged *bool             `json:"wedged"`
	}
	if err := json.Unmarshal(out.Bytes(), &all); err != nil || all.Wedged == nil {
		w.t.Fatalf("doctor: %v\n%s%s", err, &out, &problem)
	}
	order := []string{"machine", "limits", "service", "store", "agents"}
	at := 0
	for _, raw := range all.Checks {
		// Its keys are what scripts rely on.
		var keys map[string]string
		if err := json.Unmarshal(raw, &keys); err != nil || len(keys) != 5 {
			w.t.Fatalf("a check is not of five texts: %s (%v)", raw, err)
		}
		c := check{keys["group"], keys["name"], keys["state"], keys["seen"], keys["remedy"]}
		if c.Name == "" || c.Seen == "" || !slices.Contains([]string{"ok", "warning", "failed"}, c.State) || (c.State == "ok") != (c.Remedy == "") {
			w.t.Errorf("a check that tells not enough, or no remedy: %s", raw)
		}
		if i := slices.Index(order, c.Group); i < at {
			w.t.Errorf("the group %q is out of order in %s", c.Group, &out)
		} else {
			at = i
		}
		checks = append(checks, c)
	}
	return code, checks
}

func pick(t *testing.T, checks []check, group, name string) check {
	t.Helper()
	i := slices.IndexFunc(checks, func(c check) bool { return c.Group == group && c.Name == name })
	if i < 0 {
		t.Fatalf("no check %s/%s in %+v", group, name, checks)
	}
	return checks[i]
}

// examined lists the processes of agents that a doctor has started.
func (w *world) examined() []int {
	return slices.DeleteFunc(w.marked(), func(pid int) bool {
		env, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		return !bytes.Contains(env, []byte("HOLDFAST_MARK="+w.home+":doctor:"))
	})
}

// strays are agents of config.toml that do wrong, each in its way.
func strays(t *testing.T) (text string) {
	t.Helper()
	for id, env := range map[string]string{
		"login":    `SCRIPT_AGENT_LOGIN = "1"`,
		"hang":     `SCRIPT_AGENT_STARTUP_DELAY = "1h"`,
		"version":  `SCRIPT_AGENT_BAD_INIT = "1"`,
		"stubborn": `SCRIPT_AGENT_HELPER = "1", SCRIPT_AGENT_IGNORE_EOF = "1", SCRIPT_AGENT_IGNORE_TERM = "1"`,
	} {
		text += fmt.Sprintf("[agents.%s]\ncommand = [%q]\nenv = { %s }\n", id, bins.agent, env)
	}
	return text + "[agents.quits]\ncommand = [\"/bin/sh\", \"-c\", \"echo no key was set >&2; exit 3\"]\n[agents.absent]\ncommand = [\"/nowhere/agent\"]\n"
}

// TestDoctorAgents has the host look at agents of every kind, beside a session
// that works, and leaves nothing of them.
func TestDoctorAgents(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, "[limits]\nlive_agents = 1\n"+strays(t))
	w.start()
	s := w.newSession()
	script, want := stream(60, "20ms", 3)
	run := w.send(s.ID, script)
	// An agent that only the shell finds.
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "auggie"), []byte("#!/bin/sh\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	code, checks := w.doctor([]string{"PATH=" + bin + ":" + os.Getenv("PATH")}, "--agent-deadline", "3s")
	if code != 1 {
		t.Errorf("exit code %d", code)
	}
	for name, c := range map[string]struct{ state, seen, remedy string }{
		"script":   {"ok", "logged in", ""},
		"stubborn": {"ok", "logged in", ""},
		"login":    {"warning", "nobody is logged in", "user who runs the host"},
		"hang":     {"failed", "did not answer `initialize` within 3s", bins.agent},
		"version":  {"failed", "version 99", bins.agent},
		"quits":    {"failed", "exit status 3) before it answered `initialize`, and said: no key was set", "/bin/sh -c 'echo"},
		"absent":   {"failed", "no program /nowhere/agent", "[agents.absent]"},
		"auggie":   {"warning", filepath.Join(bin, "auggie"), "holdfast restart"},
		"PATH":     {"ok", "as the host sees them", ""},
	} {
		if got := pick(t, checks, "agents", name); got.State != c.state || !strings.Contains(got.Seen, c.seen) || !strings.Contains(got.Remedy, c.remedy) {
			t.Errorf("%s: %+v", name, got)
		}
	}
	for group, names := range map[string][]string{"limits": {"descriptors"}, "service": {"host", "health", "control", "version", "supervisor"}, "store": {"folder", "disk", "database"}} {
		for _, name := range names {
			if got := pick(t, checks, group, name); got.State == "failed" {
				t.Errorf("%+v", got)
			}
		}
	}
	if got := pick(t, checks, "limits", "descriptors"); !strings.Contains(got.Seen, "the host has") {
		t.Errorf("whose limit: %+v", got)
	}
	if left := w.examined(); len(left) > 0 {
		t.Errorf("left of what was looked at: %v", left)
	}
	// The session, with the cap's only place, has felt nothing.
	if reason := w.ended(s.ID, run.Run); reason != "end_turn" || w.said(s.ID, run.Run) != want {
		t.Errorf("the run ended by %q", reason)
	}
}

// TestDoctorBrokenOff ends a look in the middle, with a host and without one.
func TestDoctorBrokenOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, "[agents.hang]\ncommand = [\""+bins.agent+"\"]\nenv = { SCRIPT_AGENT_STARTUP_DELAY = \"1h\", SCRIPT_AGENT_HELPER = \"1\" }\n")
	for _, host := range []bool{false, true} {
		if host {
			w.start()
		}
		cmd := w.command("doctor", "--home", w.home)
		var out syncBuffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		w.until("an agent that is looked at", 20*time.Second, func() bool { return len(w.examined()) > 0 })
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(out.String(), "broken off") {
			t.Errorf("host %t: exit code %d\n%s", host, code, out.String())
		}
		w.until("the end of what it started", 10*time.Second, func() bool { return len(w.examined()) == 0 })
	}
}

// TestDoctorOutside looks where no host answers: a deaf one, a broken
// configuration, none.
func TestDoctorOutside(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, "")
	w.start()
	if err := w.host.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	hasty := []string{"--tries", "1", "--deadline", "300ms", "--silence", "1s", "--young", "0s"}
	code, checks := w.doctor(nil, hasty...)
	if got := pick(t, checks, "service", "control"); code != 1 || got.State != "failed" || !strings.Contains(got.Seen, "did not answer") {
		t.Errorf("a deaf host (%d): %+v", code, got)
	}
	if got := pick(t, checks, "service", "health"); got.State != "failed" || !strings.Contains(got.Remedy, "--restart-if-wedged") {
		t.Errorf("a deaf host: %+v", got)
	}
	if got := pick(t, checks, "store", "database"); got.State != "warning" || !strings.Contains(got.Seen, "has it open") {
		t.Errorf("a deaf host's database: %+v", got)
	}
	for _, c := range []check{pick(t, checks, "agents", "script"), pick(t, checks, "limits", "descriptors")} {
		if c.State != "ok" {
			t.Errorf("from outside: %+v", c)
		}
	}
	if err := w.host.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	w.stop()

	if err := os.Chmod(w.home, 0o755); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(filepath.Join(w.home, "life"))
	if err != nil {
		t.Fatal(err)
	}
	code, checks = w.doctor(nil)
	if got := pick(t, checks, "store", "database"); code != 0 || got.State != "ok" || !strings.Contains(got.Seen, "whole") {
		t.Errorf("no host (%d): %+v", code, got)
	}
	if got := pick(t, checks, "store", "folder"); got.State != "warning" || !strings.Contains(got.Remedy, "chmod 700") {
		t.Errorf("an open folder: %+v", got)
	}
	if got := pick(t, checks, "agents", "PATH"); !strings.Contains(got.Seen, "as this shell sees them") {
		t.Errorf("whose eyes: %+v", got)
	}
	if after, err := os.ReadFile(filepath.Join(w.home, "life")); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the look began a life of the store: %s (%v)", after, err)
	}

	// The heads of some pages are torn.
	db := filepath.Join(w.home, "holdfast.db")
	f, err := os.OpenFile(db, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	for page := int64(3); page < 12; page++ {
		if _, err := f.WriteAt(bytes.Repeat([]byte{0x5a}, 64), page*4096); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(w.home, "config.toml"), []byte("adr = 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, checks = w.doctor(nil, "--no-agents")
	if got := pick(t, checks, "store", "database"); code != 1 || got.State != "failed" || !strings.Contains(got.Remedy, "holdfast restore") {
		t.Errorf("a torn database (%d): %+v", code, got)
	}
	if got := pick(t, checks, "service", "configuration"); got.State != "failed" || !strings.Contains(got.Seen, "config.toml:1") {
		t.Errorf("a broken configuration: %+v", got)
	}
	if slices.ContainsFunc(checks, func(c check) bool { return c.Group == "agents" }) {
		t.Error("agents were looked at")
	}
}

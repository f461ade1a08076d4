package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// newer is a host of a later version. Its failpoints are armed by a variable
// of its own, so that the old version with the same environment has none.
var newer = sync.OnceValues(func() (string, error) {
	const module = "github.com/holdfast-dev/holdfast/"
	path := filepath.Join(filepath.Dir(bins.host), "newer")
	cmd := exec.Command("go", "build", "-o", path, "-tags", "failpoints", "-ldflags",
		"-X "+module+"internal/app.Version=9.9.9 -X "+module+"internal/failpoint.EnvVar=HOLDFAST_FAILPOINT_NEWER", module+"cmd/holdfast")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build a newer host: %w\n%s", err, out)
	}
	return path, nil
})

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err == nil {
		// A process that another test starts meanwhile would have the file open for
		// writing until its exec, and such a file cannot be run (golang.org/issue/22315).
		syscall.ForkLock.RLock()
		err = os.WriteFile(to, data, 0o755) //nolint:gosec // a program
		syscall.ForkLock.RUnlock()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// upgradeWorld is a world whose host has a binary of its own, and the path of
// a newer one.
func upgradeWorld(t *testing.T, failpoints ...string) (w *world, from string) {
	t.Helper()
	path, err := newer()
	if err != nil {
		t.Fatal(err)
	}
	w = newWorld(t, nil, "")
	dir := t.TempDir()
	w.bin = filepath.Join(dir, "holdfast")
	copyFile(t, bins.host, w.bin)
	if len(failpoints) > 0 {
		w.env = append(w.env, "HOLDFAST_FAILPOINT_NEWER="+strings.Join(failpoints, ","))
	}
	return w, path
}

// upgrade runs the command and returns its exit code and all it said.
func (w *world) upgrade(args ...string) (int, string) {
	w.t.Helper()
	cmd := w.command(append([]string{"upgrade", "--home", w.home}, args...)...)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		w.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// binaries are the files beside the host's binary.
func (w *world) binaries() string {
	entries, err := os.ReadDir(filepath.Dir(w.bin))
	if err != nil {
		w.t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

func same(t *testing.T, a, b string) bool {
	t.Helper()
	x, err := os.ReadFile(a)
	if err != nil {
		t.Fatal(err)
	}
	y, err := os.ReadFile(b)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Equal(x, y)
}

// TestUpgrade puts a new version in the place of the old one in mid-answer.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	w, from := upgradeWorld(t)
	w.start()
	s := w.newSession()
	f := w.follow(s.ID, "")
	text, want := stream(500, "10ms", 41)
	a := w.send(s.ID, text)
	w.until("some text", 10*time.Second, func() bool { return len(f.text(a.Run)) > 200 })

	done := make(chan string, 1)
	go func() {
		code, out := w.upgrade("--from", from, "--now")
		done <- fmt.Sprintf("%d %s", code, out)
	}()
	w.until("the trial", 20*time.Second, func() bool { st := w.status(); return st != nil && st["trial"] == true })
	// Nothing new is taken; what is asked for is refused with a time to come back.
	p := w.refused(503, "held", "POST", "/api/v1/sessions/"+s.ID+"/messages", map[string]string{"client_id": "during", "text": "say later"})
	if !strings.Contains(p.Detail, "nothing was taken") {
		t.Errorf("%s", p.Detail)
	}
	if out := <-done; !strings.HasPrefix(out, "0 ") || !strings.Contains(out, "9.9.9 replaced") {
		t.Fatalf("upgrade: %s", out)
	}
	st := w.status()
	if st["version"] != "9.9.9" || int(st["pid"].(float64)) != w.host.Process.Pid || st["trial"] == true {
		t.Errorf("%v", st)
	}
	if !same(t, w.bin, from) || !same(t, w.bin+".previous", bins.host) || w.binaries() != "holdfast holdfast.previous" {
		t.Errorf("beside the binary: %s", w.binaries())
	}
	if _, err := os.Stat(filepath.Join(w.home, "upgrade.json")); !os.IsNotExist(err) {
		t.Errorf("the note of the trial is still there: %v", err)
	}
	if reason := w.ended(s.ID, a.Run); reason != "end_turn" {
		t.Fatalf("ended by %q", reason)
	}
	if got := w.said(s.ID, a.Run); got != want {
		t.Fatalf("said\n%q, want\n%q", got, want)
	}
	w.until("the stream", 5*time.Second, func() bool { return f.text(a.Run) == want })
	f.gapless(t)
	b := w.send(s.ID, "say after")
	w.ended(s.ID, b.Run)
	w.whole(s.ID)
}

// TestUpgradeFails: a new version that does not prove itself gives way to the
// old one, in the same process, and nothing is lost.
func TestUpgradeFails(t *testing.T) {
	long(t)
	t.Parallel()
	for name, points := range map[string][]string{
		"its probe does not pass": {"trial_ms:=1500", "trial.probe=sleep2500@1"},
		"it cannot serve":         {"trial_ms:=1500", "host.open=sleep60000@1"},
		// The old version cannot write to what the new one made of the database.
		"after a migration": {"trial_ms:=1500", "trial.probe=sleep2500@1", "next_schema:=CREATE TABLE future (x TEXT) STRICT", "writer_min:=999"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, from := upgradeWorld(t, points...)
			w.start()
			version := w.status()["version"]
			s := w.newSession()
			f := w.follow(s.ID, "")
			text, want := stream(400, "10ms", 42)
			a := w.send(s.ID, text)
			w.until("some text", 10*time.Second, func() bool { return len(f.text(a.Run)) > 200 })
			code, out := w.upgrade("--from", from, "--now")
			if strings.Contains(name, "migration") != strings.Contains(w.out.String(), "the database is put back") {
				t.Errorf("the database: %s", w.out.String())
			}
			if code != 1 || !strings.Contains(out, "failed") || !strings.Contains(out, "runs again") {
				t.Errorf("upgrade: %d %s", code, out)
			}
			st := w.status()
			if st["version"] != version || int(st["pid"].(float64)) != w.host.Process.Pid {
				t.Errorf("%v", st)
			}
			if !same(t, w.bin, bins.host) || w.binaries() != "holdfast" {
				t.Errorf("beside the binary: %s", w.binaries())
			}
			if left, _ := filepath.Glob(filepath.Join(w.home, "*.before-*")); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
			if reason := w.ended(s.ID, a.Run); reason != "end_turn" {
				t.Fatalf("ended by %q", reason)
			}
			if got := w.said(s.ID, a.Run); got != want {
				t.Fatalf("said\n%q, want\n%q", got, want)
			}
			b := w.send(s.ID, "say after")
			w.ended(s.ID, b.Run)
			w.whole(s.ID)
		})
	}
}

// TestUpgradeDies: a new version that is killed during its trial is followed
// by the old one when the supervisor starts the service again.
func TestUpgradeDies(t *testing.T) {
	long(t)
	t.Parallel()
	w, from := upgradeWorld(t, "trial.begin=kill@1", "next_schema:=CREATE TABLE future (x TEXT) STRICT", "writer_min:=999")
	w.start()
	version := w.status()["version"]
	s := w.newSession()
	text, want := stream(300, "10ms", 43)
	a := w.send(s.ID, text)
	done := make(chan string, 1)
	go func() {
		code, out := w.upgrade("--from", from, "--now")
		done <- fmt.Sprintf("%d %s", code, out)
	}()
	w.awaitExit()
	w.start() // as a supervisor does
	if out := <-done; !strings.HasPrefix(out, "1 ") || !strings.Contains(out, "ended during its trial") {
		t.Errorf("upgrade: %s", out)
	}
	if st := w.status(); st["version"] != version || !strings.Contains(fmt.Sprint(st["upgrade"]), "runs again") {
		t.Errorf("%v", st)
	}
	if !same(t, w.bin, bins.host) || w.binaries() != "holdfast" {
		t.Errorf("beside the binary: %s", w.binaries())
	}
	if reason := w.ended(s.ID, a.Run); reason != "end_turn" {
		t.Fatalf("ended by %q", reason)
	}
	if got := w.said(s.ID, a.Run); got != want {
		t.Fatalf("said\n%q, want\n%q", got, want)
	}
	w.whole(s.ID)
	// It is told once.
	w.stop()
	w.start()
	if st := w.status(); st["upgrade"] != nil {
		t.Errorf("%v", st)
	}
}

// TestUpgradeRefused: what is not to be tried changes nothing.
func TestUpgradeRefused(t *testing.T) {
	t.Parallel()
	w, from := upgradeWorld(t)
	w.start()
	dir := t.TempDir()
	script := filepath.Join(dir, "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho other 1.0\n"), 0o755); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	junk := filepath.Join(dir, "junk")
	if err := os.WriteFile(junk, []byte("\x7fELFjunk"), 0o600); err != nil {
		t.Fatal(err)
	}
	listed := filepath.Join(dir, "listed")
	if err := os.Mkdir(listed, 0o700); err != nil {
		t.Fatal(err)
	}
	copyFile(t, from, filepath.Join(listed, "holdfast"))
	sum := sha256.Sum256([]byte("another file"))
	if err := os.WriteFile(filepath.Join(listed, "SHA256SUMS"), []byte(hex.EncodeToString(sum[:])+"  holdfast\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, want string
		args       []string
		code       int
	}{
		{"no file", "no such file", []string{"--from", filepath.Join(dir, "absent")}, 1},
		{"another program", "is no Holdfast", []string{"--from", script}, 1},
		{"junk", "does not run on this machine", []string{"--from", junk}, 1},
		{"a wrong checksum", "the checksum of", []string{"--from", from, "--sha256", strings.Repeat("0", 64)}, 1},
		{"not the file in the list", "checksum", []string{"--from", filepath.Join(listed, "holdfast")}, 1},
		{"no signature to check", "nothing whose signature", []string{"--from", from, "--public-key", junk}, 1},
		{"nothing", "--from", nil, 2},
	} {
		code, out := w.upgrade(tc.args...)
		if code != tc.code || !strings.Contains(out, tc.want) {
			t.Errorf("%s: %d %s", tc.name, code, out)
		}
	}
	if st := w.status(); st["restarts"].(float64) != 0 {
		t.Errorf("%v", st)
	}
	if w.binaries() != "holdfast" {
		t.Errorf("beside the binary: %s", w.binaries())
	}
}

package cli

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast/internal/release"
)

type upgradeCmd struct {
	From      string `required:"" placeholder:"FILE" help:"The new binary, or a release's .tar.gz."`
	Now       bool   `help:"Do not wait until no run is under way. Runs go on all the same."`
	SHA256    string `name:"sha256" placeholder:"HEX" help:"What the checksum of FILE must be."`
	PublicKey string `placeholder:"FILE" help:"minisign's public key, by which SHA256SUMS.minisig beside FILE is checked."`
}

// Help is shown after the flags.
func (upgradeCmd) Help() string {
	return `FILE is checked against SHA256SUMS beside it where that is there, and SHA256SUMS against its signature where a public key is given. Then it is put beside the service's binary and tried: the host replaces itself in place, with the same process id, and takes nothing new until its own probe has passed twice. Only then does the new binary take the place of the old one, which is kept as holdfast.previous. Where it does not prove itself the old one runs again, and the reason is told.

A package manager's binary is upgraded by that manager; then: holdfast restart.

Examples:
  holdfast upgrade --from ~/Downloads/holdfast_0.2.0_darwin_arm64.tar.gz
  holdfast upgrade --from ./holdfast --now`
}

// trialPatience is how long a new version may take to prove itself or to give
// way.
const trialPatience = 2 * time.Minute

// Run upgrades the host.
func (c *upgradeCmd) Run(ctx context.Context, a *app) (err error) {
	if err := c.verify(a); err != nil {
		return err
	}
	h, _, err := a.connect(ctx)
	if err != nil && !errors.Is(err, errNoHost) {
		return err
	}
	var before status
	var exe string
	if h != nil {
		defer func() { err = errors.Join(err, h.close()) }()
		if before, err = h.status(ctx); err != nil {
			return err
		}
		exe = before.Exe
	} else if exe, err = os.Executable(); err != nil {
		return failf("find this program: %w", err)
	}
	if strings.Contains(exe, "/Cellar/") {
		return failf("%s belongs to Homebrew. Upgrade it with: brew upgrade holdfast; then: holdfast restart", exe)
	}
	staged, version, err := c.stage(ctx, exe)
	if err != nil {
		return err
	}
	if h == nil {
		return c.swap(a, exe, staged, version)
	}
	keep := false
	defer func() {
		if !keep {
			_ = os.Remove(staged) // the host may have moved it
		}
	}()
	if !c.Now {
		a.notef("Waiting until no run is under way; Ctrl-C leaves everything as it is, --now does not wait.\n")
	}
	a.notef("Trying %s in the place of %s.\n", version, before.Version)
	if err := h.call(ctx, http.MethodPost, "/control/restart", map[string]any{"staged": staged, "idle": !c.Now}, nil); err != nil {
		return err
	}
	keep = true // it is the host's from here on
	if _, err := h.awaitRestart(ctx, before); err != nil {
		return err
	}
	after, err := h.awaitTrial(ctx)
	if err != nil {
		return err
	}
	if after.UpgradeFailed {
		return failf("%s", after.Upgrade)
	}
	a.notef("%s\n", after.Upgrade)
	return nil
}

// awaitTrial waits until the new version has proven itself or given way.
func (c *client) awaitTrial(ctx context.Context) (s status, err error) {
	ctx, cancel := context.WithTimeout(ctx, trialPatience)
	defer cancel()
	for {
		s, err = c.status(ctx)
		if err == nil && !s.Trial && s.Upgrade != "" {
			return s, nil
		}
		if !pause(ctx, 50*time.Millisecond) {
			return s, failf("the new version has neither proven itself nor given way in %s. A supervisor that starts the host again starts the old one; look at: holdfast logs", trialPatience)
		}
	}
}

// verify holds the file against what is known of it.
func (c *upgradeCmd) verify(a *app) error {
	data, err := os.ReadFile(c.From)
	if err != nil {
		return failf("read the new version: %w", err)
	}
	if c.SHA256 != "" {
		sum := sha256.Sum256(data)
		if got := hex.EncodeToString(sum[:]); !strings.EqualFold(got, strings.TrimSpace(c.SHA256)) {
			return failf("the checksum of %s is %s, not %s. Get the file again", c.From, got, c.SHA256)
		}
	}
	dir, name := filepath.Split(c.From)
	sums, err := os.ReadFile(filepath.Join(dir, release.SumsFile))
	switch {
	case errors.Is(err, fs.ErrNotExist) && c.PublicKey != "":
		return failf("there is no %s beside %s, so there is nothing whose signature could be checked. Get it, and its signature, from where the file came from", release.SumsFile, c.From)
	case errors.Is(err, fs.ErrNotExist):
		if c.SHA256 == "" {
			a.notef("There is no %s beside %s: it is taken as it is.\n", release.SumsFile, c.From)
		}
		return nil
	case err != nil:
		return failf("read the checksums: %w", err)
	}
	if err := release.VerifyChecksum(sums, name, bytes.NewReader(data)); err != nil {
		return failf("%w. Get the file and %s again, from the same place", err, release.SumsFile)
	}
	sig, err := os.ReadFile(filepath.Join(dir, release.SignatureFile))
	switch {
	case c.PublicKey == "" && err == nil:
		a.notef("The checksum is right. The signature beside it was not checked: give --public-key.\n")
		return nil
	case c.PublicKey == "":
		a.notef("The checksum is right.\n")
		return nil
	case err != nil:
		return failf("read the signature: %w", err)
	}
	key, err := os.ReadFile(c.PublicKey)
	if err != nil {
		return failf("read the public key: %w", err)
	}
	if err := release.VerifySignature(key, sums, sig); err != nil {
		return failf("%w. Do not use it", err)
	}
	a.notef("Checksum and signature are right.\n")
	return nil
}

// stage copies the new program beside the old one and finds out that it runs
// here. It returns its path and version.
func (c *upgradeCmd) stage(ctx context.Context, exe string) (staged, version string, err error) {
	from, err := os.Open(c.From)
	if err != nil {
		return "", "", failf("read the new version: %w", err)
	}
	defer from.Close()
	to, err := os.CreateTemp(filepath.Dir(exe), ".holdfast-new-*")
	if err != nil {
		return "", "", failf("put the new version beside %s: %w. Run this as the user to whom that folder belongs, or install the service from a folder of your own", exe, err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(to.Name())
		}
	}()
	if strings.HasSuffix(c.From, ".tar.gz") || strings.HasSuffix(c.From, ".tgz") {
		err = release.Extract(from, to)
	} else {
		_, err = io.Copy(to, from)
	}
	// Mode and bytes are on disk before anything is renamed onto it.
	err = errors.Join(err, to.Chmod(0o755), to.Sync(), to.Close()) //nolint:gosec // a program
	if err != nil {
		return "", "", failf("put the new version beside %s: %w", exe, err)
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, to.Name(), "version").Output() //nolint:gosec // the file that the user named
	if err != nil {
		return "", "", failf("%s does not run on this machine: %w. Take the file for this system and processor", c.From, err)
	}
	words := strings.Fields(string(out))
	if len(words) < 2 || words[0] != "holdfast" {
		return "", "", failf("%s is no Holdfast: its version is %.60q", c.From, strings.TrimSpace(string(out)))
	}
	return to.Name(), words[1], nil
}

// swap puts the new program in the old one's place while no host runs, which
// could try it.
func (c *upgradeCmd) swap(a *app, exe, staged, version string) error {
	previous, err := release.Install(staged, exe)
	if err != nil {
		return errors.Join(failf("%w", err), os.Remove(staged))
	}
	a.notef("No host runs, so the new version could not be tried: %s is %s now, and the old one is kept as %s.\n", exe, version, previous)
	return nil
}

package config

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// maxSocketPath is the longest path that we give a unix socket, in bytes. The
// kernels take 104 (macOS) and 108 (Linux) with the final NUL.
const maxSocketPath = 99

// DB returns the path of the database.
func (c *Config) DB() string { return filepath.Join(c.Home, "holdfast.db") }

// Lock returns the path of the file that a host keeps locked for life.
func (c *Config) Lock() string { return filepath.Join(c.Home, "host.lock") }

// Keepers returns the folder that holds one folder for each epoch.
func (c *Config) Keepers() string { return filepath.Join(c.Home, "keepers") }

// Logs returns the folder of the log files.
func (c *Config) Logs() string { return filepath.Join(c.Home, "logs") }

// LogFile returns the path of the host's log.
func (c *Config) LogFile() string { return filepath.Join(c.Logs(), "holdfast.log") }

// Crash returns the folder of what is written when something is wrong.
func (c *Config) Crash() string { return filepath.Join(c.Home, "crash") }

// File returns the path of config.toml, which need not exist.
func (c *Config) File() string { return filepath.Join(c.Home, "config.toml") }

// SocketPath returns where the host of the state folder home listens for
// commands. Both sides compute it: the socket lies in home unless that path is
// too long for a socket; then it lies in a folder of its own under the
// temporary folder. Host and command may run with different TMPDIRs, so the
// host notes its choice in home and the note wins.
func SocketPath(home string) string {
	if p := filepath.Join(home, "control.sock"); len(p) <= maxSocketPath {
		return p
	}
	if note, err := os.ReadFile(socketNote(home)); err == nil {
		if p := strings.TrimSpace(string(note)); filepath.IsAbs(p) && len(p) <= maxSocketPath {
			return p
		}
	}
	return hashedSocket(home)
}

func socketNote(home string) string { return filepath.Join(home, "control.path") }

func hashedSocket(home string) string {
	sum := sha256.Sum256([]byte(home))
	name := filepath.Join("holdfast-"+hex.EncodeToString(sum[:8]), "control.sock")
	if p := filepath.Join(os.TempDir(), name); len(p) <= maxSocketPath {
		return p
	}
	return filepath.Join("/tmp", name)
}

// EnsureSocket returns SocketPath(home) after making the folder that it lies
// in, private to this user. Only the host calls it.
func EnsureSocket(home string) (string, error) {
	path := SocketPath(home)
	dir := filepath.Dir(path)
	if dir == home {
		return path, nil
	}
	// A note of an earlier life may name a temporary folder that is gone.
	if _, err := os.Stat(filepath.Dir(dir)); err != nil {
		path = hashedSocket(home)
		dir = filepath.Dir(path)
	}
	if err := private(dir); err != nil {
		return "", err
	}
	// A command that reads half a note looks in the wrong place, hence the
	// rename. After a power cut the next start writes it anew.
	tmp := socketNote(home) + ".new"
	if err := os.WriteFile(tmp, []byte(path+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("note the control socket in %s: %w", home, err)
	}
	if err := os.Rename(tmp, socketNote(home)); err != nil {
		return "", fmt.Errorf("note the control socket in %s: %w", home, err)
	}
	return path, nil
}

// EnsureHome makes the state folder if it is missing, and makes it private
// (0700). It refuses, with an *Error, one that belongs to another user.
func EnsureHome(home string) error { return private(home) }

func private(dir string) error {
	err := os.MkdirAll(dir, 0o700)
	if err != nil {
		if errors.Is(err, fs.ErrPermission) {
			return errorf("cannot make the folder %s: %w. Make its parent writable for this user, or choose another place with --home DIR", dir, err)
		}
		return errorf("cannot make the folder %s: %w. Choose another place with --home DIR", dir, err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return errorf("cannot look at %s: %w. Choose another place with --home DIR", dir, err)
	}
	if err := checkOwner(dir, info); err != nil {
		return err
	}
	if tooOpen(info.Mode()) {
		if err := os.Chmod(dir, 0o700); err != nil { //nolint:gosec // a folder needs its x bit
			return errorf("%s can be read by other users (mode %04o) and that cannot be changed: %w. Run: chmod 700 %s", dir, info.Mode().Perm(), err, dir)
		}
	}
	return nil
}

package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast/internal/proc"
	"github.com/holdfast-dev/holdfast/internal/said"
	"github.com/holdfast-dev/holdfast/internal/store"
)

// What the host itself warns and acts at (internal/ledger/gauges.go).
const (
	littleDisk = 2e9
	noDisk     = 200e6
	longWAL    = 64e6
)

// Folder looks at the state folder and the disk that it lies on. It opens no
// file of the database.
func Folder(home string) []Check {
	info, err := os.Stat(home)
	if errors.Is(err, fs.ErrNotExist) {
		return []Check{Okf(GroupStore, "folder", "%s does not exist yet: the first start makes it", home)}
	}
	if err != nil {
		return nil // the look at the host says it
	}
	checks := []Check{folderCheck(home, info)}
	kind := store.Filesystem(home)
	if net, err := store.NetworkFS(home); err != nil {
		checks = append(checks, Warnf(GroupStore, "filesystem", "Run this as the user who runs the host.", "%v", err))
	} else if net != "" {
		checks = append(checks, Failf(GroupStore, "filesystem", "Put the state folder on a local disk: --home DIR, or HOLDFAST_HOME.", "%s: databases break on such a network filesystem, so the host refuses it", net))
	} else if kind != "" {
		checks = append(checks, Okf(GroupStore, "filesystem", "%s, on this machine", kind))
	}
	if free, err := proc.FreeDisk(home); err == nil {
		checks = append(checks, diskCheck(free))
	}
	if wal, err := os.Stat(filepath.Join(home, "holdfast.db-wal")); err == nil {
		checks = append(checks, walCheck(wal.Size()))
	}
	return checks
}

func folderCheck(home string, info fs.FileInfo) Check {
	mode := info.Mode().Perm()
	uid, known := owner(info)
	switch {
	case known && uid != os.Geteuid():
		return Failf(GroupStore, "folder", fmt.Sprintf("Run this, and the host, as that user, or give it to yours: sudo chown -R %d %s", os.Geteuid(), home), "%s belongs to user %d, and this is user %d", home, uid, os.Geteuid())
	case known && mode&0o700 != 0o700:
		return Failf(GroupStore, "folder", "chmod 700 "+home, "%s is not open to its own user (mode %o)", home, mode)
	case known && mode&0o077 != 0:
		return Warnf(GroupStore, "folder", "chmod 700 "+home, "%s is open to other users of this machine (mode %o): transcripts and logins lie in it", home, mode)
	case known:
		return Okf(GroupStore, "folder", "%s, private (mode %o)", home, mode)
	}
	return Okf(GroupStore, "folder", "%s", home)
}

func diskCheck(free uint64) Check {
	switch {
	case free < noDisk:
		return Failf(GroupStore, "disk", "Make room: under 200 MB nothing new is taken.", "%s free", said.Size(free))
	case free < littleDisk:
		return Warnf(GroupStore, "disk", "Make room: under 200 MB nothing new is taken.", "%s free", said.Size(free))
	}
	return Okf(GroupStore, "disk", "%s free", said.Size(free))
}

func walCheck(bytes int64) Check {
	seen := "holdfast.db-wal has " + said.Size(max(0, bytes))
	if bytes > longWAL {
		return Warnf(GroupStore, "write-ahead log", "It is cut when the host's writer rests. If it stays so: holdfast restart", "%s", seen)
	}
	return Okf(GroupStore, "write-ahead log", "%s", seen)
}

// Database judges what the store says of its database; err says that it could
// not look.
func Database(c store.Condition, err error) Check {
	const restore = "Stop the host, keep a copy of the state folder, and put the last backup back: holdfast restore. Then check it: holdfast verify"
	if err != nil {
		return Failf(GroupStore, "database", restore, "it cannot be read: %v", err)
	}
	about := fmt.Sprintf("%s, SQLite %s, schema %d", said.Size(max(0, c.Bytes)), c.SQLite, c.Schema)
	if c.Generation != "" {
		about += ", generation " + c.Generation
	}
	switch {
	case c.Foreign:
		return Failf(GroupStore, "database", "Name another folder with --home.", "holdfast.db is a database of another program")
	case len(c.Damage) > 0:
		return Failf(GroupStore, "database", restore, "it is damaged: %s (%s)", strings.Join(c.Damage, "; "), about)
	case c.Unchecked != nil:
		return Warnf(GroupStore, "database", "Check it at leisure: holdfast verify", "%s; the check was broken off after %s (%v)", about, span(c.Took), c.Unchecked)
	case c.Schema > c.Known:
		return Warnf(GroupStore, "database", "Install the newer version again, unless the older one is meant.", "%s; a newer Holdfast wrote it, this one knows schema %d", about, c.Known)
	}
	return Okf(GroupStore, "database", "whole (checked in %s); %s", c.Took.Round(time.Millisecond), about)
}

package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	agefile "filippo.io/age"

	"github.com/holdfast-dev/holdfast/internal/config"
	"github.com/holdfast-dev/holdfast/internal/proc"
	"github.com/holdfast-dev/holdfast/internal/said"
	"github.com/holdfast-dev/holdfast/internal/store"
)

type backupCmd struct {
	To           string   `placeholder:"PATH" default:"." help:"Folder that gets the file, or the file itself. By default this folder."`
	AgeRecipient []string `placeholder:"KEY" help:"Encrypt for this public key of age (age1…). May be given several times."`
	JSON         bool     `name:"json" help:"Print JSON."`
}

// Help is shown after the flags.
func (backupCmd) Help() string {
	return `It holds the database (sessions, transcripts, attachments, logins as hashes) and config.toml, which may hold keys that you gave to agents. Encrypt it (--age-recipient) or keep it private. It holds no logs, nothing of the agents' own, and none of your projects' files.

A host that runs goes on meanwhile. The file is read back and checked before the command says done; where it fails, or you press Ctrl-C, nothing is left.

Examples:
  holdfast backup --to /mnt/backups
  holdfast backup --to /mnt/backups --age-recipient age1…`
}

// Run makes a backup.
func (c *backupCmd) Run(ctx context.Context, a *app) (err error) {
	cfg, _ := a.folders()
	recipients := make([]agefile.Recipient, 0, len(c.AgeRecipient))
	for _, text := range c.AgeRecipient {
		r, err := store.Recipient(text)
		if err != nil {
			return &Error{Code: ExitUsage, Msg: fmt.Sprintf("%q is no public key of age (it begins with age1): %v.", text, err), Err: err}
		}
		recipients = append(recipients, r)
	}
	now := time.Now()
	to, err := c.target(now, len(recipients) > 0)
	if err != nil {
		return err
	}
	if _, err := os.Stat(cfg.DB()); errors.Is(err, fs.ErrNotExist) {
		return failf("there is nothing to back up: %s holds no database", cfg.Home)
	}
	// What is not encrypted never leaves the private state folder.
	temp, done, err := scratch(cfg.Home, "backup")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	p := a.percent("Copying the database")
	defer p.end()
	db := filepath.Join(temp, "holdfast.db")
	if err := a.copyTo(ctx, db, p); err != nil {
		return stopped(ctx, err)
	}
	p.next("Checking the copy")
	info, err := store.CheckCopy(ctx, db, p.tell)
	if err != nil {
		return stopped(ctx, failf("the copy of the database is not good, so no backup was made: %w. See: holdfast verify", err))
	}
	p.next("Writing and reading back")
	m, err := store.WriteBackup(ctx, store.BackupOptions{
		DB: db, Config: cfg.File(), Copy: info, Version: a.Version, Recipients: recipients, To: to, Now: now, Progress: p.tell,
	})
	p.end()
	if err != nil {
		return stopped(ctx, writeFailed(err, to))
	}
	return c.done(a, to, m)
}

func (c *backupCmd) done(a *app, to string, m store.Manifest) error {
	size := int64(0)
	if info, err := os.Stat(to); err == nil {
		size = info.Size()
	}
	if c.JSON {
		data, err := json.Marshal(map[string]any{"file": to, "bytes": size, "encrypted": len(c.AgeRecipient) > 0, "manifest": m})
		if err != nil {
			return err
		}
		return a.printJSON(data)
	}
	a.printf("%s\n", to)
	a.notef("%d sessions up to event %d, %s; read back and checked.\n", m.Copy.Sessions, m.Copy.Last, said.Size(size))
	return nil
}

// target is the file that the backup becomes.
func (c *backupCmd) target(now time.Time, encrypted bool) (string, error) {
	to, err := filepath.Abs(c.To)
	if err != nil {
		return "", failf("find %s: %w", c.To, err)
	}
	name := "holdfast-" + now.Format("20060102-150405") + ".tar.gz"
	if encrypted {
		name += ".age"
	}
	info, err := os.Stat(to)
	switch {
	case err == nil && info.IsDir():
		to = filepath.Join(to, name)
	case err == nil:
		return "", failf("%s exists already; a backup replaces nothing. Choose another name, or a folder", to)
	case !errors.Is(err, fs.ErrNotExist):
		return "", failf("look at %s: %w", to, err)
	case !strings.HasSuffix(to, ".tar.gz") && !strings.HasSuffix(to, ".age"):
		return "", failf("the folder %s does not exist. Make it, or name a file that ends in .tar.gz (.tar.gz.age where it is encrypted)", to)
	case strings.HasSuffix(to, ".age") != encrypted:
		return "", failf("an encrypted backup ends in .age, and another one does not: %s", to)
	}
	if _, err := os.Lstat(to); err == nil {
		return "", failf("%s exists already; a backup replaces nothing", to)
	}
	if info, err := os.Stat(filepath.Dir(to)); err != nil || !info.IsDir() {
		return "", failf("the folder %s does not exist. Make it first", filepath.Dir(to))
	}
	return to, nil
}

// copyTo has the database's owner write a copy: the running host, or the store
// in this process while no host runs.
func (a *app) copyTo(ctx context.Context, to string, p *percent) (err error) {
	h, err := a.reach(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	resp, err := h.open(ctx, http.MethodPost, "/control/copy", map[string]string{"to": to})
	var refused *problem
	if errors.As(err, &refused) && refused.Status == http.StatusNotFound {
		return failf("the host that runs is older than this command. Restart it first: holdfast restart")
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var last struct {
		Done, Total int64
		Whole, Full bool
		Error       string
	}
	dec := json.NewDecoder(bufio.NewReader(resp.Body))
	for {
		if err := dec.Decode(&last); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return failf("the host ended in the middle of the copy, so no backup was made: %w. Try again", err)
		}
		p.tell(last.Done, last.Total)
	}
	if last.Full {
		return failf("%s. The copy needs room in the state folder; free some, then try again", last.Error)
	}
	if !last.Whole {
		return failf("the database could not be copied: %s", last.Error)
	}
	return nil
}

// reach is connectOrOpen for a host whose configuration may be broken now.
func (a *app) reach(ctx context.Context) (*client, error) {
	h, _, err := a.connect(ctx)
	if errors.Is(err, errNoHost) {
		return a.connectOrOpen(ctx)
	}
	return h, err
}

type restoreCmd struct {
	From     string `arg:"" help:"The backup."`
	Identity string `placeholder:"FILE" help:"File with age's secret key, for an encrypted backup."`
	Yes      bool   `short:"y" help:"Do not ask."`
}

// Help is shown after the flags.
func (restoreCmd) Help() string {
	return `No host may run. The backup is checked whole before anything is changed. The state that is there is kept beside the state folder, under the name that the command prints.

Agents that work for the old state are ended when the host starts, or end by themselves a little later; "holdfast stop --all" ends them before.

Examples:
  holdfast restore holdfast-20260102-030405.tar.gz
  holdfast restore --identity ~/key.txt holdfast-20260102-030405.tar.gz.age`
}

// Run restores a backup.
func (c *restoreCmd) Run(ctx context.Context, a *app) (err error) {
	cfg, _ := a.folders()
	var identities []agefile.Identity
	if c.Identity != "" {
		if identities, err = store.Identities(c.Identity); err != nil {
			return failf("read the identity %s: %w", c.Identity, err)
		}
	}
	if err := config.EnsureHome(cfg.Home); err != nil {
		return &Error{Code: ExitFailure, Msg: err.Error(), Err: err}
	}
	lock, err := proc.Lock(cfg.Lock())
	if errors.Is(err, proc.ErrLocked) {
		return failf("a host runs on %s, and nothing can be restored under it. Stop it first (holdfast stop --all), then restore", cfg.Home)
	}
	if err != nil {
		return failf("lock the state folder: %w", err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	temp, done, err := scratch(cfg.Home, "restore")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	p := a.percent("Reading the backup")
	defer p.end()
	m, err := store.ReadBackup(ctx, c.From, identities, temp, p.tell)
	if err != nil {
		return stopped(ctx, readFailed(err, c))
	}
	p.next("Checking it")
	db := filepath.Join(temp, "holdfast.db")
	info, err := store.CheckCopy(ctx, db, p.tell)
	p.end()
	var newer *store.TooNewError
	if errors.As(err, &newer) {
		return failf("%s was made by a newer Holdfast (%s; its schema is %d, this program knows up to %d). Install that version first. Nothing was changed", c.From, m.Version, newer.Schema, newer.Known)
	}
	if err != nil {
		return stopped(ctx, failf("%s is not good: %w. Nothing was changed", c.From, err))
	}
	return c.place(a, cfg, temp, m, info)
}

// place puts checked files in the place of those that are there.
func (c *restoreCmd) place(a *app, cfg *config.Config, temp string, m store.Manifest, info store.CopyInfo) error {
	_, err := os.Lstat(cfg.DB())
	there := err == nil
	what := fmt.Sprintf("%d sessions, made %s by Holdfast %s", info.Sessions, when(m.CreatedAt), m.Version)
	if there && !c.Yes {
		if !a.interactive() {
			return failf("%s holds a state already. To put the backup in its place (it is kept): --yes", cfg.Home)
		}
		if !a.agree(fmt.Sprintf("Put this backup (%s) in the place of the state in %s? That one is kept.", what, cfg.Home)) {
			return failf("nothing was changed")
		}
	}
	name := "before-restore-" + time.Now().Format("20060102-150405")
	old := cfg.Home + "." + name
	if err := os.Mkdir(old, 0o700); err != nil {
		// Its parent may be another user's.
		old = filepath.Join(cfg.Home, name)
		if err := os.Mkdir(old, 0o700); err != nil {
			return failf("keep the old state: %w. Nothing was changed", err)
		}
	}
	kept := false
	settings := filepath.Join(temp, "config.toml")
	if _, err := os.Stat(settings); err == nil {
		text, err := os.ReadFile(cfg.File())
		if err == nil {
			kept = true
			err = os.WriteFile(filepath.Join(old, "config.toml"), text, 0o600)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return failf("keep the old config.toml: %w. Nothing was changed", err)
		}
		if err := os.Rename(settings, cfg.File()); err != nil {
			return failf("put config.toml in place: %w", err)
		}
	}
	if err := store.Exchange(cfg.DB(), filepath.Join(temp, "holdfast.db"), old); err != nil {
		return failf("%w. What was there is in %s. Restore again when that is put right", err, old)
	}
	a.notef("Restored %s.\n", what)
	if there || kept {
		a.notef("The state before is kept in %s; remove it when you are content.\n", old)
	} else {
		_ = os.Remove(old) // nothing was there
	}
	a.notef("Start the host: holdfast up (or: holdfast service start)\n")
	return nil
}

func readFailed(err error, c *restoreCmd) error {
	var none *agefile.NoIdentityMatchError
	switch {
	case errors.Is(err, store.ErrEncrypted):
		return failf("%s is encrypted. Name the file with the secret key: --identity FILE. Nothing was changed", c.From)
	case errors.As(err, &none):
		return failf("the identity in %s does not open %s: it was encrypted for another key. Nothing was changed", c.Identity, c.From)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return failf("%w. Nothing was changed", err)
	}
	return failf("%s cannot be used: %w. Nothing was changed", c.From, err)
}

func writeFailed(err error, to string) error {
	dir := filepath.Dir(to)
	switch {
	case errors.Is(err, store.ErrDiskFull):
		return failf("%w. No backup was made; free some space, or choose another place with --to", err)
	case errors.Is(err, fs.ErrPermission):
		return failf("%s cannot be written to: %w. Choose another place with --to", dir, err)
	case errors.Is(err, store.ErrExists):
		return failf("%s exists already; a backup replaces nothing", to)
	}
	return failf("no backup was made: %w", err)
}

// stopped says of a command that a person ended that it left nothing.
func stopped(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return failf("stopped; nothing is left of it")
	}
	return err
}

// scratchAge is when a folder of a command that was killed is removed.
const scratchAge = 24 * time.Hour

// scratch makes a private folder in the state folder, and removes those that
// killed commands left.
func scratch(home, what string) (dir string, done func() error, err error) {
	old, _ := filepath.Glob(filepath.Join(home, ".*-*.partial"))
	for _, path := range old {
		if info, err := os.Lstat(path); err == nil && info.IsDir() && time.Since(info.ModTime()) > scratchAge {
			_ = os.RemoveAll(path)
		}
	}
	dir, err = os.MkdirTemp(home, "."+what+"-*.partial")
	if err != nil {
		return "", nil, failf("make a folder for the copy: %w", err)
	}
	return dir, func() error { return os.RemoveAll(dir) }, nil
}

// percent is one line that tells how far a command is, on a terminal only.
type percent struct {
	a     *app
	what  string
	shown time.Time
}

func (a *app) percent(what string) *percent { return &percent{a: a, what: what} }

func (p *percent) next(what string) { p.what, p.shown = what, time.Time{} }

func (p *percent) tell(done, total int64) {
	if total <= 0 || time.Since(p.shown) < 100*time.Millisecond || !isTerminal(p.a.Err) {
		return
	}
	p.shown = time.Now()
	p.a.notef("\r\x1b[K%s … %d %%", p.what, 100*done/total)
}

// end takes the line away.
func (p *percent) end() {
	if isTerminal(p.a.Err) {
		p.a.notef("\r\x1b[K")
	}
}

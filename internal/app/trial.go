package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2/maybe"

	"github.com/holdfast-dev/holdfast/internal/config"
	"github.com/holdfast-dev/holdfast/internal/failpoint"
	"github.com/holdfast-dev/holdfast/internal/handoff"
	"github.com/holdfast-dev/holdfast/internal/release"
	"github.com/holdfast-dev/holdfast/internal/store"
)

// trial is what a new version has to prove before it takes the old one's
// place. It lies in the state folder as well, so that an old version that is
// started while it is there knows that the new one died.
type trial struct {
	Version string `json:"version"` // of the old one
	Schema  int    `json:"schema"`  // that the old one knows
	Staged  string `json:"staged"`  // the new binary
}

const (
	trialPasses = 2               // probes in a row that must pass
	trialPause  = time.Second     // between them
	probeLimit  = 5 * time.Second // for one
	trialLimit  = 45 * time.Second
)

func trialPatience() time.Duration { return failpoint.Millis("trial_ms", trialLimit) }

func trialFile(home string) string { return filepath.Join(home, "upgrade.json") }

// begin notes that a trial is under way.
func (t *trial) begin(home string) error {
	data, err := json.Marshal(t)
	if err != nil {
		return err
	}
	return maybe.WriteFile(trialFile(home), append(data, '\n'), 0o600)
}

// endTrial removes the note of a trial.
func endTrial(home string) error {
	if err := os.Remove(trialFile(home)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// aborted finds a trial in which the new version died, mends what it left, and
// says what happened; "" where there was none.
func aborted(cfg *config.Config, log *slog.Logger) string {
	data, err := os.ReadFile(trialFile(cfg.Home))
	if errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	var t trial
	if err == nil {
		err = json.Unmarshal(data, &t)
	}
	text := fmt.Sprintf("The new version ended during its trial; %s runs again.", Version)
	log.Error("an upgrade failed", "text", text, "staged", t.Staged, "err", err)
	if t.Staged != "" {
		_ = os.Remove(t.Staged) // it may be gone
	}
	return text
}

// restoreAfter mends a store that a version which died in its trial has
// migrated further than this one can write. Nothing was accepted since, so the
// copy from before is the truth.
func restoreAfter(cfg *config.Config, log *slog.Logger, newer *store.TooNewError) error {
	log.Warn("the database is put back to what it was before the upgrade", "schema", newer.Schema)
	return store.Restore(cfg.DB(), newer.Schema)
}

// prover has a new version prove itself.
type prover struct {
	cfg     *config.Config
	log     *slog.Logger
	told    relay
	release func() // ends the hold
	well    func(context.Context) error
	replace *replacing
}

// run probes until the version has proven itself or its time is up. Then it
// takes the old one's place, or gives way to it.
func (p *prover) run(ctx context.Context) error {
	limit, cancel := context.WithTimeout(ctx, trialPatience())
	defer cancel()
	failpoint.Hit("trial.begin")
	err := p.probe(limit)
	if ctx.Err() != nil {
		return nil // asked to stop; the next start is the old version's
	}
	if err == nil {
		err = p.confirm()
	}
	if err != nil {
		p.replace.giveWay(err)
		return nil
	}
	p.release()
	return nil
}

func (p *prover) probe(ctx context.Context) error {
	var last error
	for passed := 0; passed < trialPasses; {
		failpoint.Hit("trial.probe")
		probe, cancel := context.WithTimeout(ctx, probeLimit)
		err := p.well(probe)
		cancel()
		if err == nil {
			passed++
		} else {
			passed, last = 0, err
		}
		if passed == trialPasses {
			break
		}
		select {
		case <-time.After(trialPause):
		case <-ctx.Done():
			return fmt.Errorf("its probe did not pass twice in %s: %w", trialPatience(), errors.Join(last, ctx.Err()))
		}
	}
	return ctx.Err()
}

// confirm puts the new binary in the place of the old one, which is kept
// beside it.
func (p *prover) confirm() error {
	t := p.told.Trial
	previous, err := release.Install(t.Staged, p.told.Exe)
	if err != nil {
		return err
	}
	if err := endTrial(p.cfg.Home); err != nil {
		p.log.Warn("remove the note of the trial", "err", err)
	}
	text := fmt.Sprintf("%s replaced %s; the old one is kept as %s.", Version, t.Version, previous)
	p.replace.proven(text)
	p.log.Info("the upgrade is done", "version", Version, "before", t.Version, "previous", previous)
	return nil
}

// giveBack runs the old version again, from wherever the new one has come to.
// It returns only on an error.
func giveBack(cfg *config.Config, log *slog.Logger, told relay, reason error, out handoff.Out) error {
	t := told.Trial
	next := relay{
		Exe: told.Exe, Addr: told.Addr, Restarts: told.Restarts + 1, Asked: time.Now(),
		Failed: true, Upgrade: fmt.Sprintf("The upgrade from %s to %s failed: %v. %s runs again.", t.Version, Version, reason, t.Version),
	}
	log.Error("the new version gives way to the old one", "reason", reason)
	if err := putBack(cfg, log, t); err != nil {
		log.Error("put the database back", "err", err)
	}
	_ = os.Remove(t.Staged)
	if err := endTrial(cfg.Home); err != nil {
		log.Error("remove the note of the trial", "err", err)
	}
	out.Note = next
	return handoff.Exec(told.Exe, os.Args, os.Environ(), out)
}

// putBack restores the database where the old version could not write to it as
// it is now. It is closed.
func putBack(cfg *config.Config, log *slog.Logger, t *trial) error {
	schema, err := store.Schema()
	if err != nil || schema == t.Schema {
		return err
	}
	if store.WriterMin() > t.Schema {
		log.Warn("the database is put back to what it was before the upgrade", "schema", schema)
		err := store.Restore(cfg.DB(), schema)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it was not migrated yet
		}
		return err
	}
	// A later upgrade to the same schema makes a copy of its own.
	return store.DropCopy(cfg.DB(), schema)
}

// errLate is why a new version that does not come to serve gives way.
var errLate = errors.New("it did not begin to serve in time")

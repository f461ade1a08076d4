package session

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"github.com/holdfast-dev/holdfast/internal/keeper"
	"github.com/holdfast-dev/holdfast/internal/proc"
	"github.com/holdfast-dev/holdfast/internal/said"
	"github.com/holdfast-dev/holdfast/internal/store"
)

// strangerPatience is how long a keeper has that is asked to end, its agent's own
// time included.
const strangerPatience = 15 * time.Second

// endStrangers ends the keepers of epochs that the store does not know: a backup
// was restored that is older than they are, so nobody will ever read what their
// agents do, nor answer them. Their folders stay, with what was said: the state
// from before the restore may be put back.
//
// It goes by the locks in this state folder, so it meets no keeper of another
// one. The folders are listed before the epochs are: an epoch is in the store
// before its folder is there. A program on trial must not call it.
func (m *Manager) endStrangers(ctx context.Context) error {
	m.strangers.Lock()
	defer m.strangers.Unlock()
	dirs, err := os.ReadDir(m.Keepers)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	var held []string
	for _, d := range dirs {
		if yes, err := keeper.Held(m.dir(d.Name())); err == nil && yes {
			held = append(held, d.Name())
		}
	}
	if len(held) == 0 {
		return nil
	}
	epochs, err := m.Store.Epochs(ctx, false)
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, ep := range epochs {
		known[ep.Name] = true
	}
	var errs []error
	for _, epoch := range held {
		if !known[epoch] {
			errs = append(errs, m.endStranger(ctx, epoch))
		}
	}
	return errors.Join(errs...)
}

func (m *Manager) endStranger(ctx context.Context, epoch string) error {
	info, err := keeper.ReadInfo(m.dir(epoch))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // half born: it ends by itself without a host
	}
	if err != nil {
		return err
	}
	mark := m.mark(info.Session, epoch)
	// The lock is held, so this is of this boot. The mark says that it is ours; not
	// every system tells it.
	if was := proc.MarkOf(info.Keeper.PID); info.Epoch != epoch || was != mark && was != "" {
		return nil
	}
	m.Log.Warn("a keeper is of a past that the store does not know, as after a restore, and is ended with its agent",
		"session", info.Session, "epoch", epoch, "keeper", info.Keeper.PID, "since", info.StartedAt, "kept", m.dir(epoch))
	ctx, stop := context.WithTimeout(ctx, strangerPatience)
	defer stop()
	if err := keeper.End(ctx, m.dir(epoch)); err != nil {
		return err
	}
	left, err := keeper.Sweep(ctx, mark)
	if len(left) > 0 {
		m.Log.Error("processes of an unknown past do not go", "epoch", epoch, "left", len(left))
	}
	if err != nil {
		return err
	}
	return m.commit(ctx, store.Durable, func(tx *store.Tx) error {
		s, err := tx.Session(info.Session)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		return appendNotice(tx, s.ID, "", "warning", said.UnknownPast(), "")
	})
}

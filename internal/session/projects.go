package session

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/holdfast-dev/holdfast/internal/store"
)

// ProjectChange is what a person sets of a project. Nil leaves a field; a new
// project needs a folder.
type ProjectChange struct {
	Name  *string
	Cwd   *string
	Agent *string
}

// PutProject makes a project (id "") or changes one. version is that which the
// person saw, or 0.
func (m *Manager) PutProject(ctx context.Context, id string, version int64, c ProjectChange) (store.Project, error) {
	var agentID string
	if c.Agent != nil {
		agentID = *c.Agent
	}
	if agentID != "" {
		if _, err := m.Catalogue.Get(ctx, agentID); err != nil {
			return store.Project{}, &Error{Code: CodeAgentUnknown, Message: fmt.Sprintf("The agent %q cannot be used: %v.", agentID, err)}
		}
	}
	if c.Cwd != nil {
		cwd := filepath.Clean(*c.Cwd)
		if info, err := os.Stat(cwd); !filepath.IsAbs(cwd) || err != nil || !info.IsDir() {
			return store.Project{}, &Error{Code: CodeBadCwd, Message: fmt.Sprintf("The folder %q is not an absolute path of a folder that exists.", *c.Cwd)}
		}
		c.Cwd = &cwd
	}
	var out store.Project
	err := m.update(func(tx *store.Tx, _ *effects) error {
		var p store.Project
		if id != "" {
			var err error
			if p, err = tx.Project(id); err != nil {
				return err
			}
		}
		if version != 0 && version != p.Version {
			return &Error{Code: CodeVersionConflict, Message: "The project was changed elsewhere since you saw it. Read it again and repeat the change."}
		}
		if c.Cwd != nil {
			p.Cwd = *c.Cwd
		}
		if c.Name != nil {
			p.Name = strings.TrimSpace(*c.Name)
		}
		if p.Name == "" {
			p.Name = filepath.Base(p.Cwd)
		}
		if c.Agent != nil {
			p.Agent = agentID
		}
		if p.Cwd == "" {
			return &Error{Code: CodeBadCwd, Message: "A project needs a folder."}
		}
		var err error
		out, err = tx.PutProject(p)
		if errors.Is(err, store.ErrExists) {
			return &Error{Code: CodeProjectExists, Message: "Another project has this folder. Change that one."}
		}
		return err
	})
	return out, err
}

// DeleteProject removes a project; its sessions stay, and belong to none.
func (m *Manager) DeleteProject(_ context.Context, id string) error {
	return m.update(func(tx *store.Tx, _ *effects) error { return tx.DeleteProject(id) })
}

// projectOf is the project of a new session: the one that was named, or the one
// whose folder it begins in.
func projectOf(tx *store.Tx, named, cwd string) (string, error) {
	if named == "" {
		return tx.ProjectOf(cwd)
	}
	return named, projectExists(tx, named)
}

func projectExists(tx *store.Tx, id string) error {
	_, err := tx.Project(id)
	if errors.Is(err, store.ErrNotFound) {
		return &Error{Code: CodeBadRequest, Message: fmt.Sprintf("There is no project %q.", id)}
	}
	return err
}

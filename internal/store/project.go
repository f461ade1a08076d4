package store

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

// Project is a folder with a name and the agent that sessions in it begin with.
type Project struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Cwd       string    `json:"cwd"`
	Agent     string    `json:"agent"` // an id of the catalogue, or ""
	Version   int64     `json:"version"`
	CreatedAt time.Time `json:"created_at"`
}

const projectColumns = "id, name, cwd, agent, version, created_at"

func scanProject(r scanner) (p Project, err error) {
	var at int64
	err = r.Scan(&p.ID, &p.Name, &p.Cwd, &p.Agent, &p.Version, &at)
	p.CreatedAt = fromMillis(at)
	return p, err
}

// Projects lists them by name.
func (s *Store) Projects(ctx context.Context) (list []Project, err error) {
	err = s.view(ctx, func(q *reading) error {
		list, err = queryRead(q, scanProject, "SELECT "+projectColumns+" FROM projects ORDER BY name COLLATE NOCASE, id LIMIT 1000")
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list projects: %w", err)
	}
	return list, nil
}

// Project returns one, or ErrNotFound.
func (tx *Tx) Project(id string) (Project, error) {
	return one1(queryTx(tx, scanProject, "SELECT "+projectColumns+" FROM projects WHERE id = ?", id))
}

// PutProject makes a project, or changes the one of that id and raises its
// version. It returns ErrExists where another one has the folder.
func (tx *Tx) PutProject(p Project) (Project, error) {
	var other string
	err := tx.one("SELECT id FROM projects WHERE cwd = ? AND id <> ?", []any{p.Cwd, p.ID}, &other)
	if err == nil {
		return p, fmt.Errorf("put project %s: folder %s: %w", p.Name, p.Cwd, ErrExists)
	}
	if !errors.Is(err, ErrNotFound) {
		return p, err
	}
	if p.ID == "" {
		p.ID, p.CreatedAt = NewID(), tx.now
	}
	p.Version++
	err = tx.exec("INSERT INTO projects ("+projectColumns+`) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET name = excluded.name, cwd = excluded.cwd, agent = excluded.agent, version = excluded.version`,
		p.ID, p.Name, p.Cwd, p.Agent, p.Version, p.CreatedAt.UnixMilli())
	if err != nil {
		return p, fmt.Errorf("put project %s: %w", p.Name, err)
	}
	return p, tx.tell(ProjectChanged, p)
}

// DeleteProject removes a project. Its sessions stay, and belong to none.
func (tx *Tx) DeleteProject(id string) error {
	if _, err := tx.Project(id); err != nil {
		return fmt.Errorf("delete project %s: %w", id, err)
	}
	list, err := queryTx(tx, func(r scanner) (id string, err error) { return id, r.Scan(&id) }, "SELECT id FROM sessions WHERE project = ?", id)
	if err != nil {
		return err
	}
	none := ""
	for _, session := range list {
		if err := tx.SetTraits(session, Traits{Project: &none}); err != nil {
			return err
		}
	}
	if err := tx.exec("DELETE FROM projects WHERE id = ?", id); err != nil {
		return err
	}
	return tx.tell(ProjectDeleted, map[string]string{"id": id})
}

// FindProject returns the project of that folder, or else the first of that
// name, or ErrNotFound.
func (tx *Tx) FindProject(cwd, name string) (Project, error) {
	return one1(queryTx(tx, scanProject, "SELECT "+projectColumns+` FROM projects WHERE cwd = ?1 OR name = ?2 COLLATE NOCASE
		ORDER BY cwd = ?1 DESC, created_at LIMIT 1`, cwd, name))
}

// ProjectOf returns the project whose folder holds cwd, the innermost one, or "".
func (tx *Tx) ProjectOf(cwd string) (string, error) {
	list, err := queryTx(tx, scanProject, "SELECT "+projectColumns+" FROM projects ORDER BY length(cwd) DESC")
	for _, p := range list {
		rel, err := filepath.Rel(p.Cwd, cwd)
		if err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
			return p.ID, nil
		}
	}
	return "", err
}

package httpapi

import (
	"context"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast/internal/access"
	"github.com/holdfast-dev/holdfast/internal/store"
)

// memory is access's store without a disk.
type memory struct {
	mu       sync.Mutex
	rows     []access.Credential
	settings map[string]string
}

func newMemory() *memory { return &memory{settings: map[string]string{}} }

func (m *memory) AddCredential(_ context.Context, c access.Credential) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rows = append(m.rows, c)
	return nil
}

func (m *memory) CredentialByHash(_ context.Context, hash string) (access.Credential, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.rows {
		if c.Hash == hash {
			return c, nil
		}
	}
	return access.Credential{}, store.ErrNotFound
}

func (m *memory) Credentials(context.Context) ([]access.Credential, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]access.Credential(nil), m.rows...), nil
}

func (m *memory) RemoveCredential(_ context.Context, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, c := range m.rows {
		if c.ID == id {
			m.rows = append(m.rows[:i:i], m.rows[i+1:]...)
			return nil
		}
	}
	return store.ErrNotFound
}

func (m *memory) TakeLink(_ context.Context, hash string, now time.Time) (access.Credential, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, c := range m.rows {
		if c.Hash == hash && c.Kind == access.KindLink && now.Before(c.ExpiresAt) {
			m.rows = append(m.rows[:i:i], m.rows[i+1:]...)
			return c, nil
		}
	}
	return access.Credential{}, store.ErrNotFound
}

func (m *memory) TouchCredential(context.Context, string, time.Time, time.Time) error { return nil }

func (m *memory) Setting(_ context.Context, name string) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.settings[name], nil
}

func (m *memory) SetSetting(_ context.Context, name, value string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.settings[name] = value
	return nil
}

package watch

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/holdfast-dev/holdfast/internal/proc"
)

// Memory is what one look leaves for the next one, in a file where the next
// one is another process.
type Memory struct {
	First  proc.ID   `json:"first"`                 // the process of the last look
	Misses int       `json:"misses"`                // looks in a row that it did not answer, or was not there
	Silent time.Time `json:"silent_since,omitzero"` // the first of the looks without an answer
	Acted  time.Time `json:"acted,omitzero"`
}

// Load reads a memory; one that is not there, or broken, is empty.
func Load(path string) (Memory, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Memory{}, nil
	}
	if err != nil {
		return Memory{}, fmt.Errorf("read what the last look left: %w", err)
	}
	var m Memory
	if json.Unmarshal(data, &m) != nil {
		return Memory{}, nil
	}
	return m, nil
}

// Save writes the memory, making its folder.
func (m Memory) Save(path string) error {
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("keep what this look saw: %w", err)
	}
	// Whole or not at all; after a power cut the one before is as good.
	f, err := os.CreateTemp(filepath.Dir(path), ".watch-*")
	if err != nil {
		return fmt.Errorf("keep what this look saw: %w", err)
	}
	_, err = f.Write(append(data, '\n'))
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return fmt.Errorf("keep what this look saw: %w", err)
	}
	return nil
}

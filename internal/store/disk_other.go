//go:build !unix

package store

import (
	"errors"
	"os"
)

func freeBytes(string) (uint64, error) { return 0, errors.ErrUnsupported }

// replaceFile writes a small file whole, without the promise for a crash that
// other systems can give.
func replaceFile(path string, data []byte) error {
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

//go:build failpoints

package failpoint

import (
	"os"
	"sync"
)

var leaked struct {
	mu    sync.Mutex
	files []*os.File
}

// Leak opens the file that the environment names for the place, if it does,
// and forgets to close it.
func Leak(name string) {
	path := Value(name)
	if path == "" {
		return
	}
	f, err := os.Open(path)
	if err != nil {
		return
	}
	leaked.mu.Lock()
	leaked.files = append(leaked.files, f) // else the collector would close it
	leaked.mu.Unlock()
}

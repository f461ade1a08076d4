package app

import (
	"errors"
	"io"
	"sync"
)

// sinks are where the log goes. One that fails keeps no other from its line: a
// terminal that was closed must not silence the file.
type sinks struct {
	mu sync.Mutex
	to []io.Writer
}

// set adds a writer, or puts it in the place of the others.
func (s *sinks) set(alone bool, w io.Writer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if alone {
		s.to = nil
	}
	s.to = append(s.to, w)
}

func (s *sinks) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, w := range s.to {
		_, err := w.Write(p)
		errs = append(errs, err)
	}
	return len(p), errors.Join(errs...)
}

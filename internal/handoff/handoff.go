package handoff

import (
	"encoding/json"
	"errors"
	"os"
)

// Var is the environment variable in which the next program finds what it is
// given.
const Var = "HOLDFAST_HANDOFF"

// Out is what this program gives to the next.
type Out struct {
	Doors map[string]*Listener // frozen
	Files map[string]*os.File  // the lock
	Note  any                  // anything that JSON can hold
}

// In is what the program before gave. The caller owns what is in it. A nil In
// is empty.
type In struct {
	Doors map[string]*Listener
	Files map[string]*os.File
	Note  json.RawMessage
}

// Door returns the listener of that name, or nil.
func (in *In) Door(name string) *Listener {
	if in == nil {
		return nil
	}
	return in.Doors[name]
}

// File returns the file of that name, or nil.
func (in *In) File(name string) *os.File {
	if in == nil {
		return nil
	}
	return in.Files[name]
}

// Close closes everything that was given.
func (in *In) Close() error {
	if in == nil {
		return nil
	}
	var errs []error
	for _, l := range in.Doors {
		errs = append(errs, l.Close())
	}
	for _, f := range in.Files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

//go:build !linux && !darwin

package proc

import (
	"syscall"
	"time"
)

// Lookup is not supported here.
func Lookup(int) (Info, error) { return Info{}, ErrUnsupported }

// All is not supported here.
func All() ([]Info, error) { return nil, ErrUnsupported }

// Environ is not supported here.
func Environ(int) ([]string, error) { return nil, ErrUnsupported }

// Descriptors is not supported here.
func Descriptors(int) ([]Descriptor, error) { return nil, ErrUnsupported }

// BootID is not supported here.
func BootID() (string, error) { return "", ErrUnsupported }

// Monotonic follows the wall clock here.
func Monotonic() time.Duration { return time.Duration(time.Now().UnixNano()) }

// SetSubreaper is not supported here.
func SetSubreaper() error { return ErrUnsupported }

// CloseOnExecFrom is not supported here.
func CloseOnExecFrom(int) error { return ErrUnsupported }

// StartAttr returns no attributes here.
func StartAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{} }

// FreeDisk is not supported here.
func FreeDisk(string) (uint64, error) { return 0, ErrUnsupported }

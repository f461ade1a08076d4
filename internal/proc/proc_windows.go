package proc

import (
	"os"
	"syscall"
	"time"
)

// Self returns the pid alone here.
func Self() (ID, error) { return ID{PID: os.Getpid()}, nil }

// Signal is not supported here.
func Signal(ID, syscall.Signal) error { return ErrUnsupported }

// Reap has nothing to do here.
func Reap(ID, time.Duration) {}

// Lock is not supported here.
func Lock(string) (*os.File, error) { return nil, ErrUnsupported }

// LockFile is not supported here.
func LockFile(*os.File) error { return ErrUnsupported }

// Unlock is not supported here.
func Unlock(*os.File) error { return ErrUnsupported }

// Locked is not supported here.
func Locked(string) (bool, error) { return false, ErrUnsupported }

// RaiseNoFile is not supported here.
func RaiseNoFile() (uint64, error) { return 0, ErrUnsupported }

// SetNoFile is not supported here.
func SetNoFile(uint64) (uint64, error) { return 0, ErrUnsupported }

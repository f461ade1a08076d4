package store

import (
	"errors"
	"fmt"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// What callers branch on.
var (
	ErrNotFound   = errors.New("not found")
	ErrExists     = errors.New("exists already")
	ErrNotPending = errors.New("the approval is no longer pending")
	ErrItemClosed = errors.New("the item is closed")
	ErrOrder      = errors.New("out of order")
	ErrTooLarge   = errors.New("too large")
	ErrClosed     = errors.New("the store is closed")

	// ErrCommit is wrapped by the error of every Update of a batch that could
	// not be committed: nothing of any of them is stored.
	ErrCommit = errors.New("commit failed")
	// ErrDiskFull is wrapped, beside ErrCommit, where the disk was full.
	ErrDiskFull = errors.New("the disk is full")
)

// TooNewError says that a later Holdfast has changed the database in a way
// which this one must not write to.
type TooNewError struct {
	Path   string
	Schema int // of the database
	Known  int // the newest that this program knows
}

func (e *TooNewError) Error() string {
	return fmt.Sprintf("%s was written by a newer Holdfast (its schema is %d, this program knows up to %d): install the newer version again",
		e.Path, e.Schema, e.Known)
}

// NetFSError says that the database would lie on a filesystem on which SQLite
// has been seen to corrupt databases.
type NetFSError struct {
	Path string
	Type string
}

func (e *NetFSError) Error() string {
	return fmt.Sprintf("%s is on a %s filesystem, where databases break: choose a folder on a local disk (HOLDFAST_HOME), or allow it with --allow-netfs",
		e.Path, e.Type)
}

// ForeignError says that the file is a database of another program.
type ForeignError struct{ Path string }

func (e *ForeignError) Error() string {
	return e.Path + " is a database of another program: choose another folder (HOLDFAST_HOME)"
}

// code returns SQLite's primary result code of err, or 0.
func code(err error) int {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Code() & 0xff
	}
	return 0
}

// harmless tells whether a statement that failed with err left the transaction
// as it was, so that only its own Update need be rolled back.
func harmless(err error) bool {
	switch code(err) {
	case sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_RANGE:
		return true
	}
	return false
}

// Package proc knows processes by what never lies about them: a pid together
// with the time at which it started. It finds descendants, reads environments,
// counts descriptors and holds file locks, per operating system.
//
// It must not know what the processes are for.
package proc

import (
	"errors"
	"strings"
	"time"
)

// ErrGone says that the process of an ID has ended. Another process may have
// its pid by now.
var ErrGone = errors.New("process has ended")

// ErrLocked says that another process holds the lock.
var ErrLocked = errors.New("lock is held by another process")

// ErrUnsupported says that this operating system cannot do what was asked.
var ErrUnsupported = errors.New("not supported on this operating system")

// MarkVar is the environment variable by which the processes of one epoch are
// known, however far they have strayed from their parent.
const MarkVar = "HOLDFAST_MARK"

// ID is the identity of a process. Start is opaque and comparable within one
// boot: clock ticks since boot on Linux, microseconds since 1970 on macOS. The
// zero ID is no process.
type ID struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"`
}

// Zero tells whether the ID names no process.
func (id ID) Zero() bool { return id.PID == 0 }

// Info is what the kernel says about a process at one moment.
type Info struct {
	ID
	Parent  int    `json:"parent"`
	Group   int    `json:"group"`
	Session int    `json:"session"`       // 0 where unknown
	Command string `json:"command"`       // the short name, as ps shows it
	RSS     int64  `json:"rss,omitempty"` // bytes; 0 where unknown
	Zombie  bool   `json:"zombie,omitempty"`

	CPU time.Duration `json:"-"` // processor time that it has used; 0 where unknown
}

// Descriptor is one open descriptor of a process.
type Descriptor struct {
	FD     int    `json:"fd"`
	Target string `json:"target"` // a path, or the kernel's name such as "socket:[1]"; "" where unknown
	// Of Table only:
	Kind    Kind   `json:"kind,omitempty"`
	Name    string `json:"name,omitempty"`    // the same for descriptors that are there for the same thing
	Deleted bool   `json:"deleted,omitempty"` // no name leads to the file any more
}

// Of returns the identity of the process that has the pid now, zombies
// included. Where there is none the error is ErrGone.
func Of(pid int) (ID, error) {
	info, err := Lookup(pid)
	return info.ID, err
}

// Alive tells whether the process runs. A zombie does not.
func Alive(id ID) bool {
	if id.PID <= 0 {
		return false
	}
	info, err := Lookup(id.PID)
	return err == nil && info.Start == id.Start && !info.Zombie
}

// Tree returns the descendants of the process, without itself, parents before
// children. One whose parent has ended belongs to the nearest subreaper.
func Tree(pid int) ([]Info, error) {
	all, err := All()
	if err != nil {
		return nil, err
	}
	return Descendants(all, pid), nil
}

// Descendants picks the descendants of the pids out of one listing, without
// the pids themselves, parents before children.
func Descendants(all []Info, pids ...int) []Info {
	children := make(map[int][]Info, len(all))
	for _, p := range all {
		children[p.Parent] = append(children[p.Parent], p)
	}
	seen := make(map[int]bool, len(pids))
	for _, pid := range pids {
		seen[pid] = true
	}
	var tree []Info
	for queue := pids; len(queue) > 0; {
		var next []int
		for _, pid := range queue {
			for _, c := range children[pid] {
				if seen[c.PID] {
					continue
				}
				seen[c.PID] = true
				tree = append(tree, c)
				next = append(next, c.PID)
			}
		}
		queue = next
	}
	return tree
}

// ByMark returns the living processes that were started with MarkVar set to
// mark, of those whose environment this user may read.
func ByMark(mark string) ([]Info, error) {
	all, err := All()
	if err != nil {
		return nil, err
	}
	var found []Info
	for _, p := range all {
		if !p.Zombie && HasMark(p.PID, mark) {
			found = append(found, p)
		}
	}
	return found, nil
}

// HasMark tells whether the process was started with MarkVar set to mark.
func HasMark(pid int, mark string) bool {
	env, err := Environ(pid)
	if err != nil {
		return false
	}
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, MarkVar+"="); ok && v == mark {
			return true
		}
	}
	return false
}

// MarkOf returns the mark with which the process was started, or "" where it
// has none or its environment may not be read.
func MarkOf(pid int) string {
	env, err := Environ(pid)
	if err != nil {
		return ""
	}
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, MarkVar+"="); ok {
			return v
		}
	}
	return ""
}

// CountDescriptors returns how many descriptors the process has open.
func CountDescriptors(pid int) (int, error) {
	fds, err := Descriptors(pid)
	return len(fds), err
}

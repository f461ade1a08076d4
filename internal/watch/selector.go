package watch

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/holdfast-dev/holdfast/internal/proc"
)

// Selector says which processes are meant. Exactly one of its fields is set.
type Selector struct {
	PID  int
	Port int            // who listens on it
	Name *regexp.Regexp // of the short name or the command line
}

// String names the selector, for people and for the name of a state file.
func (s Selector) String() string {
	switch {
	case s.PID != 0:
		return "process " + strconv.Itoa(s.PID)
	case s.Port != 0:
		return "port " + strconv.Itoa(s.Port)
	case s.Name != nil:
		return "name " + s.Name.String()
	}
	return "nothing"
}

// StrangerError says that the port is held by a process of another user, of which
// nothing more is seen.
type StrangerError struct {
	Port int
	UID  int
}

func (e *StrangerError) Error() string {
	return fmt.Sprintf("port %d is held by a process of another user (uid %d), of which nothing more can be seen", e.Port, e.UID)
}

// Find returns the processes that are meant now, parents before their
// children. None is no error.
func (s Selector) Find() ([]proc.ID, error) {
	switch {
	case s.PID != 0:
		id, err := proc.Of(s.PID)
		if err != nil {
			return nil, err
		}
		return []proc.ID{id}, nil
	case s.Port != 0:
		return s.listeners()
	}
	all, err := proc.All()
	if err != nil {
		return nil, err
	}
	byPID := make(map[int]proc.Info, len(all))
	for _, p := range all {
		byPID[p.PID] = p
	}
	var found []proc.Info
	lookers := map[int]bool{}
	for _, p := range all {
		if p.Zombie {
			continue
		}
		args, err := proc.Args(p.PID)
		if err != nil {
			continue // gone, or a stranger's
		}
		line := strings.Join(args, " ")
		if p.PID == os.Getpid() || looks(args) {
			markLooker(byPID, lookers, p.PID, filepath.Base(args0(args)))
			continue
		}
		if s.Name.MatchString(p.Command) || s.Name.MatchString(line) {
			found = append(found, p)
		}
	}
	found = slices.DeleteFunc(found, func(p proc.Info) bool { return lookers[p.PID] })
	slices.SortFunc(found, func(a, b proc.Info) int { return cmp.Compare(depth(byPID, a.PID), depth(byPID, b.PID)) })
	ids := make([]proc.ID, 0, len(found))
	for _, p := range found {
		ids = append(ids, p.ID)
	}
	return ids, nil
}

func args0(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

// looks tells whether the command line is one of `holdfast watch` and
// `holdfast fds`, in which the name that they look for stands as well.
func looks(args []string) bool {
	if len(args) < 2 || strings.TrimSuffix(filepath.Base(args[0]), ".exe") != "holdfast" {
		return false
	}
	return slices.Contains(args[1:], "watch") || slices.Contains(args[1:], "fds")
}

// markLooker notes a process that looks, and the shells, sudos and crons that
// started it with the same words.
func markLooker(all map[int]proc.Info, lookers map[int]bool, pid int, base string) {
	lookers[pid] = true
	for n := 0; n < 64; n++ {
		pid = all[pid].Parent
		if pid <= 1 || lookers[pid] {
			return
		}
		args, err := proc.Args(pid)
		if err != nil {
			return
		}
		line := strings.Join(args, " ")
		if !strings.Contains(line, base+" ") || !strings.Contains(line, " watch ") && !strings.Contains(line, " fds ") {
			return
		}
		lookers[pid] = true
	}
}

func depth(all map[int]proc.Info, pid int) int {
	n := 0
	for ; n < 64 && pid > 1; n++ {
		pid = all[pid].Parent
	}
	return n
}

func (s Selector) listeners() ([]proc.ID, error) {
	holders, err := proc.Listeners(s.Port)
	if err != nil {
		return nil, err
	}
	var ids []proc.ID
	var stranger *StrangerError
	for _, h := range holders {
		switch {
		case h.Zero():
			stranger = &StrangerError{Port: s.Port, UID: h.UID}
		case !slices.Contains(ids, h.ID):
			ids = append(ids, h.ID)
		}
	}
	if len(ids) == 0 && stranger != nil {
		return nil, stranger
	}
	if len(ids) > 1 {
		all, err := proc.All()
		if err != nil {
			return nil, err
		}
		byPID := make(map[int]proc.Info, len(all))
		for _, p := range all {
			byPID[p.PID] = p
		}
		slices.SortStableFunc(ids, func(a, b proc.ID) int { return cmp.Compare(depth(byPID, a.PID), depth(byPID, b.PID)) })
	}
	return ids, nil
}

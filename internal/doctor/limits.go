package doctor

import (
	"errors"
	"fmt"
	"math"
	"os"

	"github.com/holdfast-dev/holdfast/internal/proc"
)

const (
	// fewDescriptors is too little for the connections and agents that the
	// defaults allow. launchd gives 256 to who asks for nothing.
	fewDescriptors = 1024
	// hardlyAny does not do for one agent and its page.
	hardlyAny = 64
	// fewProcesses is what a handful of agents with their helpers take.
	fewProcesses = 256
	// fullShare is how much of a limit may be taken, in percent.
	fullShare = 80
)

// limits are those of one process; zero is not known, MaxUint64 is none.
type limits struct {
	soft, hard uint64 // of descriptors
	open       int
	processes  uint64 // of this user
	tasks      uint64 // of the group of processes that this one is in
	tasksNow   uint64
	root       bool // no limit of processes counts for it
}

// Limits looks at the limits of a process; whose says whose they are, for a
// person.
func Limits(pid int, whose string) []Check {
	l := limits{root: os.Geteuid() == 0}
	var err error
	if l.soft, l.hard, err = proc.NoFile(pid); err != nil {
		if errors.Is(err, proc.ErrUnsupported) {
			return []Check{Okf(GroupLimits, "descriptors", "this system does not tell those of %s", whose)}
		}
		return []Check{Warnf(GroupLimits, "descriptors", "Run this as the user who runs the host.", "%v", err)}
	}
	if n, err := proc.CountDescriptors(pid); err == nil {
		l.open = n
	}
	if n, _, err := proc.NProc(pid); err == nil {
		l.processes = n
	}
	l.tasksNow, l.tasks = tasks(pid)
	return l.checks(whose)
}

func (l limits) checks(whose string) []Check {
	const raise = "`holdfast service install` asks the supervisor for 16384. Elsewhere: `ulimit -n 16384` before the start, LimitNOFILE= of a systemd unit, HardResourceLimits of a launchd plist."
	seen := fmt.Sprintf("%s has %s (hard limit %s), of which %d are open", whose, amount(l.soft), amount(l.hard), l.open)
	var checks []Check
	switch {
	case l.soft < hardlyAny:
		checks = append(checks, Failf(GroupLimits, "descriptors", raise, "%s: too few for one agent and its page", seen))
	case l.open > 0 && uint64(l.open)*100 >= l.soft*fullShare && l.soft < math.MaxUint64/100: //nolint:gosec // a count
		checks = append(checks, Failf(GroupLimits, "descriptors", "See what is open: holdfast fds. What is leaked comes back with: holdfast restart", "%s", seen))
	case l.soft < fewDescriptors:
		checks = append(checks, Warnf(GroupLimits, "descriptors", raise, "%s: agents and pages will be turned away", seen))
	default:
		checks = append(checks, Okf(GroupLimits, "descriptors", "%s", seen))
	}
	switch {
	case l.processes == 0:
	case l.processes < fewProcesses && !l.root:
		checks = append(checks, Warnf(GroupLimits, "processes", "Raise it: `ulimit -u` before the start, LimitNPROC= of a systemd unit, NumberOfProcesses of a launchd plist.",
			"%s for this user: agents may fail to start", amount(l.processes)))
	case l.root:
		checks = append(checks, Okf(GroupLimits, "processes", "no limit counts for root"))
	default:
		checks = append(checks, Okf(GroupLimits, "processes", "%s for this user", amount(l.processes)))
	}
	if l.tasks > 0 {
		seen := fmt.Sprintf("%d of %d processes and threads that the control group allows", l.tasksNow, l.tasks)
		if l.tasksNow*100 >= l.tasks*fullShare {
			checks = append(checks, Warnf(GroupLimits, "tasks", "Raise TasksMax= of the systemd unit or of the user's slice, or the container's limit.", "%s", seen))
		} else {
			checks = append(checks, Okf(GroupLimits, "tasks", "%s", seen))
		}
	}
	return checks
}

func amount(n uint64) string {
	if n >= math.MaxInt64 {
		return "no limit"
	}
	return fmt.Sprint(n)
}

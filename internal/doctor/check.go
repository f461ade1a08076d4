package doctor

import (
	"fmt"
	"time"
)

// State is how a thing that was looked at is.
type State string

// The states. Only what has failed is a failure of the whole.
const (
	OK      State = "ok"
	Warning State = "warning" // it works, and a person should know
	Failed  State = "failed"
)

// The groups, in the order in which they are shown.
const (
	GroupMachine = "machine"
	GroupLimits  = "limits"
	GroupService = "service"
	GroupStore   = "store"
	GroupAgents  = "agents"
)

// Groups lists them in that order.
func Groups() []string {
	return []string{GroupMachine, GroupLimits, GroupService, GroupStore, GroupAgents}
}

// Check is one thing that was looked at.
type Check struct {
	Group  string `json:"group"`
	Name   string `json:"name"` // of the thing, within its group
	State  State  `json:"state" enum:"ok,warning,failed"`
	Seen   string `json:"seen"`
	Remedy string `json:"remedy"` // what to do; "" where it is ok
}

// Okf says that all is well with a thing.
func Okf(group, name, format string, args ...any) Check {
	return Check{Group: group, Name: name, State: OK, Seen: fmt.Sprintf(format, args...)}
}

// Warnf says that a person should know something.
func Warnf(group, name, remedy, format string, args ...any) Check {
	return Check{Group: group, Name: name, State: Warning, Seen: fmt.Sprintf(format, args...), Remedy: remedy}
}

// Failf says that a thing does not work.
func Failf(group, name, remedy, format string, args ...any) Check {
	return Check{Group: group, Name: name, State: Failed, Seen: fmt.Sprintf(format, args...), Remedy: remedy}
}

// Request asks a host to look at what only it can see: its own limits, its
// database, the agents as it starts them.
type Request struct {
	// Agents asks for the agents too; each is started once and ended again.
	Agents bool `json:"agents"`
	// Shell is where the shell of who asks finds agents, by their ids.
	Shell map[string]string `json:"shell,omitempty"`
	// DeadlineMS bounds each answer of an agent, in milliseconds; 0 is the
	// usual one.
	DeadlineMS int64 `json:"deadline_ms,omitempty" minimum:"0" maximum:"600000"`
}

// Line is one line of the answer: what is being looked at now, a check that is
// done, or the end. One comes every second at least.
type Line struct {
	Doing string `json:"doing,omitempty"`
	Check *Check `json:"check,omitempty"`
	Done  bool   `json:"done,omitempty"`
}

// span is a time as people say it.
func span(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

// memorySize is a number of bytes as memory is sold: 16 GB are 16 × 2³⁰.
func memorySize(n uint64) string {
	if n < 10<<30 {
		return fmt.Sprintf("%d MB", n>>20)
	}
	return fmt.Sprintf("%d GB", n>>30)
}

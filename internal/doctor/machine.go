package doctor

import (
	"context"
	"fmt"
	"runtime"
	"time"
)

const (
	// littleMemory is less than an agent takes when it works.
	littleMemory = 512 << 20
	// epoch is before any Holdfast: a clock behind it was never set.
	epoch = 1735689600 // 2025-01-01
)

// machine is what the system says of itself; what is not known is zero.
type machine struct {
	system    string // its name and version, and the kernel's
	memory    uint64 // bytes
	available uint64 // of them
	load      string // of the last minute
	booted    time.Time
	sleeps    string // whether it falls asleep by itself, in words
	asleep    bool   // it does: then the page is out of reach
}

// Machine looks at the machine.
func Machine(ctx context.Context) []Check { return look(ctx).checks(time.Now()) }

func (m machine) checks(now time.Time) []Check {
	checks := []Check{Okf(GroupMachine, "system", "%s, %s", m.system, runtime.GOARCH)}
	cores := fmt.Sprintf("%d", runtime.NumCPU())
	if m.load != "" {
		cores += ", load " + m.load
	}
	checks = append(checks, Okf(GroupMachine, "cores", "%s", cores))
	switch {
	case m.memory == 0:
	case m.available == 0:
		checks = append(checks, Okf(GroupMachine, "memory", "%s", memorySize(m.memory)))
	case m.available < littleMemory:
		checks = append(checks, Warnf(GroupMachine, "memory", "End what you do not need, or let fewer agents live at a time: live_agents in config.toml.",
			"%s, of which %s are free: an agent may not find enough", memorySize(m.memory), memorySize(m.available)))
	default:
		checks = append(checks, Okf(GroupMachine, "memory", "%s, of which %s are free", memorySize(m.memory), memorySize(m.available)))
	}
	clock := now.Format("2006-01-02 15:04:05 -0700")
	if !m.booted.IsZero() {
		clock += ", booted " + span(now.Sub(m.booted)) + " ago"
	}
	if now.Unix() < epoch {
		checks = append(checks, Failf(GroupMachine, "clock", "Set the clock: logins and schedules go by it.", "%s: it was never set", clock))
	} else {
		checks = append(checks, Okf(GroupMachine, "clock", "%s", clock))
	}
	switch {
	case m.sleeps == "":
	case m.asleep:
		checks = append(checks, Warnf(GroupMachine, "sleep", "To have the page there at any time: sudo pmset -c sleep 0", "%s", m.sleeps))
	default:
		checks = append(checks, Okf(GroupMachine, "sleep", "%s", m.sleeps))
	}
	return checks
}

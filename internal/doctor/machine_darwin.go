package doctor

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// toolTime bounds a tool of the system that is asked.
const toolTime = 3 * time.Second

func look(ctx context.Context) machine {
	m := machine{system: "macOS"}
	if v, err := unix.Sysctl("kern.osproductversion"); err == nil {
		m.system += " " + v
	}
	if v, err := unix.Sysctl("kern.osrelease"); err == nil {
		m.system += ", Darwin " + v
	}
	m.memory, _ = unix.SysctlUint64("hw.memsize")
	if tv, err := unix.SysctlTimeval("kern.boottime"); err == nil {
		m.booted = time.Unix(tv.Unix())
	}
	ctx, cancel := context.WithTimeout(ctx, toolTime)
	defer cancel()
	if out, err := exec.CommandContext(ctx, "/usr/bin/pmset", "-g", "custom").Output(); err == nil {
		if minutes, ok := sleepAfter(string(out)); ok && minutes == "0" {
			m.sleeps = "this machine does not fall asleep by itself on mains"
		} else if ok {
			m.asleep = true
			m.sleeps = fmt.Sprintf("this machine falls asleep after %s idle minutes on mains; Holdfast holds that off only while an agent works, and a machine that sleeps cannot be reached", minutes)
		}
	}
	return m
}

// sleepAfter picks the minutes out of what pmset prints of mains.
func sleepAfter(text string) (string, bool) {
	mains := false
	for line := range strings.Lines(text) {
		if strings.HasSuffix(strings.TrimSpace(line), ":") {
			mains = strings.HasPrefix(line, "AC Power")
		}
		if f := strings.Fields(line); mains && len(f) >= 2 && f[0] == "sleep" {
			return f[1], true
		}
	}
	return "", false
}

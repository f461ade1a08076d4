package doctor

import (
	"context"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-dev/holdfast/internal/proc"
)

func look(context.Context) machine {
	m := machine{system: "Linux", booted: time.Now().Add(-proc.Monotonic())}
	var uts unix.Utsname
	if unix.Uname(&uts) == nil {
		m.system += " " + unix.ByteSliceToString(uts.Release[:])
	}
	if text, err := os.ReadFile("/etc/os-release"); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, ok := strings.CutPrefix(strings.TrimSpace(line), "PRETTY_NAME="); ok {
				m.system = strings.Trim(name, `"'`) + ", " + m.system
			}
		}
	}
	if text, err := os.ReadFile("/proc/meminfo"); err == nil {
		m.memory, m.available = memory(string(text))
	}
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		m.load, _, _ = strings.Cut(string(text), " ")
	}
	m.sleeps = sleeps("/")
	return m
}

// memory reads /proc/meminfo.
func memory(text string) (total, available uint64) {
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		n, _ := strconv.ParseUint(f[1], 10, 64)
		switch f[0] {
		case "MemTotal:":
			total = n << 10
		case "MemAvailable:":
			available = n << 10
		}
	}
	return total, available
}

// sleeps tells whether the machine can be suspended at all. What a desktop
// does after which time is that desktop's own.
func sleeps(root string) string {
	states, err := os.ReadFile(root + "sys/power/state")
	if err != nil || !strings.Contains(string(states), "mem") {
		return "this machine cannot be suspended"
	}
	if to, err := os.Readlink(root + "etc/systemd/system/sleep.target"); err == nil && to == "/dev/null" {
		return "suspending is switched off (sleep.target is masked)"
	}
	return "this machine can be suspended; Holdfast holds that off while an agent works"
}

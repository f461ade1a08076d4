package supervise

import (
	"fmt"
	"os"
)

// lookHere adds what this operating system tells.
func (s *Self) lookHere() {
	if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", s.PID)); err == nil {
		s.CGroup = string(text)
	}
}

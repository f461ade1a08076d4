package supervise

import "os"

// look adds what this operating system tells.
func (s *Self) look() {
	s.Outputs = outputs()
	if text, err := os.ReadFile("/proc/self/cgroup"); err == nil {
		s.CGroup = string(text)
	}
}

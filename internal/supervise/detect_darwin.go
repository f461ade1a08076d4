package supervise

import (
	"os"
	"path/filepath"
	"strings"
)

// lookHere adds what this operating system tells.
func (s *Self) lookHere() {
	for _, kv := range s.Env {
		if label, ok := strings.CutPrefix(kv, "XPC_SERVICE_NAME="); ok {
			s.SystemJob = systemJob(label)
		}
	}
}

// systemJob tells whether a job belongs to the system. A job of the system may
// run as any user (UserName in its file), so its file decides before the user
// does.
func systemJob(label string) bool {
	name := filepath.Base(label) + ".plist"
	if _, err := os.Stat(filepath.Join("/Library/LaunchDaemons", name)); err == nil {
		return true
	}
	return os.Getuid() == 0
}

package doctor

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// tasks returns how many processes and threads live in that control group
// around the process which has the least room left, and how many may; 0 of 0
// where none is bounded.
func tasks(pid int) (now, limit uint64) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
	if err != nil {
		return 0, 0
	}
	for line := range strings.Lines(string(text)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) < 3 {
			continue
		}
		root := "/sys/fs/cgroup"
		switch {
		case f[0] == "0":
		case f[1] == "pids":
			root += "/pids"
		default:
			continue
		}
		for dir := filepath.Clean("/" + f[2]); ; dir = filepath.Dir(dir) {
			most, err := number(root + dir + "/pids.max")
			have, err2 := number(root + dir + "/pids.current")
			if err == nil && err2 == nil && (limit == 0 || most-min(have, most) < limit-min(now, limit)) {
				now, limit = have, most
			}
			if dir == "/" {
				break
			}
		}
	}
	return now, limit
}

func number(path string) (uint64, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
}

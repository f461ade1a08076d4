package probe

import (
	"fmt"
	"os"
	"strings"
)

// DiskOf names the disk that a path is on, for a person.
func DiskOf(path string) string {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "of " + path
	}
	best, device := "", ""
	for line := range strings.Lines(string(data)) {
		mount, rest, found := strings.Cut(line, " - ")
		fields, after := strings.Fields(mount), strings.Fields(rest)
		if !found || len(fields) < 5 || len(after) < 2 {
			continue
		}
		point := strings.ReplaceAll(fields[4], `\040`, " ")
		inside := point == "/" || path == point || strings.HasPrefix(path, point+"/")
		if inside && len(point) >= len(best) { // a later mount hides an earlier one
			best, device = point, after[1]
		}
	}
	if best == "" {
		return "of " + path
	}
	return fmt.Sprintf("%s at %s (for %s)", device, best, path)
}

//go:build unix

package supervise

import (
	"fmt"
	"os"
	"syscall"
)

// outputs names standard output and standard error as JOURNAL_STREAM does.
func outputs() []string {
	var out []string
	for _, f := range []*os.File{os.Stdout, os.Stderr} {
		info, err := f.Stat()
		if err != nil {
			continue
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			out = append(out, fmt.Sprintf("%d:%d", st.Dev, st.Ino))
		}
	}
	return out
}

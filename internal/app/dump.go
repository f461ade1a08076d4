package app

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime/pprof"
	"time"

	"github.com/holdfast-dev/holdfast/internal/probe"
	"github.com/holdfast-dev/holdfast/internal/proc"
)

// dump writes what this process is doing to the crash folder.
func (h *host) dump(why string) (path string, err error) {
	return probe.Dump(
		h.crash, why, time.Now(),
		probe.Part{Title: "status", Write: func(w io.Writer) error {
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			defer cancel()
			enc := json.NewEncoder(w)
			enc.SetIndent("", "  ")
			return enc.Encode(struct {
				Host  any
				Store any
			}{h.Status(ctx), h.store.Stats(ctx)})
		}},
		probe.Part{Title: "descriptors", Write: func(w io.Writer) error {
			fds, err := proc.Descriptors(os.Getpid())
			for _, fd := range fds {
				fmt.Fprintf(w, "%5d %s\n", fd.FD, fd.Target)
			}
			return err
		}},
		probe.Part{Title: "the last lines of the log", Write: func(w io.Writer) error {
			for _, line := range h.ring.Lines() {
				fmt.Fprintln(w, line)
			}
			return nil
		}},
		probe.Part{Title: "goroutines", Write: func(w io.Writer) error {
			return pprof.Lookup("goroutine").WriteTo(w, 2)
		}},
	)
}

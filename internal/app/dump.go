package app

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"runtime/pprof"
	"time"

	"github.com/holdfast-dev/holdfast/internal/probe"
)

// dump writes what this process is doing to the crash folder. What needs
// nothing of the host comes first.
func (h *host) dump(why string) (path string, err error) {
	return h.evidence.Dump(
		h.crash, why, time.Now(),
		probe.Part{Title: "goroutines", Write: func(w io.Writer) error {
			return pprof.Lookup("goroutine").WriteTo(w, 2)
		}},
		probe.Part{Title: "descriptors", Write: func(w io.Writer) error {
			if err := h.evidence.Descriptors(w); err == nil {
				return nil
			}
			return writeDescriptors(w)
		}},
		probe.Part{Title: "the last lines of the log", Write: func(w io.Writer) error {
			for _, line := range h.ring.Lines() {
				fmt.Fprintln(w, line)
			}
			return nil
		}},
		probe.Part{Title: "status", Write: func(w io.Writer) error {
			ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
			defer cancel()
			enc := json.NewEncoder(w)
			enc.SetIndent("", "  ")
			return enc.Encode(struct {
				Host  any
				Store any
			}{h.Status(ctx), h.store.Stats(ctx)})
		}},
	)
}

package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"path/filepath"
	"time"

	"github.com/holdfast-dev/holdfast/internal/store"
)

// Copier writes a consistent copy of the database. *store.Store implements it.
type Copier interface {
	Copy(ctx context.Context, to string, progress func(done, total int64)) error
}

var _ Copier = (*store.Store)(nil)

// CopyLine is one line of POST /control/copy: how many bytes are copied, and
// at last that the copy is whole or why there is none.
type CopyLine struct {
	Done  int64  `json:"done"`
	Total int64  `json:"total"`
	Whole bool   `json:"whole,omitempty"`
	Error string `json:"error,omitempty"`
	Full  bool   `json:"full,omitempty"` // the disk is
}

// copyDatabase has the store write a copy where its caller, who is this host's
// own user, wants it. The caller makes a backup of it: neither the work of that
// nor its memory is the host's. When the caller goes, nothing is left.
func (s *Server) copyDatabase(w http.ResponseWriter, r *http.Request) {
	var in struct {
		To string `json:"to"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10)).Decode(&in); err != nil || !filepath.IsAbs(in.To) {
		newProblem(codeInvalidRequest, "the path of the copy must be absolute.").write(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	rc := http.NewResponseController(w)
	enc := json.NewEncoder(w)
	var last time.Time
	var line CopyLine
	err := s.cfg.Store.Copy(r.Context(), in.To, func(done, total int64) {
		line.Done, line.Total = done, total
		if now := time.Now(); now.Sub(last) >= 100*time.Millisecond {
			last = now
			// A client that has gone is seen by the context.
			_ = enc.Encode(line)
			_ = rc.Flush()
		}
	})
	line.Done, line.Whole = line.Total, err == nil
	if err != nil {
		s.log.Error("copy database", "instance", instanceOf(r.Context()), "err", err)
		line.Error, line.Full = err.Error(), errors.Is(err, store.ErrDiskFull)
	}
	_ = enc.Encode(line)
}

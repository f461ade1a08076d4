package keeper

import (
	"bytes"
	"sync"
	"time"
)

// ring keeps the end of what the agent prints beside the protocol: its stderr,
// and on stdout the lines that are no message. Both are written to it at once.
type ring struct {
	mu   sync.Mutex
	buf  []byte
	size uint64    // all that was written
	at   time.Time // of the last write
}

const ringSize = 64 << 10

// Write implements io.Writer; it never fails.
func (r *ring) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.add(p)
	return len(p), nil
}

func (r *ring) add(p []byte) {
	r.size += uint64(len(p))
	r.at = time.Now().UTC()
	if len(p) > ringSize {
		p = p[len(p)-ringSize:]
	}
	// Moved once for as much as it keeps, not with every line.
	if len(r.buf)+len(p) > 2*ringSize {
		r.buf = r.buf[:copy(r.buf, r.buf[len(r.buf)-ringSize:])]
	}
	r.buf = append(r.buf, p...)
}

// line adds a piece of a line of its own.
func (r *ring) line(piece []byte, first, last bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.buf); first && n > 0 && r.buf[n-1] != '\n' {
		r.add([]byte{'\n'})
	}
	r.add(piece)
	if last {
		r.add([]byte{'\n'})
	}
}

// tail returns a copy of what is kept, from the beginning of a line on where
// the beginning was dropped.
func (r *ring) tail() Tail {
	r.mu.Lock()
	defer r.mu.Unlock()
	kept := r.buf[max(0, len(r.buf)-ringSize):]
	if r.size > uint64(len(kept)) {
		if i := bytes.IndexByte(kept, '\n'); i >= 0 && i+1 < len(kept) {
			kept = kept[i+1:]
		}
	}
	return Tail{Text: bytes.Clone(kept), Size: r.size, At: r.at}
}

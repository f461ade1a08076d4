package keeper

import (
	"bytes"
	"encoding/json"
	"io"
	"runtime/debug"
)

// outlet cuts what the agent writes to stdout into lines and appends them to
// the spool, long ones in pieces. It is used by one goroutine.
type outlet struct {
	spool *spoolWriter
	// look returns whether whole lines are wanted by seen, now.
	look func() bool
	seen func(line []byte)

	rec   *record
	size  int  // bytes of the line so far
	cut   bool // it is over MaxLine
	watch bool // peek holds the whole line so far
	peek  []byte
}

const (
	maxPeek  = 1 << 20 // longer lines are not looked at
	keepPeek = 64 << 10
)

// copy reads until the end. What stands there without a newline is recorded
// as such.
func (o *outlet) copy(r io.Reader) error {
	buf := make([]byte, maxPayload)
	start, end := 0, 0 // of what is read and not recorded
	for {
		if end == len(buf) {
			if start == 0 {
				o.piece(buf)
				end = 0
			} else {
				end = copy(buf, buf[start:end])
				start = 0
			}
		}
		n, err := r.Read(buf[end:])
		scan := end
		end += n
		for {
			i := bytes.IndexByte(buf[scan:end], '\n')
			if i < 0 {
				break
			}
			o.last(buf[start:scan+i], 0)
			start = scan + i + 1
			scan = start
		}
		if start == end {
			start, end = 0, 0
		}
		if err != nil {
			if start < end || o.rec != nil {
				o.last(buf[start:end], flagUnended)
			}
			if err == io.EOF {
				err = nil
			}
			return err
		}
	}
}

// piece records a part of a line whose end has not come.
func (o *outlet) piece(b []byte) {
	o.begin()
	if b = o.fit(b); len(b) > 0 {
		o.rec.write(b, 0)
	}
}

// last records the rest of a line.
func (o *outlet) last(b []byte, flags uint8) {
	o.begin()
	b = o.fit(b)
	flags |= flagLast
	if o.cut {
		flags |= flagTruncated
	}
	o.rec.write(b, flags)
	if o.watch && !o.cut && flags&flagUnended == 0 {
		o.seen(o.peek)
	}
	if cap(o.peek) > keepPeek {
		o.peek = nil
	}
	if o.size >= longLine {
		debug.FreeOSMemory()
	}
	o.rec, o.size, o.cut = nil, 0, false
}

func (o *outlet) begin() {
	if o.rec == nil {
		o.rec = o.spool.begin(KindLine)
		o.watch = o.look()
		o.peek = o.peek[:0]
	}
}

// fit cuts off what is over MaxLine, and keeps what is to be looked at.
func (o *outlet) fit(b []byte) []byte {
	if rest := MaxLine - o.size; len(b) > rest {
		b = b[:rest]
		o.cut = true
	}
	o.size += len(b)
	switch {
	case o.size > maxPeek:
		o.watch, o.peek = false, nil
	case o.watch:
		o.peek = append(o.peek, b...)
	}
	return b
}

// responseID returns the raw id of the response that the line is, or "".
func responseID(line []byte) string {
	if !bytes.Contains(line, []byte(`"id"`)) ||
		!bytes.Contains(line, []byte(`"result"`)) && !bytes.Contains(line, []byte(`"error"`)) {
		return ""
	}
	var m struct {
		ID     json.RawMessage `json:"id"`
		Method *string         `json:"method"`
		Result json.RawMessage `json:"result"`
		Error  json.RawMessage `json:"error"`
	}
	if err := json.Unmarshal(line, &m); err != nil || m.Method != nil || m.Result == nil && m.Error == nil {
		return ""
	}
	return string(m.ID)
}

// ring keeps the end of what is written to it.
type ring struct {
	buf  []byte
	over bool // something was dropped
}

const ringSize = 64 << 10

// Write implements io.Writer; it never fails.
func (r *ring) Write(p []byte) (int, error) {
	n := len(p)
	if len(p) > ringSize {
		p = p[len(p)-ringSize:]
		r.over = true
	}
	if spare := len(r.buf) + len(p) - ringSize; spare > 0 {
		r.buf = r.buf[:copy(r.buf, r.buf[spare:])]
		r.over = true
	}
	r.buf = append(r.buf, p...)
	return n, nil
}

// tail returns what is kept, from the beginning of a line on where the
// beginning was dropped.
func (r *ring) tail() []byte {
	if i := bytes.IndexByte(r.buf, '\n'); r.over && i >= 0 && i+1 < len(r.buf) {
		return r.buf[i+1:]
	}
	return r.buf
}

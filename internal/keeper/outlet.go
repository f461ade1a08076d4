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
	// beside takes the lines that cannot be of the protocol, piece by piece.
	beside func(piece []byte, first, last bool)

	rec   *record
	size  int  // bytes of the line so far
	cut   bool // it is over MaxLine
	aside bool // the line goes to beside
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
	o.begin(b)
	if o.aside {
		o.beside(b, o.size == 0, false)
	}
	if b = o.fit(b); len(b) > 0 {
		o.rec.write(b, 0)
	}
}

// last records the rest of a line.
func (o *outlet) last(b []byte, flags uint8) {
	o.begin(b)
	if o.aside {
		o.beside(b, o.size == 0, true)
	}
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
	o.rec, o.size, o.cut, o.aside = nil, 0, false, false
}

// begin begins a record where b begins a line.
func (o *outlet) begin(b []byte) {
	if o.rec == nil {
		o.aside = o.beside != nil && isPrint(b)
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

// isPrint tells whether a line that begins so is a banner or a warning: a
// message of the protocol is an object, or a list of objects.
func isPrint(b []byte) bool {
	b = bytes.TrimLeft(b, " \t\r")
	if rest, ok := bytes.CutPrefix(b, []byte("[")); ok {
		b = bytes.TrimLeft(rest, " \t\r")
	}
	return len(b) > 0 && b[0] != '{'
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

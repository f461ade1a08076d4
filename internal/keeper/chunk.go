package keeper

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"
)

// Kind says what a record holds.
type Kind uint8

// The kinds of a record.
const (
	KindLine   Kind = 1 // a line of the agent's stdout, without its newline
	KindStderr Kind = 2 // the end of what the agent wrote to stderr; just before the exit
	KindExit   Kind = 3 // the agent has ended, see ParseExit; always the last
)

// String names the kind.
func (k Kind) String() string {
	switch k {
	case KindLine:
		return "line"
	case KindStderr:
		return "stderr"
	case KindExit:
		return "exit"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Record is one entry of a spool.
type Record struct {
	N    uint64 // from 1, without gaps
	At   time.Time
	Kind Kind
	Data []byte
	// Truncated says that the line was longer than MaxLine and its rest dropped.
	Truncated bool
	// Unended says that the agent ended before the line's newline: Data may be
	// a part of a line.
	Unended bool
}

// A record is one chunk or more, so that a long line need not be held in the
// keeper's memory. A chunk is a header of 32 bytes and its payload:
//
//	0  magic   "HFS1"
//	4  kind    u8
//	5  flags   u8
//	6  zero    u16
//	8  number  u64, of the record
//	16 time    i64, nanoseconds since 1970, the same in each chunk of a record
//	24 length  u32, of the payload
//	28 sum     u32, CRC-32C of all headers (28 bytes each) and payloads of the
//	           record so far, so that the last chunk proves the whole
//
// All numbers are little endian. The same bytes lie in a segment and travel
// over the socket.
const (
	chunkMagic  = "HFS1"
	chunkHeader = 32
	maxPayload  = 64 << 10
	maxChunk    = chunkHeader + maxPayload
)

const (
	flagFirst     = 1 << 0
	flagLast      = 1 << 1
	flagTruncated = 1 << 2
	flagUnended   = 1 << 3
	flagsKnown    = flagFirst | flagLast | flagTruncated | flagUnended
)

// errCorrupt says that bytes are no chunk, or not the one that must follow.
var errCorrupt = errors.New("spool is damaged")

type chunk struct {
	kind   Kind
	flags  uint8
	n      uint64
	at     int64
	length int
	sum    uint32
}

// appendChunk appends header and payload to buf. sum is that of the record's
// chunks before this one; the new one is returned.
func appendChunk(buf []byte, c chunk, payload []byte) ([]byte, uint32) {
	start := len(buf)
	buf = append(buf, chunkMagic...)
	buf = append(buf, uint8(c.kind), c.flags, 0, 0)
	buf = binary.LittleEndian.AppendUint64(buf, c.n)
	buf = binary.LittleEndian.AppendUint64(buf, uint64(c.at))
	buf = binary.LittleEndian.AppendUint32(buf, uint32(len(payload)))
	sum := crc32.Update(c.sum, castagnoli, buf[start:])
	sum = crc32.Update(sum, castagnoli, payload)
	buf = binary.LittleEndian.AppendUint32(buf, sum)
	return append(buf, payload...), sum
}

// parseChunk reads a header of chunkHeader bytes.
func parseChunk(head []byte) (chunk, error) {
	if string(head[:4]) != chunkMagic || head[6] != 0 || head[7] != 0 || head[5]&^uint8(flagsKnown) != 0 {
		return chunk{}, fmt.Errorf("%w: no chunk begins here", errCorrupt)
	}
	c := chunk{
		kind:   Kind(head[4]),
		flags:  head[5],
		n:      binary.LittleEndian.Uint64(head[8:]),
		at:     int64(binary.LittleEndian.Uint64(head[16:])),
		length: int(binary.LittleEndian.Uint32(head[24:])),
		sum:    binary.LittleEndian.Uint32(head[28:]),
	}
	if c.length > maxPayload || c.n == 0 {
		return chunk{}, fmt.Errorf("%w: impossible chunk (record %d, %d bytes)", errCorrupt, c.n, c.length)
	}
	return c, nil
}

// decoder makes records from a stream of chunks. The stream may begin at any
// record; from there numbers have no gap.
type decoder struct {
	r    io.Reader
	next uint64 // the number that must come; 0: any
	head [chunkHeader]byte
	rec  Record
	sum  uint32
	open bool // rec has begun and not ended
}

// read returns the next record, io.EOF at the end between two records,
// io.ErrUnexpectedEOF where the stream ends within one, and an error that
// wraps errCorrupt where the bytes are wrong. After an error but io.EOF the
// decoder is of no more use.
func (d *decoder) read() (Record, error) {
	for {
		done, err := d.step()
		if err != nil {
			return Record{}, err
		}
		if done {
			rec := d.rec
			d.rec = Record{}
			return rec, nil
		}
	}
}

// step takes one chunk and tells whether it ended a record.
func (d *decoder) step() (bool, error) {
	if _, err := io.ReadFull(d.r, d.head[:]); err != nil {
		if errors.Is(err, io.EOF) && d.open {
			err = io.ErrUnexpectedEOF
		}
		return false, err
	}
	c, err := parseChunk(d.head[:])
	if err != nil {
		return false, err
	}
	first := c.flags&flagFirst != 0
	switch {
	case first == d.open:
		return false, fmt.Errorf("%w: record %d begins or goes on in the wrong place", errCorrupt, c.n)
	case first && d.next != 0 && c.n != d.next:
		return false, fmt.Errorf("%w: record %d where %d must come", errCorrupt, c.n, d.next)
	case !first && (c.n != d.rec.N || c.kind != d.rec.Kind):
		return false, fmt.Errorf("%w: a piece of record %d within record %d", errCorrupt, c.n, d.rec.N)
	case len(d.rec.Data)+c.length > MaxLine:
		return false, fmt.Errorf("%w: record %d is longer than %d bytes", errCorrupt, c.n, MaxLine)
	}
	if first {
		d.rec = Record{N: c.n, At: time.Unix(0, c.at).UTC(), Kind: c.kind}
		d.sum = 0
		d.open = true
	}
	d.rec.Data = growFor(d.rec.Data, c.length, c.flags&flagLast != 0)
	payload := d.rec.Data[len(d.rec.Data) : len(d.rec.Data)+c.length]
	if _, err := io.ReadFull(d.r, payload); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return false, err
	}
	d.rec.Data = d.rec.Data[:len(d.rec.Data)+c.length]
	d.sum = crc32.Update(d.sum, castagnoli, d.head[:chunkHeader-4])
	d.sum = crc32.Update(d.sum, castagnoli, payload)
	if d.sum != c.sum {
		return false, fmt.Errorf("%w: checksum of record %d", errCorrupt, c.n)
	}
	if c.flags&flagLast == 0 {
		return false, nil
	}
	d.rec.Truncated = c.flags&flagTruncated != 0
	d.rec.Unended = c.flags&flagUnended != 0
	d.open = false
	d.next = c.n + 1
	return true, nil
}

// growFor makes room for n bytes more: exactly, where they are the last.
func growFor(b []byte, n int, last bool) []byte {
	if len(b)+n <= cap(b) {
		if b == nil {
			return []byte{}
		}
		return b
	}
	size := len(b) + n
	if !last {
		size = max(size, 2*cap(b))
	}
	grown := make([]byte, len(b), size)
	copy(grown, b)
	return grown
}

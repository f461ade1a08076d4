package keeper

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/holdfast-dev/holdfast/internal/proc"
)

// The wire: frames of a type (u8), a length (u32, little endian) and a payload.
// A connection begins with the keeper's hello. Payloads are JSON, but for a
// line to the agent (see appendLine) and for the spool's bytes, which are whole
// chunks as they lie on disk. Unknown types are passed over, so that a later
// version can add some.
type frameType uint8

// From the keeper.
const (
	frameHello    frameType = 1 // Hello
	frameSpool    frameType = 2 // chunks
	frameAccepted frameType = 3 // msgNumber
	frameWritten  frameType = 4 // msgWritten
	frameStatus   frameType = 5 // Status
	frameTree     frameType = 6 // msgTree
	frameGone     frameType = 7 // msgNumber: the first record that is left; the stream does not begin
	frameError    frameType = 8 // msgError; the keeper closes after it
	frameTail     frameType = 9 // msgTail
)

// From the host.
const (
	frameRead   frameType = 65 // msgNumber: begin the stream at that record
	frameLine   frameType = 66 // a line for the agent
	frameTrim   frameType = 67 // msgNumber
	frameEnd    frameType = 68 // msgEnd
	frameLeave  frameType = 69 // {}
	frameAskFor frameType = 70 // msgAsk: the process tree
	frameAskEnd frameType = 71 // msgAsk: the end of what the agent printed; only where Hello.Tail
)

type (
	msgNumber struct {
		N uint64 `json:"n"`
	}
	msgWritten struct {
		N  uint64    `json:"n"`
		At time.Time `json:"at"`
	}
	msgError struct {
		Text string `json:"text"`
	}
	msgEnd struct {
		Force bool `json:"force,omitempty"`
	}
	msgAsk struct {
		ID uint64 `json:"id"`
	}
	msgTree struct {
		ID        uint64      `json:"id"`
		Processes []proc.Info `json:"processes"`
		Error     string      `json:"error,omitempty"`
	}
	msgTail struct {
		ID uint64 `json:"id"`
		Tail
	}
)

const (
	frameHeader = 5
	maxControl  = 4 << 20 // a process tree of ten thousand fits
	maxSpool    = 2 * maxChunk
	lineHeader  = 8 + 1 + 4 + 2
	maxEnds     = 4 << 10
	maxLine     = lineHeader + maxEnds + MaxLine
)

// limit is the longest payload of a type. Unknown types are control frames.
func (t frameType) limit() int {
	switch t {
	case frameSpool:
		return maxSpool
	case frameLine:
		return maxLine
	}
	return maxControl
}

func appendFrame(buf []byte, t frameType, payload []byte) []byte {
	buf = append(buf, uint8(t))
	buf = binary.LittleEndian.AppendUint32(buf, uint32(len(payload)))
	return append(buf, payload...)
}

func jsonFrame(t frameType, v any) []byte {
	payload, err := json.Marshal(v)
	if err != nil {
		panic("keeper: encode frame: " + err.Error()) // our own plain structs
	}
	return appendFrame(nil, t, payload)
}

// readHead reads a frame's type and the length of its payload.
func readHead(r io.Reader) (frameType, int, error) {
	var head [frameHeader]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, 0, err
	}
	t := frameType(head[0])
	n := binary.LittleEndian.Uint32(head[1:])
	if uint64(n) > uint64(t.limit()) {
		return 0, 0, fmt.Errorf("%w: frame of type %d has %d bytes", ErrProtocol, t, n)
	}
	return t, int(n), nil
}

// readPayload reads the payload of a frame. Memory grows with the bytes that
// really come, and has room for one byte more.
func readPayload(r io.Reader, n int) ([]byte, error) {
	const step = 1 << 20
	buf := make([]byte, 0, min(n, step)+1)
	for len(buf) < n {
		if len(buf) == cap(buf) {
			grown := make([]byte, len(buf), min(n+1, 2*cap(buf)))
			copy(grown, buf)
			buf = grown
		}
		part := buf[len(buf):min(cap(buf), n)]
		got, err := io.ReadFull(r, part)
		buf = buf[:len(buf)+got]
		if err != nil {
			return nil, fmt.Errorf("read frame: %w", noEOF(err))
		}
	}
	return buf, nil
}

func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Line is one line for the agent.
type Line struct {
	N    uint64 // 1, 2, 3… within the epoch
	Data []byte // without a newline
	// Void says that the number is taken and nothing written. Send the Data that
	// the row had all the same, so that checksums agree on the next attach. A
	// line that was accepted and not begun is made void by sending it again so.
	Void bool
	// Ends is the raw JSON id of the response that ends the run which this line
	// begins; "" where it begins none.
	Ends string
}

const lineVoid = 1

// appendLine appends the payload of a frameLine: number u64, flags u8,
// checksum of the data u32, length of Ends u16, Ends, the data.
func appendLine(buf []byte, l Line) []byte {
	buf = binary.LittleEndian.AppendUint64(buf, l.N)
	flags := uint8(0)
	if l.Void {
		flags |= lineVoid
	}
	buf = append(buf, flags)
	buf = binary.LittleEndian.AppendUint32(buf, Checksum(l.Data))
	buf = binary.LittleEndian.AppendUint16(buf, uint16(len(l.Ends)))
	buf = append(buf, l.Ends...)
	return append(buf, l.Data...)
}

func parseLine(payload []byte) (Line, error) {
	if len(payload) < lineHeader {
		return Line{}, fmt.Errorf("%w: line frame of %d bytes", ErrProtocol, len(payload))
	}
	l := Line{N: binary.LittleEndian.Uint64(payload), Void: payload[8]&lineVoid != 0}
	sum := binary.LittleEndian.Uint32(payload[9:])
	ends := int(binary.LittleEndian.Uint16(payload[13:]))
	rest := payload[lineHeader:]
	if ends > len(rest) || ends > maxEnds {
		return Line{}, fmt.Errorf("%w: line frame ends within its header", ErrProtocol)
	}
	l.Ends, l.Data = string(rest[:ends]), rest[ends:]
	if Checksum(l.Data) != sum {
		return Line{}, fmt.Errorf("%w: checksum of line %d", ErrProtocol, l.N)
	}
	return l, nil
}

// LineRef names a line for the agent by number and content.
type LineRef struct {
	N   uint64 `json:"n"`   // 0: none yet
	Sum uint32 `json:"sum"` // Checksum of its data
}

// Hello is what a keeper says first: how things stand.
type Hello struct {
	Protocol int     `json:"protocol"`
	Epoch    string  `json:"epoch"`
	Keeper   proc.ID `json:"keeper"`
	Agent    proc.ID `json:"agent"` // zero where it could not be started
	In       LineRef `json:"in"`    // the last line accepted
	Intent   uint64  `json:"intent"`
	Written  uint64  `json:"written"`
	First    uint64  `json:"first"`   // the first record on disk; Last+1 where there is none
	Last     uint64  `json:"last"`    // the last record that is whole; 0: none yet
	Running  bool    `json:"running"` // a run is under way
	Ended    bool    `json:"ended"`   // the agent has ended; Last is or will be its exit
	Tail     bool    `json:"tail"`    // it can be asked what the agent printed
}

// Tail is the end of what the agent printed beside the protocol, on stderr and
// on stdout: at most 64 KiB of whole lines.
type Tail struct {
	Text []byte    `json:"text"`
	Size uint64    `json:"size"` // all that was printed, in bytes
	At   time.Time `json:"at"`   // of the last print
}

// What a Status is about.
const (
	StatusSpoolFull = "spool_full" // the agent is not read until the host trims
	StatusDiskFull  = "disk_full"  // a write to the epoch's folder failed and is tried again
	StatusRecovered = "recovered"  // what was reported last is over
)

// Status is what a keeper says about trouble of its own. On attach the trouble
// that lasts is reported anew.
type Status struct {
	Kind string    `json:"kind"`
	Text string    `json:"text"`
	At   time.Time `json:"at"`
}

// Events are told what the keeper reports. Each may be nil. They are called
// from the connection's reading goroutine, one at a time, and must not close
// the connection. The same number may be reported twice. While records are not
// taken by Next they wait behind these: do not wait for one before calling Next.
type Events struct {
	Accepted func(n uint64)
	Written  func(n uint64, at time.Time)
	Status   func(Status)
}

// putLength sets the length of the one frame in buf.
func putLength(buf []byte) {
	binary.LittleEndian.PutUint32(buf[1:], uint32(len(buf)-frameHeader))
}

func putFrameHead(head []byte, t frameType, n int) {
	head[0] = uint8(t)
	binary.LittleEndian.PutUint32(head[1:], uint32(n))
}

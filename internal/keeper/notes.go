package keeper

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Notes say how far lines went into the agent. They are not fsynced: after a
// loss of power they may be behind, so they prove something only within the
// boot in which they were written.
type Notes struct {
	Intent    uint64    // the last line whose writing was begun
	Written   uint64    // the last line that was wholly handed to the agent's stdin
	WrittenAt time.Time // when
}

// A note is 21 bytes: what u8, number u64, time i64, CRC-32C u32 of these.
const (
	noteSize    = 1 + 8 + 8 + 4
	noteIntent  = 'i'
	noteWritten = 'w'
)

func appendNote(buf []byte, what byte, n uint64, at time.Time) []byte {
	start := len(buf)
	buf = append(buf, what)
	buf = binary.LittleEndian.AppendUint64(buf, n)
	buf = binary.LittleEndian.AppendUint64(buf, uint64(at.UnixNano()))
	return binary.LittleEndian.AppendUint32(buf, Checksum(buf[start:]))
}

// ReadNotes reads the notes of a keeper, living or dead. What follows a torn
// or damaged note is dropped; no file means that nothing was begun.
func ReadNotes(dir string) (Notes, error) {
	data, err := os.ReadFile(filepath.Join(dir, fileNotes))
	if errors.Is(err, os.ErrNotExist) {
		return Notes{}, nil
	}
	if err != nil {
		return Notes{}, fmt.Errorf("read notes: %w", err)
	}
	return parseNotes(data), nil
}

func parseNotes(data []byte) Notes {
	var notes Notes
	for ; len(data) >= noteSize; data = data[noteSize:] {
		body, sum := data[:noteSize-4], binary.LittleEndian.Uint32(data[noteSize-4:])
		if Checksum(body) != sum {
			break
		}
		n := binary.LittleEndian.Uint64(body[1:])
		at := time.Unix(0, int64(binary.LittleEndian.Uint64(body[9:]))).UTC()
		switch body[0] {
		case noteIntent:
			notes.Intent = n
		case noteWritten:
			notes.Written, notes.WrittenAt = n, at
		}
	}
	return notes
}

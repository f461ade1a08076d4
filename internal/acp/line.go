package acp

import (
	"bufio"
	"errors"
	"io"
)

// ErrLineTooLong is returned by LineReader for a line over its limit. The line
// has been skipped, and reading may go on.
var ErrLineTooLong = errors.New("line is too long")

// LineReader reads lines of any length up to a limit.
type LineReader struct {
	r     *bufio.Reader
	limit int
}

// NewLineReader returns a reader of lines of at most limit bytes; MaxLine
// where limit is not positive.
func NewLineReader(r io.Reader, limit int) *LineReader {
	if limit <= 0 {
		limit = MaxLine
	}
	return &LineReader{r: bufio.NewReaderSize(r, 64<<10), limit: limit}
}

// Next returns the next line without its end; the caller owns it. A last line
// without an end is torn and is dropped: the error is then
// io.ErrUnexpectedEOF, and io.EOF where nothing was left.
func (l *LineReader) Next() ([]byte, error) {
	var line []byte
	long := false
	for {
		part, err := l.r.ReadSlice('\n')
		if len(line)+len(part) > l.limit+1 {
			long, line = true, nil
		}
		if !long {
			line = append(line, part...)
		}
		switch {
		case err == nil && long:
			return nil, ErrLineTooLong
		case err == nil:
			line = line[:len(line)-1]
			if n := len(line); n > 0 && line[n-1] == '\r' {
				line = line[:n-1]
			}
			return line, nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && (long || len(line) > 0):
			return nil, io.ErrUnexpectedEOF
		default:
			return nil, err
		}
	}
}

package cli

import (
	"strings"

	"rsc.io/qr"
)

// terminalQR draws a QR code with half blocks, two rows to a line, in its margin
// of four. With colour it sets both, so that it reads on any terminal; without,
// it takes the terminal for a dark one, as most cameras read both ways.
func terminalQR(text string, colour bool) (string, error) {
	code, err := qr.Encode(text, qr.L)
	if err != nil {
		return "", err
	}
	const margin = 4
	light := func(x, y int) bool { return !code.Black(x, y) } // beyond its edge all is light
	var b strings.Builder
	for y := -margin; y < code.Size+margin; y += 2 {
		if colour {
			b.WriteString("\x1b[38;5;231;48;5;16m")
		}
		for x := -margin; x < code.Size+margin; x++ {
			switch upper, lower := light(x, y), light(x, y+1); {
			case upper && lower:
				b.WriteRune('█')
			case upper:
				b.WriteRune('▀')
			case lower:
				b.WriteRune('▄')
			default:
				b.WriteRune(' ')
			}
		}
		if colour {
			b.WriteString("\x1b[0m")
		}
		b.WriteByte('\n')
	}
	return b.String(), nil
}

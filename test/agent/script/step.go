package script

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Step is one line of a script.
type Step struct {
	Verb string
	// Args are the words after the verb; double quotes hold words together,
	// and inside them \n, \t, \" and \\ mean what they mean in Go.
	Args []string
	// Rest is what follows the verb as it stands.
	Rest string
}

// Parse reads a script. It is false where the text is none: where a line that
// is not blank does not begin with one of the verbs, or its quotes do not
// close.
func Parse(text string, verbs map[string]bool) ([]Step, bool) {
	var steps []Step
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		verb, rest, _ := strings.Cut(line, " ")
		if !verbs[verb] {
			return nil, false
		}
		rest = strings.TrimSpace(rest)
		args, err := Split(rest)
		if err != nil {
			// Free text, such as an apostrophe or JSON, is no mistake
			// for verbs that take the rest of the line.
			args = strings.Fields(rest)
		}
		steps = append(steps, Step{Verb: verb, Args: args, Rest: rest})
	}
	return steps, len(steps) > 0
}

// Split cuts a line into words and double-quoted strings.
func Split(s string) ([]string, error) {
	var args []string
	for {
		s = strings.TrimLeft(s, " \t")
		if s == "" {
			return args, nil
		}
		if s[0] != '"' {
			end := strings.IndexAny(s, " \t")
			if end < 0 {
				end = len(s)
			}
			args, s = append(args, s[:end]), s[end:]
			continue
		}
		quoted, err := strconv.QuotedPrefix(s)
		if err != nil {
			return nil, errors.New("a quote does not close")
		}
		arg, err := strconv.Unquote(quoted)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", quoted, err)
		}
		args, s = append(args, arg), s[len(quoted):]
	}
}

// Arg returns an argument, or the default where there are fewer.
func (s Step) Arg(i int, or string) string {
	if i < len(s.Args) {
		return s.Args[i]
	}
	return or
}

// After returns the arguments from the i-th on, joined by a space.
func (s Step) After(i int) string {
	if i >= len(s.Args) {
		return ""
	}
	return strings.Join(s.Args[i:], " ")
}

// Text is Rest with quotes removed if it is one quoted string, which is how a
// script says a line end.
func (s Step) Text() string {
	if strings.HasPrefix(s.Rest, `"`) && len(s.Args) == 1 {
		return s.Args[0]
	}
	return s.Rest
}

// Stream reads the arguments of `stream N [DELAY] [seed=S]`.
func (s Step) Stream() (chunks []string, delay time.Duration, err error) {
	n, err := strconv.Atoi(s.Arg(0, ""))
	if err != nil || n < 0 {
		return nil, 0, fmt.Errorf("stream: %q is no number of chunks", s.Arg(0, ""))
	}
	var seed uint64
	for _, a := range s.Args[1:] {
		if v, ok := strings.CutPrefix(a, "seed="); ok {
			seed, err = strconv.ParseUint(v, 10, 64)
		} else {
			delay, err = time.ParseDuration(a)
		}
		if err != nil {
			return nil, 0, fmt.Errorf("stream: read %q: %w", a, err)
		}
	}
	return Chunks(seed, n), delay, nil
}

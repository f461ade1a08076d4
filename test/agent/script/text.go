// Package script is the language that tests speak to the scripted agent and
// to the mock model: one step a line, a verb and its arguments. It also makes
// the text that both stream, so that a test knows it to the byte.
package script

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
)

var words = []string{
	"keep", "agent", "harbour", "line", "spool", "river", "naïve", "größer", "日本", "🙂", "`code`", "**bold**",
	"<tag>", "&amp;", "\\n", "\"quoted\"", "a", "of", "the", "until", "restart", "ledger", "window", "once",
}

// Chunks returns n pieces of text that depend on seed alone. They hold
// letters of several bytes, line ends, and what careless code would escape.
func Chunks(seed uint64, n int) []string {
	rnd := rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15))
	chunks := make([]string, n)
	for i := range chunks {
		var b strings.Builder
		for range 1 + rnd.IntN(4) {
			b.WriteString(words[rnd.IntN(len(words))])
			switch rnd.IntN(12) {
			case 0:
				b.WriteString("\n\n")
			case 1:
				b.WriteString(",\n")
			default:
				b.WriteByte(' ')
			}
		}
		chunks[i] = b.String()
	}
	return chunks
}

// Text is what `stream n … seed=S` says in all.
func Text(seed uint64, n int) string { return strings.Join(Chunks(seed, n), "") }

// Long is the text of n bytes that `line n` sends: numbered rows, so that a
// missing or doubled part shows.
func Long(n int) string {
	var b strings.Builder
	b.Grow(n + 16)
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "row %d\n", i)
	}
	return b.String()[:n]
}

// Size reads a number of bytes with an optional unit: KB, MB (thousands), KiB
// or MiB.
func Size(s string) (int, error) {
	factor := 1
	for _, u := range []struct {
		suffix string
		factor int
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"KB", 1e3}, {"MB", 1e6}, {"B", 1}} {
		if rest, ok := strings.CutSuffix(s, u.suffix); ok {
			s, factor = rest, u.factor
			break
		}
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("size %q is not a number of bytes", s)
	}
	return n * factor, nil
}

package cli

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/holdfast-dev/holdfast/internal/doctor"
)

// print shows what was seen, group by group.
func (e *examination) print() error {
	if e.JSON {
		return e.a.printChecks(e.sorted(), e.host.Wedged)
	}
	e.a.printf("%s", show(e.sorted(), e.a.paint(), e.a.width()))
	return nil
}

// sorted puts the checks into the order of the groups.
func (e *examination) sorted() []doctor.Check {
	order := doctor.Groups()
	out := slices.Clone(e.checks)
	slices.SortStableFunc(out, func(a, b doctor.Check) int { return slices.Index(order, a.Group) - slices.Index(order, b.Group) })
	return out
}

// paint tells whether standard output takes colours, and is asked for them
// (no-color.org).
func (a *app) paint() bool {
	return isTerminal(a.Out) && a.env("NO_COLOR") == "" && a.env("TERM") != "dumb"
}

// width is that of the terminal; 0 where there is none, and nothing is to be
// broken.
func (a *app) width() int {
	f, ok := a.Out.(*os.File)
	if !ok {
		return 0
	}
	w, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return w
}

// show is the text for a person. A remedy stands under what it mends.
func show(checks []doctor.Check, colour bool, width int) string {
	colours := map[doctor.State]string{doctor.OK: "32", doctor.Warning: "33", doctor.Failed: "31"}
	paint := func(code, text string) string {
		if !colour {
			return text
		}
		return "\x1b[" + code + "m" + text + "\x1b[0m"
	}
	const state = len("warning")
	name := 0
	count := map[doctor.State]int{}
	for _, c := range checks {
		name = max(name, utf8.RuneCountInString(c.Name))
		count[c.State]++
	}
	var out strings.Builder
	indent := 2 + state + 2 + name + 2
	put := func(text, first string) {
		pad := strings.Repeat(" ", indent)
		lines := wrap(oneLine(first+text), width-indent)
		for i, line := range lines {
			if i > 0 {
				out.WriteString(pad)
				if first != "" {
					out.WriteString("  ")
				}
			}
			out.WriteString(line + "\n")
		}
	}
	group := ""
	for _, c := range checks {
		if c.Group != group {
			if group != "" {
				out.WriteByte('\n')
			}
			group = c.Group
			title := strings.ToUpper(group[:1]) + group[1:]
			out.WriteString(paint("1", title) + "\n")
		}
		pad := strings.Repeat(" ", state-len(c.State))
		fmt.Fprintf(&out, "  %s%s  %s%s  ", paint(colours[c.State], string(c.State)), pad, oneLine(c.Name), strings.Repeat(" ", name-utf8.RuneCountInString(c.Name)))
		put(c.Seen, "")
		if c.Remedy != "" {
			out.WriteString(strings.Repeat(" ", indent))
			put(c.Remedy, "→ ")
		}
	}
	switch {
	case count[doctor.Failed] > 0:
		fmt.Fprintf(&out, "\n%s, %s.\n", paint(colours[doctor.Failed], fmt.Sprintf("%d failed", count[doctor.Failed])), plural(count[doctor.Warning], "warning"))
	case count[doctor.Warning] > 0:
		fmt.Fprintf(&out, "\nNothing failed, %s.\n", plural(count[doctor.Warning], "warning"))
	default:
		out.WriteString("\nAll is well.\n")
	}
	return out.String()
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// wrap breaks a text at spaces into lines of at most width; one that is
// narrower than thirty is none to break for.
func wrap(text string, width int) []string {
	if width < 30 {
		return []string{text}
	}
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width-2 {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}

package transcript

import (
	"bufio"
	"context"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast/internal/store"
)

// What of a tool's output a Markdown file has: it is made to be pasted.
const (
	mdLines = 80
	mdBytes = 8 << 10
)

// mdWriter writes Markdown as GitHub and GitLab take it.
type mdWriter struct {
	w     *bufio.Writer
	agent func(id string) string
	name  string
	runs  runs
	voice string // whose heading was written last
}

func (m *mdWriter) begin(s store.Session) error {
	m.name = oneLine(m.agent(s.Agent))
	title := oneLine(s.Title)
	if title == "" {
		title = "Session with " + m.name
	}
	fmt.Fprintf(m.w, "# %s\n\n%s in %s · %s\n", mdEscape(title), mdEscape(m.name), mdCode(s.Cwd), began(s).UTC().Format(time.DateOnly))
	return nil
}

func (m *mdWriter) end() error {
	m.note(m.runs.flush())
	return m.w.Flush()
}

func (m *mdWriter) note(text string) {
	if text != "" {
		fmt.Fprintf(m.w, "\n> *%s.*\n", strings.TrimRight(mdEscape(text), "."))
	}
}

func (m *mdWriter) item(_ context.Context, it store.Item, run store.Run) error {
	m.note(m.runs.next(it, run))
	b := blockOf(it)
	if it.Kind == store.ItemUser {
		m.speak("You")
	} else {
		m.speak(m.name)
	}
	switch it.Kind {
	case store.ItemUser:
		m.text(b.text)
		for _, f := range b.files {
			fmt.Fprintf(m.w, "\n* Attached: %s (%s, %s)\n", mdCode(f.Name), f.Type, sizeText(f.Size))
		}
	case store.ItemAssistant:
		m.text(b.text)
	case store.ItemThought:
		if strings.TrimSpace(b.text) != "" {
			m.fold("Thought", func() { m.text(noTags(b.text)) })
		}
	case store.ItemTool:
		m.tool(b)
	case store.ItemPlan:
		fmt.Fprint(m.w, "\n")
		for _, e := range b.entries {
			box := " "
			if e.Status == "completed" {
				box = "x"
			}
			fmt.Fprintf(m.w, "- [%s] %s\n", box, mdEscape(oneLine(e.Content)))
		}
	case store.ItemApproval:
		fmt.Fprintf(m.w, "\n> **Asked:** %s — *%s*\n", mdEscape(b.title), mdEscape(b.answer))
	case store.ItemNotice:
		fmt.Fprintf(m.w, "\n> **%s:** %s\n", noticeWord(b.level), mdEscape(oneLine(b.text)))
	}
	if it.Open {
		m.note("Not finished when this was written")
	}
	return nil
}

// speak writes a heading where somebody else speaks than before.
func (m *mdWriter) speak(who string) {
	if m.voice != who {
		m.voice = who
		fmt.Fprintf(m.w, "\n## %s\n", mdEscape(who))
	}
}

func (m *mdWriter) text(text string) {
	if text = strings.Trim(text, "\n"); strings.TrimSpace(text) != "" {
		fmt.Fprintf(m.w, "\n%s\n", closed(text))
	}
}

// closed ends a fence that a text left open: what comes after is not its code.
func closed(text string) string {
	open := ""
	for l := range strings.Lines(text) {
		l = strings.TrimSpace(l)
		mark := l[:len(l)-len(strings.TrimLeft(l, "`"))]
		if mark == "" {
			mark = l[:len(l)-len(strings.TrimLeft(l, "~"))]
		}
		switch {
		case len(mark) < 3:
		case open == "":
			if mark[0] == '~' || !strings.Contains(l[len(mark):], "`") {
				open = mark
			}
		case mark[0] == open[0] && len(mark) >= len(open) && l == mark:
			open = ""
		}
	}
	if open == "" {
		return text
	}
	return strings.TrimRight(text, "\n") + "\n" + open
}

// fold writes something that a reader opens.
func (m *mdWriter) fold(title string, write func()) {
	fmt.Fprintf(m.w, "\n<details><summary>%s</summary>\n", esc(title))
	write()
	fmt.Fprint(m.w, "\n</details>\n")
}

func (m *mdWriter) tool(b block) {
	title := b.title
	if b.status != "completed" && b.status != "" {
		title += " (" + strings.ReplaceAll(b.status, "_", " ") + ")"
	}
	if len(b.outputs) == 0 {
		fmt.Fprintf(m.w, "\n* %s\n", mdEscape(title))
		return
	}
	m.fold(title, func() {
		for _, o := range b.outputs {
			if o.left > 0 {
				fmt.Fprintf(m.w, "\n*The first %s are left out.*\n", sizeText(int64(o.left)))
			}
			m.code(o.lang, cut(o.text, mdLines, mdBytes))
		}
	})
}

// code writes a fenced block whose fence the text cannot close.
func (m *mdWriter) code(lang, text string) {
	mark := "```"
	for strings.Contains(text, mark) {
		mark += "`"
	}
	fmt.Fprintf(m.w, "\n%s%s\n%s\n%s\n", mark, lang, strings.TrimRight(text, "\n"), mark)
}

func noticeWord(level string) string {
	switch level {
	case "warning":
		return "Warning"
	case "error":
		return "Error"
	}
	return "Note"
}

var mdSpecial = regexp.MustCompile("[\\\\`*_{}\\[\\]<>#|~!&]")

func mdEscape(text string) string { return mdSpecial.ReplaceAllString(text, "\\$0") }

// mdCode is text between backticks, of which it may have some itself.
func mdCode(text string) string {
	text = oneLine(text)
	mark := "`"
	for strings.Contains(text, mark) {
		mark += "`"
	}
	if strings.HasPrefix(text, "`") || strings.HasSuffix(text, "`") {
		text = " " + text + " "
	}
	return mark + text + mark
}

var tag = regexp.MustCompile(`(?i)<(/?)(details|summary)`)

// noTags keeps a text from ending what encloses it.
func noTags(text string) string { return tag.ReplaceAllString(text, "&lt;$1$2") }

func sizeText(n int64) string {
	switch {
	case n < 1000:
		return fmt.Sprintf("%d bytes", n)
	case n < 1000_000:
		return fmt.Sprintf("%d kB", (n+500)/1000)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}

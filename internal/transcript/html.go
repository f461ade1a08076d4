package transcript

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"html"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/renderer"
	"github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"

	"github.com/holdfast-dev/holdfast/internal/store"
)

//go:embed page.css
var style string

// htmlWriter writes a page that asks nobody for anything: one file, no script,
// and a policy that says so. Everything that was said is text in it, and
// answers are Markdown of which only our own tags come.
type htmlWriter struct {
	w     *bufio.Writer
	src   Source
	agent func(id string) string
	name  string
	runs  runs
	voice string
	open  bool // a section
}

func esc(text string) string { return html.EscapeString(strings.ToValidUTF8(text, "\ufffd")) }

func (h *htmlWriter) begin(s store.Session) error {
	h.name = oneLine(h.agent(s.Agent))
	title := oneLine(s.Title)
	if title == "" {
		title = "Session with " + h.name
	}
	sum := sha256.Sum256([]byte(style))
	fmt.Fprintf(h.w, `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'sha256-%s'; img-src data:; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>%s</title>
<style>%s</style>
</head>
<body>
<header>
<h1>%s</h1>
<p class="meta">%s in <code>%s</code> · %s</p>
</header>
<main>
`, base64.StdEncoding.EncodeToString(sum[:]), esc(title), style, esc(title), esc(h.name), esc(oneLine(s.Cwd)), began(s).UTC().Format(time.DateOnly))
	return nil
}

func (h *htmlWriter) end() error {
	h.note("", h.runs.flush())
	h.close()
	fmt.Fprint(h.w, "</main>\n<footer>Written by Holdfast.</footer>\n</body>\n</html>\n")
	return h.w.Flush()
}

func (h *htmlWriter) close() {
	if h.open {
		fmt.Fprint(h.w, "</section>\n")
	}
	h.open = false
}

func (h *htmlWriter) note(level, text string) {
	if text != "" {
		fmt.Fprintf(h.w, "<p class=\"note %s\">%s</p>\n", esc(level), esc(text))
	}
}

// speak begins a section where somebody else speaks than before.
func (h *htmlWriter) speak(who string, at time.Time) {
	if h.open && h.voice == who {
		return
	}
	h.close()
	h.open, h.voice = true, who
	class := "agent"
	if who == "You" {
		class = "you"
	}
	at = at.UTC()
	fmt.Fprintf(h.w, "<section class=\"%s\">\n<h2 class=\"who\">%s <time datetime=\"%s\">%s UTC</time></h2>\n",
		class, esc(who), at.Format(time.RFC3339), at.Format("2006-01-02 15:04"))
}

func (h *htmlWriter) item(ctx context.Context, it store.Item, run store.Run) error {
	h.note("", h.runs.next(it, run))
	b := blockOf(it)
	if it.Kind == store.ItemUser {
		h.close() // each message is one of its own
		h.speak("You", it.At)
	} else {
		h.speak(h.name, it.At)
	}
	switch it.Kind {
	case store.ItemUser:
		fmt.Fprintf(h.w, "<div class=\"said\">%s</div>\n", esc(strings.Trim(b.text, "\n")))
		if err := h.files(ctx, b.files); err != nil {
			return err
		}
	case store.ItemAssistant:
		if err := h.markdown(b.text); err != nil {
			return err
		}
	case store.ItemThought:
		if strings.TrimSpace(b.text) == "" {
			break
		}
		fmt.Fprint(h.w, "<details><summary>Thought</summary><div>\n")
		if err := h.markdown(b.text); err != nil {
			return err
		}
		fmt.Fprint(h.w, "</div></details>\n")
	case store.ItemTool:
		h.tool(b)
	case store.ItemPlan:
		fmt.Fprint(h.w, "<ul class=\"plan\">\n")
		for _, e := range b.entries {
			fmt.Fprintf(h.w, "<li class=\"%s\">%s</li>\n", esc(e.Status), esc(oneLine(e.Content)))
		}
		fmt.Fprint(h.w, "</ul>\n")
	case store.ItemApproval:
		h.note("", "Asked: "+b.title+" — "+b.answer)
	case store.ItemNotice:
		h.note(b.level, oneLine(b.text))
	}
	if it.Open {
		h.note("", "Not finished when this was written.")
	}
	return nil
}

func (h *htmlWriter) tool(b block) {
	title := esc(b.title)
	switch b.status {
	case "", "completed":
	case "failed":
		title += ` <span class="failed">failed</span>`
	default:
		title += " (" + esc(strings.ReplaceAll(b.status, "_", " ")) + ")"
	}
	if len(b.outputs) == 0 {
		fmt.Fprintf(h.w, "<p class=\"tool\">%s</p>\n", title)
		return
	}
	fmt.Fprintf(h.w, "<details><summary>%s</summary><div>\n", title)
	for _, o := range b.outputs {
		if o.left > 0 {
			fmt.Fprintf(h.w, "<p class=\"meta\">The first %s are left out.</p>\n", sizeText(int64(o.left)))
		}
		fmt.Fprint(h.w, "<pre><code>")
		if o.lang == "diff" {
			h.diff(o.text)
		} else {
			fmt.Fprint(h.w, esc(strings.TrimRight(o.text, "\n")))
		}
		fmt.Fprint(h.w, "</code></pre>\n")
	}
	fmt.Fprint(h.w, "</div></details>\n")
}

func (h *htmlWriter) diff(text string) {
	for l := range strings.Lines(text) {
		l = strings.TrimSuffix(l, "\n")
		switch {
		case strings.HasPrefix(l, "+++"), strings.HasPrefix(l, "---"), strings.HasPrefix(l, "@@"):
			fmt.Fprintf(h.w, `<span class="hunk">%s</span>`, esc(l))
		case strings.HasPrefix(l, "+"):
			fmt.Fprintf(h.w, `<span class="ins">%s</span>`, esc(l))
		case strings.HasPrefix(l, "-"):
			fmt.Fprintf(h.w, `<span class="del">%s</span>`, esc(l))
		default:
			fmt.Fprintf(h.w, "%s\n", esc(l))
		}
	}
}

// pictures are the types that an image is shown as.
var pictures = []string{"image/png", "image/jpeg", "image/gif", "image/webp"}

// files puts the attachments themselves into the page.
func (h *htmlWriter) files(ctx context.Context, files []store.File) error {
	if len(files) == 0 {
		return nil
	}
	fmt.Fprint(h.w, "<ul class=\"files\">\n")
	for _, f := range files {
		a, err := h.src.Attachment(ctx, f.ID)
		if errors.Is(err, store.ErrNotFound) {
			fmt.Fprintf(h.w, "<li>%s</li>\n", esc(f.Name))
			continue
		}
		if err != nil {
			return err
		}
		if slices.Contains(pictures, a.MIME) {
			fmt.Fprintf(h.w, `<li><img alt="%s" src="data:%s;base64,`, esc(a.Name), a.MIME)
			h.data(a.Data)
			fmt.Fprint(h.w, "\"></li>\n")
			continue
		}
		// Whatever it is, a browser is to keep it and not to open it.
		fmt.Fprintf(h.w, `<li><a download="%s" href="data:application/octet-stream;base64,`, esc(a.Name))
		h.data(a.Data)
		fmt.Fprintf(h.w, "\">%s</a> (%s)</li>\n", esc(a.Name), sizeText(int64(len(a.Data))))
	}
	fmt.Fprint(h.w, "</ul>\n")
	return nil
}

// data writes base64. What goes wrong is the writer's, and shows at its Flush.
func (h *htmlWriter) data(data []byte) {
	enc := base64.NewEncoder(base64.StdEncoding, h.w)
	_, _ = enc.Write(data)
	_ = enc.Close()
}

// markdownMax is the longest text that is read as Markdown; longer ones are
// shown as they are.
const markdownMax = 2 << 20

func (h *htmlWriter) markdown(text string) error {
	text = strings.ToValidUTF8(text, "\ufffd")
	if len(text) > markdownMax {
		fmt.Fprintf(h.w, "<div class=\"said\">%s</div>\n", esc(text))
		return nil
	}
	var out bytes.Buffer
	if err := answers.Convert([]byte(text), &out); err != nil {
		return fmt.Errorf("read Markdown: %w", err)
	}
	fmt.Fprint(h.w, "<div class=\"md\">")
	_, _ = h.w.Write(out.Bytes()) // the flush tells
	fmt.Fprint(h.w, "</div>\n")
	return nil
}

// answers reads the Markdown of agents. It is used by many at a time.
var answers = goldmark.New(
	goldmark.WithExtensions(
		extension.Linkify, extension.Strikethrough, extension.TaskList,
		extension.NewTable(extension.WithTableCellAlignMethod(extension.TableCellAlignAttribute)),
	),
	goldmark.WithRendererOptions(renderer.WithNodeRenderers(util.Prioritized(strictRenderer{}, 100))),
)

// strictRenderer shows tags of an agent's own as text, pictures as links, and
// links only where they lead to the web or to somebody's mail.
type strictRenderer struct{}

func (strictRenderer) RegisterFuncs(reg renderer.NodeRendererFuncRegisterer) {
	reg.Register(ast.KindRawHTML, func(w util.BufWriter, src []byte, n ast.Node, entering bool) (ast.WalkStatus, error) {
		if entering {
			writeLines(w, src, n.(*ast.RawHTML).Segments.Sliced(0, n.(*ast.RawHTML).Segments.Len()))
		}
		return ast.WalkSkipChildren, nil
	})
	reg.Register(ast.KindHTMLBlock, func(w util.BufWriter, src []byte, n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		b := n.(*ast.HTMLBlock)
		_, _ = w.WriteString(`<p class="said">`)
		writeLines(w, src, b.Lines().Sliced(0, b.Lines().Len()))
		if b.HasClosure() {
			_, _ = w.WriteString(esc(string(b.ClosureLine.Value(src))))
		}
		_, _ = w.WriteString("</p>\n")
		return ast.WalkSkipChildren, nil
	})
	reg.Register(ast.KindLink, func(w util.BufWriter, _ []byte, n ast.Node, entering bool) (ast.WalkStatus, error) {
		link(w, string(n.(*ast.Link).Destination), entering)
		return ast.WalkContinue, nil
	})
	reg.Register(ast.KindImage, func(w util.BufWriter, _ []byte, n ast.Node, entering bool) (ast.WalkStatus, error) {
		link(w, string(n.(*ast.Image).Destination), entering)
		return ast.WalkContinue, nil
	})
	reg.Register(ast.KindAutoLink, func(w util.BufWriter, src []byte, n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		a := n.(*ast.AutoLink)
		to := string(a.URL(src))
		if a.AutoLinkType == ast.AutoLinkEmail && !strings.HasPrefix(strings.ToLower(to), "mailto:") {
			to = "mailto:" + to
		}
		link(w, to, true)
		_, _ = w.WriteString(esc(string(a.Label(src))))
		link(w, to, false)
		return ast.WalkContinue, nil
	})
}

// link begins or ends one that leads somewhere safe; others are only text.
func link(w util.BufWriter, to string, begin bool) {
	u, err := url.Parse(to)
	if err != nil || !slices.Contains([]string{"http", "https", "mailto"}, strings.ToLower(u.Scheme)) {
		return
	}
	if begin {
		_, _ = fmt.Fprintf(w, `<a href="%s" rel="noreferrer noopener">`, esc(u.String()))
	} else {
		_, _ = w.WriteString("</a>")
	}
}

func writeLines(w util.BufWriter, src []byte, lines []text.Segment) {
	for i := range lines {
		_, _ = w.WriteString(esc(string(lines[i].Value(src))))
	}
}

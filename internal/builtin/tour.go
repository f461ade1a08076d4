package builtin

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/holdfast-dev/holdfast/internal/acp"
)

// Tour is the Decider without a language model: it knows a few commands and
// says so.
type Tour struct{}

var _ Decider = Tour{}

// Commands lists what Decide understands, with or without a slash.
func (Tour) Commands() []acp.Command {
	hint := func(s string) *acp.CommandInput { return &acp.CommandInput{Hint: s} }
	return []acp.Command{
		{Name: "help", Description: "What this agent can do"},
		{Name: "list", Description: "List a folder", Input: hint("[folder]")},
		{Name: "read", Description: "Show a file", Input: hint("file")},
		{Name: "write", Description: "Write a file, after asking you", Input: hint("file text")},
		{Name: "run", Description: "Run a command, after asking you", Input: hint("command")},
		{Name: "plan", Description: "Look at this folder step by step, with a plan"},
	}
}

const introduction = "Hello. I am the **tour agent** that comes with Holdfast. I am *not a language model*: I answer a few typed commands, " +
	"and I am here so that you can see how sessions behave before you connect a real agent.\n\n" +
	"What happens here is real, though. I run as a process of my own beside the server, I speak the same protocol as every other agent, " +
	"and what I do to your files and with your shell I do for real, after asking you.\n\n"

const guide = "Things to try:\n\n" +
	"- `list` shows the session's folder, `read FILE` a file in it.\n" +
	"- `write notes.txt Hello` shows you the change and waits for your leave.\n" +
	"- `run sleep 5; echo done` asks first, then streams the output. Stop it half way if you like.\n" +
	"- `plan` works through a small plan.\n" +
	"- Restart Holdfast while I am talking, or close the page and open it on your phone: nothing is lost.\n"

const unknownText = "I did not understand that: I am not a language model, only a tour with a few commands. "

// Decide does one command, or introduces itself.
func (d Tour) Decide(ctx context.Context, t *Turn, p Prompt) error {
	text := strings.TrimSpace(p.Text)
	if p.First {
		if err := t.Title(title(text)); err != nil {
			return err
		}
	}
	if len(p.Attachments) > 0 {
		if err := t.Say(ctx, attachmentsText(p.Attachments)); err != nil {
			return err
		}
	}
	name, rest := text, ""
	if i := strings.IndexAny(text, " \t\n"); i >= 0 {
		name, rest = text[:i], strings.TrimSpace(text[i:])
	}
	switch strings.ToLower(strings.TrimPrefix(name, "/")) {
	case "help":
		return t.Say(ctx, "I am the tour agent, and not a language model. "+guide)
	case "list":
		path, _ := cutPath(rest)
		return d.tool(ctx, t, Use{Tool: "list", Path: path}, "That is the folder.")
	case "read":
		path, _ := cutPath(rest)
		if path == "" {
			return t.Say(ctx, "Which file? For example `read notes.txt`.")
		}
		return d.tool(ctx, t, Use{Tool: "read", Path: path}, "That is the file.")
	case "write":
		path, content := cutPath(rest)
		if path == "" || content == "" {
			return t.Say(ctx, "Which file, and what text? For example `write notes.txt Hello`.")
		}
		return d.tool(ctx, t, Use{Tool: "write", Path: path, Text: content + "\n"}, "")
	case "run":
		if rest == "" {
			return t.Say(ctx, "Which command? For example `run date`.")
		}
		return d.tool(ctx, t, Use{Tool: "run", Command: rest}, "")
	case "plan":
		return d.plan(ctx, t)
	}
	if p.First {
		return t.Say(ctx, introduction+guide)
	}
	return t.Say(ctx, unknownText+"Type `help` to see them.")
}

// tool uses a tool and says how it went.
func (Tour) tool(ctx context.Context, t *Turn, use Use, done string) error {
	out, err := t.Do(ctx, use)
	switch {
	case err != nil:
		return err
	case out.Denied:
		return t.Say(ctx, "You did not allow it, so I left it.")
	case !out.OK && use.Tool == "run":
		return t.Say(ctx, fmt.Sprintf("The command failed: %s.", out.Text))
	case !out.OK:
		return t.Say(ctx, out.Text)
	case use.Tool == "run":
		return t.Say(ctx, fmt.Sprintf("The command ended with %s.", out.Text))
	case done == "":
		return t.Say(ctx, out.Text)
	}
	return t.Say(ctx, done)
}

// plan shows how a plan moves on, with work that is small and real.
func (d Tour) plan(ctx context.Context, t *Turn) error {
	entries := []acp.PlanEntry{
		{Content: "List the folder", Priority: "high", Status: "in_progress"},
		{Content: "Count what is there", Priority: "medium", Status: "pending"},
		{Content: "Say what I found", Priority: "low", Status: "pending"},
	}
	advance := func(i int) error {
		for j := range entries {
			switch {
			case j < i:
				entries[j].Status = "completed"
			case j == i:
				entries[j].Status = "in_progress"
			}
		}
		return t.Plan(entries)
	}
	if err := advance(0); err != nil {
		return err
	}
	out, err := t.Do(ctx, Use{Tool: "list"})
	if err != nil {
		return err
	}
	if !out.OK {
		return t.Say(ctx, out.Text)
	}
	if err := advance(1); err != nil {
		return err
	}
	if err := pause(ctx, 20*t.pace); err != nil {
		return err
	}
	folders, files := 0, 0
	for line := range strings.Lines(out.Text) {
		switch line = strings.TrimSpace(line); {
		case strings.HasSuffix(line, "/"):
			folders++
		case strings.HasSuffix(line, " bytes"):
			files++
		}
	}
	if err := advance(2); err != nil {
		return err
	}
	if err := t.Say(ctx, fmt.Sprintf("There are %d files and %d folders in `%s`.", files, folders, t.Folder())); err != nil {
		return err
	}
	return advance(3)
}

// cutPath takes a path off the front: a word, or a double-quoted string.
func cutPath(s string) (path, rest string) {
	if quoted, err := strconv.QuotedPrefix(s); err == nil {
		if path, err := strconv.Unquote(quoted); err == nil {
			return path, strings.TrimSpace(s[len(quoted):])
		}
	}
	i := strings.IndexAny(s, " \t\n")
	if i < 0 {
		return s, ""
	}
	return s[:i], strings.TrimSpace(s[i:])
}

// title is the first line of the first prompt, not too long.
func title(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	line = strings.TrimSpace(line)
	if line == "" {
		return "Tour"
	}
	if r := []rune(line); len(r) > 60 {
		line = strings.TrimSpace(string(r[:59])) + "…"
	}
	return line
}

func attachmentsText(list []acp.ContentBlock) string {
	var names []string
	for _, b := range list {
		name := b.Name
		if name == "" && b.Resource != nil {
			name = b.Resource.URI
		}
		if name == "" {
			name = b.URI
		}
		if name == "" {
			name = b.Type
		}
		names = append(names, "`"+strings.ReplaceAll(name, "`", "'")+"`")
	}
	return "You attached " + strings.Join(names, ", ") + ". A language model would look at it; I cannot.\n\n"
}

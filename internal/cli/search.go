package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/holdfast-dev/holdfast/internal/store"
)

type searchCmd struct {
	Words   []string `arg:"" help:"Words, or a \"phrase\" in quotes; the last word may be a beginning."`
	Session string   `placeholder:"ID" help:"Only in this session."`
	Kind    []string `placeholder:"KIND" help:"Only said (messages, answers, thoughts, plans, notices), run (tools, approvals), title, or single kinds: user, assistant, thought, tool, plan, approval, notice."`
	Project string   `placeholder:"NAME" help:"Only in sessions of this project: its name or id."`
	Tag     string   `placeholder:"TAG" help:"Only in sessions with this tag."`
	Agent   string   `placeholder:"ID" help:"Only in sessions of this agent."`
	Archive string   `name:"archived" enum:"also,only,no" default:"also" help:"Archived sessions: also, only or no."`
	Limit   int      `short:"n" default:"20" help:"At most this many, newest first."`
	JSON    bool     `name:"json" help:"Print JSON."`
}

// Help is shown after the flags.
func (searchCmd) Help() string {
	return `It looks through everything that was said, run and printed, and through titles, archived sessions included. It ends with 0 where something was found and with 1 where nothing was.

Examples:
  holdfast search flaky test
  holdfast search '"connection reset"' --session s_4k2m
  holdfast search deploy --kind run --project website --archived no
  holdfast search deploy --json -n 100`
}

// searchPage is the most that the host gives at once.
const searchPage = 100

// Run searches.
func (c *searchCmd) Run(ctx context.Context, a *app) (err error) {
	if c.Limit < 1 {
		return &Error{Code: ExitUsage, Msg: "--limit must be 1 or more"}
	}
	h, _, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	q := url.Values{"q": {strings.Join(c.Words, " ")}}
	if err := c.conditions(ctx, h, q); err != nil {
		return err
	}
	hits := []store.Hit{}
	var behind int64
	for before := ""; len(hits) < c.Limit; {
		q.Set("limit", fmt.Sprint(min(searchPage, c.Limit-len(hits))))
		if before != "" {
			q.Set("before", before)
		}
		var page struct {
			Hits   []store.Hit `json:"hits"`
			Next   *string     `json:"next"`
			Behind int64       `json:"behind"`
		}
		if err := h.call(ctx, http.MethodGet, "/api/v1/search?"+q.Encode(), nil, &page); err != nil {
			return err
		}
		hits, behind = append(hits, page.Hits...), max(behind, page.Behind)
		if page.Next == nil {
			break
		}
		before = *page.Next
	}
	if err := c.print(a, hits); err != nil {
		return err
	}
	if behind > 0 {
		a.notef("The index has %d events to catch up with; what was said last may be missing.\n", behind)
	}
	if len(hits) == 0 {
		a.notef("Nothing was found.\n")
		return &Error{Code: ExitFailure}
	}
	return nil
}

// conditions puts into q what was asked for beside the words.
func (c *searchCmd) conditions(ctx context.Context, h *client, q url.Values) error {
	for name, value := range map[string]string{"session": c.Session, "kind": strings.Join(c.Kind, ","), "tag": c.Tag, "agent": c.Agent} {
		if value != "" {
			q.Set(name, value)
		}
	}
	if c.Archive != "also" {
		q.Set("archived", strconv.FormatBool(c.Archive == "only"))
	}
	if c.Project == "" {
		return nil
	}
	var list struct {
		Projects []store.Project `json:"projects"`
	}
	if err := h.call(ctx, http.MethodGet, "/api/v1/projects", nil, &list); err != nil {
		return err
	}
	var names []string
	for _, p := range list.Projects {
		if p.ID == c.Project || strings.EqualFold(p.Name, c.Project) {
			q.Set("project", p.ID)
			return nil
		}
		names = append(names, oneLine(p.Name))
	}
	if len(names) == 0 {
		return failf("there is no project %s; there is none at all", c.Project)
	}
	return failf("there is no project %s. There are: %s", c.Project, strings.Join(names, ", "))
}

func (c *searchCmd) print(a *app, hits []store.Hit) error {
	if c.JSON {
		data, err := json.Marshal(map[string]any{"hits": hits})
		if err != nil {
			return err
		}
		return a.printJSON(data)
	}
	colour := isTerminal(a.Out) && a.env("NO_COLOR") == ""
	for i, hit := range hits {
		// One heading for what stands next to each other.
		if i == 0 || hits[i-1].Session != hit.Session {
			if i > 0 {
				a.printf("\n")
			}
			title := oneLine(hit.Title)
			if title == "" {
				title = "(no title)"
			}
			a.printf("%s  %s\n", hit.Session, title)
		}
		a.printf("  %s  %-9s  %s\n", when(hit.At), oneLine(hit.Kind), snippet(hit.Snippet, colour))
	}
	return nil
}

// snippet is a snippet on one line whose matches stand out: bold, or between
// brackets where there is no terminal.
func snippet(parts []store.Segment, colour bool) string {
	begin, end := "[", "]"
	if colour {
		begin, end = "\x1b[1m", "\x1b[0m"
	}
	var b strings.Builder
	for _, p := range parts {
		text := oneLine(p.Text)
		if p.Match {
			text = begin + text + end
		}
		b.WriteString(text)
	}
	return strings.TrimSpace(b.String())
}

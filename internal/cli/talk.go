package cli

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/holdfast-dev/holdfast/internal/store"
)

type sessionsCmd struct {
	JSON  bool `name:"json" help:"Print JSON."`
	Limit int  `default:"50" help:"At most this many, latest activity first."`
}

// Help is shown after the flags.
func (sessionsCmd) Help() string {
	return `Examples:
  holdfast sessions
  holdfast sessions --json --limit 10`
}

// Run lists the sessions.
func (c *sessionsCmd) Run(ctx context.Context, a *app) (err error) {
	h, _, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	var raw json.RawMessage
	if err := h.call(ctx, http.MethodGet, fmt.Sprintf("/api/v1/sessions?limit=%d", c.Limit), nil, &raw); err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(raw)
	}
	var list struct {
		Sessions []store.Session `json:"sessions"`
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		return failf("read the list of sessions: %w", err)
	}
	if len(list.Sessions) == 0 {
		a.notef("There are no sessions yet. Begin one with: holdfast send --new tour \"hello\"\n")
		return nil
	}
	w := tabwriter.NewWriter(a.Out, 0, 4, 2, ' ', 0)
	row(w, "ID", "STATE", "AGENT", "LAST", "TITLE", "FOLDER")
	for _, s := range list.Sessions {
		row(w, s.ID, s.State, s.Agent, when(s.LastAt), s.Title, s.Cwd)
	}
	return w.Flush()
}

type sendCmd struct {
	New     string `placeholder:"AGENT" help:"Begin a session with this agent."`
	Cwd     string `placeholder:"DIR" help:"Folder of the new session; by default this one."`
	Model   string `placeholder:"ID" help:"Model of the new session; by default the agent's."`
	Mode    string `placeholder:"ID" help:"Mode of the new session; by default the agent's."`
	Answer  string `placeholder:"KIND" help:"Answer every question of the agent with its first option of this kind: allow_once, allow_always, reject_once or reject_always."`
	Session string `arg:"" optional:"" help:"The session; left out with --new."`
	Text    string `arg:"" optional:"" help:"The message; - reads it from standard input."`
}

// Help is shown after the flags.
func (sendCmd) Help() string {
	return `The answer goes to standard output as it comes; tools, questions and the session's id go to standard error. It ends with 0 when the agent has answered, with 1 when the run ended otherwise. Ctrl-C ends this command only; the run goes on.

Examples:
  holdfast send --new opencode --cwd ~/project "What does this do?"
  holdfast send --new claude --model sonnet --mode plan "How would you test this?"
  holdfast send s_4k2m "And the tests?"
  git diff | holdfast send --new hermes -
  holdfast send --new tour --answer allow_once "run date"`
}

// Run sends a message and prints the answer.
func (c *sendCmd) Run(ctx context.Context, a *app) (err error) {
	id, text := c.Session, c.Text
	if c.New != "" && text == "" {
		id, text = "", id
	}
	if (c.New == "") != (id != "") || text == "" {
		return &Error{Code: ExitUsage, Msg: "give a session and a message, or --new AGENT and a message (in quotes). See: holdfast send --help"}
	}
	if c.New == "" && (c.Model != "" || c.Mode != "") {
		return &Error{Code: ExitUsage, Msg: "--model and --mode are of a new session; give --new AGENT, too"}
	}
	switch c.Answer {
	case "", "allow_once", "allow_always", "reject_once", "reject_always":
	default:
		return &Error{Code: ExitUsage, Msg: fmt.Sprintf("--answer is %q; write allow_once, allow_always, reject_once or reject_always", c.Answer)}
	}
	if text == "-" {
		data, err := io.ReadAll(a.In)
		if err != nil {
			return failf("read the message: %w", err)
		}
		text = string(data)
	}
	h, _, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	if c.New != "" {
		if id, err = c.create(ctx, h); err != nil {
			return err
		}
		a.notef("session %s\n", id)
	}
	f := &follower{c: h, session: id, lost: a.awayNote()}
	if _, err := f.begin(ctx, 1); err != nil {
		return err
	}
	var accepted struct {
		Run   string `json:"run"`
		State string `json:"state"`
	}
	message := map[string]string{"client_id": randomID(), "text": text}
	if err := h.persist(ctx, http.MethodPost, "/api/v1/sessions/"+url.PathEscape(id)+"/messages", message, &accepted); err != nil {
		return err
	}
	if accepted.State == "queued" {
		a.notef("another run is under way; this one waits\n")
	}
	p := a.printer(a.Err)
	p.run, p.answerOnly = accepted.Run, true
	err = f.run(ctx, func(e *store.Event) error {
		if e.Kind == store.ApprovalRequested && e.Run == p.run && c.Answer != "" {
			return answer(ctx, h, e, c.Answer, p)
		}
		return p.event(e)
	})
	p.end()
	if err != nil {
		if ctx.Err() != nil {
			a.notef("the run goes on; follow it with: holdfast tail %s\n", id)
			return &Error{Code: ExitFailure, Err: err}
		}
		return err
	}
	if p.ended.Reason != store.EndTurn {
		why := ""
		if p.ended.Detail != "" {
			why = ": " + oneLine(p.ended.Detail)
		}
		return failf("the run ended with %s%s", oneLine(p.ended.Reason), why)
	}
	return nil
}

func (c *sendCmd) create(ctx context.Context, h *client) (string, error) {
	dir := c.Cwd
	if dir == "" {
		dir = "."
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", failf("find the folder: %w", err)
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return "", failf("%s is no folder; choose another with --cwd DIR", dir)
	}
	var made struct {
		ID string `json:"id"`
	}
	in := map[string]string{"agent": c.New, "cwd": dir, "client_id": randomID()}
	if c.Model != "" {
		in["model"] = c.Model
	}
	if c.Mode != "" {
		in["mode"] = c.Mode
	}
	err = h.persist(ctx, http.MethodPost, "/api/v1/sessions", in, &made)
	return made.ID, err
}

// answer chooses the first option of the kind.
func answer(ctx context.Context, h *client, e *store.Event, kind string, p *printer) error {
	var ap store.Approval
	if err := json.Unmarshal(e.Body, &ap); err != nil {
		return failf("read the question: %w", err)
	}
	for _, o := range ap.Options {
		if o.Kind != kind {
			continue
		}
		p.note("? %s -> %s", ap.Title, o.Name)
		in := map[string]string{"option": o.ID, "client_id": "cli-" + ap.ID}
		err := h.persist(ctx, http.MethodPost, "/api/v1/approvals/"+url.PathEscape(ap.ID), in, nil)
		var refused *problem
		if errors.As(err, &refused) && refused.Status == http.StatusConflict {
			p.note("  %s", refused.Error()) // somebody else was first, or it is too late
			return nil
		}
		return err
	}
	p.note("? %s has no option of the kind %s", ap.Title, kind)
	return p.event(e)
}

func randomID() string {
	var b [12]byte
	_, _ = rand.Read(b[:]) // never fails
	return "cli-" + hex.EncodeToString(b[:])
}

type tailCmd struct {
	Session  string `arg:"" help:"Its id, as in: holdfast sessions."`
	JSON     bool   `name:"json" help:"Print the events as lines of JSON."`
	After    *int64 `placeholder:"SEQ" help:"With --json: begin after the event with this number; 0 prints the whole log. By default only what happens from now on."`
	Lines    int    `short:"n" default:"20" help:"Begin with this many items of the transcript."`
	NoFollow bool   `help:"End when everything that there is has been printed."`
}

// Help is shown after the flags.
func (tailCmd) Help() string {
	return `It goes on across restarts of the host, until Ctrl-C.

Examples:
  holdfast tail s_4k2m
  holdfast tail s_4k2m --json --after 0 --no-follow > log.jsonl`
}

// Run follows a session.
func (c *tailCmd) Run(ctx context.Context, a *app) (err error) {
	if c.After != nil && !c.JSON {
		return &Error{Code: ExitUsage, Msg: "--after needs --json"}
	}
	h, _, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	f := &follower{c: h, session: c.Session, lost: a.awayNote()}
	snap, err := f.begin(ctx, max(1, min(c.Lines, 500)))
	if err != nil {
		return err
	}
	p := a.printer(a.Out)
	handle := p.event
	if c.JSON {
		handle = func(e *store.Event) error {
			line, err := json.Marshal(e)
			if err != nil {
				return fmt.Errorf("encode event: %w", err)
			}
			_, err = fmt.Fprintf(a.Out, "%s\n", line)
			return err
		}
		if c.After != nil {
			f.seq = *c.After
			if err := f.catchUp(ctx, handle); err != nil {
				return err
			}
		}
	} else if c.Lines > 0 {
		for i := range snap.Items {
			p.item(&snap.Items[i])
		}
	}
	if c.NoFollow {
		p.end()
		return nil
	}
	err = f.run(ctx, handle)
	p.end()
	if ctx.Err() != nil {
		return nil // that is how one leaves a tail
	}
	return err
}

// awayNote tells once when the host goes away and when it is back.
func (a *app) awayNote() func(bool) {
	away := false
	return func(lost bool) {
		if lost == away {
			return
		}
		away = lost
		if lost {
			a.notef("\n(the host is away; waiting for it)\n")
		} else {
			a.notef("(the host is back)\n")
		}
	}
}

// printer shows events to a person: the agents' text to out, the rest to
// notes.
type printer struct {
	out, notes io.Writer
	apart      bool   // out and notes are different places
	plain      bool   // out is a terminal, which must not obey what agents print
	run        string // only this run's events, and its end ends the printing; "" shows all
	answerOnly bool   // thoughts and messages are not wanted

	current string // the text item that out is in the middle of
	midline bool   // out's last character was not a newline
	ended   store.RunBody
}

func (a *app) printer(notes io.Writer) *printer {
	return &printer{
		out: a.Out, notes: notes,
		plain: isTerminal(a.Out), apart: notes != a.Out && !(isTerminal(a.Out) && isTerminal(notes)),
	}
}

func (p *printer) event(e *store.Event) error {
	if p.run != "" && e.Run != p.run {
		return nil
	}
	switch e.Kind {
	case store.TextDelta, store.ThoughtDelta:
		var b store.DeltaBody
		if err := json.Unmarshal(e.Body, &b); err != nil {
			return nil
		}
		p.text(e.Kind == store.ThoughtDelta, b.Item, b.Text)
	case store.MessageUser:
		var b store.MessageBody
		if json.Unmarshal(e.Body, &b) == nil && !p.answerOnly {
			p.note("> %s", b.Text)
		}
	case store.ToolStarted:
		var b store.ToolBody
		if json.Unmarshal(e.Body, &b) == nil {
			p.note("* %s", b.Title)
		}
	case store.ApprovalRequested:
		var b store.Approval
		if json.Unmarshal(e.Body, &b) == nil {
			p.approval(&b)
		}
	case store.ApprovalResolved:
		var b store.ResolvedBody
		if json.Unmarshal(e.Body, &b) == nil {
			p.note("  %s", strings.TrimSpace(b.State+" "+b.Chosen))
		}
	case store.NoticeGiven:
		var b store.NoticeBody
		if json.Unmarshal(e.Body, &b) == nil {
			p.note("! %s", b.Text)
		}
	case store.RunEnded:
		var b store.RunBody
		if json.Unmarshal(e.Body, &b) != nil {
			return nil
		}
		if p.run != "" {
			p.ended = b
			return errDone
		}
		p.note("= %s %s", b.Reason, b.Detail)
	}
	return nil
}

// item shows one item of the transcript.
func (p *printer) item(it *store.Item) {
	switch it.Kind {
	case store.ItemAssistant, store.ItemThought:
		var b struct {
			Text string `json:"text"`
		}
		if json.Unmarshal(it.Body, &b) == nil {
			p.text(it.Kind == store.ItemThought, it.ID, b.Text)
		}
	case store.ItemUser:
		p.fromItem(it, store.MessageUser)
	case store.ItemTool:
		p.fromItem(it, store.ToolStarted)
	case store.ItemNotice:
		p.fromItem(it, store.NoticeGiven)
	case store.ItemApproval:
		var b store.Approval
		if json.Unmarshal(it.Body, &b) != nil {
			return
		}
		if b.State == store.ApprovalPending {
			p.approval(&b)
			return
		}
		p.note("? %s: %s %s", b.Title, b.State, b.Chosen)
	}
}

func (p *printer) fromItem(it *store.Item, kind store.Kind) {
	_ = p.event(&store.Event{Session: it.Session, Run: it.Run, Kind: kind, Body: it.Body})
}

// text prints a piece of an item's text.
func (p *printer) text(thought bool, item, text string) {
	if thought && p.answerOnly || text == "" {
		return
	}
	if p.current != item {
		p.end()
		p.current = item
		if thought {
			fmt.Fprint(p.out, "(thinking) ")
		}
	}
	if p.plain {
		text = printable(text)
	}
	fmt.Fprint(p.out, text)
	p.midline = !strings.HasSuffix(text, "\n")
}

func (p *printer) approval(ap *store.Approval) {
	p.note("? %s", ap.Title)
	if ap.ExpiresAt != nil {
		p.note("  the agent waits until %s", ap.ExpiresAt.Local().Format("15:04:05"))
	}
	var names []string
	for _, o := range ap.Options {
		names = append(names, fmt.Sprintf("%s (%s)", o.Name, o.Kind))
	}
	p.note("  %s", strings.Join(names, ", "))
	p.note("  answer it on the page; send answers by itself with --answer KIND")
}

// note prints a line of its own.
func (p *printer) note(format string, args ...any) {
	if !p.apart {
		p.end()
		p.current = ""
	}
	fmt.Fprintln(p.notes, strings.TrimRight(printable(fmt.Sprintf(format, args...)), " \n"))
}

// end ends the line that out is in the middle of.
func (p *printer) end() {
	if p.midline {
		fmt.Fprintln(p.out)
		p.midline = false
	}
}

// printable removes what would command a terminal: agents repeat what files
// and web pages hold.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' {
			return r
		}
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return -1
		}
		return r
	}, s)
}

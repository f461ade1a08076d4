package session

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/holdfast-dev/holdfast/internal/acp"
	"github.com/holdfast-dev/holdfast/internal/failpoint"
	"github.com/holdfast-dev/holdfast/internal/keeper"
	"github.com/holdfast-dev/holdfast/internal/store"
)

// rawKept is how much of a line that we do not understand goes into the log.
const rawKept = 64 << 10

// entry is a record with what it says, as far as that can be told without the
// store.
type entry struct {
	rec    keeper.Record
	msg    acp.Message
	update acp.Update
	from   string // the agent session that an update names
	err    error  // why it is no message
}

// decode reads a record. A record that makes the reading panic is one that
// cannot be understood, no more.
func decode(rec keeper.Record) (e entry) {
	e.rec = rec
	defer func() {
		if r := recover(); r != nil {
			e.err = fmt.Errorf("reading it failed: %v", r)
		}
	}()
	if rec.Kind != keeper.KindLine {
		return e
	}
	if rec.Truncated {
		e.err = errors.New("the line is longer than 64 MiB")
		return e
	}
	if e.msg, e.err = acp.Parse(rec.Data); e.err != nil || e.msg.Method != acp.MethodSessionUpdate {
		return e
	}
	var n acp.SessionNotification
	if err := json.Unmarshal(e.msg.Params, &n); err != nil {
		e.update = acp.Unknown{Raw: e.msg.Params}
		return e
	}
	e.from = n.SessionID
	e.update, _ = acp.DecodeUpdate(n.Update) // an error comes with Unknown: kept raw
	return e
}

// isText tells whether the entry is streamed text, which may wait a moment for
// more.
func (e entry) isText() bool {
	switch e.update.(type) {
	case acp.AgentChunk, acp.ThoughtChunk:
		return true
	}
	return false
}

// turn is what is open in an epoch's stream. It is a cache of the store: nil
// means read it again.
type turn struct {
	run       string
	item      string // the open text item, "" for none
	kind      string // its kind
	messageID string
	pending   strings.Builder // text of the item not yet in an event
	tools     map[string]*tool
}

type tool struct {
	item string
	call acp.ToolCall
	open bool
}

// apply commits a batch. Where a record of it cannot be interpreted, the batch
// is applied record by record, and that one is kept raw: no record can be read
// for ever.
func (l *link) apply(ctx context.Context, batch []entry) error {
	err := l.try(ctx, batch, false)
	if err == nil || !ofRecord(err) {
		return err
	}
	for i := range batch {
		err := l.try(ctx, batch[i:i+1], false)
		if err != nil && ofRecord(err) {
			l.log.Error("a record could not be interpreted", "record", batch[i].rec.N, "err", err)
			err = l.try(ctx, batch[i:i+1], true)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// ofRecord tells whether an error comes from what a record says, not from the
// state of the host.
func ofRecord(err error) bool {
	return !errors.Is(err, store.ErrCommit) && !errors.Is(err, store.ErrClosed) && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
}

type panicked struct{ value any }

func (p *panicked) Error() string { return fmt.Sprintf("interpreter panic: %v", p.value) }

func (l *link) try(ctx context.Context, batch []entry, raw bool) (err error) {
	defer func() {
		if r := recover(); r != nil {
			l.turn = nil
			err = &panicked{r}
		}
	}()
	durability := store.Relaxed
	for _, e := range batch {
		if !e.isText() {
			if e.msg.IsResponse() || e.msg.IsRequest() || e.rec.Kind == keeper.KindExit {
				durability = store.Durable
			}
		}
		l.spool += len(e.rec.Data)
	}
	if l.spool >= trimEvery {
		durability = store.Durable
	}
	var fx effects
	pushed := false
	saved := l.turn
	err = l.m.commit(ctx, durability, func(tx *store.Tx) error {
		fx = effects{}
		l.turn = nil // a batch that is tried again begins from the store
		if saved != nil {
			l.turn, saved = saved, nil
		}
		in := interpreter{l: l, tx: tx, fx: &fx}
		if err := in.begin(); err != nil {
			return err
		}
		for _, e := range batch {
			var err error
			if raw {
				err = in.unreadable(e)
			} else {
				err = in.record(e)
			}
			if err != nil {
				return err
			}
		}
		if err := in.flushText(); err != nil {
			return err
		}
		pushed = in.pushed
		if last := in.last; last > l.offset {
			return tx.SetOffset(l.ep.Name, last)
		}
		return nil
	})
	if err != nil {
		l.turn = nil
		return err
	}
	l.offset = max(l.offset, batch[len(batch)-1].rec.N)
	failpoint.Hit("host.committed")
	if durability == store.Durable {
		l.trim(l.offset)
	}
	if pushed {
		l.wakeSender()
	}
	l.m.carryOut(&fx)
	return nil
}

// interpreter turns records into events, inside one transaction.
type interpreter struct {
	l      *link
	tx     *store.Tx
	fx     *effects
	ep     store.Epoch
	s      store.Session
	run    store.Run // the one under way, or zero
	last   uint64    // number of the last record interpreted
	pushed bool
}

func (in *interpreter) begin() error {
	var err error
	if in.ep, err = in.tx.Epoch(in.l.ep.Name); err != nil {
		return err
	}
	if in.s, err = in.tx.Session(in.ep.Session); err != nil {
		return err
	}
	return in.loadRun()
}

// loadRun reads which run is under way and forgets the open items of another.
func (in *interpreter) loadRun() error {
	run, ok, err := in.tx.CurrentRun(in.s.ID)
	if err != nil {
		return err
	}
	in.run = store.Run{}
	if ok && run.Epoch == in.ep.Name && !run.StartedAt.IsZero() {
		in.run = run
	}
	if t := in.l.turn; t != nil && t.run == in.run.ID {
		return nil
	}
	t := &turn{run: in.run.ID, tools: map[string]*tool{}}
	items, err := in.tx.OpenItems(in.s.ID)
	if err != nil {
		return err
	}
	for _, it := range items {
		if it.Kind == store.ItemAssistant || it.Kind == store.ItemThought {
			t.item, t.kind = it.ID, it.Kind
		}
	}
	in.l.turn = t
	return nil
}

// unreadable passes over a record that cannot be understood, and says so.
func (in *interpreter) unreadable(e entry) error {
	in.last = e.rec.N
	if err := in.appendRaw(e.rec.Data); err != nil {
		return err
	}
	return appendNotice(in.tx, in.s.ID, in.run.ID, "warning", "record_unreadable",
		"Something the agent sent could not be understood and was passed over. It is kept in the log.", "")
}

func (in *interpreter) appendRaw(line []byte) error {
	body := map[string]any{}
	switch {
	case len(line) <= rawKept && json.Valid(line):
		body["line"] = json.RawMessage(line)
	default:
		body["text"] = strings.ToValidUTF8(string(line[:min(len(line), rawKept)]), "\uFFFD")
		body["size"] = len(line)
	}
	_, err := in.tx.Append(in.s.ID, in.run.ID, store.AgentRaw, body)
	return err
}

func (in *interpreter) record(e entry) error {
	in.last = e.rec.N
	if !e.isText() || in.ep.Replaying {
		if err := in.flushText(); err != nil {
			return err
		}
	}
	switch {
	case e.rec.Kind == keeper.KindStderr:
		in.l.stderr = strings.ToValidUTF8(string(e.rec.Data), "\uFFFD")
		return nil
	case e.rec.Kind == keeper.KindExit:
		exit, err := keeper.ParseExit(e.rec.Data)
		if err != nil {
			return fmt.Errorf("read exit record: %w", err)
		}
		in.l.exit = &exit
		return nil
	case e.rec.Truncated:
		return in.unreadable(e)
	case e.err != nil:
		// Agents and their runtimes print banners and warnings: not a fault
		// that a person can mend, so it is for the log of the host.
		in.l.log.Warn("the agent wrote a line that is no message", "record", e.rec.N, "line", string(e.rec.Data[:min(len(e.rec.Data), 200)]))
		return nil
	case e.msg.IsResponse():
		return in.response(e.msg)
	case e.msg.IsRequest():
		return in.request(e)
	case e.update != nil:
		failpoint.Hit("host.interpret")
		return in.update(e)
	case e.msg.Method == acp.MethodCancelRequest:
		return in.cancelRequest(e.msg)
	}
	in.l.log.Debug("notification ignored", "method", e.msg.Method)
	return nil
}

// request answers what the agent asks. Permissions go to a person, the rest is
// not offered.
func (in *interpreter) request(e entry) error {
	if e.msg.Method != acp.MethodRequestPermission {
		data := acp.ErrorResponse(e.msg.ID, acp.CodeMethodNotFound, "Holdfast does not offer "+e.msg.Method)
		return in.push(store.Line{Kind: store.LineRefusal, Run: in.run.ID, Data: data})
	}
	var req acp.PermissionRequest
	if err := json.Unmarshal(e.msg.Params, &req); err != nil || len(req.Options) == 0 {
		if err := in.unreadable(e); err != nil {
			return err
		}
		data := acp.ErrorResponse(e.msg.ID, acp.CodeInvalidParams, "the permission request cannot be read or offers no option")
		return in.push(store.Line{Kind: store.LineRefusal, Run: in.run.ID, Data: data})
	}
	if err := in.closeText(); err != nil {
		return err
	}
	// An agent that uses an id again has given up the earlier question.
	pending, err := in.tx.PendingApprovals(in.s.ID)
	if err != nil {
		return err
	}
	for _, a := range pending {
		if a.Epoch == in.ep.Name && bytes.Equal(a.RawID, e.msg.ID) {
			if _, err := in.tx.ResolveApproval(a.ID, store.ApprovalCancelled, "", "", "", "The agent asked anew."); err != nil {
				return err
			}
		}
	}
	var known *acp.ToolCall
	if t, err := in.tool(req.ToolCall.ID); err != nil {
		return err
	} else if t != nil {
		known = &t.call
		if t.open {
			if err := in.updateTool(t, req.ToolCall); err != nil {
				return err
			}
		}
	}
	title, detail, options := approvalOf(req, known)
	id := newID("a")
	a := store.Approval{
		ID: id, Session: in.s.ID, Run: in.run.ID, State: store.ApprovalPending, Title: title, Item: "i" + id,
		At: e.rec.At, Detail: detail, Options: options, Epoch: in.ep.Name, RawID: e.msg.ID,
	}
	if d := in.l.agent.PermissionDeadline; d > 0 {
		at := e.rec.At.Add(d)
		a.ExpiresAt = &at
	}
	if _, err := in.tx.RequestApproval(a); err != nil {
		return err
	}
	if in.run.Cancelling {
		in.pushed = true
		return answerCancelled(in.tx, a, "The run was stopped.")
	}
	in.fx.wakeUp(in.s.ID)
	return nil
}

// cancelRequest closes the question that the agent takes back.
func (in *interpreter) cancelRequest(msg acp.Message) error {
	var p acp.CancelRequestParams
	if err := json.Unmarshal(msg.Params, &p); err != nil {
		return nil //nolint:nilerr // an unreadable notification is ignored, as the protocol says
	}
	pending, err := in.tx.PendingApprovals(in.s.ID)
	if err != nil {
		return err
	}
	for _, a := range pending {
		if a.Epoch == in.ep.Name && bytes.Equal(a.RawID, p.RequestID) {
			in.pushed = true
			if err := answerCancelled(in.tx, a, "The agent took its question back."); err != nil {
				return err
			}
		}
	}
	return nil
}

// push puts a line into the outbox.
func (in *interpreter) push(line store.Line) error {
	line.Epoch = in.ep.Name
	in.pushed = true
	_, err := pushLine(in.tx, line)
	return err
}

// update interprets a session/update.
func (in *interpreter) update(e entry) error {
	if in.s.AgentSession != "" && e.from != "" && e.from != in.s.AgentSession && in.ep.State != store.EpochStarting {
		return in.appendRaw(e.rec.Data) // a sub-agent's session: kept, not shown
	}
	if in.ep.Replaying {
		switch e.update.(type) {
		case acp.Commands, acp.CurrentMode, acp.ConfigOptions, acp.Usage:
		default:
			return nil // our own log has it
		}
	}
	switch u := e.update.(type) {
	case acp.AgentChunk:
		return in.text(store.ItemAssistant, u.Chunk, e)
	case acp.ThoughtChunk:
		return in.text(store.ItemThought, u.Chunk, e)
	case acp.UserChunk:
		return nil // our own message, said back
	case acp.ToolCall:
		return in.toolCall(u)
	case acp.ToolCallUpdate:
		return in.toolUpdate(u)
	case acp.Plan:
		entries, err := json.Marshal(u.Entries)
		if err != nil {
			return err
		}
		item := "p" + in.run.ID
		if in.run.ID == "" {
			item = "p" + in.ep.Name
		}
		_, err = in.tx.Append(in.s.ID, in.run.ID, store.PlanChanged, store.PlanBody{Item: item, Entries: entries})
		return err
	case acp.Commands:
		return in.options(store.OptionsBody{Commands: mustJSON(u.Commands)})
	case acp.ConfigOptions:
		return in.options(store.OptionsBody{Config: mustJSON(u.Options)})
	case acp.CurrentMode:
		return in.currentMode(u.ModeID)
	case acp.SessionInfo:
		if u.Title.Present && u.Title.Value != nil && strings.TrimSpace(*u.Title.Value) != "" {
			return in.tx.SetTitle(in.s.ID, strings.TrimSpace(*u.Title.Value), false)
		}
		return nil
	case acp.Usage:
		_, err := in.tx.Append(in.s.ID, in.run.ID, store.UsageChanged, map[string]any{"used": u.Used, "size": u.Size, "cost": u.Cost})
		return err
	case acp.Notice:
		return appendNotice(in.tx, in.s.ID, in.run.ID, noticeLevel(u.Severity), "agent", u.Title, u.Description)
	case acp.Compaction:
		if u.Status == "completed" {
			return appendNotice(in.tx, in.s.ID, in.run.ID, "info", "compacted", "The agent has summed up its context.", "")
		}
		return in.appendRaw(e.rec.Data)
	}
	return in.appendRaw(e.rec.Data)
}

func noticeLevel(severity string) string {
	switch severity {
	case "warning", "error":
		return severity
	}
	return "info"
}

// mustJSON encodes what was decoded from JSON.
func mustJSON(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("encode %T: %v", v, err))
	}
	return b
}

func (in *interpreter) options(o store.OptionsBody) error {
	_, err := in.tx.Append(in.s.ID, in.run.ID, store.AgentOptions, o)
	return err
}

// currentMode keeps the list of modes that is known and changes the current
// one.
func (in *interpreter) currentMode(id string) error {
	s, err := in.tx.Session(in.s.ID)
	if err != nil {
		return err
	}
	var known store.OptionsBody
	if len(s.Options) > 0 {
		if err := json.Unmarshal(s.Options, &known); err != nil {
			return fmt.Errorf("read options: %w", err)
		}
	}
	var modes acp.Modes
	if len(known.Modes) > 0 {
		_ = json.Unmarshal(known.Modes, &modes) // foreign shape: only the current one is kept
	}
	modes.CurrentModeID = id
	return in.options(store.OptionsBody{Modes: mustJSON(modes)})
}

// text adds a chunk to the open item, or begins a new one.
func (in *interpreter) text(kind string, c acp.Chunk, e entry) error {
	text, ok := textOf(c.Content)
	if !ok {
		if err := in.flushText(); err != nil {
			return err
		}
		return in.appendRaw(e.rec.Data)
	}
	t := in.l.turn
	other := c.MessageID != "" && t.messageID != "" && c.MessageID != t.messageID
	if t.item != "" && (t.kind != kind || other) {
		if err := in.closeText(); err != nil {
			return err
		}
	}
	if c.MessageID != "" {
		t.messageID = c.MessageID
	}
	if text == "" {
		return nil
	}
	if t.item == "" {
		t.item, t.kind = newID("i"), kind
	}
	t.pending.WriteString(text)
	return nil
}

// textOf is what a chunk's block reads as.
func textOf(b acp.ContentBlock) (string, bool) {
	if s, ok := b.AsText(); ok {
		return s, true
	}
	switch b.Type {
	case acp.BlockResourceLink:
		name := b.Title
		if name == "" {
			name = b.Name
		}
		return "[" + name + "](" + b.URI + ")", true
	case acp.BlockResource:
		if b.Resource != nil && b.Resource.Text != nil {
			return *b.Resource.Text, true
		}
	}
	return "", false
}

// flushText puts the gathered text into events of at most 32 KiB.
func (in *interpreter) flushText() error {
	t := in.l.turn
	if t == nil || t.pending.Len() == 0 {
		return nil
	}
	kind := store.TextDelta
	if t.kind == store.ItemThought {
		kind = store.ThoughtDelta
	}
	text := t.pending.String()
	t.pending.Reset()
	for len(text) > 0 {
		n := cut(text, deltaBytes)
		if _, err := in.tx.Append(in.s.ID, t.run, kind, store.DeltaBody{Item: t.item, Text: text[:n]}); err != nil {
			return err
		}
		text = text[n:]
	}
	return nil
}

// cut is the length of the longest prefix of at most limit bytes that ends
// between two characters.
func cut(s string, limit int) int {
	if len(s) <= limit {
		return len(s)
	}
	for n := limit; n > limit-utf8.UTFMax; n-- {
		if utf8.RuneStart(s[n]) {
			return n
		}
	}
	return limit
}

// closeText closes the open text item.
func (in *interpreter) closeText() error {
	if err := in.flushText(); err != nil {
		return err
	}
	t := in.l.turn
	if t == nil || t.item == "" {
		return nil
	}
	body := store.ClosedBody{Item: t.item}
	if t.kind == store.ItemThought {
		now := in.tx.Now()
		body.EndedAt = &now
	}
	t.item, t.kind, t.messageID = "", "", ""
	_, err := in.tx.Append(in.s.ID, t.run, store.ItemClosed, body)
	return err
}

// toolItem is the name of a tool call's item: the same whenever it is asked
// for, so that an update after a restart finds it.
func toolItem(epoch, run, call string) string {
	sum := sha256.Sum256([]byte(epoch + "\x00" + run + "\x00" + call))
	return "t" + strings.ToLower(idEncoding.EncodeToString(sum[:10]))
}

// tool finds a tool call of this run, or nil.
func (in *interpreter) tool(id string) (*tool, error) {
	if id == "" {
		return nil, nil
	}
	if t := in.l.turn.tools[id]; t != nil {
		return t, nil
	}
	item, err := in.tx.Item(toolItem(in.ep.Name, in.run.ID, id))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var body store.ToolBody
	if err := json.Unmarshal(item.Body, &body); err != nil {
		return nil, fmt.Errorf("read tool item: %w", err)
	}
	t := &tool{item: item.ID, open: item.Open, call: acp.ToolCall{
		ID: id, Title: body.Title, Name: body.Name, Kind: acp.ToolKind(body.Kind), Status: acp.ToolStatus(body.Status),
		RawInput: body.RawInput, RawOutput: body.RawOutput,
	}}
	for _, raw := range body.Content {
		var c acp.ToolContent
		if json.Unmarshal(raw, &c) == nil {
			t.call.Content = append(t.call.Content, c)
		}
	}
	in.l.turn.tools[id] = t
	return t, nil
}

func (in *interpreter) toolCall(c acp.ToolCall) error {
	t, err := in.tool(c.ID)
	if err != nil {
		return err
	}
	if t != nil {
		return in.updateTool(t, updateOf(c))
	}
	return in.startTool(c)
}

func updateOf(c acp.ToolCall) acp.ToolCallUpdate {
	u := acp.ToolCallUpdate{ID: c.ID, Content: c.Content, Locations: c.Locations, RawInput: c.RawInput, RawOutput: c.RawOutput}
	if c.Title != "" {
		u.Title = &c.Title
	}
	if c.Name != "" {
		u.Name = &c.Name
	}
	if c.Kind != "" {
		u.Kind = &c.Kind
	}
	if c.Status != "" {
		u.Status = &c.Status
	}
	return u
}

func (in *interpreter) toolUpdate(u acp.ToolCallUpdate) error {
	t, err := in.tool(u.ID)
	if err != nil {
		return err
	}
	if t != nil {
		return in.updateTool(t, u)
	}
	c := acp.ToolCall{ID: u.ID} // an update may be the first mention
	u.Apply(&c)
	return in.startTool(c)
}

func (in *interpreter) startTool(c acp.ToolCall) error {
	if err := in.closeText(); err != nil {
		return err
	}
	if c.Status == "" {
		c.Status = acp.ToolInProgress
	}
	if c.Kind == "" {
		c.Kind = acp.ToolOther
	}
	t := &tool{item: toolItem(in.ep.Name, in.run.ID, c.ID), call: c, open: true}
	in.l.turn.tools[c.ID] = t
	body := store.ToolBody{
		Item: t.item, ToolCallID: c.ID, Title: c.Title, Name: c.Name, Kind: string(c.Kind), Status: string(c.Status),
		RawInput: c.RawInput, RawOutput: c.RawOutput, Content: rawContent(c.Content),
	}
	if c.Locations != nil {
		body.Locations = mustJSON(c.Locations)
	}
	if _, err := in.tx.Append(in.s.ID, in.run.ID, store.ToolStarted, body); err != nil {
		return err
	}
	return in.closeTool(t)
}

func rawContent(content []acp.ToolContent) []json.RawMessage {
	var out []json.RawMessage
	for _, c := range content {
		out = append(out, mustJSON(c))
	}
	return out
}

// updateTool appends what changed. Content that only grew is stored as an
// append.
func (in *interpreter) updateTool(t *tool, u acp.ToolCallUpdate) error {
	set := map[string]json.RawMessage{}
	if u.Title != nil && *u.Title != t.call.Title {
		set["title"] = mustJSON(*u.Title)
	}
	if u.Name != nil && *u.Name != t.call.Name {
		set["name"] = mustJSON(*u.Name)
	}
	if u.Kind != nil && *u.Kind != t.call.Kind {
		set["kind"] = mustJSON(*u.Kind)
	}
	if u.Status != nil && *u.Status != t.call.Status {
		set["status"] = mustJSON(*u.Status)
	}
	if u.Locations != nil {
		set["locations"] = mustJSON(u.Locations)
	}
	if u.RawInput != nil && !bytes.Equal(u.RawInput, t.call.RawInput) {
		set["raw_input"] = u.RawInput
	}
	if u.RawOutput != nil && !bytes.Equal(u.RawOutput, t.call.RawOutput) {
		set["raw_output"] = u.RawOutput
	}
	body := store.ToolUpdate{Item: t.item}
	if u.Content != nil {
		switch grown, same := growth(t.call.Content, u.Content); {
		case same:
		case grown != nil:
			body.Append = grown
		default:
			set["content"] = mustJSON(rawContent(u.Content))
		}
	}
	u.Apply(&t.call)
	if len(set) > 0 {
		body.Set = set
	}
	if body.Set != nil || body.Append != nil {
		if _, err := in.tx.Append(in.s.ID, in.run.ID, store.ToolUpdated, body); err != nil {
			return err
		}
	}
	return in.closeTool(t)
}

// growth compares two contents: equal, or equal but for text added at the end
// of one entry.
func growth(old, now []acp.ToolContent) (grown *store.ToolAppend, same bool) {
	if len(old) != len(now) {
		return nil, false
	}
	for i := range old {
		if bytes.Equal(mustJSON(old[i]), mustJSON(now[i])) {
			continue
		}
		a, b := old[i].Content, now[i].Content
		if grown != nil || a == nil || b == nil || a.Type != acp.BlockText || b.Type != acp.BlockText || !strings.HasPrefix(b.Text, a.Text) {
			return nil, false
		}
		grown = &store.ToolAppend{Index: i, Text: b.Text[len(a.Text):]}
	}
	return grown, grown == nil
}

// closeTool closes the item of a call that is over.
func (in *interpreter) closeTool(t *tool) error {
	if !t.open || t.call.Status != acp.ToolCompleted && t.call.Status != acp.ToolFailed {
		return nil
	}
	t.open = false
	now := in.tx.Now()
	_, err := in.tx.Append(in.s.ID, in.run.ID, store.ItemClosed, store.ClosedBody{Item: t.item, EndedAt: &now})
	return err
}

// response interprets the agent's answer to a line of ours.
func (in *interpreter) response(msg acp.Message) error {
	n, err := strconv.ParseUint(string(msg.ID), 10, 64)
	if err != nil {
		in.l.log.Warn("the agent answered an id that was never sent", "id", string(msg.ID))
		return nil
	}
	line, err := in.tx.Line(in.ep.Name, n)
	if errors.Is(err, store.ErrNotFound) {
		in.l.log.Warn("the agent answered an id that was never sent", "id", n)
		return nil
	}
	if err != nil || line.Answered {
		return err
	}
	if err := in.tx.SetAnswered(in.ep.Name, n); err != nil {
		return err
	}
	if in.ep.State == store.EpochEnding && line.Kind != store.LinePrompt {
		return nil
	}
	switch line.Kind {
	case store.LineInitialize:
		return in.initialized(msg)
	case store.LineNew, store.LineLoad, store.LineResume:
		return in.opened(line.Kind, msg)
	case store.LineOption:
		return in.optionSet(msg)
	case store.LinePrompt:
		return in.prompted(line, msg)
	}
	return nil
}

// prompted ends the run whose prompt the agent has answered.
func (in *interpreter) prompted(line store.Line, msg acp.Message) error {
	if in.run.ID != line.Run {
		return nil // ended before: an interruption that a person asked for
	}
	if err := in.closeText(); err != nil {
		return err
	}
	// A cancel that the keeper has not begun has nothing left to stop.
	later, err := in.tx.LinesAfter(in.ep.Name, line.N)
	if err != nil {
		return err
	}
	for _, c := range later {
		if c.Kind == store.LineCancel && c.Run == line.Run && c.N > in.l.accepted.Load() {
			if err := in.tx.VoidLine(in.ep.Name, c.N); err != nil {
				return err
			}
		}
	}
	reason, detail, pause := store.EndTurn, "", false
	switch {
	case msg.Error != nil && msg.Error.Code == acp.CodeAuthRequired:
		reason, detail, pause = store.Failed, "The agent needs a login: "+msg.Error.Error(), true
		if err := appendAgentState(in.tx, in.s.ID, in.run.ID, "needs_login", in.loginHint(detail)); err != nil {
			return err
		}
	case msg.Error != nil && (in.run.Cancelling || msg.Error.Code == acp.CodeRequestCancelled):
		reason = store.Cancelled
	case msg.Error != nil:
		reason, detail = store.Failed, msg.Error.Error()
		if err := appendNotice(in.tx, in.s.ID, in.run.ID, "error", "agent_error", "The agent ended the run with an error.", detail); err != nil {
			return err
		}
	default:
		var res acp.PromptResult
		if err := json.Unmarshal(msg.Result, &res); err != nil || res.StopReason == "" {
			detail = "The agent gave no reason for its stop."
		} else {
			reason = string(res.StopReason)
		}
	}
	if reason == store.Cancelled && in.ep.State == store.EpochEnding && !in.run.Cancelling {
		// It was not stopped: its agent was ended, and said so on its way out.
		reason, detail = store.Interrupted, in.l.agent.Name+" was ended on request."
	}
	if reason == store.Cancelled || reason == store.Interrupted {
		pause = true
	}
	in.l.w.requeued = 0
	if in.run.Cancelling && msg.Error != nil {
		// Hermes Agent 0.19 fails a turn that is cancelled before its first
		// word, and takes itself for busy ever after. A new process does not.
		in.l.log.Info("the agent failed on a cancel and is replaced", "err", msg.Error)
		in.ep.State = store.EpochEnding
		if err := in.tx.PutEpoch(in.ep); err != nil {
			return err
		}
	}
	if detail == "" || msg.Error == nil || msg.Error.Code != acp.CodeAuthRequired {
		if err := appendAgentState(in.tx, in.s.ID, in.run.ID, "ready", ""); err != nil {
			return err
		}
	}
	if err := in.l.m.endRun(in.tx, in.run, reason, detail, pause, in.fx); err != nil {
		return err
	}
	in.pushed = true // the next run's prompt may be there
	return in.loadRun()
}

func (in *interpreter) loginHint(text string) string {
	if hint := in.l.agent.Login; hint != "" {
		return text + " " + hint
	}
	return text
}

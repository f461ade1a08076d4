package session

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast/internal/acp"
	"github.com/holdfast-dev/holdfast/internal/failpoint"
	"github.com/holdfast-dev/holdfast/internal/keeper"
	"github.com/holdfast-dev/holdfast/internal/said"
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
	l.askPrinted(ctx, batch)
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
			l.agent()
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
	pushed, told := false, false
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
		pushed, told = in.pushed, in.told
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
	if told {
		l.takenUp = time.Time{}
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
	told   bool // of the host's restart
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
	return appendNotice(in.tx, in.s.ID, in.run.ID, "warning", said.RecordUnreadable(), "")
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
	if e.rec.Kind != keeper.KindStderr { // which is stored with the exit that follows it
		in.last = e.rec.N
	}
	if !e.isText() || in.ep.Replaying {
		if err := in.flushText(); err != nil {
			return err
		}
	}
	switch {
	case e.rec.Kind == keeper.KindStderr:
		in.l.stderr = printable(e.rec.Data, in.l.agent().Env)
		return nil
	case e.rec.Kind == keeper.KindExit:
		exit, err := keeper.ParseExit(e.rec.Data)
		if err != nil {
			return fmt.Errorf("read exit record: %w", err)
		}
		in.ep.Reason = lastWords{Exit: &exit, Stderr: in.l.stderr}.encode()
		return in.tx.PutEpoch(in.ep)
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
		if said, ok := u.Content.AsText(); ok {
			if its, err := in.steerWord(said); its || err != nil {
				return err
			}
		}
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
		item := store.PlanItem(cmp.Or(in.run.ID, in.ep.Name))
		_, err = in.tx.Append(in.s.ID, in.run.ID, store.PlanChanged, store.PlanBody{Item: item, Entries: entries})
		return err
	case acp.Commands:
		command := in.l.steering.Command
		steer := command != "" && slices.ContainsFunc(u.Commands, func(c acp.Command) bool { return c.Name == command })
		return in.options(store.OptionsBody{Commands: mustJSON(u.Commands), Steer: &steer})
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
		return appendNotice(in.tx, in.s.ID, in.run.ID, noticeLevel(u.Severity), said.Agent(u.Title), u.Description)
	case acp.Compaction:
		if u.Status == "completed" {
			return appendNotice(in.tx, in.s.ID, in.run.ID, "info", said.Compacted(), "")
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
	known, err := in.known()
	if err != nil {
		return err
	}
	known.modes.CurrentModeID = id // of a foreign shape only this is kept
	return in.options(store.OptionsBody{Modes: mustJSON(known.modes)})
}

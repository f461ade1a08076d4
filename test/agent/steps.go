package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast/internal/acp"
	"github.com/holdfast-dev/holdfast/test/agent/script"
)

// turn is one prompt while it runs.
type turn struct {
	a     *agent
	s     *session
	tools map[string]string // output so far
	after []func()          // run once the prompt is answered
	asks  sync.WaitGroup    // ask-async

	mu        sync.Mutex
	text      strings.Builder
	messageID string
}

// errStop ends a turn early with a stop reason.
type errStop acp.StopReason

func (errStop) Error() string { return "stop" }

// step does one line of a script. What it returns ends the turn.
type step func(t *turn, ctx context.Context, s script.Step) error

// steps is the language. Text takes the rest of its line, as it is or in
// double quotes; the other arguments are words or quoted.
//
//	say TEXT / think TEXT       one chunk
//	stream N [DELAY] [seed=S]   N chunks of script.Chunks
//	clock N [DELAY]             N chunks, each the time at which it was written
//	                            (Unix nanoseconds) and a space; for test/bench
//	words N [DELAY] [FIRST]     N chunks, "w0000 ", "w0001 " …, from FIRST on
//	line SIZE                   one chunk of that many bytes of script.Long
//	message-id ID               for the chunks that follow
//	tool ID KIND TITLE          announces a call, in progress
//	tool-output ID TEXT         adds to its output
//	tool-done ID / tool-fail ID
//	open-tool                   announces a call and never closes it
//	diff PATH OLD NEW           a finished edit; OLD "-" is a new file
//	plan A|B|C                  entries; "+A" is completed, "*B" in progress
//	ask ID TITLE [COMMAND…]     asks a permission, says "[answer ID: option]"
//	ask-edit ID PATH OLD NEW    the same, with a diff
//	ask-async ID TITLE [COMMAND…]   does not wait; the turn's end does
//	ask-same-raw-id ID TITLE    as ask, with the JSON-RPC id of the last one
//	await-steer                 until something was said into the turn (see steer.go)
//	sleep D                     until cancelled
//	hang                        says "[hang]"; then cancel and end of input do nothing
//	exit CODE / half-exit CODE  the latter in the middle of a line
//	half [D]                    a chunk's line in two writes, D between
//	junk TEXT / stderr TEXT     a line that is no message
//	ignore-eof                  from now on
//	spawn-daemon NAME [orphan] [unmarked]   a sleeping process in a session of
//	                            its own; says "[daemon NAME PID]"
//	unknown-update / unknown-request
//	usage USED SIZE, title TEXT, notice SEVERITY TITLE, commands A,B, mode ID
//	late-update TEXT            a chunk after the prompt's answer
//	leak-fds N                  opens files and keeps them
//	stop REASON / error CODE TEXT   end the turn
//	env NAME / limit / pid / helper-pid / cwd / options  says it; limit is that
//	                            of descriptors, as a program that is not in Go has it
func steps() map[string]step {
	return map[string]step{
		"say": func(t *turn, _ context.Context, s script.Step) error { return t.say(s.Text()) },
		"think": func(t *turn, _ context.Context, s script.Step) error {
			return t.update(acp.ThoughtChunk{Chunk: acp.Text(s.Text())})
		},
		"stream": func(t *turn, ctx context.Context, s script.Step) error {
			chunks, delay, err := s.Stream()
			if err != nil {
				return err
			}
			return t.stream(ctx, chunks, delay)
		},
		"clock": func(t *turn, ctx context.Context, s script.Step) error { return t.clock(ctx, s) },
		"words": func(t *turn, ctx context.Context, s script.Step) error { return t.words(ctx, s) },
		"line": func(t *turn, _ context.Context, s script.Step) error {
			n, err := script.Size(s.Arg(0, ""))
			if err != nil {
				return err
			}
			return t.say(script.Long(n))
		},
		"message-id": func(t *turn, _ context.Context, s script.Step) error {
			t.mu.Lock()
			defer t.mu.Unlock()
			t.messageID = s.Arg(0, "")
			return nil
		},

		"tool": func(t *turn, _ context.Context, s script.Step) error {
			return t.update(acp.ToolCall{ID: s.Arg(0, "tool"), Kind: acp.ToolKind(s.Arg(1, "other")), Title: s.After(2), Status: acp.ToolInProgress})
		},
		"tool-output": func(t *turn, _ context.Context, s script.Step) error {
			id := s.Arg(0, "tool")
			t.tools[id] += s.After(1)
			return t.update(acp.ToolCallUpdate{ID: id, Content: []acp.ToolContent{acp.TextContent(t.tools[id])}})
		},
		"tool-done": func(t *turn, _ context.Context, s script.Step) error {
			return t.ended(s.Arg(0, "tool"), acp.ToolCompleted)
		},
		"tool-fail": func(t *turn, _ context.Context, s script.Step) error {
			return t.ended(s.Arg(0, "tool"), acp.ToolFailed)
		},
		"open-tool": func(t *turn, _ context.Context, s script.Step) error {
			return t.update(acp.ToolCall{ID: s.Arg(0, "open"), Kind: acp.ToolExecute, Title: "left open", Status: acp.ToolInProgress})
		},
		"diff": func(t *turn, _ context.Context, s script.Step) error {
			return t.update(acp.ToolCall{ID: "diff-" + s.Arg(0, ""), Kind: acp.ToolEdit, Title: "Edit " + s.Arg(0, ""), Status: acp.ToolCompleted, Content: []acp.ToolContent{diff(s, 0)}})
		},
		"plan": func(t *turn, _ context.Context, s script.Step) error { return t.update(plan(s.Text())) },

		"ask": func(t *turn, ctx context.Context, s script.Step) error {
			return t.ask(ctx, t.a.nextAsk(), s.Arg(0, "ask"), commandCall(s))
		},
		"ask-edit": func(t *turn, ctx context.Context, s script.Step) error {
			return t.ask(ctx, t.a.nextAsk(), s.Arg(0, "ask"), acp.ToolCallUpdate{
				ID: s.Arg(0, "ask"), Title: new("Edit " + s.Arg(1, "")), Kind: new(acp.ToolEdit), Content: []acp.ToolContent{diff(s, 1)},
			})
		},
		"ask-same-raw-id": func(t *turn, ctx context.Context, s script.Step) error {
			return t.ask(ctx, t.a.lastAsk(), s.Arg(0, "ask"), commandCall(s))
		},
		"ask-async": func(t *turn, ctx context.Context, s script.Step) error {
			id := t.a.nextAsk()
			t.asks.Go(func() { _ = t.ask(ctx, id, s.Arg(0, "ask"), commandCall(s)) })
			return nil
		},

		"await-steer": func(t *turn, ctx context.Context, _ script.Step) error { return t.awaitSteer(ctx) },
		"sleep": func(_ *turn, ctx context.Context, s script.Step) error {
			d, err := time.ParseDuration(s.Arg(0, ""))
			if err != nil {
				return fmt.Errorf("sleep: %w", err)
			}
			return pause(ctx, d)
		},
		"hang": func(t *turn, _ context.Context, _ script.Step) error {
			t.a.in.ignoreEOF.Store(true)
			if err := t.say("[hang]"); err != nil {
				return err
			}
			for {
				time.Sleep(time.Hour)
			}
		},
		"ignore-eof": func(t *turn, _ context.Context, _ script.Step) error {
			t.a.in.ignoreEOF.Store(true)
			return nil
		},
		"exit": func(_ *turn, _ context.Context, s script.Step) error {
			os.Exit(number(s.Arg(0, "0")))
			return nil
		},
		"half-exit": func(t *turn, _ context.Context, s script.Step) error {
			line, err := t.chunkLine("never whole")
			if err != nil {
				return err
			}
			return t.a.out.halves(line, func() { os.Exit(number(s.Arg(0, "1"))) })
		},
		"half": func(t *turn, _ context.Context, s script.Step) error {
			d, err := time.ParseDuration(s.Arg(0, "200ms"))
			if err != nil {
				return fmt.Errorf("half: %w", err)
			}
			line, err := t.chunkLine("[half]")
			if err != nil {
				return err
			}
			t.note("[half]")
			return t.a.out.halves(line, func() { time.Sleep(d) })
		},
		"junk": func(t *turn, _ context.Context, s script.Step) error { return t.a.conn.WriteLine([]byte(s.Text())) },
		"stderr": func(_ *turn, _ context.Context, s script.Step) error {
			fmt.Fprintln(os.Stderr, s.Text())
			return nil
		},
		"spawn-daemon": func(t *turn, _ context.Context, s script.Step) error { return t.spawnDaemon(s) },

		"unknown-update": func(t *turn, _ context.Context, _ script.Step) error {
			return t.update(acp.Unknown{Name: "hologram", Raw: json.RawMessage(`{"sessionUpdate":"hologram","content":{"type":"text","text":"never shown"}}`)})
		},
		"unknown-request": func(t *turn, ctx context.Context, _ script.Step) error {
			err := t.a.conn.Call(ctx, "session/unheard_of", struct{}{}, nil)
			var e *acp.Error
			if !errors.As(err, &e) {
				return t.say(fmt.Sprintf("[unknown-request: %v]", err))
			}
			return t.say(fmt.Sprintf("[unknown-request: %d]", e.Code))
		},
		"usage": func(t *turn, _ context.Context, s script.Step) error {
			return t.update(acp.Usage{Used: int64(number(s.Arg(0, "0"))), Size: int64(number(s.Arg(1, "0")))})
		},
		"title": func(t *turn, _ context.Context, s script.Step) error {
			return t.update(acp.SessionInfo{Title: acp.Set(s.Text())})
		},
		"notice": func(t *turn, _ context.Context, s script.Step) error {
			return t.update(acp.Notice{Severity: s.Arg(0, "info"), Title: s.After(1)})
		},
		"commands": func(t *turn, _ context.Context, s script.Step) error {
			var u acp.Commands
			for name := range strings.SplitSeq(s.Arg(0, "help"), ",") {
				u.Commands = append(u.Commands, acp.Command{Name: name, Description: "does " + name})
			}
			return t.update(u)
		},
		"mode": func(t *turn, _ context.Context, s script.Step) error {
			return t.update(acp.CurrentMode{ModeID: s.Arg(0, "ask")})
		},
		"late-update": func(t *turn, _ context.Context, s script.Step) error {
			text := s.Text()
			t.after = append(t.after, func() { _ = t.update(acp.AgentChunk{Chunk: acp.Text(text)}) })
			return nil
		},
		"leak-fds": func(t *turn, _ context.Context, s script.Step) error { return t.a.leak(number(s.Arg(0, "1"))) },

		"stop": func(_ *turn, _ context.Context, s script.Step) error { return errStop(s.Arg(0, "end_turn")) },
		"error": func(_ *turn, _ context.Context, s script.Step) error {
			return &acp.Error{Code: number(s.Arg(0, "-32603")), Message: s.After(1)}
		},

		"env": func(t *turn, _ context.Context, s script.Step) error { return t.say(os.Getenv(s.Arg(0, ""))) },
		"limit": func(t *turn, ctx context.Context, _ script.Step) error {
			// Go raises its own limit, and gives children what it was given.
			out, err := exec.CommandContext(ctx, "/bin/sh", "-c", "ulimit -n").Output()
			if err != nil {
				return fmt.Errorf("limit: %w", err)
			}
			return t.say(strings.TrimSpace(string(out)))
		},
		"pid":        func(t *turn, _ context.Context, _ script.Step) error { return t.say(strconv.Itoa(os.Getpid())) },
		"helper-pid": func(t *turn, _ context.Context, _ script.Step) error { return t.say(strconv.Itoa(t.a.helper)) },
		"cwd": func(t *turn, _ context.Context, _ script.Step) error {
			dir, err := os.Getwd()
			if err != nil {
				return err
			}
			return t.say(dir)
		},
		"options": func(t *turn, _ context.Context, _ script.Step) error {
			t.a.mu.Lock()
			o := t.s.Options
			text := fmt.Sprintf("[mode=%v model=%v verbose=%v]", o["mode"], o["model"], o["verbose"])
			t.a.mu.Unlock()
			return t.say(text)
		},
	}
}

func verbs() map[string]bool {
	v := map[string]bool{}
	for name := range steps() {
		v[name] = true
	}
	return v
}

// run does what the prompt says. An empty reason is end_turn.
func (t *turn) run(ctx context.Context, text string) (acp.StopReason, error) {
	list, ok := script.Parse(text, verbs())
	if !ok {
		return "", t.stream(ctx, wordPattern().FindAllString(text, -1), 2*time.Millisecond)
	}
	language := steps()
	for _, s := range list {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		err := language[s.Verb](t, ctx, s)
		var stop errStop
		switch {
		case errors.As(err, &stop):
			return acp.StopReason(stop), nil
		case err != nil:
			return "", err
		}
	}
	return "", nil
}

func wordPattern() *regexp.Regexp { return regexp.MustCompile(`\s*\S+\s*`) }

func (t *turn) update(u acp.Update) error { return t.a.conn.Update(t.s.ID, u) }

// say sends one chunk of the answer.
func (t *turn) say(text string) error {
	t.note(text)
	return t.update(acp.AgentChunk{Chunk: t.chunk(text)})
}

func (t *turn) chunk(text string) acp.Chunk {
	t.mu.Lock()
	defer t.mu.Unlock()
	return acp.Chunk{Content: acp.TextBlock(text), MessageID: t.messageID}
}

// note keeps what was said, for a replay.
func (t *turn) note(text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text.WriteString(text)
}

func (t *turn) said() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.String()
}

func (t *turn) stream(ctx context.Context, chunks []string, delay time.Duration) error {
	for _, c := range chunks {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := t.say(c); err != nil {
			return err
		}
		if err := pause(ctx, delay); err != nil {
			return err
		}
	}
	return nil
}

// clock keeps its pace by the time since it began, so that a busy machine makes
// a chunk late but not rare.
func (t *turn) clock(ctx context.Context, s script.Step) error {
	delay, err := time.ParseDuration(s.Arg(1, "0s"))
	if err != nil {
		return fmt.Errorf("clock: %w", err)
	}
	begun := time.Now()
	for i := range number(s.Arg(0, "1")) {
		if err := pause(ctx, time.Until(begun.Add(time.Duration(i)*delay))); err != nil {
			return err
		}
		if err := t.say(strconv.FormatInt(time.Now().UnixNano(), 10) + " "); err != nil {
			return err
		}
	}
	return nil
}

// words says "w0000 w0001 …", one a chunk.
func (t *turn) words(ctx context.Context, s script.Step) error {
	delay, err := time.ParseDuration(s.Arg(1, "0s"))
	if err != nil {
		return fmt.Errorf("words: %w", err)
	}
	first := number(s.Arg(2, "0"))
	for i := range number(s.Arg(0, "1")) {
		if err := t.say(fmt.Sprintf("w%04d ", first+i)); err != nil {
			return err
		}
		if err := pause(ctx, delay); err != nil {
			return err
		}
	}
	return nil
}

func (t *turn) chunkLine(text string) ([]byte, error) {
	u, err := acp.EncodeUpdate(acp.AgentChunk{Chunk: t.chunk(text)})
	if err != nil {
		return nil, err
	}
	return acp.Notification(acp.MethodSessionUpdate, acp.SessionNotification{SessionID: t.s.ID, Update: u})
}

func commandCall(s script.Step) acp.ToolCallUpdate {
	u := acp.ToolCallUpdate{ID: s.Arg(0, "ask"), Title: new(s.Arg(1, "Something")), Kind: new(acp.ToolExecute), Status: new(acp.ToolPending)}
	if command := s.After(2); command != "" {
		if raw, err := json.Marshal(map[string]string{"command": command}); err == nil {
			u.RawInput = raw
		}
	}
	return u
}

// ask asks a permission under a JSON-RPC id and says what was answered.
func (t *turn) ask(ctx context.Context, rawID json.RawMessage, id string, call acp.ToolCallUpdate) error {
	wait := ctx
	if env("NO_CANCEL_UNTIL_ANSWER") != "" {
		wait = context.WithoutCancel(ctx)
	}
	if t.a.expire > 0 {
		var cancel context.CancelFunc
		wait, cancel = context.WithTimeoutCause(wait, t.a.expire, errExpired)
		defer cancel()
	}
	var r acp.PermissionResult
	err := t.a.conn.CallID(wait, rawID, acp.MethodRequestPermission, acp.PermissionRequest{
		SessionID: t.s.ID, ToolCall: call,
		Options: []acp.PermissionOption{
			{OptionID: "allow_once", Name: "Allow once", Kind: acp.AllowOnce},
			{OptionID: "allow_always", Name: "Always allow", Kind: acp.AllowAlways},
			{OptionID: "reject_once", Name: "Reject", Kind: acp.RejectOnce},
		},
	}, &r)
	answer := r.Outcome.OptionID
	switch {
	case errors.Is(err, errExpired):
		answer = "expired"
	case err != nil:
		return err
	case r.Outcome.IsCancelled():
		answer = "cancelled"
	}
	return t.say(fmt.Sprintf("[answer %s: %s]", id, answer))
}

var errExpired = errors.New("the permission expired")

func (t *turn) spawnDaemon(s script.Step) error {
	name, orphan, environ := s.Arg(0, "daemon"), false, os.Environ()
	for _, flag := range s.Args[min(1, len(s.Args)):] {
		switch flag {
		case "orphan":
			orphan = true
		case "unmarked":
			environ = []string{}
		}
	}
	pid, err := spawn(name, true, orphan, environ)
	if err != nil {
		return err
	}
	return t.say(fmt.Sprintf("[daemon %s %d]", name, pid))
}

func (a *agent) nextAsk() json.RawMessage {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked++
	return askID(a.asked)
}

func (a *agent) lastAsk() json.RawMessage {
	a.mu.Lock()
	defer a.mu.Unlock()
	return askID(a.asked)
}

// askID is a string with characters that an encoder might escape: whoever
// answers must keep the id's bytes.
func askID(n uint64) json.RawMessage { return fmt.Appendf(nil, `"ask<%d>&\u00e9"`, n) }

func (a *agent) leak(n int) error {
	for range n {
		f, err := os.Open(os.DevNull)
		if err != nil {
			return fmt.Errorf("leak: %w", err)
		}
		a.mu.Lock()
		a.leaked = append(a.leaked, f)
		a.mu.Unlock()
	}
	return nil
}

func diff(s script.Step, i int) acp.ToolContent {
	var old *string
	if o := s.Arg(i+1, "-"); o != "-" {
		old = &o
	}
	return acp.DiffContent(s.Arg(i, ""), old, s.Arg(i+2, ""))
}

func plan(text string) acp.Plan {
	u := acp.Plan{Entries: []acp.PlanEntry{}}
	for entry := range strings.SplitSeq(text, "|") {
		e := acp.PlanEntry{Content: entry, Priority: "medium", Status: "pending"}
		if c, ok := strings.CutPrefix(entry, "+"); ok {
			e.Content, e.Status = c, "completed"
		} else if c, ok := strings.CutPrefix(entry, "*"); ok {
			e.Content, e.Status = c, "in_progress"
		}
		u.Entries = append(u.Entries, e)
	}
	return u
}

// number is zero where the script is wrong, which its test will notice.
func number(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}

func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

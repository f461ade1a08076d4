package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast/internal/acp"
	"github.com/holdfast-dev/holdfast/internal/agent"
	"github.com/holdfast-dev/holdfast/internal/said"
	"github.com/holdfast-dev/holdfast/internal/store"
)

// initialized opens the agent's session: its own earlier one where it can
// bring that back, else a new one.
func (in *interpreter) initialized(msg acp.Message) error {
	if msg.Error != nil {
		return in.openingFailed(msg.Error)
	}
	var res acp.InitializeResult
	if err := json.Unmarshal(msg.Result, &res); err != nil {
		return in.openingFailed(fmt.Errorf("its answer to initialize cannot be read: %w", err))
	}
	if res.ProtocolVersion != acp.ProtocolVersion {
		return in.openingFailed(fmt.Errorf("it speaks version %d of the protocol, Holdfast speaks version %d", res.ProtocolVersion, acp.ProtocolVersion))
	}
	in.ep.Info = msg.Result
	if in.s.AgentSession == "" {
		return in.openNew()
	}
	params := acp.LoadSessionParams{SessionID: in.s.AgentSession, CWD: in.s.Cwd}
	switch resumeBy(in.l.agent(), res.AgentCapabilities, in.tx.Now().Sub(in.s.CreatedAt)) {
	case agent.ResumeResume:
		return in.open(acp.MethodSessionResume, store.LineResume, params, false)
	case agent.ResumeLoad:
		return in.open(acp.MethodSessionLoad, store.LineLoad, params, true)
	}
	return in.openNew()
}

// resumeBy is how the agent brings a session of that age back: what the
// catalogue says it does right, as far as it says itself that it can.
func resumeBy(a agent.Agent, caps acp.AgentCapabilities, age time.Duration) agent.Resume {
	resumes := caps.SessionCapabilities.Resume != nil
	loads := caps.LoadSession && age >= a.LoadAfter
	switch a.Resume {
	case agent.ResumeResume:
		if resumes {
			return agent.ResumeResume
		}
	case agent.ResumeLoad:
		if loads {
			return agent.ResumeLoad
		}
	case agent.ResumeAdvertised:
		switch {
		case resumes:
			return agent.ResumeResume
		case loads:
			return agent.ResumeLoad
		}
	}
	return agent.ResumeNone
}

// settingRequest is the request that makes a setting, if the agent offers it.
func settingRequest(set agent.Setting, session string, offered acp.SessionSettings) (method string, params any, ok bool) {
	switch set.Kind {
	case agent.SettingOption:
		for _, o := range offered.ConfigOptions {
			if o.ID == set.ID {
				return acp.MethodSetConfigOption, map[string]any{"sessionId": session, "configId": set.ID, "value": set.Value}, true
			}
		}
	case agent.SettingMode:
		if offered.Modes == nil {
			return "", nil, false
		}
		for _, m := range offered.Modes.AvailableModes {
			if m.ID == set.Value {
				return acp.MethodSetMode, map[string]any{"sessionId": session, "modeId": set.Value}, true
			}
		}
	}
	return "", nil, false
}

func (in *interpreter) openNew() error {
	return in.open(acp.MethodSessionNew, store.LineNew, acp.NewSessionParams{CWD: in.s.Cwd}, false)
}

func (in *interpreter) open(method, kind string, params any, replays bool) error {
	n, err := in.tx.NextLine(in.ep.Name)
	if err != nil {
		return err
	}
	data, err := acp.Request(n, method, params)
	if err != nil {
		return err
	}
	in.ep.Replaying = replays
	if err := in.tx.PutEpoch(in.ep); err != nil {
		return err
	}
	return in.push(store.Line{N: n, Kind: kind, Data: data})
}

// opened takes the agent's session, and sets what the catalogue asks for.
func (in *interpreter) opened(kind string, msg acp.Message) error {
	in.ep.Replaying = false
	var res acp.NewSessionResult
	if msg.Error == nil && len(msg.Result) > 0 && string(msg.Result) != "null" {
		if err := json.Unmarshal(msg.Result, &res); err != nil {
			return in.openingFailed(fmt.Errorf("its answer to %s cannot be read: %w", kind, err))
		}
	}
	missing := in.l.agent().LoadNeedsModes && kind == store.LineLoad && res.Modes == nil
	switch {
	case msg.Error != nil && msg.Error.Code == acp.CodeAuthRequired:
		return in.needsLogin(msg.Error)
	case kind != store.LineNew && (msg.Error != nil || missing):
		in.l.log.Warn("the agent does not know its session any more", "err", msg.Error)
		if err := appendNotice(in.tx, in.s.ID, "", "warning", said.AgentSessionNew(), ""); err != nil {
			return err
		}
		return in.openNew()
	case msg.Error != nil:
		return in.openingFailed(msg.Error)
	case kind == store.LineNew && res.SessionID == "":
		return in.openingFailed(errors.New("its answer to session/new names no session"))
	}
	if kind == store.LineNew {
		if err := in.tx.SetAgentSession(in.s.ID, res.SessionID); err != nil {
			return err
		}
		in.s.AgentSession = res.SessionID
	}
	if err := in.tx.PutEpoch(in.ep); err != nil {
		return err
	}
	var o store.OptionsBody
	if res.Modes != nil {
		o.Modes = mustJSON(res.Modes)
	}
	if res.Models != nil {
		o.Models = mustJSON(res.Models)
	}
	if res.ConfigOptions != nil {
		o.Config = mustJSON(res.ConfigOptions)
	}
	if o.Modes != nil || o.Models != nil || o.Config != nil {
		if err := in.options(o); err != nil {
			return err
		}
	}
	asked := false
	for _, set := range in.l.agent().Ask {
		method, params, ok := settingRequest(set, in.s.AgentSession, res.SessionSettings)
		if !ok {
			continue
		}
		n, err := in.tx.NextLine(in.ep.Name)
		if err != nil {
			return err
		}
		data, err := acp.Request(n, method, params)
		if err != nil {
			return err
		}
		if err := in.push(store.Line{N: n, Kind: store.LineOption, Data: data}); err != nil {
			return err
		}
		asked = true
	}
	if asked {
		return nil
	}
	return in.settle()
}

// settle sets what a person chose, before or in an earlier life of the agent,
// and makes it ready when there is nothing left to set. What the catalogue asks
// for was set first: a person's choice wins.
func (in *interpreter) settle() error {
	if asked, err := in.choose(); err != nil || asked {
		return err
	}
	return in.ready()
}

// optionSet goes on when the last setting has been answered.
func (in *interpreter) optionSet(line store.Line, msg acp.Message) error {
	ours := in.isAsk(line)
	if !ours {
		if err := in.optionTaken(line, msg); err != nil {
			return err
		}
	}
	if ours && msg.Error != nil {
		if err := appendNotice(in.tx, in.s.ID, "", "warning", said.SettingRefused(), msg.Error.Error()); err != nil {
			return err
		}
	}
	open, err := in.tx.UnansweredLines(in.ep.Name, store.LineOption)
	if err != nil || len(open) > 0 || in.ep.State != store.EpochStarting {
		return err
	}
	return in.settle()
}

// isAsk tells whether a line makes a setting that the catalogue asks for.
func (in *interpreter) isAsk(line store.Line) bool {
	if in.ep.State != store.EpochStarting {
		return false
	}
	got := settingOf(line)
	return slices.ContainsFunc(in.l.agent().Ask, func(set agent.Setting) bool {
		switch set.Kind {
		case agent.SettingMode:
			return got.mode == set.Value
		case agent.SettingOption:
			return got.id == set.ID && sameValue(got.value, mustJSON(set.Value))
		}
		return false
	})
}

// ready lets prompts go to the agent.
func (in *interpreter) ready() error {
	in.ep.State = store.EpochReady
	if err := in.tx.PutEpoch(in.ep); err != nil {
		return err
	}
	if err := appendAgentState(in.tx, in.s.ID, "", "ready", said.Words{}); err != nil {
		return err
	}
	in.pushed = true
	if err := in.l.m.advance(in.tx, in.s.ID, in.fx); err != nil {
		return err
	}
	return in.loadRun()
}

func (in *interpreter) needsLogin(e *acp.Error) error {
	return in.giveUp("needs_login", said.NeedsLogin(e, in.l.agent().Login))
}

func (in *interpreter) openingFailed(err error) error {
	return in.giveUp("ended", said.SessionNotBegun(err))
}

// giveUp ends the run that waits for this agent, and the epoch.
func (in *interpreter) giveUp(state string, why said.Words) error {
	in.ep.State = store.EpochEnding
	if err := in.tx.PutEpoch(in.ep); err != nil {
		return err
	}
	if err := appendAgentState(in.tx, in.s.ID, "", state, why); err != nil {
		return err
	}
	run, ok, err := in.tx.CurrentRun(in.s.ID)
	if err != nil || !ok {
		return err
	}
	if err := appendNotice(in.tx, in.s.ID, run.ID, "error", why, in.printedSince(in.ep.StartedAt)); err != nil {
		return err
	}
	if err := in.l.m.endRun(in.tx, run, store.Failed, why, true, in.fx); err != nil {
		return err
	}
	in.fx.wakeUp(in.s.ID)
	return in.loadRun()
}

// handoverBytes bounds what a new agent session is told of the old one.
const handoverBytes = 48 << 10

// handover is what the first prompt of a new agent session begins with when
// the person has talked in this session before: the end of the transcript.
func (m *Manager) handover(tx *store.Tx, s store.Session, ep store.Epoch) (string, error) {
	prompted, err := tx.HasLine(ep.Name, store.LinePrompt)
	if err != nil || prompted {
		return "", err
	}
	anew, err := tx.HasLine(ep.Name, store.LineNew)
	if err != nil || !anew {
		return "", err
	}
	ctx, stop := context.WithTimeout(context.Background(), 2*time.Second)
	defer stop()
	page, err := m.Store.Items(ctx, s.ID, 0, 200)
	if err != nil {
		return "", fmt.Errorf("read transcript: %w", err)
	}
	runs, err := m.Store.Runs(ctx, s.ID)
	if err != nil {
		return "", fmt.Errorf("read runs: %w", err)
	}
	had := map[string]bool{} // runs that an agent took part in
	for _, r := range runs {
		had[r.ID] = r.State == store.RunStateEnded && !r.StartedAt.IsZero()
	}
	var parts []string
	size := 0
	items := read(page)
	for i := len(items) - 1; i >= 0 && size < handoverBytes; i-- {
		it := items[i]
		if !had[it.Run] && it.Run != "" { // those of a copy have none
			continue
		}
		var body struct {
			Text  string `json:"text"`
			Title string `json:"title"`
		}
		if json.Unmarshal(it.Body, &body) != nil {
			continue
		}
		line := ""
		switch it.Kind {
		case store.ItemUser:
			line = "User: " + body.Text
		case store.ItemAssistant:
			line = "Assistant: " + body.Text
		case store.ItemTool:
			line = "(tool: " + body.Title + ")"
		}
		if line != "" && body.Text+body.Title != "" {
			parts = append([]string{line}, parts...)
			size += len(line)
		}
	}
	if len(parts) == 0 {
		return "", nil
	}
	return "This conversation goes on from an earlier one whose record follows, between the lines of dashes. Do not answer the record; answer what comes after it.\n\n-----\n" +
		strings.Join(parts, "\n\n") + "\n-----\n\n", nil
}

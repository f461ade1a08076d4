package session

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/holdfast-dev/holdfast/internal/acp"
	"github.com/holdfast-dev/holdfast/internal/store"
)

// Choose sets a mode, a model or other options of the session's agent. What was
// chosen is kept, and set again in each life of the agent, so it may be chosen
// while none runs. Of what the agent is known to offer, nothing else is taken.
func (m *Manager) Choose(_ context.Context, session string, c Choice) (json.RawMessage, error) {
	var out json.RawMessage
	err := m.update(func(tx *store.Tx, fx *effects) error {
		s, err := present(tx, session)
		if err != nil {
			return err
		}
		known, err := optionsOf(s)
		if err != nil {
			return err
		}
		if err := known.offers(c); err != nil {
			return err
		}
		chosen := store.Chosen{}
		if known.body.Chosen != nil {
			chosen = *known.body.Chosen
		}
		chosen.Config = maps.Clone(chosen.Config)
		if c.Mode != "" {
			chosen.Mode = c.Mode
		}
		if c.Model != "" {
			chosen.Model = c.Model
		}
		for id, v := range c.Config {
			if chosen.Config == nil {
				chosen.Config = map[string]json.RawMessage{}
			}
			chosen.Config[id] = v
		}
		if _, err := tx.Append(session, s.Run, store.AgentOptions, store.OptionsBody{Chosen: &chosen}); err != nil {
			return err
		}
		ep, live, err := tx.LiveEpoch(session)
		if err != nil {
			return err
		}
		if live && ep.State == store.EpochReady {
			asked := store.Chosen{Mode: c.Mode, Model: c.Model, Config: c.Config}
			for _, set := range settings(asked, s.AgentSession) {
				if err := pushSetting(tx, ep.Name, set); err != nil {
					return err
				}
			}
			fx.wakeUp(session)
		}
		s, err = tx.Session(session)
		out = s.Options
		return err
	})
	return out, err
}

// options are what an agent is known to offer.
type options struct {
	body   store.OptionsBody
	modes  acp.Modes
	models acp.Models
	config []acp.ConfigOption
}

func optionsOf(s store.Session) (o options, err error) {
	if len(s.Options) == 0 {
		return o, nil
	}
	if err := json.Unmarshal(s.Options, &o.body); err != nil {
		return o, fmt.Errorf("read options: %w", err)
	}
	for raw, to := range map[*json.RawMessage]any{&o.body.Modes: &o.modes, &o.body.Models: &o.models, &o.body.Config: &o.config} {
		if len(*raw) > 0 {
			_ = json.Unmarshal(*raw, to) // a foreign shape: nothing is known of it
		}
	}
	return o, nil
}

// offers refuses what the agent is known not to offer.
func (o options) offers(c Choice) error {
	none := func(what, value string) error {
		return &Error{Code: CodeUnknownOption, Message: fmt.Sprintf("The agent offers no %s %q. Choose one of its options.", what, value)}
	}
	if c.Mode != "" && len(o.modes.AvailableModes) > 0 &&
		!slices.ContainsFunc(o.modes.AvailableModes, func(m acp.Mode) bool { return m.ID == c.Mode }) {
		return none("mode", c.Mode)
	}
	if c.Model != "" && len(o.models.AvailableModels) > 0 &&
		!slices.ContainsFunc(o.models.AvailableModels, func(m acp.Model) bool { return m.ID == c.Model }) {
		return none("model", c.Model)
	}
	for id, raw := range c.Config {
		var text string
		var yes bool
		isText, isBool := json.Unmarshal(raw, &text) == nil, json.Unmarshal(raw, &yes) == nil
		if !isText && !isBool || string(raw) == "null" {
			return &Error{Code: CodeBadRequest, Message: fmt.Sprintf("The value of the option %q is neither a text nor true or false.", id)}
		}
		if len(o.config) == 0 {
			continue
		}
		i := slices.IndexFunc(o.config, func(c acp.ConfigOption) bool { return c.ID == id })
		if i < 0 {
			return none("option", id)
		}
		option := o.config[i]
		fits := isBool
		if option.Type == acp.OptionSelect {
			fits = isText && slices.ContainsFunc(option.Options, func(c acp.ConfigChoice) bool { return c.Value == text })
		}
		if !fits {
			return none("value of "+id, string(raw))
		}
	}
	return nil
}

// setting is a request that sets one option.
type setting struct {
	method string
	params any
}

// settings are the requests that set what was chosen.
func settings(c store.Chosen, session string) (list []setting) {
	if c.Mode != "" {
		list = append(list, setting{acp.MethodSetMode, acp.SetModeParams{SessionID: session, ModeID: c.Mode}})
	}
	if c.Model != "" {
		list = append(list, setting{acp.MethodSetModel, acp.SetModelParams{SessionID: session, ModelID: c.Model}})
	}
	for _, id := range slices.Sorted(maps.Keys(c.Config)) {
		p := acp.SetConfigOptionParams{SessionID: session, ConfigID: id, Value: c.Config[id]}
		var yes bool
		if json.Unmarshal(c.Config[id], &yes) == nil {
			p.Type = acp.OptionBoolean
		}
		list = append(list, setting{acp.MethodSetConfigOption, p})
	}
	return list
}

func pushSetting(tx *store.Tx, epoch string, set setting) error {
	n, err := tx.NextLine(epoch)
	if err != nil {
		return err
	}
	data, err := acp.Request(n, set.method, set.params)
	if err != nil {
		return fmt.Errorf("encode setting: %w", err)
	}
	_, err = pushLine(tx, store.Line{Epoch: epoch, N: n, Kind: store.LineOption, Data: data})
	return err
}

// choose sets in a new life of the agent what a person chose before, as far as
// it offers that and has it otherwise. It tells whether it set anything.
func (in *interpreter) choose() (asked bool, err error) {
	s, err := in.tx.Session(in.s.ID)
	if err != nil {
		return false, err
	}
	known, err := optionsOf(s)
	if err != nil || known.body.Chosen == nil {
		return false, err
	}
	want := store.Chosen{Config: map[string]json.RawMessage{}}
	chosen := *known.body.Chosen
	if chosen.Mode != known.modes.CurrentModeID && known.offers(Choice{Mode: chosen.Mode}) == nil {
		want.Mode = chosen.Mode
	}
	if chosen.Model != known.models.CurrentModelID && known.offers(Choice{Model: chosen.Model}) == nil {
		want.Model = chosen.Model
	}
	for id, v := range chosen.Config {
		i := slices.IndexFunc(known.config, func(c acp.ConfigOption) bool { return c.ID == id })
		if i >= 0 && !bytes.Equal(known.config[i].CurrentValue, v) && known.offers(Choice{Config: map[string]json.RawMessage{id: v}}) == nil {
			want.Config[id] = v
		}
	}
	for _, set := range settings(want, in.s.AgentSession) {
		if err := pushSetting(in.tx, in.ep.Name, set); err != nil {
			return false, err
		}
		asked, in.pushed = true, true
	}
	return asked, nil
}

// settingOf reads back what a line set.
func settingOf(line store.Line) (method string, p struct {
	ModeID   string `json:"modeId"`
	ModelID  string `json:"modelId"`
	ConfigID string `json:"configId"`
},
) {
	msg, err := acp.Parse(line.Data)
	if err != nil {
		return "", p
	}
	_ = json.Unmarshal(msg.Params, &p) // we wrote it
	return msg.Method, p
}

// optionTaken notes what the agent says of a setting: how its options stand
// then, or that it refused, in which case the choice is forgotten.
func (in *interpreter) optionTaken(line store.Line, msg acp.Message) error {
	method, p := settingOf(line)
	if msg.Error == nil {
		switch method {
		case acp.MethodSetMode:
			return in.currentMode(p.ModeID)
		case acp.MethodSetModel:
			return in.currentModel(p.ModelID)
		case acp.MethodSetConfigOption:
			var res acp.SetConfigOptionResult
			if json.Unmarshal(msg.Result, &res) == nil && res.ConfigOptions != nil {
				return in.options(store.OptionsBody{Config: mustJSON(res.ConfigOptions)})
			}
		}
		return nil
	}
	s, err := in.tx.Session(in.s.ID)
	if err != nil {
		return err
	}
	known, err := optionsOf(s)
	if err != nil {
		return err
	}
	if c := known.body.Chosen; c != nil {
		left := store.Chosen{Mode: c.Mode, Model: c.Model, Config: maps.Clone(c.Config)}
		switch {
		case method == acp.MethodSetMode && left.Mode == p.ModeID:
			left.Mode = ""
		case method == acp.MethodSetModel && left.Model == p.ModelID:
			left.Model = ""
		case method == acp.MethodSetConfigOption:
			delete(left.Config, p.ConfigID)
		}
		if err := in.options(store.OptionsBody{Chosen: &left}); err != nil {
			return err
		}
	}
	return appendNotice(in.tx, in.s.ID, in.run.ID, "warning", "option_refused",
		"The agent refused the option that was chosen. It goes on as before.", msg.Error.Error())
}

// currentModel is currentMode for models.
func (in *interpreter) currentModel(id string) error {
	s, err := in.tx.Session(in.s.ID)
	if err != nil {
		return err
	}
	known, err := optionsOf(s)
	if err != nil {
		return err
	}
	known.models.CurrentModelID = id
	return in.options(store.OptionsBody{Models: mustJSON(known.models)})
}

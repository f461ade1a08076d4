package session

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/holdfast-dev/holdfast/internal/acp"
	"github.com/holdfast-dev/holdfast/internal/said"
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
		c = known.place(c)
		if err := known.offers(c); err != nil {
			return err
		}
		var chosen store.Chosen
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
		if err := Choice(chosen).check(); err != nil {
			return err
		}
		if _, err := tx.Append(session, s.Run, store.AgentOptions, store.OptionsBody{Chosen: &chosen}); err != nil {
			return err
		}
		ep, live, err := tx.LiveEpoch(session)
		if err != nil {
			return err
		}
		if live && ep.State == store.EpochReady {
			for _, one := range known.each(c) {
				method, params := one.request(s.AgentSession)
				if err := pushSetting(tx, ep.Name, method, params); err != nil {
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

// check refuses values that no option can have, and what is too long to be kept.
func (c Choice) check() error {
	if err := store.Chosen(c).Check(); err != nil {
		return &Error{Code: CodeBadRequest, Message: fmt.Sprintf("It cannot be chosen: %v.", err)}
	}
	return nil
}

// empty tells whether nothing was chosen.
func (c Choice) empty() bool { return c.Mode == "" && c.Model == "" && len(c.Config) == 0 }

// valueOf reads an option's value: a text, or true or false.
func valueOf(raw json.RawMessage) (text string, isText, isBool bool) {
	var yes bool
	switch {
	case string(raw) == "null":
		return "", false, false
	case json.Unmarshal(raw, &yes) == nil:
		return onOff(yes), false, true
	}
	return text, json.Unmarshal(raw, &text) == nil, false
}

// sameValue compares two values of an option, however they are written.
func sameValue(a, b json.RawMessage) bool {
	x, xText, xBool := valueOf(a)
	y, yText, yBool := valueOf(b)
	return x == y && xText == yText && xBool == yBool
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

// known is what the session's agent offers as far as it has been interpreted.
func (in *interpreter) known() (options, error) {
	s, err := in.tx.Session(in.s.ID)
	if err != nil {
		return options{}, err
	}
	return optionsOf(s)
}

// offers refuses what the agent is known not to offer.
func (o options) offers(c Choice) error {
	if err := c.check(); err != nil {
		return err
	}
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
		if len(o.config) == 0 {
			continue
		}
		option, ok := o.option(id)
		if !ok {
			return none("option", id)
		}
		if !takes(option, raw) {
			return none("value of "+id, string(raw))
		}
	}
	return nil
}

// option finds one of the agent's own options.
func (o options) option(id string) (acp.ConfigOption, bool) {
	i := slices.IndexFunc(o.config, func(c acp.ConfigOption) bool { return c.ID == id })
	if i < 0 {
		return acp.ConfigOption{}, false
	}
	return o.config[i], true
}

// takes tells whether the value is one of the option's.
func takes(option acp.ConfigOption, raw json.RawMessage) bool {
	text, isText, isBool := valueOf(raw)
	if option.Type == acp.OptionSelect {
		return isText && slices.ContainsFunc(option.Options, func(c acp.ConfigChoice) bool { return c.Value == text })
	}
	return isBool
}

// place puts a mode or a model to where the agent has it: newer ones have an
// option for it and no other way.
func (o options) place(c Choice) Choice {
	c.Config = maps.Clone(c.Config)
	for _, of := range []struct {
		category string
		value    *string
		told     bool
	}{
		{"mode", &c.Mode, len(o.modes.AvailableModes) > 0},
		{"model", &c.Model, len(o.models.AvailableModels) > 0},
	} {
		i := slices.IndexFunc(o.config, func(c acp.ConfigOption) bool {
			return c.Category == of.category && c.Type == acp.OptionSelect
		})
		if *of.value == "" || of.told || i < 0 {
			continue
		}
		if c.Config == nil {
			c.Config = map[string]json.RawMessage{}
		}
		if _, both := c.Config[o.config[i].ID]; !both {
			c.Config[o.config[i].ID] = mustJSON(*of.value)
		}
		*of.value = ""
	}
	return c
}

// setting is one thing that was chosen: a mode, a model, or an option's value.
type setting struct {
	mode, model string
	id          string
	value       json.RawMessage
}

// each returns what was chosen one by one: the model first, because what else
// there is may depend on it.
func (o options) each(c Choice) (list []setting) {
	if c.Model != "" {
		list = append(list, setting{model: c.Model})
	}
	if c.Mode != "" {
		list = append(list, setting{mode: c.Mode})
	}
	for _, id := range slices.Sorted(maps.Keys(c.Config)) {
		set := setting{id: id, value: c.Config[id]}
		if option, ok := o.option(id); ok && option.Category == "model" {
			list = slices.Insert(list, 0, set)
		} else {
			list = append(list, set)
		}
	}
	return list
}

// request is what sets it.
func (set setting) request(session string) (method string, params any) {
	switch {
	case set.model != "":
		return acp.MethodSetModel, acp.SetModelParams{SessionID: session, ModelID: set.model}
	case set.mode != "":
		return acp.MethodSetMode, acp.SetModeParams{SessionID: session, ModeID: set.mode}
	}
	p := acp.SetConfigOptionParams{SessionID: session, ConfigID: set.id, Value: set.value}
	if _, _, isBool := valueOf(set.value); isBool {
		p.Type = acp.OptionBoolean
	}
	return acp.MethodSetConfigOption, p
}

// drop returns what is left of c without it.
func (set setting) drop(c store.Chosen) store.Chosen {
	c.Config = maps.Clone(c.Config)
	switch {
	case set.model != "" && set.model == c.Model:
		c.Model = ""
	case set.mode != "" && set.mode == c.Mode:
		c.Mode = ""
	case set.id != "" && sameValue(set.value, c.Config[set.id]):
		delete(c.Config, set.id)
	}
	return c
}

// standing is how one thing that was chosen stands with the agent.
type standing struct {
	said.Unset // of it where it is not set, with values as the agent calls them
	offered    bool
	set        bool
}

func (o options) standing(set setting) (st standing) {
	switch {
	case set.model != "":
		st.What, st.Wanted, st.Now, st.set = "model", set.model, o.models.CurrentModelID, set.model == o.models.CurrentModelID
		for _, m := range o.models.AvailableModels {
			st.name(m.ID, m.Name, set.model, o.models.CurrentModelID)
		}
	case set.mode != "":
		st.What, st.Wanted, st.Now, st.set = "mode", set.mode, o.modes.CurrentModeID, set.mode == o.modes.CurrentModeID
		for _, m := range o.modes.AvailableModes {
			st.name(m.ID, m.Name, set.mode, o.modes.CurrentModeID)
		}
	default:
		text, _, _ := valueOf(set.value)
		st.Wanted = text
		option, ok := o.option(set.id)
		if !ok {
			st.What, st.Option = "option", set.id
			return st
		}
		st.What, st.Option = "option", option.Name
		if option.Category == "model" || option.Category == "mode" {
			st.What, st.Option = option.Category, ""
		}
		if option.Type == acp.OptionSelect {
			st.Now = option.Value()
			for _, c := range option.Options {
				st.name(c.Value, c.Name, text, st.Now)
			}
		} else {
			st.Now = onOff(option.Bool())
		}
		st.offered, st.set = takes(option, set.value), sameValue(option.CurrentValue, set.value)
	}
	return st
}

// name takes over what the agent calls one of its values.
func (st *standing) name(id, name, wanted, now string) {
	if name == "" {
		name = id
	}
	if id == now {
		st.Now = name
	}
	if id == wanted {
		st.offered, st.Wanted = true, name
	}
}

func pushSetting(tx *store.Tx, epoch, method string, params any) error {
	n, err := tx.NextLine(epoch)
	if err != nil {
		return err
	}
	data, err := acp.Request(n, method, params)
	if err != nil {
		return fmt.Errorf("encode setting: %w", err)
	}
	_, err = pushLine(tx, store.Line{Epoch: epoch, N: n, Kind: store.LineOption, Data: data})
	return err
}

// choose sets in a new life of the agent the next thing that a person chose, if
// the agent has it otherwise, and tells whether it did. It is asked again after
// each answer: one may change what else there is. What the agent does not offer
// is told and forgotten.
func (in *interpreter) choose() (asked bool, err error) {
	known, err := in.known()
	if err != nil || known.body.Chosen == nil {
		return false, err
	}
	for _, set := range known.each(known.place(Choice(*known.body.Chosen))) {
		st := known.standing(set)
		if st.set {
			continue
		}
		if !st.offered {
			if err := in.forget(set, st.Unavailable(), ""); err != nil {
				return false, err
			}
			continue
		}
		if had, err := in.askedFor(set); err != nil {
			return false, err
		} else if had {
			continue // it took it, and has it otherwise all the same
		}
		in.pushed = true
		method, params := set.request(in.s.AgentSession)
		return true, pushSetting(in.tx, in.ep.Name, method, params)
	}
	return false, nil
}

// askedFor tells whether this life of the agent was asked for the setting.
func (in *interpreter) askedFor(set setting) (bool, error) {
	lines, err := in.tx.LinesAfter(in.ep.Name, 0)
	return slices.ContainsFunc(lines, func(line store.Line) bool {
		got := settingOf(line)
		return line.Kind == store.LineOption && got.mode == set.mode && got.model == set.model && got.id == set.id && sameValue(got.value, set.value)
	}), err
}

// forget takes a setting out of what was chosen, and says why.
func (in *interpreter) forget(set setting, why said.Words, detail string) error {
	known, err := in.known()
	if err != nil {
		return err
	}
	if c := known.body.Chosen; c != nil {
		left := set.drop(store.Chosen(known.place(Choice(*c))))
		if err := in.options(store.OptionsBody{Chosen: &left}); err != nil {
			return err
		}
	}
	return appendNotice(in.tx, in.s.ID, in.run.ID, "warning", why, detail)
}

// settingOf reads back what a line set.
func settingOf(line store.Line) (set setting) {
	msg, err := acp.Parse(line.Data)
	if err != nil {
		return set
	}
	var p struct {
		ModeID   string          `json:"modeId"`
		ModelID  string          `json:"modelId"`
		ConfigID string          `json:"configId"`
		Value    json.RawMessage `json:"value"`
	}
	_ = json.Unmarshal(msg.Params, &p) // we wrote it
	return setting{mode: p.ModeID, model: p.ModelID, id: p.ConfigID, value: p.Value}
}

// optionTaken notes what the agent says of a setting: how its options stand
// then, or that it refused, in which case the choice is forgotten.
func (in *interpreter) optionTaken(line store.Line, msg acp.Message) error {
	set := settingOf(line)
	if msg.Error != nil {
		known, err := in.known()
		if err != nil {
			return err
		}
		return in.forget(set, known.standing(set).Refused(), msg.Error.Error())
	}
	switch {
	case set.mode != "":
		return in.currentMode(set.mode)
	case set.model != "":
		return in.currentModel(set.model)
	}
	var res acp.SetConfigOptionResult
	if json.Unmarshal(msg.Result, &res) == nil && res.ConfigOptions != nil {
		return in.options(store.OptionsBody{Config: mustJSON(res.ConfigOptions)})
	}
	return nil
}

// currentModel is currentMode for models.
func (in *interpreter) currentModel(id string) error {
	known, err := in.known()
	if err != nil {
		return err
	}
	known.models.CurrentModelID = id
	return in.options(store.OptionsBody{Models: mustJSON(known.models)})
}

// What an agent lets a person choose, in one shape: its model, its mode, and its own options. Agents tell them in two
// ways (ACP's modes and models, and its newer config options); where both name the same thing, the newer one counts.

import type { AgentOptions } from './fold';

export interface Choice {
  value: string;
  name: string;
  description: string;
  group: string;
}

export interface Picker {
  /** Of one picker of a session. */
  key: string;
  kind: 'model' | 'mode' | 'other';
  /** What the agent calls it; '' where only the kind is known. */
  name: string;
  current: string;
  /** Empty where it is on or off. */
  choices: Choice[];
  /** Where it is on or off. */
  on: boolean;
  /** The body of the request that sets it. */
  body: (value: string | boolean) => Record<string, unknown>;
}

type Doc = Record<string, unknown>;

const isDoc = (value: unknown): value is Doc => typeof value === 'object' && value !== null && !Array.isArray(value);
const text = (value: unknown) => (typeof value === 'string' ? value : '');
const docs = (value: unknown) => (Array.isArray(value) ? value.filter(isDoc) : []);

export function pickers(options: AgentOptions): Picker[] {
  const chosen = isDoc(options.chosen) ? options.chosen : {};
  const config = docs(options.config).flatMap((each) => configPicker(each, isDoc(chosen.config) ? chosen.config : {}));
  const all = [...config];
  for (const kind of ['mode', 'model'] as const) {
    if (config.some((each) => each.kind === kind)) continue;
    const one = simplePicker(kind, options, text(chosen[kind]));
    if (one) all.unshift(one);
  }
  const rank = { model: 0, mode: 1, other: 2 };
  return all.sort((a, b) => rank[a.kind] - rank[b.kind]);
}

function simplePicker(kind: 'mode' | 'model', options: AgentOptions, chosen: string): Picker | null {
  const state = kind === 'mode' ? options.modes : options.models;
  if (!isDoc(state)) return null;
  const list = docs(kind === 'mode' ? state.availableModes : state.availableModels);
  const choices = list.map((each) => choice(each, text(kind === 'mode' ? each.id : each.modelId), '')).filter((each) => each.value);
  if (choices.length === 0) return null;
  const told = text(kind === 'mode' ? state.currentModeId : state.currentModelId);
  return { key: kind, kind, name: '', current: pending(chosen, told, choices), choices, on: false, body: (value) => ({ [kind]: value }) };
}

function configPicker(option: Doc, chosen: Doc): Picker[] {
  const id = text(option.id);
  if (!id) return [];
  const kind = option.category === 'model' || option.category === 'mode' ? option.category : 'other';
  const body = (value: string | boolean) => ({ config: { [id]: value } });
  const base = { key: `config.${id}`, kind, name: text(option.name) || id, body } as const;
  if (option.type === 'boolean') {
    const on = typeof chosen[id] === 'boolean' ? chosen[id] : option.currentValue === true;
    return [{ ...base, current: '', choices: [], on }];
  }
  const choices = docs(option.options).flatMap((each) =>
    Array.isArray(each.options)
      ? docs(each.options).map((one) => choice(one, text(one.value), text(each.name) || text(each.group)))
      : [choice(each, text(each.value), '')],
  );
  if (option.type !== 'select' || choices.length === 0) return [];
  return [{ ...base, current: pending(text(chosen[id]), text(option.currentValue), choices), choices, on: false }];
}

function choice(from: Doc, value: string, group: string): Choice {
  return { value, name: text(from.name) || value, description: text(from.description), group };
}

/** What is shown as chosen: until an agent runs, what a person chose for its next life. */
function pending(chosen: string, told: string, choices: Choice[]): string {
  return choices.some((each) => each.value === chosen) ? chosen : told;
}

/** The name of what is chosen. */
export function currentName(picker: Picker): string {
  return picker.choices.find((each) => each.value === picker.current)?.name ?? picker.current;
}

export interface AgentCommand {
  name: string;
  description: string;
  /** What may be written after it. */
  hint: string;
}

export function commandsOf(options: AgentOptions): AgentCommand[] {
  return docs(options.commands)
    .map((each) => ({
      name: text(each.name).replace(/^\//, ''),
      description: text(each.description),
      hint: isDoc(each.input) ? text(each.input.hint) : '',
    }))
    .filter((each) => each.name);
}

// What an agent lets a person choose before it runs, and what was chosen of it.

import { get } from './api';
import type { AgentOptions } from './fold';
import { pickers, type Picker } from './pickers';

/** As the host takes it with a new session. What is absent is left to the agent. */
export interface Chosen {
  mode?: string;
  model?: string;
  config?: Record<string, string | boolean>;
}

/** What the newest session of an agent was offered; nothing where it never ran. */
export function offersOf(agent: string, signal: AbortSignal): Promise<AgentOptions> {
  return get<AgentOptions>(`/api/v1/agents/${encodeURIComponent(agent)}/options`, signal);
}

/** The words of choices that no agent has given. */
export interface Words {
  standard: string;
  on: string;
  off: string;
}

/** The pickers of an agent that has told nothing yet. Which of its values it begins with is not known, so that is a choice of its own: ''. */
export function pickersBefore(offers: AgentOptions, chosen: Chosen, words: Words): Picker[] {
  const plain = (value: string, name: string) => ({ value, name, description: '', group: '' });
  return pickers(offers).map((picker) => {
    const isOn = picker.choices.length === 0;
    const given = isOn ? [plain('true', `${picker.name}: ${words.on}`), plain('false', `${picker.name}: ${words.off}`)] : picker.choices;
    return {
      ...picker,
      choices: [plain('', words.standard), ...given],
      current: String(flat(chosen)[picker.key] ?? ''),
      body: (value) => picker.body(isOn ? value === 'true' : value),
    };
  });
}

/** What was chosen, with one thing chosen otherwise; '' leaves it to the agent. */
export function withChoice(chosen: Chosen, picker: Picker, value: string | boolean): Chosen {
  const { [picker.key]: _, ...rest } = flat(chosen);
  return deep(value === '' ? rest : { ...rest, ...flat(picker.body(value)) });
}

/** What was chosen, without what the agent does not offer any more. */
export function stillOffered(chosen: Chosen, offers: AgentOptions): Chosen {
  const all = new Map(pickers(offers).map((picker) => [picker.key, picker]));
  const fits = ([key, value]: [string, unknown]) => {
    const picker = all.get(key);
    return picker?.choices.length === 0 ? typeof value === 'boolean' : picker?.choices.some((each) => each.value === value);
  };
  return deep(Object.fromEntries(Object.entries(flat(chosen)).filter(fits)));
}

/** By the keys of pickers. */
function flat(chosen: Chosen): Record<string, string | boolean> {
  const { config = {}, ...rest } = chosen;
  return { ...rest, ...Object.fromEntries(Object.entries(config).map(([id, value]) => [`config.${id}`, value])) };
}

function deep(flat: Record<string, string | boolean>): Chosen {
  const chosen: Chosen = {};
  for (const [key, value] of Object.entries(flat)) {
    if (key.startsWith('config.')) chosen.config = { ...chosen.config, [key.slice('config.'.length)]: value };
    else chosen[key as 'mode' | 'model'] = String(value);
  }
  return chosen;
}

import { expect, test } from 'vitest';
import { pickersBefore, stillOffered, withChoice, type Chosen } from './offers';
import { currentName } from './pickers';

const offers = {
  modes: { currentModeId: 'yolo', availableModes: [{ id: 'ask', name: 'Ask first' }, { id: 'yolo', name: 'Do all' }] },
  config: [
    { id: 'model', name: 'Model', category: 'model', type: 'select', currentValue: 'big', options: [{ value: 'big', name: 'Big' }, { value: 'small', name: 'Small' }] },
    { id: 'loud', name: 'Loud', type: 'boolean', currentValue: true },
  ],
};
const words = { standard: "Agent's default", on: 'on', off: 'off' };

test("the agent's default is the first choice and chosen, whatever the session had that was asked", () => {
  const all = pickersBefore(offers, {}, words);
  expect(all.map((each) => [each.key, each.current, currentName(each)])).toEqual([
    ['config.model', '', "Agent's default"],
    ['mode', '', "Agent's default"],
    ['config.loud', '', "Agent's default"],
  ]);
  expect(all.map((each) => each.choices.map((one) => one.value))).toEqual([['', 'big', 'small'], ['', 'ask', 'yolo'], ['', 'true', 'false']]);
  expect(all[2]!.choices[1]!.name).toBe('Loud: on');
  expect(pickersBefore({}, { mode: 'ask' }, words)).toEqual([]);
});

test('what is chosen is what the host takes, and can be left to the agent again', () => {
  const choose = (chosen: Chosen, key: string, value: string) => withChoice(chosen, pickersBefore(offers, chosen, words).find((each) => each.key === key)!, value);
  let chosen = choose({}, 'mode', 'ask');
  chosen = choose(chosen, 'config.model', 'small');
  chosen = choose(chosen, 'config.loud', 'false');
  expect(chosen).toEqual({ mode: 'ask', config: { model: 'small', loud: false } });
  expect(pickersBefore(offers, chosen, words).map(currentName)).toEqual(['Small', 'Ask first', 'Loud: off']);
  chosen = choose(choose(chosen, 'mode', ''), 'config.loud', 'true');
  expect(chosen).toEqual({ config: { model: 'small', loud: true } });
  expect(choose(choose(chosen, 'config.model', ''), 'config.loud', '')).toEqual({});
});

test('what an agent does not offer any more is not asked for', () => {
  const chosen = { mode: 'gone', model: 'big', config: { model: 'small', loud: true, other: 'x' } };
  expect(stillOffered(chosen, offers)).toEqual({ config: { model: 'small', loud: true } });
  expect(stillOffered({ config: { loud: 'yes' } }, offers)).toEqual({});
  expect(stillOffered(chosen, {})).toEqual({});
});

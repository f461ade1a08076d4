import { expect, test } from 'vitest';
import { commandsOf, currentName, pickers } from './pickers';

const modes = { currentModeId: 'ask', availableModes: [{ id: 'ask', name: 'Ask first' }, { id: 'yolo', name: 'Do all' }] };
const models = { currentModelId: 'big', availableModels: [{ modelId: 'big', name: 'Big' }, { modelId: 'small', name: 'Small' }] };

test('model and mode, in this order, by the names that the agent gives', () => {
  const all = pickers({ modes, models });
  expect(all.map((each) => [each.kind, currentName(each), each.choices.length])).toEqual([['model', 'Big', 2], ['mode', 'Ask first', 2]]);
  expect(all[1]!.body('yolo')).toEqual({ mode: 'yolo' });
});

test('a config option of the same kind takes the place of the older way', () => {
  const config = [
    { id: 'm', name: 'Mode', category: 'mode', type: 'select', currentValue: 'b', options: [{ value: 'a', name: 'A' }, { value: 'b', name: 'B' }] },
    { id: 'loud', name: 'Loud', type: 'boolean', currentValue: true },
    { id: 'which', name: 'Which', type: 'select', currentValue: 'x', options: [{ group: 'g', name: 'Group', options: [{ value: 'x', name: 'X' }] }] },
    { id: 'odd', name: 'Odd', type: 'slider' },
  ];
  const all = pickers({ modes, models, config });
  expect(all.map((each) => each.key)).toEqual(['model', 'config.m', 'config.loud', 'config.which']);
  expect(all[1]!.body('a')).toEqual({ config: { m: 'a' } });
  expect(all[2]).toMatchObject({ on: true, choices: [] });
  expect(all[3]!.choices[0]).toMatchObject({ group: 'Group', name: 'X' });
});

test('what a person chose is shown before the agent has it, if the agent offers it', () => {
  expect(pickers({ modes, chosen: { mode: 'yolo' } })[0]!.current).toBe('yolo');
  expect(pickers({ modes, chosen: { mode: 'gone' } })[0]!.current).toBe('ask');
});

test('foreign shapes are no pickers and no commands', () => {
  expect(pickers({ modes: 'x', models: [], config: { a: 1 } })).toEqual([]);
  expect(commandsOf({ commands: [{ name: '/web', description: 'Search', input: { hint: 'query' } }, { description: 'no name' }, 3] })).toEqual([
    { name: 'web', description: 'Search', hint: 'query' },
  ]);
});

import { expect, it } from 'vitest';
import { HIDDEN, idle, UNTOUCHED } from './renewal';

it('reloads a page that nobody is at, and never one that would lose something', () => {
  expect(idle({ hidden: true, untouched: HIDDEN + 1, unsaved: false })).toBe(true);
  expect(idle({ hidden: true, untouched: HIDDEN - 1, unsaved: false })).toBe(false);
  expect(idle({ hidden: false, untouched: HIDDEN + 1, unsaved: false })).toBe(false);
  expect(idle({ hidden: false, untouched: UNTOUCHED + 1, unsaved: false })).toBe(true);
  expect(idle({ hidden: true, untouched: UNTOUCHED + 1, unsaved: true })).toBe(false);
});

import { expect, test } from 'vitest';
import { best, fits } from './fuzzy';

const found = (letters: string, ...names: string[]) => best(names, letters, (name) => name);

test('the name itself comes first, then what begins so, then what has it, then its letters', () => {
  expect(found('re', 'create', 'review', 're', 'rename-all', 'pr-end', 'stop')).toEqual(['re', 'review', 'rename-all', 'create', 'pr-end']);
});

test('beginnings of words count more than letters within', () => {
  expect(found('gc', 'magic', 'git-commit')).toEqual(['git-commit', 'magic']);
});

test('no letters fit all, in their order, and foreign ones none', () => {
  expect(found('', 'b', 'a')).toEqual(['b', 'a']);
  expect(fits('xz', 'review')).toBe(0);
  expect(fits('WER', 'review')).toBe(0);
  expect(fits('REV', 'review')).toBeGreaterThan(0);
});

import { expect, test } from 'vitest';
import { Recall } from './recall';

test('up goes to older messages, down comes back to the empty composer', () => {
  const recall = new Recall();
  const all = ['one', 'two', 'two', '', 'three'];
  expect(recall.older('', all)).toBe('three');
  expect(recall.older('three', all)).toBe('two');
  expect(recall.older('two', all)).toBe('one');
  expect(recall.older('one', all)).toBeNull();
  expect(recall.newer('one')).toBe('two');
  expect(recall.newer('two')).toBe('three');
  expect(recall.newer('three')).toBe('');
  expect(recall.newer('')).toBeNull();
});

test('what was changed is left alone', () => {
  const recall = new Recall();
  expect(recall.older('', ['one', 'two'])).toBe('two');
  expect(recall.older('two, changed', ['one', 'two'])).toBeNull();
  expect(recall.newer('two, changed')).toBeNull();
  expect(recall.older('', ['one', 'two', 'three'])).toBe('three');
});

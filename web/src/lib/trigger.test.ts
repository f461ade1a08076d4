import { expect, test } from 'vitest';
import { mention, replaced, triggerAt } from './trigger';

const at = (text: string) => triggerAt(text.replace('|', ''), text.indexOf('|'));

test('a slash at the beginning is a command, anywhere else it is text', () => {
  expect(at('/|')).toEqual({ kind: 'command', query: '', from: 0, to: 1 });
  expect(at('/re|')).toMatchObject({ kind: 'command', query: 're' });
  for (const text of ['/rename it|', 'a /re|', '/usr/bin|', ' /re|', '|/re', 'x\n/re|']) expect(at(text), text).toBeNull();
});

test('an @ after a space is a file, within a word it is not', () => {
  expect(at('see @|')).toEqual({ kind: 'file', query: '', from: 4, to: 5 });
  expect(at('@src/ma|in')).toEqual({ kind: 'file', query: 'src/ma', from: 0, to: 7 });
  expect(at('(@read|')).toMatchObject({ query: 'read', from: 1 });
  expect(at('see @"my no|')).toEqual({ kind: 'file', query: 'my no', from: 4, to: 11 });
  for (const text of ['ada@example|', '@done now|', 'a@|', '@"a" |']) expect(at(text), text).toBeNull();
});

test('what is chosen takes the place of what was typed', () => {
  const text = 'see @ma, then go';
  expect(replaced(text, triggerAt(text, 7)!, '@main.go ')).toEqual({ text: 'see @main.go , then go', caret: 13 });
  expect(replaced('see @ma then', triggerAt('see @ma then', 7)!, '@main.go ')).toEqual({ text: 'see @main.go then', caret: 13 });
  expect(replaced('/re', triggerAt('/re', 3)!, '/review ')).toEqual({ text: '/review ', caret: 8 });
});

test('a path with spaces stands in quotes, and a folder stays open', () => {
  expect(mention('a/b.go', false)).toBe('@a/b.go ');
  expect(mention('a b.go', false)).toBe('@"a b.go" ');
  expect(mention('src', true)).toBe('@src/');
  expect(mention('my src', true)).toBe('@"my src/');
  expect(at(`${mention('my src', true)}|`)).toMatchObject({ query: 'my src/' });
});

import { describe, expect, it } from 'vitest';
import { markdownOf, plainOf, sessionMarkdown, textOf } from './copy';
import type { Item, SessionRow, ToolBody } from './types';

const at = '2026-11-24T12:00:00.000Z';
let n = 0;
const item = (kind: string, body: unknown, run = 'r1') => ({ id: `i${++n}`, session: 's', run, kind, seq: n, at, open: false, body }) as Item;
const tool = (body: Partial<ToolBody>) => item('tool', { tool_call_id: 't', title: '', kind: 'execute', status: 'completed', ...body });

describe('textOf', () => {
  it('leaves the signs of Markdown away and keeps what they mean', () => {
    expect(
      textOf('# Head\n\nSome **bold** and `code`,\nsee [the page](https://example.com).\n\n1. one\n2. two\n   - [x] done\n\n```go\na := 1\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n> said'),
    ).toBe('Head\n\nSome bold and code,\nsee the page (https://example.com).\n\n1. one\n2. two\n   - [x] done\n\na := 1\n\na\tb\n1\t2\n\n> said');
  });
});

describe('markdownOf', () => {
  it('says what a tool did, with a fence that its output cannot close', () => {
    const text = markdownOf(tool({ raw_input: { command: 'cat a.md' }, content: [{ type: 'content', content: { type: 'text', text: 'x\n````\ny' } }] }), '/w');
    expect(text).toBe('**Ran** `cat a.md`\n\n`````\nx\n````\ny\n`````');
  });
  it('is what was said, of a message', () => {
    expect(markdownOf(item('assistant', { text: '**a**' }), '')).toBe('**a**');
    expect(plainOf(item('assistant', { text: '**a**' }), '')).toBe('a');
    expect(plainOf(item('user', { text: '**a**' }), '')).toBe('**a**');
  });
});

describe('sessionMarkdown', () => {
  it('names who speaks, once for all that an agent does in a row', () => {
    const row = { title: 'Jitter', cwd: '/w', created_at: at } as SessionRow;
    const text = sessionMarkdown(row, 'Claude', [item('user', { text: 'do it' }), tool({ title: 'make' }), item('assistant', { text: 'Done.' }), item('user', { text: 'and more' }), item('user', { text: 'again' })]);
    expect(text.match(/^## .*?(?= ·)/gm)).toEqual(['## You', '## Claude', '## You', '## You']);
    expect(text).toMatch(/^# Jitter\n\nClaude · `\/w` · /);
    expect(text).toContain('**Ran** `make`\n\nDone.');
  });
});

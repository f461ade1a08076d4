import { describe, expect, it } from 'vitest';
import { highlight, languageOf } from './highlight';

describe('highlight', () => {
  it('colours lines and keeps every character', async () => {
    const code = 'package a\n\n/* two\nlines */\nfunc F() string { return "x" }\n';
    const lines = await highlight(code, 'Go');
    expect(lines?.map((line) => line.map((span) => span.text).join('')).join('\n')).toBe(code);
    expect(lines?.[0]?.[0]).toEqual({ text: 'package', class: 'k1' });
    expect(lines?.[3]?.[0]).toEqual({ text: 'lines */', class: 'k5' });
  });
  it('leaves what it does not know plain', async () => {
    expect(await highlight('x', 'brainfuck')).toBeNull();
    expect(await highlight('x', '')).toBeNull();
    expect(await highlight('x'.repeat(100_000), 'go')).toBeNull();
  });
  it('knows a language by the name of a file', () => {
    expect(['/w/a.go', 'b.test.ts', 'Makefile', 'README'].map(languageOf)).toEqual(['go', 'ts', 'makefile', '']);
  });
});

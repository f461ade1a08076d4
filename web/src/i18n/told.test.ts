// What the host says is in every catalogue: each sentence that it has, and no other. A test of the host
// (internal/said) writes said.json, and keeps it true.

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { hostWords } from '../lib/words';
import type { Said } from '../lib/types';
import { en } from './en';
import { de } from './de';
import { language } from './index.svelte';
import said from './said.json';

const sentences = said as (Said & { code: string; text: string })[];
const codes = [...new Set(sentences.map(({ code }) => code))].sort();
/** The page has quotes of its own. */
const straight = (text: string) => text.replace(/[“”„]/g, '"').replace(/’/g, "'");

beforeEach(() => {
  vi.stubEnv('TZ', 'UTC');
  vi.stubGlobal('document', { documentElement: {} });
});
afterEach(async () => {
  await language.choose('en');
  vi.unstubAllGlobals();
  vi.unstubAllEnvs();
});

describe('what the host says', () => {
  it.each([
    ['en', en],
    ['de', de],
  ])('has its words in %s, and nothing has that it does not say', (_, words) => {
    expect(Object.keys(words.told).sort()).toEqual(codes);
  });

  it('is on an English page what the host has', () => {
    for (const sentence of sentences) expect(straight(hostWords({ ...sentence, text: '' }))).toBe(straight(sentence.text));
  });

  it('is said on a German page in German, with all that is in it', async () => {
    await language.choose('de');
    for (const sentence of sentences) {
      const text = hostWords(sentence);
      expect(straight(text)).not.toBe(straight(sentence.text));
      expect(text).not.toMatch(/undefined|null|NaN/);
      // A mode or a model is named in German, a time and a size as the page writes them.
      const { what, at, ...values } = sentence.args ?? {};
      for (const [name, value] of Object.entries(values)) if (!name.endsWith('bytes')) expect(text).toContain(String(value));
      if (at) expect(text).toContain('14:31:52');
    }
  });

  it('stays as it is where the page does not know it, or not what is in it', async () => {
    await language.choose('de');
    expect(hostWords({ text: 'Of a newer host.', code: 'later', args: { n: 1 } })).toBe('Of a newer host.');
    expect(hostWords({ text: 'constructor', code: 'constructor' })).toBe('constructor');
    expect(hostWords({ text: 'Host restarted at 09:09:51.', code: 'host_restarted' })).toBe('Host restarted at 09:09:51.');
    expect(hostWords({ text: 'The agent has summed up its context.', code: 'compacted' })).toBe('Der Agent hat seinen Kontext zusammengefasst.');
    expect(hostWords({ text: 'rewound', code: 'agent' })).toBe('rewound');
    expect(hostWords({ text: 'No code.' })).toBe('No code.');
  });
});

import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { FoundFile } from '../lib/types';
import { Suggest } from './suggest.svelte';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

it('offers of the files that are there only those that fit the letters by now', async () => {
  const answers: Record<string, (files: FoundFile[]) => void> = {};
  const suggest = new Suggest(
    () => ({ agent: [], own: [] }),
    (query) => new Promise((done) => (answers[query] = done)),
  );
  const type = async (text: string) => {
    suggest.look(text, text.length);
    await vi.advanceTimersByTimeAsync(100);
  };
  const names = () => suggest.rows.map((row) => row.name);
  await type('see @r');
  answers.r!([{ path: 'README.md' }, { path: 'internal/retry.go' }] as FoundFile[]);
  await vi.advanceTimersByTimeAsync(0);
  expect(names()).toEqual(['README.md', 'retry.go']);
  // Nobody may take by the first letters what the others rule out.
  await type('see @rtry');
  expect(names()).toEqual(['retry.go']);
  answers.rtry!([{ path: 'a/b/rtry.ts' }, { path: 'internal/retry.go' }] as FoundFile[]);
  await vi.advanceTimersByTimeAsync(0);
  expect(names()).toEqual(['rtry.ts', 'retry.go']);
});

import { afterEach, expect, it, vi } from 'vitest';
import { changeSeen, Problem, problem } from './api';

afterEach(() => vi.unstubAllGlobals());

it('reads a refusal, and what is none', () => {
  const refused = problem(409, '{"code":"run_not_current","title":"It is over","detail":"Send it.","item":"i"}');
  expect([refused.code, refused.title, refused.detail, refused.body.item]).toEqual(['run_not_current', 'It is over', 'Send it.', 'i']);
  for (const body of ['<html>', '', 'null', '"a"']) {
    const foreign = problem(502, body, 'Bad Gateway');
    expect([foreign.code, foreign.title, foreign.detail]).toEqual(['http_502', 'Bad Gateway', '']);
  }
});

it('changes what others change too, as long as the change fits', async () => {
  const asked: string[] = [];
  vi.stubGlobal('fetch', async (_: string, init: RequestInit) => {
    const version = new Headers(init.headers).get('If-Match')!;
    asked.push(version);
    return version === '"3"' ? Response.json({ version: 4 }) : Response.json({ code: 'version_conflict' }, { status: 412 });
  });
  const versions = [2, 3];
  const again = async () => ({ version: versions.shift()! });
  expect(await changeSeen('/x', {}, { version: 1 }, again, () => true)).toEqual({ version: 4 });
  expect(asked).toEqual(['"1"', '"2"', '"3"']);
  // What does not fit any more, is gone, or changes for ever is the person's to decide.
  await expect(changeSeen('/x', {}, { version: 1 }, async () => ({ version: 3 }), () => false)).rejects.toBeInstanceOf(Problem);
  await expect(changeSeen('/x', {}, { version: 1 }, async () => undefined, () => true)).rejects.toBeInstanceOf(Problem);
  asked.length = 0;
  await expect(changeSeen('/x', {}, { version: 1 }, async () => ({ version: 9 }), () => true)).rejects.toBeInstanceOf(Problem);
  expect(asked.length).toBe(4);
});

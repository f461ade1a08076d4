import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { storageIn } from '../lib/storage.stub';
import type { Item, ItemsPage, LogEvent } from '../lib/types';
import { OpenSession } from './session.svelte';

/** The session's events on the host, each of which makes an item, and what the page asked for. */
let log: LogEvent[];
let asked: string[];
let store: Map<string, string>;
/** Holds the answers back until it is called. */
let answer: (() => void) | null;

const say = (n: number, from = log.length + 1): LogEvent[] => {
  const events = Array.from({ length: n }, (_, i) => ({ id: 10 * (from + i), session: 's', seq: from + i, run: '', at: '2026-11-24T12:00:00.000Z', kind: 'message.user', body: { item: `i${from + i}`, text: `${from + i}` } }));
  log.push(...events);
  return events;
};
const itemOf = ({ seq, at }: LogEvent) => ({ id: `i${seq}`, session: 's', run: '', kind: 'user', seq, at, open: false, body: { text: `${seq}` } }) as Item;

function page(query: URLSearchParams): ItemsPage | null {
  const [limit, before, after] = ['limit', 'before', 'after'].map((key) => Number(query.get(key)));
  const around = query.get('around');
  const at = Number(around?.slice(1)) - 1;
  if (around && !(at < log.length)) return null;
  let [from, to] = [Math.max(0, log.length - limit!), log.length];
  if (before) [from, to] = [Math.max(0, before - 1 - limit!), before - 1];
  else if (after) [from, to] = [after, Math.min(log.length, after + limit!)];
  else if (around) [from, to] = [Math.max(0, at - limit! / 2), Math.min(log.length, at + limit! / 2)];
  return { items: log.slice(from, to).map(itemOf), runs: [], cursor: '', last_event: 10 * log.length, seq: log.length, more: from > 0, newer: to < log.length };
}

beforeEach(() => {
  log = [];
  asked = [];
  store = new Map();
  answer = null;
  say(10_000);
  vi.stubGlobal('localStorage', storageIn(store));
  vi.stubGlobal('fetch', async (path: string) => {
    const url = new URL(path, 'http://host');
    if (url.pathname.endsWith('/events')) return Response.json({ events: [], last: log.length });
    asked.push(url.search);
    const found = page(url.searchParams);
    if (answer) await new Promise<void>((done) => (answer = done));
    return found ? Response.json(found) : Response.json({ code: 'not_found', title: 'Not found' }, { status: 404, headers: { 'Content-Type': 'application/problem+json' } });
  });
});
afterEach(() => vi.unstubAllGlobals());

const failures: unknown[] = [];
const open = async (target = '') => {
  const session = new OpenSession('s', (problem) => failures.push(problem), () => {}, target);
  await session.load();
  asked = [];
  return session;
};
const ends = ({ view: { items } }: OpenSession) => [items[0]?.seq, items.at(-1)?.seq];
const whole = ({ view: { items } }: OpenSession) => items.every((item, i) => i === 0 || item.seq === items[i - 1]!.seq + 1);

it('opens around the item that is asked for, or where the person was, and at the end without either', async () => {
  const far = await open('i2000');
  expect(ends(far)).toEqual([1950, 2049]);
  expect(far.view.ahead && far.hasOlder).toBe(true);
  far.keep({ item: 'e-run', near: 'i3000', top: -20 });
  expect(ends(await open())).toEqual([2950, 3049]);
  far.keep(null);
  const end = await open();
  expect(ends(end)).toEqual([9901, 10_000]);
  expect(end.view.ahead).toBe(false);
  // What is not there any more is no reason to show nothing.
  expect(ends(await open('i99999'))).toEqual([9901, 10_000]);
  expect(failures).toEqual([]);
});

it('reads on both ways, keeps a range without a gap, and lets go of what is far', async () => {
  const session = await open('i2000');
  for (let i = 0; i < 20; i++) {
    await session.loadNewer();
    session.trimAround(false);
    expect(whole(session)).toBe(true);
  }
  expect(ends(session)[1]).toBe(4049);
  expect(session.view.items.length).toBeLessThan(1200);
  for (let i = 0; i < 30; i++) {
    await session.loadOlder();
    session.trimAround(true);
    expect(whole(session)).toBe(true);
  }
  expect(session.view.items.length).toBeLessThan(1200);
  expect(ends(session)[0]).toBeLessThan(1000);
  expect(session.view.ahead).toBe(true);
});

it('joins the end without losing or doubling what comes on the way', async () => {
  const session = await open('i9900');
  expect(session.view.ahead).toBe(true);
  answer = () => {};
  const loading = session.loadNewer();
  // The page has what the stream brings only later, and the stream brings more than the page has.
  await Promise.resolve();
  answer();
  answer = null;
  await loading;
  expect(session.view.ahead).toBe(false);
  session.apply(say(1));
  expect(ends(session)[1]).toBe(10_001);

  const again = await open('i9950');
  const early = say(2);
  const reading = again.loadNewer();
  await vi.waitFor(() => expect(asked).toHaveLength(1));
  await new Promise((done) => setTimeout(done, 5));
  expect(again.view.ahead).toBe(true);
  again.apply([...early, ...say(3)]);
  await reading;
  expect(again.view.ahead).toBe(false);
  expect(ends(again)[1]).toBe(10_006);
  expect(whole(again)).toBe(true);
});

it('goes to the end by one page, and counts what was finished meanwhile', async () => {
  const session = await open('i2000');
  const before = session.view.finished;
  session.apply(say(7));
  expect(ends(session)).toEqual([1950, 2049]);
  expect(session.view.finished - before).toBe(7);
  expect(await session.finishedAfter(10_000)).toBe(7);
  asked = [];
  expect(await session.toEnd()).toBe(true);
  expect(asked).toEqual(['?limit=100']);
  expect(ends(session)).toEqual([9908, 10_007]);
  expect(session.view.finished - before).toBe(7);
  expect(await session.reach('i99999')).toBe(false);
  expect(ends(session)).toEqual([9908, 10_007]);
});

it('reads the place again after events were missed, not the end', async () => {
  const session = await open('i2000');
  session.keep({ item: 'i2010', top: 0 });
  say(5);
  session.apply(say(1));
  await vi.waitFor(() => expect(session.view.gap).toBe(false));
  expect(ends(session)).toEqual([1960, 2059]);
  expect(session.view.seq).toBe(10_006);
});

it('keeps the last event that was shown: of the snapshot, of the stream, or where who reads back left the end', async () => {
  const seen = () => JSON.parse(store.get('holdfast.seen.s')!) as { seq: number; event: number };
  (await open()).close();
  expect(seen()).toMatchObject({ seq: 10_000, event: 100_000 });
  const session = await open();
  session.apply(say(1));
  session.markSeen();
  expect(seen()).toMatchObject({ seq: 10_001, event: 100_010 });
  session.readTo = { seq: session.view.seq, event: session.view.event };
  session.apply(say(3));
  session.close();
  expect(seen()).toMatchObject({ seq: 10_001, event: 100_010 });
});

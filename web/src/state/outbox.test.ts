import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { storageIn } from '../lib/storage.stub';
import { Outbox } from './outbox.svelte';

/** What the browser keeps, for all of its tabs. */
let store: Map<string, string>;
/** What the host was sent, and how it answers. */
let sent: { path?: string; client_id: string; text: string; run?: string; attachments?: string[] }[];
let answer: () => Promise<Response> | Response;

beforeEach(() => {
  vi.useFakeTimers();
  store = new Map();
  sent = [];
  answer = () => new Response('{}', { status: 202 });
  vi.stubGlobal('localStorage', storageIn(store));
  vi.stubGlobal('fetch', async (path: string, init: RequestInit) => {
    sent.push({ path, ...(JSON.parse(String(init.body)) as { client_id: string; text: string }) });
    return answer();
  });
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const outbox = () => new Outbox(() => {}, () => {});
const settle = () => vi.advanceTimersByTimeAsync(0);
const away = () => Promise.reject(new TypeError('refused'));

it('sends a message with its files, and forgets it once the log has it', async () => {
  const box = outbox();
  box.send('s1', { text: 'hello', files: [{ id: 'f1', name: 'a.png', type: 'image/png', size: 3 }] });
  await settle();
  expect(sent).toMatchObject([{ text: 'hello', attachments: ['f1'] }]);
  expect(box.entries[0]!.state).toBe('sent');
  expect(store.size).toBe(0);
  box.arrived([sent[0]!.client_id]);
  expect(box.entries).toEqual([]);
});

it('keeps what no host answers through a reload, and sends it under the same id', async () => {
  answer = away;
  const before = outbox();
  before.send('s1', { text: 'one', files: [{ id: 'f1', name: 'a', type: 'text/plain', size: 1 }] });
  before.send('s1', { text: 'two' });
  await settle();
  expect(sent).toHaveLength(1);
  const first = sent[0]!.client_id;

  answer = () => new Response('{}', { status: 202 });
  sent = [];
  const after = outbox();
  expect(after.of('s1').map((each) => each.text)).toEqual(['one', 'two']);
  after.kick(true);
  await vi.advanceTimersByTimeAsync(10);
  expect(sent.map((each) => each.text)).toEqual(['one', 'two']);
  expect(sent[0]).toMatchObject({ client_id: first, attachments: ['f1'] });
});

it('does not send what another tab has sent or taken back', async () => {
  answer = away;
  const mine = outbox();
  mine.send('s1', { text: 'kept' });
  await settle();
  const theirs = outbox();
  theirs.discard(theirs.entries[0]!.client_id);
  answer = () => new Response('{}', { status: 202 });
  sent = [];
  mine.kick(true);
  await settle();
  expect(sent).toEqual([]);
  expect(mine.entries).toEqual([]);
});

it('sends also where the browser keeps nothing', async () => {
  vi.stubGlobal('localStorage', {
    get length(): number {
      throw new Error('blocked');
    },
    getItem: () => {
      throw new Error('blocked');
    },
    setItem: () => {
      throw new Error('blocked');
    },
    removeItem: () => {
      throw new Error('blocked');
    },
  });
  const box = outbox();
  box.send('s1', { text: 'hello' });
  await settle();
  expect(sent).toMatchObject([{ text: 'hello' }]);
});

it('leaves to a person what the host refuses, and tries the rest again by itself', async () => {
  answer = () => new Response('{"code":"invalid_request","title":"No","detail":"too long"}', { status: 400 });
  const box = outbox();
  box.send('s1', { text: 'hello' });
  await settle();
  expect(box.entries[0]).toMatchObject({ state: 'failed', problem: { detail: 'too long' } });
  answer = () => new Response('{}', { status: 503 });
  box.retry(box.entries[0]!.client_id);
  await settle();
  expect(box.entries[0]!.state).toBe('waiting');
  answer = () => new Response('{}', { status: 202 });
  await vi.advanceTimersByTimeAsync(5_000);
  expect(box.entries[0]!.state).toBe('sent');
});

it('says something into a run, and sends it as a message where the run is over, also after a reload', async () => {
  answer = away;
  outbox().send('s1', { text: 'be brief' }, 'r1');
  await settle();
  const refused = () => new Response('{"code":"run_not_current","title":"No","detail":"it has ended"}', { status: 409 });
  answer = () => (sent.at(-1)!.path!.endsWith('/steer') ? refused() : new Response('{}', { status: 202 }));
  const box = outbox();
  box.kick(true);
  await settle();
  expect(sent.slice(1).map(({ path, run, text }) => [path!.split('/').at(-1), run, text])).toEqual([
    ['steer', 'r1', 'be brief'],
    ['messages', undefined, 'be brief'],
  ]);
  expect(new Set(sent.map((each) => each.client_id)).size).toBe(1);
  expect(box.entries[0]).toMatchObject({ state: 'sent' });
});

it('does not keep from the run what is for it behind a message that does not go', async () => {
  answer = () => (sent.at(-1)!.path!.endsWith('/steer') ? new Response('{}', { status: 202 }) : new Response('{"code":"x","title":"No","detail":"too long"}', { status: 400 }));
  const box = outbox();
  box.send('s1', { text: 'too long' });
  await settle();
  box.send('s1', { text: 'after it' });
  box.send('s1', { text: 'be brief' }, 'r1');
  await settle();
  expect(sent.map((each) => each.text)).toEqual(['too long', 'be brief']);
});

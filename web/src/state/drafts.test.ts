import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { storageIn } from '../lib/storage.stub';
import { Drafts } from './drafts.svelte';
import { Outbox } from './outbox.svelte';

/** What the browser keeps, for all of its tabs and for the next life of a page. */
let store: Map<string, string>;
/** The uploads that wait for an answer. */
let uploads: Request[];
let sent: { text: string; attachments?: string[] }[];

class Request {
  status = 0;
  responseText = '';
  upload = {};
  aborted = false;
  onload = () => {};
  onerror = () => {};
  open() {}
  setRequestHeader() {}
  send(form: FormData) {
    this.name = (form.get('file') as File).name;
    uploads.push(this);
  }
  name = '';
  abort() {
    this.aborted = true;
  }
  answer(status: number, doc: object) {
    this.status = status;
    this.responseText = JSON.stringify(doc);
    this.onload();
  }
  store() {
    this.answer(201, { id: `id-${this.name}`, name: this.name, type: 'text/plain', size: 1 });
  }
}

beforeEach(() => {
  vi.useFakeTimers();
  store = new Map();
  uploads = [];
  sent = [];
  vi.stubGlobal('localStorage', storageIn(store));
  vi.stubGlobal('XMLHttpRequest', Request);
  vi.stubGlobal('fetch', async (_: string, init: RequestInit) => {
    sent.push(JSON.parse(String(init.body)));
    return new Response('{}', { status: 202 });
  });
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

/** A life of the page. */
function page() {
  const drafts = new Drafts(() => {});
  const outbox = new Outbox(
    () => {},
    (session, text, files) => drafts.of(session).giveBack(text, files),
  );
  return { drafts, outbox };
}
const file = (name: string) => new File(['x'], name);
const settle = () => vi.advanceTimersByTimeAsync(0);
const names = (drafts: Drafts, key: string) => drafts.of(key).uploads.entries.map((entry) => `${entry.name} ${entry.state}`);

it('keeps a draft with its files, and the name of one that is not there yet', () => {
  const { drafts } = page();
  const draft = drafts.of('s');
  draft.text = 'hello';
  draft.uploads.add([file('a'), file('b')]);
  uploads[0]!.store();
  const later = page().drafts.of('s');
  expect(later.text).toBe('hello');
  expect(names({ of: () => later } as unknown as Drafts, '')).toEqual(['a done', 'b failed']);
  expect(later.sendable).toBe(false);
  // It is said until a person has seen to it.
  expect(names(page().drafts, 's')).toEqual(['a done', 'b failed']);
  later.uploads.remove(later.uploads.entries[1]!.key);
  expect(later.sendable).toBe(true);
  expect(names(page().drafts, 's')).toEqual(['a done']);
});

it('does not keep the name of a file that was refused here', () => {
  const { drafts } = page();
  const large = file('large');
  Object.defineProperty(large, 'size', { value: 21 << 20 });
  drafts.of('s').uploads.add([large]);
  expect(names(drafts, 's')).toEqual(['large failed']);
  expect(drafts.of('s').sendable).toBe(false);
  expect(store.size).toBe(0);
});

it('keeps uploading for a session that nobody looks at', () => {
  const { drafts } = page();
  drafts.of('s').uploads.add([file('a')]);
  drafts.leave('s');
  expect(drafts.uploading).toBe(true);
  uploads[0]!.store();
  expect(drafts.uploading).toBe(false);
  expect(names(drafts, 's')).toEqual(['a done']);
});

it('sends a message when its last file is there, and nothing of its session before it', async () => {
  const { drafts, outbox } = page();
  const draft = drafts.of('s');
  draft.text = 'with files';
  draft.uploads.add([file('a'), file('b')]);
  outbox.send('s', draft.take());
  expect([draft.text, draft.empty]).toEqual(['', true]);
  outbox.send('s', { text: 'after' });
  outbox.send('other', { text: 'elsewhere' });
  await settle();
  expect(sent.map((each) => each.text)).toEqual(['elsewhere']);
  uploads[1]!.store();
  await settle();
  expect(sent).toHaveLength(1);
  uploads[0]!.store();
  await vi.advanceTimersByTimeAsync(10);
  expect(sent.slice(1)).toMatchObject([{ text: 'with files', attachments: ['id-a', 'id-b'] }, { text: 'after' }]);
});

it('tries again what no host has answered, once there is one', async () => {
  const { drafts, outbox } = page();
  drafts.of('s').uploads.add([file('a')]);
  outbox.send('s', drafts.of('s').take());
  uploads[0]!.onerror();
  expect(outbox.entries[0]!.uploads!.entries[0]!.state).toBe('waiting');
  outbox.kick(true);
  uploads[1]!.store();
  await settle();
  expect(sent).toMatchObject([{ attachments: ['id-a'] }]);
});

it('gives back a message whose files are not there, before what was written since', async () => {
  const { drafts, outbox } = page();
  const draft = drafts.of('s');
  draft.text = 'first';
  draft.uploads.add([file('a')]);
  outbox.send('s', draft.take());
  draft.text = 'second';
  draft.uploads.add([file('b')]);
  outbox.takeBack(outbox.entries[0]!.client_id);
  expect(outbox.entries).toEqual([]);
  expect(draft.text).toBe('first\n\nsecond');
  expect(names(drafts, 's')).toEqual(['a sending', 'b sending']);
  // What b had begun is begun anew with those it has joined.
  expect(uploads.map((each) => `${each.name} ${each.aborted}`)).toEqual(['a false', 'b true', 'b false']);
  uploads[0]!.store();
  uploads[2]!.store();
  outbox.send('s', draft.take());
  await settle();
  expect(sent).toMatchObject([{ text: 'first\n\nsecond', attachments: ['id-a', 'id-b'] }]);
});

it('forgets a message of files alone when the last one is removed', () => {
  const { drafts, outbox } = page();
  drafts.of('s').uploads.add([file('a')]);
  outbox.send('s', drafts.of('s').take());
  const { uploads: its } = outbox.entries[0]!;
  its!.remove(its!.entries[0]!.key);
  expect(outbox.entries).toEqual([]);
  expect(store.size).toBe(0);
});

it('makes a draft of it when the page goes', () => {
  const { drafts, outbox } = page();
  drafts.of('s').text = 'with a file';
  drafts.of('s').uploads.add([file('a')]);
  outbox.send('s', drafts.of('s').take());
  outbox.leave();
  const next = page();
  expect(next.outbox.entries).toEqual([]);
  expect(next.drafts.of('s').text).toBe('with a file');
  expect(names(next.drafts, 's')).toEqual(['a failed']);
});

it('leaves it to the page that has its files, and takes it over from one that was cut off', async () => {
  const mine = page();
  mine.drafts.of('s').text = 'with a file';
  mine.drafts.of('s').uploads.add([file('a')]);
  mine.outbox.send('s', mine.drafts.of('s').take());
  const other = page();
  await vi.advanceTimersByTimeAsync(110_000);
  expect(other.drafts.of('s').text).toBe('');
  expect(mine.outbox.entries).toHaveLength(1);

  // The first page says no more that it is there.
  mine.outbox.entries = [];
  await vi.advanceTimersByTimeAsync(300_000);
  expect(other.drafts.of('s').text).toBe('with a file');
  expect(names(other.drafts, 's')).toEqual(['a failed']);
  expect([...store.keys()].some((key) => key.includes('out.'))).toBe(false);
});

it('takes it over at once in the tab that had it, which crashed', () => {
  const tab = new Map<string, string>();
  vi.stubGlobal('sessionStorage', { getItem: (key: string) => tab.get(key) ?? null, setItem: (key: string, value: string) => void tab.set(key, value) });
  const before = page();
  before.drafts.of('s').text = 'with a file';
  before.drafts.of('s').uploads.add([file('a')]);
  before.outbox.send('s', before.drafts.of('s').take());
  expect(page().drafts.of('s').text).toBe('with a file');
});

it('lets go of a message that another page has taken over', async () => {
  const { drafts, outbox } = page();
  drafts.of('s').text = 'with a file';
  drafts.of('s').uploads.add([file('a')]);
  outbox.send('s', drafts.of('s').take());
  for (const key of [...store.keys()]) if (key.includes('out.')) store.delete(key);
  uploads[0]!.store();
  await settle();
  expect(sent).toEqual([]);
  expect(outbox.entries).toEqual([]);
});

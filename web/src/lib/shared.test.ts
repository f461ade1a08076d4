import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { SharedStream, type Means } from './shared';
import type { LogEvent } from './types';

/** A log, and the host's end of all streams to it. */
class Log {
  readonly events: LogEvent[] = [];
  generation = 'g';
  streams: { sessions: Set<string>; send(text: string): void; end(): void }[] = [];
  made = 0;
  down = false;

  constructor() {
    vi.stubGlobal('fetch', (url: string, init: RequestInit) => {
      if (this.down) return Promise.reject(new TypeError('refused'));
      this.made++;
      const query = new URL(url, 'http://h').searchParams;
      const [generation, after] = query.get('cursor')!.split('-') as [string, string];
      const sessions = new Set(query.getAll('session'));
      const body = new ReadableStream<Uint8Array>({
        start: (controller) => {
          const send = (text: string) => controller.enqueue(new TextEncoder().encode(text));
          const stream = {
            sessions,
            send,
            end: () => {
              this.streams = this.streams.filter((other) => other !== stream);
              try {
                controller.close();
              } catch {
                // It was aborted.
              }
            },
          };
          init.signal!.addEventListener('abort', () => {
            this.streams = this.streams.filter((other) => other !== stream);
            try {
              controller.error(new DOMException('aborted', 'AbortError'));
            } catch {
              // It was closed.
            }
          });
          this.streams.push(stream);
          if (generation !== this.generation) return send(`event: resync\nid: ${this.cursor}\ndata: {}\n\n`);
          for (const event of this.events.slice(Number(after))) if (wants(sessions, event)) send(this.frame(event));
          send(`event: ping\nid: ${this.cursor}\ndata: {}\n\n`);
        },
      });
      return Promise.resolve(new Response(body, { status: 200 }));
    });
  }

  get cursor(): string {
    return `${this.generation}-${this.events.length}`;
  }

  append(session: string, kind = 'notice'): void {
    const seq = this.events.filter((event) => event.session === session).length + 1;
    const event = { id: this.events.length + 1, session, seq, run: '', at: '', kind, body: {} } as LogEvent;
    this.events.push(event);
    for (const stream of this.streams) if (wants(stream.sessions, event)) stream.send(this.frame(event));
  }

  private frame(event: LogEvent): string {
    return `id: ${this.generation}-${event.id}\ndata: ${JSON.stringify(event)}\n\n`;
  }
}

const wants = (sessions: Set<string>, event: LogEvent) => event.session === '' || sessions.has(event.session) || event.kind.startsWith('session.');

/** Locks and channels as browsers have them, for tabs that may freeze and close. */
class Browser {
  private queues = new Map<string, { grant(): void; seize(): void }[]>();
  private held = new Map<string, () => void>();
  tabs: Tab[] = [];

  request(tab: Tab, name: string, options: { steal?: boolean; signal?: AbortSignal }, run: () => unknown): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const queue = this.queues.get(name) ?? [];
      this.queues.set(name, queue);
      const entry = {
        grant: () => {
          const release = () => {
            if (this.held.get(name) !== seize) return;
            this.held.delete(name);
            queue.shift()?.grant();
          };
          const seize = () => {
            this.held.delete(name);
            reject(new DOMException('stolen', 'AbortError'));
          };
          this.held.set(name, seize);
          tab.locks.push(release);
          void Promise.resolve(run()).then(() => {
            release();
            resolve(undefined);
          });
        },
        seize: () => {},
      };
      options.signal?.addEventListener('abort', () => {
        const i = queue.indexOf(entry);
        if (i >= 0) queue.splice(i, 1);
        reject(new DOMException('aborted', 'AbortError'));
      });
      if (options.steal) this.held.get(name)?.();
      if (this.held.has(name)) queue.push(entry);
      else entry.grant();
    });
  }

  open(cursor: string, ...sessions: string[]): Tab {
    const tab = new Tab(this);
    this.tabs.push(tab);
    tab.stream.start(cursor, sessions);
    return tab;
  }
}

class Tab {
  readonly locks: (() => void)[] = [];
  readonly calls: string[] = [];
  readonly got: LogEvent[] = [];
  frozen = false;
  visible = true;
  private missed: unknown[] = [];
  private unsaid: unknown[] = [];
  private channel: NonNullable<Means['channel']>;
  stream: SharedStream;

  constructor(private readonly browser: Browser) {
    this.channel = {
      onmessage: null,
      close: () => {},
      postMessage: (data: unknown) => {
        if (this.frozen) return void this.unsaid.push(data);
        for (const other of browser.tabs) if (other !== this) setTimeout(() => other.receive(structuredClone(data)), 1);
      },
    };
    this.stream = new SharedStream(
      {
        event: (event) => this.got.push(event),
        resync: () => this.calls.push('resync'),
        open: () => this.calls.push('open'),
        lost: () => this.calls.push('lost'),
        unauthorized: () => this.calls.push('out'),
      },
      {
        name: 'n',
        visible: () => this.visible,
        channel: this.channel,
        locks: {
          request: ((name: string, ...rest: unknown[]) =>
            browser.request(this, name, rest.length > 1 ? (rest[0] as object) : {}, rest.at(-1) as () => unknown)) as LockManager['request'],
        },
      },
    );
  }

  receive(data: unknown): void {
    if (this.frozen) this.missed.push(data);
    else this.channel.onmessage?.({ data } as MessageEvent);
  }

  thaw(): void {
    this.frozen = false;
    for (const data of this.missed.splice(0)) this.receive(data);
    for (const data of this.unsaid.splice(0)) this.channel.postMessage(data);
  }

  /** As a browser does: without a word, and its connections end. */
  close(): void {
    this.browser.tabs = this.browser.tabs.filter((other) => other !== this);
    this.frozen = true;
    this.stream.stop();
    for (const release of this.locks) release();
  }

  ids(session: string): number[] {
    return this.got.filter((event) => event.session === session).map((event) => event.seq);
  }
}

const settle = () => vi.advanceTimersByTimeAsync(50);
const upTo = (n: number) => Array.from({ length: n }, (_, i) => i + 1);

describe('SharedStream', () => {
  let log: Log;
  let browser: Browser;

  beforeEach(() => {
    vi.useFakeTimers();
    log = new Log();
    browser = new Browser();
  });

  afterEach(() => {
    for (const tab of [...browser.tabs]) tab.stream.stop();
    vi.useRealTimers();
    vi.unstubAllGlobals();
  });

  it('serves eight tabs by one connection, each with what it wants', async () => {
    const tabs = upTo(8).map((n) => browser.open(log.cursor, `s${n % 3}`));
    await settle();
    for (const s of ['s0', 's1', 's2', 's1', 'other']) log.append(s);
    log.append('other', 'session.changed');
    log.append('', 'project.changed');
    await settle();
    expect(log.streams.length).toBe(1);
    expect(tabs[0]!.ids('s1')).toEqual([1, 2]);
    expect(tabs[1]!.ids('s2')).toEqual([1]);
    expect(tabs[2]!.ids('s0')).toEqual([1]);
    for (const tab of tabs) {
      expect(tab.ids('other')).toEqual([2]);
      expect(tab.ids('')).toEqual([1]);
      expect(tab.calls).toContain('open');
    }
  });

  it('loses and doubles nothing when the leader closes in the middle', async () => {
    const tabs = upTo(4).map(() => browser.open(log.cursor, 's'));
    for (let i = 0; i < 40; i++) {
      log.append('s');
      log.append('x', 'session.changed');
      if (i % 10 === 5) tabs.shift()!.close();
      await vi.advanceTimersByTimeAsync(i % 7);
      if (i % 10 === 8) tabs.push(browser.open('g-0', 's'));
    }
    await settle();
    expect(log.streams.length).toBe(1);
    for (const tab of tabs) {
      expect(tab.ids('s')).toEqual(upTo(40));
      expect(tab.ids('x')).toEqual(upTo(40));
    }
  });

  it('brings a tab that comes late what happened since its list was read', async () => {
    browser.open(log.cursor, 's');
    await settle();
    const cursor = log.cursor;
    log.append('s');
    log.append('t');
    log.append('s', 'session.changed');
    await settle();
    const late = browser.open(cursor, 't');
    log.append('t');
    await settle();
    expect(late.ids('t')).toEqual([1, 2]);
    expect(late.ids('s')).toEqual([2]);
  });

  it('follows another session from the place that the tab has reached', async () => {
    const [, other] = [browser.open(log.cursor, 'a'), browser.open(log.cursor, 'b')];
    await settle();
    log.append('c');
    await settle();
    other.stream.follow(['c']);
    for (let i = 0; i < 5; i++) log.append('c');
    await settle();
    log.append('c');
    await settle();
    expect(other.ids('c').slice(-6)).toEqual([2, 3, 4, 5, 6, 7]);
    expect(log.streams.length).toBe(1);
  });

  it('overrules a leader that is frozen, which is one of the others when it wakes', async () => {
    const leader = browser.open(log.cursor, 's');
    const other = browser.open(log.cursor, 's');
    const hidden = browser.open(log.cursor, 's');
    hidden.visible = false;
    await settle();
    leader.frozen = true;
    leader.visible = false;
    log.append('s');
    await vi.advanceTimersByTimeAsync(60_000);
    log.append('s');
    await settle();
    expect(other.ids('s')).toEqual([1, 2]);
    expect(hidden.ids('s')).toEqual([1, 2]);
    leader.thaw();
    await settle();
    log.append('s');
    await settle();
    expect(leader.ids('s')).toEqual([1, 2, 3]);
    expect(log.streams.length).toBe(1);
  });

  it('gives the lead away with pause, and goes on where it was', async () => {
    const first = browser.open(log.cursor, 's');
    const second = browser.open(log.cursor, 't');
    await settle();
    first.stream.pause();
    await settle();
    expect(log.streams.map((stream) => [...stream.sessions])).toEqual([['t']]);
    log.append('s');
    log.append('t');
    await settle();
    expect(second.ids('t')).toEqual([1]);
    expect(first.ids('s')).toEqual([]);
    first.stream.resume();
    await settle();
    expect(first.ids('s')).toEqual([1]);
    second.stream.pause();
    first.stream.pause();
    await settle();
    expect(log.streams.length).toBe(0);
  });

  it('tells all tabs of an outage, a resync and the end of the login', async () => {
    const tabs = [browser.open(log.cursor, 's'), browser.open(log.cursor, 's')];
    await settle();
    log.down = true;
    log.streams[0]!.end();
    await vi.advanceTimersByTimeAsync(500);
    for (const tab of tabs) expect(tab.calls.at(-1)).toBe('lost');
    const late = browser.open(log.cursor, 's');
    await settle();
    expect(late.calls[0]).toBe('lost');
    log.down = false;
    log.generation = 'h';
    await vi.advanceTimersByTimeAsync(10_000);
    for (const tab of [...tabs, late]) expect(tab.calls.at(-1)).toBe('resync');
    for (const tab of [...tabs, late]) tab.stream.start(log.cursor, ['s']);
    log.append('s');
    await settle();
    for (const tab of [...tabs, late]) expect(tab.ids('s')).toEqual([1]);
    expect(log.streams.length).toBe(1);
  });

  it('leads alone where there are no locks', async () => {
    const got: number[] = [];
    const stream = new SharedStream(
      { event: (event) => got.push(event.id), resync: () => {}, open: () => {}, lost: () => {}, unauthorized: () => {} },
      { name: 'n', visible: () => true },
    );
    stream.start(log.cursor, ['s']);
    await settle();
    log.append('s');
    await settle();
    expect(got).toEqual([1]);
    stream.stop();
    await settle();
    expect(log.streams.length).toBe(0);
  });
});

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Stream, type StreamListener } from './stream';
import type { LogEvent } from './types';

/** A host that answers each connection as the test says. */
class FakeHost {
  readonly urls: string[] = [];
  private answers: ((signal: AbortSignal) => Response | Promise<Response>)[] = [];
  private open: ReadableStreamDefaultController<Uint8Array> | null = null;

  constructor() {
    vi.stubGlobal('fetch', (url: string, init: RequestInit) => {
      this.urls.push(url);
      const answer = this.answers.shift();
      return answer ? Promise.resolve(answer(init.signal!)) : Promise.reject(new TypeError('refused'));
    });
  }

  stream(): this {
    this.answers.push((signal) => {
      const body = new ReadableStream<Uint8Array>({
        start: (controller) => {
          this.open = controller;
          signal.addEventListener('abort', () => {
            try {
              controller.error(new DOMException('aborted', 'AbortError'));
            } catch {
              // It was closed already.
            }
          });
        },
      });
      return new Response(body, { status: 200 });
    });
    return this;
  }

  refuse(status: number, headers: Record<string, string> = {}, more: object = {}): this {
    this.answers.push(() => new Response(JSON.stringify({ title: 'no', status, code: 'x', ...more }), { status, headers }));
    return this;
  }

  hang(): this {
    this.answers.push(
      (signal) => new Promise((_, reject) => signal.addEventListener('abort', () => reject(new DOMException('aborted', 'AbortError')))),
    );
    return this;
  }

  async write(text: string): Promise<void> {
    this.open!.enqueue(new TextEncoder().encode(text));
    await settle();
  }

  async close(): Promise<void> {
    this.open!.close();
    await settle();
  }
}

const settle = () => vi.advanceTimersByTimeAsync(0);
const frame = (id: number) =>
  `id: g-${id}\ndata: ${JSON.stringify({ id, session: 's', seq: id, run: '', at: '', kind: 'notice', body: {} })}\n\n`;

describe('Stream', () => {
  let events: LogEvent[];
  let calls: string[];
  let listener: StreamListener;
  let host: FakeHost;
  let stream: Stream;

  beforeEach(() => {
    vi.useFakeTimers();
    events = [];
    calls = [];
    listener = {
      took: (came) => events.push(...came),
      resync: () => calls.push('resync'),
      open: () => calls.push('open'),
      lost: () => calls.push('lost'),
      unauthorized: () => calls.push('unauthorized'),
    };
    host = new FakeHost();
    stream = new Stream(listener);
  });

  afterEach(() => {
    stream.stop();
    vi.useRealTimers();
    vi.unstubAllGlobals();
  });

  it('goes on from the last cursor, a heartbeat’s too', async () => {
    host.stream().stream();
    stream.start('g-0', ['s']);
    await settle();
    expect(host.urls[0]).toBe('/api/v1/stream?session=s&cursor=g-0');
    await host.write(frame(1) + frame(2) + 'event: ping\nid: g-7\ndata: {}\n\n');
    expect(events.map((event) => event.id)).toEqual([1, 2]);
    await host.close();
    await vi.advanceTimersByTimeAsync(1000);
    expect(host.urls[1]).toBe('/api/v1/stream?session=s&cursor=g-7');
    expect(calls).toEqual(['open', 'open']);
  });

  it('comes back at once, and without a word, to a host that replaced itself', async () => {
    host.stream().stream();
    stream.start('g-1', []);
    await settle();
    calls.length = 0;
    await host.close();
    await vi.advanceTimersByTimeAsync(60);
    expect(host.urls).toHaveLength(2);
    expect(calls).toEqual(['open']);
    // One that ends in order and is not there again is told of.
    await host.close();
    await vi.advanceTimersByTimeAsync(60);
    expect(calls).toEqual(['open', 'lost']);
  });

  it('backs off, and tries at once when it is nudged', async () => {
    stream.start('g-0', []);
    await vi.advanceTimersByTimeAsync(30_000);
    const tries = host.urls.length;
    expect(tries).toBeGreaterThan(5);
    expect(tries).toBeLessThan(16);
    host.stream();
    stream.nudge();
    await settle();
    expect(calls.at(-1)).toBe('open');
    const before = host.urls.length;
    stream.nudge();
    await settle();
    expect(host.urls.length).toBe(before);
  });

  it('waits as long as it is told to', async () => {
    host.refuse(503, { 'Retry-After': '20' }).stream();
    stream.start('g-0', []);
    await vi.advanceTimersByTimeAsync(19_000);
    expect(host.urls).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(2_000);
    expect(calls).toEqual(['lost', 'open']);
  });

  it('follows other sessions from where it is, and drops what the old connection still says', async () => {
    host.stream().stream();
    stream.start('g-0', []);
    await settle();
    await host.write(frame(1));
    stream.follow(['s']);
    await settle();
    expect(host.urls[1]).toBe('/api/v1/stream?session=s&cursor=g-1');
    expect(calls).toEqual(['open', 'open']);
  });

  it('asks for the snapshots after a resync and waits for them', async () => {
    host.stream();
    stream.start('g-0', []);
    await settle();
    await host.write('event: resync\nid: h-1\ndata: {}\n\n' + frame(5));
    await vi.advanceTimersByTimeAsync(10_000);
    expect(calls).toEqual(['open', 'resync']);
    expect(events).toEqual([]);
    expect(host.urls).toHaveLength(1);
  });

  it('stops at 401', async () => {
    host.refuse(401);
    stream.start('g-0', []);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(calls).toEqual(['unauthorized']);
    expect(host.urls).toHaveLength(1);
  });

  it('goes on without a session that is gone', async () => {
    host.refuse(404).stream();
    stream.start('g-0', ['gone']);
    await settle();
    expect(host.urls).toEqual(['/api/v1/stream?session=gone&cursor=g-0', '/api/v1/stream?cursor=g-0']);
    expect(calls).toEqual(['open']);
  });

  it('keeps the sessions that are there beside one that is gone', async () => {
    host.refuse(404, {}, { session: 'gone' }).stream();
    stream.start('g-0', ['a', 'gone', 'b']);
    await settle();
    expect(host.urls[1]).toBe('/api/v1/stream?session=a&session=b&cursor=g-0');
  });

  it('does not wait for a host that takes connections and answers none', async () => {
    host.hang().stream();
    stream.start('g-0', []);
    await vi.advanceTimersByTimeAsync(7_000);
    expect(calls).toEqual([]);
    await vi.advanceTimersByTimeAsync(2_000);
    expect(calls).toEqual(['lost', 'open']);
  });

  it('takes silence for a dead connection', async () => {
    host.stream().stream();
    stream.start('g-0', []);
    await settle();
    await vi.advanceTimersByTimeAsync(30_000);
    await host.write(': beat\n\n');
    await vi.advanceTimersByTimeAsync(30_000);
    expect(host.urls).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(12_000);
    expect(calls.slice(0, 3)).toEqual(['open', 'lost', 'open']);
  });

  it('gives the connection back while nobody looks, without a word, and keeps the place', async () => {
    host.stream().stream();
    stream.start('g-0', []);
    await settle();
    await host.write(frame(3));
    stream.pause();
    stream.nudge();
    stream.follow(['s']);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(host.urls).toHaveLength(1);
    stream.resume();
    await settle();
    expect(host.urls[1]).toBe('/api/v1/stream?session=s&cursor=g-3');
    expect(calls).toEqual(['open', 'open']);
  });
});

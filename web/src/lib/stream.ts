// One connection to the event stream: connects, follows the cursor, reconnects by itself. It knows no events: what comes
// goes to its listener in the order of the log. The page does not use it directly: SharedStream shares one among tabs.

import { base } from './base';
import { t } from '../i18n/index.svelte';
import { Problem, problemOf } from './api';
import { SSEParser } from './sse';
import type { LogEvent } from './types';

export interface StreamListener {
  /** What came in one piece, in the order of the log, and the cursor after it; a heartbeat brings a cursor only. */
  took(events: LogEvent[], cursor: string): void;
  /** The log does not know the cursor: read the snapshots again, then restart() with their cursor. */
  resync(): void;
  open(): void;
  /** The connection is gone; retryAt is when the next attempt begins, in the clock of Date.now(). */
  lost(retryAt: number, problem: Problem | null): void;
  unauthorized(): void;
}

/** Heartbeats come every 15 s or so; after this long without a byte the connection is taken for dead. */
const SILENCE = 40_000;
/** A host that takes the connection and does not begin to answer in this time is taken for dead sooner. */
const ANSWER = 8_000;
const FIRST_DELAY = 400;
/** A host that ended the stream in order is back at once: it replaced itself. */
const SOON = 50;
const MAX_DELAY = 6_000;

export class Stream {
  cursor = '';
  /** When the last byte came, in the clock of Date.now(). */
  lastByte = 0;
  private sessions: string[] = [];
  private abort: AbortController | null = null;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private failures = 0;
  private stopped = true;
  private opened = false;
  private paused = false;

  constructor(private readonly listener: StreamListener) {}

  /** Events come: the host has begun to answer, and the connection is not known to be dead. */
  get healthy(): boolean {
    return this.opened;
  }

  /** The sessions that this connection was made for. */
  get followed(): readonly string[] {
    return this.sessions;
  }

  get running(): boolean {
    return !this.stopped;
  }

  start(cursor: string, sessions: string[]): void {
    this.cursor = cursor;
    this.sessions = sessions;
    this.stopped = false;
    this.connect();
  }

  /** Follow these sessions from the cursor that this stream has reached. */
  follow(sessions: string[]): void {
    if (sessions.join() === this.sessions.join()) return;
    this.sessions = sessions;
    if (!this.stopped && !this.paused) this.connect();
  }

  /** Try now, whatever the back-off says; a connection that works is left alone. */
  nudge(): void {
    if (this.stopped || this.paused) return;
    if (this.opened && Date.now() - this.lastByte < SILENCE / 2) return;
    this.failures = 0;
    this.connect();
  }

  /** Gives the connection back and keeps the place. */
  pause(): void {
    if (this.stopped) return;
    this.paused = true;
    this.opened = false;
    clearTimeout(this.timer);
    this.abort?.abort();
    this.abort = null;
  }

  /** Goes on from the place where pause() left, or tries now. */
  resume(): void {
    const was = this.paused;
    this.paused = false;
    if (was && !this.stopped) this.connect();
    else this.nudge();
  }

  stop(): void {
    this.stopped = true;
    this.opened = false;
    clearTimeout(this.timer);
    this.abort?.abort();
    this.abort = null;
  }

  private connect(): void {
    clearTimeout(this.timer);
    this.abort?.abort();
    const abort = new AbortController();
    this.abort = abort;
    this.opened = false;
    void this.read(abort).then(
      () => this.ended(abort, null, true),
      (error: unknown) => this.ended(abort, error instanceof Problem ? error : null),
    );
  }

  private async read(abort: AbortController): Promise<void> {
    const query = new URLSearchParams();
    for (const id of this.sessions) query.append('session', id);
    if (this.cursor) query.set('cursor', this.cursor);
    let watch: ReturnType<typeof setTimeout> | undefined;
    const alive = () => {
      this.lastByte = Date.now();
      clearTimeout(watch);
      watch = setTimeout(() => abort.abort(), SILENCE);
    };
    watch = setTimeout(() => abort.abort(), ANSWER);
    try {
      const response = await fetch(`${base}/api/v1/stream?${query}`, {
        headers: { Accept: 'text/event-stream' },
        credentials: 'same-origin',
        cache: 'no-store',
        signal: abort.signal,
      });
      if (!response.ok) throw await problemOf(response);
      if (!response.body) throw new Problem(0, 'no_stream', t.problem.noStream, '');
      if (abort !== this.abort) return;
      alive();
      this.opened = true;
      this.failures = 0;
      this.listener.open();
      const parser = new SSEParser(this.cursor);
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        alive();
        // A newer connection may have taken over between two pieces.
        if (abort !== this.abort) return;
        const events: LogEvent[] = [];
        let resync = false;
        for (const message of parser.push(value)) {
          if (message.event === 'resync') {
            resync = true;
            break;
          }
          const event = message.data ? parse(message.data) : null;
          if (event) events.push(event);
          if (message.id) this.cursor = message.id;
        }
        this.listener.took(events, this.cursor);
        if (resync) {
          this.stop();
          this.listener.resync();
          return;
        }
      }
    } finally {
      clearTimeout(watch);
    }
  }

  private ended(abort: AbortController, problem: Problem | null, inOrder = false): void {
    if (this.stopped || this.paused || abort !== this.abort) return;
    this.opened = false;
    if (problem?.status === 401) {
      this.stop();
      this.listener.unauthorized();
      return;
    }
    if (problem?.status === 404 && this.sessions.length > 0) {
      // One of the sessions is gone; its page says so, and the others must go on.
      const gone = problem.body.session;
      const left = this.sessions.filter((id) => id !== gone);
      this.sessions = left.length < this.sessions.length ? left : [];
      this.connect();
      return;
    }
    if (inOrder && this.failures === 0) {
      // Nobody needs to be told of so short a pause. If it is no short one, the next try says so.
      this.failures++;
      this.timer = setTimeout(() => this.connect(), SOON);
      return;
    }
    const ceiling = Math.min(MAX_DELAY, FIRST_DELAY * 2 ** this.failures++);
    const delay = Math.max((problem?.retryAfter ?? 0) * 1000, ceiling / 2 + (Math.random() * ceiling) / 2);
    this.listener.lost(Date.now() + delay, problem);
    this.timer = setTimeout(() => this.connect(), delay);
  }
}

function parse(data: string): LogEvent | null {
  try {
    const event = JSON.parse(data) as LogEvent;
    return typeof event?.kind === 'string' ? event : null;
  } catch {
    return null;
  }
}

// One event stream for all tabs of a browser, which has six connections to a host over HTTP/1.1. Whoever holds a lock
// (Web Locks) leads: it has the connection, follows what any tab wants, and passes on what comes (BroadcastChannel). A
// leader that closes, crashes or is hidden for long gives the lock to the next; one that is frozen with it is overruled.
// Without the two (plain HTTP on a network has no locks) each tab leads itself.
//
// No tab may miss an event or get one twice, whoever led when it came:
//   - a tab says from which cursor on it wants events, and takes none until the leader has said "joined";
//   - the leader goes back to the earliest cursor that a tab wants, so some events come again;
//   - each tab drops what it has by the event's number.

import { newId, Problem } from './api';
import { Stream, type StreamListener } from './stream';
import type { LogEvent } from './types';

/** The rows of all sessions, and what belongs to none: every stream has them. */
const concernsAll = (event: LogEvent) => event.session === '' || event.kind.startsWith('session.');

export interface TabListener extends Omit<StreamListener, 'took'> {
  event(event: LogEvent): void;
}

interface Want {
  tab: string;
  sessions: string[];
  cursor: string;
}

interface Lost {
  retryAt: number;
  problem: { status: number; code: string; title: string; detail: string } | null;
}

type Message =
  | ({ kind: 'want' } & Want)
  | { kind: 'leave'; tab: string }
  /** Try now; a leader that lives says so. */
  | { kind: 'nudge' }
  | { kind: 'alive' }
  /** A new leader asks what everybody wants. */
  | { kind: 'lead' }
  /** From here on these tabs get all that they wanted. open: the host answers, else lost says since what. */
  | { kind: 'joined'; tabs: string[]; open: boolean; lost: Lost | null }
  | { kind: 'took'; events: LogEvent[]; cursor: string; sessions: readonly string[] }
  | { kind: 'open' }
  | ({ kind: 'lost' } & Lost)
  /** Of one tab, or of all. */
  | { kind: 'resync'; tab?: string }
  | { kind: 'out' };

export interface Means {
  /** Of the lock and the channel; hosts under one origin have their own. */
  name: string;
  locks?: Pick<LockManager, 'request'>;
  channel?: Pick<BroadcastChannel, 'postMessage' | 'close'> & { onmessage: ((event: MessageEvent) => void) | null };
  visible(): boolean;
}

/** What the tabs of this page's version agree on; a page of another one has a stream of its own. */
const NAME = 'holdfast.stream.1';
/** So long the leader waits for what other tabs want, in milliseconds. */
const GATHER = 10;
/** A leader that has said nothing for so long, in milliseconds, is frozen: the host's heartbeats come every 15 s. */
const SILENCE = 35_000;
/** And one that does not answer a tab that joins. */
const ANSWER = 4_000;

export function browserMeans(): Means {
  const name = `${NAME} ${new URL('.', document.baseURI).pathname}`;
  const means: Means = { name, visible: () => document.visibilityState === 'visible' };
  if (navigator.locks && typeof BroadcastChannel === 'function') {
    means.locks = navigator.locks;
    means.channel = new BroadcastChannel(name);
  }
  return means;
}

export class SharedStream {
  /** After the last event that came. */
  cursor = '';
  /** When this tab last heard of the host, in the clock of Date.now(). */
  lastByte = 0;

  private readonly me = newId();
  private readonly own: Stream;
  private at = 0;
  /** The events of these sessions are wanted, each from a number on. */
  private since = new Map<string, number>();
  private started = false;
  private paused = false;
  private joined = false;
  private heard = 0;
  private watch: ReturnType<typeof setTimeout> | undefined;

  // Competing for the lock, and while leading.
  private competing: AbortController | null = null;
  private leading = false;
  private resign: (() => void) | null = null;
  private wants = new Map<string, Want>();
  private guards = new Map<string, AbortController>();
  private newcomers = new Set<string>();
  private from = '';
  private gathering: ReturnType<typeof setTimeout> | undefined;
  private lastLost: Lost | null = null;

  constructor(
    private readonly listener: TabListener,
    private readonly means: Means = browserMeans(),
  ) {
    this.own = new Stream({
      took: (events, cursor) => {
        this.tell({ kind: 'took', events, cursor, sessions: this.own.followed });
      },
      open: () => {
        this.lastLost = null;
        this.tell({ kind: 'open' });
      },
      lost: (retryAt, problem) => {
        this.lastLost = {
          retryAt,
          problem: problem && { status: problem.status, code: problem.code, title: problem.title, detail: problem.detail },
        };
        this.tell({ kind: 'lost', ...this.lastLost });
      },
      resync: () => this.tell({ kind: 'resync' }),
      unauthorized: () => this.tell({ kind: 'out' }),
    });
    if (means.channel) means.channel.onmessage = (event) => this.hear(event.data as Message);
    // Living for the page's life, this lock tells the leader when the page is gone, however it went.
    void means.locks?.request(`${means.name} ${this.me}`, () => new Promise<void>(() => {})).catch(() => {});
  }

  /** Follows the log from a cursor: the list's changes, and every event of these sessions. */
  start(cursor: string, sessions: string[]): void {
    this.cursor = cursor;
    this.at = place(cursor);
    this.since = new Map(sessions.map((id) => [id, this.at]));
    this.started = true;
    this.paused = false;
    this.joined = this.leading;
    this.join();
  }

  /** Follow these sessions from the cursor that this tab has reached. */
  follow(sessions: string[]): void {
    if (sessions.join() === [...this.since.keys()].join()) return;
    this.since = new Map(sessions.map((id) => [id, this.since.get(id) ?? this.at]));
    if (this.started && !this.paused) this.want();
  }

  /** Try now, whatever the back-off says. */
  nudge(): void {
    if (!this.started || this.paused) return;
    if (this.leading) return this.own.nudge();
    this.post({ kind: 'nudge' });
    this.expect(ANSWER);
  }

  /** Gives the connection, or the part in it, back and keeps the place. */
  pause(): void {
    if (!this.started || this.paused) return;
    this.paused = true;
    this.leave();
  }

  /** Goes on from the place where pause() left, or tries now. */
  resume(): void {
    if (!this.started) return;
    if (!this.paused) return this.nudge();
    this.paused = false;
    this.join();
  }

  stop(): void {
    this.started = false;
    this.leave();
  }

  private join(): void {
    this.compete();
    this.want();
  }

  private leave(): void {
    clearTimeout(this.watch);
    this.joined = false;
    this.post({ kind: 'leave', tab: this.me });
    this.competing?.abort();
    this.competing = null;
    this.abdicate();
  }

  /** Says to the leader, which may be this tab, what this tab wants. */
  private want(): void {
    const want: Want = { tab: this.me, sessions: [...this.since.keys()], cursor: this.cursor };
    if (this.leading) return this.serve(want);
    this.post({ kind: 'want', ...want });
    if (!this.joined) this.expect(ANSWER);
  }

  // As one of many

  private hear(message: Message): void {
    if (this.leading) {
      if (message.kind === 'want') this.serve(message);
      else if (message.kind === 'leave') this.forget(message.tab);
      else if (message.kind === 'nudge') {
        this.own.nudge();
        this.post({ kind: 'alive' });
      }
      // Two lead for a moment when one is overruled; the lock says which of them stays.
      return;
    }
    if (!this.started || this.paused || message.kind === 'want' || message.kind === 'leave' || message.kind === 'nudge') return;
    this.heard = Date.now();
    this.expect(SILENCE);
    this.obey(message);
  }

  private obey(message: Message): void {
    switch (message.kind) {
      case 'lead':
        this.joined = false;
        this.want();
        break;
      case 'joined':
        if (this.joined || !message.tabs.includes(this.me)) break;
        this.joined = true;
        this.lastByte = Date.now();
        if (message.open) this.listener.open();
        else if (message.lost) this.lost(message.lost);
        break;
      case 'took':
        if (this.joined) this.took(message.events, message.cursor, message.sessions);
        break;
      case 'open':
        this.lastByte = Date.now();
        if (this.joined) this.listener.open();
        break;
      case 'lost':
        if (this.joined) this.lost(message);
        break;
      case 'resync':
        if (message.tab && message.tab !== this.me) break;
        this.joined = false;
        this.listener.resync();
        break;
      case 'out':
        this.stop();
        this.listener.unauthorized();
        break;
    }
  }

  private lost({ retryAt, problem }: Lost): void {
    this.listener.lost(retryAt, problem && new Problem(problem.status, problem.code, problem.title, problem.detail));
  }

  private took(events: LogEvent[], cursor: string, followed: readonly string[]): void {
    this.lastByte = Date.now();
    for (const event of events) {
      const from = followed.includes(event.session) ? this.since.get(event.session) : undefined;
      if (from !== undefined) {
        if (event.id <= from) continue;
        this.since.set(event.session, event.id);
      } else if (!concernsAll(event) || event.id <= this.at) continue;
      this.listener.event(event);
    }
    const at = place(cursor);
    if (at < this.at) return;
    this.at = at;
    this.cursor = cursor;
    // A session that the connection does not follow yet keeps its place: the leader goes back to it.
    for (const [id, from] of this.since) if (followed.includes(id)) this.since.set(id, Math.max(from, at));
  }

  /** Overrules a leader that says nothing for so long. Only a tab that is seen does, or all would. */
  private expect(patience: number): void {
    clearTimeout(this.watch);
    this.watch = setTimeout(
      () => {
        if (this.leading || !this.started || this.paused) return;
        if (this.means.visible() && Date.now() - this.heard >= patience) this.compete(true);
        else this.expect(patience);
      },
      patience * (1 + Math.random() / 4),
    );
  }

  // The lock

  private compete(steal = false): void {
    const { locks } = this.means;
    if (!locks || !this.means.channel) {
      if (!this.leading) void this.lead();
      return;
    }
    if ((this.competing || this.leading) && !steal) return;
    this.competing?.abort();
    const abort = new AbortController();
    this.competing = abort;
    const lead = () => (abort.signal.aborted ? undefined : this.lead());
    void locks.request(this.means.name, steal ? { steal } : { signal: abort.signal }, lead).catch(() => {
      if (this.competing !== abort) return;
      // Overruled: this tab was frozen, and is one of the others now.
      this.competing = null;
      this.abdicate();
      if (this.started && !this.paused) this.join();
    });
  }

  /** Leads until abdicate(). */
  private lead(): Promise<void> {
    this.leading = true;
    this.joined = true;
    clearTimeout(this.watch);
    this.wants.clear();
    this.post({ kind: 'lead' });
    this.want();
    return new Promise((resign) => (this.resign = resign));
  }

  private abdicate(): void {
    if (!this.leading) return;
    this.leading = false;
    this.joined = false;
    clearTimeout(this.gathering);
    this.gathering = undefined;
    this.own.stop();
    for (const guard of this.guards.values()) guard.abort();
    this.guards.clear();
    this.wants.clear();
    this.newcomers.clear();
    this.from = '';
    this.competing = null;
    this.resign?.();
    this.resign = null;
  }

  // As the leader

  private serve({ tab, sessions, cursor }: Want): void {
    const lacks = sessions.some((id) => !this.own.followed.includes(id));
    this.wants.set(tab, { tab, sessions, cursor });
    if (tab !== this.me) this.guard(tab);
    if (this.own.running && generation(cursor) !== generation(this.own.cursor)) {
      // One of the two knows of another life of the log. The host says whether this tab does, which tells all.
      if (tab !== this.me) this.tell({ kind: 'resync', tab });
      this.gather(tab, this.own.cursor);
    } else if (!this.own.running || lacks || place(cursor) < place(this.own.cursor)) {
      this.gather(tab, cursor);
    } else if (tab !== this.me) {
      this.post({ kind: 'joined', tabs: [tab], open: this.own.healthy, lost: this.lastLost });
    }
  }

  private gather(tab: string, cursor: string): void {
    this.newcomers.add(tab);
    if (this.from === '' || place(cursor) < place(this.from)) this.from = cursor;
    this.gathering ??= setTimeout(() => this.connect(), GATHER);
  }

  private connect(): void {
    this.gathering = undefined;
    let from = this.from;
    if (this.own.running && place(this.own.cursor) < place(from)) from = this.own.cursor;
    this.from = '';
    this.post({ kind: 'joined', tabs: [...this.newcomers], open: false, lost: this.lastLost });
    this.newcomers.clear();
    this.own.start(from, [...new Set([...this.wants.values()].flatMap((want) => want.sessions))].sort());
  }

  /** Forgets a tab when its own lock falls. */
  private guard(tab: string): void {
    if (this.guards.has(tab)) return;
    const guard = new AbortController();
    this.guards.set(tab, guard);
    void this.means.locks?.request(`${this.means.name} ${tab}`, { signal: guard.signal }, () => this.forget(tab)).catch(() => {});
  }

  private forget(tab: string): void {
    this.wants.delete(tab);
    this.guards.get(tab)?.abort();
    this.guards.delete(tab);
  }

  /** To the others, and to this tab. */
  private tell(message: Message): void {
    this.post(message);
    this.obey(message);
  }

  private post(message: Message): void {
    this.means.channel?.postMessage(message);
  }
}

// A cursor is the log's generation and an event's number (architecture.md §3); the page comes from the host that made
// it, so it may know. One that it cannot read is older than all.

function place(cursor: string): number {
  const number = Number(cursor.slice(cursor.lastIndexOf('-') + 1));
  return Number.isSafeInteger(number) ? number : 0;
}

function generation(cursor: string): string {
  return cursor.slice(0, Math.max(0, cursor.lastIndexOf('-')));
}

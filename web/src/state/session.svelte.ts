// One open session: its snapshot, the events after it, and what a person asked of it and has not seen done.

import { t } from '../i18n/index.svelte';
import { get, post, Problem, request } from '../lib/api';
import { SvelteMap } from 'svelte/reactivity';
import { emptyView, fold, fromSnapshot, trimmed, withKept, withOlder, withOptions, withTail, type View } from '../lib/fold';
import { drop, readJSON, write } from '../lib/storage';
import type { FoundFile, Item, ItemsPage, LogEvent, SessionRow } from '../lib/types';

const PAGE = 100;
/** The pages in which a far place is gone to; the host gives no larger ones. */
const FAR = 500;
/** So many items are kept where the reader is at the end, and so many before older ones are let go. */
const KEEP = 400;
const MANY = 1200;
/** So many of the last events tell what was said last of the agent: few come after it while it has to be said. */
const TAIL = 100;

interface Seen {
  seq: number;
  at: number;
}

/** Where a person reads: an item, and how far its row's top is below the window's, in pixels. */
export interface Place {
  item: string;
  seq: number;
  top: number;
}

export class OpenSession {
  view = $state.raw<View>(emptyView(''));
  /** A snapshot is here; until then events are kept aside. */
  loaded = $state(false);
  problem = $state.raw<Problem | null>(null);
  hasOlder = $state(false);
  loadingOlder = $state(false);
  /** When a stop was asked, or 0. */
  stoppingAt = $state(0);
  stoppingRun = '';
  /** What had been read when the session was opened: the mark "New since" stands after it. */
  readonly seenBefore: Seen | null;
  /** What the person opened or closed, by the key of its card: rows come and go as they are scrolled by. */
  readonly opened = new SvelteMap<string, boolean>();
  /** The last event that was read by who reads back since, or 0 for who is at the end. */
  readTo = 0;
  /** Where the person read when the session was left, or null: at the end. */
  place: Place | null;

  /** The events since the snapshot was asked for. */
  private early: LogEvent[] = [];
  private loading: AbortController | null = null;
  private reloadAt = 0;
  private path: string;

  constructor(
    readonly id: string,
    private readonly onError: (problem: Problem) => void,
    /** The client ids of the messages that a snapshot holds: what was sent before the stream followed is in no event. */
    private readonly onMessages: (clientIds: string[]) => void,
  ) {
    this.view = emptyView(id);
    this.path = `/api/v1/sessions/${encodeURIComponent(id)}`;
    this.seenBefore = readJSON<Seen | null>(`seen.${id}`, null);
    this.place = readJSON<Place | null>(`place.${id}`, null);
  }

  /** Reads the snapshot. The stream must follow the session already, or events between the two would be missed. */
  async load(): Promise<void> {
    this.loading?.abort();
    const abort = new AbortController();
    this.loading = abort;
    this.early = [];
    try {
      const page = await get<ItemsPage>(`${this.path}/items?limit=${PAGE}`, abort.signal);
      if (abort.signal.aborted) return;
      const snapshot = fromSnapshot(this.id, page, this.view);
      const whole = withKept(snapshot, this.view);
      if (whole === snapshot) this.hasOlder = page.more ?? page.items.length >= PAGE;
      this.view = whole;
      this.problem = null;
      this.loaded = true;
      this.loading = null;
      const messages = [...(page.messages ?? []).map(({ item }) => item), ...page.items];
      this.onMessages(messages.flatMap((item) => (item.kind === 'user' && item.body.client_id) || []));
      this.apply(this.early);
      void this.recall(page.seq);
    } catch (error) {
      if (abort.signal.aborted) return;
      const problem = error instanceof Problem ? error : new Problem(0, 'unknown', t.problem.sessionNotLoaded, '');
      this.problem = problem;
      this.loading = null;
      this.onError(problem);
    }
  }

  /** Learns from the last events before seq what no snapshot holds: why the agent does not come, how full its context is. */
  private async recall(seq: number): Promise<void> {
    try {
      const events = await this.events(seq - TAIL, TAIL);
      // Only now: the view has become another one meanwhile.
      this.view = withTail(this.view, events);
    } catch {
      // The transcript stands without it, and the next event of each kind says it anew.
    }
  }

  /** What the agent lets a person choose, as the session's detail has it. */
  setOptions(options: View['options'], seq: number): void {
    this.view = withOptions(this.view, options, seq);
  }

  /** Loads the items before those that are here. */
  async loadOlder(limit = PAGE): Promise<void> {
    const first = this.view.items[0];
    if (!first || this.loadingOlder || !this.hasOlder) return;
    this.loadingOlder = true;
    try {
      const page = await get<ItemsPage>(`${this.path}/items?limit=${limit}&before=${first.seq}`);
      // A snapshot that was read anew meanwhile may begin elsewhere; or what was asked for is too far back by now.
      if (this.view.items[0]?.seq !== first.seq) return;
      this.view = withOlder(this.view, page);
      this.hasOlder = page.more ?? page.items.length >= PAGE;
    } catch (error) {
      if (error instanceof Problem) this.onError(error);
    } finally {
      this.loadingOlder = false;
    }
  }

  /** Loads until the item of this seq is here, and says whether it is. */
  async reach(seq: number): Promise<boolean> {
    await this.back((items) => (items[0]?.seq ?? 0) <= seq);
    return this.view.items.some((item) => item.seq === seq);
  }

  /** The seq of an item, wherever in the session it is; null where there is none of this id. */
  async find(id: string): Promise<number | null> {
    const aside = this.view.asked.find(({ item }) => item.id === id);
    if (aside) return aside.item.seq;
    const found = (items: Item[]) => items.find((item) => item.id === id)?.seq ?? null;
    await this.back((items) => found(items) !== null);
    return found(this.view.items);
  }

  /** Loads pages until one is enough. They are shown together: a far place has many of them before it. */
  private async back(enough: (items: Item[]) => boolean): Promise<void> {
    while (this.loadingOlder) await new Promise((done) => setTimeout(done, 20));
    const first = this.view.items[0];
    if (!first || !this.hasOlder || enough(this.view.items)) return;
    this.loadingOlder = true;
    try {
      const pages: ItemsPage[] = [];
      for (let before = first.seq; ; ) {
        const page = await get<ItemsPage>(`${this.path}/items?limit=${FAR}&before=${before}`);
        pages.unshift(page);
        if (page.items.length === 0 || page.more === false || enough(page.items)) break;
        before = page.items[0]!.seq;
      }
      // A snapshot that was read anew meanwhile may begin elsewhere.
      if (this.view.items[0]?.seq !== first.seq) return;
      const oldest = pages[0]!;
      this.view = withOlder(this.view, {
        ...oldest,
        items: pages.flatMap((page) => page.items),
        runs: pages.flatMap((page) => page.runs),
        messages: pages.flatMap((page) => page.messages ?? []),
      });
      this.hasOlder = oldest.more ?? oldest.items.length >= FAR;
    } catch (error) {
      if (error instanceof Problem) this.onError(error);
    } finally {
      this.loadingOlder = false;
    }
  }

  /** Lets go of what is far behind a reader who is at the end. */
  trim(): void {
    if (this.loadingOlder || this.view.items.length < MANY) return;
    const view = trimmed(this.view, KEEP);
    if (view !== this.view) this.hasOlder = true;
    this.view = view;
  }

  /** Keeps the place where the person reads; null is the end. */
  keep(place: Place | null): void {
    if (place) write(`place.${this.id}`, JSON.stringify(place));
    else if (this.place) drop(`place.${this.id}`);
    this.place = place;
  }

  apply(events: LogEvent[]): void {
    // What comes while a snapshot is read may be younger than it: it is kept, and folded onto it.
    if (this.loading) this.early.push(...events);
    if (!this.loaded) return;
    if (events.length === 0) return;
    this.view = fold(this.view, events);
    if (this.stoppingRun && this.view.runs[this.stoppingRun]?.state === 'ended') this.stopped();
    if (this.view.gap && Date.now() > this.reloadAt) {
      this.reloadAt = Date.now() + 5_000;
      void this.load();
    }
  }

  async stop(run: string): Promise<void> {
    if (!run || this.stoppingRun === run) return;
    this.stoppingRun = run;
    this.stoppingAt = Date.now();
    try {
      await post(`${this.path}/cancel`, { run });
    } catch (error) {
      this.stopped();
      // It ended in the meantime, which is what was asked.
      if (error instanceof Problem && error.status !== 409) this.onError(error);
    }
  }

  stopped(): void {
    this.stoppingRun = '';
    this.stoppingAt = 0;
  }

  /** force gives up on processes of the agent that do not end. */
  endAgent(force = false): Promise<unknown> {
    return post(`${this.path}/agent/end`, { force });
  }

  unqueue(run: string): Promise<unknown> {
    return request('DELETE', `${this.path}/queue/${encodeURIComponent(run)}`);
  }

  /** Changes the text of a message that waits. */
  editQueued(run: string, text: string): Promise<unknown> {
    return request('PATCH', `${this.path}/queue/${encodeURIComponent(run)}`, { text });
  }

  /** Says a message that waits into the run under way; it waits no more. */
  steerQueued(run: string, queued: string, clientId: string): Promise<unknown> {
    return post(`${this.path}/steer`, { client_id: clientId, run, queued });
  }

  /** Gives the messages that wait another order: each of them, first to go first. */
  reorder(runs: string[]): Promise<unknown> {
    return request('PUT', `${this.path}/queue`, { runs });
  }

  /** Chooses a model, a mode or another option of the agent. What it makes of that comes as an event. */
  choose(choice: Record<string, unknown>): Promise<unknown> {
    return post(`${this.path}/options`, choice);
  }

  /** Files of the session's folder by letters of their path, the best first. */
  async files(query: string, limit: number, signal: AbortSignal): Promise<FoundFile[]> {
    const found = await get<{ files: FoundFile[] }>(`${this.path}/files?q=${encodeURIComponent(query)}&limit=${limit}`, signal);
    return found.files;
  }

  resumeQueue(): Promise<unknown> {
    return post(`${this.path}/queue`, { paused: false });
  }

  /** Says something in the place of a message: that and all after it are taken back, in one step. */
  instead(item: string, message: { client_id: string; text: string; attachments?: string[] }): Promise<unknown> {
    return post(`${this.path}/messages`, { ...message, rewind: item });
  }

  /** Takes back a message and all after it. */
  rewind(item: string): Promise<unknown> {
    return post(`${this.path}/rewind`, { item });
  }

  /** Begins another session from here: with everything up to an item. */
  fork(item: string, clientId: string): Promise<SessionRow> {
    return post<SessionRow>(`${this.path}/fork`, { item, client_id: clientId });
  }

  async events(after: number, limit: number): Promise<LogEvent[]> {
    return (await get<{ events: LogEvent[] }>(`${this.path}/events?after=${Math.max(0, after)}&limit=${limit}`)).events;
  }

  /** Every item of the session, without a word about it to what is shown. */
  async all(): Promise<Item[]> {
    let items: Item[] = [];
    for (let before = ''; ; ) {
      const page = await get<ItemsPage>(`${this.path}/items?limit=${FAR}${before}`);
      items = [...page.items, ...items];
      if (!page.more || page.items.length === 0) return items;
      before = `&before=${page.items[0]!.seq}`;
    }
  }

  /** What has come so far has been read; or, for who reads back, what had come when that began. */
  markSeen(): void {
    const seq = this.readTo || this.view.seq;
    if (this.loaded && seq > 0) write(`seen.${this.id}`, JSON.stringify({ seq, at: Date.now() } satisfies Seen));
  }

  close(): void {
    this.loading?.abort();
    this.markSeen();
  }
}

// One open session: its snapshot, the events after it, and what a person asked of it and has not seen done.

import { t } from '../i18n/index.svelte';
import { get, post, Problem, request } from '../lib/api';
import { SvelteMap } from 'svelte/reactivity';
import { emptyView, fold, fromSnapshot, trimmed, withKept, withNewer, withOlder, withOptions, withoutNewer, withTail, type View } from '../lib/fold';
import type { Seen } from '../lib/seen';
import { drop, readJSON, write } from '../lib/storage';
import type { FoundFile, Item, ItemsPage, LogEvent, SessionRow } from '../lib/types';

const PAGE = 100;
/** The pages in which the whole session is read; the host gives no larger ones. */
const WHOLE = 500;
/** So many items are kept where the reader is at the end, so many where he reads, and so many before the rest is let go. */
const KEEP = 400;
const AROUND = 800;
const MANY = 1200;
/** So many of the last events tell what was said last of the agent: few come after it while it has to be said. */
const TAIL = 100;

/** Where a person reads: what a row begins with, and how far its top is below the window's, in pixels. */
export interface Place {
  item: string;
  /** The item to load the pages around; not here where that is the one above. */
  near?: string;
  top: number;
}

export class OpenSession {
  view = $state.raw<View>(emptyView(''));
  /** A snapshot is here; until then events are kept aside. */
  loaded = $state(false);
  problem = $state.raw<Problem | null>(null);
  hasOlder = $state(false);
  loadingOlder = $state(false);
  loadingNewer = $state(false);
  /** When a stop was asked, or 0. */
  stoppingAt = $state(0);
  stoppingRun = '';
  /** What had been read when the session was opened: the mark "New since" stands after it. */
  readonly seenBefore: Seen | null;
  /** What the person opened or closed, by the key of its card: rows come and go as they are scrolled by. */
  readonly opened = new SvelteMap<string, boolean>();
  /** The last event that was read by who reads back since, or null for who is at the end. */
  readTo: Pick<Seen, 'seq' | 'event'> | null = null;
  /** Where the person read when the session was left, or null: at the end. */
  place: Place | null;

  /** For each page that is asked for the events since then: they may be younger than it. */
  private readonly since = new Set<LogEvent[]>();
  /** Each waits until the view has come to a seq. */
  private reached: { seq: number; done: () => void }[] = [];
  private loading: AbortController | null = null;
  private reloadAt = 0;
  private path: string;

  constructor(
    readonly id: string,
    private readonly onError: (problem: Problem) => void,
    /** The client ids of the messages that a snapshot holds: what was sent before the stream followed is in no event. */
    private readonly onMessages: (clientIds: string[]) => void,
    /** The item to open at, or ''. */
    private readonly target = '',
  ) {
    this.view = emptyView(id);
    this.path = `/api/v1/sessions/${encodeURIComponent(id)}`;
    this.seenBefore = readJSON<Seen | null>(`seen.${id}`, null);
    this.place = readJSON<Place | null>(`place.${id}`, null);
  }

  /**
   * Reads the snapshot: at the end or, where a person reads far from it, around there. The stream must follow the session
   * already, or events between the two would be missed.
   */
  async load(): Promise<void> {
    const at = this.loaded ? (this.view.ahead && (this.place?.near ?? this.place?.item ?? this.view.items[0]?.id)) : this.target || (this.place?.near ?? this.place?.item);
    try {
      await this.read(at || '').catch((error: unknown) => {
        // The item was taken back, or there never was one.
        if (at && error instanceof Problem && error.status === 404) return this.read('');
        throw error;
      });
    } catch (error) {
      const problem = error instanceof Problem ? error : new Problem(0, 'unknown', t.problem.sessionNotLoaded, '');
      this.problem = problem;
      this.onError(problem);
    }
  }

  /** Reads a snapshot around an item, or for '' at the end. false: another one was asked for meanwhile. */
  private async read(around: string): Promise<boolean> {
    this.loading?.abort();
    const abort = new AbortController();
    this.loading = abort;
    const before = this.view;
    const since = this.follow();
    try {
      const page = await get<ItemsPage>(`${this.path}/items?limit=${PAGE}${around && `&around=${encodeURIComponent(around)}`}`, abort.signal);
      if (abort.signal.aborted) return false;
      // Of what has come meanwhile the page has a part; the rest is folded onto it.
      const { finished } = fold(before, since.filter((event) => event.seq <= page.seq));
      const snapshot = fromSnapshot(this.id, page, { ...this.view, finished });
      const whole = withKept(snapshot, this.view);
      if (whole === snapshot) this.hasOlder = page.more ?? page.items.length >= PAGE;
      this.view = whole;
      this.problem = null;
      this.loaded = true;
      this.loading = null;
      // Pages that were asked for before belong to another view.
      this.since.clear();
      const messages = [...(page.messages ?? []).map(({ item }) => item), ...page.items];
      this.onMessages(messages.flatMap((item) => (item.kind === 'user' && item.body.client_id) || []));
      this.apply(since);
      void this.recall(page.seq);
      return true;
    } catch (error) {
      if (abort.signal.aborted) return false;
      this.loading = null;
      throw error;
    } finally {
      this.since.delete(since);
    }
  }

  /** The events from now on; who asks for them takes them out of `since` again. */
  private follow(): LogEvent[] {
    const events: LogEvent[] = [];
    this.since.add(events);
    return events;
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

  /** Loads the items behind those that are here, where they do not reach the end. */
  async loadNewer(): Promise<void> {
    const last = this.view.items.at(-1);
    if (!last || this.loadingNewer || !this.view.ahead) return;
    this.loadingNewer = true;
    const since = this.follow();
    try {
      const page = await get<ItemsPage>(`${this.path}/items?limit=${PAGE}&after=${last.seq}`);
      // The stream brings what the page is younger by: only then do they agree.
      if (this.view.seq < page.seq) await new Promise<void>((done) => this.reached.push({ seq: page.seq, done }));
      // Meanwhile a snapshot was read, which is elsewhere, or what was here has been let go or taken back.
      if (!this.since.has(since) || this.view.items.at(-1)?.id !== last.id) return;
      this.view = withNewer(this.view, page, since);
    } catch (error) {
      if (error instanceof Problem) this.onError(error);
    } finally {
      this.since.delete(since);
      this.loadingNewer = false;
    }
  }

  /** Goes to the end, whatever lies between; false where it could not be read. */
  async toEnd(): Promise<boolean> {
    return !this.view.ahead || (await this.reach(''));
  }

  /** Loads what is around an item, or for '' the end; false where there is none of this id. */
  async reach(item: string): Promise<boolean> {
    try {
      return await this.read(item);
    } catch (error) {
      if (error instanceof Problem && !(item && error.status === 404)) this.onError(error);
      return false;
    }
  }

  /** How many items were finished after an event, wherever they are. */
  async finishedAfter(seq: number): Promise<number> {
    const { items, ahead } = this.view;
    const finished = (list: Item[]) => list.filter((item) => item.seq > seq && !item.open).length;
    let n = finished(items);
    if (!ahead || seq >= this.view.seq) return n;
    for (let after = Math.max(seq, items.at(-1)?.seq ?? 0); ; ) {
      const page = await get<ItemsPage>(`${this.path}/items?limit=${WHOLE}&after=${after}`);
      n += finished(page.items);
      if (!page.newer || page.items.length === 0) return n;
      after = page.items.at(-1)!.seq;
    }
  }

  /** Lets go of what is far behind a reader who is at the end, or reads on. */
  trim(keep = KEEP): void {
    if (this.loadingOlder || this.view.items.length < MANY) return;
    const view = trimmed(this.view, keep);
    if (view !== this.view) this.hasOlder = true;
    this.view = view;
  }

  /** Lets go of what is far ahead of a reader who reads back, and of what is far behind one who reads on. */
  trimAround(older: boolean): void {
    if (!older) this.trim(AROUND);
    else if (!this.loadingNewer && this.view.items.length >= MANY) this.view = withoutNewer(this.view, AROUND);
  }

  /** Keeps the place where the person reads; null is the end. */
  keep(place: Place | null): void {
    if (place) write(`place.${this.id}`, JSON.stringify(place));
    else if (this.place) drop(`place.${this.id}`);
    this.place = place;
  }

  apply(events: LogEvent[]): void {
    for (const since of this.since) since.push(...events);
    if (!this.loaded) return;
    this.view = fold(this.view, events);
    const there = this.reached.filter(({ seq }) => seq <= this.view.seq);
    this.reached = this.reached.filter(({ seq }) => seq > this.view.seq);
    for (const { done } of there) done();
    if (events.length === 0) return;
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

  /** Begins another session from here: with everything up to an item, or with all. */
  fork(item: string | undefined, clientId: string): Promise<SessionRow> {
    return post<SessionRow>(`${this.path}/fork`, { item, client_id: clientId });
  }

  async events(after: number, limit: number): Promise<LogEvent[]> {
    return (await get<{ events: LogEvent[] }>(`${this.path}/events?after=${Math.max(0, after)}&limit=${limit}`)).events;
  }

  /** Every item of the session, without a word about it to what is shown. */
  async all(): Promise<Item[]> {
    let items: Item[] = [];
    for (let before = ''; ; ) {
      const page = await get<ItemsPage>(`${this.path}/items?limit=${WHOLE}${before}`);
      items = [...page.items, ...items];
      if (!page.more || page.items.length === 0) return items;
      before = `&before=${page.items[0]!.seq}`;
    }
  }

  /** What has come so far has been read; or, for who reads back, what had come when that began. */
  markSeen(): void {
    const { seq, event } = this.readTo ?? this.view;
    if (this.loaded && seq > 0) write(`seen.${this.id}`, JSON.stringify({ seq, event, at: Date.now() } satisfies Seen));
  }

  close(): void {
    this.loading?.abort();
    this.markSeen();
  }
}

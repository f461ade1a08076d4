// The fold of a session's log into what the page shows. Pure: no clock, no network, no DOM. A view is never changed in
// place; fold() returns a new one in which only the items that an event touched are new objects, so that a component
// keyed by an item's id draws again exactly when its item did change.

import type {
  Approval,
  Asked,
  Item,
  ItemsPage,
  LogEvent,
  NoticeBody,
  PlanEntry,
  PlanItem,
  Run,
  Said,
  Steer,
  ToolBody,
  TextContent,
  ToolContent,
  UserBody,
  UserItem,
} from './types';

export interface QueueEntry {
  run: string;
  item: string;
}

/** What the agent lets a person choose, each as the agent gave it. */
export interface AgentOptions {
  modes?: unknown;
  current_mode?: string;
  models?: unknown;
  config?: unknown;
  commands?: unknown;
  /** A run can be steered. */
  steer?: boolean;
  /** What a person chose, for every life of the agent. */
  chosen?: unknown;
}

/** What the log said last of the agent. */
export interface AgentWords extends Said {
  state: string;
  /** Why, or for what it waits; '' where the state says all. */
  text: string;
  at: string;
  seq: number;
}

export interface Usage {
  seq: number;
  used?: number;
  size?: number;
  cost?: { amount: number; currency: string } | number | null;
}

export interface View {
  session: string;
  /** Of the last event that is in; events up to it are dropped. */
  seq: number;
  /** Its id, or that of a later one, of another session. */
  event: number;
  /** A range of the log without a gap. */
  items: Item[];
  /** The log goes on behind the last item here: what comes is not among the items until what is between is loaded. */
  ahead: boolean;
  /** Messages of the runs that are not among the items: sent while another run was on, long ago, or since. */
  asked: Asked[];
  /** The plan of the newest run, where it is not among the items: made long ago, or since. */
  plan: PlanItem | null;
  /** The runs that the items belong to. */
  runs: Record<string, Run>;
  /** The runs that wait behind the one that is next or under way, first to go first. */
  queue: QueueEntry[];
  agent: AgentWords | null;
  options: AgentOptions;
  /** Of the event after which they are so. */
  optionsSeq: number;
  usage: Usage | null;
  /** Rises with each item that is finished; the difference of two values is "3 new". */
  finished: number;
  /** An event came whose predecessor did not: the snapshot must be read again. */
  gap: boolean;
}

/** A message that was said into its run, which answers another. */
export function steers(item: Item): boolean {
  return item.kind === 'user' && item.body.steer !== undefined && item.body.steer.state !== 'late';
}

/** The event by which an item was said to the agent, where that was another than the one that made it. */
export function saidAt(item: Item): number {
  return (item.kind === 'user' && steers(item) && item.body.steer?.seq) || item.seq;
}

export function emptyView(session: string): View {
  return {
    session,
    seq: 0,
    event: 0,
    items: [],
    ahead: false,
    asked: [],
    plan: null,
    runs: {},
    queue: [],
    agent: null,
    options: {},
    optionsSeq: 0,
    usage: null,
    finished: 0,
    gap: false,
  };
}

/** A view of a snapshot. What only events tell is carried over from the view of before, if there is one. */
export function fromSnapshot(session: string, page: ItemsPage, before: View = emptyView(session)): View {
  const waits = page.runs.filter((run) => run.state === 'queued');
  return {
    ...before,
    seq: page.seq,
    event: page.last_event,
    gap: false,
    items: page.items,
    ahead: page.newer ?? false,
    asked: page.messages ?? [],
    plan: page.plan ?? null,
    runs: byId(page.runs),
    queue: waits.map((run) => ({ run: run.id, item: run.item })),
  };
}

/**
 * The view with what no snapshot holds and only events before it tell: what was said last of the agent, and the usage.
 * What the view knows of later is kept.
 */
export function withTail(view: View, tail: LogEvent[]): View {
  const next = { ...view };
  for (const event of tail) {
    if (event.session !== view.session) continue;
    if (event.kind === 'agent.state' && event.seq > (next.agent?.seq ?? 0)) next.agent = agentWords(event);
    if (event.kind === 'usage' && event.seq > (next.usage?.seq ?? 0)) next.usage = usage(event);
    if (event.kind === 'agent.options' && event.seq > next.optionsSeq) {
      next.options = changed(next.options, event.body);
      next.optionsSeq = event.seq;
    }
  }
  return next;
}

/** The view with an older page put before what it has. */
export function withOlder(view: View, older: ItemsPage): View {
  const have = new Set(view.items.map((item) => item.id));
  const items = [...older.items.filter((item) => !have.has(item.id)), ...view.items];
  return {
    ...view,
    items,
    asked: beside(items, view.asked, older.messages ?? []),
    plan: planBeside(items, view.plan),
    runs: { ...byId(older.runs), ...view.runs },
  };
}

/**
 * The view with a newer page put behind what it has. The page is of a moment that the view has come to by now; events are
 * those since it was asked for.
 */
export function withNewer(view: View, page: ItemsPage, events: LogEvent[]): View {
  const now = fold({ ...fromSnapshot(view.session, page), queue: view.queue }, events);
  const have = new Set(view.items.map((item) => item.id));
  const items = [...view.items, ...now.items.filter((item) => !have.has(item.id))];
  return { ...view, items, ahead: now.ahead, asked: beside(items, view.asked, now.asked), plan: planBeside(items, view.plan), runs: { ...now.runs, ...view.runs } };
}

/** The plan, unless it is among the items. */
function planBeside(items: Item[], plan: PlanItem | null): PlanItem | null {
  return plan && items.some((item) => item.id === plan.id) ? null : plan;
}

/** The messages that are not among the items, each once. */
function beside(items: Item[], ...lists: Asked[][]): Asked[] {
  const all = new Map(lists.flat().map((each) => [each.item.id, each]));
  if (all.size === 0) return [];
  for (const item of items) all.delete(item.id);
  return [...all.values()].sort((a, b) => a.item.seq - b.item.seq);
}

/**
 * The view of a new snapshot with the older items that were loaded before, so that nobody who reads back loses the
 * place: those that join the snapshot without a gap, and that can have become nothing else since.
 */
export function withKept(view: View, before: View): View {
  if (view.ahead || before.ahead) return view;
  const first = view.items[0]?.seq ?? 0;
  if (before.session !== view.session || before.seq < first) return view;
  const older = before.items.filter((item) => item.seq < first);
  const over = (item: Item) => !item.open && (!item.run || before.runs[item.run]?.state === 'ended' || view.runs[item.run] !== undefined);
  if (older.length === 0 || !older.every(over)) return view;
  const items = [...older, ...view.items];
  return { ...view, items, asked: beside(items, view.asked, before.asked), plan: planBeside(items, view.plan), runs: { ...before.runs, ...view.runs } };
}

/** The view without its oldest items, of which at least so many stay: what is under way stays whole. */
export function trimmed(view: View, keep: number): View {
  let cut = view.items.length - keep;
  const open = view.items.findIndex((item) => item.open || view.runs[item.run]?.state === 'queued');
  if (open >= 0) cut = Math.min(cut, open);
  // A run is cut only where it alone is longer.
  for (let i = cut; i > cut - keep && i > 0; i--) {
    if (view.items[i]!.kind !== 'user') continue;
    cut = i;
    break;
  }
  if (cut <= 0) return view;
  return within(view, cut, view.items.length);
}

/** The view without its newest items, so that so many stay: what comes after them is loaded again by who reads on. */
export function withoutNewer(view: View, keep: number): View {
  return view.items.length > keep ? { ...within(view, 0, keep), ahead: true } : view;
}

/** The view with these of its items only, and of the others what is asked in them and answered in these, or not yet. */
function within(view: View, from: number, to: number): View {
  const items = view.items.slice(from, to);
  const answers = new Map<string, number>();
  for (const item of view.items) if (item.run && item.kind !== 'user' && !answers.has(item.run)) answers.set(item.run, item.seq);
  const stays = new Set(items.map((item) => item.run));
  for (const run of Object.values(view.runs)) if (run.state !== 'ended') stays.add(run.id);
  const gone = [...view.items.slice(0, from), ...view.items.slice(to)];
  const asked = gone.flatMap((item) => (item.kind === 'user' && stays.has(item.run) ? [{ item, before: saidAt(item) === item.seq ? (answers.get(item.run) ?? 0) : saidAt(item) }] : []));
  const plan = gone.findLast((item): item is PlanItem => item.kind === 'plan' && item.run !== '' && view.runs[item.run]?.state === 'current');
  return { ...view, items, asked: beside(items, view.asked, asked), plan: plan ?? view.plan };
}

function byId(runs: Run[]): Record<string, Run> {
  return Object.fromEntries(runs.map((run) => [run.id, run]));
}

function agentWords(event: LogEvent): AgentWords {
  const body = event.body as { state?: unknown; text?: unknown } & Said;
  return { state: String(body.state), text: typeof body.text === 'string' ? body.text : '', code: body.code, args: body.args, at: event.at, seq: event.seq };
}

/** The options after an event, which names those that are others now. */
function changed(options: AgentOptions, body: unknown): AgentOptions {
  const named = Object.entries(body ?? {}).filter(([, value]) => value !== null && value !== undefined);
  return { ...options, ...Object.fromEntries(named) };
}

/** The view with all options as they were at an event. */
export function withOptions(view: View, options: AgentOptions, seq: number): View {
  if (seq < view.optionsSeq) return { ...view, options: { ...options, ...view.options } };
  return { ...view, options: { ...view.options, ...options }, optionsSeq: seq };
}

function usage(event: LogEvent): Usage {
  return { ...(event.body as Usage), seq: event.seq };
}

/** The view after these events, which are in the order of the log. */
export function fold(view: View, events: LogEvent[]): View {
  const draft = new Draft(view);
  for (const event of events) {
    if (event.session !== view.session || event.seq <= draft.view.seq) continue;
    if (event.seq > draft.view.seq + 1) draft.view.gap = true;
    draft.view.seq = event.seq;
    draft.view.event = event.id;
    draft.apply(event);
  }
  return draft.view;
}

class Draft {
  readonly view: View;
  private itemsOwned = false;
  private readonly itemOwned = new Set<string>();

  constructor(view: View) {
    this.view = { ...view };
  }

  apply(event: LogEvent): void {
    const body = (event.body ?? {}) as Record<string, unknown>;
    switch (event.kind) {
      case 'message.user':
        this.add(event, 'user', without(body, 'item'), false);
        this.view.finished++;
        break;
      case 'message.edited': {
        const item = this.edit(String(body.item));
        if (item?.kind === 'user') item.body = { ...item.body, text: String(body.text) };
        const asked = this.view.asked.find((each) => each.item.id === body.item);
        if (asked) this.ask({ ...asked, item: { ...asked.item, body: { ...asked.item.body, text: String(body.text) } } });
        break;
      }
      case 'message.steered':
        this.steered(event, body as unknown as { item: string; own: string; state: Steer['state'] });
        break;
      case 'item.copied':
        this.copied(event, body);
        break;
      case 'transcript.rewound': {
        // The log keeps them; here they are gone, like the rest of what was before them.
        const stays = (item: Item) => item.seq < Number(body.seq) || Boolean((body.keep as string[] | undefined)?.includes(item.run));
        this.view.items = this.view.items.filter(stays);
        this.view.asked = this.view.asked.filter(({ item }) => stays(item));
        if (this.view.plan && !stays(this.view.plan)) this.view.plan = null;
        this.itemsOwned = true;
        // Nothing is left from which the rest could be loaded.
        if (this.view.ahead && this.view.items.length === 0) this.view.gap = true;
        break;
      }
      case 'text.delta':
        this.delta(event, 'assistant');
        break;
      case 'thought.delta':
        this.delta(event, 'thought');
        break;
      case 'tool.started':
        this.add(event, 'tool', without(body, 'item'), true);
        break;
      case 'tool.updated':
        this.tool(body);
        break;
      case 'plan': {
        const entries = (body.entries ?? []) as PlanEntry[];
        const id = String(body.item);
        const had = this.edit(id);
        if (had) had.body = { entries };
        else if (this.view.plan?.id === id) this.view.plan = { ...this.view.plan, body: { entries } };
        else this.add(event, 'plan', { entries }, true);
        break;
      }
      case 'item.closed':
        this.close(body);
        break;
      case 'approval.requested': {
        const approval = body as unknown as Approval;
        this.add(event, 'approval', approval, true);
        break;
      }
      case 'approval.resolved': {
        const item = this.edit(String(body.item));
        if (item?.kind === 'approval') {
          const { state, chosen, by, answered_at, reason, code } = body as Partial<Approval>;
          item.body = { ...item.body, state: state ?? 'answered', chosen, by, answered_at, reason, code };
          item.open = false;
        }
        break;
      }
      case 'run.queued':
        // A prompt that surely was not begun goes back to the queue: what was said of its start is void.
        this.run(body, { state: 'queued', started_at: undefined });
        break;
      case 'run.started':
        this.run(body, { state: 'current', started_at: event.at });
        break;
      case 'run.ended':
        this.run(body, {
          state: 'ended',
          ended_at: event.at,
          reason: body.reason as string | undefined,
          detail: body.detail as string | undefined,
          code: body.code as string | undefined,
          args: body.args as Run['args'],
        });
        break;
      case 'queue.changed':
        this.view.queue = (body.queue ?? []) as QueueEntry[];
        break;
      case 'agent.state':
        this.view.agent = agentWords(event);
        break;
      case 'agent.options':
        this.view.options = changed(this.view.options, body);
        this.view.optionsSeq = event.seq;
        break;
      case 'usage':
        this.view.usage = usage(event);
        break;
      case 'notice':
        this.add(event, 'notice', without(body, 'item') as unknown as NoticeBody, false);
        this.view.finished++;
        break;
      default:
      // session.* belong to the list; agent.raw and kinds of later hosts are not shown.
    }
  }

  /** The place of an item, or -1. Events are of items near the end, however long the session is. */
  private at(id: string): number {
    return this.view.items.findLastIndex((item) => item.id === id);
  }

  private own(): Item[] {
    if (!this.itemsOwned) {
      this.view.items = [...this.view.items];
      this.itemsOwned = true;
    }
    return this.view.items;
  }

  /** A copy of the item that may be changed, already in its place. */
  private edit(id: string): Item | null {
    const i = this.at(id);
    if (i < 0) return null;
    const items = this.own();
    let item = items[i]!;
    if (!this.itemOwned.has(id)) {
      item = { ...item };
      items[i] = item;
      this.itemOwned.add(id);
    }
    return item;
  }

  private add(event: LogEvent, kind: Item['kind'], body: unknown, open: boolean): void {
    const id = String((event.body as { item?: unknown }).item);
    if (this.at(id) >= 0) return;
    const item = { id, session: event.session, run: event.run, kind, seq: event.seq, at: event.at, open, body } as Item;
    const asked = kind === 'user' ? undefined : this.view.asked.find((each) => each.before === 0 && each.item.run === event.run);
    if (asked) this.ask({ ...asked, before: event.seq });
    if (this.view.ahead) {
      if (item.kind === 'user') this.view.asked = [...this.view.asked, { item, before: 0 }];
      if (item.kind === 'plan') this.view.plan = item;
      return;
    }
    this.own().push(item);
    this.itemOwned.add(id);
  }

  private ask(asked: Asked): void {
    this.view.asked = this.view.asked.map((each) => (each.item.id === asked.item.id ? asked : each));
  }

  private copied(event: LogEvent, body: Record<string, unknown>): void {
    const id = String(body.item);
    if (this.at(id) >= 0) return;
    const { kind, at, body: content } = body as { kind: Item['kind']; at: string; body: unknown };
    this.view.finished++;
    if (this.view.ahead) return;
    this.own().push({ id, session: event.session, run: '', kind, seq: event.seq, at, open: false, body: content } as Item);
  }

  /** From then on the message is of the event's run: the one that it steers or, late, its own. */
  private steered(event: LogEvent, { item: id, own, state }: { item: string; own: string; state: Steer['state'] }): void {
    const now = (item: UserItem): UserItem => ({
      ...item,
      run: event.run,
      body: { ...item.body, steer: { ...(item.body.steer ?? { seq: event.seq }), state } },
    });
    const item = this.edit(id);
    if (item?.kind === 'user') Object.assign(item, now(item));
    const asked = this.view.asked.find((each) => each.item.id === id);
    if (asked) this.ask({ item: now(asked.item), before: state === 'late' ? 0 : event.seq });
    if (state === 'late' || !this.view.runs[own]) return;
    // It waits no more.
    this.view.runs = Object.fromEntries(Object.entries(this.view.runs).filter(([run]) => run !== own));
    this.view.queue = this.view.queue.filter((entry) => entry.run !== own);
  }

  private delta(event: LogEvent, kind: 'assistant' | 'thought'): void {
    const { item: id, text } = event.body as { item: string; text: string };
    const item = this.edit(id);
    if (!item) {
      this.add(event, kind, { text }, true);
    } else if (item.kind === 'assistant' || item.kind === 'thought') {
      item.body = { ...item.body, text: item.body.text + text };
    }
  }

  private tool(body: Record<string, unknown>): void {
    const item = this.edit(String(body.item));
    if (item?.kind !== 'tool') return;
    let next: ToolBody = { ...item.body, ...(body.set as Partial<ToolBody> | undefined) };
    const append = body.append as { index: number; text: string } | undefined;
    if (append) next = { ...next, content: appendText(next.content ?? [], append.index, append.text) };
    item.body = next;
  }

  private close(body: Record<string, unknown>): void {
    const item = this.edit(String(body.item));
    if (item?.open || (!item && this.view.ahead)) this.view.finished++;
    if (!item) return;
    item.open = false;
    const changes: Record<string, unknown> = {};
    for (const key of ['text', 'status', 'ended_at']) {
      if (body[key] !== undefined && body[key] !== '') changes[key] = body[key];
    }
    item.body = { ...item.body, ...changes } as never;
  }

  private run(body: Record<string, unknown>, changes: Partial<Run>): void {
    const id = String(body.run);
    const had: Run = this.view.runs[id] ?? { id, item: '', state: 'queued' };
    const next: Run = { ...had, ...changes };
    if (typeof body.item === 'string' && body.item) next.item = body.item;
    this.view.runs = { ...this.view.runs, [id]: next };
    if (next.state !== 'queued') this.view.queue = this.view.queue.filter((entry) => entry.run !== id);
  }
}

/** Output over this length keeps its end only, as the host's own snapshot does. */
const INLINE_MAX = 256 * 1024;
const INLINE_END = 64 * 1024;

/** The content with text added to one of its entries; an index behind the last one makes a new one. */
function appendText(content: ToolContent[], index: number, text: string): ToolContent[] {
  if (index < 0) return content;
  const next = [...content];
  const at = Math.min(index, next.length);
  const entry = (next[at] ?? { type: 'content', content: { type: 'text', text: '' } }) as TextContent;
  if (entry.type !== 'content' || entry.content?.type !== 'text') return next;
  const whole = (entry.content.text ?? '') + text;
  const size = (entry.truncated ? (entry.size ?? 0) : (entry.content.text ?? '').length) + text.length;
  next[at] =
    size > INLINE_MAX
      ? { ...entry, content: { ...entry.content, text: whole.slice(-INLINE_END) }, truncated: true, size }
      : { ...entry, content: { ...entry.content, text: whole } };
  return next;
}

function without<T extends object>(body: T, key: string): UserBody & T {
  const copy = { ...body } as Record<string, unknown>;
  delete copy[key];
  return copy as UserBody & T;
}

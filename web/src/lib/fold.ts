// The fold of a session's log into what the page shows. Pure: no clock, no network, no DOM. A view is never changed in
// place; fold() returns a new one in which only the items that an event touched are new objects, so that a component
// keyed by an item's id draws again exactly when its item did change.

import type {
  Approval,
  Item,
  ItemsPage,
  LogEvent,
  NoticeBody,
  PlanEntry,
  ToolBody,
  TextContent,
  ToolContent,
  UserBody,
} from './types';

export interface RunView {
  id: string;
  /** The message that it answers, where known. */
  item: string;
  state: 'queued' | 'running' | 'ended';
  startedAt?: string;
  endedAt?: string;
  reason?: string;
  detail?: string;
}

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
}

export interface Usage {
  used?: number;
  size?: number;
  cost?: { amount: number; currency: string } | number | null;
}

export interface View {
  session: string;
  /** Of the last event that is in; events up to it are dropped. */
  seq: number;
  items: Item[];
  /** Runs that this client saw queued, started or ended. */
  runs: Record<string, RunView>;
  /** null until the log says: a snapshot does not hold the queue. */
  queue: QueueEntry[] | null;
  paused: boolean | null;
  agent: { state: string; text?: string } | null;
  options: AgentOptions;
  usage: Usage | null;
  /** Rises with each item that is finished; the difference of two values is "3 new". */
  finished: number;
  /** An event came whose predecessor did not: the snapshot must be read again. */
  gap: boolean;
}

export function emptyView(session: string): View {
  return {
    session,
    seq: 0,
    items: [],
    runs: {},
    queue: null,
    paused: null,
    agent: null,
    options: {},
    usage: null,
    finished: 0,
    gap: false,
  };
}

/** A view of a snapshot. What only events tell is carried over from the view of before, if there is one. */
export function fromSnapshot(session: string, page: ItemsPage, before?: View): View {
  const view = before ? { ...before } : emptyView(session);
  view.seq = page.seq;
  view.gap = false;
  view.items = page.items;
  if (before && before.seq !== page.seq) {
    view.queue = null;
    view.paused = null;
  }
  return view;
}

/**
 * The view with what a snapshot of items does not say, from the last events before it: how runs began and ended, the
 * queue, the agent's state, the usage. Items are left alone, they hold these events already.
 */
export function withTail(view: View, tail: LogEvent[]): View {
  const draft = new Draft(view);
  for (const event of tail) {
    if (event.session === view.session && event.seq <= view.seq && TAIL_KINDS.has(event.kind)) draft.apply(event);
  }
  return draft.view;
}

const TAIL_KINDS = new Set(['run.queued', 'run.started', 'run.ended', 'queue.changed', 'agent.state', 'agent.options', 'usage']);

/** The view with an older page put before what it has. */
export function withOlder(view: View, older: Item[]): View {
  const have = new Set(view.items.map((item) => item.id));
  return { ...view, items: [...older.filter((item) => !have.has(item.id)), ...view.items] };
}

/** The view after these events, which are in the order of the log. */
export function fold(view: View, events: LogEvent[]): View {
  const draft = new Draft(view);
  for (const event of events) {
    if (event.session !== view.session || event.seq <= draft.view.seq) continue;
    if (event.seq > draft.view.seq + 1) draft.view.gap = true;
    draft.view.seq = event.seq;
    draft.apply(event);
  }
  return draft.view;
}

class Draft {
  readonly view: View;
  private index: Map<string, number> | null = null;
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
        const had = this.edit(String(body.item));
        if (had) had.body = { entries };
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
          const { state, chosen, by, answered_at, reason } = body as Partial<Approval>;
          item.body = { ...item.body, state: state ?? 'answered', chosen, by, answered_at, reason };
          item.open = false;
        }
        break;
      }
      case 'run.queued':
        this.run(String(body.run), { state: 'queued', item: String(body.item ?? '') });
        break;
      case 'run.started': {
        const run = String(body.run);
        this.run(run, { state: 'running', item: String(body.item ?? ''), startedAt: event.at });
        if (this.view.queue) this.view.queue = this.view.queue.filter((entry) => entry.run !== run);
        break;
      }
      case 'run.ended': {
        const run = String(body.run);
        this.run(run, {
          state: 'ended',
          endedAt: event.at,
          reason: body.reason as string | undefined,
          detail: body.detail as string | undefined,
        });
        if (this.view.queue) this.view.queue = this.view.queue.filter((entry) => entry.run !== run);
        break;
      }
      case 'queue.changed':
        this.view.paused = Boolean(body.paused);
        this.view.queue = (body.queue ?? []) as QueueEntry[];
        break;
      case 'agent.state':
        this.view.agent = {
          state: String(body.state),
          text: (body.text ?? body.detail) as string | undefined,
        };
        break;
      case 'agent.options': {
        const options: Record<string, unknown> = { ...this.view.options };
        for (const [key, value] of Object.entries(body)) {
          if (value !== null && value !== undefined) options[key] = value;
        }
        this.view.options = options;
        break;
      }
      case 'usage':
        this.view.usage = body as Usage;
        break;
      case 'notice':
        this.add(event, 'notice', without(body, 'item') as unknown as NoticeBody, false);
        this.view.finished++;
        break;
      default:
      // session.* belong to the list; agent.raw and kinds of later hosts are not shown.
    }
  }

  /** The place of an item, or -1. */
  private at(id: string): number {
    if (!this.index) {
      this.index = new Map(this.view.items.map((item, i) => [item.id, i]));
    }
    return this.index.get(id) ?? -1;
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
    const items = this.own();
    this.index!.set(id, items.length);
    items.push(item);
    this.itemOwned.add(id);
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
    if (!item) return;
    if (item.open) this.view.finished++;
    item.open = false;
    const changes: Record<string, unknown> = {};
    for (const key of ['text', 'status', 'ended_at']) {
      if (body[key] !== undefined && body[key] !== '') changes[key] = body[key];
    }
    item.body = { ...item.body, ...changes } as never;
  }

  private run(id: string, changes: Partial<RunView>): void {
    const had = this.view.runs[id] ?? { id, item: '', state: 'queued' };
    const next: RunView = { ...had, ...changes };
    if (!next.item) next.item = had.item;
    this.view.runs = { ...this.view.runs, [id]: next };
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

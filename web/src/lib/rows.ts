// From a session's view to the rows of its transcript: the order in which people read, runs of small reads folded into
// one row, and the end of a run where it was not an ordinary one.

import type { View } from './fold';
import { toolRuns } from './tools';
import type { Item, SessionRow, ToolItem, UserItem } from './types';

export type Row =
  /** removed: a message that was taken out of the queue; no agent heard it. */
  | { key: string; kind: 'item'; item: Item; live: boolean; removed?: boolean }
  | { key: string; kind: 'group'; items: ToolItem[]; live: boolean }
  | { key: string; kind: 'end'; run: string; reason: string; detail: string; at: string; question: UserItem | null };

export interface Transcript {
  rows: Row[];
  /** Messages that wait for their run, in the order of the queue. */
  queue: { run: string; item: UserItem }[];
  /** A message that is next and waits for its agent. */
  next: UserItem | null;
}

/** Ends that need no word: the answer itself is the end. */
const ORDINARY = new Set(['end_turn', '']);

export function transcript(view: View, session: SessionRow | null): Transcript {
  const all = queued(view, session);
  // What waits only for its agent to start stands in the transcript already: nothing else comes before it.
  const paused = session?.paused ?? view.paused ?? false;
  const next = !session?.run && !paused && all[0] ? all[0] : null;
  const queue = next ? all.slice(1) : all;
  const current = session?.run || next?.run || '';
  const waiting = new Set(queue.map((entry) => entry.item.id));
  const items = inReadingOrder(view.items, waiting);

  const lastOfRun = new Map<string, number>();
  const question = new Map<string, UserItem>();
  items.forEach((item, i) => {
    if (item.run) lastOfRun.set(item.run, i);
    if (item.kind === 'user' && item.run) question.set(item.run, item);
  });

  const rows: Row[] = [];
  let group: ToolItem[] = [];
  const flush = () => {
    if (group.length >= 3) rows.push({ key: `g${group[0]!.id}`, kind: 'group', items: group, live: group[0]!.run === current });
    else for (const item of group) rows.push({ key: item.id, kind: 'item', item, live: item.run === current && current !== '' });
    group = [];
  };
  items.forEach((item, i) => {
    if (item.kind === 'tool' && foldable(item)) {
      group.push(item);
    } else {
      flush();
      const removed = item.kind === 'user' && neverRan(view, items, item);
      rows.push({ key: item.id, kind: 'item', item, live: item.run === current && current !== '', removed });
      if (removed) return;
    }
    if (item.run && lastOfRun.get(item.run) === i) {
      const end = endOf(view, session, item.run, items, i);
      if (end) {
        flush();
        rows.push({ ...end, key: `e${item.run}`, kind: 'end', run: item.run, question: question.get(item.run) ?? null });
      }
    }
  });
  flush();
  return { rows, queue, next: next?.item ?? null };
}

function neverRan(view: View, items: Item[], message: UserItem): boolean {
  const run = view.runs[message.run];
  if (!run || run.state !== 'ended' || run.reason !== 'cancelled' || run.startedAt) return false;
  return !items.some((item) => item.run === message.run && item.id !== message.id);
}

function foldable(item: ToolItem): boolean {
  return (item.body.kind === 'read' || item.body.kind === 'search') && item.body.status === 'completed' && !item.open;
}

/**
 * How a run ended. The log tells it for runs whose end this client saw; for the last one of a snapshot the session's
 * row does.
 */
function endOf(view: View, session: SessionRow | null, run: string, items: Item[], i: number) {
  const seen = view.runs[run];
  if (seen) {
    if (seen.state !== 'ended' || ORDINARY.has(seen.reason ?? '')) return null;
    return { reason: seen.reason!, detail: seen.detail ?? '', at: seen.endedAt ?? '' };
  }
  if (!session || session.run === run) return null;
  const isLast = !items.slice(i + 1).some((item) => item.run && item.run !== run);
  if (!isLast) return null;
  if (session.state === 'interrupted') return { reason: 'interrupted', detail: '', at: '' };
  if (session.state === 'failed') return { reason: 'error', detail: '', at: '' };
  if (session.reason && !ORDINARY.has(session.reason) && /^[a-z_]+$/.test(session.reason)) {
    return { reason: session.reason, detail: '', at: '' };
  }
  return null;
}

function queued(view: View, session: SessionRow | null): { run: string; item: UserItem }[] {
  const users = view.items.filter((item): item is UserItem => item.kind === 'user');
  if (view.queue) {
    const byId = new Map(users.map((item) => [item.id, item]));
    return view.queue.flatMap((entry) => {
      const item = byId.get(entry.item) ?? users.find((user) => user.run === entry.run);
      return item ? [{ run: entry.run, item }] : [];
    });
  }
  // A snapshot does not hold the queue, only its length: it is the newest messages whose run has nothing yet.
  const n = session?.queued ?? 0;
  if (n === 0) return [];
  const begun = new Set(view.items.filter((item) => item.kind !== 'user').map((item) => item.run));
  const idle = users.filter(
    (item) => item.run && item.run !== session?.run && !begun.has(item.run) && view.runs[item.run]?.state !== 'ended',
  );
  return idle.slice(-n).map((item) => ({ run: item.run, item }));
}

/**
 * The log has a message at the time when it was sent; a queued one was sent in the middle of another run. People read
 * it where its own run begins.
 */
function inReadingOrder(items: Item[], waiting: Set<string>): Item[] {
  const firstOfRun = new Map<string, string>();
  for (const item of items) {
    if (item.run && item.kind !== 'user' && !firstOfRun.has(item.run)) firstOfRun.set(item.run, item.id);
  }
  const moved = new Map<string, Item[]>();
  const stay: Item[] = [];
  const position = new Map(items.map((item, i) => [item.id, i]));
  for (const item of items) {
    if (item.kind === 'user') {
      if (waiting.has(item.id)) continue;
      const first = item.run ? firstOfRun.get(item.run) : undefined;
      if (first && position.get(first)! > position.get(item.id)!) {
        moved.set(first, [...(moved.get(first) ?? []), item]);
        continue;
      }
    }
    stay.push(item);
  }
  return stay.flatMap((item) => [...(moved.get(item.id) ?? []), item]);
}

/** A group of small reads in words: "Read 3 files, searched twice". */
export function groupWords(items: ToolItem[]): string {
  const reads = items.filter((item) => item.body.kind === 'read').length;
  const searches = items.length - reads;
  const parts: string[] = [];
  if (reads) parts.push(`Read ${reads === 1 ? 'a file' : `${reads} files`}`);
  if (searches) {
    const times = searches === 1 ? 'once' : searches === 2 ? 'twice' : `${searches} times`;
    parts.push(`${parts.length ? 'searched' : 'Searched'} ${times}`);
  }
  return parts.join(', ');
}

/** The newest plan, and the step that it is at. */
export function planOf(view: View): { entries: import('./types').PlanEntry[]; done: number; now: string } | null {
  for (let i = view.items.length - 1; i >= 0; i--) {
    const item = view.items[i]!;
    if (item.kind !== 'plan') continue;
    const entries = item.body.entries ?? [];
    if (entries.length === 0) return null;
    const done = entries.filter((entry) => entry.status === 'completed').length;
    const now = entries.find((entry) => entry.status === 'in_progress') ?? entries.find((entry) => entry.status === 'pending');
    return { entries, done, now: now?.content ?? 'All done' };
  }
  return null;
}

export function pendingApprovals(view: View) {
  return view.items.flatMap((item) => (item.kind === 'approval' && item.body.state === 'pending' ? [item.body] : []));
}

export function hasRunningTool(view: View): boolean {
  return view.items.some((item) => item.kind === 'tool' && item.open && toolRuns(item.body));
}

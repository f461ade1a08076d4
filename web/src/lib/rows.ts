// From a session's view to the rows of its transcript: the order in which people read, runs of small reads folded into
// one row, and the end of a run where it was not an ordinary one.

import { t } from '../i18n/index.svelte';
import type { View } from './fold';
import { toolRuns } from './tools';
import type { Item, Run, ToolItem, UserItem } from './types';

export type Row =
  /** removed: a message that was taken out of the queue; no agent heard it. */
  | { key: string; kind: 'item'; item: Item; live: boolean; removed?: boolean }
  | { key: string; kind: 'group'; items: ToolItem[]; live: boolean }
  | { key: string; kind: 'end'; run: Run; question: UserItem | null; /** The agent wrote nothing. */ empty: boolean };

export interface Transcript {
  rows: Row[];
  /** Messages that wait for their run, in the order of the queue. */
  queue: { run: string; item: UserItem }[];
  /** A message that is next and waits for its agent. */
  next: UserItem | null;
}

/** Ends that need no word: the answer itself is the end. */
const ORDINARY = new Set(['end_turn', '']);

export function transcript(view: View): Transcript {
  const users = view.items.filter((item): item is UserItem => item.kind === 'user');
  const messageOf = new Map(users.map((item) => [item.id, item]));
  const queue = view.queue.flatMap((entry) => {
    const item = messageOf.get(entry.item);
    return item ? [{ run: entry.run, item }] : [];
  });
  const waiting = new Set(queue.map((entry) => entry.item.id));
  // What waits only for its agent to start stands in the transcript already: nothing else comes before it.
  const waits = Object.values(view.runs).findLast((run) => run.state !== 'ended' && !run.started_at && !waiting.has(run.item));
  const under = Object.values(view.runs).findLast((run) => run.state === 'current' && run.started_at);
  const next = under ? null : (messageOf.get(waits?.item ?? '') ?? null);
  const current = under?.id ?? next?.run ?? '';
  const items = inReadingOrder(view.items, waiting);

  const lastOfRun = new Map<string, number>();
  const question = new Map<string, UserItem>();
  const answered = new Set<string>();
  items.forEach((item, i) => {
    if (item.run) lastOfRun.set(item.run, i);
    if (item.kind === 'user' && item.run) question.set(item.run, item);
    if (item.kind !== 'user' && item.kind !== 'notice') answered.add(item.run);
  });

  const rows: Row[] = [];
  let group: ToolItem[] = [];
  const flush = () => {
    if (group.length >= 3) rows.push({ key: `g${group[0]!.id}`, kind: 'group', items: group, live: group[0]!.run === current });
    else for (const item of group) rows.push({ key: item.id, kind: 'item', item, live: item.run === current && current !== '' });
    group = [];
  };
  items.forEach((item, i) => {
    const end = endOf(view, item.run);
    if (item.kind === 'tool' && foldable(item)) {
      group.push(item);
    } else if (!(item.kind === 'notice' && end?.detail === item.body.text && !item.body.detail)) {
      // A notice that says what the end says is said once.
      flush();
      const removed = item.kind === 'user' && neverRan(view, items, item);
      rows.push({ key: item.id, kind: 'item', item, live: item.run === current && current !== '', removed });
      if (removed) return;
    }
    if (end && lastOfRun.get(item.run) === i) {
      flush();
      rows.push({ key: `e${end.id}`, kind: 'end', run: end, question: question.get(end.id) ?? null, empty: !answered.has(end.id) });
    }
  });
  flush();
  return { rows, queue, next };
}

function neverRan(view: View, items: Item[], message: UserItem): boolean {
  const run = view.runs[message.run];
  if (!run || run.state !== 'ended' || run.reason !== 'cancelled' || run.started_at) return false;
  return !items.some((item) => item.run === message.run && item.id !== message.id);
}

function foldable(item: ToolItem): boolean {
  return (item.body.kind === 'read' || item.body.kind === 'search') && item.body.status === 'completed' && !item.open;
}

/** The run, if it ended in a way that needs a word. */
function endOf(view: View, id: string): Run | null {
  const run = view.runs[id];
  return run?.state === 'ended' && !ORDINARY.has(run.reason ?? '') ? run : null;
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
  return t.tool.group(reads, items.length - reads);
}

/** The newest plan, and the step that it is at. */
export function planOf(view: View): { run: string; entries: import('./types').PlanEntry[]; done: number; now: string } | null {
  for (let i = view.items.length - 1; i >= 0; i--) {
    const item = view.items[i]!;
    if (item.kind !== 'plan') continue;
    const entries = item.body.entries ?? [];
    if (entries.length === 0) return null;
    const done = entries.filter((entry) => entry.status === 'completed').length;
    const now = entries.find((entry) => entry.status === 'in_progress') ?? entries.find((entry) => entry.status === 'pending');
    return { run: item.run, entries, done, now: now?.content ?? t.common.allDone };
  }
  return null;
}

export function pendingApprovals(view: View) {
  return view.items.flatMap((item) => (item.kind === 'approval' && item.body.state === 'pending' ? [item.body] : []));
}

export function hasRunningTool(view: View): boolean {
  return view.items.some((item) => item.kind === 'tool' && item.open && toolRuns(item.body));
}

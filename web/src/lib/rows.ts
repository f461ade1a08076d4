// From a session's view to the rows of its transcript: the order in which people read, runs of small reads folded into
// one row, and the end of a run where it was not an ordinary one.

import { t } from '../i18n/index.svelte';
import { saidAt, steers, type View } from './fold';
import type { Item, NoticeItem, PlanEntry, PlanItem, Run, ToolItem, UserItem } from './types';

export type Row =
  /** removed: a message that was taken out of the queue; no agent heard it. */
  | { key: string; kind: 'item'; item: Item; live: boolean; removed?: boolean }
  | { key: string; kind: 'group'; items: ToolItem[]; live: boolean }
  | {
      key: string;
      kind: 'end';
      run: Run;
      question: UserItem | null;
      /** The agent wrote nothing. */
      empty: boolean;
      /** What was noted of the end: it stands with it and not in rows of its own. */
      notices: NoticeItem[];
      /** The tool call that the run was at, or had just done. */
      tool: ToolItem | null;
    };

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
  const users = [...view.asked.map(({ item }) => item), ...view.items.filter((item): item is UserItem => item.kind === 'user')];
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
  const now = live(view);
  // What is not answered yet stands at the end, which is not here where the log goes on.
  const unanswered = now && !view.ahead && !view.asked.some(({ item, before }) => item.id === now.item && before > 0);
  const items = inReadingOrder([...askedHere(view), ...view.items], waiting, unanswered ? messageOf.get(now.item) : undefined);

  const lastOfRun = new Map<string, number>();
  const question = new Map(view.asked.flatMap(({ item }) => (steers(item) ? [] : [[item.run, item] as const])));
  const answered = new Set<string>();
  const lastDone = new Map<string, Item>();
  const noted = new Map<string, NoticeItem[]>();
  items.forEach((item, i) => {
    if (item.run) lastOfRun.set(item.run, i);
    if (item.kind !== 'notice' && item.kind !== 'plan') lastDone.set(item.run, item);
    if (item.kind === 'user' && item.run && !steers(item)) question.set(item.run, item);
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
    } else if (item.kind === 'notice' && end && ofEnd(item, end)) {
      noted.set(end.id, [...(noted.get(end.id) ?? []), item]);
    } else {
      flush();
      const removed = item.kind === 'user' && neverRan(view, items, item);
      rows.push({ key: item.id, kind: 'item', item, live: item.run === current && current !== '', removed });
      if (removed) return;
    }
    if (end && lastOfRun.get(item.run) === i) {
      flush();
      const last = lastDone.get(end.id);
      rows.push({
        key: `e${end.id}`,
        kind: 'end',
        run: end,
        question: question.get(end.id) ?? null,
        empty: !answered.has(end.id),
        notices: noted.get(end.id) ?? [],
        tool: last?.kind === 'tool' ? last : null,
      });
    }
  });
  flush();
  return { rows, queue, next };
}

/**
 * transcript(), told of one view after the other: what cannot change any more is not looked at again. Rows that stay
 * the same are the same objects.
 */
export function transcripts(): (view: View) => Transcript {
  let last: View | null = null;
  let made: Transcript = { rows: [], queue: [], next: null };
  /** The rows of the items before `cut`, whose runs are over. */
  let cut = 0;
  let settled: Row[] = [];

  return (view) => {
    if (last && made.rows.length > 0 && view.queue === last.queue && view.runs === last.runs && view.asked === last.asked && view.ahead === last.ahead) {
      const rows = replaced(made.rows, last.items, view.items);
      if (rows) {
        last = view;
        return (made = { ...made, rows });
      }
    }
    if (!last || !samePrefix(last, view, cut)) {
      cut = 0;
      settled = [];
    }
    const next = settledUpTo(view, cut);
    if (next > cut) {
      const behind = view.items[next]?.seq ?? Infinity;
      const asked = view.asked.filter(({ item }) => saidAt(item) < behind);
      settled = [...settled, ...transcript({ ...view, items: view.items.slice(cut, next), ahead: false, asked, queue: [], runs: endedOf(view, cut, next) }).rows];
      cut = next;
    }
    const tail = transcript(cut > 0 ? { ...view, items: view.items.slice(cut) } : view);
    last = view;
    return (made = cut > 0 ? { ...tail, rows: [...settled, ...tail.rows] } : tail);
  };
}

/** The rows where nothing but the content of a few items is new, or null. */
function replaced(rows: Row[], before: Item[], after: Item[]): Row[] | null {
  if (before.length !== after.length) return null;
  let next: Row[] | null = null;
  let changed = 0;
  for (let i = after.length - 1; i >= 0; i--) {
    const was = before[i]!;
    const is = after[i]!;
    if (was === is) continue;
    if (++changed > 8 || was.id !== is.id || is.kind === 'user' || is.kind === 'notice') return null;
    if (is.kind === 'tool' && foldable(is)) return null;
    const at = rows.findLastIndex((row) => row.kind === 'item' && row.item === was);
    if (at < 0) return null;
    next ??= [...rows];
    next[at] = { ...(rows[at] as Extract<Row, { kind: 'item' }>), item: is };
  }
  return next ?? rows;
}

function samePrefix(last: View, view: View, cut: number): boolean {
  if (view.items.length < cut || view.asked !== last.asked) return false;
  for (let i = 0; i < cut; i++) if (view.items[i] !== last.items[i]) return false;
  if (view.runs === last.runs) return true;
  for (let i = 0; i < cut; i++) {
    const run = view.items[i]!.run;
    if (view.runs[run] !== last.runs[run]) return false;
  }
  return true;
}

/** The runs of some items, all of which are over. */
function endedOf(view: View, from: number, to: number): Record<string, Run> {
  const runs: Record<string, Run> = {};
  for (let i = from; i < to; i++) {
    const run = view.runs[view.items[i]!.run];
    if (run) runs[run.id] = run;
  }
  return runs;
}

/**
 * The largest number of items, from one on, that belong to runs which are over and of which no item stands behind them.
 * The newest run is never among them: an item may come late. Nor is a message that waits, of whose run nothing is known.
 */
function settledUpTo(view: View, from: number): number {
  const { items, runs } = view;
  const lastOf = new Map<string, number>();
  for (let i = from; i < items.length; i++) if (items[i]!.run) lastOf.set(items[i]!.run, i);
  const newest = items.findLast((item) => item.run)?.run;
  const waiting = new Set(view.queue.map((entry) => entry.item));
  let reach = -1;
  let cut = from;
  for (let i = from; i < items.length; i++) {
    const item = items[i]!;
    const run = runs[item.run];
    if (item.open || waiting.has(item.id) || (item.run && (item.run === newest || (run && (run.state !== 'ended' || goesOn(view, run)))))) break;
    reach = Math.max(reach, lastOf.get(item.run) ?? i);
    if (reach <= i) cut = i + 1;
  }
  return cut;
}

function neverRan(view: View, items: Item[], message: UserItem): boolean {
  const run = view.runs[message.run];
  if (!run || run.state !== 'ended' || run.reason !== 'cancelled' || run.started_at) return false;
  return !items.some((item) => item.run === message.run && item.id !== message.id);
}

function foldable(item: ToolItem): boolean {
  return (item.body.kind === 'read' || item.body.kind === 'search') && item.body.status === 'completed' && !item.open;
}

/** Whether the run was cut off, or failed. */
export function cutOff(run: Run): boolean {
  return run.reason === 'interrupted' || run.reason === 'error';
}

/** Whether a notice says what the end says, or why: that is said once. */
function ofEnd({ body }: NoticeItem, end: Run): boolean {
  if (!cutOff(end)) return body.text === end.detail && !body.detail;
  return body.code === 'agent_stderr' || body.text === end.detail || (body.code === 'agent_error' && body.detail === end.detail);
}

/** What the agent printed last before its run was cut off, as far as it was kept. */
export function printedAt(row: Extract<Row, { kind: 'end' }>): string {
  return row.notices.findLast(({ body }) => body.detail && body.detail !== row.run.detail)?.body.detail ?? '';
}

/** The run, if it ended in a way that needs a word. */
function endOf(view: View, id: string): Run | null {
  const run = view.runs[id];
  return run?.state === 'ended' && !ORDINARY.has(run.reason ?? '') && !goesOn(view, run) ? run : null;
}

/** Whether a run that is over may have items behind the last one here. */
function goesOn({ ahead, items }: View, run: Run): boolean {
  return ahead && !(Date.parse(run.ended_at ?? '') < Date.parse(items.at(-1)?.at ?? ''));
}

/** The run that is next or under way. */
function live(view: View): Run | undefined {
  return Object.values(view.runs).findLast((run) => run.state === 'current');
}

/** The messages from before the items that are read among them: their answers begin here. */
function askedHere({ asked, items, ahead }: View): UserItem[] {
  if (asked.length === 0) return [];
  const here = new Set(asked.map(({ before }) => before));
  const begin = new Set(items.filter((item) => here.has(item.seq)).map((item) => item.seq));
  const isSaidHere = (item: UserItem) => saidAt(item) !== item.seq && saidAt(item) > (items[0]?.seq ?? 0) && (!ahead || saidAt(item) <= (items.at(-1)?.seq ?? 0));
  return asked.filter(({ item, before }) => begin.has(before) || isSaidHere(item)).map(({ item }) => item);
}

/**
 * The log has a message at the time when it was sent; a queued one was sent in the middle of another run. People read
 * it where its own run begins, and the one that is next at the end; or where it was said into the one under way.
 */
export function inReadingOrder(items: Item[], waiting: Set<string> = new Set(), next?: UserItem): Item[] {
  const firstOfRun = new Map<string, string>();
  for (const item of items) {
    if (item.run && item.kind !== 'user' && !firstOfRun.has(item.run)) firstOfRun.set(item.run, item.id);
  }
  const moved = new Map<string, Item[]>();
  const stay: Item[] = [];
  const said: UserItem[] = [];
  const position = new Map(items.map((item, i) => [item.id, i]));
  for (const item of items) {
    if (item.kind === 'user') {
      if (waiting.has(item.id)) continue;
      if (saidAt(item) !== item.seq) {
        said.push(item);
        continue;
      }
      const first = item.run ? firstOfRun.get(item.run) : undefined;
      if (!first && item.id === next?.id) continue;
      if (first && position.get(first)! > position.get(item.id)!) {
        moved.set(first, [...(moved.get(first) ?? []), item]);
        continue;
      }
    }
    stay.push(item);
  }
  // What had waited and was said then into a run; backwards, so that each comes before the one that was said after it.
  const end: Item[] = [];
  for (const item of said.sort((a, b) => saidAt(b) - saidAt(a))) {
    const after = stay.find((each) => each.seq > saidAt(item));
    if (!after) {
      end.unshift(item);
      continue;
    }
    const before = moved.get(after.id) ?? [];
    const own = before.findLastIndex((each) => each.run === item.run && saidAt(each) < saidAt(item));
    moved.set(after.id, [...before.slice(0, own + 1), item, ...before.slice(own + 1)]);
  }
  const read = [...stay.flatMap((item) => [...(moved.get(item.id) ?? []), item]), ...end];
  return next && !waiting.has(next.id) && !firstOfRun.has(next.run) ? [...read, next] : read;
}

/** A group of small reads in words: "Read 3 files, searched twice". */
export function groupWords(items: ToolItem[]): string {
  const reads = items.filter((item) => item.body.kind === 'read').length;
  return t.tool.group(reads, items.length - reads);
}

/** The newest plan, and the step that it is at; for who reads far from the end that of the run under way only. */
export function planOf(view: View): { run: string; entries: PlanEntry[]; done: number; now: string } | null {
  const here = view.items.findLast((item): item is PlanItem => item.kind === 'plan');
  const item = here && view.plan ? (here.seq > view.plan.seq ? here : view.plan) : (here ?? view.plan);
  const entries = item?.body.entries ?? [];
  if (!item || entries.length === 0 || (view.ahead && view.runs[item.run]?.state !== 'current')) return null;
  return { run: item.run, entries, ...stepOf(entries) };
}

/** How far a plan is: so many steps are done, and the one that it is at. */
export function stepOf(entries: PlanEntry[]): { done: number; now: string } {
  const done = entries.filter((entry) => entry.status === 'completed').length;
  const now = entries.find((entry) => entry.status === 'in_progress') ?? entries.find((entry) => entry.status === 'pending');
  return { done, now: now?.content ?? t.common.allDone };
}

export function pendingApprovals(view: View) {
  return view.items.flatMap((item) => (item.kind === 'approval' && item.body.state === 'pending' ? [item.body] : []));
}

/** The item that a row begins with, which names its place. */
export function idOf(row: Row): string {
  return row.kind === 'item' ? row.item.id : row.kind === 'group' ? row.items[0]!.id : row.run.id;
}

/** How high a row probably is, in pixels, in a column so wide: until it is drawn and measured. */
export function guess(row: Row, width: number): number {
  if (row.kind === 'end') return cutOff(row.run) ? 110 : 42;
  if (row.kind === 'group') return 42;
  const { item } = row;
  const lines = (text: string) => Math.ceil(text.length / (width / 7.5)) + text.split('\n').length / 2;
  if (item.kind === 'assistant') return 20 + 24 * lines(item.body.text);
  if (item.kind === 'user') return 66 + 24 * lines(item.body.text);
  if (item.kind === 'tool' && item.body.content?.some((entry) => entry.type === 'diff')) return 220;
  return 42;
}

/** The place of the row that shows an item, or -1. */
export function rowOfItem(rows: Row[], item: string): number {
  return rows.findLastIndex((row) => {
    const folded = row.kind === 'group' ? row.items : row.kind === 'end' ? row.notices : null;
    return folded?.some((each) => each.id === item) || (row.kind !== 'group' && idOf(row) === item);
  });
}

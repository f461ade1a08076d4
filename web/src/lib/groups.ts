// The list of sessions in its groups: pinned, at work, then by the day on which something last happened.

import { t } from '../i18n/index.svelte';
import { dateOf } from './format';
import type { SessionRow } from './types';

export interface Group {
  /** pinned, now, today, yesterday, or a month as 2026-11. */
  key: string;
  name: string;
  rows: SessionRow[];
}

/** What a list shows: all that is not archived, or a part of it; what is archived; what was deleted. */
export type Filter =
  | { kind: 'all' | 'archived' | 'trash' }
  | { kind: 'project'; id: string }
  | { kind: 'tag'; tag: string };

export function filterKey(filter: Filter): string {
  if (filter.kind === 'project') return `project ${filter.id}`;
  return filter.kind === 'tag' ? `tag ${filter.tag}` : filter.kind;
}

export function filterQuery(filter: Filter): string {
  switch (filter.kind) {
    case 'project':
      return `&project=${encodeURIComponent(filter.id)}`;
    case 'tag':
      return `&tag=${encodeURIComponent(filter.tag)}`;
    case 'archived':
      return '&archived=true';
    case 'trash':
      return '&deleted=true';
    default:
      return '';
  }
}

/** Whether a session that is not in the trash belongs to what the list shows. */
export function fits(row: SessionRow, filter: Filter): boolean {
  if (filter.kind === 'trash') return false;
  if (filter.kind === 'archived') return Boolean(row.archived);
  if (row.archived) return false;
  if (filter.kind === 'project') return row.project === filter.id;
  return filter.kind !== 'tag' || (row.tags?.includes(filter.tag) ?? false);
}

/** A run is under way, or asks, or is to come. */
export function atWork(row: SessionRow): boolean {
  return row.state === 'running' || row.state === 'waiting' || row.state === 'queued';
}

// A row never changes, a new one takes its place: its day is computed once.
const days = new WeakMap<SessionRow, number>();

/** The moment by which a list places a row: when something last happened in it, or when it came into the trash. */
export function momentOf(row: SessionRow): string {
  return row.deleted_at ?? row.last_at;
}

/** The day of that moment, as 20261124. */
function dayOf(row: SessionRow): number {
  let day = days.get(row);
  if (day === undefined) days.set(row, (day = dayNumber(new Date(momentOf(row)))));
  return day;
}

const dayNumber = (d: Date) => d.getFullYear() * 10_000 + (d.getMonth() + 1) * 100 + d.getDate();

/** The midnight with which the day of a moment began. */
export function startOfDay(now: number): number {
  const d = new Date(now);
  return new Date(d.getFullYear(), d.getMonth(), d.getDate()).getTime();
}

/** The rows, which are in the list's order, in their groups; empty ones are left out. */
export function groupRows(rows: readonly SessionRow[], now: number): Group[] {
  const date = new Date(now);
  const today = dayNumber(date);
  const yesterday = dayNumber(new Date(date.getFullYear(), date.getMonth(), date.getDate() - 1));
  const pinned: SessionRow[] = [];
  const working: SessionRow[] = [];
  const byDay = new Map<number, SessionRow[]>();
  for (const row of rows) {
    if (row.pinned) pinned.push(row);
    else if (atWork(row)) working.push(row);
    else {
      const day = dayOf(row);
      // What a clock ahead of this one wrote is of today; months have no day.
      const place = day >= today ? today : day === yesterday ? yesterday : Math.floor(day / 100);
      const there = byDay.get(place);
      if (there) there.push(row);
      else byDay.set(place, [row]);
    }
  }
  const groups: Group[] = [];
  if (pinned.length > 0) groups.push({ key: 'pinned', name: t.list.pinned, rows: pinned });
  if (working.length > 0) groups.push({ key: 'now', name: t.list.now, rows: working });
  // Days are greater than months, and the later ones greater than the earlier.
  for (const place of [...byDay.keys()].sort((a, b) => b - a)) {
    groups.push({ ...heading(place, today, yesterday), rows: byDay.get(place)! });
  }
  return groups;
}

function heading(place: number, today: number, yesterday: number): { key: string; name: string } {
  if (place === today) return { key: 'today', name: t.time.today };
  if (place === yesterday) return { key: 'yesterday', name: t.time.yesterday };
  const [year, month] = [Math.floor(place / 100), place % 100];
  const name = place === Math.floor(today / 100) ? t.time.thisMonth : dateOf(new Date(year, month - 1, 15), { month: 'long', year: 'numeric' });
  return { key: `${year}-${String(month).padStart(2, '0')}`, name };
}

/**
 * The groups as they were, with the rows as they are: nothing moves under a pointer. What is gone is left out, what
 * is older than all that was there comes at the end, what is new comes when the list is let go.
 */
export function holdPlaces(held: readonly Group[], rows: readonly SessionRow[], now: number): Group[] {
  const here = new Map(rows.map((row) => [row.id, row]));
  let oldest = Infinity;
  const groups = held.map((group) => ({
    ...group,
    rows: group.rows.flatMap((old) => {
      if (!old.pinned) oldest = Math.min(oldest, old.activity);
      const row = here.get(old.id);
      here.delete(old.id);
      return row ? [row] : [];
    }),
  }));
  const older = [...here.values()].filter((row) => row.activity < oldest && !row.pinned);
  for (const group of groupRows(older, now)) {
    const there = groups.find((each) => each.key === group.key);
    if (there) there.rows.push(...group.rows);
    else groups.push(group);
  }
  return groups.filter((group) => group.rows.length > 0);
}

/** The session so many rows further on, at most to the end; the first one where id is in no group. */
export function stepFrom(groups: readonly Group[], id: string, by: number): SessionRow | null {
  const rows = groups.flatMap((group) => group.rows);
  const at = rows.findIndex((row) => row.id === id);
  if (at < 0) return (by < 0 ? null : rows[0]) ?? null;
  return rows[Math.max(0, Math.min(rows.length - 1, at + by))] ?? null;
}

/** The ids from one row to another, both of them included, in the list's order. */
export function rangeOf(groups: readonly Group[], from: string, to: string): string[] {
  const ids = groups.flatMap((group) => group.rows.map((row) => row.id));
  const [a, b] = [ids.indexOf(from), ids.indexOf(to)];
  if (a < 0 || b < 0) return b < 0 ? [] : [to];
  return ids.slice(Math.min(a, b), Math.max(a, b) + 1);
}

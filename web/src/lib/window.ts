// Of a list of ten thousand sessions only those near the window are in the document. All rows are of one height, all
// heads of another, so where each stands is arithmetic.

import type { Group } from './groups';
import type { SessionRow } from './types';

export interface Sizes {
  head: number;
  row: number;
}

export interface Placed {
  groups: readonly Group[];
  /** Where each group begins. */
  tops: number[];
  total: number;
  sizes: Sizes;
}

/** A group as it is drawn: its place, and those of its rows that are near the window. */
export interface Part {
  group: Group;
  top: number;
  height: number;
  /** index is that within the group, top within the group's box. */
  rows: { row: SessionRow; index: number; top: number }[];
}

export function place(groups: readonly Group[], sizes: Sizes): Placed {
  const tops: number[] = [];
  let total = 0;
  for (const group of groups) {
    tops.push(total);
    total += sizes.head + group.rows.length * sizes.row;
  }
  return { groups, tops, total, sizes };
}

/** What is to be drawn between two heights; keep is a row that is drawn wherever it is: the focus stands on it. */
export function windowOf(placed: Placed, from: number, to: number, keep = ''): Part[] {
  const { groups, tops, sizes } = placed;
  const parts: Part[] = [];
  groups.forEach((group, i) => {
    const top = tops[i]!;
    const n = group.rows.length;
    const height = sizes.head + n * sizes.row;
    const within = (y: number) => Math.max(0, Math.min(n, y));
    const first = within(Math.floor((from - top - sizes.head) / sizes.row));
    const last = within(Math.ceil((to - top - sizes.head) / sizes.row));
    const indices: number[] = [];
    for (let at = first; at < last; at++) indices.push(at);
    const kept = keep ? group.rows.findIndex((row) => row.id === keep) : -1;
    if (kept >= 0 && kept < first) indices.unshift(kept);
    else if (kept >= 0 && kept >= last) indices.push(kept);
    const seen = top < to && top + height > from;
    if (!seen && indices.length === 0) return;
    parts.push({ group, top, height, rows: indices.map((index) => ({ row: group.rows[index]!, index, top: sizes.head + index * sizes.row })) });
  });
  return parts;
}

/** Where a row stands, or -1. */
export function topOf(placed: Placed, id: string): number {
  for (const [i, group] of placed.groups.entries()) {
    const at = group.rows.findIndex((row) => row.id === id);
    if (at >= 0) return placed.tops[i]! + placed.sizes.head + at * placed.sizes.row;
  }
  return -1;
}

/** The rows at a height and below it, each with its group: what a list that grows above is held by. */
export function rowsAt(placed: Placed, y: number, most: number): { id: string; group: string; top: number }[] {
  const found: { id: string; group: string; top: number }[] = [];
  for (const [i, group] of placed.groups.entries()) {
    const begin = placed.tops[i]! + placed.sizes.head;
    const first = Math.max(0, Math.ceil((y - begin) / placed.sizes.row));
    for (let at = first; at < group.rows.length && found.length < most; at++) {
      found.push({ id: group.rows[at]!.id, group: group.key, top: begin + at * placed.sizes.row });
    }
    if (found.length >= most) break;
  }
  return found;
}

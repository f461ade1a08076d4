import { describe, expect, it } from 'vitest';
import type { Group } from './groups';
import type { SessionRow } from './types';
import { place, rowsAt, topOf, windowOf } from './window';

const group = (key: string, from: number, n: number): Group => ({
  key,
  name: key,
  rows: Array.from({ length: n }, (_, i) => ({ id: `s${from + i}` }) as SessionRow),
});
const sizes = { head: 30, row: 50 };
const placed = place([group('today', 0, 3), group('older', 3, 9997)], sizes);
const ids = (from: number, to: number, keep?: string) => windowOf(placed, from, to, keep).flatMap((part) => part.rows.map((each) => each.row.id));

describe('the window of ten thousand rows', () => {
  it('has the rows that are seen, and no others', () => {
    expect(placed.total).toBe(60 + 10_000 * 50);
    expect(ids(0, 100)).toEqual(['s0', 's1']);
    expect(ids(170, 260)).toEqual(['s2', 's3']);
    expect(windowOf(placed, 200_000, 200_800).flatMap((part) => part.rows).length).toBeLessThanOrEqual(17);
    expect(ids(placed.total - 60, placed.total + 500)).toEqual(['s9998', 's9999']);
  });

  it('puts each row where it stands', () => {
    const [today, older] = windowOf(placed, 0, 400);
    expect([today!.top, today!.height, older!.top]).toEqual([0, 180, 180]);
    expect(older!.rows[1]).toMatchObject({ index: 1, top: 80 });
    expect([topOf(placed, 's0'), topOf(placed, 's3'), topOf(placed, 's9999'), topOf(placed, 'gone')]).toEqual([30, 210, placed.total - 50, -1]);
  });

  it('keeps the row on which the focus stands, wherever it is', () => {
    expect(ids(400_000, 400_050, 's1')).toContain('s1');
    expect(ids(400_000, 400_050, 's9999').at(-1)).toBe('s9999');
    expect(ids(0, 100, 's0')).toEqual(['s0', 's1']);
  });

  it('is held by the first whole rows in it', () => {
    expect(rowsAt(placed, 100, 3)).toEqual([
      { id: 's2', group: 'today', top: 130 },
      { id: 's3', group: 'older', top: 210 },
      { id: 's4', group: 'older', top: 260 },
    ]);
  });

  it('of nothing is nothing', () => {
    expect(windowOf(place([], sizes), 0, 1000)).toEqual([]);
  });
});

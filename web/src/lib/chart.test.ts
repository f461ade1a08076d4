import { describe, expect, it } from 'vitest';
import { excessPath, extentOf, gapOf, hourly, linePath, nearest, runsOf, topOf, xOf, yOf, type Frame } from './chart';

const MIN = 60_000;
const points = (...values: (number | null)[]) => values.map((value, i) => ({ at: i * MIN, value }));
const frame: Frame = { from: 0, to: 4 * MIN, top: 100, width: 300, height: 76 };

describe('scales', () => {
  it('have zero at the base and the top at the upper edge, and leave nothing outside', () => {
    expect([0, 50, 100, 200, -5].map((value) => yOf(value, frame))).toEqual([76, 38, 0, 0, 76]);
    expect([0, 2 * MIN, 4 * MIN, -MIN, 9 * MIN].map((at) => xOf(at, frame))).toEqual([0, 150, 300, 0, 300]);
  });

  it('leave air above the highest of all lines, and do not blow up a flat one', () => {
    expect(topOf([points(4, 8), points(40, 20)])).toBe(50);
    expect(topOf([points(0, 0)], 10)).toBe(10);
    expect(topOf([[]])).toBe(1);
  });
});

describe('lines', () => {
  it('go from point to point, or in steps', () => {
    expect(linePath(points(0, 50, 100), frame)).toBe('M0 76L75 38L150 0');
    expect(linePath(points(0, 50), frame, true)).toBe('M0 76H75V38');
  });

  it('have a gap where nothing is known, and where the host was down', () => {
    expect(linePath(points(0, 0, null, 0, 0), frame)).toBe('M0 76L75 76M225 76L300 76');
    const down = [0, 1, 2, 3, 60, 61].map((minute) => ({ at: minute * MIN, value: 1 }));
    expect(gapOf(down)).toBe(3 * MIN);
    expect(runsOf(down).map((run) => run.length)).toEqual([4, 2]);
  });

  it('are a dot where there is one point, and nothing where there is none', () => {
    expect(linePath([{ at: 0, value: 100 }], frame)).toBe('M0 0h0.01');
    expect(linePath([], frame)).toBe('');
    expect(linePath(points(null, NaN), frame)).toBe('');
  });

  it('leave out what is before the axis', () => {
    expect(linePath(points(0, 50, 100), { ...frame, from: MIN })).toBe('M0 38L100 0');
  });

  it('are filled between what is open and what is expected, where that is more than slack', () => {
    expect(excessPath(points(50, 51, 50), points(50, 50, 50), frame, 2)).toBe('');
    expect(excessPath(points(50, 100, 100, 50), points(50, 50, 50, 50), frame, 2)).toBe('M75 0L150 0L150 38L75 38Z');
  });
});

describe('what is read off', () => {
  it('is the nearest point within reach', () => {
    const all = points(1, 2, 3);
    expect(nearest(all, 1.4 * MIN)?.value).toBe(2);
    expect(nearest(all, 1.6 * MIN)?.value).toBe(3);
    expect(nearest(all, -9 * MIN)?.value).toBe(1);
    expect(nearest(all, 99 * MIN, 10 * MIN)).toBeNull();
    expect(nearest([], 0)).toBeNull();
  });

  it('is the least, the most and the last', () => {
    expect(extentOf(points(3, null, 9, 4))).toEqual({ least: 3, most: 9, mostAt: 2 * MIN, last: 4 });
    expect(extentOf(points(null))).toBeNull();
  });

  it('is one row an hour, newest first', () => {
    const all = Array.from({ length: 150 }, (_, i) => ({ at: i * MIN, value: i }));
    expect(hourly(all).map((point) => point.value)).toEqual([149, 119, 59]);
  });
});

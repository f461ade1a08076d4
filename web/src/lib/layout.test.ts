import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Layout } from './layout';

const rowsOf = (...keys: string[]) => keys.map((key) => ({ key }));

describe('Layout', () => {
  it('puts rows below each other, by what was measured and else by the guess', () => {
    const layout = new Layout<{ key: string }>(() => 10);
    layout.set(rowsOf('a', 'b', 'c'));
    expect([0, 1, 2, 3].map((i) => layout.top(i))).toEqual([0, 10, 20, 30]);
    layout.measure(1, 25);
    expect([0, 1, 2, 3].map((i) => layout.top(i))).toEqual([0, 10, 35, 45]);
    expect([-5, 0, 9, 10, 34, 35, 44, 45, 99].map((y) => layout.at(y))).toEqual([0, 0, 0, 1, 1, 2, 2, 2, 2]);
    layout.forget();
    expect(layout.total).toBe(30);
  });

  it('keeps what was measured when an older page comes before it', () => {
    const layout = new Layout<{ key: string }>(() => 10);
    const rows = rowsOf('c', 'd');
    layout.set(rows);
    layout.measure(0, 40);
    expect(layout.total).toBe(50);
    layout.set([...rowsOf('a', 'b'), ...rows]);
    expect(layout.top(2)).toBe(20);
    expect(layout.total).toBe(70);
  });

  it('is at each time what a sum over all rows is', () => {
    const step = fc.oneof(
      fc.record({ measure: fc.nat(30), height: fc.integer({ min: 1, max: 300 }) }),
      fc.record({ append: fc.nat(5) }),
      fc.record({ prepend: fc.nat(5) }),
      fc.record({ replace: fc.nat(30) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const layout = new Layout<{ key: string }>((row) => 5 + row.key.length);
        const measured = new Map<string, number>();
        let rows = rowsOf('0');
        let n = 0;
        layout.set(rows);
        for (const each of steps) {
          if ('measure' in each) {
            const i = each.measure % rows.length;
            measured.set(rows[i]!.key, each.height);
            layout.measure(i, each.height);
          } else {
            if ('append' in each) rows = [...rows, ...Array.from({ length: each.append }, () => ({ key: `a${++n}` }))];
            else if ('prepend' in each) rows = [...Array.from({ length: each.prepend }, () => ({ key: `p${++n}` })), ...rows];
            else rows = rows.map((row, i) => (i === each.replace % rows.length ? { ...row } : row));
            layout.set(rows);
          }
          let sum = 0;
          for (let i = 0; i < rows.length; i++) {
            expect(layout.top(i)).toBe(sum);
            sum += measured.get(rows[i]!.key) ?? 5 + rows[i]!.key.length;
          }
          expect(layout.total).toBe(sum);
          const at = layout.at(sum / 2);
          expect(layout.top(at)).toBeLessThanOrEqual(sum / 2);
          expect(layout.top(at + 1)).toBeGreaterThan(sum / 2);
        }
      }),
      { numRuns: 60 },
    );
  });
});

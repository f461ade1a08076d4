import { describe, expect, it } from 'vitest';
import { filterQuery, fits, groupRows, holdPlaces, rangeOf, startOfDay, stepFrom, type Group } from './groups';
import type { SessionRow, SessionState } from './types';

const NOW = new Date(2026, 10, 24, 14, 0).getTime();
let events = 1000;

function row(id: string, at: [number, number, number, number?], more: Partial<SessionRow> = {}): SessionRow {
  return { id, title: id, agent: 'a', cwd: '/w', state: 'idle', last_at: new Date(...(at as [number, number, number])).toISOString(), activity: --events, last_event: 5000 - events, ...more } as SessionRow;
}

const shown = (groups: Group[]) => groups.map((group) => [group.name, ...group.rows.map((each) => each.id)].join(' '));

describe('the groups', () => {
  it('are the pinned, those at work, the days and the months', () => {
    const rows = [
      row('runs', [2026, 10, 3], { state: 'running' }),
      row('pinned', [2024, 1, 1], { pinned: true, state: 'running' }),
      row('today', [2026, 10, 24, 9]),
      row('asks', [2026, 10, 24], { state: 'waiting' }),
      row('ahead', [2026, 10, 25]),
      row('yesterday', [2026, 10, 23, 23]),
      row('month', [2026, 10, 22]),
      row('queued', [2026, 9, 1], { state: 'queued' }),
      row('october', [2026, 9, 31]),
      row('last', [2025, 10, 24], { state: 'failed' }),
    ];
    expect(shown(groupRows(rows, NOW))).toEqual([
      'Pinned pinned',
      'Now runs asks queued',
      'Today today ahead',
      'Yesterday yesterday',
      'Earlier this month month',
      'October 2026 october',
      'November 2025 last',
    ]);
  });

  it('are in the order of time, whatever the order of the log', () => {
    expect(shown(groupRows([row('old', [2026, 9, 2]), row('new', [2026, 10, 24])], NOW))).toEqual(['Today new', 'October 2026 old']);
  });

  it('place what was deleted by the day on which it was', () => {
    const gone = row('gone', [2026, 9, 2], { deleted_at: new Date(2026, 10, 23, 12).toISOString() });
    expect(shown(groupRows([gone], NOW))).toEqual(['Yesterday gone']);
  });

  it('know yesterday on the first of a month', () => {
    expect(shown(groupRows([row('a', [2026, 10, 30])], new Date(2026, 11, 1, 0, 5).getTime()))).toEqual(['Yesterday a']);
  });
});

describe('a list under the pointer', () => {
  const a = row('a', [2026, 10, 24]);
  const b = row('b', [2026, 10, 24]);
  const c = row('c', [2026, 10, 23]);
  const held = groupRows([a, b, c], NOW);
  const change = (old: SessionRow, state: SessionState, activity: number) => ({ ...old, state, activity });

  it('keeps every row at its place while they change, come and go', () => {
    const b2 = change(b, 'running', 2000);
    const fresh = row('fresh', [2026, 10, 24], { activity: 2001 });
    const groups = holdPlaces(held, [fresh, b2, a], NOW);
    expect(shown(groups)).toEqual(['Today a b']);
    expect(groups[0]!.rows[1]).toBe(b2);
  });

  it('takes older pages at its end', () => {
    expect(shown(holdPlaces(held, [a, b, c, row('d', [2026, 10, 23]), row('e', [2026, 9, 1])], NOW))).toEqual(['Today a b', 'Yesterday c d', 'October 2026 e']);
  });
});

describe('a filter', () => {
  const plain = row('p', [2026, 10, 24]);
  const tagged = { ...plain, tags: ['work'], project: 'x' };
  const archived = { ...tagged, archived: true };

  it.each([
    [{ kind: 'all' }, [true, true, false], ''],
    [{ kind: 'archived' }, [false, false, true], '&archived=true'],
    [{ kind: 'tag', tag: 'work' }, [false, true, false], '&tag=work'],
    [{ kind: 'tag', tag: 'a&b' }, [false, false, false], '&tag=a%26b'],
    [{ kind: 'project', id: 'x' }, [false, true, false], '&project=x'],
    [{ kind: 'trash' }, [false, false, false], '&deleted=true'],
  ] as const)('%o takes what belongs to it', (filter, expected, query) => {
    expect([plain, tagged, archived].map((each) => fits(each, filter))).toEqual(expected);
    expect(filterQuery(filter)).toBe(query);
  });
});

describe('going through the list', () => {
  const groups = groupRows([row('a', [2026, 10, 24], { state: 'running' }), row('b', [2026, 10, 24]), row('c', [2026, 9, 3])], NOW);

  it('goes over the bounds of groups and stops at the ends', () => {
    expect(['a', 'b', 'c'].map((id) => stepFrom(groups, id, 1)?.id)).toEqual(['b', 'c', 'c']);
    expect(stepFrom(groups, 'c', -Infinity)?.id).toBe('a');
    expect(stepFrom(groups, 'gone', 1)?.id).toBe('a');
    expect(stepFrom(groups, 'gone', -1)).toBe(null);
    expect(stepFrom([], 'a', 1)).toBe(null);
  });

  it('selects from one row to another, in either direction', () => {
    expect(rangeOf(groups, 'c', 'a')).toEqual(['a', 'b', 'c']);
    expect(rangeOf(groups, 'gone', 'b')).toEqual(['b']);
  });
});

it('a day begins at midnight', () => {
  expect(startOfDay(NOW)).toBe(new Date(2026, 10, 24).getTime());
});

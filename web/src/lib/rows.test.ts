import { describe, expect, it } from 'vitest';
import { emptyView, type View } from './fold';
import { groupWords, planOf, transcript } from './rows';
import type { Item, SessionRow, ToolItem } from './types';

const row = (more: Partial<SessionRow> = {}): SessionRow => ({
  id: 's', title: '', agent: 'a', cwd: '/w', state: 'idle', waiting: 0, queued: 0, paused: false, run: '', agent_state: 'ready',
  created_at: '', last_at: '2026-11-24T12:00:00.000Z', last_event: 1, seq: 1, version: 1, ...more,
});
let n = 0;
const item = (kind: Item['kind'], id: string, run: string, body: object = { text: id }, open = false): Item =>
  ({ id, session: 's', run, kind, seq: ++n, at: '2026-11-24T12:00:00.000Z', open, body }) as Item;
const tool = (id: string, kind: string, status = 'completed', run = 'r1') => item('tool', id, run, { kind, status, title: id, tool_call_id: id });
const view = (items: Item[], more: Partial<View> = {}): View => ({ ...emptyView('s'), items, ...more });
const keys = (v: View, r: SessionRow | null) => transcript(v, r).rows.map((each) => each.key);

describe('transcript', () => {
  it('folds three reads in a row, not two, and none that failed', () => {
    expect(keys(view([tool('a', 'read'), tool('b', 'search'), tool('c', 'read')]), row())).toEqual(['ga']);
    expect(keys(view([tool('a', 'read'), tool('b', 'search')]), row())).toEqual(['a', 'b']);
    expect(keys(view([tool('a', 'read'), tool('b', 'read', 'failed'), tool('c', 'read')]), row())).toEqual(['a', 'b', 'c']);
    const group = transcript(view([tool('a', 'read'), tool('b', 'search'), tool('c', 'read')]), row()).rows[0];
    expect(group?.kind === 'group' && groupWords(group.items as ToolItem[])).toBe('Read 2 files, searched once');
  });

  it('shows a message where its run begins, and keeps queued ones apart', () => {
    const items = [item('user', 'u1', 'r1'), item('user', 'u2', 'r2'), item('user', 'u3', 'r3'), item('assistant', 'a1', 'r1'), item('assistant', 'a2', 'r2')];
    const got = transcript(view(items, { queue: [{ run: 'r3', item: 'u3' }] }), row({ run: 'r2', queued: 1 }));
    expect(got.rows.map((each) => each.key)).toEqual(['u1', 'a1', 'u2', 'a2']);
    expect(got.queue.map((each) => each.item.id)).toEqual(['u3']);
  });

  it('finds the queue of a snapshot by its length', () => {
    const items = [item('user', 'u1', 'r1'), item('assistant', 'a1', 'r1'), item('user', 'u2', 'r2'), item('user', 'u3', 'r3')];
    expect(transcript(view(items), row({ run: 'r1', queued: 2 })).queue.map((each) => each.run)).toEqual(['r2', 'r3']);
    expect(transcript(view(items), row({ run: 'r1', queued: 0 })).queue).toEqual([]);
  });

  it('marks ends that are not ordinary', () => {
    const items = [item('user', 'u1', 'r1'), item('assistant', 'a1', 'r1'), item('user', 'u2', 'r2'), item('assistant', 'a2', 'r2')];
    expect(keys(view(items, { runs: { r1: { id: 'r1', item: 'u1', state: 'ended', reason: 'cancelled' } } }), row())).toEqual(['u1', 'a1', 'er1', 'u2', 'a2']);
    expect(keys(view(items, { runs: { r2: { id: 'r2', item: 'u2', state: 'ended', reason: 'end_turn' } } }), row())).toEqual(['u1', 'a1', 'u2', 'a2']);
    const last = transcript(view(items), row({ state: 'interrupted', reason: 'interrupted' })).rows.at(-1);
    expect(last).toMatchObject({ kind: 'end', run: 'r2', reason: 'interrupted', question: { id: 'u2' } });
    expect(keys(view(items), row({ run: 'r2', state: 'running', reason: '' }))).toEqual(['u1', 'a1', 'u2', 'a2']);
  });

  it('knows the newest plan and its step', () => {
    const entries = (a: string, b: string) => ({ entries: [{ content: 'A', status: a }, { content: 'B', status: b }] });
    expect(planOf(view([item('plan', 'p', 'r1', entries('completed', 'in_progress'))]))).toMatchObject({ done: 1, now: 'B' });
    expect(planOf(view([item('plan', 'p', 'r1', entries('completed', 'completed'))]))).toMatchObject({ done: 2, now: 'All done' });
    expect(planOf(view([]))).toBeNull();
  });
});

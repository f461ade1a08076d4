import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { changesOf } from './changes';
import { emptyView, fold, fromSnapshot, trimmed, withOlder, type View } from './fold';
import { groupWords, planOf, printedAt, rowOfItem, transcript, transcripts } from './rows';
import type { Item, ItemsPage, PlanItem, Run, ToolItem, UserItem } from './types';

let n = 0;
const item = (kind: Item['kind'], id: string, run: string, body: object = { text: id }, open = false): Item =>
  ({ id, session: 's', run, kind, seq: ++n, at: '2026-11-24T12:00:00.000Z', open, body }) as Item;
const tool = (id: string, kind: string, status = 'completed', run = 'r1') => item('tool', id, run, { kind, status, title: id, tool_call_id: id });
const view = (items: Item[], more: Partial<View> = {}): View => ({ ...emptyView('s'), items, ...more });
const runs = (...list: [id: string, item: string, state: Run['state'], more?: Partial<Run>][]) =>
  Object.fromEntries(list.map(([id, it, state, more]) => [id, { id, item: it, state, ...more }]));
const keys = (v: View) => transcript(v).rows.map((each) => each.key);

describe('transcript', () => {
  it('folds three reads in a row, not two, and none that failed', () => {
    expect(keys(view([tool('a', 'read'), tool('b', 'search'), tool('c', 'read')]))).toEqual(['ga']);
    expect(keys(view([tool('a', 'read'), tool('b', 'search')]))).toEqual(['a', 'b']);
    expect(keys(view([tool('a', 'read'), tool('b', 'read', 'failed'), tool('c', 'read')]))).toEqual(['a', 'b', 'c']);
    const group = transcript(view([tool('a', 'read'), tool('b', 'search'), tool('c', 'read')])).rows[0];
    expect(group?.kind === 'group' && groupWords(group.items as ToolItem[])).toBe('Read 2 files, searched once');
  });

  it('shows a message where its run begins, and keeps queued ones apart', () => {
    const items = [item('user', 'u1', 'r1'), item('user', 'u2', 'r2'), item('user', 'u3', 'r3'), item('assistant', 'a1', 'r1'), item('assistant', 'a2', 'r2')];
    const got = transcript(view(items, { queue: [{ run: 'r3', item: 'u3' }], runs: runs(['r2', 'u2', 'current', { started_at: 'x' }], ['r3', 'u3', 'queued']) }));
    expect(got.rows.map((each) => each.key)).toEqual(['u1', 'a1', 'u2', 'a2']);
    expect(got.rows.map((each) => each.kind === 'item' && each.live)).toEqual([false, false, true, true]);
    expect(got.queue.map((each) => each.item.id)).toEqual(['u3']);
    expect(got.next).toBeNull();
  });

  it('has no end of a run, nor what waits, where the log goes on behind what is here', () => {
    const at = (sec: number, one: Item): Item => ({ ...one, at: `2026-11-24T12:00:0${sec}.000Z` });
    const items = [at(1, item('user', 'u1', 'r1')), at(2, item('assistant', 'a1', 'r1')), at(3, item('user', 'u2', 'r2')), at(4, item('assistant', 'a2', 'r2'))];
    const ended = (id: string, sec: number): [string, string, 'ended', Partial<Run>] => [id, `u${id[1]}`, 'ended', { reason: 'interrupted', started_at: 'x', ended_at: `2026-11-24T12:00:0${sec}.000Z` }];
    const of = { runs: runs(ended('r1', 2), ended('r2', 9)) };
    expect(keys(view(items, of))).toEqual(['u1', 'a1', 'er1', 'u2', 'a2', 'er2']);
    expect(keys(view(items, { ...of, ahead: true }))).toEqual(['u1', 'a1', 'er1', 'u2', 'a2']);
    // Told one after the other, it comes when the rest is here.
    const told = transcripts();
    told(view(items, { ...of, ahead: true }));
    expect(told(view(items, of)).rows.map((each) => each.key)).toEqual(['u1', 'a1', 'er1', 'u2', 'a2', 'er2']);
    // A message that is next stands at the end; said into a run behind what is here, it stands there.
    const asked = [{ item: item('user', 'u3', 'r3') as UserItem, before: 0 }];
    expect(keys(view(items.slice(0, 2), { runs: runs(['r3', 'u3', 'current', { started_at: 'x' }]), asked, ahead: true }))).toEqual(['u1', 'a1']);
    expect(keys(view(items.slice(0, 2), { runs: runs(['r3', 'u3', 'current', { started_at: 'x' }]), asked }))).toEqual(['u1', 'a1', 'u3']);
  });

  it('shows what was said into a run where that was, and asks again only what began it', () => {
    const steer = (state: string, seq?: number) => ({ text: 'x', steer: { state, ...(seq && { seq }) } });
    const items = [
      item('user', 'u1', 'r1'),
      item('user', 'waited', 'r1', steer('read', n + 4)), // said behind the second tool
      tool('t1', 'execute'),
      item('user', 'typed', 'r1', steer('taken')),
      tool('t2', 'execute'),
      item('user', 'u4', 'r4'),
      tool('t3', 'execute'),
    ];
    items[1]!.body = steer('read', items[4]!.seq);
    const shown = transcript(view(items, { runs: runs(['r1', 'u1', 'ended', { reason: 'interrupted', started_at: 'x' }], ['r4', 'u4', 'queued']), queue: [{ run: 'r4', item: 'u4' }] }));
    expect(shown.rows.map((each) => each.key)).toEqual(['u1', 't1', 'typed', 't2', 'waited', 't3', 'er1']);
    expect(shown.rows.at(-1)).toMatchObject({ question: { id: 'u1' } });
    items[1]!.body = steer('late', items[4]!.seq);
    items[1]!.run = 'r2';
    const late = { runs: runs(['r1', 'u1', 'ended', { reason: 'end_turn' }], ['r2', 'waited', 'current', { started_at: 'x' }]) };
    expect(keys(view(items.slice(0, 5), late))).toEqual(['u1', 't1', 'typed', 't2', 'waited']);
    const asked = [{ item: { ...items[1]!, run: 'r1', body: steer('read', items[3]!.seq) } as UserItem, before: items[3]!.seq }];
    expect(keys(view(items.slice(2, 5), { ...late, asked }))).toEqual(['t1', 'typed', 'waited', 't2']);
    expect(keys(view(items.slice(4, 5), { ...late, asked }))).toEqual(['t2']);
    expect(keys(view([...items.slice(0, 5), item('assistant', 'a2', 'r2')], late))).toEqual(['u1', 't1', 'typed', 't2', 'waited', 'a2']);
  });

  it('shows what was sent before the page and said into the run under way once', () => {
    const waited = item('user', 'waited', 'r2');
    const items = [tool('t1', 'execute'), item('user', 'u2', 'r2'), tool('t2', 'execute', 'completed', 'r2'), tool('t3', 'execute', 'completed', 'r2')];
    const said = items[2]!.seq;
    waited.body = { text: 'x', steer: { state: 'read', seq: said } };
    const v = view(items, { runs: runs(['r1', 'u1', 'ended', { reason: 'end_turn' }], ['r2', 'u2', 'current', { started_at: 'x' }]), asked: [{ item: waited as UserItem, before: said }] });
    expect(keys(v)).toEqual(['t1', 'u2', 't2', 'waited', 't3']);
    expect(transcripts()(v)).toEqual(transcript(v));
  });

  it('keeps the message that waits for its agent in the transcript, also before a queue', () => {
    const items = [item('user', 'u1', 'r1'), item('user', 'u2', 'r2'), item('user', 'u3', 'r3')];
    const queue = [{ run: 'r2', item: 'u2' }];
    const got = transcript(view(items, { queue, runs: runs(['r2', 'u2', 'queued'], ['r3', 'u3', 'current'], ['r1', 'u1', 'ended', { reason: 'end_turn' }]) }));
    expect(got.next?.id).toBe('u3');
    expect(got.rows.map((each) => each.key)).toEqual(['u1', 'u3']);
    expect(got.queue.map((each) => each.item.id)).toEqual(['u2']);
  });

  it('marks ends that are not ordinary', () => {
    const items = [item('user', 'u1', 'r1'), item('assistant', 'a1', 'r1'), item('user', 'u2', 'r2'), item('assistant', 'a2', 'r2')];
    expect(keys(view(items, { runs: runs(['r1', 'u1', 'ended', { reason: 'cancelled' }]) }))).toEqual(['u1', 'a1', 'er1', 'u2', 'a2']);
    expect(keys(view(items, { runs: runs(['r2', 'u2', 'ended', { reason: 'end_turn' }]) }))).toEqual(['u1', 'a1', 'u2', 'a2']);
    const last = transcript(view(items, { runs: runs(['r2', 'u2', 'ended', { reason: 'interrupted', detail: 'killed' }]) })).rows.at(-1);
    expect(last).toMatchObject({ kind: 'end', run: { id: 'r2', detail: 'killed' }, question: { id: 'u2' }, empty: false });
    expect(keys(view(items, { runs: runs(['r2', 'u2', 'current', { started_at: 'x' }]) }))).toEqual(['u1', 'a1', 'u2', 'a2']);
  });

  it('says once why an agent did not come', () => {
    const items = [item('user', 'u1', 'r1'), item('notice', 'n1', 'r1', { level: 'error', text: 'Log in first.' })];
    const failed = { runs: runs(['r1', 'u1', 'ended', { reason: 'error', detail: 'Log in first.' }]) };
    expect(keys(view(items, failed))).toEqual(['u1', 'er1']);
    expect(transcript(view(items, failed)).rows.at(-1)).toMatchObject({ empty: true });
    items[1] = item('notice', 'n1', 'r1', { level: 'error', text: 'Log in first.', detail: 'open the page' });
    const told = transcript(view(items, failed)).rows;
    expect(told.map((each) => each.key)).toEqual(['u1', 'er1']);
    expect(told[1]?.kind === 'end' && printedAt(told[1])).toBe('open the page');
    expect(rowOfItem(told, 'n1')).toBe(1);
  });

  it('has with the end what the agent printed, and the tool that it was at', () => {
    const printed = item('notice', 'n1', 'r1', { level: 'warning', code: 'agent_stderr', text: 'The last.', detail: 'panic' });
    const error = item('notice', 'n2', 'r1', { level: 'error', code: 'agent_error', text: 'The agent ended the run with an error.', detail: 'broken' });
    const other = item('notice', 'n3', 'r1', { level: 'warning', code: 'agent', text: 'Its own', detail: 'words' });
    const items = [item('user', 'u1', 'r1'), item('assistant', 'a1', 'r1'), tool('t1', 'execute', 'cancelled'), other, error, printed];
    const ended = (reason: string) => transcript(view(items, { runs: runs(['r1', 'u1', 'ended', { reason, detail: 'broken' }]) })).rows;
    for (const reason of ['error', 'interrupted']) {
      expect(ended(reason).map((each) => each.key)).toEqual(['u1', 'a1', 't1', 'n3', 'er1']);
      expect(ended(reason).at(-1)).toMatchObject({ tool: { id: 't1' }, notices: [{ id: 'n2' }, { id: 'n1' }] });
      expect(printedAt(ended(reason).at(-1) as never)).toBe('panic');
    }
    expect(ended('cancelled').map((each) => each.key)).toEqual(['u1', 'a1', 't1', 'n3', 'n2', 'n1', 'er1']);
    items.splice(3, 0, item('assistant', 'a2', 'r1'));
    expect(ended('error').at(-1)).toMatchObject({ tool: null });
  });

  it('keeps the mark of a restart where it was, between text and tool', () => {
    const mark = item('notice', 'n1', 'r1', { level: 'info', code: 'host_restarted', text: 'Host restarted at 14:31:52. The run carried on.' });
    const items = [item('user', 'u1', 'r1'), item('assistant', 'a1', 'r1'), mark, tool('t1', 'read'), tool('t2', 'read'), tool('t3', 'read')];
    const got = transcript(view(items, { runs: runs(['r1', 'u1', 'current', { started_at: 'x' }]) })).rows;
    expect(got.map((each) => each.key)).toEqual(['u1', 'a1', 'n1', 'gt1']);
    expect(got[2]).toMatchObject({ live: true });
  });

  it('counts as changed what is known to be done', () => {
    const edit = (id: string, status: string) =>
      item('tool', id, 'r1', { kind: 'edit', status, title: id, tool_call_id: id, content: [{ type: 'diff', path: `/w/${id}`, oldText: 'a\n', newText: 'b\n' }] });
    const items = ['completed', 'pending', 'in_progress', 'failed', 'cancelled', 'unknown'].map((status) => edit(status, status));
    expect(changesOf(view(items), 'r1')).toMatchObject({ files: [{ path: '/w/completed' }], added: 1, removed: 1 });
  });

  it('leaves out the run of a message that was taken from the queue', () => {
    const items = [item('user', 'u1', 'r1'), item('assistant', 'a1', 'r1'), item('user', 'u2', 'r2')];
    const got = transcript(view(items, { runs: runs(['r2', 'u2', 'ended', { reason: 'cancelled' }]) })).rows;
    expect(got.map((each) => each.key)).toEqual(['u1', 'a1', 'u2']);
    expect(got[2]).toMatchObject({ removed: true });
    expect(keys(view(items, { runs: runs(['r2', 'u2', 'ended', { reason: 'cancelled', started_at: 'x' }]) }))).toEqual(['u1', 'a1', 'u2', 'er2']);
  });

  it('knows the newest plan and its step', () => {
    const entries = (a: string, b: string) => ({ entries: [{ content: 'A', status: a }, { content: 'B', status: b }] });
    expect(planOf(view([item('plan', 'p', 'r1', entries('completed', 'in_progress'))]))).toMatchObject({ run: 'r1', done: 1, now: 'B' });
    expect(planOf(view([item('plan', 'p', 'r1', entries('completed', 'completed'))]))).toMatchObject({ done: 2, now: 'All done' });
    expect(planOf(view([]))).toBeNull();
    const old = item('plan', 'p', 'r1', entries('completed', 'in_progress')) as PlanItem;
    expect(planOf(view([], { plan: old }))).toMatchObject({ run: 'r1', done: 1 });
    expect(planOf(view([{ ...old, seq: old.seq + 1, run: 'r2' }], { plan: old }))).toMatchObject({ run: 'r2' });
    // Elsewhere in the session only what goes on now is a plan.
    expect(planOf(view([old], { ahead: true, runs: runs(['r1', 'u1', 'ended']) }))).toBeNull();
    expect(planOf(view([], { ahead: true, plan: old, runs: runs(['r1', 'u1', 'current']) }))).toMatchObject({ run: 'r1' });
  });
});

describe('transcripts', () => {
  it('says of each view what transcript() says, and keeps the rows that stay', () => {
    const step = fc.constantFrom('say', 'tool', 'delta', 'close', 'end', 'queue', 'older', 'notice', 'printed', 'trim', 'steer', 'take', 'late');
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const told = transcripts();
        let v: View = view([]);
        let run = 0;
        let made = 0;
        const put = (more: Partial<View>) => (v = { ...v, ...more });
        const begin = (id: string) => {
          run++;
          const question = v.items.some((each) => each.id === id) ? v.items : [...v.items, item('user', id, `r${run}`)];
          put({ items: question, runs: { ...v.runs, [`r${run}`]: { id: `r${run}`, item: id, state: 'current', started_at: 'x' } } });
        };
        begin('u1');
        let waits = '';
        for (const each of steps) {
          const open = v.items.findLastIndex((one) => one.open);
          if (each === 'say') put({ items: [...v.items, item('assistant', `a${++made}`, `r${run}`, { text: '' }, true)] });
          if (each === 'tool') put({ items: [...v.items, tool(`t${++made}`, 'read', 'completed', `r${run}`)] });
          if (each === 'notice') put({ items: [...v.items, item('notice', `n${++made}`, '', { level: 'info', text: 'x' })] });
          if (each === 'printed') put({ items: [...v.items, item('notice', `n${++made}`, `r${run}`, { level: 'warning', code: 'agent_stderr', text: 'x', detail: 'y' })] });
          if (each === 'delta' && open >= 0) put({ items: v.items.map((one, i) => (i === open ? ({ ...one, body: { text: `x${++made}` } } as Item) : one)) });
          if (each === 'close' && open >= 0) put({ items: v.items.map((one, i) => (i === open ? { ...one, open: false } : one)) });
          if (each === 'queue' && !waits) {
            waits = `q${++made}`;
            put({ items: [...v.items, item('user', waits, `r${run + 1}`)], queue: [{ run: `r${run + 1}`, item: waits }] });
          }
          const steered = (state: string, to: string, seq?: number) => (one: Item) => ({ ...one, run: to, body: { text: one.id, steer: { state, ...(seq && { seq }) } } }) as Item;
          if (each === 'steer') put({ items: [...v.items, item('user', `s${++made}`, `r${run}`, { text: 's', steer: { state: 'taken' } })] });
          if (each === 'take' && waits) {
            const said = steered('sent', `r${run}`, ++n);
            put({ items: v.items.map((one) => (one.id === waits ? said(one) : one)), queue: [] });
            waits = '';
          }
          if (each === 'late' && !waits) {
            waits = v.items.findLast((one) => one.run === `r${run}` && one.kind === 'user' && one.body.steer)?.id ?? '';
            const late = steered('late', `r${run + 1}`);
            if (waits) put({ items: v.items.map((one) => (one.id === waits ? late(one) : one)), queue: [{ run: `r${run + 1}`, item: waits }] });
          }
          if (each === 'end') {
            const id = `r${run}`;
            put({ runs: { ...v.runs, [id]: { ...v.runs[id]!, state: 'ended', reason: ['end_turn', 'cancelled', 'interrupted'][run % 3]! } }, queue: [], items: v.items.map((one) => ({ ...one, open: false })) });
            begin(waits || `q${++made}`);
            waits = '';
          }
          if (each === 'older') put({ items: [{ ...item('user', `o${++made}`, `p${made}`), seq: -2 * made }, { ...item('assistant', `b${made}`, `p${made}`), seq: 1 - 2 * made }, ...v.items], runs: { ...v.runs, [`p${made}`]: { id: `p${made}`, item: `o${made}`, state: 'ended', reason: 'end_turn' } } });
          if (each === 'trim' && v.items.length > 6) put({ items: v.items.slice(2) });
          const got = told(v);
          expect(got).toEqual(transcript(v));
          // A view in which only a text grew keeps every other row.
          const at = v.items.findLastIndex((one) => one.open && one.kind === 'assistant');
          if (at >= 0) {
            put({ items: v.items.map((one, i) => (i === at ? ({ ...one, body: { text: `y${++made}` } } as Item) : one)) });
            const then = told(v);
            expect(then).toEqual(transcript(v));
            expect(then.rows.filter((row, i) => row !== got.rows[i]).length).toBeLessThanOrEqual(1);
          }
        }
      }),
      { numRuns: 200, examples: [[['say', 'queue', 'say', 'say', 'say', 'say', 'trim']]] },
    );
  });
});

describe('pages', () => {
  /** A log in which messages wait while another run is on, change places and are removed; and its pages, as the host has them. */
  function talk(steps: string[]) {
    const items: Item[] = [];
    const known: Record<string, Run> = {};
    let queue: string[] = [];
    let current = '';
    let made = 0;
    const begin = (run: string) => {
      current = run;
      if (run) known[run] = { ...known[run]!, state: 'current' };
    };
    for (const step of steps) {
      if (step === 'send') {
        const run = `r${++made}`;
        items.push(item('user', `u${made}`, run));
        known[run] = { id: run, item: `u${made}`, state: 'queued' };
        if (current) queue.push(run);
        else begin(run);
      } else if (step === 'say' && current) {
        known[current] = { ...known[current]!, started_at: 'x' };
        items.push(item('assistant', `a${++made}`, current));
      } else if (step === 'end' && current && known[current]!.started_at) {
        known[current] = { ...known[current]!, state: 'ended', reason: made % 2 ? 'end_turn' : 'interrupted' };
        begin(queue.shift() ?? '');
      } else if (step === 'turn') queue.reverse();
      else if (step === 'remove' && queue.length > 0) {
        const run = queue.pop()!;
        known[run] = { ...known[run]!, state: 'ended', reason: 'cancelled' };
      }
    }
    const page = (before: number, limit: number): ItemsPage => {
      const older = items.filter((each) => each.seq < before);
      const part = older.slice(-limit);
      const named = new Set(part.map((each) => each.run));
      const newest = before === Infinity;
      const order = [...Object.keys(known).filter((run) => !queue.includes(run)), ...queue];
      const these = order.map((run) => known[run]!).filter((run) => named.has(run.id) || (newest && run.state !== 'ended'));
      const messages = these.flatMap((run) => {
        const message = items.find((each) => each.id === run.item) as UserItem;
        const answer = items.find((each) => each.run === run.id && each.kind !== 'user');
        return part.includes(message) ? [] : [{ item: message, before: answer?.seq ?? 0 }];
      });
      return { items: part, runs: these, messages, cursor: '', last_event: n, seq: n, more: older.length > part.length };
    };
    return { items, page };
  }
  const rowsOf = (v: View) => transcript(v).rows.map((row) => row.key);

  it('are the end of the whole, wherever they begin: nothing comes into the midst of what is shown', () => {
    const step = fc.constantFrom('send', 'send', 'say', 'say', 'say', 'end', 'turn', 'remove');
    fc.assert(
      fc.property(fc.array(step, { maxLength: 50 }), fc.integer({ min: 1, max: 8 }), fc.integer({ min: 1, max: 8 }), (steps, first, more) => {
        const { items, page } = talk(['send', ...steps]);
        const whole = fromSnapshot('s', page(Infinity, 1000));
        const all = rowsOf(whole);
        const told = transcripts();
        let part = fromSnapshot('s', page(Infinity, first));
        for (;;) {
          const rows = rowsOf(part);
          // A message that was removed stands where it was sent.
          expect(rows).toEqual(rows.length ? all.slice(-rows.length) : []);
          expect(told(part)).toEqual(transcript(part));
          expect(transcript(part).queue).toEqual(transcript(whole).queue);
          expect(transcript(part).next).toEqual(transcript(whole).next);
          for (const row of transcript(part).rows) if (row.kind === 'end') expect(row.question?.id).toBe(row.run.item);
          if (part.items.length === items.length) break;
          part = withOlder(part, page(part.items[0]!.seq, more));
        }
        expect(rowsOf(part)).toEqual(all);
        expect(part.asked).toEqual([]);
        const less = trimmed(whole, first);
        const rows = rowsOf(less);
        expect(rows).toEqual(rows.length ? all.slice(-rows.length) : []);
        expect(withOlder(less, page(less.items[0]!.seq, 1000))).toEqual({ ...whole, runs: expect.anything() });
      }),
      { numRuns: 500 },
    );
  });

  it('go on by events where a message stands before them', () => {
    const { page } = talk(['send', 'say', 'send', 'say', 'say', 'end']);
    let v = fromSnapshot('s', page(Infinity, 2));
    expect(rowsOf(v)).toEqual(['a4', 'a5', 'u3'].filter((key) => rowsOf(v).includes(key)));
    expect(v.asked.map(({ item: each, before }) => [each.id, before])).toEqual([
      ['u1', expect.any(Number)],
      ['u3', 0],
    ]);
    const told = (kind: string, run: string, body: object) =>
      (v = fold(v, [{ id: 0, session: 's', seq: v.seq + 1, run, at: '2026-11-24T12:00:00.000Z', kind, body } as never]));
    const before = rowsOf(v);
    told('text.delta', 'r3', { item: 'b', text: 'x' });
    expect(rowsOf(v)).toEqual([...before, 'b']);
    told('transcript.rewound', '', { item: 'u3', seq: v.asked[1]!.item.seq, keep: ['r1'] });
    expect(rowsOf(v)).toEqual(before.filter((key) => key !== 'u3'));
    expect(v.asked.map(({ item: each }) => each.id)).toEqual(['u1']);
  });
});

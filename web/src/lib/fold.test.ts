import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { emptyView, fold, fromSnapshot, withNewer, withOlder, withOptions, withoutNewer, withTail, type View } from './fold';
import type { Item, ItemsPage, LogEvent, PlanItem, Run, UserItem } from './types';

const S = 's1';

function log(...events: [kind: string, body: unknown, run?: string][]): LogEvent[] {
  return events.map(([kind, body, run], i) => ({
    id: i + 1,
    session: S,
    seq: i + 1,
    run: run ?? 'r1',
    at: `2026-11-24T12:00:${String(i % 60).padStart(2, '0')}.000Z`,
    kind,
    body,
  }));
}

function body<K extends Item['kind']>(items: Item[], id: string, kind: K): Extract<Item, { kind: K }>['body'] {
  const item = items.find((each) => each.id === id);
  if (item?.kind !== kind) throw new Error(`no ${kind} ${id}`);
  return item.body as never;
}

describe('fold', () => {
  it('makes and closes an item of each kind', () => {
    const view = fold(
      emptyView(S),
      log(
        ['message.user', { item: 'u', text: 'do it', client_id: 'c1' }],
        ['run.started', { run: 'r1', item: 'u' }],
        ['thought.delta', { item: 't', text: 'hm' }],
        ['item.closed', { item: 't', ended_at: '2026-11-24T12:00:03.000Z' }],
        ['tool.started', { item: 'x', tool_call_id: 'k', title: 'ls', kind: 'execute', status: 'pending' }],
        ['tool.updated', { item: 'x', set: { status: 'in_progress', content: [{ type: 'content', content: { type: 'text', text: 'a' } }] } }],
        ['tool.updated', { item: 'x', append: { index: 0, text: 'b\n' } }],
        ['tool.updated', { item: 'x', append: { index: 5, text: 'second' } }],
        ['item.closed', { item: 'x', status: 'completed', ended_at: '2026-11-24T12:00:08.000Z' }],
        ['plan', { item: 'p', entries: [{ content: 'one', status: 'pending' }] }],
        ['plan', { item: 'p', entries: [{ content: 'one', status: 'completed' }] }],
        ['text.delta', { item: 'a', text: 'Hel' }],
        ['text.delta', { item: 'a', text: 'lo' }],
        ['notice', { item: 'n', level: 'info', text: 'restarted' }],
        ['agent.raw', { anything: 1 }],
        ['item.closed', { item: 'a' }],
        ['run.ended', { run: 'r1', reason: 'end_turn' }],
      ),
    );
    expect(view.items.map((item) => item.kind)).toEqual(['user', 'thought', 'tool', 'plan', 'assistant', 'notice']);
    expect(body(view.items, 'u', 'user')).toEqual({ text: 'do it', client_id: 'c1' });
    expect(body(view.items, 'a', 'assistant').text).toBe('Hello');
    expect(body(view.items, 'x', 'tool')).toMatchObject({
      status: 'completed',
      ended_at: '2026-11-24T12:00:08.000Z',
      content: [
        { type: 'content', content: { type: 'text', text: 'ab\n' } },
        { type: 'content', content: { type: 'text', text: 'second' } },
      ],
    });
    expect(body(view.items, 'p', 'plan').entries[0]?.status).toBe('completed');
    expect(view.items.filter((item) => item.kind !== 'plan').every((item) => !item.open)).toBe(true);
    expect(view.runs.r1).toMatchObject({ state: 'ended', reason: 'end_turn', item: 'u' });
    expect(view.seq).toBe(17);
    expect(view.gap).toBe(false);
  });

  it('keeps an approval until it is resolved', () => {
    const asked = { item: 'q', id: 'a1', session: S, run: 'r1', state: 'pending', title: 'Run', at: '', options: [] };
    const events = log(['approval.requested', asked], ['approval.resolved', { item: 'q', id: 'a1', state: 'expired', answered_at: 'x', reason: 'late' }]);
    const pending = fold(emptyView(S), events.slice(0, 1));
    expect(body(pending.items, 'q', 'approval').state).toBe('pending');
    const done = fold(pending, events.slice(1));
    expect(body(done.items, 'q', 'approval')).toMatchObject({ state: 'expired', reason: 'late', title: 'Run' });
    expect(done.items[0]?.open).toBe(false);
  });

  it('follows the queue and the agent', () => {
    const view = fold(
      emptyView(S),
      log(
        ['run.queued', { run: 'r2', item: 'u2', position: 1 }],
        ['queue.changed', { paused: true, queue: [{ run: 'r2', item: 'u2' }, { run: 'r3', item: 'u3' }] }],
        ['run.started', { run: 'r2', item: 'u2' }],
        ['agent.state', { state: 'busy', text: 'thinking' }],
        ['agent.options', { modes: { currentModeId: 'ask' }, models: null }],
        ['agent.options', { models: { currentModelId: 'm' } }],
        ['usage', { used: 1, size: 2, cost: null }],
      ),
    );
    expect(view.queue).toEqual([{ run: 'r3', item: 'u3' }]);
    expect(view.agent).toEqual({ state: 'busy', text: 'thinking', at: '2026-11-24T12:00:03.000Z', seq: 4 });
    expect(view.options).toEqual({ modes: { currentModeId: 'ask' }, models: { currentModelId: 'm' } });
    expect(view.usage).toEqual({ used: 1, size: 2, cost: null, seq: 7 });
  });

  it('drops what it has, what is of another session, and knows a gap', () => {
    const events = log(['text.delta', { item: 'a', text: 'x' }], ['text.delta', { item: 'a', text: 'y' }], ['text.delta', { item: 'a', text: 'z' }]);
    const once = fold(emptyView(S), events.slice(0, 2));
    expect(body(fold(once, events.slice(0, 2)).items, 'a', 'assistant').text).toBe('xy');
    expect(fold(once, [{ ...events[2]!, session: 'other' }]).seq).toBe(2);
    expect(fold(once, [{ ...events[2]!, seq: 9 }]).gap).toBe(true);
  });

  it('keeps the end of an output that is too long', () => {
    const events = log(
      ['tool.started', { item: 'x', tool_call_id: 'k', title: 't', kind: 'execute', status: 'in_progress' }],
      ['tool.updated', { item: 'x', append: { index: 0, text: 'a'.repeat(200 * 1024) } }],
      ['tool.updated', { item: 'x', append: { index: 0, text: 'b'.repeat(100 * 1024) } }],
      ['tool.updated', { item: 'x', append: { index: 0, text: 'end' } }],
    );
    const entry = body(fold(emptyView(S), events).items, 'x', 'tool').content?.[0] as { size: number; truncated: boolean; content: { text: string } };
    expect(entry.truncated).toBe(true);
    expect(entry.size).toBe(300 * 1024 + 3);
    expect(entry.content.text.length).toBe(64 * 1024);
    expect(entry.content.text.endsWith('bend')).toBe(true);
  });

  it('does not touch the view before', () => {
    const events = log(['text.delta', { item: 'a', text: 'x' }], ['message.user', { item: 'u', text: 'q' }], ['text.delta', { item: 'a', text: 'y' }]);
    const before = fold(emptyView(S), events.slice(0, 2));
    const copy = structuredClone(before);
    const after = fold(before, events.slice(2));
    expect(before).toEqual(copy);
    expect(after.items[0]).not.toBe(before.items[0]);
    expect(after.items[1]).toBe(before.items[1]);
  });
});

describe('snapshots', () => {
  const item = (id: string, n: number): Item => ({ id, session: S, run: 'r', kind: 'user', seq: n, at: '', open: false, body: { text: id } });

  const page = (seq: number, items: Item[], runs: Run[] = []): ItemsPage => ({ items, runs, cursor: 'x', last_event: seq, seq });
  const run = (id: string, state: Run['state'], more: Partial<Run> = {}): Run => ({ id, item: `u${id}`, state, ...more });

  it('put older pages before, once, and keep what is known of runs', () => {
    const newest = fromSnapshot(S, page(3, [item('c', 3)], [run('r2', 'ended', { reason: 'cancelled' })]));
    const view = withOlder(newest, page(9, [item('a', 1), item('b', 2), item('c', 3)], [run('r1', 'ended', { reason: 'refusal' }), run('r2', 'current')]));
    expect(view.items.map((each) => each.id)).toEqual(['a', 'b', 'c']);
    expect(view.runs).toMatchObject({ r1: { reason: 'refusal' }, r2: { state: 'ended' } });
    expect(view.seq).toBe(3);
  });

  it('say how runs stand and what is queued, and events go on from there', () => {
    const ended = run('r1', 'ended', { reason: 'interrupted', detail: 'killed', started_at: 'a', ended_at: 'b' });
    const view = fromSnapshot(S, page(2, [], [ended, run('r2', 'current'), run('r3', 'queued'), run('r4', 'queued')]));
    expect(view.runs.r1).toEqual(ended);
    expect(view.queue).toEqual([{ run: 'r3', item: 'ur3' }, { run: 'r4', item: 'ur4' }]);
    const events = log(['x', {}], ['x', {}], ['run.started', { run: 'r2' }], ['run.ended', { run: 'r3', reason: 'cancelled' }], ['run.queued', { run: 'r2', item: 'ur2' }]);
    const started = fold(view, events.slice(0, 4));
    expect(started.runs.r2).toMatchObject({ item: 'ur2', state: 'current', started_at: '2026-11-24T12:00:02.000Z' });
    expect(started.queue.map((entry) => entry.run)).toEqual(['r4']);
    // Its agent died before it began: it waits again.
    expect(fold(started, events).runs.r2).toEqual(run('r2', 'queued', { started_at: undefined }));
  });

  it('learn from the tail what was said last of the agent and the usage, no older than what they know', () => {
    const events = log(['agent.state', { state: 'starting' }], ['usage', { used: 1, size: 9 }], ['agent.state', { state: 'starting', text: 'Waiting for a place' }], ['text.delta', { item: 'a', text: 'x' }]);
    const view = withTail(fromSnapshot(S, page(4, [])), events);
    expect(view.items).toEqual([]);
    expect(view.agent).toMatchObject({ state: 'starting', text: 'Waiting for a place', seq: 3 });
    expect(view.usage).toEqual({ used: 1, size: 9, seq: 2 });
    const later = fold(view, [{ ...events[0]!, seq: 5, body: { state: 'ready' } }]);
    expect(withTail(later, events).agent).toMatchObject({ state: 'ready', text: '' });
    // A snapshot that is read again keeps it.
    expect(fromSnapshot(S, page(8, []), later).agent).toBe(later.agent);
  });

  it('has the newest options, in whatever order detail, tail and events come', () => {
    const events = log(['agent.options', { modes: 'old' }], ['agent.options', { commands: ['web'] }], ['agent.options', { modes: 'new' }]);
    const whole = { modes: 'new', commands: ['web'] };
    const bare = fromSnapshot(S, page(3, []));
    expect(withTail(bare, events).options).toEqual(whole);
    // The detail was read before the last two.
    expect(withTail(withOptions(bare, { modes: 'old' }, 1), events).options).toEqual(whole);
    expect(withOptions(withTail(bare, events), { modes: 'old' }, 1).options).toEqual(whole);
    // The detail was read after all of the tail.
    expect(withTail(withOptions(bare, { modes: 'newer' }, 4), events).options).toEqual({ modes: 'newer' });
  });
});

// Any log, cut anywhere, folds to the same view: that is what reconnecting relies on.
describe('fold, for any log', () => {
  const id = fc.constantFrom('a', 'b', 'c', 'd');
  const event = fc.oneof(
    fc.record({ kind: fc.constant('text.delta'), body: fc.record({ item: id, text: fc.string({ maxLength: 6 }) }) }),
    fc.record({ kind: fc.constant('thought.delta'), body: fc.record({ item: id, text: fc.string({ maxLength: 6 }) }) }),
    fc.record({ kind: fc.constant('message.user'), body: fc.record({ item: id, text: fc.string({ maxLength: 6 }) }) }),
    fc.record({ kind: fc.constant('tool.started'), body: fc.record({ item: id, tool_call_id: id, title: id, kind: id, status: fc.constant('pending') }) }),
    fc.record({
      kind: fc.constant('tool.updated'),
      body: fc.record({ item: id, append: fc.record({ index: fc.integer({ min: -1, max: 3 }), text: fc.string({ maxLength: 4 }) }) }),
    }),
    fc.record({ kind: fc.constant('item.closed'), body: fc.record({ item: id }) }),
    fc.record({ kind: fc.constantFrom('run.queued', 'run.started', 'run.ended'), body: fc.record({ run: id, item: id }) }),
    fc.record({ kind: fc.constant('queue.changed'), body: fc.record({ paused: fc.boolean(), queue: fc.array(fc.record({ run: id, item: id }), { maxLength: 3 }) }) }),
    fc.record({ kind: fc.constantFrom('agent.raw', 'session.changed', 'of.tomorrow'), body: fc.constant({}) }),
  );
  const anyLog = fc.array(event, { maxLength: 40 }).map((events) => log(...events.map((e) => [e.kind, e.body] as [string, unknown])));

  it('is the same however it is cut and repeated', () => {
    fc.assert(
      fc.property(anyLog, fc.array(fc.nat(40), { maxLength: 6 }), (events, cuts) => {
        const whole = fold(emptyView(S), events);
        let view = emptyView(S);
        for (const cut of [...cuts].sort((a, b) => a - b)) {
          // Each piece repeats what came before it, as a stream from an old cursor does.
          view = fold(view, events.slice(Math.max(0, cut - 10), cut));
          if (view.gap) view = fold(emptyView(S), events.slice(0, cut));
        }
        expect(fold(view, events)).toEqual(whole);
      }),
    );
  });

  /** What a host answers that has come so far: at most two items behind a seq. */
  const pageAfter = (events: LogEvent[], seq: number, after: number): ItemsPage => {
    const view = fold(emptyView(S), events.slice(0, seq));
    const items = view.items.filter((item) => item.seq > after);
    return { items: items.slice(0, 2), newer: items.length > 2, more: true, runs: Object.values(view.runs), cursor: '', last_event: seq, seq };
  };

  it('is the same for who reads from the beginning page by page to the end, while more comes', () => {
    fc.assert(
      fc.property(anyLog, fc.nat(40), fc.array(fc.tuple(fc.nat(5), fc.nat(5)), { maxLength: 20 }), (events, begin, steps) => {
        let seq = Math.min(begin, events.length);
        let view = fromSnapshot(S, pageAfter(events, seq, 0));
        const come = (n: number): LogEvent[] => {
          const next = events.slice(seq, seq + n);
          seq += next.length;
          view = fold(view, next);
          return next;
        };
        for (const [later, more] of [...steps, ...Array<[number, number]>(20).fill([0, 0])]) {
          const last = view.items.at(-1);
          if (!view.ahead || !last) break;
          const page = pageAfter(events, Math.min(seq + later, events.length), last.seq);
          // It comes once the stream has brought what it is younger by, and perhaps more.
          const since = come(later + more);
          view = withNewer(view, page, since);
          expect(new Set(view.items.map((item) => item.id)).size).toBe(view.items.length);
        }
        come(events.length);
        const whole = fold(emptyView(S), events);
        expect(view.ahead).toBe(false);
        expect(view.items).toEqual(whole.items);
        expect(view.asked.every(({ item }) => !view.items.some(({ id }) => id === item.id))).toBe(true);
      }),
    );
  });

  it('puts nothing behind a gap, and counts what comes there', () => {
    const events = log(
      ['message.user', { item: 'u1', text: 'one' }],
      ['text.delta', { item: 'a1', text: 'fir' }],
      ['tool.started', { item: 't1', tool_call_id: 'k', title: 'ls', kind: 'execute', status: 'pending' }],
      ['text.delta', { item: 'a2', text: 'sec' }],
    );
    const far = withoutNewer(fold(emptyView(S), events), 2);
    const next = (...more: [kind: string, body: unknown, run?: string][]) => log(...more).map((event) => ({ ...event, id: event.id + 4, seq: event.seq + 4 }));
    const later = fold(
      far,
      next(
        ['text.delta', { item: 'a2', text: 'ond' }],
        ['text.delta', { item: 'a1', text: 'st' }],
        ['item.closed', { item: 'a2' }],
        ['message.user', { item: 'u2', text: 'two' }, 'r2'],
        ['run.queued', { run: 'r2', item: 'u2' }, 'r2'],
        ['queue.changed', { paused: false, queue: [{ run: 'r2', item: 'u2' }] }, 'r2'],
      ),
    );
    expect(later.items.map((item) => item.id)).toEqual(['u1', 'a1']);
    expect(body(later.items, 'a1', 'assistant').text).toBe('first');
    expect(later.finished - far.finished).toBe(2);
    expect(later).toMatchObject({ seq: 10, gap: false, ahead: true, queue: [{ run: 'r2', item: 'u2' }], asked: [{ before: 0, item: { id: 'u2', body: { text: 'two' } } }] });
    // Taken back with all that is here: from nothing nothing can be read on.
    expect(fold(later, [{ ...events[0]!, id: 11, seq: 11, kind: 'transcript.rewound', body: { item: 'u1', seq: 1 } }])).toMatchObject({ items: [], gap: true } satisfies Partial<View>);
  });

  it('keeps the plan of a long run beside what is here, as it is now', () => {
    const events = log(
      ['run.started', { run: 'r1' }],
      ['plan', { item: 'pr1', entries: [{ content: 'A', status: 'in_progress' }] }],
      ...Array.from({ length: 6 }, (_, i): [string, unknown] => ['text.delta', { item: `a${i}`, text: 'x' }]),
      ['plan', { item: 'pr1', entries: [{ content: 'A', status: 'completed' }] }],
    );
    const whole = fold(emptyView(S), events);
    const plan = whole.items.find((item) => item.kind === 'plan')!;
    const done = { id: 'pr1', seq: plan.seq, body: { entries: [{ content: 'A', status: 'completed' }] } };
    const before = fold(emptyView(S), events.slice(0, -1));

    // From a page that begins behind it, and from one that somebody reads elsewhere.
    const page = (items: Item[], more: Partial<ItemsPage> = {}): ItemsPage => ({ items, runs: Object.values(before.runs), cursor: '', last_event: before.seq, seq: before.seq, more: true, ...more });
    const old = before.items.find((item): item is PlanItem => item.kind === 'plan')!;
    for (const newer of [false, true]) {
      const view = fold(fromSnapshot(S, page(before.items.slice(-2), { plan: old, newer })), events);
      expect(view.plan).toMatchObject(done);
      expect(view.items.map((item) => item.id)).toEqual(['a4', 'a5']);
      // Loaded, it stands where it was made, and only there.
      const all = withOlder(view, page(whole.items.slice(0, -2)));
      expect(all.plan).toBeNull();
      expect(all.items.filter((item) => item.kind === 'plan')).toMatchObject([done]);
    }
    // Made while somebody reads elsewhere.
    const far = fold(emptyView(S), log(['run.started', { run: 'r1' }], ['text.delta', { item: 'a', text: 'x' }], ['text.delta', { item: 'b', text: 'x' }]));
    const since = [{ ...events[1]!, id: 4, seq: 4 }];
    const reads = fold(withoutNewer(far, 1), since);
    expect(reads).toMatchObject({ ahead: true, plan: { id: 'pr1', seq: 4 } });
    expect(withNewer(reads, page(fold(far, since).items.slice(1), { newer: false, seq: 4 }), [])).toMatchObject({ ahead: false, plan: null });
    // Let go of, because somebody reads far back; and taken back.
    expect(withoutNewer(fold(far, since), 1).plan).toMatchObject({ id: 'pr1' });
    expect(fold(reads, [{ ...events[0]!, id: 5, seq: 5, kind: 'transcript.rewound', body: { item: 'a', seq: 2 } }]).plan).toBeNull();
  });

  it('has each item once, in the order of their making', () => {
    fc.assert(
      fc.property(anyLog, (events) => {
        const view = fold(emptyView(S), events);
        const ids = view.items.map((each) => each.id);
        expect(new Set(ids).size).toBe(ids.length);
        const seqs = view.items.map((each) => each.seq);
        expect(seqs).toEqual([...seqs].sort((a, b) => a - b));
      }),
    );
  });

  it('changes a message that waits, takes items back, and takes copies in', () => {
    const events = log(
      ['item.copied', { item: 'c', kind: 'assistant', at: '2026-11-20T08:00:00.000Z', body: { text: 'of old' } }, ''],
      ['message.user', { item: 'u1', text: 'one' }],
      ['text.delta', { item: 'a1', text: 'first' }],
      ['message.user', { item: 'u2', text: 'two' }, 'r2'],
      ['message.edited', { item: 'u2', text: 'two, better' }, 'r2'],
      ['text.delta', { item: 'a2', text: 'second' }, 'r2'],
    );
    const before = fold(emptyView(S), events);
    expect(body(before.items, 'u2', 'user').text).toBe('two, better');
    expect(before.items[0]).toMatchObject({ id: 'c', run: '', at: '2026-11-20T08:00:00.000Z', open: false, body: { text: 'of old' } });
    const after = fold(before, [{ ...events[0]!, id: 7, seq: 7, kind: 'transcript.rewound', body: { item: 'u2', seq: 4 } }]);
    expect(after.items.map((item) => item.id)).toEqual(['c', 'u1', 'a1']);
    expect(before.items).toHaveLength(5);
  });

  it('gives a message that steers to the run that it was said into, and to its own where it is late', () => {
    const events = log(
      ['message.user', { item: 'u1', text: 'one' }],
      ['message.user', { item: 'u2', text: 'two' }, 'r2'],
      ['run.queued', { run: 'r2', item: 'u2' }, 'r2'],
      ['queue.changed', { paused: false, queue: [{ run: 'r2', item: 'u2' }] }],
      ['message.user', { item: 'u3', text: 'three', steer: { state: 'sent' } }],
      ['message.steered', { item: 'u2', state: 'sent', own: 'r2' }],
      ['message.steered', { item: 'u3', state: 'read', own: 'r3' }],
    );
    const said = fold(emptyView(S), events);
    expect(said.items[1]).toMatchObject({ id: 'u2', run: said.items[0]!.run, body: { text: 'two', steer: { state: 'sent', seq: 6 } } });
    expect(body(said.items, 'u3', 'user').steer).toEqual({ state: 'read' });
    expect(said.runs['r2']).toBeUndefined();
    expect(said.queue).toEqual([]);
    const late = fold(said, [
      { ...events[0]!, id: 8, seq: 8, run: 'r2', kind: 'message.steered', body: { item: 'u2', state: 'late', own: 'r2' } },
      { ...events[0]!, id: 9, seq: 9, run: 'r2', kind: 'run.queued', body: { run: 'r2', item: 'u2' } },
    ]);
    expect(late.items[1]).toMatchObject({ run: 'r2', body: { steer: { state: 'late', seq: 6 } } });
    expect(late.runs['r2']?.state).toBe('queued');
    expect(said.items[1]!.run).not.toBe('r2');

    // Where it stands before what is loaded, too.
    const older = { ...fold(emptyView(S), events.slice(0, 5)), items: [] as Item[] };
    older.asked = [{ item: { ...said.items[1]!, run: 'r2', body: { text: 'two' } } as UserItem, before: 0 }];
    expect(fold(older, events).asked).toMatchObject([{ before: 6, item: { run: said.items[0]!.run, body: { steer: { state: 'sent', seq: 6 } } } }]);
  });
});

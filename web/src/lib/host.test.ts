import { describe, expect, it, vi } from 'vitest';
import {
  advice,
  axisOf,
  countingUp,
  cpuShare,
  endOf,
  headline,
  historyOf,
  latency,
  parseLine,
  restartsSince,
  span,
  summary,
  timeline,
  type Ledger,
  type Life,
  type LiveAgent,
} from './host';
import { size } from './format';
import { language } from '../i18n/index.svelte';
import { inShort, problemsOf, sentence, worst, type Health } from './condition';

const health = (status: Health['status'], ...problems: string[]): Health => ({ status, version: '1', problems });
const NOW = Date.parse('2026-11-24T12:00:00Z');
const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const life = (started: number, ended: number, how: string, more: Partial<Life> = {}): Life => ({
  started: new Date(started).toISOString(),
  ended: new Date(ended).toISOString(),
  how,
  version: '1.0',
  served: true,
  ...more,
});

describe('numbers', () => {
  it('are sizes', () => {
    expect([0, 740_000, 4_200_000, 9_960_000, 69_400_000, 1_250_000_000, 214e9].map(size)).toEqual(['0 kB', '740 kB', '4.2 MB', '10 MB', '69 MB', '1.3 GB', '214 GB']);
  });
  it('are latencies', () => {
    expect([0.04, 2.8, 9.94, 9.96, 340, 1234].map(latency)).toEqual(['0.0 ms', '2.8 ms', '9.9 ms', '10 ms', '340 ms', '1.2 s']);
  });
  it('are spans by their two largest units', () => {
    expect([-5, 40_000, 26 * 60_000, 5.5 * HOUR, 5 * HOUR, 11 * DAY + 23 * HOUR, 8 * DAY].map(span)).toEqual(['0 s', '40 s', '26 m', '5 h 30 m', '5 h', '11 d 23 h', '8 d']);
  });
  it('are shares of a processor: between two looks, else since the start', () => {
    const agent = (cpu_s: number, age_s: number) => ({ cpu_s, age_s }) as LiveAgent;
    expect(cpuShare(agent(20, 100), agent(15, 90), 10)).toBe(50);
    expect(cpuShare(agent(20, 100), undefined, 10)).toBe(20);
    // A child that has ended took its time with it.
    expect(cpuShare(agent(5, 100), agent(15, 90), 10)).toBe(5);
    expect(cpuShare(agent(5, 0), undefined, 0)).toBe(0);
  });
});

describe('the worst', () => {
  const of = (state: Partial<Parameters<typeof worst>[0]>) => worst({ away: false, health: null, safe: '', host: 'mini', ...state });
  it('is nothing where nothing is wrong, or nothing is known', () => {
    expect(of({})).toBeNull();
    expect(of({ health: health('ok') })).toBeNull();
  });
  it('is one, in this order: no answer, failing, safe mode, disk, degraded', () => {
    const all = { away: true, health: health('failing', 'the list cannot be read'), safe: 'it crashed' };
    expect(of(all)?.kind).toBe('away');
    expect(of({ ...all, away: false })).toMatchObject({ kind: 'failing', tone: 'bad', text: 'The list cannot be read.' });
    expect(of({ safe: 'it crashed', health: health('degraded', 'the disk is full') })).toMatchObject({ kind: 'safe', tone: 'wait', text: 'It crashed.' });
    expect(of({ health: health('degraded', 'too many goroutines', 'the disk is slow') })).toMatchObject({ kind: 'disk', text: 'The disk is slow.' });
    expect(of({ health: health('degraded', 'a leak', 'another', 'a third') })).toMatchObject({ kind: 'degraded', text: 'A leak. And 2 more problems.' });
  });
  it('is an old page only where nothing is wrong', () => {
    expect(of({ older: true, health: health('ok') })).toEqual({ kind: 'older' });
    expect(of({ older: true, health: health('degraded', 'a leak') })?.kind).toBe('degraded');
    expect(of({ older: true, away: true })?.kind).toBe('away');
  });
  it('is said in the language of the page, by its code', async () => {
    const full = {
      ...health('degraded', 'The disk of the state folder has only 100 MB left.', 'of a newer host'),
      said: [{ code: 'disk_read_only', args: { bytes: 104_857_600, back_bytes: 230_686_720 } }, { code: 'later' }],
    };
    expect(of({ health: full })).toMatchObject({ kind: 'disk', tone: 'bad', text: expect.stringContaining('has only 105 MB left, so no new sessions') });
    vi.stubGlobal('document', { documentElement: {} });
    await language.choose('de');
    expect(of({ health: full })).toMatchObject({ kind: 'disk', text: expect.stringContaining('nur noch 105 MB frei') });
    expect(problemsOf(full)[1]).toEqual({ code: 'later', text: 'of a newer host' });
    const safe = 'The host ended by a fault.';
    const crashed = { ...health('degraded', safe), said: [{ code: 'safe_mode', args: { ends: 3, minutes: 10, at: '2026-11-24T14:31:52Z' } }] };
    expect(of({ safe, health: crashed })).toMatchObject({ kind: 'safe', text: expect.stringContaining('mehr als 3-mal') });
    await language.choose('en');
    vi.unstubAllGlobals();
  });
  it('is red where the disk refuses', () => {
    expect(of({ health: health('degraded', 'the disk is nearly full: the host is read-only') })).toMatchObject({ tone: 'bad' });
  });
  it('is the same in the headline and in short', () => {
    const started = new Date(NOW - HOUR).toISOString();
    expect(headline(health('ok'), started, NOW, false).title).toMatch(/^Healthy since \d\d:\d\d$/);
    expect(headline(health('ok'), new Date(NOW - 9 * DAY).toISOString(), NOW, false).title).toMatch(/^Healthy since 15 Nov \d\d:\d\d$/);
    expect(headline(health('ok'), '', NOW, false).title).toBe('Healthy');
    expect(headline(health('degraded'), started, NOW, true).title).toBe('In safe mode');
    expect(headline(health('failing'), started, NOW, true).tone).toBe('bad');
    expect(inShort(null, '').text).toBe('Healthy');
    expect(inShort(health('degraded'), '').text).toBe('Degraded');
    expect(inShort(health('ok'), 'crashes').text).toBe('Safe mode');
  });
});

describe('words', () => {
  it('say what to do about each problem', () => {
    expect(advice('the disk does not take writes, or is very slow')).toMatch(/Free space/);
    expect(advice('70 % of the limit of descriptors are open')).toMatch(/Open files/);
    expect(advice('something new')).toBe('The log below says more.');
  });
  it('are sentences', () => {
    expect(sentence('the disk is slow')).toBe('The disk is slow.');
    expect(sentence('Is it?')).toBe('Is it?');
    expect(sentence(' ')).toBe('');
  });
  it('sum up what is open and alive', () => {
    const ledger = (available: boolean, observed: number, unexplained: number, agents: number) =>
      ({ available, now: { observed, unexplained }, agents: Array.from({ length: agents }) }) as unknown as Ledger;
    expect(summary(ledger(true, 33, 0, 4))).toBe('All 33 open files are explained, and 4 agents are live.');
    expect(summary(ledger(true, 72, 39, 1))).toBe('33 of 72 open files are explained, and one agent is live.');
    expect(summary(ledger(false, 0, 0, 0))).toBe('This system does not say which files are open, and no agent is live.');
  });
});

describe('a line of the log', () => {
  it('is told apart into time, level, message and pairs', () => {
    expect(parseLine('time=2026-11-24T15:00:00.000Z level=WARN msg="the \\"disk\\" was slow" took=1.2s err="a b"')).toEqual({
      at: '2026-11-24T15:00:00.000Z',
      level: 'warn',
      text: 'the "disk" was slow',
      rest: 'took=1.2s err="a b"',
    });
    expect(parseLine('time=2026-11-24T15:00:00.000Z level=DEBUG+2 msg=serve')).toMatchObject({ level: 'debug', text: 'serve', rest: '' });
  });
  it('of another make is its own text', () => {
    expect(parseLine('panic: no more')).toEqual({ at: '', level: '', text: 'panic: no more', rest: '' });
  });
});

describe('lives', () => {
  const lives = [
    life(NOW - 40 * DAY, NOW - 20 * DAY, 'upgrade'),
    life(NOW - 20 * DAY, NOW - 10 * DAY, 'asked', { version: '1.1', reason: 'Holdfast stop' }),
    life(NOW - 9 * DAY, NOW - 6 * HOUR, 'crash', { version: '1.1', reason: 'fatal error: x' }),
    life(NOW - 5 * HOUR, NOW, '', { version: '1.1' }),
  ];
  it('end in words', () => {
    expect(endOf(lives[0]!, lives[1])).toEqual({ mark: 'upgrade', text: 'Upgrade, 1.0 to 1.1', bad: false });
    expect(endOf(lives[1]!, lives[2])).toEqual({ mark: 'stopped', text: 'Stopped, holdfast stop', bad: false });
    expect(endOf(lives[2]!)).toEqual({ mark: 'crash', text: 'Crashed, fatal error: x', bad: true });
    expect(endOf(life(0, 0, 'failed', { served: false })).text).toBe('Did not start');
    expect(endOf(life(0, 0, 'melted')).bad).toBe(true);
  });
  it('lie on one line of 30 days, with a mark at each start', () => {
    const line = timeline(lives, NOW);
    expect(line.from).toBe(NOW - 30 * DAY);
    expect(line.bars).toHaveLength(4);
    expect(line.bars[0]!.left).toBe(0);
    expect(line.bars.at(-1)!.left + line.bars.at(-1)!.width).toBeCloseTo(100);
    expect(line.marks.map((mark) => [Math.round(mark.left), mark.label, mark.bad])).toEqual([
      [33, 'upgrade', false],
      [70, 'stopped', false],
      [99, 'crash', true],
    ]);
  });
  it('begin with the first start where the host is young', () => {
    expect(timeline([life(NOW - DAY, NOW, '')], NOW)).toMatchObject({ from: NOW - DAY, marks: [] });
    expect(timeline([], NOW).bars).toEqual([]);
  });
  it('that lie close together have one name, the bad one first', () => {
    const many = Array.from({ length: 20 }, (_, i) => life(NOW - DAY - (20 - i) * 60_000, NOW - DAY - (19 - i) * 60_000 - 1, i === 3 ? 'killed' : 'restart'));
    const { marks } = timeline([life(NOW - 9 * DAY, NOW - DAY - 30 * 60_000, 'asked'), ...many, life(NOW - DAY, NOW, '')], NOW);
    expect(marks.filter((mark) => mark.label).map((mark) => mark.label)).toEqual(['killed']);
  });
  it('of the last day are counted', () => {
    const starts = restartsSince(lives, NOW - DAY);
    expect(starts).toEqual([{ at: NOW - 5 * HOUR, bad: true }]);
    expect(countingUp(starts, NOW - DAY, NOW).map((point) => point.value)).toEqual([0, 1, 1]);
  });
});

describe('the axis of time', () => {
  it('is a day, and shorter while the host is young', () => {
    expect([1, 599_000, 601_000, 2 * HOUR, 20 * HOUR, 90 * DAY].map((age) => axisOf(NOW - age, NOW).ago)).toEqual([
      '10 min ago',
      '10 min ago',
      '1 h ago',
      '6 h ago',
      '24 h ago',
      '24 h ago',
    ]);
    expect(axisOf(0, NOW).from).toBe(NOW - DAY);
  });
  it('ends with what is now', () => {
    const at = (ms: number) => new Date(ms).toISOString();
    const ledger = {
      now: { at: at(NOW), expected: 30, observed: 33 },
      gauges: { rss: 5, wal: 6, probe_ms: 3 },
      agents: [{ rss: 7 }, { rss: 8 }],
      classes: [{ class: 'stream', now: 2, bound: 256 }],
      history: [{ at: at(NOW - 9000), agents: 0, probe_ms: 3 }],
    } as unknown as Ledger;
    expect(historyOf(ledger).at(-1)).toEqual({ at: at(NOW), expected: 30, observed: 33, rss: 5, wal: 6, agents: 2, agent_rss: 15, streams: 2, probe_ms: 3 });
    expect(historyOf({ ...ledger, history: [{ at: at(NOW) }] as Ledger['history'] })).toHaveLength(1);
    expect(historyOf(null)).toEqual([]);
  });
});

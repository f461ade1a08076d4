// What the host says of itself, and the words for it on the page "Host".

import { t } from '../i18n/index.svelte';
import { clock, count, dateOf, decimal } from './format';
import type { Health } from './condition';
import type { Said } from './types';
import type { Point } from './chart';

/** One life of the host: from the start of its program to its end. */
export interface Life {
  started: string;
  /** When it was last seen, where it ended without a word. */
  ended: string;
  how: string;
  reason?: string;
  pid?: number;
  version: string;
  served?: boolean;
  safe?: boolean;
  safe_left?: boolean;
  peak_memory?: number;
  peak_descriptors?: number;
  trace?: string;
  file?: string;
}

export interface Lives {
  /** The life that is. */
  now: Life;
  /** Those that have ended, newest first. */
  lives: Life[];
  safe_mode?: string;
}

/** Descriptors that look alike. */
export interface Group {
  kind: string;
  target: string;
  count: number;
}

export interface Kind {
  kind: string;
  expected: number;
  observed: number;
  top?: Group[] | null;
}

export interface Owner {
  owner: string;
  kind: string;
  expected: number;
  bound: number;
  /** -1: its descriptors look like those of others. */
  observed: number;
}

/** A moment of the last day; of the samples that it stands for, the most. */
export interface Moment {
  at: string;
  expected: number;
  observed: number;
  rss: number;
  wal: number;
  agents: number;
  agent_rss: number;
  streams: number;
  /** Of the host's look at itself; absent where it does not tell. */
  probe_ms?: number;
}

export interface LiveAgent {
  session: string;
  title: string;
  agent: string;
  busy: boolean;
  keeper_pid: number;
  descriptors: number;
  expected: number;
  budget: number;
  top?: Group[] | null;
  rss: number;
  children: number;
  cpu_s: number;
  age_s: number;
}

/** What the host holds, against what it can explain. */
export interface Ledger {
  /** false: this system does not list descriptors. */
  available: boolean;
  now: {
    at: string;
    limit: number;
    expected: number;
    observed: number;
    unexplained: number;
    owners?: Owner[] | null;
    kinds?: Kind[] | null;
  };
  gauges: { rss: number; rss_budget: number; goroutines: number; wal: number; disk_free: number; probe_ms?: number };
  findings?: ({ subject?: string; text: string } & Said)[] | null;
  classes?: { class: string; now: number; bound: number }[] | null;
  agents?: LiveAgent[] | null;
  history?: Moment[] | null;
}

export const LEVELS = ['debug', 'info', 'warn', 'error'] as const;
export type Level = (typeof LEVELS)[number];

export interface LogPage {
  level: Level;
  /** Oldest first. */
  lines: string[];
}

const DAY = 86_400_000;

// Sizes and spans

/** 2.8 ms, 340 ms, 1.2 s */
export function latency(ms: number): string {
  if (ms < 9.95) return `${decimal(ms)} ms`;
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  return `${decimal(ms / 1000)} s`;
}

/** How long something has been or was there, by its two largest units: 40 s, 26 m, 5 h 30 m, 11 d 23 h. */
export function span(ms: number): string {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 60) return `${s} s`;
  const m = Math.floor(s / 60);
  if (m < 60) return t.time.minutes(m);
  const h = Math.floor(m / 60);
  if (h < 24) return m % 60 ? `${t.time.hours(h)} ${t.time.minutes(m % 60)}` : t.time.hours(h);
  const d = Math.floor(h / 24);
  return h % 24 && d < 100 ? `${t.time.days(count(d))} ${t.time.hours(h % 24)}` : t.time.days(count(d));
}

/** 24 Nov 09:09 */
export function dateTime(at: string | number): string {
  return `${dateOf(new Date(at), { day: 'numeric', month: 'short' })} ${clock(at)}`;
}

/** 09:09, or 12 Nov 09:09 on another day. */
export function sinceWhen(at: string, now: number): string {
  return new Date(at).toDateString() === new Date(now).toDateString() ? clock(at) : dateTime(at);
}

// Health

/** What a person can do about a problem, by the host's own words. */
export function advice(problem: string): string {
  const rules: [RegExp, string][] = [
    [/safe mode/i, t.host.advice.safe],
    [/disk|space|writes/i, t.host.advice.disk],
    [/descriptor|open files|leak/i, t.host.advice.files],
    [/memory/i, t.host.advice.memory],
    [/goroutine|probe|deaf|list of sessions/i, t.host.advice.itself],
    [/\bwal\b|reader/i, t.host.advice.reader],
    [/agent|keeper/i, t.host.advice.agent],
  ];
  return rules.find(([pattern]) => pattern.test(problem))?.[1] ?? t.host.advice.other;
}

export interface Headline {
  title: string;
  tone: 'live' | 'wait' | 'bad';
}

export function headline(health: Health, since: string, now: number, safe: boolean): Headline {
  if (health.status === 'failing') return { title: t.host.head.failing, tone: 'bad' };
  if (safe) return { title: t.host.head.safe, tone: 'wait' };
  if (health.status === 'degraded') return { title: t.host.head.degraded, tone: 'wait' };
  return { title: since ? t.host.head.healthySince(sinceWhen(since, now)) : t.host.head.healthy, tone: 'live' };
}

/** What the host is doing, in a sentence or two, where nothing is wrong. */
export function summary(ledger: Ledger): string {
  const { observed, unexplained } = ledger.now;
  return t.host.summary(ledger.available ? { open: observed, unexplained } : null, ledger.agents?.length ?? 0);
}

/** The history with what is now at its end: the last sample may be older. */
export function historyOf(ledger: Ledger | null): Moment[] {
  if (!ledger) return [];
  const history = ledger.history ?? [];
  const last = history.at(-1);
  const agents = ledger.agents ?? [];
  const now: Moment = {
    at: ledger.now.at,
    expected: ledger.now.expected,
    observed: ledger.now.observed,
    rss: ledger.gauges.rss,
    wal: ledger.gauges.wal,
    agents: agents.length,
    agent_rss: agents.reduce((sum, agent) => sum + agent.rss, 0),
    streams: ledger.classes?.find((each) => each.class === 'stream')?.now ?? last?.streams ?? 0,
    ...(ledger.gauges.probe_ms !== undefined && { probe_ms: ledger.gauges.probe_ms }),
  };
  return last && Date.parse(last.at) >= Date.parse(now.at) ? history : [...history, now];
}

/** How far back the charts go: a day, and less where the host has not been there so long. */
export function axisOf(oldest: number, now: number): { from: number; ago: string; words: string } {
  const steps: [number, string, string][] = [
    [600_000, t.time.axis.tenMinutes, t.time.span.tenMinutes],
    [3_600_000, t.time.axis.hour, t.time.span.hour],
    [6 * 3_600_000, t.time.axis.sixHours, t.time.span.sixHours],
    [DAY, t.time.axis.day, t.time.span.day],
  ];
  const [length, ago, words] = steps.find(([most]) => now - oldest <= most) ?? steps.at(-1)!;
  return { from: now - length, ago, words };
}

/** One line of history as points. */
export function pointsOf(history: Moment[], value: (moment: Moment) => number | undefined): Point[] {
  return history.map((moment) => ({ at: Date.parse(moment.at), value: value(moment) ?? null }));
}

/** How much of a processor each agent takes, in percent: since the look before, or since its start. */
export function cpuShare(agent: LiveAgent, before: LiveAgent | undefined, elapsed: number): number {
  if (before && elapsed >= 1 && agent.cpu_s >= before.cpu_s) return ((agent.cpu_s - before.cpu_s) / elapsed) * 100;
  return agent.age_s > 0 ? (agent.cpu_s / agent.age_s) * 100 : 0;
}

// The log

export interface LogLine {
  /** '' where the line has none. */
  at: string;
  level: Level | '';
  text: string;
  /** The pairs after the message, as they stand. */
  rest: string;
}

/** A line as the host's log has it: time=… level=… msg=… and pairs. Another line is its own text. */
export function parseLine(line: string): LogLine {
  const match = /^time=(\S+) level=([A-Za-z]+)\S* msg=("(?:[^"\\]|\\.)*"|\S*)\s*(.*)$/s.exec(line);
  if (!match) return { at: '', level: '', text: line, rest: '' };
  const [, at, level, message, rest] = match as unknown as [string, string, string, string, string];
  const known = level.toLowerCase() as Level;
  return { at, level: LEVELS.includes(known) ? known : '', text: unquote(message), rest };
}

function unquote(text: string): string {
  if (!text.startsWith('"')) return text;
  try {
    return JSON.parse(text) as string;
  } catch {
    // Go quotes more than JSON does.
    return text.slice(1, -1);
  }
}

// Lives

export interface LifeWords {
  /** One word, under its mark. */
  mark: string;
  text: string;
  bad: boolean;
}

/** How a life ended; next is the life that came after it. */
export function endOf(life: Life, next?: Life): LifeWords {
  const { ends, notStarted, ended, because, versions } = t.host.lives;
  const told = (text: string) => (life.reason ? because(text, life.reason) : text);
  const known = Object.hasOwn(ends, life.how) ? (life.how as keyof typeof ends) : null;
  if (!known) return { mark: life.how, text: told(ended(life.how)), bad: true };
  const [mark, words] = ends[known];
  const bad = !['asked', 'restart', 'upgrade', 'reboot'].includes(known);
  if (known === 'upgrade' && next && next.version !== life.version) return { mark, text: versions(words, life.version, next.version), bad };
  return { mark, text: told(known === 'failed' && !life.served ? notStarted : words), bad };
}

export interface Bar {
  /** Shares of the width, in percent. */
  left: number;
  width: number;
}

export interface Mark {
  at: number;
  left: number;
  bad: boolean;
  /** '' where there is no room for it. */
  label: string;
}

/** The lives as bars on one line of time, and a mark at each start after an end. Lives are oldest first, the last one goes on. */
export function timeline(lives: Life[], now: number, days = 30, room = 9): { from: number; bars: Bar[]; marks: Mark[] } {
  const oldest = lives[0] ? Date.parse(lives[0].started) : now - DAY;
  const from = Math.max(now - days * DAY, Math.min(oldest, now - 600_000));
  const share = (at: number) => Math.min(100, Math.max(0, ((at - from) / (now - from)) * 100));
  const bars: Bar[] = [];
  const marks: Mark[] = [];
  lives.forEach((life, i) => {
    const end = i === lives.length - 1 ? now : Date.parse(life.ended);
    if (end < from) return;
    const left = share(Date.parse(life.started));
    bars.push({ left, width: Math.max(0.2, share(end) - left) });
    const next = lives[i + 1];
    if (!next) return;
    const { mark, bad } = endOf(life, next);
    marks.push({ at: Date.parse(next.started), left: share(Date.parse(next.started)), bad, label: mark });
  });
  // The bad ones have their names first, then the latest.
  const named: Mark[] = [];
  for (const mark of [...marks].sort((a, b) => Number(b.bad) - Number(a.bad) || b.at - a.at)) {
    if (named.every((other) => Math.abs(other.left - mark.left) >= room)) named.push(mark);
    else mark.label = '';
  }
  return { from, bars, marks };
}

/** Starts within the last day, for the chart of restarts. */
export function restartsSince(lives: Life[], from: number): { at: number; bad: boolean }[] {
  return lives.slice(1).flatMap((life, i) => {
    const at = Date.parse(life.started);
    return at >= from ? [{ at, bad: endOf(lives[i]!, life).bad }] : [];
  });
}

/** How often there was something until each time: a line of steps. */
export function countingUp(marks: { at: number }[], from: number, to: number): Point[] {
  const points: Point[] = [{ at: from, value: 0 }];
  marks.forEach((mark, i) => points.push({ at: mark.at, value: i + 1 }));
  points.push({ at: to, value: marks.length });
  return points;
}

/** A kind of descriptor, as people call it. */
export function kindName(kind: string): string {
  return t.host.files.kinds[kind as keyof typeof t.host.files.kinds] ?? kind.charAt(0).toUpperCase() + kind.slice(1);
}

// Times, durations, paths, sizes and counts, as the design language writes them, in the language of the page.

import { t } from '../i18n/index.svelte';

const numbers = new Map<string, Intl.NumberFormat>();
const dates = new Map<string, Intl.DateTimeFormat>();

function numberFormat(options: Intl.NumberFormatOptions): Intl.NumberFormat {
  const key = t.locale + JSON.stringify(options);
  let format = numbers.get(key);
  if (!format) numbers.set(key, (format = new Intl.NumberFormat(t.locale, options)));
  return format;
}

/** A date by its parts: 24 Nov, Mon, November 2026. */
export function dateOf(at: Date | number, options: Intl.DateTimeFormatOptions): string {
  const key = t.locale + JSON.stringify(options);
  let format = dates.get(key);
  if (!format) dates.set(key, (format = new Intl.DateTimeFormat(t.locale, options)));
  return format.format(at);
}

/** A number with so many digits after the point at most, and at least. */
export function decimal(n: number, most = 1, least = most): string {
  return numberFormat({ minimumFractionDigits: least, maximumFractionDigits: most }).format(n);
}

/** 1,840 */
export function count(n: number): string {
  return decimal(n, 0);
}

/** 740 kB, 4.2 MB, 69 MB, 1.2 GB */
export function size(n: number): string {
  if (n < 1_000_000) return `${Math.round(n / 1000)} kB`;
  const [value, unit] = n < 1_000_000_000 ? [n / 1_000_000, 'MB'] : [n / 1_000_000_000, 'GB'];
  return `${value < 9.95 ? decimal(value, 1, 0) : count(Math.round(value))} ${unit}`;
}

/** $1.24 */
export function money(amount: number, currency: string): string {
  // What is no currency by its form is an error to Intl.
  if (!/^[A-Za-z]{3}$/.test(currency)) return `${decimal(amount, 2)} ${currency}`.trim();
  return numberFormat({ style: 'currency', currency, currencyDisplay: 'narrowSymbol' }).format(amount);
}

const two = (n: number) => String(n).padStart(2, '0');

/** 14:32 */
export function clock(at: string | number): string {
  const d = new Date(at);
  return `${two(d.getHours())}:${two(d.getMinutes())}`;
}

/** 14:31:40 */
export function clockSeconds(at: string | number): string {
  return `${clock(at)}:${two(new Date(at).getSeconds())}`;
}

/** How long, beside a tool: 11 ms, 1.2 s, 48 s, 1:04, 2:03:04. */
export function duration(ms: number): string {
  if (ms < 0) ms = 0;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 10_000) return `${decimal(ms / 1000, 1, 0)} s`;
  if (ms < 60_000) return `${Math.floor(ms / 1000)} s`;
  return stopwatch(ms);
}

/** Whether a duration says anything: what is shorter is the time that the log took to write it down. */
export function tells(ms: number): boolean {
  return ms >= 10;
}

/** A duration that goes on, so that it does not change its width each tick: 18 s, 4:12, 1:04:12. */
export function stopwatch(ms: number): string {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 60) return `${s} s`;
  const h = Math.floor(s / 3600);
  const m = Math.floor((s % 3600) / 60);
  return h > 0 ? `${h}:${two(m)}:${two(s % 60)}` : `${m}:${two(s % 60)}`;
}

/** 40 s ago, 11 min ago, 09:14 */
export function ago(at: string, now: number): string {
  const ms = now - Date.parse(at);
  if (ms < 5_000) return t.time.justNow;
  if (ms < 60_000) return t.time.secondsAgo(Math.floor(ms / 1000));
  if (ms < 3_600_000) return t.time.minutesAgo(Math.floor(ms / 60_000));
  return listTime(at, now);
}

/** The time of a row: 2 m while recent and under way, 09:14 today, Mon this week, 3 Nov, 3 Nov 2025. */
export function listTime(at: string, now: number, recent = false): string {
  const then = new Date(at);
  const today = new Date(now);
  const ms = now - then.getTime();
  if (recent && ms < 3_600_000) return ms < 60_000 ? t.time.now : t.time.minutes(Math.floor(ms / 60_000));
  if (dayOf(then) === dayOf(today)) return clock(at);
  if (ms < 6 * 86_400_000) return dateOf(then, { weekday: 'short' });
  return dateOf(then, { day: 'numeric', month: 'short', ...(then.getFullYear() !== today.getFullYear() && { year: 'numeric' }) });
}

/** The heading that a session which is at rest stands under. */
export function dayGroup(at: string, now: number): string {
  const then = new Date(at);
  const today = new Date(now);
  if (dayOf(then) >= dayOf(today)) return t.time.today;
  const yesterday = new Date(today.getFullYear(), today.getMonth(), today.getDate() - 1);
  if (dayOf(then) === dayOf(yesterday)) return t.time.yesterday;
  if (then.getFullYear() === today.getFullYear() && then.getMonth() === today.getMonth()) return t.time.thisMonth;
  return dateOf(then, { month: 'long', year: 'numeric' });
}

function dayOf(d: Date): number {
  return d.getFullYear() * 10_000 + d.getMonth() * 100 + d.getDate();
}

/** The last part of a folder's path. */
export function folderName(path: string): string {
  const parts = path.split(/[/\\]/).filter(Boolean);
  return parts[parts.length - 1] ?? path;
}

/** A path as people write it, with the home folder as ~. */
export function shortPath(path: string): string {
  return path.replace(/^\/(?:home|Users)\/[^/]+(?=\/|$)/, '~').replace(/^\/root(?=\/|$)/, '~');
}

/** A file's path as seen from a folder. */
export function relativePath(path: string, cwd: string): string {
  if (cwd && path.startsWith(`${cwd.replace(/\/$/, '')}/`)) return path.slice(cwd.replace(/\/$/, '').length + 1);
  return shortPath(path);
}

/** 62 k, 1.2 M */
export function compact(n: number): string {
  if (n < 1000) return String(n);
  if (n < 1_000_000) return `${Math.round(n / 1000)} k`;
  return `${decimal(n / 1_000_000)} M`;
}

/** 1.2 MB */
export function bytes(n: number): string {
  if (n < 1000) return `${n} B`;
  if (n < 1_000_000) return `${Math.round(n / 1000)} kB`;
  return `${decimal(n / 1_000_000)} MB`;
}

/** Two letters for an agent's tile. */
export function tileOf(id: string, name: string): string {
  const known: Record<string, string> = {
    hermes: 'He',
    opencode: 'Op',
    claude: 'Cl',
    'claude-code': 'Cl',
    codex: 'Cx',
    gemini: 'Ge',
    goose: 'Go',
    tour: 'Hf',
    builtin: 'Hf',
    'built-in': 'Hf',
    holdfast: 'Hf',
  };
  if (known[id]) return known[id];
  const letters = (name || id).replace(/[^\p{L}\p{N}]/gu, '');
  return letters.charAt(0).toUpperCase() + letters.charAt(1).toLowerCase();
}

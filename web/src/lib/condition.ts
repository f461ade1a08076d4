// Whether the host is well, as every page says it; the page "Host" says the rest (host.ts).

import { t } from '../i18n/index.svelte';
import type { Said } from './types';
import { hostWords } from './words';

export interface Health {
  status: 'ok' | 'degraded' | 'failing';
  version: string;
  problems?: string[];
  /** Of each problem, in their order, which sentence of the host it is. */
  said?: Said[] | null;
}

/** What is wrong, as the host has it, with what the page says it by. */
export function problemsOf(health: Health | null): (Said & { text: string })[] {
  return (health?.problems ?? []).map((text, i) => ({ ...health?.said?.[i], text }));
}

/** A problem as a sentence of its own. */
export function sentence(text: string): string {
  const trimmed = text.trim();
  if (!trimmed) return '';
  return `${trimmed.charAt(0).toUpperCase()}${trimmed.slice(1)}${/[.!?…]$/.test(trimmed) ? '' : '.'}`;
}

/** The one banner: the worst of what there is to say, or null. */
export type Bad =
  | { kind: 'away' }
  | { kind: 'older' }
  | { kind: 'failing' | 'safe' | 'disk' | 'degraded'; tone: 'wait' | 'bad'; title: string; text: string };

export function worst(state: { away: boolean; health: Health | null; safe: string; host: string; older?: boolean }): Bad | null {
  const { away, health, safe, host, older } = state;
  if (away) return { kind: 'away' };
  const raw = problemsOf(health);
  const problems = raw.map((problem) => sentence(hostWords(problem)));
  const told = problems.length > 1 ? t.host.worst.more(problems[0]!, problems.length - 1) : (problems[0] ?? '');
  if (health?.status === 'failing') return { kind: 'failing', tone: 'bad', title: t.host.worst.failing(host), text: told };
  if (safe) return { kind: 'safe', tone: 'wait', title: t.host.worst.safe, text: sentence(hostWords(raw.find((problem) => problem.text === safe) ?? { text: safe })) };
  if (health?.status !== 'degraded') return older ? { kind: 'older' } : null;
  const disk = raw.find(({ text }) => /disk|space/i.test(text));
  if (disk) {
    const refused = disk.code === 'disk_read_only' || /read.only|refus/i.test(disk.text);
    return { kind: 'disk', tone: refused ? 'bad' : 'wait', title: t.host.worst.disk(host), text: sentence(hostWords(disk)) };
  }
  return { kind: 'degraded', tone: 'wait', title: t.host.worst.degraded(host), text: told };
}

/** Health in a word, beside the host's name. */
export function inShort(health: Health | null, safe: string): { text: string; tone: 'live' | 'wait' | 'bad' } {
  if (health?.status === 'failing') return { text: t.host.short.failing, tone: 'bad' };
  if (safe) return { text: t.host.short.safe, tone: 'wait' };
  if (health?.status === 'degraded') return { text: t.host.short.degraded, tone: 'wait' };
  return { text: t.host.short.healthy, tone: 'live' };
}

// The search of everything that was said, run and printed: only the answer to what was asked last is shown.

import { t } from '../i18n/index.svelte';
import { explain, get, Problem } from '../lib/api';
import type { Hit } from '../lib/types';

interface Found {
  hits: Hit[];
  next?: string | null;
  behind: number;
}

/** So long a person may pause between two letters, in milliseconds. */
const PAUSE = 90;

export class Search {
  hits = $state.raw<Hit[]>([]);
  next = $state('');
  behind = $state(0);
  /** What the hits answer. */
  words = $state('');
  /** How long the host took, in milliseconds. */
  took = $state(0);
  busy = $state(false);
  problem = $state('');
  private asked: AbortController | null = null;
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly limit: number) {}

  /** Asks soon; session narrows it to one. */
  ask(words: string, session = ''): void {
    clearTimeout(this.timer);
    this.asked?.abort();
    this.asked = null;
    if (!words.trim()) {
      this.hits = [];
      this.next = this.words = this.problem = '';
      this.busy = false;
      return;
    }
    this.busy = true;
    this.timer = setTimeout(() => void this.read(words, session, ''), PAUSE);
  }

  /** Reads the next page. */
  async more(session = ''): Promise<void> {
    if (this.next && !this.busy) await this.read(this.words, session, this.next);
  }

  close(): void {
    clearTimeout(this.timer);
    this.asked?.abort();
  }

  private async read(words: string, session: string, before: string): Promise<void> {
    const asked = new AbortController();
    this.asked = asked;
    this.busy = true;
    const began = performance.now();
    try {
      const query = new URLSearchParams({ q: words, limit: String(this.limit), ...(session && { session }), ...(before && { before }) });
      const found = await get<Found>(`/api/v1/search?${query}`, asked.signal);
      if (asked.signal.aborted) return;
      this.took = performance.now() - began;
      this.hits = before ? [...this.hits, ...found.hits] : found.hits;
      this.next = found.next ?? '';
      this.behind = found.behind;
      this.words = words;
      this.problem = '';
    } catch (error) {
      if (asked.signal.aborted) return;
      this.hits = before ? this.hits : [];
      this.words = words;
      this.problem = error instanceof Problem ? explain(t.search.failed, error) : `${t.search.failed}.`;
    }
    this.busy = false;
  }
}

/** Where a hit is: the page jumps to the item. */
export function pathOf(hit: Hit): string {
  return `/s/${hit.session}${hit.item ? `?item=${hit.item}` : ''}`;
}

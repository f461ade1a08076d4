// The search of everything that was said, run and printed: only the answer to what was asked last is shown.

import { t } from '../i18n/index.svelte';
import { explain, get, Problem } from '../lib/api';
import { ANYTHING, askedOf, type Conditions } from '../lib/hits';
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
  private narrowed: Conditions = ANYTHING;
  private asked: AbortController | null = null;
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly limit: number) {}

  /** Asks soon. */
  ask(words: string, conditions: Conditions = ANYTHING): void {
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
    this.narrowed = conditions;
    this.timer = setTimeout(() => void this.read(words, ''), PAUSE);
  }

  /** Reads the next page. */
  async more(): Promise<void> {
    if (this.next && !this.busy) await this.read(this.words, this.next);
  }

  close(): void {
    clearTimeout(this.timer);
    this.asked?.abort();
  }

  private async read(words: string, before: string): Promise<void> {
    const asked = new AbortController();
    this.asked = asked;
    this.busy = true;
    const began = performance.now();
    try {
      const query = askedOf(words, this.narrowed);
      query.set('limit', String(this.limit));
      if (before) query.set('before', before);
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

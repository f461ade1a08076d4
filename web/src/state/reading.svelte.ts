// What a person does with the transcript that is open: the menu of an item, the message that is being changed, the
// search in it. The components of the transcript share one of these.

import { getContext, setContext } from 'svelte';
import type { Item, UserItem } from '../lib/types';

export class Reading {
  /** The session, whose folder the files that are named lie in. */
  constructor(
    readonly session: string,
    readonly cwd: () => string,
  ) {}

  /** The item whose menu is open, and the button that opened it. */
  menu = $state.raw<{ item: Item; from: HTMLElement } | null>(null);
  /** The message that is changed and run again, or taken back. */
  changing = $state.raw<{ item: UserItem; way: 'edit' | 'rewind' } | null>(null);
  /** What it is changed to: rows come and go as they are scrolled by, and no typed word may go with them. */
  text = $state('');
  finding = $state(false);
  /** The message whose words a thumb selects; held, all others open their menu. */
  selecting = $state('');

  change(item: UserItem, way: 'edit' | 'rewind'): void {
    this.text = item.body.text;
    this.changing = { item, way };
  }

  close(): void {
    const from = this.menu?.from;
    this.menu = null;
    from?.focus({ preventScroll: true });
  }
}

const KEY = Symbol('reading');

export const provideReading = (reading: Reading) => setContext(KEY, reading);
export const useReading = () => getContext<Reading>(KEY);

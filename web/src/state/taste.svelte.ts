// How this browser shows things, as somebody chose it: one for all that is open.

import { read, write } from '../lib/storage';

let wrap = $state(read('wrap') === 'on');

export const taste = {
  /** Long lines of code are broken, not scrolled. */
  get wrap(): boolean {
    return wrap;
  },
  set wrap(next: boolean) {
    wrap = next;
    write('wrap', next ? 'on' : 'off');
  },
};

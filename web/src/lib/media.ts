// What the page asks of its window.

import { MediaQuery } from 'svelte/reactivity';

/** One column, as in frame.css. */
export const phone = new MediaQuery('(max-width: 767px)');

/** Tables without their lesser columns (.w-hide). */
export const narrow = new MediaQuery('(max-width: 1023px)');

// What the page asks of its window.

import { MediaQuery } from 'svelte/reactivity';

/** One column, as in frame.css. */
export const phone = new MediaQuery('(max-width: 767px)');

// The names of keys, as the keyboard in front of the person has them.

import { t } from '../i18n/index.svelte';

/** A key with its modifier, as '⌘↵': on Apple's keyboards as it is, elsewhere with Ctrl for ⌘. */
export function keyName(key: string, platform = navigator.platform): string {
  return /^(Mac|iP(hone|ad|od))/.test(platform) ? key : key.replace('⌘', `${t.frame.ctrl} `);
}

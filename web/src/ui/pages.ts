// No page is in the first load but the one that was asked for, which begins to come at once (main.ts). The others are here
// before a person asks: the palette opens at once, so that what is typed after its key goes into it, and a host that is
// away meanwhile is missed by none of them.

import { parseRoute } from '../lib/route';

export const pages = {
  session: () => import('./Chat.svelte'),
  home: () => import('./Home.svelte'),
  new: () => import('./NewSession.svelte'),
  'needs-you': () => import('./NeedsYou.svelte'),
  host: () => import('./Host.svelte'),
  settings: () => import('./Settings.svelte'),
  search: () => import('./SearchPage.svelte'),
  projects: () => import('./Projects.svelte'),
};

/** Asks for the page of a path, while the words are on their way too. */
export function begin(path: string): void {
  const { page } = parseRoute(path);
  if (page in pages) pages[page as keyof typeof pages]().catch(() => {}); // its place says so
}

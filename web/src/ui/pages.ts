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

/** Parts of pages that are not in their files, because they are shown only when a person asks or something happens. */
export const lazy = {
  palette: () => import('./Palette.svelte'),
  keys: () => import('./KeysDialog.svelte'),
  choose: () => import('./ChooseDialog.svelte'),
  importing: () => import('./ImportDialog.svelte'),
  find: () => import('./FindBar.svelte'),
  itemMenu: () => import('./ItemMenu.svelte'),
  edit: () => import('./MessageEditor.svelte'),
  ask: () => import('./AskSheet.svelte'),
  actions: () => import('./SessionActions.svelte'),
  dialog: () => import('./SessionDialog.svelte'),
  bulk: () => import('./BulkBar.svelte'),
  choices: () => import('./ChoiceList.svelte'),
  options: () => import('./OptionsSheet.svelte'),
  agentLog: () => import('./AgentLog.svelte'),
  agentLogDialog: () => import('./AgentLogDialog.svelte'),
  menu: () => import('./Menu.svelte'),
};

/** Has all of it here. */
export function fetchAll(): void {
  void Promise.allSettled(Object.values({ ...pages, ...lazy }).map((load) => load()));
}

/** Asks for the page of a path, while the words are on their way too. */
export function begin(path: string): void {
  const { page } = parseRoute(path);
  if (page in pages) pages[page as keyof typeof pages]().catch(() => {}); // its place says so
}

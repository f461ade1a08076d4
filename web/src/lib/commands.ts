// What the palette can do beside going to a session.

import { t } from '../i18n/index.svelte';
import type { App } from '../state/app.svelte';
import type { IconName } from './icons';
import { download } from './transfer';

export interface Command {
  id: string;
  name: string;
  icon: IconName;
  run: () => void;
  /** The key that does it, with ⌘ for Ctrl. */
  key?: string;
}

export function commandsOf(app: App): Command[] {
  const shelf = app.shelf;
  const row = app.row;
  const open = app.session;
  const words = t.palette;
  const list: (Command | false | null)[] = [
    { id: 'new', name: t.common.newSession, icon: 'plus', key: 'N', run: () => app.go('/new') },
    open && row !== null && row.run !== '' && { id: 'stop', name: words.stop, icon: 'stop', key: '⌘.', run: () => void open.stop(row.run) },
    row && { id: 'rename', name: words.rename, icon: 'edit', run: () => shelf.beginRename(row.id, true) },
    row && { id: 'pin', name: row.pinned ? words.unpin : words.pin, icon: 'pin', run: () => void shelf.act([row.id], row.pinned ? 'unpin' : 'pin') },
    row && { id: 'tags', name: words.tags, icon: 'tag', run: () => (shelf.choosing = { what: 'tags', ids: [row.id] }) },
    row && { id: 'project', name: words.project, icon: 'folder', run: () => (shelf.choosing = { what: 'project', ids: [row.id] }) },
    row && { id: 'duplicate', name: words.duplicate, icon: 'copy', run: () => void shelf.duplicate(row) },
    row && { id: 'archive', name: row.archived ? words.unarchive : words.archive, icon: 'box', run: () => void shelf.act([row.id], row.archived ? 'unarchive' : 'archive') },
    row && { id: 'delete', name: words.delete, icon: 'trash', run: () => shelf.remove([row.id]) },
    app.approvals.length > 0 && { id: 'next', name: words.next, icon: 'ask', key: '⌘J', run: () => app.nextQuestion() },
    { id: 'needs', name: t.frame.needsYou, icon: 'ask', run: () => app.go('/needs-you') },
    { id: 'all', name: t.frame.allSessions, icon: 'list', run: () => app.go('/') },
    { id: 'search', name: t.search.everything, icon: 'search', run: () => app.go('/search') },
    { id: 'projects', name: t.project.manage, icon: 'folder', run: () => app.go('/projects') },
    { id: 'select', name: t.shelf.select, icon: 'ticks', run: () => shelf.startSelecting() },
    { id: 'archived', name: words.showArchived, icon: 'box', run: () => (shelf.show({ kind: 'archived' }), app.go('/')) },
    { id: 'trash', name: words.showTrash, icon: 'trash', run: () => (shelf.show({ kind: 'trash' }), app.go('/')) },
    { id: 'export', name: words.export, icon: 'save', run: () => download('/api/v1/export?format=jsonl') },
    { id: 'import', name: words.import, icon: 'up', run: () => shelf.importing.choose() },
    { id: 'host', name: t.frame.host, icon: 'pulse', run: () => app.go('/host') },
    { id: 'settings', name: t.frame.settings, icon: 'sliders', run: () => app.go('/settings') },
    { id: 'keys', name: t.keys.title, icon: 'key', key: '?', run: () => (app.keys = true) },
    { id: 'sidebar', name: app.sidebar ? words.hideSidebar : words.showSidebar, icon: 'panel', key: '⌘\\', run: () => app.toggleSidebar() },
    ...(['light', 'dark', 'system'] as const).map((theme) => app.theme !== theme && { id: theme, name: words.theme[theme], icon: 'bulb' as const, run: () => app.setTheme(theme) }),
  ];
  return list.filter((each): each is Command => each !== null && each !== false);
}

// The files that a run changed, from the diffs of those of its tools that are known to be done: one that waits for its
// permission, or did not get it, has a diff too.

import { diffFile, type FileDiff } from './diff';
import type { View } from './fold';
import { diffs } from './tools';
import type { Item, ToolBody } from './types';

export interface Changes {
  /** item: the last call that changed it. */
  files: { path: string; added: number; removed: number; isNew: boolean; item: string }[];
  added: number;
  removed: number;
}

// A body is never changed in place, so what was computed from it holds as long as it lives.
const computed = new WeakMap<ToolBody, FileDiff[]>();

export function diffsOf(tool: ToolBody): FileDiff[] {
  let files = computed.get(tool);
  if (!files) {
    files = diffs(tool).map((each) => diffFile(each.path, each.oldText, each.newText));
    computed.set(tool, files);
  }
  return files;
}

/**
 * The items of a run, without its message: one run goes after the other, so that they stand together, and in a long
 * session only its end is looked through.
 */
export function itemsOf(view: View, run: string): Item[] {
  const found: Item[] = [];
  if (!run) return found;
  for (let i = view.items.length - 1; i >= 0; i--) {
    const item = view.items[i]!;
    if (item.kind === 'user' || item.kind === 'notice' || !item.run) continue;
    if (item.run === run) found.push(item);
    else if (found.length > 0) break;
  }
  return found.reverse();
}

export function changesOf(view: View, run: string): Changes {
  const files = new Map<string, Changes['files'][number]>();
  for (const item of itemsOf(view, run)) {
    if (item.kind !== 'tool' || item.body.status !== 'completed') continue;
    for (const diff of diffsOf(item.body)) {
      const had = files.get(diff.path);
      if (had) {
        had.added += diff.added;
        had.removed += diff.removed;
        had.item = item.id;
      } else {
        files.set(diff.path, { path: diff.path, added: diff.added, removed: diff.removed, isNew: diff.isNew, item: item.id });
      }
    }
  }
  const list = [...files.values()];
  return {
    files: list,
    added: list.reduce((sum, file) => sum + file.added, 0),
    removed: list.reduce((sum, file) => sum + file.removed, 0),
  };
}

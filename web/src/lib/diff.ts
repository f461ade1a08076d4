// A file's change as lines with numbers, for the tool card and the permission.

// Of the library only what compares lines.
import { structuredPatch } from 'diff/lib/patch/create.js';
import { t } from '../i18n/index.svelte';

export interface DiffLine {
  sign: '+' | '-' | ' ' | '…';
  /** In the new file, or in the old one for what is gone. */
  number: number | null;
  text: string;
}

export interface FileDiff {
  path: string;
  added: number;
  removed: number;
  isNew: boolean;
  lines: DiffLine[];
}

/** Comparing very large files line by line would hold the page; they are counted as replaced. */
const MAX_CHARS = 400_000;

export function diffFile(path: string, old: string | null | undefined, next: string): FileDiff {
  const before = old ?? '';
  const out: FileDiff = { path, added: 0, removed: 0, isNew: old === null || old === undefined, lines: [] };
  if (before.length + next.length > MAX_CHARS) {
    out.removed = before ? before.split('\n').length : 0;
    out.added = next.split('\n').length;
    out.lines.push({ sign: '…', number: null, text: t.tool.tooLarge });
    return out;
  }
  const patch = structuredPatch('', '', before, next, '', '', { context: 3 });
  patch.hunks.forEach((hunk, i) => {
    if (i > 0) out.lines.push({ sign: '…', number: null, text: '' });
    let a = hunk.oldStart;
    let b = hunk.newStart;
    for (const line of hunk.lines) {
      const sign = line[0] as string;
      const text = line.slice(1);
      if (sign === '+') {
        out.lines.push({ sign, number: b++, text });
        out.added++;
      } else if (sign === '-') {
        out.lines.push({ sign, number: a++, text });
        out.removed++;
      } else if (sign === ' ') {
        out.lines.push({ sign, number: b++, text });
        a++;
      }
    }
  });
  return out;
}

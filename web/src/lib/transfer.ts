// Files from the host to this device and back.

import { base } from './base';

/** Has the browser download what a path of the API gives. */
export function download(path: string): void {
  const link = document.createElement('a');
  link.href = base + path;
  link.download = '';
  link.click();
}

export const FORMATS = ['md', 'html', 'jsonl'] as const;
export type Format = (typeof FORMATS)[number];

/** So many sessions the host takes into one archive that is asked for by their names. */
const ARCHIVE = 400;

/** What of the API gives these sessions as files: one as it is, several in archives. */
export function exportPaths(ids: readonly string[], format: Format): string[] {
  if (ids.length === 1) return [`/api/v1/sessions/${encodeURIComponent(ids[0]!)}/export?format=${format}`];
  const paths: string[] = [];
  for (let at = 0; at < ids.length; at += ARCHIVE) {
    paths.push(`/api/v1/export?format=${format}&ids=${ids.slice(at, at + ARCHIVE).map(encodeURIComponent).join(',')}`);
  }
  return paths;
}

/** Lets the person choose a file of exported sessions. */
export function importFile(then: (file: File) => void): void {
  const field = document.createElement('input');
  field.type = 'file';
  field.accept = '.jsonl,.zip';
  field.hidden = true;
  field.addEventListener('change', () => {
    field.remove();
    if (field.files?.[0]) then(field.files[0]);
  });
  field.addEventListener('cancel', () => field.remove());
  document.body.append(field);
  field.click();
}

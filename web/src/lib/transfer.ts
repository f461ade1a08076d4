// Files from the host to this device and back.

import { newId } from './api';
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

/**
 * Has the browser download sessions: one as a file, several in an archive. A form names any number of them, and the file
 * is saved as it comes. It goes into a frame, where what is no file replaces no page, but is told.
 */
export function exportSessions(ids: readonly string[], format: Format, failed: () => void): void {
  const frame = document.createElement('iframe');
  frame.name = newId();
  frame.hidden = true;
  const form = document.createElement('form');
  form.method = 'post';
  form.action = `${base}/api/v1/export`;
  form.target = frame.name;
  form.hidden = true;
  for (const [name, value] of Object.entries({ format, ids: ids.join(',') })) {
    const field = document.createElement('input');
    field.name = name;
    field.value = value;
    form.append(field);
  }
  document.body.append(frame, form);
  // A file that is saved loads nothing, and nothing tells of it.
  frame.addEventListener('load', () => {
    if (frame.contentDocument?.URL === 'about:blank') return;
    frame.remove();
    failed();
  });
  form.submit();
  form.remove();
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

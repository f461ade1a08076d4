// Files from the host to this device and back.

import { base } from './base';

/** Has the browser download what a path of the API gives. */
export function download(path: string): void {
  const link = document.createElement('a');
  link.href = base + path;
  link.download = '';
  link.click();
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

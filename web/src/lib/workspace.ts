// Files that an agent or a person names: what of them can be shown, and where the host has them.

import { base } from './base';

/** A picture that a browser draws and that can hold no program. */
const PICTURE = /\.(png|jpe?g|gif|webp)$/i;
const PICTURE_TYPE = /^image\/(png|jpeg|gif|webp)$/;

export const isPicture = (path: string) => PICTURE.test(path);

/**
 * The path of a file in the session's folder that a link or a picture of an answer means, or '' where it is none: an
 * address of another kind, or a place outside. A link's #L12 and ?raw say nothing of the file.
 */
export function pathOf(url: string, cwd: string): string {
  let path = url.replace(/^file:\/\/(localhost)?(?=\/)/, '').replace(/[?#].*$/, '');
  if (/^[a-z][a-z\d+.-]*:/i.test(path) || path.startsWith('//') || path === '') return '';
  try {
    path = decodeURIComponent(path);
  } catch {
    // A name with a percent sign of its own.
  }
  const folder = cwd.replace(/\/+$/, '');
  if (path.startsWith('/')) {
    if (!folder || !path.startsWith(`${folder}/`)) return '';
    path = path.slice(folder.length + 1);
  }
  const parts: string[] = [];
  for (const part of path.split('/')) {
    if (part === '..') {
      if (parts.pop() === undefined) return '';
    } else if (part !== '' && part !== '.') parts.push(part);
  }
  return parts.join('/');
}

/** Where the host gives a file of a session's folder. */
export function fileAddress(session: string, path: string): string {
  return `${base}/api/v1/sessions/${encodeURIComponent(session)}/files/raw?path=${encodeURIComponent(path)}`;
}

/** A picture that an agent gave with its bytes, as an address; '' where it is none that is shown. */
export function pictureOf(content: { type: string; mimeType?: unknown; data?: unknown }): string {
  if (content.type !== 'image' || typeof content.data !== 'string' || typeof content.mimeType !== 'string') return '';
  if (!PICTURE_TYPE.test(content.mimeType) || !/^[A-Za-z\d+/]+=*$/.test(content.data)) return '';
  return `data:${content.mimeType};base64,${content.data}`;
}

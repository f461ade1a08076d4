// Which files the host shows in place; all else of a person's or an agent's it only lets be downloaded.

const SHOWN = new Set(['image/png', 'image/jpeg', 'image/gif', 'image/webp']);

export function shownInPlace(type: string): boolean {
  return SHOWN.has(type);
}

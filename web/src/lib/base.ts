// The path below which the page lies: '' at a name of its own, '/holdfast' behind a proxy that shares its name. The host
// writes it into the page. Paths inside the page (app.go, parseRoute, request) are without it.

export const base: string =
  typeof document === 'undefined' ? '' : (document.querySelector<HTMLMetaElement>('meta[name="holdfast-base"]')?.content ?? '');

/** A path of the address bar, or of a link, as the page knows it. */
export function inside(pathname: string): string {
  if (!base) return pathname;
  if (pathname === base) return '/';
  return pathname.startsWith(`${base}/`) ? pathname.slice(base.length) : pathname;
}

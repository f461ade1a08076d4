// Which page an address is.

export type Route =
  | { page: 'home' }
  | { page: 'new' }
  | { page: 'session'; id: string }
  | { page: 'needs-you' }
  | { page: 'host' }
  | { page: 'settings' }
  | { page: 'search' }
  | { page: 'projects' }
  | { page: 'missing' };

export function parseRoute(path: string): Route {
  if (path === '/' || path === '') return { page: 'home' };
  if (path === '/new') return { page: 'new' };
  if (path === '/needs-you') return { page: 'needs-you' };
  if (path === '/host') return { page: 'host' };
  if (path === '/settings') return { page: 'settings' };
  if (path === '/search') return { page: 'search' };
  if (path === '/projects') return { page: 'projects' };
  const session = /^\/s\/([^/]+)\/?$/.exec(path);
  if (session) return { page: 'session', id: decodeURIComponent(session[1]!) };
  return { page: 'missing' };
}

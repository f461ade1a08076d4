// What the service worker decides, apart from the browser's own objects.

/** The page's files, as the build made them: paths below the scope. */
export interface Shell {
  /** Which build: two of them never share a cache. */
  build: string;
  files: string[];
}

export interface Asked {
  method: string;
  mode: string;
  url: string;
}

/**
 * How a request is answered. page: from the host, and from what is kept only where the host is away, so that no old
 * shell meets a newer host. hashed: from what is kept, the name says what is in it. named: like page. none: not ours.
 */
export type Way = 'page' | 'hashed' | 'named' | 'none';

const PROGRAMS = /^(?:api|control|problems)(?:\/|$)|^(?:health|metrics)$/;

export function wayOf({ method, mode, url }: Asked, scope: string, files: readonly string[]): Way {
  if (method !== 'GET') return 'none';
  const address = new URL(url);
  const below = new URL(scope);
  if (address.origin !== below.origin || !address.pathname.startsWith(below.pathname)) return 'none';
  const path = address.pathname.slice(below.pathname.length);
  if (PROGRAMS.test(path)) return 'none';
  if (files.includes(path)) return path.startsWith('assets/') ? 'hashed' : 'named';
  if (mode !== 'navigate' || path.includes('.')) return 'none';
  return 'page';
}

/** Which caches go: all of this scope but the one of this build and the one before it, whose pages may still be open. */
export function stale(names: readonly string[], prefix: string, current: string): string[] {
  const others = names.filter((name) => name.startsWith(prefix) && name !== current);
  return others.slice(0, -1);
}

/** What the host sends (docs/architecture.md, section 7). */
export interface Payload {
  v: number;
  kind: string;
  session?: string;
  title: string;
  text?: string;
  tag: string;
  path: string;
  at: number;
  actions?: { action: string; title: string; capability: string }[];
}

/** The page's words, in the language of this browser; the page keeps them where the worker finds them. */
export interface Words {
  ended: string;
  failed: string;
  needs: string;
  test: string;
  session: string;
  answeredElsewhere: string;
  answerFailed: string;
}

export interface Kept {
  path: string;
  tag: string;
  title: string;
  capabilities: Record<string, string>;
}

export interface Shown {
  title: string;
  options: NotificationOptions & {
    data: Kept;
    actions?: { action: string; title: string }[];
    renotify?: boolean;
    timestamp?: number;
  };
}

/** What of a push is shown. */
export function shown(payload: Payload, words: Partial<Words>, scope: string): Shown {
  const { kind, text = '', actions = [] } = payload;
  const title = payload.title || words.session || 'Holdfast';
  let body = text;
  if (kind === 'ended') body = words.ended ?? '';
  else if (kind === 'failed') body = [words.failed, text].filter(Boolean).join(': ');
  else if (kind === 'needs') body = text || words.needs || '';
  else if (kind === 'test') body = words.test ?? '';
  return {
    title,
    options: {
      ...look(scope),
      body,
      tag: payload.tag,
      renotify: true,
      timestamp: payload.at,
      requireInteraction: kind === 'needs',
      actions: actions.map((action) => ({ action: action.action, title: action.title })),
      data: {
        path: payload.path,
        tag: payload.tag,
        title,
        capabilities: Object.fromEntries(actions.map((action) => [action.action, action.capability])),
      },
    },
  };
}

/** What is shown where an answer from a notification did not arrive; a tap opens the session. */
export function refused(kept: Kept, status: number, words: Partial<Words>, scope: string): Shown {
  const elsewhere = status === 409;
  return {
    title: kept.title,
    options: {
      ...look(scope),
      body: (elsewhere ? words.answeredElsewhere : words.answerFailed) ?? '',
      tag: kept.tag,
      silent: elsewhere,
      requireInteraction: !elsewhere,
      data: { ...kept, capabilities: {} },
    },
  };
}

function look(scope: string) {
  return { icon: `${scope}icons/icon-192.png`, badge: `${scope}icons/badge-96.png` };
}

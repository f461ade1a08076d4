// The service worker. It keeps the shell of the page, one build of it at a time and never the API; it shows what the host
// pushes, and sends the answers that are given there.

import { refused, shown, stale, wayOf, type Kept, type Payload, type Shell, type Shown, type Words } from './rules';

declare const self: ServiceWorkerGlobalScope;
/** Put in by the build. */
declare const __SHELL__: Shell;

const shell = __SHELL__;
const scope = self.registration.scope;
const PREFIX = `holdfast-shell ${new URL(scope).pathname} `;
const CACHE = PREFIX + shell.build;
/** Where the page keeps its words for this worker; lib/push.ts knows it too. */
const WORDS = `holdfast-words ${new URL(scope).pathname}`;
/** A network that says nothing for so long is taken for none, in milliseconds. */
const PATIENCE = 5_000;

self.addEventListener('install', (event) => {
  event.waitUntil(keep());
});

/** All or nothing: files of two builds never stand beside each other. */
async function keep(): Promise<void> {
  const cache = await caches.open(CACHE);
  await cache.addAll([new Request(scope, { cache: 'reload' }), ...shell.files.map((file) => scope + file)]);
  // Nothing has to wait: the page comes from the host, its files by their hash.
  await self.skipWaiting();
}

self.addEventListener('activate', (event) => {
  event.waitUntil(
    (async () => {
      await Promise.all(stale(await caches.keys(), PREFIX, CACHE).map((name) => caches.delete(name)));
      await self.registration.navigationPreload?.enable();
      await self.clients.claim();
    })(),
  );
});

self.addEventListener('fetch', (event) => {
  switch (wayOf(event.request, scope, shell.files)) {
    case 'page':
      event.respondWith(hostFirst(event, scope));
      break;
    case 'named':
      event.respondWith(hostFirst(event, event.request.url));
      break;
    case 'hashed':
      event.respondWith(kept(event.request.url).then((answer) => answer ?? fetch(event.request)));
      break;
  }
});

async function kept(url: string): Promise<Response | undefined> {
  return (await caches.open(CACHE)).match(url, { ignoreVary: true, ignoreSearch: true });
}

/** The host's answer, or what is kept where the host is away. */
async function hostFirst(event: FetchEvent, url: string): Promise<Response> {
  const abort = new AbortController();
  let timer: ReturnType<typeof setTimeout> | undefined;
  try {
    const asked = (async () => ((await event.preloadResponse) as Response | undefined) ?? fetch(event.request, { signal: abort.signal }))();
    const late = new Promise<never>((_, fail) => {
      timer = setTimeout(() => fail(new Error('timeout')), PATIENCE);
    });
    asked.catch(() => {});
    const answer = await Promise.race([asked, late]);
    // A proxy whose host is away answers for it.
    return answer.status < 500 ? answer : ((await kept(url)) ?? answer);
  } catch (error) {
    const answer = await kept(url);
    abort.abort();
    if (answer) return answer;
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

// Notifications

self.addEventListener('push', (event) => {
  event.waitUntil(told(event.data));
});

async function told(data: PushMessageData | null): Promise<void> {
  const payload = data?.json() as Payload | undefined;
  if (payload) await show(shown(payload, await words(), scope));
}

const show = ({ title, options }: Shown) => self.registration.showNotification(title, options);

async function words(): Promise<Partial<Words>> {
  const answer = await (await caches.open(WORDS)).match(`${scope}words`);
  return answer ? ((await answer.json()) as Words) : {};
}

self.addEventListener('notificationclick', (event) => {
  const about = event.notification.data as Kept;
  event.notification.close();
  const capability = about.capabilities[event.action];
  event.waitUntil(capability ? answer(about, capability) : open(about.path));
});

async function answer(about: Kept, capability: string): Promise<void> {
  let status = 0;
  try {
    const said = await fetch(`${scope}api/v1/push/answer`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ capability }),
    });
    if (said.ok) return;
    status = said.status;
  } catch {
    // The host is out of reach; the notification says so.
  }
  await show(refused(about, status, await words(), scope));
}

/** Shows a place of the page: in the window that is there, or in a new one. */
async function open(path: string): Promise<void> {
  const windows = (await self.clients.matchAll({ type: 'window', includeUncontrolled: true })).filter((each) => each.url.startsWith(scope));
  const there = windows.find((each) => each.visibilityState === 'visible') ?? windows[0];
  if (!there) {
    await self.clients.openWindow(scope + path.replace(/^\//, ''));
    return;
  }
  there.postMessage({ open: path });
  await there.focus();
}

self.addEventListener('pushsubscriptionchange', (event) => {
  event.waitUntil(again());
});

/** The browser has changed where it is told: so the host is told. */
async function again(): Promise<void> {
  const state = await fetch(`${scope}api/v1/push`);
  if (!state.ok) return;
  const { public_key, subscribed, level } = (await state.json()) as { public_key: string; subscribed: boolean; level: string };
  if (!subscribed) return;
  const made = await self.registration.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: public_key });
  await fetch(`${scope}api/v1/push`, {
    method: 'PUT',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ ...made.toJSON(), level }),
  });
}

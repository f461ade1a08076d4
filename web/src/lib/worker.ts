// The service worker as the page sees it: what makes it installable, and what shows notifications.

import { base } from './base';

/** The worker of this page, or null: plain HTTP on a network has none, nor has a browser that forbids it. */
export function worker(): Promise<ServiceWorkerRegistration | null> {
  return (registering ??= register());
}

let registering: Promise<ServiceWorkerRegistration | null> | undefined;

async function register(): Promise<ServiceWorkerRegistration | null> {
  if (!import.meta.env.PROD || !('serviceWorker' in navigator)) return null;
  try {
    return (await navigator.serviceWorker.register(`${base}/sw.js`)) ?? null;
  } catch {
    // Private windows and browsers that are told so have none; the page does without.
    return null;
  }
}

/** Hears what a tap on a notification asks this page to show. */
export function onOpen(open: (path: string) => void): void {
  if (!('serviceWorker' in navigator)) return;
  navigator.serviceWorker.addEventListener('message', (event) => {
    const path = (event.data as { open?: unknown } | null)?.open;
    if (typeof path === 'string' && path.startsWith('/')) open(path);
  });
  navigator.serviceWorker.startMessages();
}

/** Which page this is; '' where it was not built by a host's own hand. */
export const page: string =
  typeof document === 'undefined' ? '' : (document.querySelector<HTMLMetaElement>('meta[name="holdfast-page"]')?.content ?? '');

/** Whether the host has another page than this one. */
export function older(hosts: string | undefined, mine = page): boolean {
  return Boolean(mine && hosts && hosts !== mine);
}

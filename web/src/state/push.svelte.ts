// How this device is told what happens while its page is closed.

import { t } from '../i18n/index.svelte';
import { get, request } from '../lib/api';
import { base } from '../lib/base';
import { isApple } from '../lib/install.svelte';
import { drop, read, write } from '../lib/storage';
import { worker } from '../lib/worker';

export type PushLevel = 'all' | 'needs' | 'none';

interface PushSettings {
  public_key: string;
  subscribed: boolean;
  level: PushLevel;
  sessions: Record<string, string>;
}

/** Why this browser cannot be told, or ''. */
export type PushLack = '' | 'insecure' | 'install' | 'unknown';

/** The endpoint that the host knows of this browser. */
const KEPT = 'push';

export class Push {
  lack = $state<PushLack>(lackOf());
  permission = $state<NotificationPermission>(typeof Notification === 'undefined' ? 'default' : Notification.permission);
  /** What the host says; null until it was asked. */
  settings = $state.raw<PushSettings | null>(null);

  get on(): boolean {
    return this.settings?.subscribed === true && this.permission === 'granted';
  }

  levelOf(session: string): PushLevel | 'default' {
    return (this.settings?.sessions[session] as PushLevel | undefined) ?? 'default';
  }

  /** Asks the host, and gives it the address of this browser where that has changed. */
  async look(): Promise<void> {
    if (this.lack) return;
    this.permission = Notification.permission;
    this.settings = await get<PushSettings>('/api/v1/push');
    const kept = read(KEPT);
    if (!kept || !this.settings.subscribed || this.permission !== 'granted') return;
    await this.tellWords();
    const known = await (await worker())?.pushManager.getSubscription();
    if (known?.endpoint !== kept) await this.subscribe(this.settings.level);
  }

  /** Asks the person where he has not been asked, then the browser, then tells the host. */
  async enable(): Promise<void> {
    this.permission = await Notification.requestPermission();
    if (this.permission !== 'granted') return;
    await this.tellWords();
    await this.subscribe('all');
  }

  private async subscribe(level: PushLevel): Promise<void> {
    const registration = await worker();
    if (!registration) throw new Error(t.push.noWorker);
    const key = this.settings?.public_key ?? (await get<PushSettings>('/api/v1/push')).public_key;
    let made: PushSubscription;
    try {
      made = await registration.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: key });
    } catch (error) {
      // One that was made for another key stands in the way.
      const old = await registration.pushManager.getSubscription();
      if (!old) throw error;
      await old.unsubscribe();
      made = await registration.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: key });
    }
    this.settings = await request<PushSettings>('PUT', '/api/v1/push', { ...made.toJSON(), level });
    write(KEPT, made.endpoint);
  }

  async disable(): Promise<void> {
    await request('DELETE', '/api/v1/push');
    await this.forget();
    if (this.settings) this.settings = { ...this.settings, subscribed: false, level: 'none', sessions: {} };
  }

  /** Ends what the browser has of it: it was logged out, and the host has dropped its part. */
  async forget(): Promise<void> {
    if (!read(KEPT)) return;
    drop(KEPT);
    const registration = await worker();
    await (await registration?.pushManager.getSubscription())?.unsubscribe();
  }

  /** What is told, of all sessions or of one; default: as of all. */
  async setLevel(level: PushLevel | 'default', session?: string): Promise<void> {
    this.settings = await request<PushSettings>('PATCH', '/api/v1/push', { level, session });
  }

  async test(): Promise<void> {
    await request('POST', '/api/v1/push/test');
  }

  /** The worker has no catalogue of its own. */
  async tellWords(): Promise<void> {
    if (typeof caches === 'undefined') return;
    const scope = new URL(`${base}/`, location.origin);
    const cache = await caches.open(`holdfast-words ${scope.pathname}`);
    await cache.put(`${scope.href}words`, new Response(JSON.stringify(t.push.told), { headers: { 'Content-Type': 'application/json' } }));
  }
}

function lackOf(): PushLack {
  if (typeof window === 'undefined') return 'unknown';
  if (!window.isSecureContext) return 'insecure';
  if ('PushManager' in window && 'serviceWorker' in navigator && 'Notification' in window) return '';
  // Of Safari on a phone only an installed page may.
  return isApple() ? 'install' : 'unknown';
}

// How the host is, for the banner and the foot of the sidebar: looked at while the page is visible.

import { get, Problem } from '../lib/api';
import type { Health } from '../lib/condition';
import { whileVisible } from '../lib/refresh';
import type { Me } from '../lib/types';
import { older } from '../lib/worker';

const EVERY = 15_000;

export class HealthWatch {
  health = $state.raw<Health | null>(null);
  /** Why the host is in safe mode, or ''. */
  safe = $state('');
  /** Which page the host has, where it is not this one. */
  newer = $state('');
  private stop: (() => void) | undefined;

  start(me: Me): void {
    this.stop?.();
    this.hear(me);
    this.stop = whileVisible(() => this.look(), EVERY);
  }

  end(): void {
    this.stop?.();
    this.stop = undefined;
    this.health = null;
    this.safe = '';
  }

  /** Asks once. deep also has the host read and write, as a person would. */
  async look(deep = false): Promise<void> {
    const [health, me] = await Promise.allSettled([askHealth(deep), get<Me>('/api/v1/me')]);
    // That nobody answers is the stream's to say; what was known stays.
    if (health.status === 'fulfilled') this.health = health.value;
    if (me.status === 'fulfilled') this.hear(me.value);
  }

  private hear(me: Me): void {
    this.safe = me.safe_mode ?? '';
    this.newer = older(me.page) ? me.page! : '';
  }
}

async function askHealth(deep: boolean): Promise<Health> {
  try {
    return await get<Health>(deep ? '/health?deep=1' : '/health');
  } catch (error) {
    // 503 is an answer too: it says what is failing.
    if (error instanceof Problem && typeof error.body.status === 'string' && error.status === 503) return error.body as unknown as Health;
    throw error;
  }
}

// Says to the host what this tab shows, so that nobody's phone rings for what is before his eyes.

import { base } from '../lib/base';
import { newId } from '../lib/api';

/** At most so often a tab says that somebody is there, in milliseconds. */
const EVERY = 60_000;

export class Presence {
  private readonly tab = newId();
  private session = '';
  private said = 0;
  private on = false;

  /** shows tells which session the page shows, '' for none. */
  constructor(private readonly shows: () => string) {}

  start(): void {
    if (!this.on) {
      document.addEventListener('visibilitychange', this.changed);
      window.addEventListener('pagehide', this.left);
      for (const kind of ['pointerdown', 'keydown'] as const) document.addEventListener(kind, this.hands, { capture: true, passive: true });
    }
    this.on = true;
    this.changed();
  }

  stop(): void {
    this.on = false;
    document.removeEventListener('visibilitychange', this.changed);
    window.removeEventListener('pagehide', this.left);
    for (const kind of ['pointerdown', 'keydown'] as const) document.removeEventListener(kind, this.hands, { capture: true });
  }

  /** The page shows another place. */
  moved(): void {
    if (this.on && this.shows() !== this.session) this.changed();
  }

  private readonly changed = () => this.say(document.visibilityState === 'visible');
  private readonly left = () => this.say(false);
  private readonly hands = () => {
    if (document.visibilityState === 'visible' && Date.now() - this.said > EVERY) this.say(true);
  };

  private say(visible: boolean): void {
    this.session = this.shows();
    this.said = Date.now();
    void fetch(`${base}/api/v1/presence`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ tab: this.tab, session: this.session, visible }),
      credentials: 'same-origin',
      keepalive: true,
    }).catch(() => {
      // The next sign says it again.
    });
  }
}

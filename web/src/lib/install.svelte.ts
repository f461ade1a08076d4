// Whether this browser offers to install the page as an app of its own, and how it is asked.

/** A phone or tablet of Apple's; its tablets say that they are Macs. */
export function isApple(): boolean {
  return /iPhone|iPad/.test(navigator.userAgent) || (navigator.platform === 'MacIntel' && navigator.maxTouchPoints > 1);
}

interface Offer extends Event {
  prompt(): Promise<{ outcome: 'accepted' | 'dismissed' }>;
}

class Install {
  private offer = $state.raw<Offer | null>(null);
  /** The page runs as an app of its own. */
  readonly installed: boolean;
  /** Only the person himself can install it, by the browser's menu. */
  readonly byHand: boolean;

  constructor() {
    if (typeof window === 'undefined') {
      this.installed = this.byHand = false;
      return;
    }
    this.installed = matchMedia('(display-mode: standalone)').matches;
    this.byHand = !this.installed && isApple() && window.isSecureContext;
    window.addEventListener('beforeinstallprompt', (event) => {
      // It is offered in Settings, and not over what somebody reads.
      event.preventDefault();
      this.offer = event as Offer;
    });
    window.addEventListener('appinstalled', () => (this.offer = null));
  }

  get offered(): boolean {
    return this.offer !== null;
  }

  async ask(): Promise<void> {
    const offer = this.offer;
    this.offer = null; // it asks once
    await offer?.prompt();
  }
}

export const install = new Install();

// Whether this browser offers to install the page as an app of its own, and how it is asked.

interface Offer extends Event {
  prompt(): Promise<{ outcome: 'accepted' | 'dismissed' }>;
}

class Install {
  private offer = $state.raw<Offer | null>(null);
  /** The page runs as an app of its own. */
  readonly installed: boolean;

  constructor() {
    if (typeof window === 'undefined') {
      this.installed = false;
      return;
    }
    this.installed = matchMedia('(display-mode: standalone)').matches;
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

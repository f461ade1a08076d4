// What is read again and again, while somebody looks.

interface Page {
  readonly visibilityState: string;
  addEventListener(type: 'visibilitychange', listener: () => void): void;
  removeEventListener(type: 'visibilitychange', listener: () => void): void;
}

/**
 * Runs at once and then every so many milliseconds while the page is visible, and when it becomes visible. A run that
 * takes long is not joined by a second. Returns how to end it.
 */
export function whileVisible(run: () => Promise<void>, every: number, page: Page = document): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let busy = false;
  let ended = false;
  const visible = () => page.visibilityState === 'visible';
  const look = async () => {
    clearTimeout(timer);
    if (busy || ended || !visible()) return;
    busy = true;
    try {
      await run();
    } finally {
      busy = false;
      if (!ended && visible()) timer = setTimeout(look, every);
    }
  };
  const changed = () => {
    if (visible()) void look();
    else clearTimeout(timer);
  };
  page.addEventListener('visibilitychange', changed);
  void look();
  return () => {
    ended = true;
    clearTimeout(timer);
    page.removeEventListener('visibilitychange', changed);
  };
}

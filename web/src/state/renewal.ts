// Reloads a page that is older than its host once nobody is at it. What was written is kept in the browser, as is the
// place in the transcript; what is not kept (an open dialog, files on their way) puts it off.

const EVERY = 15_000;
/** Nobody is at a page that was hidden for so long, in milliseconds. */
export const HIDDEN = 60_000;
/** Nor at one where nothing was touched for so long. */
export const UNTOUCHED = 600_000;

/** Whether a page may be reloaded by itself. */
export function idle(state: { hidden: boolean; untouched: number; unsaved: boolean }): boolean {
  return !state.unsaved && state.untouched > (state.hidden ? HIDDEN : UNTOUCHED);
}

export class Renewal {
  private touched = Date.now();

  /** newer is the version of the host's page, '' where it is this one; uploading says that files are on their way. */
  constructor(
    private readonly newer: () => string,
    private readonly uploading: () => boolean,
  ) {}

  /** For the life of the page. */
  start(): void {
    const touch = () => (this.touched = Date.now());
    for (const kind of ['pointerdown', 'pointermove', 'keydown', 'wheel']) document.addEventListener(kind, touch, { capture: true, passive: true });
    document.addEventListener('visibilitychange', touch);
    setInterval(() => this.look(), EVERY);
  }

  private look(): void {
    const newer = this.newer();
    if (!newer || !idle({ hidden: document.hidden, untouched: Date.now() - this.touched, unsaved: this.uploading() || unsaved() })) return;
    try {
      // Once for each version: what comes may be kept by something between.
      if (sessionStorage.getItem('holdfast.renewed') === newer) return;
      sessionStorage.setItem('holdfast.renewed', newer);
    } catch {
      return;
    }
    location.reload();
  }
}

/** Whether something would be lost: the draft of a message would not. */
function unsaved(): boolean {
  if (document.querySelector('dialog[open], [data-unsaved]')) return true;
  return [...document.querySelectorAll<HTMLInputElement>('input[type=text], input:not([type]), textarea')].some(
    (field) => field.value !== field.defaultValue && !field.closest('form.comp'),
  );
}

// A thumb that stays: what a right click is to a mouse.

const LONG = 500;
/** A thumb is never quite still. */
const SLACK = 10;

/**
 * Calls run once a finger has stayed on the element for half a second. What lifting it would do is then not done. What
 * matches spared keeps what the browser does there.
 */
export function held(run: () => void, spared = '') {
  return (node: HTMLElement) => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    let done = false;
    let x = 0;
    let y = 0;
    const stop = () => {
      clearTimeout(timer);
      timer = undefined;
    };
    const fire = () => {
      stop();
      done = true;
      run();
    };
    const on: { [event: string]: (event: PointerEvent) => void } = {
      pointerdown(event) {
        stop();
        done = false;
        if (event.pointerType === 'mouse' || !event.isPrimary || (spared && (event.target as Element).closest(spared))) return;
        x = event.clientX;
        y = event.clientY;
        timer = setTimeout(fire, LONG);
      },
      pointermove(event) {
        if (Math.hypot(event.clientX - x, event.clientY - y) > SLACK) stop();
      },
      pointerup: stop,
      pointercancel: stop,
      // Android has an event for it, which may come first; iOS has none.
      contextmenu(event) {
        if (!timer && !done) return;
        event.preventDefault();
        event.stopPropagation();
        if (timer) fire();
      },
      click(event) {
        if (!done || event.detail === 0) return;
        done = false;
        event.preventDefault();
        event.stopPropagation();
      },
    };
    const each = Object.entries(on) as [string, EventListener][];
    for (const [name, listen] of each) node.addEventListener(name, listen, { capture: true });
    // Nor does a tap come of it, which would be one on what run has put under the finger.
    const lift = (event: TouchEvent) => done && event.preventDefault();
    node.addEventListener('touchend', lift);
    return () => {
      stop();
      node.removeEventListener('touchend', lift);
      for (const [name, listen] of each) node.removeEventListener(name, listen, { capture: true });
    };
  };
}

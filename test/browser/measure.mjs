// What of the look of a page can be measured: targets that a thumb would miss, and what is out of reach at a side.

/** What can be tapped. */
const TARGETS = 'a[href], button, input, textarea, select, summary, [role=option], [role=radio], [role=checkbox], [role=switch], [role^=menuitem]';

/** What may be smaller than 44 pixels, and why. */
const SMALL = [
  '.say a, .you .text a', // a link within a text is as high as its line
  '.sr', // for those who cannot see it
  '.titlefield', // it comes with the focus, in the place of what was held or pressed
  '[inert] *',
];

/** What is as wide as it was written, and is scrolled sideways. */
const WIDE = 'pre, .out, .diff, .what, .tablebox, .formula, .scrollx';

/** The targets that a thumb can hit on less than 44 by 44 pixels, one line each: what is there is asked of the browser, pixel by pixel. */
export function small(page) {
  return page.evaluate(
    ([targets, spared]) => {
      const LEAST = 44;
      const found = new Set();
      const clipped = (target, box) => {
        for (let at = target.parentElement; at && at !== document.body; at = at.parentElement) {
          if (getComputedStyle(at).overflow === 'visible') continue;
          const clip = at.getBoundingClientRect();
          if (box.top < clip.top - 1 || box.bottom > clip.bottom + 1 || box.left < clip.left - 1 || box.right > clip.right + 1) return true;
        }
        return box.top < 0 || box.left < 0 || box.bottom > innerHeight || box.right > innerWidth;
      };
      for (const target of document.querySelectorAll(targets)) {
        if (target.closest(spared) || !target.checkVisibility({ visibilityProperty: true, opacityProperty: true })) continue;
        const zone = target.closest('label') ?? target;
        const box = zone.getClientRects()[0];
        if (!box || box.width < 2 || clipped(zone, box)) continue;
        const own = (x, y) => {
          const hit = document.elementFromPoint(x, y);
          return hit !== null && zone.contains(hit) && (hit.closest(targets) ?? target) === target;
        };
        const x = box.left + box.width / 2;
        const y = box.top + box.height / 2;
        // Something lies over it, or over an edge of it.
        const floats = (px, py) => document.elementFromPoint(px, py)?.closest('dialog, .suggest, .pop, .float, .menubox, .toast, .findbar, .jump, .fab') ?? null;
        const edges = [[x, box.top + 2], [x, box.bottom - 2], [box.left + 2, y], [box.right - 2, y]];
        if (!own(x, y) || edges.some(([px, py]) => (floats(px, py) ?? zone).contains(zone) === false)) continue;
        // What the edge of a region cuts off is scrolled in, and what floats goes away.
        let region = target.parentElement;
        while (region !== document.body && !/auto|scroll/.test(getComputedStyle(region).overflowY)) region = region.parentElement;
        const edge = region === document.body ? { top: -1, bottom: innerHeight + 1, left: -1, right: innerWidth + 1 } : region.getBoundingClientRect();
        const reach = (dx, dy) => {
          let n = 0;
          while (n < LEAST && own(x + dx * (n + 1), y + dy * (n + 1))) n++;
          const [px, py] = [x + dx * (n + 1), y + dy * (n + 1)];
          return px <= edge.left || px >= edge.right || py <= edge.top || py >= edge.bottom || floats(px, py)?.contains(zone) === false ? LEAST : n;
        };
        const width = reach(-1, 0) + reach(1, 0) + 1;
        const height = reach(0, -1) + reach(0, 1) + 1;
        // The middle may lie between two pixels.
        if (width < LEAST - 1 || height < LEAST - 1) found.add(`${width}×${height} ${target.tagName.toLowerCase()}.${target.className} ${(target.ariaLabel ?? target.textContent).trim().slice(0, 40)}`);
      }
      return [...found];
    },
    [TARGETS, SMALL.join(', ')],
  );
}

/** What is wider than the window, or than the region that it is in; and targets that lie beyond a side. One line each. */
export function beyond(page) {
  return page.evaluate(
    async ([targets, wide]) => {
      await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
      const width = document.documentElement.clientWidth;
      const name = (box) => `${box.tagName.toLowerCase()}.${box.className} ${box.textContent.trim().slice(0, 40)}`;
      const found = [];
      if (document.documentElement.scrollWidth > width) found.push(`the document: ${document.documentElement.scrollWidth} in ${width}`);
      for (const box of document.body.querySelectorAll('*')) {
        if (box.scrollWidth <= box.clientWidth + 1 || box.closest(wide) || !/auto|scroll/.test(getComputedStyle(box).overflowX)) continue;
        if (box.checkVisibility() && box.clientWidth > 1) found.push(`scrolls sideways, ${box.scrollWidth} in ${box.clientWidth}: ${name(box)}`);
      }
      for (const target of document.querySelectorAll(targets)) {
        if (target.closest(`${wide}, .sr`) || !target.checkVisibility({ visibilityProperty: true, opacityProperty: true })) continue;
        const box = target.getBoundingClientRect();
        if (box.width > 0 && (box.left < -1 || box.right > width + 1)) found.push(`from ${Math.round(box.left)} to ${Math.round(box.right)} in ${width}: ${name(target)}`);
      }
      return found;
    },
    [TARGETS, WIDE],
  );
}

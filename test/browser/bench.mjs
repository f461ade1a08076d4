// Figures of the page with a session of 50,000 events, in a real browser on a real host (docs/performance.md). Nothing is
// asserted: a figure of a shared machine says as much about its neighbours as about the page.
//
//     npm run bench [-- ITEMS]

import { cpus, loadavg } from 'node:os';
import { performance } from 'node:perf_hooks';
import { imported } from './long.mjs';
import { desktop, launch, Person, phone } from './page.mjs';
import { World } from './world.mjs';

const ITEMS = Number(process.argv[2] ?? 50_000);
const OPENS = 12;
/** So many pixels a frame are scrolled, 6,000 a second, for so many frames each way. */
const STEP = 100;
const FRAMES = 500;

const part = (sorted, share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
const figures = [];
function figure(what, values, target = '', note = '') {
  const sorted = [...values].sort((a, b) => a - b);
  const ms = (value) => `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
  figures.push([what, target, `${ms(part(sorted, 0.5))} / ${ms(part(sorted, 0.99))}`, `${ms(sorted[0])} to ${ms(sorted.at(-1))}, ${sorted.length}`, note]);
  console.error(figures.at(-1).join('  '));
}

/** How long the page's thread has been at work, in ms: time on a CPU, so that neighbours do not count. */
async function meter(page) {
  const session = await page.context().newCDPSession(page);
  await session.send('Performance.enable', { timeDomain: 'threadTicks' });
  return async () => 1000 * (await session.send('Performance.getMetrics')).metrics.find((each) => each.name === 'TaskDuration').value;
}

/** From a click in the list to the end of the session, drawn: the second frame after it is there has been painted. */
const open = (page, path) =>
  page.evaluate(async (to) => {
    const frame = () => new Promise((done) => requestAnimationFrame(done));
    const at = performance.now();
    document.querySelector(`a[href="${to}"]`).click();
    for (;;) {
      await frame();
      const box = document.querySelector('.scroll');
      const last = [...document.querySelectorAll('.entry')].at(-1)?.querySelector('.say pre');
      if (last && box.scrollHeight - box.scrollTop - box.clientHeight < 8) break;
    }
    await frame();
    return performance.now() - at;
  }, path);

/** From a link to an item, as a search has it, to the item, drawn as above. */
const openAt = (page, path) =>
  page.evaluate(async (to) => {
    const frame = () => new Promise((done) => requestAnimationFrame(done));
    const link = document.createElement('a');
    link.href = to;
    document.body.append(link);
    const at = performance.now();
    link.click();
    do await frame();
    while (!document.querySelector('.entry.lit'));
    await frame();
    return performance.now() - at;
  }, path);

/** Scrolls so far a frame as a finger does, and tells how long the frames took and how far it came. */
const scroll = (page, step, count) =>
  page.evaluate(
    async ([by, n]) => {
      const box = document.querySelector('.scroll');
      const frames = [];
      let tasks = 0;
      let blank = 0;
      const observer = new PerformanceObserver((list) => (tasks += list.getEntries().length));
      observer.observe({ type: 'longtask' });
      box.dispatchEvent(new WheelEvent('wheel', { deltaY: by, bubbles: true }));
      let last = await new Promise((done) => requestAnimationFrame(done));
      for (let i = 0; i < n; i++) {
        box.scrollTop += by;
        const now = await new Promise((done) => requestAnimationFrame(done));
        frames.push(now - last);
        last = now;
        const rect = box.getBoundingClientRect();
        const seen = document.elementFromPoint(rect.left + rect.width / 2, rect.top + rect.height / 2);
        if (!seen?.closest('.entry')) blank++;
      }
      observer.disconnect();
      return { frames, tasks, blank };
    },
    [step, count],
  );

const world = new World();
const browser = await launch();
const before = loadavg();
try {
  await world.start();
  console.error(`importing ${ITEMS} items`);
  const id = await imported(world, ITEMS);
  const path = `/s/${id}`;
  for (const size of [desktop, phone]) {
    const name = (what) => `${size.phone ? 'phone' : 'desk'}: ${what}`;
    const person = await Person.arrive(browser, world, size);
    const { page } = person;
    const list = async () => {
      await page.goto(`${world.base}${size.phone ? '/' : '/settings'}`);
      await page.locator(`a[href="${path}"]`).waitFor();
      await page.evaluate(() => {
        localStorage.clear();
        return new Promise((done) => requestIdleCallback(done));
      });
    };
    const work = await meter(page);
    const opened = [];
    const worked = [];
    for (let i = 0; i <= OPENS; i++) {
      await list();
      const at = await work();
      opened.push(await open(page, path));
      worked.push((await work()) - at);
    }
    for (const each of [opened, worked]) each.shift(); // which made the browser's caches
    figure(name('from the list to the end, drawn'), opened, '300 ms');
    figure(name('… of it work of the page'), worked);

    const loaded = [];
    for (let i = 0; i < OPENS; i++) {
      await page.evaluate(() => localStorage.clear());
      const at = performance.now();
      await page.goto(world.base + path, { waitUntil: 'commit' });
      await page.locator('.entry .say pre').last().waitFor();
      loaded.push(performance.now() - at);
    }
    figure(name('the same by its address, the page loaded first'), loaded);

    for (const [way, step] of [['back', -STEP], ['forth', STEP]]) {
      const at = await work();
      const { frames, tasks, blank } = await scroll(page, step, FRAMES);
      const each = ((await work()) - at) / frames.length;
      const late = frames.filter((each) => each > 50).length;
      figure(name(`a frame while scrolling ${way}, ${STEP} px each`), frames, '50 ms', `work of the page: ${each.toFixed(1)} ms a frame; ${late} frames over 50 ms, ${tasks} long tasks; ${blank} with nothing in the middle`);
    }

    const { items } = await world.call('GET', `/api/v1/sessions/${id}/items?limit=1&before=${Math.floor(ITEMS / 12)}`);
    const back = `an item ${Math.round((11 * ITEMS) / 12)} back`;
    const gone = [];
    for (let i = 0; i < OPENS; i++) {
      await list();
      gone.push(await openAt(page, `${path}?item=${items[0].id}`));
    }
    figure(name(`${back}, by a link, drawn`), gone, '300 ms');
    const far = [];
    for (let i = 0; i < 5; i++) {
      // To go to the address that is shown is to load it again, which keeps the place.
      await page.goto('about:blank');
      const at = performance.now();
      await page.goto(`${world.base}${path}?item=${items[0].id}`, { waitUntil: 'commit' });
      await page.locator('.entry.lit').waitFor();
      far.push(performance.now() - at);
    }
    figure(name(`${back}, by its address, the page loaded first`), far);
    await person.leave();
  }
} finally {
  await browser.close();
  await world.close();
}
const row = (cells) => `| ${cells.join(' | ')} |`;
console.log(`\nA session of ${ITEMS} events. ${cpus().length} CPUs (${cpus()[0]?.model.trim()}), load average ${before[0].toFixed(1)} before, ${loadavg()[0].toFixed(1)} at the end.\n`);
console.log([['Figure', 'Target', 'p50 / p99', 'from, to, n', 'Note'], ['---', '---', '---', '---', '---'], ...figures].map(row).join('\n'));

// Figures of the page with a session of 50,000 events, in a real browser on a real host (docs/performance.md). Nothing is
// asserted: a figure of a shared machine says as much about its neighbours as about the page.
//
//     npm run bench [-- ITEMS]

import { cpus, loadavg } from 'node:os';
import { performance } from 'node:perf_hooks';
import { desktop, launch, Person, phone } from './page.mjs';
import { World } from './world.mjs';

const ITEMS = Number(process.argv[2] ?? 50_000);
const OPENS = 12;
/** So many pixels a frame are scrolled, 6,000 a second, for so many frames each way. */
const STEP = 100;
const FRAMES = 500;

/** A session as people have them, in lines to import: a question, a thought, two commands, an answer with a list and code. */
function lines(count) {
  const at = (n) => new Date(Date.parse('2026-11-01T08:00:00Z') + n * 2000).toISOString();
  const out = [{ session: { holdfast: 1, id: 'sbench', title: 'A very long session', title_set: true, agent: 'script', cwd: '/tmp', created_at: at(0) } }];
  const command = (n, name, output) => ({ tool_call_id: `c${n}`, title: name, kind: 'execute', status: 'completed', raw_input: { command: name }, content: [{ type: 'content', content: { type: 'text', text: output } }], ended_at: at(n + 1) });
  const bodies = [
    (n) => ['user', { text: `Question ${n}: why does the retry of step ${n} come back in the same second for every client, and what would it take to spread them?` }],
    (n) => ['thought', { text: `The waits double, and nothing spreads them. ${'I look at how they are made. '.repeat(n % 7)}`, ended_at: at(n + 1) }],
    (n) => ['tool', command(n, `grep -rn Backoff internal/step${n}`, 'internal/replay/backoff.go:12: d := base << n\n'.repeat(1 + (n % 12)))],
    (n) => ['tool', command(n, `go test -race ./internal/step${n}/...`, 'ok  \texample.org/replay\t1.204s\n'.repeat(1 + (n % 5)))],
    (n) => ['assistant', { text: `Answer ${n}. Every client computes **the same wait**.\n\n- half of it is random now;\n- the limit of \`30 s\` holds as before.\n\n${'What changes for a caller is little: the wait lies between half and the whole of the old one. '.repeat(1 + (n % 6))}\n\n\`\`\`go\nfunc Backoff(n int) time.Duration {\n\treturn d/2 + rand.N(d/2)\n}\n\`\`\`` }],
  ];
  for (let n = 0; n < count; n++) {
    const run = `r${Math.floor(n / bodies.length)}`;
    const [kind, body] = bodies[n % bodies.length](n);
    if (kind === 'user') out.push({ run: { id: run, item: `i${n}`, reason: 'end_turn', queued_at: at(n), started_at: at(n), ended_at: at(n + 4) } });
    out.push({ item: { id: `i${n}`, run, kind, at: at(n), body } });
  }
  out.push({ end: { items: count } });
  return out.map((line) => JSON.stringify(line)).join('\n') + '\n';
}

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
  const answer = await fetch(`${world.base}/api/v1/import`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${world.token}`, 'Content-Type': 'application/x-ndjson' },
    body: lines(ITEMS),
  });
  if (!answer.ok) throw new Error(`import: ${answer.status} ${await answer.text()}`);
  const { id } = (await answer.json()).sessions[0];
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
    const far = [];
    for (let i = 0; i < 5; i++) {
      await page.evaluate(() => localStorage.clear());
      const at = performance.now();
      await page.goto(`${world.base}${path}?item=${items[0].id}`, { waitUntil: 'commit' });
      await page.locator('.entry.lit').waitFor();
      far.push(performance.now() - at);
    }
    figure(name(`an item ${Math.round((11 * ITEMS) / 12)} back, by its address`), far);
    await person.leave();
  }
} finally {
  await browser.close();
  await world.close();
}
const row = (cells) => `| ${cells.join(' | ')} |`;
console.log(`\nA session of ${ITEMS} events. ${cpus().length} CPUs (${cpus()[0]?.model.trim()}), load average ${before[0].toFixed(1)} before, ${loadavg()[0].toFixed(1)} at the end.\n`);
console.log([['Figure', 'Target', 'p50 / p99', 'from, to, n', 'Note'], ['---', '---', '---', '---', '---'], ...figures].map(row).join('\n'));

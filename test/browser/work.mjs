// What a page costs, in CPU time: wall time would count what other programs of the machine did meanwhile.

import assert from 'node:assert/strict';

/**
 * Does something and gives the CPU time in milliseconds of each task of the page's main thread meanwhile, the longest
 * first. One page of a browser at a time.
 */
export async function tasks(page, run) {
  const browser = page.context().browser();
  const mark = 'whose thread this is';
  await browser.startTracing(page, { categories: ['toplevel', 'blink.user_timing'] });
  await page.evaluate((name) => performance.mark(name), mark);
  let events;
  try {
    await run();
  } finally {
    events = JSON.parse((await browser.stopTracing()).toString()).traceEvents;
  }
  const { pid, tid } = events.find((event) => event.name === mark);
  const own = events.filter((event) => event.pid === pid && event.tid === tid && /RunTask$/.test(event.name) && event.tdur !== undefined);
  assert.ok(own.length > 10, `tasks were recorded: ${own.length} of ${events.length} events`);
  return own.map((event) => event.tdur / 1000).sort((a, b) => b - a);
}

// Every state that the stand-in of web/mock can show: nothing for axe to find, no target that a thumb would miss, and nothing
// out of reach at the narrowest, in German too. Its sessions have long names, many kinds of items, and every control.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { scenes, speak, stage } from '../../web/mock/scenes.mjs';
import { desktop, faultless, launch, phone, runsAt } from './page.mjs';
import { beyond, small } from './measure.mjs';

let browser;
let hosts;
/** One profile at each size: what one page has read the next ones have. */
const profiles = new Map();
before(async () => ([browser, hosts] = await Promise.all([launch(), stage()])));
after(async () => {
  hosts?.stop();
  await browser?.close();
});

describe('at both sizes', { concurrency: 2 }, () => {
  for (const size of [desktop, phone]) {
    describe(size.name, { concurrency: 1 }, () => {
      for (const [i, [name, scene]] of Object.entries(scenes).entries()) {
        if (!runsAt(size, i)) continue;
        test(name, { timeout: 60_000 }, async () => {
          if (!profiles.has(size)) profiles.set(size, await browser.newContext({ ...size.options, serviceWorkers: 'block' }));
          const page = await profiles.get(size).newPage();
          try {
            page.setDefaultTimeout(20_000);
            const faults = [];
            page.on('pageerror', (error) => faults.push(error.stack));
            page.on('console', (message) => message.type() === 'error' && !/status of 40[01]/.test(message.text()) && faults.push(message.text()));
            await hosts.set(page);
            await scene(page);
            await faultless(page, size);
            await speak(page, 'de');
            assert.deepEqual(await beyond(page), [], 'out of reach, German');
            if (size.phone) assert.deepEqual(await small(page), [], 'targets of less than 44 px, German');
            // A small phone; tablets, and a desk at 200 %.
            for (const [width, height] of size.phone ? [[320, 844]] : [[1100, 800], [820, 1180], [720, 450]]) {
              await page.setViewportSize({ width, height });
              assert.deepEqual(await beyond(page), [], `out of reach, German, ${width} px`);
            }
            assert.deepEqual(faults, []);
          } finally {
            await page.close();
          }
        });
      }
    });
  }
});

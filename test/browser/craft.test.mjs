// What the page costs before it can be used.

import assert from 'node:assert/strict';
import { atBothSizes } from './page.mjs';

atBothSizes([
  [
    'the first load is under 200 kB, of the list and of a session, and soon there on a slow machine',
    async ({ world, visitor }) => {
      const { id } = await world.call('POST', '/api/v1/sessions', { agent: 'script', cwd: world.work });
      await world.call('POST', `/api/v1/sessions/${id}/messages`, { client_id: 'craft', text: 'title Written\nsay "A **word** and `code`."' });
      for (const [what, path, shown] of [
        ['the list', '/', 'main a[href^="/s/"]'],
        ['a session', `/s/${id}`, '.say code'],
      ]) {
        const person = await visitor();
        const { page } = person;
        const debug = await person.context.newCDPSession(page);
        await debug.send('Emulation.setCPUThrottlingRate', { rate: 4 });
        await page.addInitScript((of) => {
          new MutationObserver((_, observer) => {
            if (!document.querySelector(of)) return;
            observer.disconnect();
            performance.mark('shown');
          }).observe(document, { childList: true, subtree: true });
        }, shown);
        await page.goto(world.base + path);
        await page.waitForFunction(() => performance.getEntriesByName('shown').length > 0);
        // What is asked for later, when the page has nothing else to do, is no part of it; the fonts are asked for with the text.
        await page.evaluate(() => document.fonts.ready);
        const load = await page.evaluate(() => {
          const { startTime: at } = performance.getEntriesByName('shown')[0];
          const all = [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')];
          const first = all.filter((each) => !each.name.includes('/api/') && (each.startTime < at || each.initiatorType === 'css'));
          return { at: Math.round(at), bytes: first.reduce((sum, each) => sum + each.encodedBodySize, 0), names: first.map((each) => `${each.encodedBodySize} ${each.name.split('/').at(-1)}`) };
        });
        console.log(`  ${what}: ${Math.round(load.bytes / 1000)} kB in ${load.names.length} files, shown after ${load.at} ms on a processor four times as slow`);
        assert.ok(load.names.length <= 20, `${what}: ${load.names.length} files\n${load.names.join('\n')}`);
        assert.ok(load.bytes > 100_000 && load.bytes < 200_000, `${what}: ${load.bytes} bytes\n${load.names.join('\n')}`);
      }
    },
    { once: true },
  ],
]);

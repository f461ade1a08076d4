// Pictures of the page at both sizes and themes, into tmp/shots, against the mock server. Fails on any error in the
// browser's console (a blocked style or script is one), on sideways scrolling, and on what axe finds.
//
//   npm run build && npm run shots [-- name…]     CHROMIUM: path of the browser
//     --de                                        in German
//     --sizes 820x1180,1100x800                   at others than 1440x900 and 390x844

import { mkdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { parseArgs } from 'node:util';
import { chromium } from 'playwright-core';
import { scenes, speak, stage } from './scenes.mjs';

const out = fileURLToPath(new URL('../../tmp/shots', import.meta.url));
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const { values: asked, positionals: only } = parseArgs({
  options: { de: { type: 'boolean' }, sizes: { type: 'string', default: '1440x900,390x844' } },
  allowPositionals: true,
});
const sizes = asked.sizes.split(',').map((size) => size.split('x').map(Number));

/** What axe finds, one line each. The page's policy keeps its script out, so it runs in the debugger's own world. */
async function violations(page) {
  return page.evaluate(async () => {
    const found = await window.axe.run(document, { resultTypes: ['violations'] });
    return found.violations.flatMap((v) => v.nodes.map((node) => `${v.id}: ${node.target.join(' ')} ${node.any[0]?.message ?? ''}`));
  });
}

await mkdir(out, { recursive: true });
const hosts = await stage();
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
let errors = 0;
try {
  for (const [width, height] of sizes) {
    for (const scheme of ['light', 'dark']) {
      const phone = width < 768;
      const context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme, deviceScaleFactor: phone ? 2 : 1, hasTouch: phone, isMobile: phone });
      for (const [name, scene] of Object.entries(scenes)) {
        if (only.length && !only.includes(name)) continue;
        const page = await context.newPage();
        page.on('console', (message) => {
          if (message.type() !== 'error' || /40[01]/.test(message.text())) return;
          errors++;
          console.error(`${name}: ${message.text()}`);
        });
        page.on('pageerror', (error) => {
          errors++;
          console.error(`${name}: ${error.stack}`);
        });
        await hosts.set(page);
        try {
          await scene(page);
          if (asked.de) await speak(page, 'de');
          await page.waitForTimeout(900);
          const wide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
          if (wide) {
            errors++;
            console.error(`${name}: scrolls sideways at ${width}`);
          }
          await page.evaluate(axe);
          for (const violation of await violations(page)) {
            errors++;
            console.error(`${name} ${width} ${scheme}: ${violation}`);
          }
          await page.screenshot({ path: `${out}/${name}-${width}-${scheme}${asked.de ? '-de' : ''}.png` });
        } catch (error) {
          errors++;
          console.error(`${name}: ${error.message}`);
        }
        await page.close();
      }
      await context.close();
    }
  }
} finally {
  await browser.close();
  hosts.stop();
}
console.log(out);
process.exitCode = errors ? 1 : 0;

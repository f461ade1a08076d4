// Pictures of the page at both sizes and themes, into tmp/shots, against the mock server. Fails on any error in the
// browser's console (a blocked style or script is one), on sideways scrolling, and on what axe finds.
//
//   npm run build && npm run shots [-- name…]     CHROMIUM: path of the browser

import { spawn } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { chromium } from 'playwright-core';

const out = fileURLToPath(new URL('../../tmp/shots', import.meta.url));
const mock = fileURLToPath(new URL('./server.mjs', import.meta.url));
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const only = process.argv.slice(2);

async function host(port, ...args) {
  const child = spawn(process.execPath, [mock, '--port', String(port), ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  await new Promise((done) => child.stdout.once('data', done));
  return { url: `http://127.0.0.1:${port}`, stop: () => child.kill() };
}

/** What axe finds, one line each. The page's policy keeps its script out, so it runs in the debugger's own world. */
async function violations(page) {
  return page.evaluate(async () => {
    const found = await window.axe.run(document, { resultTypes: ['violations'] });
    return found.violations.flatMap((v) => v.nodes.map((node) => `${v.id}: ${node.target.join(' ')} ${node.any[0]?.message ?? ''}`));
  });
}

const GRAPH = readFileSync(fileURLToPath(new URL('../public/icons/icon-192.png', import.meta.url)));

const open = async (page, title) => {
  await page.goto(page.host);
  await page.locator('a:visible', { hasText: title }).first().click();
  await page.locator('textarea').waitFor();
  await page.waitForTimeout(700);
};

/** The palette over a session, with what it finds. */
const palette = async (page, text) => {
  await open(page, 'Jitter for webhook');
  await page.keyboard.press('Control+k');
  await page.getByRole('combobox').fill(text);
  await page.waitForTimeout(400);
};

/** The menu of a session in the list. */
const menuOf = async (page, title) => {
  await page.goto(page.host);
  const row = page.locator('.list .rowbox', { hasText: title });
  await row.hover();
  await row.getByRole('button', { name: /^Menu: / }).click();
};

/** The page "Host" with one of its parts at the top. */
const below = async (page, part) => {
  await page.goto(`${page.host}/host`);
  await page.locator(part).waitFor();
  await page.locator(part).evaluate((box) => box.previousElementSibling.scrollIntoView());
};

const scenes = {
  home: async (page) => void (await page.goto(page.host)),
  chat: (page) => open(page, 'Jitter for webhook'),
  interrupted: (page) => open(page, 'Flaky TestLease'),
  rich: (page) => open(page, 'Release notes'),
  maths: async (page) => {
    await open(page, 'Release notes');
    await page.locator('.say math').first().waitFor();
    await page.locator('.picture').evaluate((box) => (box.closest('.scroll').scrollTop += box.getBoundingClientRect().top - 200));
  },
  'item-menu': async (page) => {
    await open(page, 'Release notes');
    const row = page.locator('.entry', { has: page.locator('.you') });
    await row.hover();
    await row.getByRole('button', { name: 'More actions' }).click();
  },
  editing: async (page) => {
    await open(page, 'Release notes');
    const row = page.locator('.entry', { has: page.locator('.you') });
    await row.hover();
    await row.getByRole('button', { name: 'More actions' }).click();
    await page.getByRole('menuitem', { name: 'Edit and run again' }).click();
  },
  find: async (page) => {
    await open(page, 'Release notes');
    await page.getByRole('button', { name: 'Find in this session' }).click();
    await page.locator('.findbar input').fill('relay');
    await page.locator('.entry.lit').waitFor();
  },
  queued: (page) => open(page, 'Rename tenant_id'),
  commands: async (page) => {
    await open(page, 'Jitter for webhook');
    await page.locator('textarea').fill('/');
    await page.getByRole('listbox', { name: 'Commands' }).waitFor();
  },
  mention: async (page) => {
    await open(page, 'Jitter for webhook');
    await page.locator('textarea').fill('Look at @ret');
    await page.getByRole('listbox', { name: 'Files' }).waitFor();
  },
  options: async (page) => {
    await open(page, 'Jitter for webhook');
    await page.getByRole('button', { name: /^(Options, now|Mode:)/ }).filter({ visible: true }).first().click();
    await page.getByRole('listbox').or(page.getByRole('dialog')).waitFor();
  },
  gifts: async (page) => {
    await open(page, 'Rename tenant_id');
    await page.locator('input[type=file]').setInputFiles([
      { name: 'graph.png', mimeType: 'image/png', buffer: GRAPH },
      { name: 'failures-eu.csv', mimeType: 'text/csv', buffer: Buffer.from('a,b\n'.repeat(300_000)) },
      { name: 'recording-of-the-whole-evening.mov', mimeType: 'video/quicktime', buffer: Buffer.alloc(21 * 1024 * 1024) },
    ]);
    await page.locator('.gift img').waitFor();
  },
  failed: (page) => open(page, 'Renew the wildcard'),
  unready: (page) => open(page, 'Speed up the mailer'),
  palette: (page) => palette(page, 'retr'),
  'palette-empty': (page) => palette(page, ''),
  'session-menu': (page) => menuOf(page, 'Nightly dependency'),
  tags: async (page) => {
    await menuOf(page, 'Invoice mails');
    await page.getByRole('menuitem', { name: 'Tags…' }).click();
    await page.locator('.choices').waitFor();
  },
  project: async (page) => {
    await menuOf(page, 'Invoice mails');
    await page.getByRole('menuitem', { name: 'Project…' }).click();
    await page.locator('.choices').waitFor();
  },
  renaming: async (page) => {
    await menuOf(page, 'Nightly dependency');
    await page.getByRole('menuitem', { name: 'Rename' }).click();
  },
  filter: async (page) => {
    await page.goto(page.host);
    await page.getByRole('button', { name: 'Filter', exact: true }).click();
  },
  selecting: async (page) => {
    await page.goto(page.host);
    await page.getByRole('button', { name: 'Select sessions' }).click();
    for (const i of [1, 2, 5]) await page.locator('.list .row').nth(i).click();
  },
  search: async (page) => {
    await page.goto(`${page.host}/search?q=the`);
    await page.locator('.found').first().waitFor();
  },
  projects: async (page) => {
    await page.goto(`${page.host}/projects`);
    await page.locator('.opt').first().waitFor();
  },
  'needs-you': async (page) => void (await page.goto(`${page.host}/needs-you`)),
  settings: async (page) => void (await page.goto(`${page.host}/settings`)),
  'settings-code': async (page) => {
    await page.goto(`${page.host}/settings`);
    await page.getByRole('button', { name: 'Show the code' }).click();
    await page.getByRole('img', { name: 'QR code of the link' }).waitFor();
    await page.locator('#devices').scrollIntoViewIfNeeded();
    await page.locator('#devices').evaluate((section) => section.scrollIntoView());
  },
  'settings-rename': async (page) => {
    await page.goto(`${page.host}/settings`);
    await page.getByRole('button', { name: /^Rename Pixel/ }).click();
  },
  older: async (page) => {
    await page.route('**/api/v1/me', async (route) => {
      const answer = await route.fetch();
      await route.fulfill({ response: answer, json: { ...(await answer.json()), page: 'another' } });
    });
    await open(page, 'Release notes');
    await page.locator('.ban').waitFor();
  },
  host: async (page) => {
    await page.goto(`${page.host}/host`);
    await page.locator('.tl').waitFor();
  },
  'host-lives': (page) => below(page, '.tl'),
  'host-files': async (page) => {
    await below(page, '.kinds');
    await page.locator('.kinds summary').first().click();
    await page.locator('.kinds').scrollIntoViewIfNeeded();
  },
  'host-log': (page) => below(page, '.levels'),
  'host-numbers': async (page) => {
    await page.goto(`${page.host}/host`);
    await page.locator('.tl').waitFor();
    await page.getByText('The same in numbers').click();
    await page.locator('.scrollx').scrollIntoViewIfNeeded();
  },
  'host-degraded': async (page) => {
    await page.goto(`${page.badHost}/host`);
    await page.locator('.ban').waitFor();
    await page.locator('.tl').waitFor();
  },
  'host-safe': async (page) => {
    await page.goto(`${page.safeHost}/host`);
    await page.locator('.ban').waitFor();
    await page.locator('.tl').waitFor();
  },
  new: async (page) => {
    await page.goto(`${page.host}/new`);
    await page.locator('.chip').first().waitFor();
  },
  folders: async (page) => {
    await page.goto(`${page.host}/new`);
    await page.locator('.chip').first().waitFor();
    await page.getByRole('button', { name: 'Change', exact: true }).click();
  },
  permission: async (page) => {
    await open(page, 'Jitter for webhook');
    const review = page.locator('.askbar');
    if (await review.isVisible()) await review.click();
  },
  panel: async (page) => {
    await open(page, 'Jitter for webhook');
    const bar = page.locator('.planbar');
    if (await bar.isVisible()) await bar.click();
  },
  login: async (page) => {
    await page.goto(`${page.outHost}/#link=stale`);
    await page.locator('#login-note > span').waitFor();
  },
  'login-passkey': async (page) => {
    await page.goto(page.outHost.replace('127.0.0.1', 'localhost'));
    await page.getByRole('button', { name: 'Log in with a passkey' }).waitFor();
  },
};

await mkdir(out, { recursive: true });
const inside = await host(8791);
const outside = await host(8792, '--out');
const bad = await host(8794, '--state', 'degraded');
const safe = await host(8795, '--state', 'safe');
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
let errors = 0;
try {
  for (const [width, height] of [[1440, 900], [390, 844]]) {
    for (const scheme of ['light', 'dark']) {
      const phone = width < 768;
      const context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme, deviceScaleFactor: phone ? 2 : 1, hasTouch: phone, isMobile: phone });
      for (const [name, scene] of Object.entries(scenes)) {
        if (only.length && !only.includes(name)) continue;
        const page = await context.newPage();
        page.on('console', (message) => {
          if (message.type() !== 'error' || message.text().includes('401')) return;
          errors++;
          console.error(`${name}: ${message.text()}`);
        });
        page.on('pageerror', (error) => {
          errors++;
          console.error(`${name}: ${error.stack}`);
        });
        Object.assign(page, { host: inside.url, outHost: outside.url, badHost: bad.url, safeHost: safe.url });
        try {
          await scene(page);
          await page.waitForTimeout(500);
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
          await page.screenshot({ path: `${out}/${name}-${width}-${scheme}.png` });
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
  inside.stop();
  outside.stop();
  bad.stop();
  safe.stop();
}
console.log(out);
process.exitCode = errors ? 1 : 0;

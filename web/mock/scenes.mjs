// Every state of the page that the stand-in can show, by its name: shots.mjs takes their pictures, and
// test/browser/looks.test.mjs looks for faults in each.

import { spawn } from 'node:child_process';
import { copyFileSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const mock = fileURLToPath(new URL('./server.mjs', import.meta.url));

async function host(...args) {
  const child = spawn(process.execPath, [mock, '--port', '0', ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  const url = await new Promise((done) => child.stdout.once('data', (said) => done(String(said).trim())));
  return { url, stop: () => child.kill() };
}

/** The stand-ins that the scenes are of. */
export async function stage() {
  const all = await Promise.all([host(), host('--out'), host('--state', 'degraded'), host('--state', 'safe')]);
  const [inside, outside, bad, safe] = all.map((each) => each.url);
  return {
    /** What a page has to know before it plays a scene; its language can be changed under it. */
    async set(page) {
      Object.assign(page, { host: inside, outHost: outside, badHost: bad, safeHost: safe });
      await page.addInitScript(() => {
        globalThis.languages = ['en'];
        Object.defineProperty(navigator, 'languages', { get: () => globalThis.languages });
      });
    },
    stop: () => all.forEach((each) => each.stop()),
  };
}

/** What is shown in another language, as it is. */
export async function speak(page, language) {
  await page.evaluate((name) => {
    globalThis.languages = [name];
    dispatchEvent(new Event('languagechange'));
  }, language);
  await page.waitForFunction((name) => document.documentElement.lang === name, language);
}

const GRAPH = fileURLToPath(new URL('../public/icons/icon-192.png', import.meta.url));

const open = async (page, title) => {
  await page.goto(page.host);
  await page.locator('a:visible', { hasText: title }).first().click();
  // Drawn, and where it opens.
  await page.locator('form.comp textarea').waitFor();
  await page.locator('.entry, .q').first().waitFor();
};

/** The palette over a session, with what it finds. */
const palette = async (page, text) => {
  await open(page, 'Jitter for webhook');
  await page.keyboard.press('Control+k');
  await page.getByRole('combobox').fill(text);
  if (text) await page.getByRole('option', { name: new RegExp(text, 'i') }).first().waitFor();
};

/** Chooses a file of sessions in the settings. */
const choose = async (page, name) => {
  await page.goto(`${page.host}/settings`);
  page.on('filechooser', (chooser) => void chooser.setFiles({ name, mimeType: 'application/octet-stream', buffer: Buffer.from('{}') }));
  await page.locator('#files .srow').last().getByRole('button').click();
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

export const scenes = {
  home: async (page) => {
    await page.goto(page.host);
    await page.locator('a:visible', { hasText: 'Jitter for webhook' }).first().waitFor();
  },
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
  steering: async (page) => {
    await open(page, 'Postgres 17 upgrade');
    await page.locator('textarea').fill('Then compare the row counts');
    await page.getByRole('button', { name: 'Queue', exact: true }).click();
    await page.locator('textarea').fill('Use the replica for reads');
    await page.getByRole('button', { name: 'Steer', exact: true }).click();
    await page.getByText('the agent reads it after').last().waitFor();
    await page.locator('textarea').fill('And tell me how long it takes');
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
    // Files, because what is sent through the debugger takes long.
    const folder = mkdtempSync(join(tmpdir(), 'holdfast-gifts'));
    const [graph, table, film] = ['graph.png', 'failures-eu.csv', 'recording-of-the-whole-evening.mov'].map((name) => join(folder, name));
    copyFileSync(GRAPH, graph);
    writeFileSync(table, 'a,b\n'.repeat(300_000));
    writeFileSync(film, '');
    truncateSync(film, 21 * 1024 * 1024);
    await page.locator('input[type=file]').setInputFiles([graph, table, film]);
    await page.locator('.gift img').waitFor();
    await page.locator('.gift.bad').waitFor();
    rmSync(folder, { recursive: true });
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
  'search-filters': async (page) => {
    await page.goto(`${page.host}/search?q=the&kind=said&project=p1&agent=claude&archived=no`);
    await page.locator('.filters .on').first().waitFor();
    await page.locator('.filters [aria-haspopup=menu]').click();
  },
  'selecting-export': async (page) => {
    await scenes.selecting(page);
    await page.locator('.bulk [aria-haspopup=menu]').click();
  },
  'settings-files': async (page) => {
    await page.goto(`${page.host}/settings`);
    await page.locator('#files').scrollIntoViewIfNeeded();
  },
  importing: async (page) => {
    await page.route('**/api/v1/import?*', () => {});
    await choose(page, 'holdfast-2026-11-28-jsonl.zip');
    await page.getByRole('progressbar').waitFor();
  },
  'import-refused': async (page) => {
    await page.route('**/api/v1/import?*', (route) =>
      route.fulfill({ status: 400, contentType: 'application/problem+json', body: JSON.stringify({ code: 'bad_import', title: 'The file cannot be imported', detail: 'The file cannot be imported: line 3: the item has no time. Nothing was imported.' }) }),
    );
    await choose(page, 'talk.jsonl');
    await page.getByRole('alert').waitFor();
  },
  projects: async (page) => {
    await page.goto(`${page.host}/projects`);
    await page.locator('.opt').first().waitFor();
  },
  'needs-you': async (page) => {
    await page.goto(`${page.host}/needs-you`);
    await page.locator('.ask').first().waitFor();
    await page.locator('a.opt').first().waitFor();
  },
  settings: async (page) => {
    await page.goto(`${page.host}/settings`);
    await page.getByRole('button', { name: 'Show the code' }).waitFor();
  },
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
  'new-model': async (page) => {
    await page.goto(`${page.host}/new`);
    await page.getByRole('radio', { name: /Claude/ }).click();
    await page.getByRole('button', { name: /^(Model: Agent|Options)/ }).filter({ visible: true }).first().click();
    const sheet = page.getByRole('dialog');
    if (await page.getByRole('listbox').or(sheet).first().waitFor().then(() => sheet.isVisible())) await sheet.getByRole('button', { name: /^Model/ }).click();
    await page.getByRole('option').first().waitFor();
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
